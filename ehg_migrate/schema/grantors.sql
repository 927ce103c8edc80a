-- Privileges that somebody else than an object's owner has given, as statements name them: the object, what, to whom, by whom.
-- `anon` may have one from each of two: what the owner takes back is his own grant alone.
WITH given (object, owner, acl) AS (
    SELECT c.oid::regclass::text, c.relowner, c.relacl FROM pg_class c
    UNION ALL
    SELECT c.oid::regclass::text, c.relowner, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    UNION ALL
    SELECT p.pronamespace::regnamespace::text || '.' || quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')',
           p.proowner, p.proacl
      FROM pg_proc p
    UNION ALL
    SELECT t.typnamespace::regnamespace::text || '.' || quote_ident(t.typname), t.typowner, t.typacl FROM pg_type t
    UNION ALL
    SELECT quote_ident(nspname), nspowner, nspacl FROM pg_namespace
    UNION ALL
    SELECT quote_ident(lanname), lanowner, lanacl FROM pg_language
    UNION ALL
    SELECT quote_ident(fdwname), fdwowner, fdwacl FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT quote_ident(srvname), srvowner, srvacl FROM pg_foreign_server
)
SELECT DISTINCT object, g.privilege_type,
       CASE g.grantee WHEN 0 THEN 'PUBLIC'
                      WHEN (SELECT datdba FROM pg_database WHERE datname = current_database()) THEN 'CURRENT_USER'
                      ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
       quote_ident(pg_get_userbyid(g.grantor))
  FROM given CROSS JOIN LATERAL aclexplode(acl) AS g
 WHERE g.grantor <> owner
   -- who owns the database owns what pg_database_owner owns, and grants it
   AND (owner <> 'pg_database_owner'::regrole
        OR g.grantor <> (SELECT datdba FROM pg_database WHERE datname = current_database()))
 ORDER BY 1, 2, 3, 4
