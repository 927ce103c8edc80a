"""`snapshot -o`: a schema as files that people review, as a user sees it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql

from ehg_migrate.model import Address
from tests.acceptance.test_compare import SCHEMA
from tests.support.cli import Said, ehg
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, target_entry, write_project

ODD = """
    CREATE SCHEMA "..";
    CREATE TABLE ".."."a/b ""c"" d" ("E.f" integer CHECK ("E.f" > 0));
    CREATE TABLE public."Notes" (id integer);
    CREATE FUNCTION public.twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n';
    CREATE FUNCTION public.twice(t text) RETURNS text LANGUAGE sql AS 'SELECT t || t';
"""
REVERSED = ";".join(reversed(ODD.strip().strip(";").split(";\n")[1:]))
NOTES = """\
# written by `ehg-migrate snapshot`; what is changed here by hand makes the snapshot unusable
table:
  public.notes:
    grants:
      anon: DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
      authenticated: DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
      service_role: DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
    row security: true
column:
  public.notes.body:
    default: "'none'::text"
    type: text
  public.notes.id:
    not null: true
    type: integer
  public.notes.pinned:
    not null: true
    type: boolean
constraint:
  notes_pkey on public.notes:
    definition: PRIMARY KEY (id)
    type: primary key
policy:
  reads on public.notes:
    command: SELECT
    permissive: true
    roles:
    - authenticated
    using: pinned
"""
FUNCTION = """\
    body: !lines
    - ''
    - '    DECLARE n bigint;'
    - '    BEGIN'
    - '        SELECT count(*) INTO n FROM notes;'
    - '        RETURN n;'
    - '    END '
