"""The schema manager's story: one database with four schemas, from `dev` to `production`, as its users see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pexpect
import pytest

from ehg_migrate import json_form
from ehg_migrate.model import Address, Status, Verb
from ehg_migrate.project import Project
from ehg_migrate.schema.managing import Managed
from tests.acceptance.test_drift import scratch_url
from tests.acceptance.test_streams import KINDS
from tests.support.cli import PROGRAM, Said, ehg, environment
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project

SCHEMAS = {"dev": "dev", "test": 'Test "of" it, all', "staging": "staging", "production": "p" * 63}

TEST = '"Test ""of"" it, all"'

FIRST = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'good');
CREATE TABLE notes (id int PRIMARY KEY, author int REFERENCES users, body text);
CREATE VIEW authors AS SELECT u.name, count(*) AS notes FROM users u JOIN notes n ON n.author = u.id GROUP BY u.name;
CREATE FUNCTION greet(who int) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM users WHERE id = who';
ALTER FUNCTION greet(int) SET search_path FROM CURRENT;
"""
GONE = "DROP FUNCTION greet(int); DROP VIEW authors; DROP TABLE notes; DROP TABLE users; DROP TYPE mood"
SEED = "INSERT INTO users VALUES (1, 'Ann'), (2, 'Bob');\nINSERT INTO notes VALUES (1, 1, 'first');\n"


@dataclass(frozen=True)
class World:
    """A project of four schemas of one database."""

    folder: Path
    address: Address
    cluster: Cluster
    variables: dict[str, str]

    def ehg(self, *arguments: str) -> Said:
        """A command without a terminal."""
        return ehg(self.folder, *arguments, **self.variables)

    def at_terminal(self, *arguments: str, answers: tuple[str, ...]) -> tuple[int, str]:
        """A command on a terminal, whose questions get these answers; its exit code and all that it said."""
        child = pexpect.spawn(
            PROGRAM, list(arguments), cwd=str(self.folder), env=environment(self.variables),
            encoding="utf-8", timeout=60, dimensions=(50, 200),
        )  # fmt: skip
        said = ""
        for answer in answers:
            child.expect(": $")
            said += str(child.before)
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        return int(child.exitstatus or 0), said + str(child.before)

    def sql(self, *statements: str) -> list[Any]:
        """By hand, past every tool; the first column of the last answer."""
        with self.cluster.connect(self.address.dbname) as c:
            for statement in statements:
                cursor = c.execute(statement.encode())
            return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def prints(self) -> dict[str, str]:
        """A fingerprint of each schema that is there, its name counted out."""
        found = Project.load(self.folder).standings()
        return {s.target: s.measure.fingerprint for s in found if s.measure}

    def add(self, path: str, text: str) -> None:
        """A revision."""
        add_revision(self.folder, path, text)


