-- The frame of the catalogue: one message of several statements, of which one answers. The branches of the query stand in
-- the other files of this folder, each named after its kind of facts; `since 15` and `until 15` are major versions of the
-- server. Regular expressions stand between dollars: the message is read before its first statement has made backslashes
-- plain. A branch selects kind, identity, definition, and in three columns the object whose grants and comment belong to
-- the fact, if any. A clause that is as PostgreSQL makes it by itself is NULL, and so left out. A subquery for each row
-- must not join: without nested loops it reads a whole catalogue each time, so a join that finds all at once stands in
-- FROM. Joins cost their planning, too, so what can be joined once to all facts is. Braces are put in by `catalog.py`. No
-- OID, no column number and no order of creation may reach a fact's first three columns. The transaction says its mode: by
-- default it may be serializable and deferrable, and would wait until nobody writes in such a one any more. Behind other
-- questions of the message (`go on`) it cannot say so, and does not wait, since the first of them has settled that.

-- name: begin
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY

-- name: go on
BEGIN READ ONLY

-- name: savepoint
SAVEPOINT ehg_migrate_catalog

-- name: settings
-- Texts of PostgreSQL's deparser follow the session. With an empty path every name outside pg_catalog is qualified; the
-- other settings are those of a session that has set nothing. Deparsing a view waits for whoever alters its tables.
SET LOCAL search_path = '';
-- those of the database, by which tables are made in it that say nothing of one
SET LOCAL default_table_access_method TO DEFAULT;
SET LOCAL default_tablespace TO DEFAULT;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL lock_timeout = '5s';
-- whoever asks gives it up before that
SET LOCAL statement_timeout = {longest};
-- who waits for it gives up before that: of a large schema it would go on working for nobody
SET LOCAL client_connection_check_interval = '500ms';
SET LOCAL work_mem = '32MB';
-- the planner knows nothing of the sizes of WITH queries; nested loops over them made 2,000 tables take eight times longer,
-- sorting them for a merge up to a tenth
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL jit = off;
-- no plan for several processes is worth the thinking
SET LOCAL max_parallel_workers_per_gather = 0

-- name: limits since 17
-- The role's own would end the session; a limit of each statement there is. It puts aside what has begun before it.
SET LOCAL transaction_timeout = 0

-- name: commit
COMMIT

-- name: release
-- Back to the settings that the transaction had.
ROLLBACK TO SAVEPOINT ehg_migrate_catalog;
RELEASE SAVEPOINT ehg_migrate_catalog

