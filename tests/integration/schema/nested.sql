-- What PostgreSQL keeps as an AND in an AND, or an OR in an OR, and writes so until somebody reads that text again.
CREATE TABLE app.nested (
    a integer CONSTRAINT between_first CHECK (a BETWEEN 1 AND 2 AND b > 0),
    b integer CONSTRAINT not_between CHECK (b NOT BETWEEN -9 AND 0 OR a IS NULL OR c = 'x'),
    c varchar CONSTRAINT with_parentheses CHECK (c BETWEEN ' (a) AND (b' AND 'it''s)) AND (' AND c <> '((a) AND (b)) AND '),
    d numeric CONSTRAINT others CHECK (d IN (a, b, a + b, abs(a)) OR d BETWEEN SYMMETRIC a AND b OR (a, b) = (1, 2)),
    e text CONSTRAINT kept CHECK (e > 'a' AND (a BETWEEN 1 AND 2 OR b BETWEEN (1 + abs((2))) AND 3 AND e < 'z'))
);
CREATE INDEX nested_partial ON app.nested (c) WHERE a BETWEEN 1 AND 2 AND b BETWEEN 3 AND 4 AND lower(c) IN ('p', 'q');
ALTER TABLE app.nested ENABLE ROW LEVEL SECURITY;
CREATE POLICY within ON app.nested USING ((a, b) = (1, 2) AND c = current_user) WITH CHECK (a NOT BETWEEN 3 AND 4 OR b = 5);
CREATE VIEW app.nests AS SELECT a, b BETWEEN 1 AND 2 AND a = 1 AS within FROM app.nested
    WHERE b BETWEEN 1 AND abs(round(power(2, 3))) AND c IS DISTINCT FROM 'q' AND NOT (a BETWEEN 3 AND 4 AND b = 6);
CREATE DOMAIN app.small AS integer CHECK (VALUE BETWEEN 1 AND 5 AND VALUE <> 3);
CREATE FUNCTION app.within(n integer) RETURNS boolean LANGUAGE sql RETURN n BETWEEN 1 AND 2 AND n <> 3;
