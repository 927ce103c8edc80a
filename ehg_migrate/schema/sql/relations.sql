-- What stands in a schema and what belongs to a relation.

-- name: schema
SELECT 'schema', s.label,
       jsonb_build_object(
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles r WHERE r.oid = n.nspowner) END),
       'pg_namespace'::regclass, n.oid, 0
  FROM ours s
  JOIN pg_namespace n ON n.oid = s.oid
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)

-- name: relation
-- Whether a materialized view holds rows is its data's affair, as a table's rows are.
SELECT CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
       r.ident,
       jsonb_build_object(
           'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
           'access method', (SELECT nullif(amname, current_setting('default_table_access_method')) FROM pg_am a WHERE a.oid = r.relam),
           'tablespace', (SELECT nullif(spcname, current_setting('default_tablespace')) FROM pg_tablespace t
                           WHERE t.oid = r.reltablespace),
           'of type', CASE WHEN r.reloftype <> 0 THEN format_type(r.reloftype, NULL) END,
           'partition by', CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
           'partition of', CASE WHEN r.relispartition
                                THEN (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = r.oid) END,
           'partition bound', pg_get_expr(r.relpartbound, r.oid),
           -- DETACH CONCURRENTLY was cut: the rows are no longer in the partitioned table, whatever else is as before
           'detach pending', CASE WHEN r.relispartition
                                  THEN (SELECT nullif(inhdetachpending, false) FROM pg_inherits WHERE inhrelid = r.oid) END,
           'inherits', CASE WHEN NOT r.relispartition
                            THEN (SELECT jsonb_agg(inhparent::regclass::text ORDER BY inhseqno)
                                    FROM pg_inherits WHERE inhrelid = r.oid) END,
           'row security', CASE WHEN r.relrowsecurity THEN true END,
           'row security forced', CASE WHEN r.relforcerowsecurity THEN true END,
           'replica identity', CASE
                                   WHEN r.relkind IN ('v', 'f') OR r.relreplident = 'd' THEN NULL
                                   WHEN r.relreplident = 'f' THEN 'full'
                                   WHEN r.relreplident = 'n' THEN 'nothing'
                                   ELSE 'index ' || coalesce((SELECT indexrelid::regclass::text FROM pg_index
                                                                        WHERE indrelid = r.oid AND indisreplident), '(gone)')
                               END,
           'options', (SELECT jsonb_object_agg(split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))
                         FROM unnest(r.reloptions) AS o),
           'toast options', (SELECT jsonb_object_agg(split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))
                               FROM pg_class t, unnest(t.reloptions) AS o WHERE t.oid = r.reltoastrelid),
           'query', b.query,
           'server', quote_ident(fs.srvname),
           'server options', o.list,
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles WHERE roles.oid = r.relowner) END),
       'pg_class'::regclass, r.oid, 0
  FROM relations r
  LEFT JOIN foreign_options o ON (o.classid, o.objid, o.objsubid) = ('pg_class'::regclass, r.oid, 0)
  LEFT JOIN queries b ON b.oid = r.oid
  LEFT JOIN pg_foreign_table ft ON ft.ftrelid = r.oid
  LEFT JOIN pg_foreign_server fs ON fs.oid = ft.ftserver
 WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')