"""


@dataclass(frozen=True)
class World:
    """A project with two targets that are alike, and an empty one."""

    folder: Path
    variables: dict[str, str]
    places: dict[str, Address]
    pg: Cluster

    def ehg(self, *arguments: str) -> Said:
        """A command in the project."""
        return ehg(self.folder, *arguments, **self.variables)

    def execute(self, target: str, statements: str) -> None:
        """In a target."""
        with self.pg.open(self.places[target]) as connection:
            connection.execute(statements.encode())

    def files(self, folder: str) -> dict[str, bytes]:
        """All below a folder of the project."""
        top = self.folder / folder
        return {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*") if p.is_file()}


@pytest.fixture
def world(make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path) -> World:
    """Made in another order, so that nothing of the making can be in the files."""
    places = {name: make_database("snapshot") for name in ("one", "two", "built")}
    write_project(tmp_path, {name: target_entry(place) for name, place in places.items()}, {})
    world = World(tmp_path, {PASSWORD_VARIABLE: pg.password}, places, pg)
    world.execute("one", SCHEMA.format(s="public") + ODD)
    world.execute("two", f'CREATE SCHEMA "..";{REVERSED};' + SCHEMA.format(s="public"))
    return world


def test_a_file_for_each_object(world: World) -> None:
    """Each where its name says; odd names leave the folder as little as they clash; equal schemas are equal files."""
    said = world.ehg("snapshot", "one", "-o", "structure")
    assert (said.code, said.err) == (0, ""), said
    files = world.files("structure")
    assert {p for p in files if p.startswith("schemas/")} == {
        "schemas/%2e%2e/schema.yaml",
        "schemas/%2e%2e/table/a%2fb%20%22c%22%20d.yaml",
        "schemas/public/function/count_notes.yaml",
        "schemas/public/function/twice.yaml",
        "schemas/public/index/notes_pinned.yaml",
        "schemas/public/schema.yaml",
        "schemas/public/table/%4eotes.yaml",
        "schemas/public/table/notes.yaml",
        "schemas/public/view/pinned.yaml",
    }
    assert files["schemas/public/table/notes.yaml"].decode() == NOTES
    assert FUNCTION in files["schemas/public/function/count_notes.yaml"].decode()
    assert [line.split()[1] for line in said.out.splitlines()[:-1]] == sorted(files)
    assert said.out.splitlines()[-1].startswith(f"`one` in `structure`: {len(files)} files, 0 as before (fingerprint ")
    assert world.ehg("snapshot", "two", "-o", "other").code == 0
    said = world.ehg("compare", "other", "one")
    message = "error: no target is called `other`, and a folder is written with a slash\n  hint: write `other/`\n"
    assert (said.code, said.out, said.err) == (2, "", message)
    assert world.files("other") == files


def test_only_what_changed_is_written(world: World) -> None:
    """An object that has gone takes its file along; the rest is not touched, and neither is what others put there."""
    assert world.ehg("snapshot", "one", "-o", "structure").code == 0
    (world.folder / "structure" / "README.md").write_text("ours")
    before = {p: p.stat().st_mtime_ns for p in (world.folder / "structure").rglob("*.yaml")}
    world.execute("one", 'ALTER TABLE notes ALTER body DROP DEFAULT; DROP TABLE "Notes"; CREATE TABLE more (n int)')
    checked = world.ehg("snapshot", "one", "-o", "structure", "--check")
    expected = [
        "schemas/public/table/more.yaml",
        "schemas/public/table/notes.yaml",
        "snapshot.json",
        "schemas/public/table/%4eotes.yaml",
    ]
    words = ["missing ", "changed ", "changed ", "extra   "]
    lines = [f"{word} {path}" for word, path in zip(words, expected, strict=True)]
    assert (checked.code, checked.out.splitlines()) == (3, [*lines, "`structure` does not say what `one` is"])
    assert {p: p.stat().st_mtime_ns for p in before} == before, "looking writes nothing"
    said = world.ehg("snapshot", "one", "-o", "structure")
    assert [line.split() for line in said.out.splitlines()[:-1]] == [
        [word, path] for word, path in zip(("new", "changed", "changed", "removed"), expected, strict=True)
    ]
    after = {p: p.stat().st_mtime_ns for p in before if p.exists()}
    assert {p.name for p in before if after.get(p) != before[p]} == {"notes.yaml", "%4eotes.yaml"}
    assert (world.folder / "structure" / "README.md").read_text() == "ours"
    checked = world.ehg("snapshot", "one", "-o", "structure", "--check")
    assert (checked.code, checked.out.split(" (")[0]) == (0, "`structure` says what `one` is")


def test_a_side_of_compare(world: World) -> None:
    """The folder stands for the schema, of a whole target and of one schema."""
    assert world.ehg("snapshot", "one", "-o", "structure").code == 0
    said = world.ehg("compare", "./structure", "two", "--exit-code")
    assert (said.code, said.out) == (0, "no difference between `./structure` and `two`\n"), said
    world.execute("two", "ALTER TABLE notes ALTER body SET DEFAULT 'some'")
    said = world.ehg("compare", "structure/", "two", "--exit-code")
    assert (said.code, said.out.splitlines()) == (
        3,
        [
            "changed  column public.notes.body",
            "         default: 'none'::text -> 'some'::text",
            "",
            "from `structure/` to `two`: 1 difference, 1 changed",
        ],
    )
    assert world.ehg("snapshot", "one/public", "-o", "one/public").code == 0
    assert "schemas/schema/table/notes.yaml" in world.files("one/public")
    assert world.ehg("compare", "one/public/snapshot.json", "two/public", "--exit-code").code == 3


def _edit(folder: Path) -> None:
    file = folder / "schemas" / "public" / "table" / "notes.yaml"
    file.write_text(file.read_text().replace("boolean", "integer"))


def _remove(folder: Path) -> None:
    (folder / "schemas" / "public" / "view" / "pinned.yaml").unlink()


def _garble(folder: Path) -> None:
    file = folder / "schemas" / "public" / "table" / "notes.yaml"
    file.write_text(file.read_text() + "  {\n")


def _no_scope(folder: Path) -> None:
    (folder / "snapshot.json").write_text(json.dumps({"schema_version": 1, "kind": "snapshot_tree", "data": {}}))


def _merge(folder: Path) -> None:
    """As git leaves it where both sides have changed the schema: the fingerprint is another on each."""
    file = folder / "snapshot.json"
    ours = next(line for line in file.read_text().splitlines(keepends=True) if "fingerprint" in line)
    file.write_text(file.read_text().replace(ours, f"<<<<<<< HEAD\n{ours}=======\n{ours}>>>>>>> theirs\n"))


def _flat(folder: Path) -> None:
    file = folder / "schemas" / "public" / "table" / "notes.yaml"
    file.write_text(file.read_text().splitlines()[0] + "\njust text\n")


def _replace(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "schemas" / "public" / "table" / "notes.yaml"
        file.write_text(file.read_text().splitlines()[0] + f"\n{text}\n")

    return damage


def _without(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "snapshot.json"
        file.write_text(json.dumps({key: v for key, v in json.loads(file.read_text()).items() if key != name}))

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_replace("table: {public.notes: {a: 2026-01-01}}"), "its files do not make its fingerprint"),
        (_replace("table: {public.notes: {1: a}}"), "notes.yaml` is not as it was written"),
        (_replace("table: {5: {a: b}}"), "notes.yaml` is not as it was written"),
        (_replace("table: {public.notes: {a: &a [*a]}}"), "notes.yaml` is not as it was written"),
        (_replace("table:\n  public.notes:\n    a: &a [x]\n    b: [*a, *a]"), "notes.yaml` is not as it was written"),
        (_replace("table: {public.notes: {a: " + "[" * 950 + "]" * 950 + "}}"), "nested too deeply"),
        (_edit, "its files do not make its fingerprint: some were changed, removed or added"),
        (_remove, "its files do not make its fingerprint: some were changed, removed or added"),
        (_garble, "notes.yaml"),
        (_flat, "notes.yaml"),
        (_merge, "Expecting property name"),
        (_no_scope, "scope"),
        (_without("data"), "input should be an object"),
        (_without("schema_version"), "expected a JSON document of kind `snapshot_tree` and version 1"),
    ],
)
def test_a_damaged_folder(world: World, damage: Callable[[Path], None], says: str) -> None:
    """`compare` refuses it and says why; writing it anew heals it."""
    assert world.ehg("snapshot", "one", "-o", "structure").code == 0
    damage(world.folder / "structure")
    said = world.ehg("compare", "./structure", "one")
    assert (said.code, said.out) == (2, ""), said
    assert "`structure` is no snapshot: " in said.err
    assert says in said.err
    assert "hint: write it anew with `ehg-migrate snapshot TARGET -o structure`" in said.err
    assert world.ehg("snapshot", "one", "-o", "structure").code == 0
    assert world.ehg("compare", "./structure", "one", "--exit-code").code == 0


def test_a_file_of_brackets(world: World) -> None:
    """It is no snapshot, whatever it is called."""
    (world.folder / "structure").mkdir()
    for name in ("structure/snapshot.json", "other.json"):
        (world.folder / name).write_text("[" * 100_000)
        said = world.ehg("compare", f"./{name}", "one")
        assert (said.code, f"`{name}` is no snapshot: it is nested too deeply" in said.err) == (2, True), said
    assert "is not of this tool" in world.ehg("snapshot", "one", "-o", "structure").err


def test_a_file_of_somebody_else(world: World) -> None:
    """Nothing is written where one stands in the way."""
    (world.folder / "structure").mkdir()
    (world.folder / "structure" / "snapshot.json").write_text("{}")
    said = world.ehg("snapshot", "one", "-o", "structure")
    assert (said.code, said.out) == (2, "")
    assert "`structure/snapshot.json` is not of this tool" in said.err
    assert world.files("structure") == {"snapshot.json": b"{}"}


def test_as_sql(world: World) -> None:
    """It makes the schema anew in an empty database, and is the same text for equal schemas."""
    texts = []
    for name in ("one", "two"):
        said = world.ehg("snapshot", name, "--sql", f"{name}.sql")
        assert (said.code, said.out, said.err) == (0, "", "")
        texts.append((world.folder / f"{name}.sql").read_text())
    assert texts[0] == texts[1]
    world.execute("built", texts[0])
    said = world.ehg("compare", "one", "built", "--exit-code")
    assert said.code == 0, said
    assert stat.filemode((world.folder / "one.sql").stat().st_mode) == "-rw-------"
    for volatile in ("restrict", "Dumped", "transaction_timeout"):
        assert volatile not in texts[0]
    said = world.ehg("snapshot", "one/nowhere", "--sql", "no.sql")
    assert (said.code, said.out) == (1, "")
    assert "one: `pg_dump` fails: pg_dump: error: no matching schemas were found" in said.err
    assert not (world.folder / "no.sql").exists()
    assert world.ehg("snapshot", "one", "--sql", "no.sql", "-o", "structure").code == 2
    full = world.ehg("snapshot", "one", "--sql", "/dev/full")
    assert full.code == 1
    assert full.err.startswith("error: `/dev/full` cannot be written: No space left on device\n  hint: ")


def test_as_sql_has_no_password_of_a_user_mapping(world: World) -> None:
    """All else of a foreign server is there, and what stands around."""
    with world.pg.admin(world.places["one"].dbname) as c:
        c.execute("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER one FOREIGN DATA WRAPPER w OPTIONS (host 'h')")
        c.execute("CREATE SERVER two FOREIGN DATA WRAPPER w; ALTER SERVER one OWNER TO postgres")
        c.execute(
            """CREATE USER MAPPING FOR PUBLIC SERVER one OPTIONS ("user" 'u', password $$hun;ter's "2\n);\n\n\n$$)"""
        )
        c.execute("CREATE USER MAPPING FOR PUBLIC SERVER two")
    assert world.ehg("snapshot", "one", "--sql", "one.sql").code == 0
    text = (world.folder / "one.sql").read_text()
    assert "USER MAPPING" not in text
    assert "hun" not in text
    assert "CREATE SERVER one FOREIGN DATA WRAPPER w OPTIONS (\n    host 'h'\n);\n\n\n--\n-- Name: two;" in text
    with world.pg.admin(world.places["built"].dbname) as c:
        c.execute(text.encode())


