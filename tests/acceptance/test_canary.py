"""A password goes through every command and many failures, and is in nothing that a person or a program can read."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from psycopg import sql

from ehg_migrate.model import Address
from ehg_migrate.project import Project
from tests.support.cli import ALEMBIC, PROGRAM, REPORTS, Said, ehg, environment
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import free_port
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project
from tests.support.server import certificates

FORMS = {
    CANARY,
    quote(CANARY),
    quote(CANARY, safe=""),
    quote_plus(CANARY),
    repr(CANARY)[1:-1],
    json.dumps(CANARY)[1:-1],
    CANARY.replace("\\", "\\\\").replace("'", "\\'"),  # libpq's
    CANARY.replace("'", "''"),  # SQL's
}
PARTS = {"battery:staple", "battery%3Astaple"}
"""Whatever form it is in, it has one of these in its middle."""

LEAKS = f"""
import os, sys
from urllib.parse import quote
if op.get_context().as_sql:
    return
secret = os.environ.get({PASSWORD_VARIABLE!r}) or os.environ["EHG_TEST_COPY"]
print(secret, quote(secret, safe=""), repr(secret), file=sys.stderr)
op.get_bind().exec_driver_sql("SELECT CAST(%s::text AS int)", (secret,))
"""
"""A revision that prints the password and makes PostgreSQL repeat it in an error, parameters and all."""

KEYRING = """
from pathlib import Path
from keyring.backend import KeyringBackend
from keyring.errors import PasswordSetError

