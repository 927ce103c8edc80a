-- What `doctor` asks. Reads only.

-- name: doctor_identity
SELECT current_user::text AS role, current_database()::text AS database

-- name: doctor_server
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number

-- name: doctor_writable
SELECT pg_is_in_recovery() AS standby, setting::boolean AS read_only, source
  FROM pg_settings WHERE name = 'default_transaction_read_only'

-- name: doctor_privileges
-- What the role may do with what a run needs. `owns_meta` and `meta_owner` are NULL where our schema is absent.
WITH needed AS (
    SELECT schema, name, unnest(privileges) AS privilege
      FROM (VALUES (%(meta)s::text, 'migration_journal', ARRAY['SELECT', 'INSERT']),
                   (%(meta)s, 'migration_lease', ARRAY['SELECT', 'INSERT', 'DELETE']),
                   (%(version_schema)s, %(version_table)s, ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'])
           ) AS v (schema, name, privileges)
), found AS (
    SELECT needed.*, n.oid AS schema_oid, c.oid AS table_oid
      FROM needed
      LEFT JOIN pg_namespace n ON n.nspname = needed.schema
      LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = needed.name AND c.relkind IN ('r', 'p')
)
SELECT r.rolname::text AS role, r.rolsuper AS superuser, r.rolbypassrls AS bypassrls, r.rolcreaterole AS createrole,
       has_database_privilege(current_database(), 'CREATE') AS makes_schemas, current_setting('search_path') AS path,
       CASE WHEN %(own)s = '' THEN current_schema()::text ELSE %(own)s END AS home,
       (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace
         WHERE nspname = CASE WHEN %(own)s = '' THEN current_schema() ELSE %(own)s END) AS makes_in_home,
       (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace
         WHERE nspname = 'public' AND %(own)s = '') AS makes_in_public,
       (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace
         WHERE nspname = %(version_schema)s) AS makes_version,
       pg_has_role(meta.nspowner, 'USAGE') AS owns_meta,
       pg_get_userbyid(meta.nspowner)::text AS meta_owner,
       ARRAY(SELECT DISTINCT schema || '.' || name FROM found WHERE table_oid IS NULL ORDER BY 1) AS absent,
       ARRAY(SELECT DISTINCT 'USAGE on schema ' || schema FROM found
              WHERE NOT has_schema_privilege(schema_oid, 'USAGE') ORDER BY 1)
       || ARRAY(SELECT string_agg(privilege, ', ' ORDER BY privilege) || ' on ' || schema || '.' || name FROM found
                 WHERE NOT has_table_privilege(table_oid, privilege)
                 GROUP BY schema, name ORDER BY schema, name) AS lacking
  FROM pg_roles r LEFT JOIN pg_namespace meta ON meta.nspname = %(meta)s
 WHERE r.rolname = current_user

-- name: doctor_settings
-- In milliseconds: what holds now, and what the session began with.
SELECT name, setting::bigint, reset_val::bigint FROM pg_settings WHERE name = ANY(%(names)s)

-- name: doctor_readers
-- The roles of an API that can reach what we keep: our schema, or a version table that is kept elsewhere.
SELECT reader, kind, place
  FROM (SELECT 'public' AS reader
        UNION ALL SELECT rolname::text FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS readers
 CROSS JOIN LATERAL (
       SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS place
         FROM pg_namespace WHERE nspname = %(meta)s AND has_schema_privilege(reader, oid, 'USAGE')
       UNION ALL
       SELECT 'TABLE', quote_ident(n.nspname) || '.' || quote_ident(c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(version_schema)s AND c.relname = %(version_table)s AND n.nspname <> %(meta)s
          AND has_schema_privilege(reader, n.oid, 'USAGE') AND NOT c.relrowsecurity
          AND (has_any_column_privilege(reader, c.oid, 'SELECT, INSERT, UPDATE')
               OR has_table_privilege(reader, c.oid, 'DELETE, TRUNCATE'))
      ) AS reached
 ORDER BY 1, 2

-- name: doctor_histories
-- Tables that other migration tools keep. Supabase's own schemas have a `schema_migrations` of theirs: not meant.
SELECT n.nspname::text AS schema, c.relname::text AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
   AND (n.nspname IN ('public', current_schema()) AND lower(c.relname) = ANY(%(names)s)
        OR n.nspname || '.' || c.relname = ANY(%(places)s))
 ORDER BY 1, 2

-- name: doctor_supabase_history
SELECT count(*) AS migrations, max(version)::text AS newest FROM supabase_migrations.schema_migrations

-- name: doctor_transactions
-- Of prepared ones, which have no session and so no pid, `query` is the name.
SELECT pid, role, extract(epoch FROM clock_timestamp() - since) AS age, state, query
  FROM (SELECT pid, usename::text AS role, xact_start AS since, state, query
          FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        UNION ALL
        SELECT NULL, owner::text, prepared, 'prepared', gid
          FROM pg_prepared_xacts WHERE database = current_database()) AS open
 WHERE since <= clock_timestamp() - make_interval(secs => %(seconds)s)
 ORDER BY since

-- name: doctor_lockers
-- Who lets nobody even read our tables; a prepared transaction has no pid.
SELECT pid FROM pg_locks
 WHERE granted AND mode = 'AccessExclusiveLock'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND relation IN (to_regclass(%(version)s), to_regclass('{meta}.migration_journal'))

-- name: doctor_hidden_sessions
-- Those of roles that ours may not look at; the server says so in this way only.
SELECT count(*) AS sessions FROM pg_stat_activity
 WHERE datname = current_database() AND query = '<insufficient privilege>'
