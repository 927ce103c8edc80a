-- Everything that has a name and outlives a change of it, outside PostgreSQL's schemas and ours; what belongs to an
-- extension is the extension's. Identities are written as facts write them.
WITH ours AS (
    SELECT oid, nspname::text AS plain, pg_catalog.quote_ident(nspname) AS name
      FROM pg_catalog.pg_namespace
     WHERE nspname !~ '^(pg_|ehg_migrate(_|$))' AND nspname <> 'information_schema'
), members AS (
    SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
)
SELECT 'pg_class', c.oid::bigint,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                      WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'attributes' ELSE 'table' END,
       s.plain, s.name || '.' || pg_catalog.quote_ident(c.relname),
       (SELECT pg_catalog.quote_ident(rn.nspname) || '.' || pg_catalog.quote_ident(r.relname)
          FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
         WHERE r.oid = pg_catalog.pg_partition_root(c.oid)),
       pg_catalog.pg_relation_filenode(c.oid)::bigint, c.reltablespace::bigint,
       ARRAY(SELECT CASE WHEN a.attisdropped THEN '' ELSE pg_catalog.quote_ident(a.attname) END
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
       ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod)
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
       coalesce(pg_catalog.pg_stat_get_xact_numscans(c.oid), 0),
       coalesce(pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid), 0)
       + coalesce(pg_catalog.pg_stat_get_xact_tuples_updated(c.oid), 0)
       + coalesce(pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid), 0),
       (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid)
  FROM pg_catalog.pg_class c JOIN ours s ON s.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)
UNION ALL
SELECT 'pg_proc', p.oid::bigint,
       CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
       s.plain, s.name || '.' || pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')',
       NULL, NULL, NULL, '{}', '{}', 0, 0, 0
  FROM pg_catalog.pg_proc p JOIN ours s ON s.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid)
UNION ALL
SELECT 'pg_type', t.oid::bigint,
       CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'composite type' END,
       s.plain, s.name || '.' || pg_catalog.quote_ident(t.typname), NULL, NULL, NULL, '{}', '{}', 0, 0, 0
  FROM pg_catalog.pg_type t JOIN ours s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)
