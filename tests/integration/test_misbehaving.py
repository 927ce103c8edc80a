"""Revisions that end their transaction or their process: never `done` where it is not so, never contagious."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ehg_migrate.cli import exits
from ehg_migrate.model import Address, Run, StateKind, Status
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

_DRIVER = "op.get_bind().connection.driver_connection"
_FAIL = "raise RuntimeError('half way')"
_ENDS_ITSELF = "import os; os.kill(os.getpid(), 9)"
_VERSIONS = "ehg_migrate.alembic_version"

DONE = ("done",)
LEFT = ("started", "done")
FAILED = ("failed",)
HALF = ("started", "failed")


@dataclass(frozen=True)
class Case:
    """What the revision `<name>_1` does after it has made its table, and what must be said of it."""

    code: str
    status: Status = Status.SUCCEEDED
    journal: tuple[str, ...] = DONE  # of that revision
    problem: str = ""
    message: str = ""  # a pattern
    left: tuple[str, ...] = ()  # tables that are there although their step is not done

    @property
    def done(self) -> bool:
        """Whether the target is where the run wanted it."""
        return self.status is Status.SUCCEEDED


def _half(code: str, name: str, problem: str = "revision_raised", message: str = "a part of it may be done") -> Case:
    """Its table was committed, and then it failed."""
    return Case(code, Status.INDETERMINATE, HALF, problem, message, (f"{name}_1",))


def _failed(code: str, problem: str, message: str = "", journal: tuple[str, ...] = FAILED) -> Case:
    """It has left nothing."""
    return Case(code, Status.FAILED, journal, problem, message)


def _thrown(code: str, status: Status = Status.FAILED) -> Case:
    """It has thrown its own table away."""
    journal = FAILED if status is Status.FAILED else HALF
    return Case(code, status, journal, "thrown_away", "rolled back what it had done itself")


TRANSACTIONS = {
    "driver_commit": Case(f"{_DRIVER}.commit()", journal=LEFT),
    "driver_commit_fails": _half(f"{_DRIVER}.commit()\n{_FAIL}", "driver_commit_fails"),
    "dbapi_commit_fails": _half(f"op.get_bind().connection.dbapi_connection.commit()\n{_FAIL}", "dbapi_commit_fails"),
    "driver_text_fails": _half(f"{_DRIVER}.execute(b'commit work')\n{_FAIL}", "driver_text_fails"),
    "cursor_text_fails": _half(f"{_DRIVER}.cursor().execute('END')\n{_FAIL}", "cursor_text_fails"),
    "commit_begin": Case("op.execute('COMMIT; BEGIN')", journal=LEFT),
    "commit_begin_fails": _half(f"op.execute('COMMIT; BEGIN')\n{_FAIL}", "commit_begin_fails"),
    "in_the_middle_fails": _half(f"op.execute('SELECT 1; COMMIT; BEGIN; SELECT 2')\n{_FAIL}", "in_the_middle_fails"),
    "chain_fails": _half(f"op.execute('/* ; */ COMMIT AND CHAIN')\n{_FAIL}", "chain_fails"),
    "commit_killed": Case(
        f"op.execute('COMMIT; BEGIN')\n{_ENDS_ITSELF}",
        Status.INDETERMINATE,
        ("started",),
        "worker_killed",
        "SIGKILL",
        ("commit_killed_1",),
    ),
    "past_the_driver_fails": Case(
        f"{_DRIVER}.pgconn.exec_(b'COMMIT; BEGIN')\n{_FAIL}",
        Status.INDETERMINATE,
        ("failed", "started"),
        "revision_raised",
        "a part of it may be done",
        ("past_the_driver_fails_1",),
    ),
    "rollback": _thrown("op.execute('ROLLBACK')"),
    "rollback_begin": _thrown("op.execute('ROLLBACK; BEGIN')", Status.INDETERMINATE),
    "rollback_chain": _thrown("op.execute('ROLLBACK AND CHAIN')"),
    "abort_begin": _thrown("op.execute('SELECT 1; ABORT; BEGIN')", Status.INDETERMINATE),
    "bind_rollback": _thrown("op.get_bind().rollback()"),
    "driver_rollback": _thrown(f"{_DRIVER}.rollback()"),
    "past_the_driver": _thrown(f"{_DRIVER}.pgconn.exec_(b'ROLLBACK; BEGIN')"),
    "commit_of_nothing": _thrown(
        f"try:\n    op.execute('SELECT 1/0')\nexcept Exception:\n    {_DRIVER}.commit()", Status.INDETERMINATE
    ),
    "rollback_later": Case(
        f"op.execute('COMMIT')\nop.execute('CREATE TABLE gone (n int)')\n{_DRIVER}.rollback()",
        Status.INDETERMINATE,
        HALF,
        "thrown_away",
        "rolled back what it had done itself",
        ("rollback_later_1",),
    ),
    "rollback_at_once": Case(
        "op.execute('COMMIT')\nop.execute('SELECT 1')\nop.execute('CREATE TABLE gone (n int); ROLLBACK')",
        Status.INDETERMINATE,
        HALF,
        "thrown_away",
        "rolled back what it had done itself",
        ("rollback_at_once_1",),
    ),
    "rollback_of_nothing": Case(f"op.execute('COMMIT')\n{_DRIVER}.rollback()", journal=LEFT),
    "savepoints": Case(
        "op.execute('SAVEPOINT a; CREATE TABLE gone (n int); ROLLBACK TO SAVEPOINT a')\n"
        "op.execute('ROLLBACK WORK TO a')\n"
        "with op.get_bind().begin_nested() as inner:\n    inner.rollback()"
    ),
    "words_in_bodies": Case(
        "op.execute('DO $x$ BEGIN PERFORM 1; END; $x$; SELECT \\'a; COMMIT\\', 1 AS \"b; ROLLBACK\" -- ; END')\n"
        "op.execute('CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END')"
    ),
    "begin": Case("op.execute('BEGIN')"),
    "error_swallowed": _failed(
        "try:\n    op.execute('SELECT 1/0')\nexcept Exception:\n    pass",
        "statement_failed",
        "current transaction is aborted",
    ),
    "copy_left_open": _failed(
        f"cursor = {_DRIVER}.cursor()\ncopy = cursor.copy('COPY copy_left_open_1 FROM STDIN')\ncopy.__enter__()",
        "statement_failed",
    ),
    "discard": _failed("op.execute('DISCARD ALL')", "needs_autocommit", "DISCARD ALL"),
    "closes": _failed(f"{_DRIVER}.close()", "connection_lost", "the connection is closed", ()),
}

VERSION_ROWS = {
    "row_added": _failed(f"op.execute(\"INSERT INTO {_VERSIONS} VALUES ('zz')\")", "moved_rows", "hold .*`zz` instead"),
    "rows_deleted": _failed(f"op.execute('DELETE FROM {_VERSIONS}')", "revision_raised", "match one row"),
    "row_moved": _failed(
        f"op.execute(\"UPDATE {_VERSIONS} SET version_num = 'row_moved_1'\")", "revision_raised", "match one row"
    ),
    "table_dropped": _failed(f"op.execute('DROP TABLE {_VERSIONS}')", "statement_failed", "does not exist"),
}

PROCESS = {
    "exit_0": _failed("import os; os._exit(0)", "worker_died", "exit code 0", ()),
    "keyboard": _failed("raise KeyboardInterrupt", "revision_raised", "^KeyboardInterrupt$"),
    "own_base": _failed("class Odd(BaseException): pass\nraise Odd('odd')", "revision_raised", "^Odd: odd$"),
    "long_words": _failed("raise ValueError('a' * 10_000_000)", "revision_raised", "^ValueError: a{900,990}$"),
    "no_words": _failed(
        "class Mute(Exception):\n    def __str__(self): raise OSError\nraise Mute",
        "revision_raised",
        r"^Mute: its message cannot be had \(OSError\)$",
    ),
    "half_a_pair": _failed("raise ValueError('\\ud800')", "revision_raised", r"^ValueError: \\ud800$"),
    "recursion": _failed("def deeper(): deeper()\ndeeper()", "revision_raised", "^RecursionError"),
    "memory": _failed("kept = []\nwhile True: kept.append(bytearray(1 << 20))", "revision_raised", "^MemoryError$"),
    "memory_at_once": _failed("bytearray(2 << 30)", "revision_raised", "^MemoryError$"),
    "descriptors": _failed(
        "import os\nos.close(1); os.close(2)\nprint('to nobody')", "revision_raised", "Bad file descriptor"
    ),
    "late_thread": Case(
        "import threading\ndef speak():\n    while True: print('still here')\n"
        "threading.Thread(target=speak, daemon=True).start()"
    ),
    "fork_goes_on": Case("import os\nos.fork()"),
    "fork_works_on": Case(
        "import os\nif os.fork() == 0:\n    op.execute('CREATE TABLE of_the_child (n int)'); op.execute('COMMIT')"
    ),
    "surroundings": Case(
        "import logging, os, sys, warnings\n"
        "os.chdir('/'); os.environ.clear(); sys.path.clear(); sys.argv.clear()\n"
        "logging.disable(); logging.shutdown(); warnings.simplefilter('error'); sys.setrecursionlimit(200)"
    ),
}

CASES = {**TRANSACTIONS, **VERSION_ROWS, **PROCESS}


def _own(name: str, code: str) -> dict[str, str]:
    return {
        f"{name}/{name}_1.py": step(f"{name}_1", None, code, label=name, depends=("s1",)),
        f"{name}/{name}_2.py": step(f"{name}_2", f"{name}_1"),
    }


@pytest.fixture(scope="module")
def fleet(pg: Cluster, make_module_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A target for each case, and one that behaves."""
    revisions = {"shared/s1.py": step("s1", label="shared")} | _own("neighbour", "")
    for name, case in CASES.items():
        revisions |= _own(name, case.code)
    addresses = {name: make_module_database(name) for name in (*CASES, "neighbour")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD_VARIABLE, CANARY)
        folder = tmp_path_factory.mktemp("fleet")
        yield make_fleet(pg, folder, addresses, revisions, worker_memory="512MB")


