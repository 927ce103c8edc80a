-- Constants that are selected under no name: whoever reads them as PostgreSQL writes them names them after their type.
CREATE TABLE app.constants (id integer, name text);
ALTER TABLE app.constants ENABLE ROW LEVEL SECURITY;
CREATE POLICY known ON app.constants USING (EXISTS (SELECT NULL FROM app.animals a WHERE a.id = constants.id));
CREATE VIEW app.constant AS SELECT id, name IN (SELECT 'a' UNION SELECT 'it''s') AS known FROM app.constants
    WHERE id = (SELECT -1) AND EXISTS (SELECT -1.5, -5000000000, 'x', 2 AS int4 FROM app.animals);
CREATE VIEW app.named AS SELECT 'x' AS text, 'y' AS texts, -1 AS int4, -2 AS int4s, -3.5 AS "numeric";
CREATE RULE constant AS ON DELETE TO app.constants WHERE old.name = (SELECT 'kept') DO INSTEAD NOTHING;
CREATE FUNCTION app.constant() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT 'x'; END;
CREATE FUNCTION app.in_constants(n integer) RETURNS boolean LANGUAGE sql RETURN n IN (SELECT -7);
