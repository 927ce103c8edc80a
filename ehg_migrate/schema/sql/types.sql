-- name: type
-- Not the row types of relations, not arrays and multiranges: they come with what they are made from.
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'c' THEN 'composite type' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range'
                      WHEN 'p' THEN 'shell type' ELSE 'base type' END,
       s.name || '.' || quote_ident(t.typname),
       jsonb_build_object(
           'labels', CASE t.typtype WHEN 'e' THEN (SELECT jsonb_agg(enumlabel ORDER BY enumsortorder)
                                                     FROM pg_enum WHERE enumtypid = t.oid) END,
           'attributes', m.attributes,
           'base', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
           'not null', CASE WHEN t.typnotnull THEN true END,
           -- typdefault is the text of whoever wrote it
           'default', coalesce(pg_get_expr(t.typdefaultbin, 0), CASE WHEN t.typtype <> 'd' THEN t.typdefault END),
           'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation
                             THEN t.typcollation::regcollation::text END,
           'constraints', CASE t.typtype WHEN 'd' THEN (
               SELECT jsonb_object_agg(quote_ident(c.conname), pg_get_constraintdef(c.oid))
                 FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c') END,
           'constraint comments', CASE t.typtype WHEN 'd' THEN (
               SELECT jsonb_object_agg(quote_ident(c.conname), obj_description(c.oid, 'pg_constraint'))
                 FROM pg_constraint c
                WHERE c.contypid = t.oid AND c.contype = 'c' AND obj_description(c.oid, 'pg_constraint') IS NOT NULL) END,
           'range', (SELECT jsonb_strip_nulls(jsonb_build_object(
                                'subtype', format_type(r.rngsubtype, NULL),
                                'collation', CASE WHEN r.rngcollation <> u.typcollation
                                                  THEN r.rngcollation::regcollation::text END,
                                'operator class', (SELECT c.opcnamespace::regnamespace::text || '.' || quote_ident(c.opcname)
                                                     FROM pg_opclass c WHERE c.oid = r.rngsubopc),
                                'canonical', nullif(r.rngcanonical::regprocedure::text, '-'),
                                'difference', nullif(r.rngsubdiff::regprocedure::text, '-'),
                                'multirange', format_type(r.rngmultitypid, NULL)))
                       FROM pg_range r JOIN pg_type u ON u.oid = r.rngsubtype WHERE r.rngtypid = t.oid),
           'functions', CASE WHEN t.typtype = 'b' AND t.typelem = 0
                             THEN t.typinput::regprocedure::text || ', ' || t.typoutput::regprocedure::text END,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = t.typowner) END),
       'pg_type'::regclass, t.oid, 0
  FROM pg_type t
  JOIN ours s ON s.oid = t.typnamespace
  LEFT JOIN pg_type b ON b.oid = t.typbasetype
  LEFT JOIN (SELECT a.attrelid,
                    jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                        'name', quote_ident(a.attname),
                        'type', format_type(a.atttypid, a.atttypmod),
                        'collation', CASE WHEN a.attcollation <> u.typcollation THEN a.attcollation::regcollation::text END,
                        'comment', d.description)) ORDER BY a.attnum) AS attributes
               FROM relations r
               JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
               JOIN pg_type u ON u.oid = a.atttypid
               LEFT JOIN comments d ON (d.classoid, d.objoid, d.objsubid) = ('pg_class'::regclass, a.attrelid, a.attnum)
              WHERE r.relkind = 'c'
              GROUP BY a.attrelid) AS m ON t.typtype = 'c' AND m.attrelid = t.typrelid
 WHERE (t.typtype IN ('e', 'd', 'r', 'p')
        OR t.typtype = 'c' AND t.typrelid IN (SELECT oid FROM relations WHERE relkind = 'c')
        OR t.typtype = 'b' AND t.typsubscript <> 'array_subscript_handler'::regproc)
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)

-- name: collation
-- Columns of pg_collation have other names in other versions; that of the library is the machine's affair.
SELECT 'collation', s.name || '.' || quote_ident(c.collname),
       jsonb_build_object(
           'provider', CASE c.collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END,
           'locale', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale',
                              concat_ws(' / ', c.collcollate, nullif(c.collctype, c.collcollate))),
           'rules', to_jsonb(c) ->> 'collicurules',
           'deterministic', CASE WHEN NOT c.collisdeterministic THEN false END,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = c.collowner) END),
       'pg_collation'::regclass, c.oid, 0
  FROM pg_collation c
  JOIN ours s ON s.oid = c.collnamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_collation'::regclass AND m.objid = c.oid)

-- name: statistics
SELECT 'statistics', s.name || '.' || quote_ident(x.stxname),
       jsonb_build_object(
           'definition', pg_get_statisticsobjdef(x.oid),
           'target', nullif(x.stxstattarget, -1),
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = x.stxowner) END),
       'pg_statistic_ext'::regclass, x.oid, 0
  FROM pg_statistic_ext x
  JOIN ours s ON s.oid = x.stxnamespace
