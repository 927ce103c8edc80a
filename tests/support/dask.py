"""A real Dask cluster on loopback: one scheduler and some workers, each a process that can be killed."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from distributed import Client

from tests.support.cli import environment, warm_program
from tests.support.programs import LOOPBACK, wait_until
from tests.support.session import first_in_session
from tests.support.warm import SCRIPTS, Command, begins_alike

_WHERE = ("--host", LOOPBACK, "--no-dashboard")
_Process = subprocess.Popen[bytes] | Command


class DaskCluster:
    """Use as a context manager. `variables` are the workers' further ones; None takes one away."""

    def __init__(self, workers: int = 2, *, nanny: bool = False, **variables: str | None) -> None:
        self._count = workers
        self._nanny = nanny
        self._environment = environment(variables)
        self._usual = not nanny and begins_alike(self._environment)  # a nanny starts its worker anew
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="ehg-dask-")
        file = Path(self._folder.name) / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_until(lambda: file.exists() and file.stat().st_size > 0, "the scheduler did not start", 30)
        self.address = json.loads(file.read_text())["address"]
        for _ in range(self._count):
            self.add_worker()
        if self._count:
            with Client(self.address, set_as_default=False) as client:
                client.wait_for_workers(self._count, timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.poll() is None:
                _kill(process.pid)
            process.wait()
        self._folder.cleanup()

    @property
    def executor(self) -> str:
        """What `--executor` takes."""
        return self.address.replace("tcp://", "dask://")

    def add_worker(self) -> None:
        """One more."""
        how = "--nanny" if self._nanny else "--no-nanny"
        self._start("worker", self.address, how, "--nthreads", "1", "--local-directory", self._folder.name)

    def kill_worker_above(self, pid: int) -> None:
        """Kills, without a word and alone, the worker that the process `pid` works for."""
        ours = {p.pid for p in self._processes[1:]}
        (worker,) = [p for p in psutil.Process(pid).parents() if p.pid in ours]
        worker.kill()

    def stop_worker_with(self, port: int) -> psutil.Process:
        """Lets stand still the worker, and its process that has this local port; gives that process."""
        holders = {c.pid for c in psutil.net_connections("tcp4") if c.laddr and c.laddr.port == port}
        for worker in map(psutil.Process, [p.pid for p in self._processes[1:]]):
            for process in worker.children(recursive=True):
                if process.pid in holders:
                    process.suspend()
                    worker.suspend()
                    return process
        raise LookupError(port)

    def _start(self, what: str, *arguments: str) -> _Process:
        """The first of each kind in a session is started as from a shell, others from what has imported it already."""
        command = [str(SCRIPTS / "dask"), what, *arguments, *_WHERE]
        log = Path(self._folder.name) / f"{len(self._processes)}.log"
        process: _Process
        if not self._usual or first_in_session(f"dask {what}"):
            with log.open("wb") as said:
                process = subprocess.Popen(command, env=self._environment, stdout=said, stderr=said)
        else:
            process = warm_program("dask").python(Path.cwd(), command, self._environment, log)
        self._processes.append(process)
        return process


def _kill(pid: int) -> None:
    try:
        tree = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    for process in (*tree, psutil.Process(pid)) if psutil.pid_exists(pid) else tree:
        process.kill()
