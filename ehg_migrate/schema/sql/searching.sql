-- Text search.

-- name: configuration
SELECT 'text search configuration', s.name || '.' || quote_ident(c.cfgname),
       jsonb_build_object(
           'parser', p.prsnamespace::regnamespace::text || '.' || quote_ident(p.prsname),
           'mappings', (SELECT jsonb_object_agg(alias, dictionaries)
                          FROM (SELECT t.alias, jsonb_agg(m.mapdict::regdictionary::text ORDER BY m.mapseqno) AS dictionaries
                                  FROM pg_ts_config_map m JOIN ts_token_type(c.cfgparser) AS t ON t.tokid = m.maptokentype
                                 WHERE m.mapcfg = c.oid GROUP BY t.alias) AS mapped),
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = c.cfgowner) END),
       'pg_ts_config'::regclass, c.oid, 0
  FROM pg_ts_config c
  JOIN ours s ON s.oid = c.cfgnamespace
  JOIN pg_ts_parser p ON p.oid = c.cfgparser
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_config'::regclass AND m.objid = c.oid)

-- name: dictionary
SELECT 'text search dictionary', s.name || '.' || quote_ident(x.dictname),
       jsonb_build_object(
           'template', t.tmplnamespace::regnamespace::text || '.' || quote_ident(t.tmplname),
           'options', x.dictinitoption,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = x.dictowner) END),
       'pg_ts_dict'::regclass, x.oid, 0
  FROM pg_ts_dict x
  JOIN ours s ON s.oid = x.dictnamespace
  JOIN pg_ts_template t ON t.oid = x.dicttemplate
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_dict'::regclass AND m.objid = x.oid)

-- name: template
SELECT 'text search template', s.name || '.' || quote_ident(t.tmplname),
       jsonb_build_object('init', nullif(t.tmplinit::regprocedure::text, '-'), 'lexize', t.tmpllexize::regprocedure::text),
       'pg_ts_template'::regclass, t.oid, 0
  FROM pg_ts_template t
  JOIN ours s ON s.oid = t.tmplnamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_template'::regclass AND m.objid = t.oid)

-- name: parser
SELECT 'text search parser', s.name || '.' || quote_ident(p.prsname),
       jsonb_build_object('start', p.prsstart::regprocedure::text, 'token', p.prstoken::regprocedure::text,
                          'end', p.prsend::regprocedure::text, 'types', p.prslextype::regprocedure::text,
                          'headline', nullif(p.prsheadline::regprocedure::text, '-')),
       'pg_ts_parser'::regclass, p.oid, 0
  FROM pg_ts_parser p
  JOIN ours s ON s.oid = p.prsnamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_parser'::regclass AND m.objid = p.oid)
