-- Each ends where it began. `-- name: WHAT` begins one; each runs on its own copy of `base.sql`.

-- name: drop and create a table again
DROP TABLE app.cache;
CREATE UNLOGGED TABLE app.cache (value bytea, key text PRIMARY KEY);
REVOKE SELECT ON app.cache FROM anon;
-- name: drop and create a column again
DROP VIEW app.small_orders, app.open_orders;
DROP MATERIALIZED VIEW app.totals;
ALTER PUBLICATION feed DROP TABLE app.orders;
ALTER TABLE app.orders DROP COLUMN total CASCADE;
ALTER TABLE app.orders ADD COLUMN total numeric(10, 2) DEFAULT 0;
CREATE POLICY owner_writes ON app.orders FOR INSERT TO authenticated WITH CHECK (total < 1000);
CREATE TRIGGER touched BEFORE UPDATE OF status ON app.orders FOR EACH ROW WHEN (OLD.total IS DISTINCT FROM NEW.total)
    EXECUTE FUNCTION app.touch();
COMMENT ON TRIGGER touched ON app.orders IS 'keeps the time';
ALTER PUBLICATION feed ADD TABLE app.orders WHERE (total > 10);
CREATE VIEW app.small_orders AS SELECT id, total FROM app.orders WHERE total < 10;
CREATE VIEW app.open_orders WITH (security_invoker = true) AS
    SELECT o.id, c.name FROM app.orders o JOIN app.customers c ON c.id = o.customer WHERE o.status = 'new';
