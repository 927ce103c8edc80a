-- Foreign keys whose columns are not the first ones of any valid index without a condition, by the identity of their facts.
-- One that is not enforced, which PostgreSQL 18 has, is never looked up.
SELECT pg_catalog.quote_ident(k.conname) || ' on ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
   AND pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conenforced' IS DISTINCT FROM 'false'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                    WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                      AND (i.indkey::pg_catalog.int2[])[0:pg_catalog.array_length(k.conkey, 1) - 1] @> k.conkey)