class Backend(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return Path({0!r}).read_text() if (service, username) == ("ehg", "canary") else None

    def set_password(self, service, username, password):
        raise PasswordSetError("this one only reads")
"""


_REFERENCE = {"password": f"env:{PASSWORD_VARIABLE}"}


def assert_clean(text: str | bytes, where: str) -> None:
    """No form of the password, and no piece of it."""
    for form in FORMS | PARTS:
        found = form.encode() in text if isinstance(text, bytes) else form in text
        assert not found, f"{where} holds the password as {form[:12]}..."


def assert_no_file_has_it(folder: Path, but: set[Path]) -> None:
    """Every byte of every file below a folder, the ledger's among them; `but` are those that hold it on purpose."""
    files = [p for p in folder.rglob("*") if p.is_file() and p not in but]
    assert any(p.name == "ledger.sqlite" for p in files)
    for path in files:
        assert_clean(path.read_bytes(), str(path))


def dotenv(value: str) -> str:
    """The value in double quotes, as a .env file writes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def by_env(folder: Path) -> tuple[Any, dict[str, str | None], list[str], set[Path]]:
    """The password in the environment."""
    return f"env:{PASSWORD_VARIABLE}", {PASSWORD_VARIABLE: CANARY}, [], set()


def by_file(folder: Path) -> tuple[Any, dict[str, str | None], list[str], set[Path]]:
    """In a file of its own."""
    secret = private(folder / "secret", CANARY + "\n")
    return f"file:{secret}", {PASSWORD_VARIABLE: None, "EHG_TEST_COPY": CANARY}, [], {secret}


def by_command(folder: Path) -> tuple[Any, dict[str, str | None], list[str], set[Path]]:
    """What a program prints."""
    secret = private(folder / "secret", CANARY + "\n")
    command = ["sh", "-c", f"cat {shlex.quote(str(secret))}"]
    return {"cmd": command}, {PASSWORD_VARIABLE: None, "EHG_TEST_COPY": CANARY}, [], {secret}


def by_env_file(folder: Path) -> tuple[Any, dict[str, str | None], list[str], set[Path]]:
    """In a .env file that the user names."""
    secret = private(folder / ".env", f"{PASSWORD_VARIABLE}={dotenv(CANARY)}\n")
    return f"env:{PASSWORD_VARIABLE}", {PASSWORD_VARIABLE: None}, ["--env-file", ".env"], {secret}


def by_keyring(folder: Path) -> tuple[Any, dict[str, str | None], list[str], set[Path]]:
    """In a keyring, whose backend is a module of this test's."""
    secret = private(folder / "secret", CANARY)
    (folder / "canary_keyring.py").write_text(KEYRING.format(str(secret)))
    backend = {"PYTHONPATH": str(folder), "PYTHON_KEYRING_BACKEND": "canary_keyring.Backend"}
    return "keyring:ehg/canary", {PASSWORD_VARIABLE: None, "EHG_TEST_COPY": CANARY, **backend}, [], {secret}


def by_passfile(folder: Path) -> tuple[Any, dict[str, str | None], list[str], set[Path]]:
    """In a libpq password file: libpq reads it, and no reference is resolved."""
    line = CANARY.replace("\\", "\\\\").replace(":", "\\:")
    secret = private(folder / "pgpass", f"*:*:*:*:{line}\n")
    return secret, {PASSWORD_VARIABLE: None, "EHG_TEST_COPY": CANARY}, [], {secret}


def private(path: Path, text: str) -> Path:
    """A file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


Way = Callable[[Path], tuple[Any, dict[str, str | None], list[str], set[Path]]]


@pytest.mark.parametrize("way", [by_env, by_file, by_command, by_env_file, by_keyring, by_passfile])
def test_the_password_stays_where_it_is(
    way: Way, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """However it is given: not in stdout, stderr, JSON, the ledger's bytes, reports, nor in the target's journal."""
    folder = tmp_path / "project"
    reference, variables, options, on_purpose = way(folder)
    good = make_database("canary")
    places = {
        "good": good,
        "wrong": replace(make_database("canary"), user="authenticator"),  # a role that has another one, namely none
    }
    write_broken(folder, places, reference)

    def run(*command: str) -> Said:
        said = ehg(folder, *command, *options, **variables)
        assert_clean(said.everything, " ".join(command))
        return said

    first = run("upgrade", "--yes", "--json", *REPORTS)
    assert outcomes(first) == {"good": ("failed", "statement_failed"), "wrong": ("failed", "wrong_password")}
    assert "***" in run("upgrade", "--yes", "-t", "good").err, "the revision's words are shown, without it"
    shown = f"show {first.json['data']['id']}"
    for command in (shown, "history wrong", "history good", "doctor", "plan --sql"):
        run(*command.split())
    assert_no_file_has_it(folder, on_purpose)
    with pg.open(good) as c:
        journal = c.execute(b"SELECT string_agg(j::text, chr(10)) FROM ehg_migrate.migration_journal j").fetchone()
    assert journal
    assert "g1" in journal[0]
    assert_clean(journal[0], "the journal")


def test_places_that_cannot_be_reached(pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path) -> None:
    """A database, a port, a host, a trusted certificate that are not there: the words about them are without it too."""
    there = make_database("canary")
    places = {
        "missing": pg.address("no_such_database"),
        "refusing": replace(there, port=free_port()),
        "unknown": replace(there, host="no-such-host.invalid"),
        "untrusted": replace(pg.secured(there), sslrootcert=str(certificates().wrong_ca_file)),
    }
    write_broken(tmp_path, places, f"env:{PASSWORD_VARIABLE}")
    said = ehg(tmp_path, "upgrade", "--yes", "--json", **{PASSWORD_VARIABLE: CANARY})
    assert outcomes(said) == {
        "missing": ("failed", "no_database"),
        "refusing": ("failed", "connection_refused"),
        "unknown": ("failed", "unresolved_host"),
        "untrusted": ("failed", "tls_untrusted"),
    }
    assert_clean(said.everything, "the output")
    assert_no_file_has_it(tmp_path, set())


def write_broken(folder: Path, places: dict[str, Address], reference: Any) -> None:
    """A project of these targets with this password; the revision of `good` gives it away."""
    entries = {name: target_entry(a, password=reference) for name, a in places.items()}
    for entry in entries.values():
        entry["sslmode"] = entry["sslmode"].replace("disable", "require")
    if isinstance(reference, Path):
        for entry in entries.values():
            del entry["password"]
            entry["passfile"] = str(reference)
    write_project(folder, entries, {"shared/s1": revision("s1", label="shared")}, defaults={"connect_timeout": "2s"})
    if "good" in places:
        add_revision(folder, "good/g1", revision("g1", label="good", up_code=LEAKS))


def outcomes(said: Said) -> dict[str, tuple[str, str]]:
    """Status and problem of each target of a run."""
    return {r["target"]: (r["status"], r["problem"]["code"]) for r in said.json["data"]["results"]}


def test_no_process_has_it_in_its_arguments(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """While a run is at work, every process of this machine is looked at, workers and commands among them."""
    folder = tmp_path / "project"
    reference, variables, _, _ = by_command(folder)
    slow = revision("s1", label="shared", up="SELECT pg_sleep(0.5)")
    write_project(folder, {"a": target_entry(make_database("canary"), password=reference)}, {"shared/s1": slow})
    looks = 0
    with subprocess.Popen(
        [PROGRAM, "upgrade", "--yes"], cwd=folder, env=environment(variables), stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            for pid in (p for p in Path("/proc").iterdir() if p.name.isdigit()):
                with suppress(OSError):  # it has ended since
                    assert_clean((pid / "cmdline").read_bytes(), f"process {pid.name}")
                    looks += 1
        assert process.stderr is not None
        assert_clean(process.stderr.read(), "stderr")
    assert (process.returncode, looks > 100) == (0, True)


STATEMENTS = {
    # that have a password in them -> what is shown of it
    "CREATE ROLE of_the_holder PASSWORD '{}'": "ROLE of_the_holder PASSWORD '***'",
    "DO $$BEGIN EXECUTE 'CREATE ROLE of_the_holder PASSWORD ''{}'''; END$$": "PASSWORD ''***'''; END",
    "DO $$BEGIN EXECUTE format('CREATE ROLE %I PASSWORD %L', 'of_the_holder', '{}'); END$$": "PASSWORD %L', ***); END",
    "SELECT 'host=h password=''{}'' user=u'": "password=''***'' user=u",
    "SELECT set_config('app.password', '{}', true)": "set_config('app.password', '***', true)",
}


@pytest.mark.parametrize(("statement", "shown"), STATEMENTS.items())
def test_a_password_in_somebody_elses_statement(
    statement: str, shown: str, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """A blocker's SQL is shown without it: on the terminal, in reports, journal and ledger. So is a revision's."""
    address = make_database("canary")
    with pg.connect(address.dbname) as c:
        c.execute("CREATE TABLE held (id int)")
    needs_it = revision("s1", label="shared", up="ALTER TABLE held ADD x int")
    entry = target_entry(address, lock_timeout="1s", retries=0)
    write_project(tmp_path, {"a": entry}, {"shared/s1": needs_it})
    statement = statement.format("lit3ral battery:staple")
    with pg.connect(address.dbname, autocommit=False) as holder:
        holder.execute(f"LOCK TABLE held; {statement}".encode())
        said = [
            ehg(tmp_path, *command.split(), **{PASSWORD_VARIABLE: CANARY})
            for command in (f"upgrade --yes --json {' '.join(REPORTS)}", "upgrade --yes", "history a")
        ]
        holder.rollback()
    assert outcomes(said[0]) == {"a": ("failed", "lock_timeout")}
    for one in said[:2]:
        assert shown in one.everything
    says_it = add_revision(tmp_path, "shared/s2", revision("s2", "s1", up=statement))
    said.append(ehg(tmp_path, "plan", "--sql", **{PASSWORD_VARIABLE: CANARY}))
    assert "what looks like a secret is masked in it" in said[-1].out
    for one in said:
        assert_clean(one.everything, "the output")
    with pg.connect(address.dbname) as c:
        (detail,) = (
            c.execute("SELECT detail FROM ehg_migrate.migration_journal WHERE event = 'failed'").fetchone() or ()
        )
    assert shown in detail
    assert_clean(detail, "the journal")
    compiled = says_it.parent.glob("__pycache__/s2.*")
    assert_no_file_has_it(tmp_path, {says_it, *compiled})


LEDGERS = {
    # what is wrong with a ledger in PostgreSQL -> its URL, the code of what the run could not record
    "nothing": ("postgresql://postgres@{host}:{port}/{name}", ""),
    "wrong password": ("postgresql://authenticator@{host}:{port}/{name}", "ledger_login"),
    "no such database": ("postgresql://postgres@{host}:{port}/no_such_database", "ledger_database"),
    "untrusted": (
        "postgresql://postgres@{host}:{port}/{name}?sslmode=verify-full&sslrootcert={wrong_ca}",
        "ledger_unreachable",
    ),
}


@pytest.mark.parametrize("wrong", LEDGERS)
def test_the_ledgers_password(wrong: str, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path) -> None:
    """A ledger in PostgreSQL has a secret of its own: it is in no row of it, and in no words about what is wrong."""
    url, code = LEDGERS[wrong]
    target, ledger = make_database("canary"), make_database("ledger")
    place = url.format(host=pg.host, port=pg.port, name=ledger.dbname, wrong_ca=certificates().wrong_ca_file)
    write_project(
        tmp_path,
        {"good": target_entry(target)},
        {"shared/s1": revision("s1", label="shared"), "good/g1": revision("g1", label="good", up_code=LEAKS)},
        settings={"ledger": place, "ledger_password": "env:EHG_TEST_COPY"},
    )
    both = {PASSWORD_VARIABLE: CANARY, "EHG_TEST_COPY": CANARY}
    said = [ehg(tmp_path, *c.split(), **both) for c in ("upgrade --yes --json --junit junit.xml", "runs", "status")]
    assert outcomes(said[0]) == {"good": ("failed", "statement_failed")}
    codes = [note["code"] for note in said[0].json["data"]["notes"]]
    assert codes == ([code, "ledger_unread", "ledger_incomplete"] if code else [])
    for one in said:
        assert_clean(one.everything, "the output")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert_clean(path.read_bytes(), str(path))
    if not code:
        with pg.open(ledger) as c:
            rows = c.execute(b"SELECT r::text || s::text FROM ehg_migrate_ledger.runs r, ehg_migrate_ledger.results s")
            assert_clean("".join(row[0] for row in rows), "the ledger")


SHOWS_VARIABLES = "#!/bin/sh\nenv >> {}\nprintf '[]'\n"


def test_programs_that_are_started_get_no_secret_in_their_variables(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for pg_dump's PGPASSWORD, which it needs: git, squawk and pg_dump do without."""
    tools, seen = tmp_path / "tools" / "bin", tmp_path / "seen"
    tools.mkdir(parents=True)
    for name in ("git", "squawk", "pg_dump"):
        (tools / name).write_text(SHOWS_VARIABLES.format(seen))
        (tools / name).chmod(0o755)
    write_project(tmp_path, {"a": target_entry(make_database("canary"))}, {"shared/s1": revision("s1", label="shared")})
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tools))
    monkeypatch.setattr("ehg_migrate.schema.dump.wheel_folder", lambda: tools.parent)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    monkeypatch.setenv("EHG_TEST_COPY", f"x {quote(CANARY)} y")
    monkeypatch.setenv("EHG_SCRATCH_URL", "postgresql://u:battery:staple@127.0.0.1:1/postgres")
    with Project.load(tmp_path) as project:
        project.lint_sql()
        project.upgrade()
        project.dump("a")
    variables = seen.read_text()
    assert variables.count("\nPATH=") == 3
    assert_clean(variables.replace(f"PGPASSWORD={CANARY}\n", "", 1), "the variables of a program")


