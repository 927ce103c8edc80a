"""Names of the database as names of files, and facts as YAML: nothing is lost, nothing leaves the folder."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ehg_migrate.errors import UsageError
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.paths import file_name, place_of, relation_of
from ehg_migrate.schema.saving import check_tree, save_tree
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.snapshot import Snapshot
from ehg_migrate.schema.tree import files_of, read_tree
from tests.support.programs import run

PLACES = (
    ("schema", "public", "schemas/public/schema"),
    ("schema", '".."', "schemas/%2e%2e/schema"),
    ("schema", "$schema", "schemas/schema/schema"),
    ("table", "public.notes", "schemas/public/table/notes"),
    ("materialized view", "public.sums", "schemas/public/materialized_view/sums"),
    ("table", '"Odd.one"."a/b ""c"""', "schemas/%4fdd%2eone/table/a%2fb%20%22c%22"),
    ("table", "$schema.notes", "schemas/schema/table/notes"),
    ("index", 'public."Idx"', "schemas/public/index/%49dx"),
    ("function", "public.f(integer, text)", "schemas/public/function/f"),
    ("function", 'public."F(x) y"("Odd.one".t)', "schemas/public/function/%46%28x%29%20y"),
    ("operator", "public./ (integer, integer)", "schemas/public/operator/%2f"),
    ("operator class", "public.quick using btree", "schemas/public/operator_class/quick"),
    ("extension", '"uuid-ossp"', "database/extension/uuid-ossp"),
    ("publication", '"a: b"', "database/publication/a%3a%20b"),
    ("publication table", "news: public.notes", "database/publication/news"),
    ("user mapping", "bob on far", "database/server/far"),
    ("cast", "public.a as text", "database/cast/public%2ea%20as%20text"),
    (
        "default privileges",
        "of x in public on tables",
        "database/default_privileges/of%20x%20in%20public%20on%20tables",
    ),
)


@pytest.mark.parametrize(("kind", "identity", "place"), PLACES)
def test_places(kind: str, identity: str, place: str) -> None:
    """By schema, kind and name."""
    assert place_of(kind, identity) == place


@pytest.mark.parametrize(
    ("kind", "identity", "relation"),
    [
        ("column", "public.notes.body", "public.notes"),
        ("column", 'public."a.b"."c.d"', 'public."a.b"'),
        ("policy", '"reads on x" on public."t on y"', 'public."t on y"'),
        ("constraint", "notes_pkey on $schema.notes", "$schema.notes"),
        ("table", "public.notes", None),
        ("index", "public.notes_pinned", None),
    ],
)
def test_what_belongs_to_a_relation(kind: str, identity: str, relation: str | None) -> None:
    """It stands in the file of its table or view."""
    assert relation_of(kind, identity) == relation


NAMES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=63)


@given(NAMES, NAMES)
@example("Notes", "notes")
@example("ä", "a\u0308")
@example(".", "..")
@example("\U0001f600" * 63, "\U0001f600" * 62 + "x")
def test_file_names(one: str, other: str) -> None:
    """Two names are two files even where capitals do not count; each fits, with an ending, and stays in its folder."""
    first, second = file_name(one), file_name(other)
    assert (first.casefold() == second.casefold()) == (one == other)
    assert len(first.encode()) <= 240
    assert first.isascii()
    assert not {"/", ".", "\\"} & set(first)


TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=5,
)


def quoted(name: str) -> str:
    """As PostgreSQL writes a name that is not plain."""
    return '"' + name.replace('"', '""') + '"'


def snapshot_of(*facts: Fact) -> Snapshot:
    """Of a target, taken now."""
    catalog = Catalog.of(facts)
    return Snapshot("acme", datetime.now(UTC), catalog.fingerprint, Scope(), catalog)


@given(NAMES, st.dictionaries(TEXTS, VALUES))
@example("f", {"body": "\nBEGIN\r\n  x := 'y' ;  \n\tEND\x85\u2028 $$ # :\n"})
@example("f", {"body": "  leading\n\n  lines\n\n", "on": "yes", "null": "null", "1": "~"})
@example("\n? : -\n", {"a": "\ufeff", "b": "\x7f", "c": "---\n...\n"})
def test_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, name: str, definition: dict[str, object]) -> None:
    """What was written is read again, whatever is in names and bodies."""
    whole = f"public.{quoted(name)}"
    saved = snapshot_of(
        Fact("table", whole, definition),
        Fact("column", f"{whole}.{quoted(name)}", definition),
        Fact("policy", f"{quoted(name)} on {whole}", definition),
    )
    folder = tmp_path_factory.mktemp("tree")
    save_tree(folder, saved)
    assert read_tree(folder).catalog.facts == saved.catalog.facts
    assert len(files_of(saved)) == 2, "one for the table and all that is its, and `snapshot.json`"
    assert check_tree(folder, saved).same


def test_without_libyaml(tmp_path: Path) -> None:
    """They are read; none are written, since PyYAML's own writer breaks other lines and loses blanks before U+0085."""
    body = "\nBEGIN\r\n  x := 'y' ;  \n\tEND\x85 \U0001f600 # :\n"
    saved = snapshot_of(Fact("table", "public.a", {"body": body, "": []}))
    save_tree(tmp_path, saved)
    program = f"""if True:
        import pathlib, yaml
        del yaml.CSafeDumper, yaml.CSafeLoader
        yaml.__with_libyaml__ = False
        from ehg_migrate.errors import UsageError
        from ehg_migrate.schema.tree import files_of, read_tree
        read = read_tree(pathlib.Path({str(tmp_path)!r}))
        try:
            files_of(read)
        except UsageError as e:
            print(read.fingerprint, e.problems[0].message)
        """
    said = run([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert said.startswith(f"{saved.fingerprint} PyYAML is built without libyaml here")


def test_files_of_others(tmp_path: Path) -> None:
    """They stay when ours go, and stop the writing where one stands in the way; a link is not written through."""
    first, second = snapshot_of(Fact("table", "public.a", {})), snapshot_of(Fact("table", "public.b", {}))
    save_tree(tmp_path, first)
    readme = tmp_path / "schemas" / "public" / "table" / "README.yaml"
    readme.write_text("ours: not\n")
    done = save_tree(tmp_path, second)
    assert (done.missing, done.changed, done.extra) == (
        ("schemas/public/table/b.yaml",),
        ("snapshot.json",),
        ("schemas/public/table/a.yaml",),
    )
    assert readme.read_text() == "ours: not\n"
    theirs = tmp_path / "schemas" / "public" / "table" / "a.yaml"
    theirs.write_text("- mine\n")
    with pytest.raises(UsageError, match=r"a\.yaml` is not of this tool"):
        save_tree(tmp_path, first)
    assert theirs.read_text() == "- mine\n"
    theirs.unlink()
    outside = tmp_path / "outside"
    outside.write_text("keep")
    theirs.symlink_to(outside)
    with pytest.raises(UsageError, match=r"a\.yaml` is a link"):
        save_tree(tmp_path, first)
    assert outside.read_text() == "keep"
    assert check_tree(tmp_path, second).same


def test_an_empty_folder_goes_with_its_last_file(tmp_path: Path) -> None:
    """Down to the folder of the snapshot itself."""
    save_tree(tmp_path, snapshot_of(Fact("table", "a.t", {}), Fact("extension", "citext", {})))
    save_tree(tmp_path, snapshot_of(Fact("table", "b.t", {})))
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "schemas", "schemas/b", "schemas/b/table", "schemas/b/table/t.yaml", "snapshot.json",
    ]  # fmt: skip
