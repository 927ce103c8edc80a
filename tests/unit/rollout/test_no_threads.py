"""A machine that has no thread left: what only looks on is done without, and nobody calls it a fault of the tool."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from ehg_migrate.rollout.watch import BlockerWatch
from ehg_migrate.rollout.worker import _unexpected


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_step_is_done_unwatched() -> None:
    """Nobody asks who blocks it, and it does not fail."""
    session: Any = SimpleNamespace(target=SimpleNamespace(limits=SimpleNamespace(lock=5.0)))
    with BlockerWatch(session, cast("Any", None)) as blockers:
        assert blockers.last == ""


def test_it_is_the_machine() -> None:
    """Any other error that nobody expected is ours."""
    with pytest.raises(RuntimeError) as raised:
        threading.Thread().start()
    assert _unexpected(raised.value).code == "worker_not_started"
    assert _unexpected(RuntimeError("another")).code == "internal"
