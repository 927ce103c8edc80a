"""The ledger in a SQLite file: the contract, the file's permissions, and every way in which a file can be wrong."""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.errors import LedgerError, UsageError
from ehg_migrate.ledger import Ledger, open_ledger, sqlite
from ehg_migrate.ledger.backend import Backend
from ehg_migrate.ledger.migrations import migrate
from ehg_migrate.ledger.sqlite import connect, open_sqlite
from tests.unit.ledger.contract import CANARY, CHECKS, Opener, a_result, a_run, opened, refused, secrets_do_not_come_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet, in a folder that is not there yet, with letters that a URI must quote."""
    return tmp_path / "é 100%?#" / "ledger.sqlite"


@pytest.fixture
def opener(path: Path) -> Opener:
    """Opens the same file each time, without migrating it."""
    return partial(open_sqlite, f"sqlite:///{path}")


@pytest.fixture
def common_folder() -> Iterator[Path]:
    """A folder that every user of this machine can reach and write; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def url(path: Path) -> str:
    """The ledger's URL for a file."""
    return f"sqlite:///{path}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[Opener], None], opener: Opener) -> None:
    """Each promise of `contract.py` holds on SQLite."""
    check(opener)


def test_no_secret_in_the_bytes(opener: Opener, path: Path) -> None:
    """The canary is in no byte of the ledger's folder."""
    secrets_do_not_come_in(opener)
    files = [file.read_bytes() for file in path.parent.iterdir()]
    assert files
    assert not [content for content in files if CANARY.encode() in content]


def test_permissions(path: Path) -> None:
    """The file is made for its owner alone whatever the umask, and so is the folder; no helper file stays."""
    former = os.umask(0)
    try:
        with open_ledger(url(path)) as ledger:
            ledger.start(a_run("r-1"))
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_two_queries_for_the_last_results(opener: Opener) -> None:
    """`last_results` asks for the results and for their runs, however many targets there are."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    for number in range(5):
        ledger.record("r-1", a_result(f"t{number}"))
    asked: list[str] = []
    ledger = Ledger(_with(opener(), lambda connection: connection.set_trace_callback(asked.append)))
    assert len(ledger.last_results(f"t{n}" for n in range(5))) == 5
    assert len([s for s in asked if s not in ("BEGIN", "COMMIT")]) == 2


# --- what can be wrong with a file


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is a letter, and quite a long one at that\n" * 50)


def _folder(path: Path) -> None:
    path.mkdir()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table music (title text)")
    connection.close()


def _damaged(path: Path) -> None:
    open_ledger(url(path)).close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))


def test_what_is_left_of_a_damaged_ledger_is_brought_back_as_the_hint_says(tmp_path: Path) -> None:
    """Its commands, pasted into a shell, whatever the folder is called: what they leave is a ledger again."""
    (tmp_path / "my $fleet").mkdir()
    path = tmp_path / "my $fleet" / "ledger.sqlite"
    _damaged(path)
    with pytest.raises(LedgerError) as caught:
        open_ledger(url(path))
    for command in re.findall("`(.+?)`", caught.value.problems[0].hint):
        subprocess.run(["sh", "-c", command], check=False, capture_output=True)
    open_ledger(url(path)).close()
    assert path.with_name("ledger.sqlite.damaged").exists()


def _no_version_row(path: Path) -> None:
    open_ledger(url(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("delete from ledger_schema")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (_garbage, "ledger_not_sqlite", ("is not a SQLite database", "move the file away")),
        (_folder, "ledger_not_sqlite", ("is a folder", "name a file")),
        (_foreign, "ledger_foreign", ("of some other program", "name another place")),
        (_damaged, "ledger_damaged", ("is damaged", ".recover")),
        (_no_version_row, "ledger_error", ("cannot be used", "move the file away")),
    ],
)
def test_spoilt_files(spoil: Callable[[Path], None], code: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """A file that is no ledger is refused with its own code, its path and a hint, and is not changed."""
    path = tmp_path / "ledger.sqlite"
    spoil(path)
    before = None if path.is_dir() else path.read_bytes()
    with refused(LedgerError, str(path), *words), _coded(code):
        open_ledger(url(path))
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("bad", ["sqlite:///ledger.sqlite", "sqlite:///", "sqlite:////", "sqlite:///:memory:"])
def test_a_path_that_is_not_absolute(bad: str) -> None:
    """A relative path would depend on where the command was started; it is refused."""
    with refused(LedgerError, bad, "absolute"), _coded("ledger_url"):
        open_ledger(bad)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A file where the folder should be is told as the folder's problem."""
    (tmp_path / "file").touch()
    with refused(LedgerError, str(tmp_path / "file")), _coded("ledger_folder"):
        open_ledger(url(tmp_path / "file" / "ledger.sqlite"))


