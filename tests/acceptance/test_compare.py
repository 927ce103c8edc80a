"""`compare`, `clusters` and `snapshot`: what the schemas of targets are, as a user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ehg_migrate.model import Address
from tests.support.cli import Said, ehg
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, target_entry, write_project

SCHEMA = """
    CREATE TABLE {s}.notes (id integer PRIMARY KEY, body text DEFAULT 'none', pinned boolean NOT NULL);
    ALTER TABLE {s}.notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY reads ON {s}.notes FOR SELECT TO authenticated USING (pinned);
    CREATE INDEX notes_pinned ON {s}.notes (pinned) WHERE pinned;
    CREATE FUNCTION {s}.count_notes() RETURNS bigint LANGUAGE plpgsql SET search_path = {s} AS $$
    DECLARE n bigint;
    BEGIN
        SELECT count(*) INTO n FROM notes;
        RETURN n;
    END $$;
    CREATE VIEW {s}.pinned AS SELECT id, body FROM {s}.notes WHERE pinned;
"""
STRAY = """
    ALTER TABLE public.notes ALTER COLUMN body SET DEFAULT 'some', DISABLE ROW LEVEL SECURITY;
    DROP INDEX public.notes_pinned;
    GRANT SELECT (body) ON public.notes TO anon;
    CREATE TABLE public.extra (id integer);
    REVOKE ALL ON public.extra FROM anon, authenticated, service_role;
    CREATE OR REPLACE FUNCTION public.count_notes() RETURNS bigint LANGUAGE plpgsql SET search_path = public AS $$
    DECLARE n bigint;
    BEGIN
        SELECT count(*) + 1 INTO n FROM notes;
        RETURN n;
    END $$;
"""


@dataclass(frozen=True)
class World:
    """Four targets: three alike, one astray, and a fifth that is not there; `two` holds two schemas besides."""

    folder: Path
    password: str

    def ehg(self, *arguments: str) -> Said:
        """A command in the project."""
        return ehg(self.folder, *arguments, **{PASSWORD_VARIABLE: self.password})


@pytest.fixture(scope="module")
def world(
    make_module_database: Callable[[str], Address], pg: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> World:
    """The project; nothing of this tool is in its targets."""
    folder = tmp_path_factory.mktemp("compare") / "project"
    places = {name: make_module_database("compare") for name in ("one", "two", "three", "astray")}
    for name, place in places.items():
        with pg.open(place) as connection:
            connection.execute(SCHEMA.format(s="public").encode())
            connection.execute(STRAY.encode() if name == "astray" else b"SELECT")
    with pg.open(places["two"]) as connection:
        for schema in ("staging", '"Odd.one"'):
            connection.execute(f"CREATE SCHEMA {schema}; {SCHEMA.format(s=schema)}".encode())
        connection.execute('ALTER TABLE "Odd.one".notes DROP COLUMN body CASCADE')
    entries = {name: target_entry(place) for name, place in places.items()}
    write_project(folder, {**entries, "gone": target_entry(pg.address("no_such_database"))}, {})
    return World(folder, pg.password)


ASTRAY = """\
extra    column public.extra.id
changed  column public.notes.body
         default: 'none'::text -> 'some'::text
         grants.anon: - -> SELECT
changed  function public.count_notes()
         body:
                DECLARE n bigint;
                BEGIN
           -        SELECT count(*) INTO n FROM notes;
           +        SELECT count(*) + 1 INTO n FROM notes;
                    RETURN n;
                END
missing  index public.notes_pinned
extra    table public.extra
changed  table public.notes
         row security: true -> -