-- name: column
SELECT 'column', r.ident || '.' || quote_ident(a.attname),
       jsonb_build_object(
           'type', format_type(a.atttypid, a.atttypmod),
           'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
           'default', CASE a.attgenerated WHEN '' THEN pg_get_expr(e.adbin, e.adrelid) END,
           'generated', CASE a.attgenerated
                            WHEN 's' THEN pg_get_expr(e.adbin, e.adrelid) || ' STORED'
                            WHEN 'v' THEN pg_get_expr(e.adbin, e.adrelid) || ' VIRTUAL'
                        END,
           -- since 17 that of a partition is always its partitioned table's, and cannot be another
           'identity', CASE WHEN NOT r.relispartition OR current_setting('server_version_num')::integer < 170000
                            THEN CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END END,
           -- its constraint, which 18 has, can be one that is not validated, or that no child inherits
           'not null', CASE WHEN a.attnotnull THEN
                            coalesce((SELECT to_jsonb(CASE WHEN n.connoinherit THEN 'no inherit' ELSE 'not validated' END)
                                        FROM pg_constraint n
                                       WHERE n.conrelid = a.attrelid AND n.contype = 'n'
                                         AND n.conkey = ARRAY[a.attnum] AND (n.connoinherit OR NOT n.convalidated)),
                                     to_jsonb(true)) END,
           'storage', CASE WHEN a.attstorage <> t.typstorage
                           THEN CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external'
                                                  WHEN 'm' THEN 'main' WHEN 'x' THEN 'extended' END END,
           'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
           'statistics', nullif(a.attstattarget, -1),
           -- servers of late 2026 stamp every column with a number of their own
           'options', CASE WHEN a.attoptions IS NOT NULL THEN
                           (SELECT jsonb_object_agg(split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))
                              FROM unnest(a.attoptions) AS o WHERE o !~ '^pg_attver=') END,
           'inherited only', CASE WHEN a.attinhcount > 0 AND NOT a.attislocal THEN true END,
           'server options', o.list),
       'pg_class'::regclass, a.attrelid, a.attnum
  FROM relations r
  JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
  LEFT JOIN foreign_options o ON (o.classid, o.objid, o.objsubid) = ('pg_class'::regclass, a.attrelid, a.attnum)
 WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')

-- name: column order
-- A note: it is read and it is no part of the fingerprint. The columns of a view are in its query.
SELECT 'column order', r.ident, jsonb_build_object('columns', jsonb_agg(quote_ident(a.attname) ORDER BY a.attnum)),
       NULL, NULL, NULL
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE r.relkind IN ('r', 'p', 'f')
 GROUP BY r.ident

-- name: constraint
-- Not those of a partition that come with the partitioned table, unless they are not enforced there, or have a comment or an
-- index with clauses of its own. Not NOT NULL, which stands at the column: PostgreSQL 18 made constraints of them. A foreign
-- key, or a key that is looked at late, whose triggers were switched off or left to replicas is not enforced, whatever it says.
SELECT 'constraint', quote_ident(c.conname) || ' on ' || r.ident,
       jsonb_build_object(
           'type', CASE c.contype WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' WHEN 'p' THEN 'primary key'
                                  WHEN 'u' THEN 'unique' WHEN 'x' THEN 'exclusion' ELSE c.contype::text END,
           'definition', pg_get_constraintdef(c.oid),
           'validated', CASE WHEN NOT c.convalidated THEN false END,
           'deferrable', CASE WHEN c.condeferred THEN 'initially deferred' WHEN c.condeferrable THEN 'initially immediate' END,
           'inherited only', CASE WHEN c.coninhcount > 0 AND NOT c.conislocal THEN true END,
           'index options', (SELECT jsonb_object_agg(split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))
                               FROM pg_class i, unnest(i.reloptions) AS o WHERE i.oid = x.indexrelid),
           'index tablespace', (SELECT nullif(spcname, current_setting('default_tablespace'))
                                  FROM pg_class i JOIN pg_tablespace t ON t.oid = i.reltablespace
                                 WHERE i.oid = x.indexrelid),
           'index valid', CASE WHEN NOT x.indisvalid THEN false END,
           'clustered', CASE WHEN x.indisclustered THEN true END,
           -- those of its tables, of which a foreign key has two, whose side is switched off
           'not enforced on', off.tables),
       'pg_constraint'::regclass, c.oid, 0
  FROM relations r
  JOIN pg_constraint c ON c.conrelid = r.oid AND c.contype IN ('c', 'f', 'p', 'u', 'x')
  LEFT JOIN (SELECT tgconstraint, jsonb_agg(DISTINCT tgrelid::regclass::text COLLATE "C") AS tables
               FROM pg_trigger WHERE tgenabled IN ('D', 'R') AND tgconstraint <> 0
              GROUP BY tgconstraint) AS off ON off.tgconstraint = c.oid
  LEFT JOIN pg_index x ON x.indexrelid = c.conindid AND c.contype IN ('p', 'u', 'x')
 WHERE c.conparentid = 0 OR off.tables IS NOT NULL OR x.indisclustered OR NOT x.indisvalid
    OR x.indexrelid IN (SELECT oid FROM pg_class
                         WHERE relkind = 'i' AND (reloptions IS NOT NULL
                                                  OR reltablespace NOT IN (SELECT 0 UNION ALL
                                                                           SELECT oid FROM pg_tablespace
                                                                            WHERE spcname = current_setting('default_tablespace'))))
    OR c.oid IN (SELECT objoid FROM comments WHERE classoid = 'pg_constraint'::regclass)