def test_a_read_only_file(common_folder: Path) -> None:
    """A file without the permission to write is refused by name with `chmod` as the hint."""
    path = common_folder / "ledger.sqlite"
    open_ledger(url(path)).close()
    path.chmod(0o444)
    problem = _as_ordinary_user(partial(_opening, path))
    assert problem.startswith(f"ledger_read_only: the ledger `{path}` is read-only")
    assert "chmod u+w" in problem


@pytest.mark.parametrize("present", [False, True], ids=["no file yet", "a file that could be written"])
def test_a_folder_that_cannot_be_written(common_folder: Path, present: bool) -> None:
    """A folder without the permission to write is refused by name, also where the file itself could be written."""
    path = common_folder / "ledger.sqlite"
    if present:
        open_ledger(url(path)).close()
        path.chmod(0o666)
    common_folder.chmod(0o555)
    problem = _as_ordinary_user(partial(_opening, path))
    assert problem.startswith(f"ledger_folder: the ledger's folder `{common_folder}` cannot be used")
    assert "let this user write there" in problem
    common_folder.chmod(0o700)


def test_a_full_disk(opener: Opener, path: Path) -> None:
    """No room for the next row is told as a full disk, and what was recorded before stays readable."""
    backend = opener()
    migrate(backend)
    ledger = Ledger(backend)
    ledger.start(a_run("r-1"))
    ledger.record("r-1", a_result("acme"))
    pages = path.stat().st_size // 4096
    ledger = Ledger(_with(backend, lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}")))
    with refused(LedgerError, "is full", "free some space", "targets themselves"), _coded("ledger_disk_full"):
        ledger.record("r-1", a_result("bolt", output="x" * 100_000))
    assert [r.target for r in ledger.run("r-1").results] == ["acme"]


def test_a_failing_disk(path: Path) -> None:
    """A write that the system refuses in the middle is told as the disk's failure, and the ledger is whole after it."""
    with open_ledger(url(path)) as ledger:
        ledger.start(a_run("r-1"))
    problem = _in_a_fork(partial(_record_with_a_file_limit, path, path.stat().st_size + 4096))
    assert problem.startswith(f"ledger_io: the disk under the ledger `{path}` failed")
    with open_ledger(url(path)) as ledger:
        assert ledger.run("r-1").results == ()


def test_a_file_that_went_away(opener: Opener, path: Path) -> None:
    """A ledger that was deleted while in use is told, and not made anew without its rows."""
    ledger = opened(opener)
    path.unlink()
    with refused(LedgerError, "cannot be opened"), _coded("ledger_gone"):
        ledger.start(a_run("r-1"))
    assert not path.exists()


def test_a_writer_that_never_ends(opener: Opener, path: Path) -> None:
    """A lock that another program holds for longer than we wait is told as such; reading goes on meanwhile."""
    opened(opener).close()
    ledger = Ledger(_with(opener(), lambda connection: connection.execute("PRAGMA busy_timeout = 50")))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert ledger.runs() == ()
        with refused(LedgerError, "locked by another process", "lsof"), _coded("ledger_busy"):
            ledger.start(a_run("r-1"))
    finally:
        holder.close()


# --- helpers


@contextmanager
def _coded(code: str) -> Iterator[None]:
    """The LedgerError that passes through has this code."""
    try:
        yield
    except LedgerError as e:
        assert [problem.code for problem in e.problems] == [code]  # noqa: PT017  `refused` asserts that it comes
        raise


def _opening(path: Path) -> str:
    return _problem(lambda: open_ledger(url(path)).close())


def _record_with_a_file_limit(path: Path, size: int) -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    with open_ledger(url(path)) as ledger:
        return _problem(lambda: ledger.record("r-1", a_result("bolt", output="x" * 100_000)))


def _problem(work: Callable[[], None]) -> str:
    try:
        work()
    except LedgerError as e:
        return f"{e.problems[0].code}: {e}"
    return "nothing was wrong"


def _as_ordinary_user(work: Callable[[], str]) -> str:
    """What `work` says when permissions count; root, who runs tests in containers, may write everywhere."""
    return _in_a_fork(work, become=65534) if os.geteuid() == 0 else work()


def _in_a_fork(work: Callable[[], str], become: int | None = None) -> str:
    """What `work` says in a process of its own, perhaps as another user."""
    processes = multiprocessing.get_context("fork")  # the modules are loaded: the other user may not see their files
    here, there = processes.Pipe(duplex=False)
    child = processes.Process(target=_tell, args=(there, work, become))
    child.start()
    there.close()
    try:
        answer: str = here.recv()
    finally:
        child.join()
    return answer


def _tell(there: Any, work: Callable[[], str], become: int | None) -> None:
    if become is not None:
        os.setgroups([])
        os.setgid(become)
        os.setuid(become)
    there.send(work())


def _with(backend: Backend, change: Callable[[sqlite3.Connection], object]) -> Backend:
    """The same, each connection changed before its transaction begins."""
    begin = backend.begin

    @contextmanager
    def changed(write: bool, long: bool) -> Iterator[sqlite3.Connection]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite, "connect", lambda path: _changed(connect(path)))
            with begin(write, long) as connection:
                yield connection

    def _changed(connection: sqlite3.Connection) -> sqlite3.Connection:
        change(connection)
        return connection

    return replace(backend, begin=changed)