-- name: base
WITH ours AS MATERIALIZED (
    -- the schemas in scope; `label` is how a fact calls one by itself
    SELECT oid, quote_ident(nspname) AS name, CASE WHEN {alias} = '' THEN quote_ident(nspname) ELSE '$schema' END AS label,
           CASE WHEN {alias} = '' THEN nspname ELSE '$schema' END AS plain
      FROM pg_namespace
     WHERE nspname !~ '^(pg_|ehg_migrate(_|$))' AND nspname <> 'information_schema'
       AND nspname <> ALL ({without_schemas}) AND ({whole} OR nspname = ANY ({only}))
), members AS MATERIALIZED (
    -- what belongs to an extension stands for itself in no fact
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), roles AS MATERIALIZED (
    -- the owner of the database is the same person everywhere, whatever the name; where asked, so is who migrates it
    SELECT oid, CASE WHEN oid = (SELECT datdba FROM pg_database WHERE datname = current_database()) THEN '$owner'
                     WHEN {migrator} AND rolname = current_user THEN '$migrator'
                     ELSE quote_ident(rolname) END AS name
      FROM pg_roles
    UNION ALL
    SELECT 0::oid, 'PUBLIC'
), relations AS MATERIALIZED (
    SELECT c.oid, s.name || '.' || quote_ident(c.relname) AS ident, c.relkind, c.relpersistence, c.relowner,
           c.relacl, c.relam, c.reltablespace, c.reloptions, c.reltoastrelid, c.reloftype, c.relispartition, c.relpartbound,
           c.relrowsecurity, c.relforcerowsecurity, c.relreplident
      FROM pg_class c JOIN ours s ON s.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
       AND s.plain || '.' || c.relname <> ALL ({without_tables})
       AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
), holders AS MATERIALIZED (
    -- what policies and triggers of ours can stand on: our relations, and the watched ones of schemas that are not ours
    SELECT oid, ident, false AS foreign_ground FROM relations
    UNION ALL
    SELECT c.oid, c.oid::regclass::text, true
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE {whole} AND n.nspname || '.' || c.relname = ANY ({watched}) AND n.oid NOT IN (SELECT oid FROM ours)
), queries AS MATERIALIZED (
-- queries
), acls AS (
    -- NULL and the default written out are the same; the default of relations, schemas and what is foreign gives others
    -- nothing, so where it holds there is nothing to look at
    SELECT 'pg_class'::regclass::oid AS classid, oid AS objid, 0 AS objsubid, relowner AS owner, relacl AS acl,
           acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner) AS initial
      FROM relations WHERE relkind <> 'c' AND relacl IS NOT NULL
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, r.relowner, a.attacl, acldefault('c', r.relowner)
      FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0, p.proowner, p.proacl, acldefault('f', p.proowner)
      FROM pg_proc p JOIN ours s ON s.oid = p.pronamespace
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0, t.typowner, t.typacl, acldefault('T', t.typowner)
      FROM pg_type t JOIN ours s ON s.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r', 'b', 'c')
    UNION ALL
    SELECT 'pg_namespace'::regclass, n.oid, 0, n.nspowner, n.nspacl, acldefault('n', n.nspowner)
      FROM pg_namespace n JOIN ours s ON s.oid = n.oid WHERE n.nspacl IS NOT NULL
    UNION ALL
    SELECT 'pg_language'::regclass, oid, 0, lanowner, lanacl, acldefault('l', lanowner) FROM pg_language
    UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, acldefault('F', fdwowner) FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, acldefault('S', srvowner) FROM pg_foreign_server
    UNION ALL
    -- those of a schema are added to what holds anyway; those of the whole database stand in its place
    SELECT 'pg_default_acl'::regclass, oid, 0, defaclrole, defaclacl,
           CASE WHEN defaclnamespace = 0
                THEN acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole) END
      FROM pg_default_acl
), grants AS MATERIALIZED (
    -- role -> privileges, whoever granted them; MAINTAIN of PostgreSQL 17 left out, since others do not have it
    SELECT classid, objid, objsubid, jsonb_object_agg(grantee, privileges) AS list
      FROM (SELECT classid, objid, objsubid, (SELECT name FROM roles r WHERE r.oid = given.grantee) AS grantee,
                   string_agg(privilege_type || CASE WHEN grantable THEN ' WITH GRANT OPTION' ELSE '' END,
                              ', ' ORDER BY privilege_type COLLATE "C") AS privileges
              FROM (SELECT a.classid, a.objid, a.objsubid, x.grantee, x.privilege_type, bool_or(x.is_grantable) AS grantable
                      FROM acls a CROSS JOIN LATERAL aclexplode(coalesce(a.acl, a.initial)) AS x
                     WHERE x.grantee <> a.owner AND x.privilege_type <> 'MAINTAIN'
                       -- who owns the database owns what pg_database_owner owns: public, which until 14 was a superuser's
                       AND NOT (x.grantee = (SELECT datdba FROM pg_database WHERE datname = current_database())
                                AND (a.owner = 'pg_database_owner'::regrole
                                     OR (a.classid, a.objid) = ('pg_namespace'::regclass, to_regnamespace('public')::oid)))
                     GROUP BY a.classid, a.objid, a.objsubid, x.grantee, x.privilege_type) AS given
             GROUP BY classid, objid, objsubid, given.grantee
            UNION ALL
            SELECT a.classid, a.objid, a.objsubid, '$self',
                   'without ' || string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)
              FROM acls a CROSS JOIN LATERAL aclexplode(a.initial) AS x
             -- most have all that they had; an ACL that holds an item as it was need not be taken apart
             WHERE a.acl IS NOT NULL AND EXISTS (SELECT FROM unnest(a.initial) AS item WHERE NOT a.acl @> item)
               AND x.grantee = a.owner AND x.privilege_type <> 'MAINTAIN'
               AND NOT EXISTS (SELECT FROM aclexplode(a.acl) AS y
                                WHERE y.grantee = a.owner AND y.privilege_type = x.privilege_type)
             GROUP BY a.classid, a.objid, a.objsubid) AS listed
     GROUP BY classid, objid, objsubid
), foreign_options AS MATERIALIZED (
    -- enough to see that one has changed, never the value: it may be a secret
    SELECT classid, objid, objsubid,
           jsonb_object_agg(o.option_name,
                            CASE WHEN o.option_name ~* 'pass|secret|token|key|credential' THEN '(not read)'
                                 ELSE 'sha256:' || left(encode(sha256(convert_to(o.option_value, 'UTF8')), 'hex'), 12)
                            END) AS list
      FROM (SELECT 'pg_foreign_data_wrapper'::regclass::oid, oid, 0, fdwoptions FROM pg_foreign_data_wrapper
            UNION ALL
            SELECT 'pg_foreign_server'::regclass, oid, 0, srvoptions FROM pg_foreign_server
            UNION ALL
            SELECT 'pg_class'::regclass, ftrelid, 0, ftoptions FROM pg_foreign_table
            UNION ALL
            SELECT 'pg_class'::regclass, ftrelid, attnum, attfdwoptions
              FROM pg_foreign_table
             CROSS JOIN LATERAL (SELECT attnum, attfdwoptions FROM pg_attribute WHERE attrelid = ftrelid OFFSET 0) AS a
             WHERE attfdwoptions IS NOT NULL
           ) AS given (classid, objid, objsubid, options)
     CROSS JOIN LATERAL pg_options_to_table(given.options) AS o
     GROUP BY classid, objid, objsubid
), comments AS MATERIALIZED (
    -- FirstNormalObjectId: below it stands what initdb made, of which `public` alone is ours
    SELECT classoid, objoid, objsubid, description FROM pg_description
     WHERE objoid >= 16384 OR classoid = 'pg_namespace'::regclass AND description <> 'standard public schema'
), facts (kind, ident, def, classid, objid, objsubid) AS MATERIALIZED (
-- branches
), written AS MATERIALIZED (
    -- this and what follows would else be put into each mention of their texts, and made as often
    SELECT f.kind, f.ident, jsonb_strip_nulls(CASE WHEN g.list IS NULL AND d.description IS NULL THEN f.def
                                                   ELSE f.def || jsonb_build_object('grants', g.list, 'comment', d.description)
                                              END)::text AS def
      FROM facts f
      LEFT JOIN grants g ON (g.classid, g.objid, g.objsubid) = (f.classid, f.objid, f.objsubid)
      LEFT JOIN comments d ON (d.classoid, d.objoid, d.objsubid) = (f.classid, f.objid, f.objsubid)
), folded AS MATERIALIZED (
    -- A list of varchar constants is deparsed in one way after it was written and in another after it was dumped and
    -- restored: `(ARRAY['a'::character varying])::text[]` and `ARRAY[('a'::character varying)::text]`. Both lose the cast.
    SELECT kind, ident,
           CASE WHEN deparsed AND def LIKE '%::character varying%'
                THEN regexp_replace(
                         regexp_replace(def, $re$(?<=\[|, )\(($re$ || item || $re$)\)::text(?=, |\])$re$, $re$\1$re$, 'g'),
                         $re$\((ARRAY\[(?:$re$ || item || $re$(?:, )?)+\])\)::text\[\]$re$, $re$\1$re$, 'g')
                ELSE def END AS def, deparsed
      -- a body is text of whoever wrote it, but for those in standard SQL; in JSON no text can have this key in it
      FROM (SELECT *, kind NOT IN ('function', 'procedure') OR def ~ '"body": "(BEGIN ATOMIC|RETURN )' AS deparsed
              FROM written) AS told
     CROSS JOIN (SELECT $re$(?:'(?:[^']|'')*'|NULL)::character varying(?:\(\d+\))?$re$) AS items (item)
), unnamed AS MATERIALIZED (
    -- A constant that is selected under no name (`EXISTS (SELECT NULL ...)`) is written with its type, and whoever reads
    -- that text names it after the type: `NULL::text AS text`. A name that would be given anyway is left out.
    SELECT kind, ident,
           CASE WHEN deparsed AND def ~ $re$('|NULL)::[^']* AS $re$
                THEN regexp_replace(
                         regexp_replace(def, $re$('|\mNULL)::(\w+) AS (?:\2|\\"\2\\")(?![\w$])$re$, $re$\1::\2$re$, 'g'),
                         $re$('|\mNULL)::(integer(?= AS int4[^\w$])|bigint(?= AS int8[^\w$])) AS \w+$re$,
                         $re$\1::\2$re$, 'g')
                ELSE def END AS def, deparsed
      FROM folded
), flat AS MATERIALIZED (
    -- `a BETWEEN 1 AND 2 AND b` is an AND in an AND, and is written so until it was dumped and restored: who reads
    -- `((x AND y) AND z)` makes one AND of it. So is done here, to three in each other; an OR likewise.
    SELECT kind, ident,
           CASE WHEN NOT deparsed OR def NOT LIKE '%)) AND %' AND def NOT LIKE '%)) OR %' THEN def
                ELSE regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(def,
                         ands, $re$(\1$re$, 'g'), ors, $re$(\1$re$, 'g'), ands, $re$(\1$re$, 'g'),
                         ors, $re$(\1$re$, 'g'), ands, $re$(\1$re$, 'g'), ors, $re$(\1$re$, 'g')
                END AS def
      FROM unnamed
     CROSS JOIN (SELECT replace(pattern, '&', 'AND') AS ands, replace(pattern, '&', 'OR') AS ors
                   FROM (SELECT $re$\(\(($re$ || inside || '(?: & ' || inside || $re$)+)\)(?= & )$re$ AS pattern
                           -- what stands in parentheses, to five in each other
                           FROM (SELECT replace(one, '@', replace(one, '@', replace(one, '@', replace(one, '@',
                                        replace(one, '@', $re$\(\)$re$))))) AS inside
                                   FROM (SELECT $re$\((?:[^()']|'(?:[^']|'')*'|@)*\)$re$ AS one) AS ones) AS insides
                        ) AS patterns) AS nested
), namesakes AS MATERIALIZED (
    -- As JSON has them: the names of what stands in the one schema, as keys, since a schema may have more than a regular
    -- expression bears; and for one, between bars, what else the columns of a relation are called that is called like it.
    SELECT coalesce(jsonb_object_agg(told.name, 1) FILTER (WHERE stands), '{{}}') AS names,
           string_agg(regexp_replace(told.name, $re$(\W)$re$, $re$\\\1$re$, 'g'), '|') FILTER (WHERE NOT stands) AS columns
      FROM (SELECT replace(quote_ident(name), '"', $re$\"$re$), bool_or(stands)
              FROM (SELECT relname, true FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT proname, true FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT typname, true FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT collname, true FROM pg_collation WHERE collnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT opcname, true FROM pg_opclass WHERE opcnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT opfname, true FROM pg_opfamily WHERE opfnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT stxname, true FROM pg_statistic_ext WHERE stxnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT cfgname, true FROM pg_ts_config WHERE cfgnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT dictname, true FROM pg_ts_dict WHERE dictnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT tmplname, true FROM pg_ts_template WHERE tmplnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT prsname, true FROM pg_ts_parser WHERE prsnamespace IN (SELECT oid FROM ours)
                    UNION ALL SELECT a.attname, false FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                               WHERE c.relnamespace IN (SELECT oid FROM ours) AND c.relname = {alias} AND NOT a.attisdropped
                   ) AS given (name, stands)
             WHERE {alias} <> ''
             GROUP BY 1) AS told (name, stands)
), named AS MATERIALIZED (
    SELECT kind,
           CASE WHEN {alias} = '' THEN ident ELSE regexp_replace(ident, pattern, '$schema', 'g') END AS ident,
           CASE WHEN {alias} = '' THEN def
                -- what is called so already is somebody's text, as the keys of JSON Schema are
                ELSE regexp_replace(
                         replace(def, '$schema.', '$schema$.'),
                         CASE WHEN kind IN ('function', 'procedure') THEN body_pattern ELSE json_pattern END
                         -- what follows has a say where an alias or a variable is called like the schema, or else a table
                         || CASE WHEN strpos(replace(def, plain || '.', ''), plain) > 0 AND def ~ alone
                                 THEN $re$(?=\.(?:$re$
                                      || coalesce((SELECT '(?:' || string_agg(DISTINCT regexp_replace(found[1], $re$(\W)$re$,
                                                                                                      $re$\\\1$re$, 'g'), '|')
                                                          || $re$)(?:[^\w$]|$)|$re$
                                                     FROM regexp_matches(def, follower, 'g') AS found
                                                    WHERE names ? found[1]), '')
                                      || $re$[^\w"\\*]))|$re$ || operator
                                 ELSE coalesce($re$(?!\.(?:(?:$re$ || columns || $re$)(?:[^\w$]|$)|\*))|$re$ || operator, '') END,
                         '$schema', 'g') END AS def
      FROM flat
     CROSS JOIN (SELECT $re$(?<![\w$.])$re$ || name || $re$(?=\.)$re$,
                        $re$(?<![\w$.])$re$ || json_name || $re$(?=\.)$re$,
                        -- 'dev.example.org' is no name, 'dev.numbers'::regclass is
                        $re$(?:(?<![\w$.'])$re$ || json_name || $re$(?=\.)|(?<=')$re$ || json_name || $re$(?=\.[^']*'::reg))$re$,
                        json_plain,
                        $re$(?<![\w$'"])$re$ || json_name || $re$(?![\w$.'])$re$,
                        $re$(?<=OPERATOR\()$re$ || json_name || $re$(?=\.)$re$,
                        $re$(?<=$re$ || json_name || $re$)\.(\w+|\\"(?:[^"\\]|\\"\\")+\\")$re$
                   FROM quote_ident({alias}) AS quoted,
                        replace(quoted, '"', $re$\"$re$) AS json_plain,
                        regexp_replace(quoted, $re$(\W)$re$, $re$\\\1$re$, 'g') AS name,
                        regexp_replace(json_plain, $re$(\W)$re$, $re$\\\1$re$, 'g') AS json_name
                ) AS alias (pattern, body_pattern, json_pattern, plain, alone, operator, follower)
     CROSS JOIN namesakes
)

-- name: queries since 16
    SELECT oid, pg_get_viewdef(oid) AS query FROM relations WHERE relkind IN ('v', 'm')

-- name: queries until 15
    -- Before version 16 a query of one table wrote the table before each column, which later ones do not. It is taken out
    -- where no subquery is near, in which it would have to stay, and never out of a constant or a quoted name. Nor where a
    -- schema is called like the table: `audit.lower(name)` would become another function, and `FROM audit.audit` no table.
    SELECT v.oid,
           CASE WHEN v.query ~ 'SELECT.*SELECT' OR place.name IS NULL
                     OR v.query ~ ($re$(?:FROM |FROM ONLY |::|COLLATE |OPERATOR\()$re$ || place.name || $re$\.$re$)
                     OR v.query ~ ($re$(?<![\w$.])$re$ || place.name || $re$\.(?:\w+|"[^"]+")\($re$) THEN v.query
                ELSE (SELECT string_agg(CASE WHEN piece[1] ~ $re$^['"]$re$ THEN piece[1]
                                             ELSE regexp_replace(piece[1], $re$(?<![\w$.])$re$ || place.name
                                                                           || $re$\.(?!\*)$re$, '', 'g')
                                        END, '' ORDER BY n)
                        FROM regexp_matches(v.query, $re$('(?:[^']|'')*'|"(?:[^"]|"")*"|[^'"]+)$re$, 'g')
                             WITH ORDINALITY AS pieces (piece, n))
           END AS query
      FROM (SELECT oid, pg_get_viewdef(oid) AS query FROM relations WHERE relkind IN ('v', 'm')) AS v
      LEFT JOIN LATERAL (
           SELECT coalesce(found[2], found[1]) AS name
             FROM regexp_match(v.query, $re$\n   FROM (?:ONLY )?(?:(?:\w+|"(?:[^"]|"")+")\.)?(\w+)(?: (\w+))?(?:;|\n)$re$) AS found
           ) AS place ON true

-- name: facts
SELECT kind, ident, def::jsonb FROM named

-- name: fingerprint
-- Each fact hashed, the hashes sorted as bytes: no collation and no encoding of the database has a say.
SELECT encode(sha256(coalesce(string_agg(hash, ''::bytea ORDER BY hash), '')), 'hex') AS fingerprint
  FROM (SELECT sha256(convert_to(kind || E'\n' || ident || E'\n'
                                 || CASE WHEN {alias} = '' THEN def ELSE def::jsonb::text END, 'UTF8')) AS hash
          FROM named) AS hashed
