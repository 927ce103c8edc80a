"""How views and materialized views are made, dropped and altered. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ehg_migrate.schema.corrections.words import Between, Ways, differs, option_changes, options, part, run
from ehg_migrate.schema.facts import Fact


def create_view(fact: Fact, _: Between) -> Ways:
    """With its options: those say whose privileges count."""
    return run(_view(fact, "CREATE"))


def drop_view(fact: Fact, _: Between) -> Ways:
    """It holds nothing; what it was is in the catalogue."""
    return run(f"DROP VIEW {fact.identity}")


def alter_view(before: Fact, after: Fact, _: Between) -> Iterator[Ways]:
    """Replaced, or made anew where PostgreSQL refuses that: columns that go, or that change their type."""
    if differs(before, after, "query", "options"):
        anew = run(f"DROP VIEW {after.identity}", _view(after, "CREATE"))
        yield (*run(_view(after, "CREATE OR REPLACE")), *anew)


def _view(fact: Fact, how: str) -> str:
    given = options(part(fact, "options"))
    return f"{how} VIEW {fact.identity}{f' WITH ({given})' if given else ''} AS\n{_query(fact)}"


def create_materialized_view(fact: Fact, _: Between) -> Ways:
    """Filled at once."""
    d, given = fact.definition, options(part(fact, "options"))
    method = f" USING {d['access method']}" if "access method" in d else ""
    space = f" TABLESPACE {d['tablespace']}" if "tablespace" in d else ""
    start = f"CREATE MATERIALIZED VIEW {fact.identity}{method}{f' WITH ({given})' if given else ''}{space}"
    return run(f"{start} AS\n{_query(fact)}")


def drop_materialized_view(fact: Fact, _: Between) -> Ways:
    """With the rows that it keeps."""
    return run(f"DROP MATERIALIZED VIEW {fact.identity}", destructive=True)


def alter_materialized_view(before: Fact, after: Fact, between: Between) -> Iterator[Ways]:
    """Made anew for another query."""
    alter = f"ALTER MATERIALIZED VIEW {after.identity}"
    if differs(before, after, "query"):
        yield ((*drop_materialized_view(after, between)[0], *create_materialized_view(after, between)[0]),)
        return
    for clause in ("options", "toast options"):
        prefix = "toast." if clause.startswith("toast") else ""
        for change in option_changes(part(before, clause), part(after, clause), prefix):
            yield run(f"{alter} {change}")
    if differs(before, after, "access method"):
        yield run(f"{alter} SET ACCESS METHOD {after.definition.get('access method') or 'heap'}")
    if differs(before, after, "tablespace"):
        yield run(f"{alter} SET TABLESPACE {after.definition.get('tablespace') or 'pg_default'}")


def _query(fact: Fact) -> str:
    return str(fact.definition["query"]).strip().rstrip(";")
