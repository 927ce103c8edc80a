-- A schema with something of every kind that the catalogue knows; it needs nothing but PostgreSQL and its superuser.
-- The mutations in `mutations.py` change one thing of it each.

CREATE SCHEMA app;
CREATE SCHEMA "odd Schema";
COMMENT ON SCHEMA app IS 'the application';
GRANT USAGE ON SCHEMA app TO anon;

CREATE TYPE app.status AS ENUM ('new', 'paid', 'sent');
COMMENT ON TYPE app.status IS 'of an order';
CREATE TYPE app.address AS (street text, town text COLLATE "C");
CREATE DOMAIN app.email AS text DEFAULT 'nobody@example.org' CONSTRAINT has_at CHECK (VALUE LIKE '%@%');
CREATE DOMAIN app.positive AS integer NOT NULL CHECK (VALUE > 0);
CREATE TYPE app.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION app.plain (locale = 'POSIX');
CREATE TYPE app.marker;  -- a shell

CREATE SEQUENCE app.tickets AS bigint INCREMENT BY 2 START 10 CACHE 5;
GRANT USAGE ON SEQUENCE app.tickets TO authenticated;

CREATE TABLE app.customers (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     varchar(80) NOT NULL,
    mail     app.email UNIQUE,
    note     text DEFAULT 'none',
    size     integer CONSTRAINT size_is_small CHECK (size < 100),
    kind     varchar CONSTRAINT kind_is_known CHECK (kind IN ('a', 'b')),
    doubled  integer GENERATED ALWAYS AS (size * 2) STORED,
    place    app.address,
    sorted   text COLLATE app.plain,
    "odd ""Name" text,
    period   tstzrange,
    CONSTRAINT no_overlap EXCLUDE USING gist (period WITH &&)
) WITH (fillfactor = 90);
COMMENT ON TABLE app.customers IS 'who buys';
COMMENT ON COLUMN app.customers.name IS 'as on the bill';
GRANT SELECT ON app.customers TO anon;
GRANT INSERT ON app.customers TO authenticated;
GRANT UPDATE (note) ON app.customers TO authenticated;
CREATE INDEX customers_name ON app.customers (name text_pattern_ops) INCLUDE (note) WHERE size > 1;
CREATE INDEX customers_size ON app.customers (size DESC NULLS LAST) WITH (fillfactor = 80);
CREATE UNIQUE INDEX customers_note ON app.customers (lower(note));
COMMENT ON INDEX app.customers_note IS 'for the search';
CREATE STATISTICS app.customers_stats (ndistinct, dependencies) ON name, size FROM app.customers;

CREATE TABLE app.orders (
    id       bigint PRIMARY KEY DEFAULT nextval('app.tickets'),
    customer bigint NOT NULL CONSTRAINT orders_customer REFERENCES app.customers ON DELETE CASCADE,
    status   app.status NOT NULL DEFAULT 'new',
    total    numeric(10, 2) DEFAULT 0,
    made     timestamptz DEFAULT now(),
    parent   bigint,
    CONSTRAINT orders_parent FOREIGN KEY (parent) REFERENCES app.orders DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT orders_once UNIQUE (customer, made)
);
ALTER SEQUENCE app.tickets OWNED BY app.orders.id;
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.orders FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_reads ON app.orders FOR SELECT TO authenticated USING (customer = 1);
CREATE POLICY owner_writes ON app.orders FOR INSERT TO authenticated WITH CHECK (total < 1000);
CREATE POLICY nobody_deletes ON app.orders AS RESTRICTIVE FOR DELETE USING (status <> 'paid');
COMMENT ON POLICY owner_reads ON app.orders IS 'their own';

CREATE TABLE app.log (id integer, day date NOT NULL, what text) PARTITION BY RANGE (day);
CREATE TABLE app.log_2025 PARTITION OF app.log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.log_2026 PARTITION OF app.log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX log_day ON app.log (day);

-- what a deparsed text of it depends on the settings of a session
CREATE TABLE app.moments (
    at    timestamptz NOT NULL,
    pause interval DEFAULT '1 day 02:00',
    raw   bytea DEFAULT '\x00ff',
    slash text DEFAULT 'a\b'
) PARTITION BY RANGE (at);
CREATE TABLE app.moments_2026 PARTITION OF app.moments FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2027-01-01 00:00+00');

