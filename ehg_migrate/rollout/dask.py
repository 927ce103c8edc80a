"""The executor that sends targets to a Dask cluster: one task each, done there as it would be done here.

References to secrets travel, secrets do not. Dask starts a task again elsewhere when its worker is lost; the second one
goes on from wherever the target stands. What no worker can tell any more, the runner looks up itself.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ehg_migrate.database.hosts import Hosts
from ehg_migrate.errors import ConfigurationError, EhgMigrateError, Problem
from ehg_migrate.model import Result
from ehg_migrate.redaction import safe
from ehg_migrate.rollout.executor import SCHEME
from ehg_migrate.rollout.jobs import Event, EventKind, Job, Watch
from ehg_migrate.rollout.pool import Pool, not_begun, take_next
from ehg_migrate.rollout.remote import do
from ehg_migrate.rollout.stop import Stop

if TYPE_CHECKING:
    from distributed import Client, Future

_TICK = 0.2  # seconds between two looks whether to stop
_PATIENCE = "10s"  # for the scheduler to answer
_SILENCE = 3.0  # seconds without a word from the cluster, after each of which it is asked whether it has a worker
_LAST_WORDS = 10.0  # seconds that tasks get to end after the second wish to stop
_LOOK_EVERY = 0.5  # seconds between two looks of a task whether it shall stop
_GONE = (OSError, RuntimeError, AttributeError)
"""What a client raises whose scheduler has gone: at first, when it has given it up, and when it has closed itself."""

_BEGUN, _ASKED, _HEARD, _WITHDRAWN = "begun", "asked", "heard", "withdrawn"


def check_installed() -> None:
    """Raises ConfigurationError where the extra is not installed."""
    if find_spec("distributed") is None:
        hint = "run `pip install 'ehg_migrate[dask]'`"
        raise ConfigurationError(Problem("dask_missing", "`dask://` needs the package distributed", hint))


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at `dask://HOST:PORT`; TLS and its certificates come from Dask's own configuration.

    Raises ConfigurationError where nobody answers there. The extra is installed, as `check_installed` knows.
    """
    from distributed import Client

    try:
        client = Client(address.removeprefix(SCHEME), timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as e:  # TypeError: TLS without a certificate in Dask's configuration
        hint = "start one with `dask scheduler`, or look at the address; `tls://` needs Dask's own settings for TLS"
        why = f"no Dask scheduler answers at `{address}`: {type(e).__name__}: {safe(str(e))}"
        raise ConfigurationError(Problem("no_scheduler", why, hint)) from e
    with client:
        yield client


class DaskExecutor:
    """Runs jobs on a cluster, at most `parallel` at a time. Never raises for a target."""

    def __init__(self, client: Client, parallel: int) -> None:
        self._client = client
        self._parallel = parallel
        self._heard: queue.Queue[Event | Future[Result | None]] = queue.Queue()
        self._doing: dict[str, tuple[Job, Future[Result | None]]] = {}  # by the task's key
        self._lost: list[Job] = []
        self._told = 0
        self._withdrawn = False
        self._end_by: float | None = None
        self._ask_at = 0.0  # when to ask for workers

    def __call__(self, jobs: Iterable[Job], watch: Watch, stop: Stop) -> Iterator[Result]:
        """One Result for each job, as they end."""
        waiting = list(jobs)
        self._hosts = Hosts(job.target for job in waiting)
        self._ask_at = time.monotonic() + _SILENCE
        while waiting or self._doing:
            if stop.over:
                yield from (not_begun(job, stop) for job in waiting)
                waiting.clear()
                yield from self._withdraw(stop)
                self._pass_on(stop)
            while len(self._doing) < self._parallel and (job := take_next(waiting, self._hosts)):
                self._submit(job)
            yield from self._listen(watch, stop, self._hosts.pause_left(_TICK) if waiting else _TICK)
        lost, self._lost = self._lost, []  # another wave may follow, and what is looked at here has its last word
        if lost:
            yield from Pool(self._parallel, watch, stop).run(lost)

    def _submit(self, job: Job) -> None:
        topic = _topic(job)
        try:
            self._client.subscribe_topic(topic, self._hear)
            future = self._client.submit(_task, replace(job, password=None, output=""), topic, key=topic, pure=False)
        except Exception as e:  # noqa: BLE001 - what a client raises that has lost its scheduler has no common type
            self._lost.append(replace(job, look=_not_taken(e)))
            return
        self._hosts.begin(job.target)
        self._doing[topic] = job, future
        future.add_done_callback(self._heard.put)

    def _hear(self, told: tuple[float, Any]) -> None:
        target, kind, text, step, steps = told[1]
        self._heard.put(Event(target, EventKind(kind), text, step, steps))

    def _listen(self, watch: Watch, stop: Stop, longest: float) -> Iterator[Result]:
        try:
            heard = self._heard.get(timeout=longest)
        except queue.Empty:
            self._ask_for_workers(watch)
            if self._end_by is not None and time.monotonic() > self._end_by:
                for topic in list(self._doing):
                    self._lose(topic, _ENDED)
            return
        self._ask_at = time.monotonic() + _SILENCE
        if isinstance(heard, Event):
            watch(heard)
        elif str(heard.key) in self._doing:
            yield from self._finished(heard, watch, stop)

    def _ask_for_workers(self, watch: Watch) -> None:
        """Says once why nothing goes on, where that is so; a worker that joins later gets the work."""
        if not self._doing or time.monotonic() < self._ask_at:
            return
        self._ask_at = time.monotonic() + _SILENCE
        with suppress(*_GONE):  # which its tasks will say
            if not self._client.nthreads():
                job, _ = next(iter(self._doing.values()))
                watch(Event(job.target.name, EventKind.NOTICE, "the cluster has no worker; waiting until one joins"))
                self._ask_at = math.inf

    def _finished(self, future: Future[Result | None], watch: Watch, stop: Stop) -> Iterator[Result]:
        if future.status != "finished":
            self._lose(str(future.key), _lost(future))
            return
        result = future.result()
        job = self._forget(str(future.key))
        if result is None:
            yield not_begun(job, stop)
            return
        watch(Event(result.target, EventKind.FINISHED, result=result))
        yield result

    def _lose(self, topic: str, why: Problem) -> None:
        """No word will come of it: the runner looks at the target itself, under its lock."""
        job = self._forget(topic)
        self._lost.append(replace(job, look=why))

    def _forget(self, topic: str) -> Job:
        job, _ = self._doing.pop(topic)
        self._hosts.end(job.target)
        with suppress(Exception):  # it has closed, with all that it was subscribed to
            self._client.unsubscribe_topic(topic)
        return job

    def _withdraw(self, stop: Stop) -> Iterator[Result]:
        """Takes back, once, what has not begun, since no worker may ever be free for it.

        Here a word is written and then looked whether the task has begun; a task does both the other way round. So one
        of the two sees what the other wrote, and what is said here to have not begun does nothing.
        """
        if self._withdrawn:
            return
        self._withdrawn = True
        with suppress(*_GONE):  # which its tasks will say
            for topic, (job, future) in list(self._doing.items()):
                self._client.set_metadata([topic, _WITHDRAWN], True)
                if not self._client.get_metadata([topic, _BEGUN], default=False):
                    self._forget(topic)
                    yield not_begun(job, stop)  # first: what comes now may be the end of the scheduler
                    future.cancel()

    def _pass_on(self, stop: Stop) -> None:
        """Tells the tasks, which look for it; after the second wish they have not for ever."""
        with suppress(*_GONE):  # as above
            if stop.asked > self._told:
                for topic in self._doing:
                    self._client.set_metadata([topic, _ASKED], stop.asked)
                self._told = stop.asked
            if stop.asked and self._doing:
                self._lose_orphans()
        if stop.asked > 1 and self._end_by is None:
            self._end_by = time.monotonic() + _LAST_WORDS

    def _lose_orphans(self) -> None:
        """Tasks that have lost their worker, and for which there is no other one, are not waited for."""
        held = {str(key) for keys in self._client.processing().values() for key in keys}
        orphans = {t: f for t, (_, f) in self._doing.items() if t not in held and not f.done()}
        if orphans:  # or they have ended since, and their results are on the way here
            there = self._client.who_has(list(orphans.values()))
            orphans = {t: f for t, f in orphans.items() if not there.get(t)}
        for topic, future in orphans.items():
            future.cancel()
            self._lose(topic, _ORPHANED)


def _task(job: Job, topic: str) -> Result | None:
    """What a worker of the cluster does; None if it was withdrawn before. What it must know of the others stands in
    the metadata of the task.
    """
    from distributed import get_client, get_worker

    worker, client, stop, over = get_worker(), get_client(), Stop(), threading.Event()
    again = client.get_metadata([topic, _BEGUN], default=False)
    client.set_metadata([topic, _BEGUN], True)
    if not again and client.get_metadata([topic, _WITHDRAWN], default=False):
        return None
    if again and client.get_metadata([topic, _ASKED], default=0):
        raise RuntimeError("its worker has gone, and the run is stopped")  # before another could hear of it

    def tell(event: Event) -> None:
        if event.kind is not EventKind.FINISHED:
            worker.log_event(topic, [event.target, str(event.kind), event.text, event.step, event.steps])

    hearing = threading.Thread(target=_hear, args=(client, topic, stop, over), name="stop", daemon=True)
    hearing.start()
    try:
        return do(replace(job, again=again), tell, stop)
    finally:
        over.set()
        hearing.join()


def _hear(client: Client, topic: str, stop: Stop, over: threading.Event) -> None:
    """Passes the runner's wish to stop on. A task whose runner has gone is forgotten, and ends after its step too."""
    while not over.wait(_LOOK_EVERY):
        try:
            told = client.get_metadata([topic], default=None)
        except _GONE:
            told = None
        asked = told.get(_ASKED, 0) if told else 1
        if stop.asked >= asked:
            continue
        while stop.asked < asked:
            stop.ask()
        if told:  # for whoever wants to know that it has arrived
            with suppress(*_GONE):  # another wish may follow
                client.set_metadata([topic, _HEARD], asked)


def _topic(job: Job) -> str:
    """The name of a task, and of what it tells."""
    return f"ehg-{job.run}-{job.target.name}"


def _lost(future: Future[Result | None]) -> Problem:
    error = future.exception() if future.status == "error" else None
    if isinstance(error, EhgMigrateError):
        (problem,) = error.problems
        why = f"the cluster lost this target's worker, and another cannot go on: {problem.message}"
        return Problem("worker_lost", safe(why), safe(problem.hint))
    why = f"{type(error).__name__}: {error}" if error else "the scheduler has gone"
    return Problem(
        "worker_lost", safe(f"the cluster lost this target's work: {why}"), "look at the logs of its workers"
    )


def _not_taken(error: Exception) -> Problem:
    why = f"the cluster did not take this target's work: {type(error).__name__}: {error}"
    return Problem("worker_lost", safe(why), "has the scheduler gone? then start it, and run again")


_ORPHANED = Problem(
    "worker_lost", "the cluster lost this target's worker, and has no other", "look at the logs of its workers"
)
_ENDED = Problem("worker_lost", "the run was ended while a worker of the cluster was at it", "run again")
