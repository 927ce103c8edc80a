"""A task on a Dask cluster hears every wish to stop, also where the scheduler is lost for a moment between two."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from ehg_migrate.rollout import dask
from ehg_migrate.rollout.stop import Stop
from tests.support.programs import wait_until

if TYPE_CHECKING:
    from distributed import Client


class Scheduler:
    """Tells of as many wishes as were asked; it cannot be told that they have arrived."""

    def __init__(self) -> None:
        self.asked = 1

    def get_metadata(self, keys: list[str], default: Any) -> dict[str, int]:
        return {"asked": self.asked}

    def set_metadata(self, keys: list[str], value: int) -> None:
        raise OSError("Timed out trying to connect to the scheduler")


def test_the_second_wish_is_heard_though_the_first_could_not_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that listens does not end with an answer that nobody takes."""
    monkeypatch.setattr(dask, "_LOOK_EVERY", 0.01)
    scheduler, stop, over = Scheduler(), Stop(), threading.Event()
    hearing = threading.Thread(target=dask._hear, args=(cast("Client", scheduler), "topic", stop, over), daemon=True)
    hearing.start()
    try:
        wait_until(lambda: stop.asked == 1, "the first wish was not heard")
        scheduler.asked = 2
        wait_until(lambda: stop.asked == 2, "the second wish was not heard")
    finally:
        over.set()
        hearing.join()
