-- Statements that find rows which a constraint, a column's type or an index would not bear. They are written by a database
-- that has the constraint, and are asked of one that is to get it; each reads only, and gives at most one empty row.
-- `{identities}` are those that a catalogue has. Wants an empty search_path, as a catalogue is read.

-- name: column
-- What NOT NULL, a narrower type, and a new column without a value for rows that are there would meet.
SELECT n.name || '.' || quote_ident(a.attname) AS identity, n.name AS holder,
       format('SELECT FROM %s WHERE %I IS NULL LIMIT 1', n.name, a.attname) AS not_null,
       CASE WHEN a.atttypid IN ('varchar'::regtype, 'bpchar'::regtype) AND a.atttypmod > 4
            -- a cast would cut it off, and ALTER TABLE refuses
            THEN format('SELECT FROM %s WHERE length(%I::text) > %s LIMIT 1', n.name, a.attname, a.atttypmod - 4)
            ELSE format('SELECT FROM %s WHERE %I IS NOT NULL AND (%I::%s) IS NULL LIMIT 1', n.name, a.attname, a.attname,
                        format_type(a.atttypid, a.atttypmod))
       END AS type,
       format('SELECT FROM %s LIMIT 1', n.name) AS new_column
  FROM (SELECT c.oid, quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS name
          FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')) AS n
  JOIN pg_attribute a ON a.attrelid = n.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.name || '.' || quote_ident(a.attname) = ANY ({identities})

-- name: constraint
SELECT quote_ident(c.conname) || ' on ' || n.name AS identity, n.name AS holder,
       CASE c.contype
            WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign_key' ELSE 'unique' END AS rule,
       CASE c.contype
            WHEN 'c' THEN format('SELECT FROM %s WHERE NOT (%s) LIMIT 1', n.name, pg_get_expr(c.conbin, c.conrelid))
            WHEN 'f' THEN format('SELECT FROM %s AS one WHERE %s AND NOT EXISTS (SELECT FROM %s AS other WHERE %s) LIMIT 1',
                                 n.name, k.present, f.name, k.equal)
            ELSE format('SELECT FROM %s WHERE %s GROUP BY %s HAVING count(*) > 1 LIMIT 1', n.name, k.there, k.columns)
       END AS statement
  FROM pg_constraint c
  JOIN (SELECT c.oid, quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS name
          FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace) AS n ON n.oid = c.conrelid
  LEFT JOIN (SELECT c.oid, quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS name
               FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace) AS f ON f.oid = c.confrelid
  LEFT JOIN LATERAL (
       SELECT string_agg(format('one.%I IS NOT NULL', a.attname), ' AND ' ORDER BY i) AS present,
              string_agg(format('other.%s = one.%I', quote_ident(b.attname), a.attname), ' AND ' ORDER BY i) AS equal,
              string_agg(format('%I IS NOT NULL', a.attname), ' AND ' ORDER BY i) AS there,
              string_agg(quote_ident(a.attname), ', ' ORDER BY i) AS columns
         FROM generate_subscripts(c.conkey, 1) AS i
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[i]
         LEFT JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[i]) AS k ON true
 WHERE c.contype IN ('c', 'f', 'p', 'u') AND c.convalidated
   AND quote_ident(c.conname) || ' on ' || n.name = ANY ({identities})

-- name: index
-- Where NULLs count as alike, rows with a NULL may clash too; those are not looked for.
SELECT i.oid::regclass::text AS identity, n.name AS holder, 'unique' AS rule,
       format('SELECT FROM %s WHERE %s%s GROUP BY %s HAVING count(*) > 1 LIMIT 1', n.name,
              coalesce('(' || pg_get_expr(x.indpred, x.indrelid) || ') AND ', ''), k.there, k.columns) AS statement
  FROM pg_index x
  JOIN pg_class i ON i.oid = x.indexrelid
  JOIN (SELECT c.oid, quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS name
          FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace) AS n ON n.oid = x.indrelid
  LEFT JOIN LATERAL (
       SELECT string_agg(format('(%s) IS NOT NULL', pg_get_indexdef(x.indexrelid, i, false)), ' AND ' ORDER BY i) AS there,
              string_agg(pg_get_indexdef(x.indexrelid, i, false), ', ' ORDER BY i) AS columns
         FROM generate_series(1, x.indnkeyatts) AS i) AS k ON true
 WHERE x.indisunique AND i.oid::regclass::text = ANY ({identities})
