"""What a worker does between two jobs."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

from ehg_migrate.rollout.worker import _next


def answer(pipe: Connection) -> None:
    """Says which job it was given."""
    job, _ = _next(pipe)
    pipe.send(job)


def test_a_wish_to_stop_that_came_too_late_does_not_end_the_worker() -> None:
    """Its job had ended, and it was given another: a look at what a dead worker left is done while a run stops."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=answer, args=(theirs,))
    process.start()
    theirs.close()
    ours.send("stop")
    ours.send(("a look", ()))
    assert ours.recv() == "a look"
    process.join()
