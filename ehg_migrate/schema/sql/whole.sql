-- What belongs to the database as a whole.

-- name: extension
-- Its comment is its own. A version changes with the server's packages, so a scope can leave it out.
SELECT 'extension', quote_ident(e.extname),
       jsonb_build_object(
           'schema', quote_ident(n.nspname),
           'version', CASE WHEN {extension_versions} THEN e.extversion END),
       NULL, NULL, NULL
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
 WHERE {whole} AND e.extname <> ALL ({without_extensions})

-- name: publication
SELECT 'publication', quote_ident(p.pubname),
       jsonb_build_object(
           'all tables', CASE WHEN p.puballtables THEN true END,
           'publish', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                                CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
           'via root', CASE WHEN p.pubviaroot THEN true END,
           'generated columns', nullif(to_jsonb(p) ->> 'pubgencols', 'n'),
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = p.pubowner) END),
       'pg_publication'::regclass, p.oid, 0
  FROM pg_publication p
 WHERE {whole} AND p.pubname <> ALL ({without_publications})
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_publication'::regclass AND m.objid = p.oid)

-- name: publication table until 14
SELECT 'publication table', quote_ident(p.pubname) || ': ' || r.ident, '{{}}'::jsonb,
       NULL, NULL, NULL
  FROM pg_publication_rel x
  JOIN pg_publication p ON p.oid = x.prpubid
  JOIN relations r ON r.oid = x.prrelid

-- name: publication table since 15
-- Which of our tables a publication publishes is ours, even where the publication is the platform's.
SELECT 'publication table', quote_ident(p.pubname) || ': ' || r.ident,
       jsonb_build_object(
           'columns', (SELECT jsonb_agg(quote_ident(a.attname) ORDER BY a.attname COLLATE "C")
                         FROM pg_attribute a WHERE a.attrelid = x.prrelid AND a.attnum = ANY (x.prattrs::int2[])),
           'where', pg_get_expr(x.prqual, x.prrelid)),
       NULL, NULL, NULL
  FROM pg_publication_rel x
  JOIN pg_publication p ON p.oid = x.prpubid
  JOIN relations r ON r.oid = x.prrelid

-- name: publication schema since 15
SELECT 'publication schema', quote_ident(p.pubname) || ': ' || s.label, '{{}}'::jsonb,
       NULL, NULL, NULL
  FROM pg_publication_namespace x
  JOIN pg_publication p ON p.oid = x.pnpubid
  JOIN ours s ON s.oid = x.pnnspid

-- name: foreign data wrapper
SELECT 'foreign data wrapper', quote_ident(f.fdwname),
       jsonb_build_object(
           'handler', nullif(f.fdwhandler::regprocedure::text, '-'),
           'validator', nullif(f.fdwvalidator::regprocedure::text, '-'),
           'options', o.list,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = f.fdwowner) END),
       'pg_foreign_data_wrapper'::regclass, f.oid, 0
  FROM pg_foreign_data_wrapper f
  LEFT JOIN foreign_options o ON (o.classid, o.objid) = ('pg_foreign_data_wrapper'::regclass, f.oid)
 WHERE {whole}
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_foreign_data_wrapper'::regclass AND m.objid = f.oid)

-- name: server
SELECT 'server', quote_ident(s.srvname),
       jsonb_build_object(
           'wrapper', quote_ident(f.fdwname),
           'type', s.srvtype,
           'version', s.srvversion,
           'options', o.list,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = s.srvowner) END),
       'pg_foreign_server'::regclass, s.oid, 0
  FROM pg_foreign_server s
  JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
  LEFT JOIN foreign_options o ON (o.classid, o.objid) = ('pg_foreign_server'::regclass, s.oid)
 WHERE {whole} AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_foreign_server'::regclass AND m.objid = s.oid)

-- name: user mapping
-- That it is there. Its options are who logs in with what password, and PostgreSQL shows them to few.
SELECT 'user mapping', CASE WHEN u.umuser = 0 THEN 'PUBLIC' ELSE (SELECT name FROM roles r WHERE r.oid = u.umuser) END
       || ' on ' || quote_ident(u.srvname), '{{}}'::jsonb,
       NULL, NULL, NULL
  FROM pg_user_mappings u
 WHERE {whole} AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_user_mapping'::regclass AND m.objid = u.umid)

-- name: default privileges
SELECT 'default privileges',
       'of ' || (SELECT name FROM roles r WHERE r.oid = x.defaclrole) || coalesce(' in ' || s.label, '') || ' on '
       || CASE x.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
                               WHEN 'n' THEN 'schemas' WHEN 'L' THEN 'large objects' ELSE x.defaclobjtype::text END,
       '{{}}'::jsonb,
       'pg_default_acl'::regclass, x.oid, 0
  FROM pg_default_acl x
  LEFT JOIN ours s ON s.oid = x.defaclnamespace
 WHERE (s.oid IS NOT NULL OR {whole} AND x.defaclnamespace = 0)
   -- a role of the platform's own name may be who migrates, and is on a scratch server that is the platform's
   AND (SELECT rolname = current_user OR rolname <> ALL ({without_roles}) FROM pg_roles WHERE oid = x.defaclrole)
