-- What a step on a target that is one schema has touched of the others; `ours` are the schemas that it may touch.

-- name: neighbours_locked
-- What of other schemas the working transaction has a lock on that lets it write or change: asked beside it, where what
-- it has dropped is still to be seen. The number is higher than any that it has given to a part of itself.
SELECT pg_current_xact_id()::text,
       ARRAY(SELECT o.type || ' ' || o.identity
               FROM (SELECT DISTINCT relation FROM pg_locks
                      WHERE pid = %(pid)s AND locktype = 'relation' AND granted
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        AND mode NOT IN ('AccessShareLock', 'RowShareLock')) AS locked
               JOIN pg_class c ON c.oid = locked.relation
               JOIN pg_namespace n ON n.oid = c.relnamespace
              CROSS JOIN LATERAL pg_identify_object('pg_class'::regclass, c.oid, 0) AS o
              WHERE n.nspname !~ '^pg_' AND n.nspname <> ALL (%(ours)s)
             UNION
             -- a comment takes a weaker lock than a change; on what belongs to an extension it is the extension's
             SELECT o.type || ' ' || o.identity
               FROM (SELECT DISTINCT classid, objid FROM pg_locks l
                      WHERE pid = %(pid)s AND locktype = 'object' AND mode NOT IN ('AccessShareLock', 'RowShareLock')
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        AND (mode = 'AccessExclusiveLock'
                             OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = l.classid AND d.objid = l.objid
                                                                      AND d.deptype = 'e'))) AS locked
              CROSS JOIN LATERAL pg_identify_object(locked.classid, locked.objid, 0) AS o
              CROSS JOIN LATERAL (
                    SELECT coalesce(
                           o.schema, CASE o.type WHEN 'schema' THEN o.identity END,
                           (SELECT quote_ident(n.nspname)
                              FROM (SELECT polrelid FROM pg_policy WHERE locked.classid = 'pg_policy'::regclass AND oid = locked.objid
                                     UNION ALL
                                    SELECT tgrelid FROM pg_trigger WHERE locked.classid = 'pg_trigger'::regclass AND oid = locked.objid
                                     UNION ALL
                                    SELECT ev_class FROM pg_rewrite WHERE locked.classid = 'pg_rewrite'::regclass AND oid = locked.objid
                                   ) AS part (relation)
                              JOIN pg_class c ON c.oid = part.relation JOIN pg_namespace n ON n.oid = c.relnamespace))
                   ) AS place (schema)
              WHERE place.schema !~ '^pg_'
                AND place.schema <> ALL (%(ours)s)
                AND place.schema <> ALL (SELECT quote_ident(unnest(%(ours)s)))
             UNION
             -- rows that go without a lock on what they belong to: whoever works has ended them, and they are here still
             SELECT 'default acl in schema ' || quote_ident(n.nspname)
               FROM pg_default_acl a JOIN pg_namespace n ON n.oid = a.defaclnamespace
              WHERE n.nspname <> ALL (%(ours)s)
                AND a.xmax::text IN (SELECT transactionid::text FROM pg_locks
                                      WHERE pid = %(pid)s AND locktype = 'transactionid' AND mode = 'ExclusiveLock')
             UNION
             SELECT 'text search configuration ' || quote_ident(n.nspname) || '.' || quote_ident(g.cfgname)
               FROM pg_ts_config_map m JOIN pg_ts_config g ON g.oid = m.mapcfg JOIN pg_namespace n ON n.oid = g.cfgnamespace
              WHERE n.nspname !~ '^pg_' AND n.nspname <> ALL (%(ours)s)
                AND m.xmax::text IN (SELECT transactionid::text FROM pg_locks
                                      WHERE pid = %(pid)s AND locktype = 'transactionid' AND mode = 'ExclusiveLock')
              ORDER BY 1)

