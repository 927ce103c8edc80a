-- How large tables are, the partitions of one together: `bytes` with all indexes, `heap` without. A size waits for whoever
-- has locked its table against readers; not for long. One message and a transaction of its own, for any pooler, which waits
-- for no writer whatever the mode of others.
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10s';
SELECT t.name, r.oid IS NOT NULL, coalesce(sum(pg_total_relation_size(p.oid)), 0)::bigint,
       coalesce(sum(pg_relation_size(p.oid)), 0)::bigint,
       CASE WHEN bool_and(c.reltuples >= 0) THEN sum(c.reltuples)::bigint END
  FROM unnest({tables}::text[]) AS t (name)
 CROSS JOIN LATERAL (SELECT to_regclass(t.name)::oid) AS r (oid)
  LEFT JOIN LATERAL (SELECT r.oid UNION SELECT relid::oid FROM pg_partition_tree(r.oid)) AS p (oid) ON true
  LEFT JOIN pg_class c ON c.oid = p.oid AND c.relkind <> 'p'
 GROUP BY t.name, r.oid;
COMMIT
