"""What lets one explain a case afterwards: the sessions, locks, processes, sockets, and logs, and all that was said.

It is taken when a run has lasted longer than most, while it may still hang, and when something is found that should not
be; it is kept only where a case has a violation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.faults.bench import Place
from tests.faults.proxy import clock_now
from tests.faults.scene import Scene

_LARGEST = 400_000  # characters of one file that are kept, its end
_LATE = (8.0, 20.0)  # seconds from a run's start to a look at what may hang; few runs last so long
_PATIENCE = 2000  # milliseconds for each question: the server may be what hangs
_QUESTIONS = {
    "activity": "SELECT * FROM pg_stat_activity ORDER BY backend_type, pid",
    "locks": "SELECT l.*, pg_blocking_pids(l.pid) FROM pg_locks l ORDER BY granted, pid",
    "prepared": "SELECT * FROM pg_prepared_xacts",
}


class Witness:
    """Looks on while a run is done, and keeps what it saw in a folder if it is asked for it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._texts: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def look(self, name: str) -> None:
        """The server, its processes and those of the run, and their sockets, as they are now."""
        parts = (
            *(_tried(make, self._scene) for make in (_processes, _sockets)),
            *(f"{q}:\n{_tried(partial(_asked, question=q), self._scene)}" for q in _QUESTIONS),
        )
        self._texts[f"{name}.txt"] = "\n\n".join((f"at {clock_now()}, UTC", *parts))

    def keep(self, violations: list[str], story: list[str]) -> Path:
        """All of it, and what was written meanwhile, in a folder that stays. Returns the folder."""
        folder = kept_folder() / f"{self._scene.seed}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._texts["case.txt"] = "\n".join((*violations, "", *story))
        for file in self._written():
            self._texts[file.name] = file.read_text(errors="replace")
        for place, name in zip(_places(self._scene), ("targets", "ledger"), strict=False):
            self._texts[f"{name}-proxy.log"] = "\n".join(place.proxy.log)
            if place.cluster.log_file:
                self._texts[f"{name}-server.log"] = place.cluster.log_file.read_text(errors="replace")
        for name, text in self._texts.items():
            (folder / name).write_text(text[-_LARGEST:])
        return folder

    def _written(self) -> Iterator[Path]:
        """By the run and the others, and of the project."""
        for pattern in ("*.out", "*.err", "*.json", "targets/*.yaml"):
            yield from self._scene.folder.glob(pattern)

    def _watch(self) -> None:
        began = time.monotonic()
        for seconds in _LATE:
            if self._over.wait(max(0.0, began + seconds - time.monotonic())):
                return
            self.look(f"after-{seconds:.0f}-s")


def kept_folder() -> Path:
    """Where the folders of cases with violations are: EHG_FAULT_KEPT, or one below the machine's temporary ones."""
    return Path(os.environ.get("EHG_FAULT_KEPT") or Path(tempfile.gettempdir()) / "ehg-faults-kept")


def _tried(make: Callable[[Scene], str], scene: Scene) -> str:
    try:
        return make(scene)
    except Exception as e:  # noqa: BLE001 - what is broken here must not hide the rest, nor what was found
        return f"not told: {type(e).__name__}: {e}"


def _processes(scene: Scene) -> str:
    """State, where it waits in the kernel, and its title, of each process of the servers, the pooler and the runs."""
    lines = ["   pid   ppid state, waits in, threads, title"]
    for pid in sorted(_pids(scene)):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            title = " ".join(process.cmdline())[:140]
            state = _of(pid, "stat").rpartition(")")[2][1:2]
            lines.append(f"{pid:>6} {process.ppid():>6} {state} {_of(pid, 'wchan'):24} {process.num_threads()} {title}")
    return "processes:\n" + "\n".join(lines)


def _pids(scene: Scene) -> Iterator[int]:
    yield from scene.members()
    for place in _places(scene):
        if place.bouncer:
            with contextlib.suppress(AssertionError):  # it was killed
                yield place.bouncer.pid
        with contextlib.suppress(OSError, psutil.Error, ValueError, IndexError):  # it is down, or starts
            server = psutil.Process(place.cluster.pid)
            yield from (server.pid, *(p.pid for p in server.children()))


def _places(scene: Scene) -> Iterator[Place]:
    yield from (p for p in (scene.place, scene.ledger_place) if p)


def _of(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""


def _sockets(scene: Scene) -> str:
    """The kernel's table: ports, state (0A listens, 01 is open), bytes not sent and not read; a listener's queue."""
    ports = {p for place in _places(scene) for p in (place.proxy.port, place.cluster.port, *_pooler_port(place))}
    lines = []
    for row in (line.split() for line in _of(os.getpid(), "net/tcp").splitlines()[1:]):
        here, there = (int(end.rpartition(":")[2], 16) for end in row[1:3])
        if {here, there} & ports:
            lines.append(f"{here:>6} {there:>6} {row[3]} {row[4]} timer {row[5]} retransmits {row[6]}")
    return "sockets (from, to, state, unsent:unread):\n" + "\n".join(lines)


def _pooler_port(place: Place) -> tuple[int, ...]:
    return (place.bouncer.port,) if place.bouncer else ()


def _asked(scene: Scene, question: str) -> str:
    address = scene.place.cluster.superuser_address("postgres")
    options = f"-c statement_timeout={_PATIENCE}"
    with scene.place.cluster.open(address, options=options, connect_timeout=2) as connection:
        cursor = connection.execute(_QUESTIONS[question].encode())
        names = [c.name for c in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return "\n".join(", ".join(f"{k}={v}" for k, v in row.items() if v is not None) for row in rows)
