"""Which sides can be held against each other, and in what scope."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.local.programs import MAJOR
from ehg_migrate.schema.comparing import Side, scopes_of, side
from ehg_migrate.schema.correction import Origin
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.scope import Scope, schema_scope
from ehg_migrate.schema.snapshot import Snapshot

BASE = Scope(without_tables=("public.alembic_version",))
OWNERS = replace(BASE, owners=True)


def snapshot(name: str, scope: Scope) -> Snapshot:
    """One of nothing."""
    empty = Catalog(())
    return Snapshot(name, datetime(2026, 1, 31, tzinfo=UTC), empty.fingerprint, scope, empty)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme", Side("acme", "acme")),
        ("acme/staging", Side("acme/staging", "acme", "staging")),
        ("acme/Odd name/x", Side("acme/Odd name/x", "acme", "Odd name/x")),
        ("old/acme.json", Side("old/acme.json", file=Path("old/acme.json"))),
        ("heads:", Side("heads:", heads=())),
        ("heads:shared@head, ae10", Side("heads:shared@head, ae10", heads=("shared@head", "ae10"))),
        ("release:v1", Side("release:v1", heads=("release:v1",))),
    ],
)
def test_how_a_side_is_written(text: str, expected: Side) -> None:
    """A target, a schema of one, a file, or heads."""
    assert side(text) == expected


@pytest.mark.parametrize(
    ("texts", "snapshots", "expected"),
    [
        (("a", "b"), {}, (BASE, BASE)),
        (("a/x", "b/y"), {}, (schema_scope("x", BASE), schema_scope("y", BASE))),
        (("a", "s.json"), {"s.json": OWNERS}, (OWNERS, OWNERS)),
        (("a/x", "s.json"), {"s.json": schema_scope("y", OWNERS)}, tuple(schema_scope(s, OWNERS) for s in "xy")),
        (("s.json", "t.json"), {"s.json": OWNERS, "t.json": OWNERS}, (OWNERS, OWNERS)),
    ],
)  # fmt: skip
def test_the_scope_of_two_sides(
    texts: tuple[str, str], snapshots: dict[str, Scope], expected: tuple[Scope, Scope]
) -> None:
    """One for both; that of a snapshot where there is one, since it cannot be read again."""
    sides = [side(t) for t in texts]
    found = scopes_of(sides, {name: snapshot(name, scope) for name, scope in snapshots.items()}, BASE)
    assert tuple(found[s] for s in sides) == expected


@pytest.mark.parametrize(
    ("texts", "snapshots", "message"),
    [
        (("a", "b/y"), {}, "a schema and the other a whole target"),
        (("a", "s.json"), {"s.json": schema_scope("y", BASE)}, "a schema and the other a whole target"),
        (("s.json", "t.json"), {"s.json": OWNERS, "t.json": BASE}, "different scopes"),
    ],
)
def test_sides_without_a_common_scope(texts: tuple[str, str], snapshots: dict[str, Scope], message: str) -> None:
    """Refused before anything is connected to."""
    with pytest.raises(UsageError, match=message):
        scopes_of([side(t) for t in texts], {n: snapshot(n, scope) for n, scope in snapshots.items()}, BASE)


@pytest.mark.parametrize(("version", "major"), [("15.18 (Debian 15.18-0+deb12u1)", 15), ("19beta1", 19), ("", MAJOR)])
def test_the_version_of_a_clone_of_a_file(version: str, major: int) -> None:
    """That of the server it was read from, one before its release too; any will do where the file does not say."""
    assert Origin(Catalog((), version), BASE, None).major == major