def test_a_password_in_the_ledgers_url(tmp_path: Path) -> None:
    """Refused by every command that opens it, and not repeated."""
    url = f"postgresql://u:{quote(CANARY, safe='')}@127.0.0.1:1/d".replace("%", "%%")  # as an ini file has it
    entry = {"url": "postgresql://u@127.0.0.1:1/d"}
    write_project(tmp_path, {"a": entry}, {"shared/s1": revision("s1")}, settings={"ledger": url})
    for command in ("runs", "upgrade --yes"):
        said = ehg(tmp_path, *command.split())
        assert (said.code, "it has a password in it" in said.err) == (2, True), said.err
        assert_clean(said.everything, "the output")


CUTS = """
import os
from sqlalchemy import text
secret = os.environ["EHG_LONG"]
bind = op.get_bind()
try:
    bind.execute(text("SELECT nothing(:it)"), {"it": secret})
except Exception as e:
    print(e)
    raise RuntimeError(str(e))
"""
"""SQLAlchemy shows the beginning and the end of a long parameter, in whatever a revision makes of its error."""

KEEPS = """
import os
op.get_bind().exec_driver_sql("CREATE TABLE kept (it text, whose text NOT NULL)")
op.get_bind().exec_driver_sql("INSERT INTO kept VALUES (%s)", (os.environ["EHG_LONG"],))
"""
"""PostgreSQL shows the beginning of each value of a row that it refuses."""


