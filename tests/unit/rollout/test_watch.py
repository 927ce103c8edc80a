"""What looks on while a step runs: it ends what outlives its deadline, nothing that is over, and never fails a step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from ehg_migrate.rollout import watch
from ehg_migrate.rollout.watch import BlockerWatch, Watchdog

LONGEST = 30  # seconds that a test waits for a thread


class Ends:
    """Stands for a session, or for the end of the process; hears how often it is ended."""

    def __init__(self) -> None:
        self.count = 0
        self._heard = threading.Condition()

    def abort(self) -> None:
        """Once more."""
        with self._heard:
            self.count += 1
            self._heard.notify_all()

    def wait(self, count: int) -> bool:
        """Whether it has been ended so often, before long."""
        with self._heard:
            return self._heard.wait_for(lambda: self.count >= count, LONGEST)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_AGAIN", 0.01)
    monkeypatch.setattr(watch, "_LOOK_EVERY", 0.01)


def test_a_session_is_ended_until_its_work_is_over() -> None:
    """More than once: its connection may not have stood the first time."""
    session, process = Ends(), Ends()
    dog = Watchdog(0.01, process.abort)
    dog.guard(session)  # type: ignore[arg-type]  # all of one that is asked for
    with dog:
        assert session.wait(2)
        assert dog.expired
    dog._thread.join(LONGEST)
    assert not dog._thread.is_alive()
    assert process.count == 0


def test_a_process_that_outlives_its_deadline_by_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its session is ended first; nothing ends a loop in Python, and who was to kill it may have gone."""
    monkeypatch.setattr(watch, "_GRACE", 0.05)
    session, process, itself = Ends(), Ends(), Ends()
    dog = Watchdog(0.01, process.abort, itself.abort)
    dog.guard(session)  # type: ignore[arg-type]  # all of one that is asked for
    with dog:
        assert itself.wait(1)
    assert session.count > 0
    assert process.count == 0


def test_where_no_session_stands_the_work_is_given_up() -> None:
    """Before the first one, and while another is entered."""
    session, process = Ends(), Ends()
    with Watchdog(0.01, process.abort) as dog:
        dog.guard(session)  # type: ignore[arg-type]  # all of one that is asked for
        dog.guard(None)
        seen = process.count
        assert process.wait(seen + 1)


def test_what_is_over_is_not_ended() -> None:
    """Neither a moment later, nor where the deadline came in that moment: the session may be another's by then."""
    session, process = Ends(), Ends()
    with Watchdog(3600, process.abort) as dog:
        dog.guard(session)  # type: ignore[arg-type]  # all of one that is asked for
    dog._thread.join(LONGEST)
    dog._end()
    assert (dog._thread.is_alive(), dog.expired, session.count, process.count) == (False, False, 0, 0)


def test_no_deadline_is_no_deadline() -> None:
    """0 is not at once."""
    process = Ends()
    with Watchdog(0, process.abort) as dog:
        assert dog._thread.ident is None
    assert (dog.expired, process.count) == (False, 0)


class Waits:
    """Stands for a session whose working connection waits for these, look after look."""

    def __init__(self, *found: dict[int, str] | psycopg.Error, alone: bool = False, limit: float = 0) -> None:
        self.target = SimpleNamespace(limits=SimpleNamespace(lock=limit))
        self.lock, self.work = (self, self) if alone else (object(), object())
        self.over = threading.Event()
        self._found: Iterator[dict[int, str] | psycopg.Error] = iter(found)

    def blockers(self) -> dict[int, str]:
        """The next of them; nobody when all were told."""
        found = next(self._found, None)
        if found is None or isinstance(found, psycopg.Error):
            self.over.set()
        if isinstance(found, psycopg.Error):
            raise found
        return found or {}


def watched(session: Any) -> tuple[list[str], BlockerWatch]:
    """What was told while it waited, and who watched."""
    told: list[str] = []
    with BlockerWatch(session, told.append) as looks:
        assert session.over.wait(LONGEST)
    assert not looks._thread.is_alive(), "nobody asks on the lock's connection any more"
    return told, looks


def test_who_blocks_is_told_once() -> None:
    """Each when he is first seen; the last answer is kept for the error, and nobody is no answer."""
    told, looks = watched(Waits({}, {1: "ann"}, {1: "ann"}, {1: "ann", 2: "bob"}, {2: "bob"}, {}))
    assert told == ["blocked by ann", "blocked by ann; bob"]
    assert looks.last == "bob"


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_look_that_fails_fails_no_step() -> None:
    """The lock's connection has gone; whoever runs the step finds out."""
    told, looks = watched(Waits({1: "ann"}, psycopg.OperationalError("gone")))
    assert (told, looks.last) == (["blocked by ann"], "ann")


def test_the_connection_that_waits_is_not_asked() -> None:
    """Where there is one alone, the question would wait behind the step."""
    with BlockerWatch(Waits({1: "ann"}, alone=True), lambda text: None) as looks:  # type: ignore[arg-type]  # as above
        assert looks._thread.ident is None


@pytest.mark.parametrize(("limit", "every"), [(0.0, 1.0), (0.8, 0.2), (60.0, 1.0)])
def test_a_lock_is_not_waited_for_to_the_end_before_somebody_asks(
    limit: float, every: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was in the way is seen before the lock timeout ends the waiting."""
    monkeypatch.setattr(watch, "_LOOK_EVERY", 1.0)
    looks = BlockerWatch(Waits(limit=limit), lambda text: None)  # type: ignore[arg-type]  # all that is asked for
    assert looks._every == pytest.approx(every)
