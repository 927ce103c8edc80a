-- What stands in a target below its revisions, as one row: see `Ground`. Wants no privilege. `{home}` is the schema where
-- what they make lands, `{alone}` whether it is all that they may change.
SELECT current_setting('server_version_num')::int / 10000 AS major,
       -- a schema called as the role; whoever is it on a scratch database is called otherwise
       CASE WHEN to_regnamespace(quote_ident(current_user)) IS NULL THEN current_setting('search_path')
            ELSE replace(current_setting('search_path'), '"$user"', quote_ident(current_user)) END AS search_path,
       -- how a date, a moment, an interval, a backslash, a NULL and a body in a revision are read; the names of one zone are one
       ARRAY[CASE WHEN current_setting('TimeZone') IN ('UTC', 'Etc/UTC', 'GMT', 'Etc/GMT') THEN 'UTC'
                  ELSE current_setting('TimeZone') END,
             current_setting('DateStyle'), current_setting('IntervalStyle'),
             current_setting('standard_conforming_strings'), current_setting('array_nulls'),
             current_setting('transform_null_equals'), current_setting('check_function_bodies'),
             current_setting('quote_all_identifiers')] AS reading,
       ARRAY(SELECT rolname::text FROM pg_roles
              WHERE rolname IN ('anon', 'authenticated', 'service_role') ORDER BY 1) AS roles,
       -- of those that are the platform's own; a revision grants to one of them what a hook of the platform calls
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname IN ({keepers}) ORDER BY 1) AS keepers,
       -- a schema of such a name that is the migrating role's own was made by a revision, if any may make one
       ARRAY(SELECT nspname::text FROM pg_namespace
              WHERE nspname IN ('auth', 'storage', 'realtime', 'extensions', 'graphql_public', 'supabase_functions')
                AND ({alone} OR pg_get_userbyid(nspowner) <> current_user)
             UNION ALL
             SELECT pubname::text FROM pg_publication WHERE pubname = 'supabase_realtime'
             UNION ALL
             -- likewise an extension there, which where it is not his the platform has given to the project
             SELECT replace(extname, '-', '_') FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
              WHERE (extname, nspname) IN ({brought})
                AND pg_get_userbyid(extowner) <> current_user AND ({alone} OR pg_get_userbyid(nspowner) <> current_user)
             ORDER BY 1) AS platform,
       -- who may do what in that schema, as far as it is the server's or the platform's doing
       ARRAY(SELECT format('%s %s', a.privilege_type, CASE WHEN r.rolname = current_user THEN '$migrator'
                                                           ELSE coalesce(r.rolname, 'PUBLIC') END)
               FROM pg_namespace n
               JOIN pg_database d ON d.datname = current_database()
              CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
               LEFT JOIN pg_roles r ON r.oid = a.grantee
              WHERE n.nspname = {home}
                AND (a.grantee = 0 OR r.rolname IN ('anon', 'authenticated', 'service_role')
                     OR r.rolname = current_user AND d.datdba <> r.oid)
              ORDER BY 1) AS public,
       {default_privileges} AS defaults,
       -- the same before the first revision, in words of `layout.sql`
       current_user::text AS role,
       (SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()) AS owns,
       (SELECT d.description
          FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_description d ON d.objoid = c.oid
         WHERE n.nspname = {meta} AND c.relname = 'migration_journal'
           AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0) AS kept,
       -- schemas that a platform's would be called, and that the migrating role has made
       ARRAY(SELECT nspname::text FROM pg_namespace
               WHERE nspname IN ({often_ours}) AND pg_get_userbyid(nspowner) = current_user
                 AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = pg_namespace.oid
                                                         AND deptype = 'e')
               ORDER BY 1) AS own
