"""The place of a benchmark: a PostgreSQL server of its own, databases made and dropped, their catalogues read."""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from psycopg import sql

from benchmarks.peers.base import ONE_DATABASE, PASSWORD, USER, Peer
from tests.support.postgres import Cluster

_CATALOGUE = Path(__file__).with_name("catalogue.sql").read_text()
_INTERVAL = 0.02  # seconds between two looks at the open connections
_MAKERS = 4  # databases made at the same time
_COPYING = 150000  # the server's version that can make a database by copying files: half the time, without fsync


class Scene:
    """A server that is gone, with all it held, when the `with` is left."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        with self.cluster.admin() as c:
            row = c.execute("SELECT pg_backend_pid(), version()").fetchone()
            assert row is not None
            c.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(USER), sql.Literal(PASSWORD)))
            # it would visit each of a thousand databases once a minute, at anybody's cost
            c.execute("ALTER SYSTEM SET autovacuum = off")
            c.execute("SELECT pg_reload_conf()")
            self._postmaster = psutil.Process(row[0]).parent()
            self.version = " ".join(row[1].split()[:2])

    @property
    def machine(self) -> str:
        """What the figures were taken on."""
        memory = psutil.virtual_memory().total / 2**30
        return (
            f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
            f"Python {platform.python_version()}, {self.version} on the loopback without TLS, fsync and autovacuum off"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.cluster.close()

    @contextmanager
    def databases(self, peer: Peer, targets: Sequence[str]) -> Iterator[None]:
        """Empty ones for this peer, dropped at the end whoever is connected."""
        names = [ONE_DATABASE] if peer.one_database else list(targets)
        try:
            self._create(names)
            yield
        except Exception:
            self.cluster.drop_databases(names)
            raise
        self.cluster.drop_databases(names)  # not where somebody ended us: the whole server goes then, at once

    def _create(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(_MAKERS) as makers:
            for made in [makers.submit(self._create_some, names[n::_MAKERS]) for n in range(_MAKERS)]:
                made.result()

    def _create_some(self, names: Sequence[str]) -> None:
        with self.cluster.admin() as c:
            how = sql.SQL(" STRATEGY file_copy" if c.info.server_version >= _COPYING else "")
            for name in names:
                create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0{}")
                c.execute(create.format(sql.Identifier(name), sql.Identifier(USER), how))

    def catalogues(self, peer: Peer, targets: Sequence[str]) -> dict[str, str]:
        """A hash of what each target holds, without the peer's own records and the name of the target."""
        return {name: self._catalogue(peer, name) for name in targets}

    def server_seconds(self) -> float:
        """The CPU time of the server's sessions that have ended, and of the server itself."""
        assert self._postmaster is not None
        times = self._postmaster.cpu_times()
        return float(sum(times[:4]))

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """While it is open, the most client connections that were seen at once: in the list's one place."""
        peak, ended = [0], threading.Event()
        watcher = threading.Thread(target=self._watch, args=(peak, ended))
        watcher.start()
        try:
            yield peak
        finally:
            ended.set()
            watcher.join()

    def _watch(self, peak: list[int], ended: threading.Event) -> None:
        with self.cluster.admin() as c:
            while not ended.wait(_INTERVAL):
                row = c.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                    "AND pid <> pg_backend_pid()"
                ).fetchone()
                peak[0] = max(peak[0], row[0] if row else 0)

    def _catalogue(self, peer: Peer, name: str) -> str:
        database, schema = (ONE_DATABASE, name) if peer.one_database else (name, "public")
        with self.cluster.admin(database) as c:
            c.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
            rows = c.execute(_CATALOGUE, {"left_out": list(peer.own_tables)}).fetchall()
        text = "\n".join(row[0] for row in rows)
        return hashlib.sha256(text.replace(name, "TARGET").encode()).hexdigest()
