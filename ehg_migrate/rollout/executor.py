"""Where the work on targets is done: by processes of this machine, or by a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.model import Result
from ehg_migrate.rollout.jobs import Job, Watch
from ehg_migrate.rollout.stop import Stop

LOCAL = "local"
SCHEME = "dask://"

Execute = Callable[[Iterable[Job], Watch, Stop], Iterator[Result]]
"""One Result for each job, as they end, never an exception for a target; tells Events, hears the wish to stop."""


def check_name(name: str) -> None:
    """Raises UsageError for what is no executor, ConfigurationError where its package is missing. Connects nowhere."""
    if name.startswith(SCHEME):
        from ehg_migrate.rollout.dask import check_installed

        check_installed()
    elif name != LOCAL:
        hint = f"use `{LOCAL}`, or `{SCHEME}HOST:PORT` of a scheduler"
        raise UsageError(Problem("bad_executor", f"`{name}` is not an executor", hint))


@contextmanager
def executor(name: str, parallel: int) -> Iterator[Execute]:
    """`local`, or `dask://HOST:PORT`; either does at most `parallel` targets at a time.

    Raises what `check_name` raises, and ConfigurationError where the cluster cannot be reached.
    """
    check_name(name)
    if name == LOCAL:
        yield partial(_here, parallel)
        return
    from ehg_migrate.rollout import dask

    with dask.connected(name) as client:
        yield dask.DaskExecutor(client, parallel)


def check_workers() -> None:
    """Raises UsageError in a process that Python lets start none, before anything is begun."""
    import multiprocessing  # with all that makes processes

    if multiprocessing.current_process().daemon:
        raise UsageError(_DAEMON)


_DAEMON = Problem(
    "daemonic_process",
    "this is a daemonic process, as those of `multiprocessing.Pool` are: Python lets it start no processes for targets",
    "do it in another one; those of `concurrent.futures.ProcessPoolExecutor` may start processes",
)


def _here(parallel: int, jobs: Iterable[Job], watch: Watch, stop: Stop) -> Iterator[Result]:
    from ehg_migrate.rollout.pool import Pool  # with all that makes processes

    return Pool(parallel, watch, stop).run(jobs)
