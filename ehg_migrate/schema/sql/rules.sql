-- What makes a table do more than hold rows.

-- name: trigger
-- Those of a partition come with the partitioned table, unless one was switched off there alone; before 15 they count as
-- internal, as those of foreign keys do everywhere. On watched ground only those that call a function of ours.
SELECT 'trigger', quote_ident(t.tgname) || ' on ' || r.ident,
       jsonb_build_object(
           'definition', pg_get_triggerdef(t.oid),
           'enabled', CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END),
       'pg_trigger'::regclass, t.oid, 0
  FROM holders r
  JOIN pg_trigger t ON t.tgrelid = r.oid
  JOIN pg_proc p ON p.oid = t.tgfoid
  LEFT JOIN pg_trigger parent ON parent.oid = t.tgparentid
 WHERE CASE WHEN parent.oid IS NULL THEN NOT t.tgisinternal
            ELSE parent.tgenabled <> t.tgenabled
                 AND NOT (parent.tgisinternal AND p.oid < 16384 AND p.proname ~ '^(RI_FKey_|unique_key_recheck$)') END
   AND (NOT r.foreign_ground OR p.pronamespace IN (SELECT oid FROM ours))

-- name: policy
SELECT 'policy', quote_ident(p.polname) || ' on ' || r.ident,
       jsonb_build_object(
           'permissive', p.polpermissive,
           'command', CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
                                    WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END,
           'roles', (SELECT jsonb_agg(name ORDER BY name COLLATE "C") FROM roles WHERE roles.oid = ANY (p.polroles)),
           'using', pg_get_expr(p.polqual, p.polrelid),
           'with check', pg_get_expr(p.polwithcheck, p.polrelid)),
       'pg_policy'::regclass, p.oid, 0
  FROM holders r
  JOIN pg_policy p ON p.polrelid = r.oid

-- name: rule
-- The rule of a view is its query.
SELECT 'rule', quote_ident(w.rulename) || ' on ' || r.ident,
       jsonb_build_object(
           'definition', pg_get_ruledef(w.oid),
           'enabled', CASE w.ev_enabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END),
       'pg_rewrite'::regclass, w.oid, 0
  FROM relations r
  JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'

-- name: event trigger
-- The platform has its own; those that call a function of ours are ours.
SELECT 'event trigger', quote_ident(e.evtname),
       jsonb_build_object(
           'event', e.evtevent,
           'tags', (SELECT jsonb_agg(tag ORDER BY tag COLLATE "C") FROM unnest(e.evttags) AS tag),
           'function', e.evtfoid::regproc::text,
           'enabled', CASE e.evtenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = e.evtowner) END),
       'pg_event_trigger'::regclass, e.oid, 0
  FROM pg_event_trigger e
  JOIN pg_proc p ON p.oid = e.evtfoid
 WHERE {whole} AND p.pronamespace IN (SELECT oid FROM ours)
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid)