CREATE TABLE app.animals (id integer, name text CONSTRAINT named CHECK (name <> ''));
CREATE TABLE app.dogs (breed text) INHERITS (app.animals);
CREATE TABLE app.cats (id integer, name text CONSTRAINT named CHECK (name <> ''), CONSTRAINT purrs CHECK (id > 0));
CREATE TABLE app.of_type OF app.address;
CREATE UNLOGGED TABLE app.cache (key text PRIMARY KEY, value bytea);
CREATE TABLE "odd Schema"."odd ""Table" ("a.b" integer PRIMARY KEY, "select" text);

CREATE VIEW app.small_orders AS SELECT id, total FROM app.orders WHERE total < 10;
CREATE VIEW app.open_orders WITH (security_invoker = true) AS
    SELECT o.id, c.name FROM app.orders o JOIN app.customers c ON c.id = o.customer WHERE o.status = 'new';
CREATE VIEW app.checked AS SELECT id, size FROM app.customers WHERE size > 0 WITH LOCAL CHECK OPTION;
COMMENT ON VIEW app.open_orders IS 'to be done';
CREATE MATERIALIZED VIEW app.totals AS SELECT customer, sum(total) AS total FROM app.orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON app.totals (customer);

CREATE FUNCTION app.greet(name text, loud boolean DEFAULT false) RETURNS text LANGUAGE plpgsql STABLE AS
$f$ BEGIN RETURN 'hello ' || name || '$$'; END $f$;
CREATE FUNCTION app.secret() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = app, pg_temp AS 'SELECT 1';
CREATE FUNCTION app.standard(a integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN a + 1;
CREATE FUNCTION app.many() RETURNS SETOF integer LANGUAGE sql ROWS 5 COST 7 AS 'SELECT 1';
CREATE FUNCTION app.many(integer) RETURNS SETOF integer LANGUAGE sql AS 'SELECT $1';
REVOKE EXECUTE ON FUNCTION app.secret() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.secret() TO service_role;
COMMENT ON FUNCTION app.secret() IS 'not for all';
CREATE PROCEDURE app.tidy(IN days integer) LANGUAGE plpgsql AS $$ BEGIN DELETE FROM app.log WHERE id = days; END $$;
CREATE AGGREGATE app.total(integer) (sfunc = int4pl, stype = integer, initcond = '0');

CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.made := now(); RETURN NEW; END $$;
CREATE FUNCTION app.log_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER touched BEFORE UPDATE OF status ON app.orders FOR EACH ROW WHEN (OLD.total IS DISTINCT FROM NEW.total)
    EXECUTE FUNCTION app.touch();
CREATE TRIGGER logged AFTER INSERT ON app.log FOR EACH ROW EXECUTE FUNCTION app.log_row();
COMMENT ON TRIGGER touched ON app.orders IS 'keeps the time';
CREATE RULE no_animals AS ON DELETE TO app.animals DO INSTEAD NOTHING;
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER watching ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION app.watch();

CREATE FUNCTION app.same(app.address, app.address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street = ($2).street';
CREATE OPERATOR app.=== (leftarg = app.address, rightarg = app.address, function = app.same, commutator = OPERATOR(app.===));
CREATE FUNCTION app.as_text(app.address) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street';
CREATE CAST (app.address AS text) WITH FUNCTION app.as_text(app.address) AS ASSIGNMENT;
CREATE FUNCTION app.below(app.status, app.status) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0';
CREATE OPERATOR CLASS app.status_ops FOR TYPE app.status USING btree AS FUNCTION 1 app.below(app.status, app.status);

CREATE TEXT SEARCH DICTIONARY app.words (template = pg_catalog.simple, accept = false);
CREATE TEXT SEARCH CONFIGURATION app.searching (parser = pg_catalog.default);
ALTER TEXT SEARCH CONFIGURATION app.searching ADD MAPPING FOR asciiword, word WITH app.words, simple;

CREATE FOREIGN DATA WRAPPER elsewhere OPTIONS (debug 'true');
CREATE SERVER archive TYPE 'old' VERSION '1' FOREIGN DATA WRAPPER elsewhere OPTIONS (host 'archive.example.org', passcode 'hunter2');
CREATE USER MAPPING FOR authenticated SERVER archive OPTIONS (user 'reader', password 'hunter2');
CREATE FOREIGN TABLE app.archived (id integer OPTIONS (column_name 'nr'), what text) SERVER archive OPTIONS (table_name 'old_log');

CREATE PUBLICATION feed FOR TABLE app.customers (id, name), app.orders WHERE (total > 10) WITH (publish = 'insert, update');
CREATE PUBLICATION everything FOR TABLES IN SCHEMA "odd Schema";
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO anon;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