from `one` to `astray`: 6 differences, 1 missing, 2 extra, 3 changed
"""


def test_two_targets(world: World) -> None:
    """Every object and the exact clause; exit 3 only where it was asked for."""
    said = world.ehg("compare", "one", "astray")
    assert (said.code, said.err, said.out) == (0, "", ASTRAY)
    assert world.ehg("compare", "one", "astray", "--exit-code").code == 3


def test_targets_that_are_alike(world: World) -> None:
    """One line, and no difference for a script either."""
    said = world.ehg("compare", "one", "three", "--exit-code")
    assert (said.code, said.out) == (0, "no difference between `one` and `three`\n")


def test_two_schemas(world: World) -> None:
    """Whatever they are called, in one target or in two; names that need quotes are written without them."""
    said = world.ehg("compare", "one/public", "two/staging", "--exit-code")
    assert (said.code, said.err) == (3, "")
    changed = [line for line in said.out.splitlines() if not line.startswith(" ")]
    # the platform gives its roles grants in public, and USAGE of it
    assert {line.split()[1] for line in changed[:-2]} <= {"default", "function", "schema", "table", "view"}
    said = world.ehg("compare", "two/staging", "two/Odd.one")
    assert [line for line in said.out.splitlines() if line] == [
        "missing  column $schema.notes.body",
        "missing  column $schema.pinned.body",
        "missing  column $schema.pinned.id",
        "missing  view $schema.pinned",
        "from `two/staging` to `two/Odd.one`: 4 differences, 4 missing",
    ]


def test_a_snapshot(world: World) -> None:
    """Its JSON is a side like any other; the other side is read in its scope."""
    for name in ("one", "two/staging"):
        said = world.ehg("snapshot", name, "--json")
        assert (said.code, said.err) == (0, "")
        (world.folder / "saved.json").write_text(said.out)
        assert world.ehg("compare", "saved.json", name).out == f"no difference between `saved.json` and `{name}`\n"
    assert world.ehg("compare", "two/Odd.one", "saved.json", "--exit-code").code == 3
    assert world.ehg("compare", "one", "saved.json").code == 2


def test_a_snapshot_for_people(world: World) -> None:
    """Each object with its clauses; alike for targets that are alike, but for their names."""
    one, three = (world.ehg("snapshot", name).out for name in ("one", "three"))
    assert "column public.notes.body\n    default: 'none'::text\n    type: text\n" in one
    assert "    body:     DECLARE n bigint;\n            BEGIN\n" in one
    assert one.splitlines()[:-1] == three.splitlines()[:-1]
    assert one.splitlines()[-1].startswith("`one`: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "expected a JSON document of kind `snapshot`"),
        ('{"schema_version": 1, "kind": "status", "data": []}', "expected a JSON document of kind `snapshot`"),
        ('{"schema_version": 9, "kind": "snapshot", "data": []}', "version 1"),
        ('{"schema_version": 1, "kind": "snapshot", "data": {}}', "name: field required"),
        (None, "it cannot be read: No such file or directory"),
    ],
)
def test_a_damaged_snapshot(world: World, content: str | None, message: str) -> None:
    """Exit 2, and what is wrong with which file."""
    file = world.folder / "damaged.json"
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_text(content)
    said = world.ehg("compare", "one", "damaged.json")
    assert (said.code, said.out) == (2, "")
    assert "`damaged.json` is no snapshot" in said.err
    assert message in said.err


def test_an_edited_snapshot(world: World) -> None:
    """One fact changed by hand no longer makes the fingerprint."""
    document = world.ehg("snapshot", "one", "--json").json
    document["data"]["catalog"]["facts"][0]["definition"]["extra"] = True
    (world.folder / "edited.json").write_text(json.dumps(document))
    said = world.ehg("compare", "edited.json", "one")
    assert (said.code, said.out) == (2, "")
    assert "edited or damaged" in said.err


@pytest.mark.parametrize(
    ("sides", "code", "message"),
    [
        (("one", "nobody"), 2, "nobody"),
        (("one", "gone"), 1, "gone: "),
        (("one", "two/staging"), 2, "one of `one` and `two/staging` is a schema and the other a whole target"),
        (("one/public", "two/no"), 1, "two: there is no schema `no`"),
        (("one/public", "two/"), 2, "`two/` names no schema"),
        (("./nothing/", "one"), 2, "there is no snapshot in a folder `./nothing/`"),
        (("one", "/nothing"), 2, "there is no snapshot in a folder `/nothing`"),
    ],
)
def test_sides_that_cannot_be_compared(world: World, sides: tuple[str, str], code: int, message: str) -> None:
    """Exit 2 for what makes no sense, 1 for a target that cannot be read; nothing on stdout."""
    said = world.ehg("compare", *sides)
    assert (said.code, said.out) == (code, "")
    assert message in said.err


def test_clusters(world: World) -> None:
    """The largest group, then each outlier with what separates it; a target that cannot be read is exit 1."""
    said = world.ehg("clusters", "-t", "one,three,astray", "--exit-code")
    assert (said.code, said.err) == (3, "")
    lines = said.out.splitlines()
    assert lines[0].endswith("  2 targets: one, three")
    assert lines[2].endswith("  1 target: astray")
    assert lines[3] == "  from the first: 6 differences, 1 missing, 2 extra, 3 changed"
    assert "    missing  index public.notes_pinned" in lines
    assert lines[-1] == "2 different schemas on 3 targets, outliers: astray"
    said = world.ehg("clusters", "-t", "one,three")
    assert (said.code, said.out.splitlines()[-1]) == (0, "one schema on 2 targets")
    said = world.ehg("clusters", "-t", "one,gone")
    assert said.code == 1
    assert said.out.splitlines()[-1] == "one schema on 1 target, 1 target not read"
    assert "gone: " in said.out


def test_what_counts(world: World, pg: Cluster, make_module_database: Callable[[str], Address]) -> None:
    """Owners, and what users put on the platform's tables, where it is asked for."""
    place = make_module_database("regard")
    with pg.admin(place.dbname) as connection:
        connection.execute(SCHEMA.format(s="public").encode())
        for kind, name in (("TABLE", "notes"), ("VIEW", "pinned"), ("FUNCTION", "count_notes()")):
            connection.execute(f"ALTER {kind} public.{name} OWNER TO postgres".encode())
        connection.execute("ALTER TABLE public.notes OWNER TO service_role")
        connection.execute("CREATE POLICY ours ON storage.objects USING (true)")
    write_project(world.folder / "regard", {"it": target_entry(place)}, {})
    policy = ["extra    policy ours on storage.objects"]
    owner = ["         owner: $owner -> service_role"]
    for options, expected in (((), []), (("--platform-tables",), policy), (("--owners",), owner)):
        saved = world.ehg("snapshot", "one", "--json", *options)
        (world.folder / "regard" / "one.json").write_text(saved.out)
        said = ehg(world.folder / "regard", "compare", "one.json", "it", **{PASSWORD_VARIABLE: world.password})
        seen = said.out.splitlines()
        assert (said.err, [line for line in (*policy, *owner) if line in seen]) == ("", expected), said.out