def test_as_sql_what_only_looks_like_a_user_mapping_is_kept(world: World) -> None:
    """A body that begins one takes nothing along of what comes behind it, and none keeps us for hours."""
    head = "\n--\n-- Name: USER MAPPING a; Type: USER MAPPING; Schema: -; Owner: c\n--\n\nCREATE USER MAPPING FOR "
    for name, end in (("a_quote", "'"), ("b_row_of_quotes", "'" * 81)):
        body = sql.Literal(f"BEGIN RETURN 1; END /*{head}{end}\n*/").as_string(None)
        world.execute("one", f"CREATE FUNCTION {name}() RETURNS text LANGUAGE plpgsql AS {body}")
    assert world.ehg("snapshot", "one", "--sql", "one.sql").code == 0
    world.execute("built", (world.folder / "one.sql").read_text())
    said = world.ehg("compare", "one", "built", "--exit-code")
    assert said.code == 0, said


def test_as_sql_for_one_schema(world: World) -> None:
    """Only that schema, and it makes it anew."""
    assert world.ehg("snapshot", "one/..", "--sql", "one.sql").code == 0
    world.execute("built", (world.folder / "one.sql").read_text())
    said = world.ehg("compare", "one/..", "built/..", "--exit-code")
    assert said.code == 0, said
    assert "Notes" not in (world.folder / "one.sql").read_text()


def test_for_programs(world: World) -> None:
    """The same as JSON; `--check` alone makes no sense."""
    data = world.ehg("snapshot", "one", "-o", "structure", "--json").json
    assert (data["kind"], data["data"]["name"], data["data"]["folder"]) == ("snapshot_tree", "one", "structure")
    assert data["data"]["missing"] == sorted(world.files("structure"))
    said = world.ehg("snapshot", "one", "--check")
    assert (said.code, said.out) == (2, "")
    assert "`--check` looks at the files of a folder; name it with `--output`." in said.err


def test_as_json_it_is_exact(world: World) -> None:
    """What looks like a password, and what would steer a terminal, is a part of the schema."""
    body = "-- \u202e \x9b31m\r\nSELECT 'password=x', set_config('app.password', 'two words', true), '##vso[x]';\r\n"
    world.execute("one", f"CREATE FUNCTION odd() RETURNS void LANGUAGE sql AS {sql.Literal(body).as_string(None)}")
    said = world.ehg("snapshot", "one", "--json")
    assert [c for c in "\u202e\x9b\r" if c in said.out] == []
    (world.folder / "one.json").write_text(said.out)
    compared = world.ehg("compare", "one.json", "one", "--exit-code")
    assert compared.code == 0, compared
