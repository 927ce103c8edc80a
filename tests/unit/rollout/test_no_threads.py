"""A machine that has no thread left: what only looks on is done without, and nobody calls it a fault of the tool."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from ehg_migrate.cli import app
from ehg_migrate.database.asking import ask_all
from ehg_migrate.database.connections import connect_bare
from ehg_migrate.database.faults import ConnectError
from ehg_migrate.errors import LACKING_THREADS, Problem
from ehg_migrate.ledger import open_ledger
from ehg_migrate.model import Address, RunStatus, Target
from ehg_migrate.rollout.book import Book
from ehg_migrate.rollout.watch import BlockerWatch
from ehg_migrate.rollout.worker import _unexpected
from tests.unit.ledger.contract import a_result, a_run


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_step_is_done_unwatched() -> None:
    """Nobody asks who blocks it, and it does not fail."""
    limits = SimpleNamespace(lock=5.0)
    session: Any = SimpleNamespace(target=SimpleNamespace(limits=limits), lock=object(), work=object())
    with BlockerWatch(session, cast("Any", None)) as blockers:
        assert blockers.last == ""


def test_it_is_the_machine() -> None:
    """Any other error that nobody expected is ours."""
    with pytest.raises(RuntimeError) as raised:
        threading.Thread().start()
    assert _unexpected(raised.value).code == "worker_not_started"
    assert _unexpected(RuntimeError("another")).code == "internal"


def test_the_ledger_has_each_result_at_once(tmp_path: Path) -> None:
    """The run goes on, and what has come is written before the next one comes."""
    place = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Book(lambda: open_ledger(place), a_run("r-1")) as book:
        book.record(a_result("acme"))
        with open_ledger(place) as ledger:
            assert [r.target for r in ledger.run("r-1").results] == ["acme"]
        book.record(a_result("bolt"))
        book.finish(RunStatus.SUCCEEDED)
    with open_ledger(place) as ledger:
        kept = ledger.run("r-1")
    assert (kept.status, [r.target for r in kept.results], book.notes) == (RunStatus.SUCCEEDED, ["acme", "bolt"], [])


def test_a_look_does_not_blame_the_server() -> None:
    """A host's name is looked up in a thread; the target that has none of it is told why."""
    target = Target("one", Address("localhost", 1, "u", "d", "disable"), ("shared",))
    (answer,) = ask_all((target,), {}, 2, cast("Any", None)).values()
    assert isinstance(answer, Problem)
    assert (answer.code, answer.hint) == ("no_thread", LACKING_THREADS)


def test_a_login_is_made_without() -> None:
    """Only a server that makes it endless needs one."""
    target = Target("one", Address("127.0.0.1", 1, "u", "d", "disable"), ("shared",))
    with pytest.raises(ConnectError) as raised:
        connect_bare(target, None, "nobody")
    assert raised.value.problem.code == "connection_refused"


def test_a_command_that_wants_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Says so without a traceback, and does not call it a fault of ours."""
    with pytest.raises(RuntimeError) as raised:
        threading.Thread().start()
    app._tell_unexpected(raised.value)
    told = capsys.readouterr().err
    assert told == f"error: RuntimeError: can't start new thread\n  hint: {LACKING_THREADS}\n"