@pytest.mark.parametrize("code", [CUTS, KEEPS], ids=["a parameter", "a row"])
def test_a_long_password_of_which_a_piece_is_shown(
    code: str, make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """As tokens are that stand for a password."""
    address, secret = make_database("canary"), "".join(f"{n:x}." for n in range(1000, 1400))
    with pg.admin(address.dbname) as c:
        c.execute(sql.SQL("CREATE ROLE long SUPERUSER LOGIN PASSWORD {}").format(sql.Literal(secret)))
    try:
        entry = target_entry(replace(address, user="long"), password="env:EHG_LONG")
        write_project(tmp_path, {"a": entry}, {"shared/s1": revision("s1", label="shared", up_code=code)})
        said = [ehg(tmp_path, *c.split(), EHG_LONG=secret) for c in ("upgrade --yes", "history a --json")]
    finally:
        with pg.admin(address.dbname) as c:
            c.execute("DROP OWNED BY long; DROP ROLE long")
    assert said[0].code == 1
    for one in said:
        assert "***" in one.everything
        for piece in (secret[:20], secret[-20:]):
            assert piece not in one.everything
    for path in (p for p in (tmp_path / ".ehg").rglob("*") if p.is_file()):
        assert secret[:20].encode() not in path.read_bytes()


def test_a_wrong_password_is_not_repeated_either(make_database: Callable[[str], Address], tmp_path: Path) -> None:
    """What is no password here may be one elsewhere."""
    entry = target_entry(make_database("canary"))
    write_project(tmp_path, {"a": entry}, {"shared/s1": revision("s1")})
    said: list[Said] = [
        ehg(tmp_path, *command, **{PASSWORD_VARIABLE: CANARY + "x"})
        for command in (["status"], ["upgrade", "--yes", "--json"], ["history", "a"], ["doctor"])
    ]
    assert [one.code for one in said] == [1, 1, 1, 1]
    assert "wrong_password" in said[1].out
    for one in said:
        assert_clean(one.everything, "the output")
    assert_no_file_has_it(tmp_path, set())


SHOWS_IT = f"import os\n\n\ndef shown():\n    raise OSError(1, os.environ[{PASSWORD_VARIABLE!r}])\n\n\n"


@pytest.mark.parametrize("where", ["revision = shown()", "raise RuntimeError(shown())"])
def test_files_that_show_it_while_they_load(where: str, tmp_path: Path) -> None:
    """The project's own code runs before any password is resolved, and has the variables: what it raises is masked."""
    write_project(tmp_path, {"a": {"url": "postgresql://u@127.0.0.1:1/d"} | _REFERENCE}, {"shared/s1": revision("s1")})
    add_revision(tmp_path, "shared/s2", f"{revision('s2', 's1')}\n\n{SHOWS_IT}{where}\n")
    for command in ("lint", "targets", "plan", "revision -m more"):
        assert_clean(ehg(tmp_path, *command.split(), **{PASSWORD_VARIABLE: CANARY}).everything, command)


def test_stock_commands_that_ask_our_environment(tmp_path: Path) -> None:
    """They too: the file and its line, no traceback. `heads`, `show`, `branches` and `edit` run nothing of ours."""
    write_project(tmp_path, {"a": {"url": "postgresql://u@127.0.0.1:1/d"} | _REFERENCE}, {"shared/s1": revision("s1")})
    ini = tmp_path / "alembic.ini"  # as `init` writes it
    ini.write_text(ini.read_text().replace("[alembic]", "[alembic]\nrevision_environment = true"))
    add_revision(tmp_path, "shared/s2", f"{revision('s2', 's1')}\n\n{SHOWS_IT}shown()\n")
    for command in ("history", "revision -m more --head s2", "merge -m both heads", "upgrade heads --sql"):
        said = ehg(tmp_path, *command.split(), program=ALEMBIC, **{PASSWORD_VARIABLE: CANARY})
        assert_clean(said.everything, command)
        assert said.code == 255
        assert "FAILED: " in said.everything
        assert "PermissionError: [Errno 1] ***" in said.everything
    said = ehg(tmp_path, "history", program=ALEMBIC, **{PASSWORD_VARIABLE: CANARY})
    assert "Traceback" not in said.everything
    assert "versions/shared/s2.py:" in said.everything
