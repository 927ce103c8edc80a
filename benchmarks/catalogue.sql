-- every object that the history makes in the first schema of search_path, as text; names of that schema are not in it
SELECT 'column ' || c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' '
       || a.attnotnull || ' ' || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v') AND c.relnamespace = current_schema()::regnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relname <> ALL (%(left_out)s)
UNION ALL
SELECT 'constraint ' || c.relname || ' ' || o.conname || ' ' || pg_get_constraintdef(o.oid)
  FROM pg_constraint o
  JOIN pg_class c ON c.oid = o.conrelid AND c.relnamespace = current_schema()::regnamespace
 WHERE o.contype <> 'n' AND c.relname <> ALL (%(left_out)s)
UNION ALL
SELECT 'index ' || c.relname || ' ' || replace(pg_get_indexdef(i.indexrelid), current_schema() || '.', '')
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = current_schema()::regnamespace
 WHERE c.relname <> ALL (%(left_out)s)
UNION ALL
SELECT 'view ' || viewname || ' ' || definition FROM pg_views WHERE schemaname = current_schema()
UNION ALL
SELECT 'function ' || proname || ' ' || prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
UNION ALL
SELECT 'trigger ' || replace(pg_get_triggerdef(t.oid), current_schema() || '.', '')
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid AND c.relnamespace = current_schema()::regnamespace
 WHERE NOT t.tgisinternal
UNION ALL
SELECT 'policy ' || tablename || ' ' || policyname || ' ' || cmd::text || ' ' || qual FROM pg_policies
 WHERE schemaname = current_schema()
 ORDER BY 1