COMMENT ON VIEW app.open_orders IS 'to be done';
CREATE MATERIALIZED VIEW app.totals AS SELECT customer, sum(total) AS total FROM app.orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON app.totals (customer);
REVOKE SELECT ON app.small_orders, app.open_orders, app.totals FROM anon;
-- name: drop and create views, functions and policies in another order
DROP POLICY owner_reads ON app.orders;
DROP POLICY owner_writes ON app.orders;
DROP FUNCTION app.many(), app.many(integer);
CREATE FUNCTION app.many(integer) RETURNS SETOF integer LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.many() RETURNS SETOF integer LANGUAGE sql ROWS 5 COST 7 AS 'SELECT 1';
GRANT EXECUTE ON FUNCTION app.many(), app.many(integer) TO PUBLIC;
CREATE POLICY owner_writes ON app.orders FOR INSERT TO authenticated WITH CHECK (total < 1000);
CREATE POLICY owner_reads ON app.orders FOR SELECT TO authenticated USING (customer = 1);
COMMENT ON POLICY owner_reads ON app.orders IS 'their own';
-- name: grant and revoke
GRANT ALL ON app.customers, app.animals TO service_role;
GRANT ALL ON SCHEMA app TO service_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA app TO service_role;
GRANT UPDATE (name) ON app.customers TO service_role;
GRANT USAGE ON TYPE app.status TO service_role;
REVOKE ALL ON app.customers, app.animals FROM service_role;
REVOKE ALL ON SCHEMA app FROM service_role;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM service_role;
REVOKE UPDATE (name) ON app.customers FROM service_role;
REVOKE USAGE ON TYPE app.status FROM service_role;
GRANT EXECUTE ON FUNCTION app.secret() TO service_role;
-- name: defaults of privileges written out
GRANT ALL ON app.animals TO postgres;
GRANT ALL ON FUNCTION app.greet TO postgres;
GRANT EXECUTE ON FUNCTION app.greet TO PUBLIC;
GRANT USAGE ON TYPE app.email TO PUBLIC;
-- name: the same grant by another grantor
GRANT USAGE ON SCHEMA app TO other_owner;
GRANT SELECT ON app.customers TO other_owner WITH GRANT OPTION;
SET ROLE other_owner;
GRANT SELECT ON app.customers TO anon;
RESET ROLE;
REVOKE SELECT ON app.customers FROM other_owner CASCADE;
REVOKE USAGE ON SCHEMA app FROM other_owner;
GRANT SELECT ON app.customers TO anon;
-- name: default privileges and back
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT INSERT ON TABLES TO service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE INSERT ON TABLES FROM service_role;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO service_role;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM service_role;
-- name: rename and back
ALTER TABLE app.orders RENAME TO orders_old;
ALTER TABLE app.orders_old RENAME TO orders;
ALTER TABLE app.customers RENAME COLUMN note TO remark;
ALTER TABLE app.customers RENAME COLUMN remark TO note;
ALTER SCHEMA app RENAME TO app_old;
ALTER SCHEMA app_old RENAME TO app;
ALTER TYPE app.status RENAME TO state;
ALTER TYPE app.state RENAME TO status;
ALTER TYPE app.status RENAME VALUE 'sent' TO 'gone';
ALTER TYPE app.status RENAME VALUE 'gone' TO 'sent';
ALTER FUNCTION app.secret() RENAME TO hidden;
ALTER FUNCTION app.hidden() RENAME TO secret;
-- name: alter and back
ALTER TABLE app.log ALTER COLUMN what TYPE varchar(9);
ALTER TABLE app.log ALTER COLUMN what TYPE text;
ALTER TABLE app.orders ALTER COLUMN total SET NOT NULL, ALTER COLUMN total DROP DEFAULT;
ALTER TABLE app.orders ALTER COLUMN total DROP NOT NULL, ALTER COLUMN total SET DEFAULT 0;
ALTER TABLE app.customers ALTER COLUMN note SET STORAGE PLAIN, ALTER COLUMN note SET STATISTICS 10;
ALTER TABLE app.customers ALTER COLUMN note SET STORAGE EXTENDED, ALTER COLUMN note SET STATISTICS -1;
ALTER TABLE app.customers SET (fillfactor = 50), SET (toast.autovacuum_enabled = false);
ALTER TABLE app.customers SET (fillfactor = 90), RESET (toast.autovacuum_enabled);
ALTER TABLE app.customers ALTER COLUMN name SET (n_distinct = 5);
ALTER TABLE app.customers ALTER COLUMN name RESET (n_distinct);
ALTER TABLE app.orders DISABLE TRIGGER touched;
ALTER TABLE app.orders ENABLE TRIGGER touched;
ALTER TABLE app.orders NO FORCE ROW LEVEL SECURITY;
ALTER TABLE app.orders FORCE ROW LEVEL SECURITY;
ALTER FUNCTION app.greet COST 5 VOLATILE SET search_path = app;
ALTER FUNCTION app.greet COST 100 STABLE RESET search_path;
ALTER SEQUENCE app.tickets INCREMENT BY 9 MAXVALUE 50;
ALTER SEQUENCE app.tickets INCREMENT BY 2 NO MAXVALUE;
COMMENT ON TABLE app.orders IS 'x';
COMMENT ON TABLE app.orders IS NULL;
-- name: owner and back
ALTER TABLE app.animals OWNER TO other_owner;
ALTER TABLE app.animals OWNER TO postgres;
ALTER FUNCTION app.greet OWNER TO other_owner;
ALTER FUNCTION app.greet OWNER TO postgres;
-- name: detach and attach a partition
ALTER TABLE app.log DETACH PARTITION app.log_2026;
ALTER TABLE app.log ATTACH PARTITION app.log_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
-- name: columns in another order
DROP TABLE app.cats;
CREATE TABLE app.cats (name text CONSTRAINT named CHECK (name <> ''), id integer, CONSTRAINT purrs CHECK (id > 0));
REVOKE SELECT ON app.cats FROM anon;
-- name: not valid, then validated
ALTER TABLE app.customers DROP CONSTRAINT size_is_small, ADD CONSTRAINT size_is_small CHECK (size < 100) NOT VALID;
ALTER TABLE app.customers VALIDATE CONSTRAINT size_is_small;
-- name: a constraint by an index that was there
DROP INDEX app.customers_size;
ALTER TABLE app.orders DROP CONSTRAINT orders_once;
CREATE UNIQUE INDEX orders_once ON app.orders (customer, made);
ALTER TABLE app.orders ADD CONSTRAINT orders_once UNIQUE USING INDEX orders_once;
CREATE INDEX customers_size ON app.customers (size DESC NULLS LAST) WITH (fillfactor = 80);
-- name: rows, sequences and refreshed views
INSERT INTO app.log SELECT n, '2025-03-01', repeat('x', 3000) FROM generate_series(1, 50) AS n;
SELECT nextval('app.tickets'), setval('app.tickets', 99);
REFRESH MATERIALIZED VIEW app.totals;
TRUNCATE app.log;
ANALYZE app.log;
-- name: reindexed and clustered
REINDEX SCHEMA app;
CLUSTER app.customers USING customers_size;
ALTER TABLE app.customers SET WITHOUT CLUSTER;
-- name: vacuum full
VACUUM FULL app.customers;
VACUUM (FREEZE, ANALYZE);
-- name: an index concurrently
DROP INDEX CONCURRENTLY app.customers_size;
CREATE INDEX CONCURRENTLY customers_size ON app.customers (size DESC NULLS LAST) WITH (fillfactor = 80);
REINDEX INDEX CONCURRENTLY app.customers_note;
-- name: settings of the database
ALTER DATABASE {database} SET timezone = 'Asia/Tokyo';
ALTER DATABASE {database} SET search_path = app, public;
ALTER DATABASE {database} SET datestyle = 'German, DMY';
ALTER DATABASE {database} SET intervalstyle = 'iso_8601';
ALTER DATABASE {database} SET quote_all_identifiers = on;
ALTER DATABASE {database} SET standard_conforming_strings = off;
ALTER DATABASE {database} SET bytea_output = 'escape';
-- name: settings of the role
ALTER ROLE postgres IN DATABASE {database} SET search_path = "odd Schema", app;
ALTER ROLE postgres IN DATABASE {database} SET timezone = 'America/New_York';
-- name: temporary objects
CREATE TEMPORARY TABLE passing (id integer);
CREATE TEMPORARY VIEW looking AS SELECT 1;
-- name: what the tool keeps
CREATE SCHEMA ehg_migrate;
CREATE TABLE ehg_migrate.migration_journal (id integer);
CREATE TABLE public.alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);
INSERT INTO public.alembic_version VALUES ('abc');
-- name: what a platform keeps
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
CREATE SCHEMA storage;
CREATE TABLE storage.objects (id uuid PRIMARY KEY);
CREATE FUNCTION storage.notice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER theirs AFTER INSERT ON storage.objects FOR EACH ROW EXECUTE FUNCTION storage.notice();
CREATE PUBLICATION supabase_realtime;