-- name: neighbours_changed
-- What of other schemas the present transaction, or a part of it, has made or changed: rows of the catalogues that it has
-- written. They are visible to itself alone. A member of an extension is the database's. A row has only the lower half
-- of its transaction's number, so those that were frozen long ago may have any; `next` keeps them out.
WITH numbers AS (
    SELECT pg_current_xact_id()::text::bigint AS first, %(next)s::bigint AS next
), written (number, place, relation, class, object) AS (
    SELECT xmin, relnamespace, 0::oid, tableoid, oid FROM pg_class
    UNION ALL SELECT xmin, oid, 0, tableoid, oid FROM pg_namespace
    UNION ALL SELECT xmin, pronamespace, 0, tableoid, oid FROM pg_proc
    UNION ALL SELECT xmin, typnamespace, 0, tableoid, oid FROM pg_type WHERE typrelid = 0 AND typelem = 0
    UNION ALL SELECT xmin, oprnamespace, 0, tableoid, oid FROM pg_operator
    UNION ALL SELECT xmin, opcnamespace, 0, tableoid, oid FROM pg_opclass
    UNION ALL SELECT xmin, opfnamespace, 0, tableoid, oid FROM pg_opfamily
    UNION ALL SELECT xmin, collnamespace, 0, tableoid, oid FROM pg_collation
    UNION ALL SELECT xmin, connamespace, 0, tableoid, oid FROM pg_conversion
    UNION ALL SELECT xmin, cfgnamespace, 0, tableoid, oid FROM pg_ts_config
    UNION ALL SELECT m.xmin, c.cfgnamespace, 0, c.tableoid, c.oid FROM pg_ts_config_map m JOIN pg_ts_config c ON c.oid = m.mapcfg
    UNION ALL SELECT xmin, dictnamespace, 0, tableoid, oid FROM pg_ts_dict
    UNION ALL SELECT xmin, stxnamespace, 0, tableoid, oid FROM pg_statistic_ext
    UNION ALL SELECT xmin, defaclnamespace, 0, tableoid, oid FROM pg_default_acl
    UNION ALL SELECT xmin, 0, attrelid, 'pg_class'::regclass, attrelid FROM pg_attribute
    UNION ALL SELECT xmin, 0, adrelid, 'pg_class'::regclass, adrelid FROM pg_attrdef
    UNION ALL SELECT xmin, 0, conrelid, 'pg_class'::regclass, conrelid FROM pg_constraint
    UNION ALL SELECT k.xmin, k.connamespace, 0, k.tableoid, k.oid FROM pg_constraint k WHERE k.contypid <> 0
    UNION ALL SELECT xmin, 0, tgrelid, 'pg_class'::regclass, tgrelid FROM pg_trigger
    UNION ALL SELECT xmin, 0, polrelid, 'pg_class'::regclass, polrelid FROM pg_policy
    UNION ALL SELECT xmin, 0, ev_class, 'pg_class'::regclass, ev_class FROM pg_rewrite
    UNION ALL SELECT xmin, 0, indrelid, 'pg_class'::regclass, indrelid FROM pg_index
    UNION ALL SELECT xmin, 0, inhparent, 'pg_class'::regclass, inhparent FROM pg_inherits
    UNION ALL SELECT xmin, 0, seqrelid, 'pg_class'::regclass, seqrelid FROM pg_sequence
    UNION ALL SELECT e.xmin, t.typnamespace, 0, t.tableoid, t.oid FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
    UNION ALL SELECT xmin, 0, objoid, classoid, objoid FROM pg_description WHERE classoid = 'pg_class'::regclass
    UNION ALL SELECT d.xmin, p.pronamespace, 0, p.tableoid, p.oid FROM pg_description d JOIN pg_proc p ON p.oid = d.objoid
               WHERE d.classoid = 'pg_proc'::regclass
    UNION ALL SELECT d.xmin, t.typnamespace, 0, t.tableoid, t.oid FROM pg_description d JOIN pg_type t ON t.oid = d.objoid
               WHERE d.classoid = 'pg_type'::regclass
), counted AS (
    SELECT DISTINCT written.*, first, next,
           first + ((number::text::bigint - first) %% 4294967296 + 4294967296) %% 4294967296 AS whole
      FROM written, numbers
), mine AS MATERIALIZED (
    SELECT * FROM counted
     WHERE whole < next AND CASE WHEN whole < next THEN pg_xact_status(whole::text::xid8) END = 'in progress'
)
SELECT DISTINCT o.type || ' ' || o.identity
  FROM mine LEFT JOIN pg_class c ON c.oid = mine.relation
  JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, mine.place)
 CROSS JOIN LATERAL pg_identify_object(mine.class, mine.object, 0) AS o
 WHERE n.nspname !~ '^pg_' AND n.nspname <> ALL (%(ours)s)
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = mine.class AND d.objid = mine.object AND d.deptype = 'e')
 ORDER BY 1

-- name: neighbours_now
-- Other schemas' relations and routines with the last change of each, to be held against a later look. Not what this
-- tool keeps for other targets: their runners may be making it.
SELECT kind, name, number::text
  FROM (SELECT 'relation' AS kind, n.nspname, n.nspname || '.' || c.relname AS name, c.xmin AS number
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        UNION ALL
        SELECT 'routine', n.nspname,
               n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.xmin
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace) AS there
 WHERE nspname !~ '^(pg_|ehg_migrate(_|$))' AND nspname <> ALL (%(ours)s)