-- name: index
-- Not those of constraints. An index that CREATE INDEX CONCURRENTLY left behind is there, and is not valid.
SELECT 'index', i.oid::regclass::text,
       jsonb_build_object(
           'definition', pg_get_indexdef(i.oid),
           'valid', CASE WHEN NOT x.indisvalid THEN false END,
           'attached to', (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = i.oid),
           'clustered', CASE WHEN x.indisclustered THEN true END,
           'tablespace', (SELECT nullif(spcname, current_setting('default_tablespace')) FROM pg_tablespace t
                           WHERE t.oid = i.reltablespace),
           -- by number: a column that is an expression is called after what it was when it was made
           'statistics', (SELECT jsonb_object_agg(a.attnum, a.attstattarget)
                            FROM pg_attribute a WHERE a.attrelid = i.oid AND a.attstattarget >= 0)),
       'pg_class'::regclass, i.oid, 0
  FROM relations r
  JOIN pg_index x ON x.indrelid = r.oid
  JOIN pg_class i ON i.oid = x.indexrelid
 WHERE NOT EXISTS (SELECT FROM pg_constraint c
                    WHERE c.conindid = i.oid AND c.conrelid = r.oid AND c.contype IN ('p', 'u', 'x'))

-- name: sequence
-- Its owner is found by its dependency: pg_get_serial_sequence asks for privileges.
SELECT 'sequence', r.ident,
       jsonb_build_object(
           'type', format_type(s.seqtypid, NULL),
           'start', s.seqstart::text,
           'increment', s.seqincrement::text,
           'minimum', s.seqmin::text,
           'maximum', s.seqmax::text,
           'cache', s.seqcache::text,
           'cycle', CASE WHEN s.seqcycle THEN true END,
           -- since 15 that of an unlogged table is unlogged, too; before, no sequence was
           'persistence', CASE WHEN r.relpersistence = 'u'
                                    OR current_setting('server_version_num')::integer < 150000
                                       AND (SELECT relpersistence FROM pg_class t WHERE t.oid = h.refobjid) = 'u'
                               THEN 'unlogged' END,
           'owned by', CASE h.deptype WHEN 'i' THEN 'identity of ' ELSE '' END
                       || h.refobjid::regclass::text || '.'
                       || (SELECT quote_ident(attname) FROM pg_attribute WHERE (attrelid, attnum) = (h.refobjid, h.refobjsubid)),
           'owner', CASE WHEN {owners} THEN (SELECT name FROM roles WHERE roles.oid = r.relowner) END),
       'pg_class'::regclass, r.oid, 0
  FROM relations r
  JOIN pg_sequence s ON s.seqrelid = r.oid
  LEFT JOIN pg_depend h ON h.objid = r.oid AND h.classid = 'pg_class'::regclass AND h.deptype IN ('a', 'i')
                       AND h.refclassid = 'pg_class'::regclass AND h.refobjsubid > 0