ODD = (
    "BEGIN\r\n    -- \x1b[31mred\x0b\u202e\n    RETURN NEW;\nEND",
    "BEGIN\n    -- \x1b[31mred\x0b\u202e\n    RETURN NEW;\nEND",
)


def test_a_text_is_in_json_as_it_is(world: World, pg: Cluster, make_database: Callable[[str], Address]) -> None:
    """Line ends and control characters, which JSON escapes: without them two texts that differ would look alike."""
    places = {name: make_database("odd") for name in ("here", "there")}
    for place, body in zip(places.values(), ODD, strict=True):
        with pg.open(place) as connection:
            connection.execute(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $${body}$$".encode())
    write_project(world.folder.parent / "odd", {name: target_entry(place) for name, place in places.items()}, {})
    odd = World(world.folder.parent / "odd", world.password)
    said = odd.ehg("compare", "here", "there", "--json")
    ((clause,),) = (d["clauses"] for d in said.json["data"]["differences"])
    assert (clause["left"], clause["right"]) == ODD
    assert not set("\x1b\x0b\u202e\r") & set(said.out)
    (odd.folder / "saved.json").write_text(odd.ehg("snapshot", "here", "--json").out)
    assert odd.ehg("compare", "saved.json", "here").out == "no difference between `saved.json` and `here`\n"
    assert odd.ehg("compare", "saved.json", "there", "--exit-code").code == 3