@pytest.fixture(scope="module")
def run(fleet: Fleet) -> Run:
    """All of them in one run."""
    return fleet.upgrade(parallel=4)


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_it_is_what_it_did(fleet: Fleet, run: Run, name: str) -> None:
    """Status, code, message, steps and rows; the tables that are there; what the journal has; and no lock is left."""
    case, result = CASES[name], result_of(run, name)
    assert (result.status, code_of(result)) == (case.status, case.problem), result
    if result.problem:
        assert re.search(case.message, result.problem.message)
        assert len(result.problem.message) <= 1100
        assert result.problem.hint
    steps = ["s1", f"{name}_1", f"{name}_2"]
    held = steps if case.done else steps[:1]
    assert [s.revision for s in result.steps] == held
    assert list(result.not_done) == [s for s in steps if s not in held]
    assert list(result.heads_after) == fleet.heads(name) == held[-1:]
    assert fleet.tables(name) == sorted([*held, *case.left])
    assert tuple(event for event, revision in fleet.journal(name) if revision == f"{name}_1") == case.journal
    fleet.check_no_lock(name)
    fleet.check_no_lease(name)


def test_what_status_says_afterwards(fleet: Fleet, run: Run) -> None:
    """The rows as they are, what is missing, and a note where a step was cut outside a transaction."""
    states = fleet.load().status()
    assert {s.target for s in states} == set(fleet.addresses)
    for state in states:
        case = CASES.get(state.target, Case(""))
        assert list(state.heads) == fleet.heads(state.target)
        assert state.kind is (StateKind.UP_TO_DATE if case.done else StateKind.PENDING)
        started = "started" in case.journal and not case.done
        assert [n.code for n in state.notes] == (["half_done"] if started else []), state


def test_the_neighbour_does_not_notice(fleet: Fleet, run: Run) -> None:
    """The one that behaves is done, and the run as a whole has failed and says so once for each target."""
    assert (result_of(run, "neighbour").status, exits.of_run(run)) == (Status.SUCCEEDED, 1)
    assert sorted(r.target for r in run.results) == sorted((*CASES, "neighbour"))
    assert run.notes == ()
    fleet.check("neighbour", holds=["neighbour_1", "neighbour_2", "s1"])
    fleet.check_secrets()


def test_corrected_it_is_done_once(fleet: Fleet, run: Run) -> None:
    """Where nothing was left, the corrected revision is applied as if the first one had never been."""
    mended = [name for name, case in CASES.items() if not case.left]
    for name in mended:
        for path, text in _own(name, "" if not CASES[name].done else CASES[name].code).items():
            fleet.write(path, text)
    assert exits.of_run(fleet.upgrade(*mended, parallel=4)) == 0
    for name in mended:
        done = [revision for event, revision in fleet.journal(name) if event == "done"]
        assert done == ["s1", f"{name}_1", f"{name}_2"]
        fleet.check(name)
