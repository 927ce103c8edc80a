-- What the tool keeps in a target, all of it in one schema that is not served to anybody. Every statement can be
-- repeated. `{meta}` and `{version}` are put in as quoted identifiers.

-- Asked for first, since IF NOT EXISTS demands the privilege to create also where the thing is there. Alembic's own table
-- is wider than Alembic makes it: words are revision ids too.
DO $ehg_migrate$ BEGIN
    IF to_regnamespace({meta_literal}) IS NULL THEN
        CREATE SCHEMA {meta};
    END IF;
    IF to_regclass({version_literal}) IS NULL THEN
        CREATE TABLE {version} (
            version_num varchar(255) NOT NULL,
            CONSTRAINT {version_key} PRIMARY KEY (version_num)
        );
    END IF;
END $ehg_migrate$;

-- Each step, written in the transaction of the step. Rows are only ever added.
CREATE TABLE IF NOT EXISTS {meta}.migration_journal (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_name  text NOT NULL,
    run          text NOT NULL,
    event        text NOT NULL CHECK (event IN ('done', 'started', 'failed', 'stamped', 'adopted', 'normalized',
                                                'corrected', 'seeded')),
    revision     text NOT NULL,
    direction    text NOT NULL CHECK (direction IN ('up', 'down', '')),
    branch       text NOT NULL,
    checksum     text NOT NULL,
    heads_before text[] NOT NULL,
    heads_after  text[] NOT NULL,
    started_at   timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds      double precision NOT NULL,
    actor        text NOT NULL,
    host         text NOT NULL,
    git_commit   text NOT NULL,
    tool_version text NOT NULL,
    detail       text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS migration_journal_latest ON {meta}.migration_journal (target_name, revision, seq DESC);

-- Who works here right now. The advisory lock decides; this row only tells the others who it is.
CREATE TABLE IF NOT EXISTS {meta}.migration_lease (
    key         bigint PRIMARY KEY,
    backend_pid integer NOT NULL,
    run         text NOT NULL,
    actor       text NOT NULL,
    host        text NOT NULL,
    pid         integer NOT NULL,
    git_commit  text NOT NULL,
    taken_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    broken_by   text NOT NULL DEFAULT ''  -- who told this runner to end; it does not come back then
);

-- Nobody else gets anything, whatever default privileges say: Supabase's give its API roles all of it. And what those were
-- before the first revision is kept: later nobody could tell those that revisions have made. Where there were revisions
-- before this table, it is too late. A comment can be asked for wherever it may be missing.
DO $ehg_migrate$
DECLARE r text; other text := nullif({foreign_literal}, {version_literal}); empty boolean; privileges text[] := '{{}}';
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace({meta_literal}) AND relacl IS NOT NULL)
       OR EXISTS (SELECT FROM pg_namespace WHERE oid = to_regnamespace({meta_literal}) AND nspacl IS NOT NULL) THEN
        FOR r IN SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
                   FROM (SELECT (aclexplode(relacl)).grantee, relowner AS owner FROM pg_class
                          WHERE relnamespace = to_regnamespace({meta_literal})
                         UNION SELECT (aclexplode(nspacl)).grantee, nspowner FROM pg_namespace
                          WHERE oid = to_regnamespace({meta_literal})) AS granted
                  WHERE grantee <> owner LOOP
            EXECUTE format('REVOKE ALL ON SCHEMA %s FROM %s', {meta_literal}, r);
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM %s', {meta_literal}, r);
            EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %s FROM %s', {meta_literal}, r);
        END LOOP;
    END IF;

    SELECT NOT EXISTS (SELECT FROM {version}) AND NOT EXISTS (SELECT FROM {meta}.migration_journal)
           AND obj_description(oid, 'pg_class') IS NULL AND pg_has_role(relowner, 'USAGE')
      INTO empty FROM pg_class WHERE oid = to_regclass({journal_literal});
    IF empty AND to_regclass(other) IS NOT NULL THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', other) INTO empty;
    END IF;
    IF empty AND EXISTS (SELECT FROM pg_default_acl) THEN
        privileges := {default_privileges};
    END IF;
    IF empty THEN
        EXECUTE format('COMMENT ON TABLE %s IS %L', {journal_literal},
                       json_build_object('role', current_user, 'default privileges', privileges));
    END IF;
END $ehg_migrate$;
