"""The statement that reads a catalogue takes time with the number of objects, not with its square: its plan says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ehg_migrate.schema.catalog import message
from ehg_migrate.schema.scope import Scope
from tests.integration.schema.mutations import base
from tests.support.bare import BareServer, majors

MANY = """
    DO $$ BEGIN FOR n IN 1..300 LOOP
        EXECUTE format('CREATE TABLE app.many_%s (id int GENERATED ALWAYS AS IDENTITY, a int, b int, c int, d int)', n);
        EXECUTE format('CREATE TYPE app.pair_%s AS (one int, two int)', n);
    END LOOP; END $$"""


def test_no_large_catalogue_is_read_once_for_each_row() -> None:
    """With nested loops switched off a subquery that joins would do so: 2,000 identity columns took 25 s of CPU."""
    with BareServer(majors()[min(majors())]) as server, server.connect("postgres") as connection:
        connection.execute(base(server.major).encode())
        connection.execute(MANY)
        connection.execute("ANALYZE")
        for answer in ("fingerprint", "facts", "token"):
            text = message((answer,), connection, Scope(owners=True)).as_string(connection)
            explained = text.replace("\nWITH ", "\nEXPLAIN (ANALYZE, FORMAT JSON) WITH ", 1)
            assert explained != text
            cursor = connection.execute(explained.encode())
            while cursor.description is None:
                assert cursor.nextset()
            ((plan,),) = cursor.fetchone()  # one row with a list of one plan
            repeated = [(n["Relation Name"], n["Actual Loops"]) for n in _nodes(plan["Plan"]) if _repeated(n)]
            assert repeated == [], answer


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _repeated(node: dict[str, Any]) -> bool:
    """Whether a scan reads hundreds of rows, and that again and again."""
    read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return "Relation Name" in node and read > 200 and node["Actual Loops"] > 20
