-- name: operator
SELECT 'operator',
       s.name || '.' || o.oprname || ' (' || CASE WHEN o.oprleft = 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END
              || ', ' || format_type(o.oprright, NULL) || ')',
       jsonb_build_object(
           'function', o.oprcode::regprocedure::text,
           'commutator', nullif(o.oprcom::regoperator::text, '0'),
           'negator', nullif(o.oprnegate::regoperator::text, '0'),
           'restrict', nullif(o.oprrest::regprocedure::text, '-'),
           'join', nullif(o.oprjoin::regprocedure::text, '-'),
           'hashes', CASE WHEN o.oprcanhash THEN true END,
           'merges', CASE WHEN o.oprcanmerge THEN true END,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = o.oprowner) END),
       'pg_operator'::regclass, o.oid, 0
  FROM pg_operator o
  JOIN ours s ON s.oid = o.oprnamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)

-- name: operator class
SELECT 'operator class', s.name || '.' || quote_ident(c.opcname) || ' using ' || a.amname,
       jsonb_build_object(
           'type', format_type(c.opcintype, NULL),
           'default', CASE WHEN c.opcdefault THEN true END,
           'storage', CASE WHEN c.opckeytype <> 0 THEN format_type(c.opckeytype, NULL) END,
           'family', f.opfnamespace::regnamespace::text || '.' || quote_ident(f.opfname)),
       'pg_opclass'::regclass, c.oid, 0
  FROM pg_opclass c
  JOIN ours s ON s.oid = c.opcnamespace
  JOIN pg_am a ON a.oid = c.opcmethod
  JOIN pg_opfamily f ON f.oid = c.opcfamily
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_opclass'::regclass AND m.objid = c.oid)

-- name: operator family
SELECT 'operator family', s.name || '.' || quote_ident(f.opfname) || ' using ' || a.amname,
       jsonb_build_object(
           'operators', (SELECT jsonb_agg(member ORDER BY member COLLATE "C")
                           FROM (SELECT o.amopstrategy || ' ' || o.amopopr::regoperator::text
                                        || CASE o.amoppurpose WHEN 'o' THEN ' for ordering' ELSE '' END AS member
                                   FROM pg_amop o WHERE o.amopfamily = f.oid) AS operators),
           'functions', (SELECT jsonb_agg(member ORDER BY member COLLATE "C")
                           FROM (SELECT p.amprocnum || ' (' || format_type(p.amproclefttype, NULL) || ', '
                                        || format_type(p.amprocrighttype, NULL) || ') ' || p.amproc::regprocedure::text AS member
                                   FROM pg_amproc p WHERE p.amprocfamily = f.oid) AS functions)),
       'pg_opfamily'::regclass, f.oid, 0
  FROM pg_opfamily f
  JOIN ours s ON s.oid = f.opfnamespace
  JOIN pg_am a ON a.oid = f.opfmethod
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_opfamily'::regclass AND m.objid = f.oid)

-- name: cast
-- A cast has no schema: it is ours if it was made here by no extension. In one schema, if its function or a type is there.
SELECT 'cast', format_type(c.castsource, NULL) || ' as ' || format_type(c.casttarget, NULL),
       jsonb_build_object(
           'method', CASE c.castmethod WHEN 'f' THEN c.castfunc::regprocedure::text WHEN 'i' THEN 'inout' ELSE 'binary' END,
           'context', CASE c.castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'assignment' END),
       'pg_cast'::regclass, c.oid, 0
  FROM pg_cast c
  JOIN pg_type source ON source.oid = c.castsource
  JOIN pg_type target ON target.oid = c.casttarget
  LEFT JOIN pg_proc p ON p.oid = c.castfunc
 WHERE c.oid >= 16384  -- FirstNormalObjectId: below it stands what initdb made
   AND ({whole} OR EXISTS (SELECT FROM ours s WHERE s.oid IN (source.typnamespace, target.typnamespace, p.pronamespace)))
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_cast'::regclass AND m.objid = c.oid)
   AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_cast'::regclass AND i.objid = c.oid AND i.deptype = 'i')

-- name: language
SELECT 'language', quote_ident(l.lanname),
       jsonb_build_object(
           'handler', l.lanplcallfoid::regprocedure::text,
           'inline', nullif(l.laninline::regprocedure::text, '-'),
           'validator', nullif(l.lanvalidator::regprocedure::text, '-'),
           'trusted', CASE WHEN l.lanpltrusted THEN true END),
       'pg_language'::regclass, l.oid, 0
  FROM pg_language l
 WHERE {whole} AND l.oid >= 16384
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_language'::regclass AND m.objid = l.oid)
