-- What every embedded cluster has, so that revisions written for Supabase run on it. Done at each start; safe to repeat.

-- The roles that PostgREST serves as: revisions grant to them and revoke from them, so they must exist.
DO $$
BEGIN
    IF to_regrole('anon') IS NULL THEN
        CREATE ROLE anon NOLOGIN NOINHERIT;
    END IF;
    IF to_regrole('authenticated') IS NULL THEN
        CREATE ROLE authenticated NOLOGIN NOINHERIT;
    END IF;
    IF to_regrole('service_role') IS NULL THEN
        CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;  -- the one that row-level security does not hold back
    END IF;
END $$;
