-- Lists of varchar constants in every place where one can stand.
CREATE TABLE app.lists (
    id integer,
    v varchar(10) CONSTRAINT one CHECK (v IN ('a', 'b''s', 'c (d)')),
    w varchar CONSTRAINT two CHECK (w NOT IN ('x', 'y')),
    x text CONSTRAINT three CHECK (w = 'q' OR v IN ('r') OR x IN ('s', 't')),
    y varchar CONSTRAINT four CHECK (y IN ('a', NULL) OR y IN ('b'::varchar(3), 'c')),
    g boolean GENERATED ALWAYS AS (v IN ('g', 'h')) STORED,
    d boolean DEFAULT ('a'::varchar IN ('b', 'c'))
);
CREATE INDEX lists_partial ON app.lists (id) WHERE v IN ('a', 'b') AND w IN ('c', 'd');
ALTER TABLE app.lists ENABLE ROW LEVEL SECURITY;
CREATE POLICY listed ON app.lists USING (w IN ('a', 'b')) WITH CHECK (v NOT IN ('c', 'd'));
CREATE VIEW app.listed AS SELECT id, v IN ('a', 'b') AS known FROM app.lists WHERE w IN ('c', 'd');
CREATE RULE listing AS ON DELETE TO app.lists WHERE old.v IN ('a', 'b') DO INSTEAD NOTHING;
CREATE DOMAIN app.choice AS varchar CHECK (VALUE IN ('a', 'b'));
CREATE TRIGGER lists_touched BEFORE UPDATE ON app.lists FOR EACH ROW WHEN (new.v IN ('a', 'b'))
    EXECUTE FUNCTION app.log_row();
CREATE FUNCTION app.in_list(v varchar) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT v IN ('a', 'b'); END;
CREATE FUNCTION app.in_one(v varchar) RETURNS boolean LANGUAGE sql RETURN v IN ('a', 'b');