@pytest.fixture(scope="module")
def world(
    make_module_database: Callable[[str], Address], pg: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Nothing is made yet; `dev` is protected."""
    address = make_module_database("manager")
    entries = {n: target_entry(address, schema=s, protected=n == "dev") for n, s in SCHEMAS.items()}
    revisions = {"shared/s1": revision("s1", up=FIRST, down_sql=GONE, label="shared", doc="users and their notes")}
    folder = write_project(tmp_path_factory.mktemp("manager"), entries, revisions, settings={})
    (folder / "seed.sql").write_text(SEED)
    variables = {PASSWORD_VARIABLE: pg.password, "EHG_SCRATCH_URL": scratch_url(pg)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield World(folder, address, pg, variables)


def load(kind: str, said: Said) -> Managed:
    """What a command printed with --json, in the form that docs/json.md promises."""
    type_ = KINDS[kind][0]
    jsonschema.validate(said.json["data"], json_form.schema(type_))
    found = json_form.load(type_, said.json["data"])
    assert (said.json["kind"], isinstance(found, Managed)) == (kind, True)
    return found


def create_all(world: World) -> None:
    """The four schemas from nothing: `dev` by a person, the others by a pipeline."""
    status = world.ehg("schema", "status", "--json").json["data"]
    jsonschema.validate(status, json_form.schema(KINDS["schema_status"][0]))
    absent = world.ehg("schema", "status")
    assert (absent.code, absent.out.splitlines()[-1]) == (1, "4 absent (dev, test, staging, production)")
    assert "hint: `ehg-migrate schema create staging` makes it" in absent.out
    refused = world.ehg("schema", "create", "dev", "--yes")
    assert refused.code == 4
    assert "error: `dev` is protected: nothing changes it but a person who types its name" in refused.err
    assert world.sql("SELECT to_regnamespace('dev') IS NULL AND to_regnamespace('ehg_migrate_dev') IS NULL") == [True]
    code, said = world.at_terminal("schema", "create", "dev", "--seed", "seed.sql", answers=("dev",))
    assert code == 0, said
    assert world.prints().keys() == {"dev"}
    made = world.ehg("schema", "create", "test", "--from", "shared", "--seed", "seed.sql", "--yes")
    assert [line.split(":")[0] for line in made.out.splitlines()] == ["create", "upgrade", "seed"]
    staging = load("schema_create", world.ehg("schema", "create", "staging", "--yes", "--json"))
    assert [r.verb for r in staging.runs] == [Verb.CREATE, Verb.UPGRADE]
    assert world.ehg("schema", "create", "production", "--from", "dev", "--yes").code == 0
    again = world.ehg("schema", "create", "staging", "--yes")
    assert again.code == 1
    assert "schema `staging` is there already, and not empty" in again.err


def test_from_dev_to_production(world: World) -> None:
    """Four schemas are made, one by a person and the others by a pipeline, from one structure and some with rows.

    A new revision reaches all but the protected one, and that when a person says so. What was changed by hand in `dev`
    is named, and goes on to staging and production; what would lose rows is shown and waits for a word. Nothing that is
    done to one schema changes another, and no command changes `dev` without a person.
    """
    create_all(world)
    assert len(set(world.prints().values())) == 1
    assert world.sql("SELECT name FROM dev.authors") == world.sql(f"SELECT name FROM {TEST}.authors") == ["Ann"]
    assert world.sql("SELECT count(*) FROM staging.users") == [0]
    assert world.sql(f"SELECT {TEST}.greet(2)") == ["Bob"]  # each function finds its own schema's tables

    text = revision("s2", "s1", up="ALTER TABLE users ADD email text", down_sql="ALTER TABLE users DROP email")
    add_revision(world.folder, "shared/s2", text)
    upgraded = world.ehg("upgrade", "--yes")
    assert upgraded.code == 4  # only a rule stood in the way
    assert "3 succeeded (test, staging, production), 1 refused (dev)" in upgraded.out
    assert "dev: `dev` is protected" in upgraded.err
    assert world.at_terminal("upgrade", "-t", "dev", answers=("yes", "no"))[0] == 4
    assert world.at_terminal("upgrade", "-t", "dev", answers=("yes", "dev"))[0] == 0

    world.sql("ALTER TABLE dev.notes DROP body, ADD title text", "CREATE INDEX stray ON staging.users (name)")
    rows = world.sql("SELECT u::text FROM dev.users u ORDER BY 1")
    drift = world.ehg("drift", "--exit-code")
    assert (drift.code, drift.out.splitlines()[-1]) == (3, "2 drifted (dev, staging), 2 matches (test, production)")
    assert world.ehg("schema", "compare", "dev", "staging").out.splitlines() == [
        "extra    column $schema.notes.body",
        "missing  column $schema.notes.title",
        "extra    index $schema.stray",
        "",
        "from `dev` to `staging`: 3 differences, 1 missing, 2 extra",
    ]
    sync_on(world)
    assert world.ehg("schema", "sync", "test", "dev", "--yes", "--allow-destructive").code == 4
    assert world.sql("SELECT u::text FROM dev.users u ORDER BY 1") == rows
    assert world.sql("SELECT count(*) FROM ehg_migrate_dev.migration_journal WHERE event = 'corrected'") == [0]


def sync_on(world: World) -> None:
    """From `dev` to `staging`, and from there to `production`; `test` stays as it is."""
    before = world.prints()
    held = world.ehg("schema", "sync", "dev", "staging", "--yes")
    assert held.code == 4
    assert "--   ALTER TABLE staging.notes DROP COLUMN body;" in held.err
    assert world.prints() == before
    done = world.ehg("schema", "sync", "dev", "staging", "--yes", "--allow-destructive", "--json")
    assert done.code == 0, done.err
    synced = load("schema_sync", done)
    assert (synced.source, synced.target, synced.correction and synced.correction.proven) == ("dev", "staging", True)
    assert "-- destructive\nALTER TABLE staging.notes DROP COLUMN body;" in done.err
    after = world.prints()
    assert after == {**before, "staging": before["dev"]}
    arguments = ("schema", "sync", "staging", "production", "--allow-destructive")
    code, said = world.at_terminal(*arguments, answers=("yes",))
    assert (code, world.prints()) == (4, after), said
    assert world.at_terminal(*arguments, answers=("production",))[0] == 0
    assert world.prints() == {**after, "production": before["dev"]}
    back = world.ehg("rollback", Project.load(world.folder).runs(1)[0].id, "--yes")
    assert (back.code, "`schema sync`, which has no way back" in back.err) == (4, True)


def test_revisions_to_a_schema_that_was_changed_by_hand(world: World) -> None:
    """One command does both parts: the revisions, after which it is not what they make, and the SQL for the rest."""
    create_all(world) if not world.prints() else None
    world.ehg("schema", "sync", "staging", "test", "--yes", "--allow-destructive")
    world.add("shared/s9", revision("s9", Project.load(world.folder).revisions.graph(("shared",)).heads[0]))
    assert world.ehg("upgrade", "-t", "test", "--yes", "--verify", "never").code == 0
    world.sql("CREATE INDEX astray ON staging.users (name)")
    more = ("--yes", "--allow-destructive", "--verify", "always", "--json")
    done = world.ehg("schema", "sync", "test", "staging", *more)
    assert done.code == 0, done.err
    revisions, rest = load("schema_sync", done).runs
    assert [r.status for run in (revisions, rest) for r in run.results] == [Status.SCHEMA_DIFFERS, Status.SUCCEEDED]
    assert len(revisions.results[0].steps) == 1
    prints = world.prints()
    assert prints["staging"] == prints["test"]


def test_a_seed_that_reaches_elsewhere(world: World) -> None:
    """It is taken back as a whole; a file that ends its transaction, or is no SQL, is refused before anything."""
    create_all(world) if not world.prints() else None
    cases = {
        "INSERT INTO users VALUES (7, 'x'); INSERT INTO dev.users VALUES (7, 'x');": (1, "changed what is in other"),
        "INSERT INTO users VALUES (7, 'x'); COPY users FROM stdin": (1, "COPY"),
        "INSERT INTO users VALUES (7, 'x'); COMMIT;": (2, "ends its transaction"),
        "INSERT INTO users VALUES (7, 'x'); SELECT nothing;": (1, 'column "nothing" does not exist'),
    }
    for text, (code, message) in cases.items():
        (world.folder / "bad.sql").write_text(text)
        said = world.ehg("schema", "seed", "staging", "bad.sql", "--yes")
        assert (said.code, message in said.err) == (code, True), said.err
    assert world.sql("SELECT id FROM dev.users WHERE id = 7 UNION ALL SELECT id FROM staging.users WHERE id = 7") == []


def test_a_schema_that_was_dropped(world: World) -> None:
    """It is made anew from nothing, whatever its record said of it, and its history tells so."""
    create_all(world) if not world.prints() else None
    world.sql("DROP SCHEMA staging CASCADE")
    assert world.ehg("schema", "create", "staging", "--yes").code == 0
    project = Project.load(world.folder)
    events = [(e.event, e.direction, e.revision) for e in project.history("staging")]
    known = [("done", "up", r.id) for r in project.revisions.branches["shared"]]
    assert ("stamped", "down", "s1") in events
    assert events[-len(known) :] == known