_OLD_RESULTS = """
    WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n <= :many)
    INSERT INTO results (run_id, target, identity, attempt, status, heads_before, heads_after, steps, not_done, problem,
                         notes, output, seconds, recorded_at)
    SELECT 'old-' || n, target, identity, attempt, CASE WHEN n <= :many / 2 THEN 'succeeded' ELSE 'schema_differs' END,
           heads_before, heads_after, steps, not_done, problem, notes, output, seconds,
           printf('2030-01-01T00:00:%09.6f+00:00', n / 1000.0)
      FROM numbers CROSS JOIN (SELECT * FROM results WHERE run_id = 'r-1')"""


def _effort(folder: Path, many: int) -> int:
    """How much SQLite does to find that a target is astray, of which the ledger has so many results."""
    url_of_it = f"sqlite:///{folder / str(many)}"
    with opened(partial(open_sqlite, url_of_it)) as ledger:
        ledger.enter(a_run("r-1", results=(a_result("acme"),)))
    with closing(sqlite3.connect(folder / str(many))) as file, file:
        file.execute(_OLD_RESULTS, {"many": many})
    done: list[None] = []
    counting = _with(open_sqlite(url_of_it), lambda c: c.set_progress_handler(lambda: done.append(None), 100))
    assert Ledger(counting).astray(["acme"]) == {"acme": f"old-{many + 1}"}
    return len(done)


def test_a_target_that_nobody_mends_costs_no_more_each_time(tmp_path: Path) -> None:
    """It differed a thousand times, after a thousand good ones: each of them is looked at once."""
    assert _effort(tmp_path, 800) < 6 * _effort(tmp_path, 200)


QUESTIONS = (
    methodcaller("runs", 9),
    methodcaller("run", "r-1"),
    methodcaller("last_results", ["acme"]),
    methodcaller("astray", ["acme"]),
)


@pytest.mark.parametrize("value", [b"\xff\x00", "x", "[1]", -1.5, "9999-99-99"])
def test_whatever_stands_in_a_file_is_told_as_the_ledgers_trouble(path: Path, opener: Opener, value: object) -> None:
    """Column by column: its types keep nothing out, and runs go on without it. A result of no run is nobody's."""
    with opened(opener) as ledger:
        ledger.enter(a_run("r-1", results=(a_result("acme"),)))
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as file:
        tables = {t: file.execute(f"PRAGMA table_info({t})").fetchall() for t in ("runs", "results", "ledger_schema")}
    troubles = 0
    for change in (f"UPDATE {t} SET {column[1]} = ?" for t, columns in tables.items() for column in columns):
        for question in QUESTIONS:
            path.write_bytes(whole)
            with closing(sqlite3.connect(path, isolation_level=None)) as file:
                file.execute(change, (value,))
            try:
                with opened(opener) as ledger:
                    question(ledger)
            except (LedgerError, UsageError):  # of the latter: there is no such run any more
                troubles += 1
    assert troubles > len(QUESTIONS)
