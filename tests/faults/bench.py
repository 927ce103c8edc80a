"""What the cases of one process share: servers, proxies, a pooler, a template database, and what clean runs gave."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from ehg_migrate.model import Address, RunStatus, Wave
from ehg_migrate.project import Project
from tests.faults.histories import TEMPLATE, History
from tests.faults.proxy import FaultProxy
from tests.faults.waves import file_of
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, target_entry, write_project
from tests.support.warm import WarmProgram

_TEMPLATE_NAME = "lab_template"


@dataclass
class Place:
    """A server with a proxy before it; behind the proxy a pgbouncer, if there is one."""

    cluster: Cluster
    proxy: FaultProxy
    bouncer: PgBouncer | None = None

    @cached_property
    def admin(self) -> psycopg.Connection:
        """A superuser's session past the proxy; opened again by `again` after a restart."""
        return self.cluster.admin()

    def again(self) -> None:
        """The server was restarted."""
        self.__dict__.pop("admin", None)

    def create_databases(self, names: Iterable[str], template: str = _TEMPLATE_NAME) -> None:
        """Copies of a database, of its files, so that what servers keep beside a catalogue need not be made again."""
        copied = "STRATEGY file_copy" if self.admin.info.server_version >= 150000 else ""  # before, the only way
        make = sql.SQL("CREATE DATABASE {} OWNER postgres TEMPLATE {} " + copied)
        for name in names:
            self.admin.execute(make.format(sql.Identifier(name), sql.Identifier(template)))

    def drop_databases(self, names: Iterable[str]) -> None:
        """With whoever is in them."""
        for name in names:
            self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


class Bench:
    """Opened once in a process; servers are started when a case first needs them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._places: dict[str, Place] = {}
        self._clean: dict[tuple[int, str], str] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="ehg-faults-"))
        os.environ[PASSWORD_VARIABLE] = Cluster.password
        self._stack.callback(os.environ.pop, PASSWORD_VARIABLE, None)  # other tests come after in this process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, name: str) -> Place:
        """`steady` stays up; `fragile` may be restarted and crashed; `pooled` is `steady` through pgbouncer.

        `ledger` is `steady` through a proxy of its own.
        """
        if name not in self._places:
            self._places[name] = self._make(name)
        return self._places[name]

    @cached_property
    def scratch_url(self) -> str:
        """Where runs make what schemas should be: the server that stays up, past every proxy. For a variable only."""
        address = self.place("steady").cluster.address("postgres")
        secret = quote(Cluster.password, safe="")
        return f"postgresql://{address.user}:{secret}@{address.host}:{address.port}/postgres?sslmode=disable"

    @cached_property
    def program(self) -> WarmProgram:
        """`ehg-migrate`, ready to run."""
        return self._stack.enter_context(WarmProgram())

    def _make(self, name: str) -> Place:
        if name == "pooled":
            steady = self.place("steady").cluster
            bouncer = self._stack.enter_context(PgBouncer(steady, "session"))
            return Place(steady, self._proxy("127.0.0.1", bouncer.port), bouncer)
        if name == "ledger":
            steady = self.place("steady").cluster
            return Place(steady, self._proxy(steady.host, steady.port))
        cluster = self._stack.enter_context(Cluster())
        place = Place(cluster, self._proxy(cluster.host, cluster.port))
        cluster.create_plain_database(_TEMPLATE_NAME)
        with cluster.connect(_TEMPLATE_NAME) as c:
            c.execute(TEMPLATE.encode())
        return place

    def _proxy(self, host: str, port: int) -> FaultProxy:
        return self._stack.enter_context(FaultProxy(host, port))

    def clean_dump(self, history: History, target: str) -> str:
        """What a target's schema is after an upgrade that nothing disturbed; made once for a history and target."""
        key = (history.seed, target)
        if key not in self._clean:
            self._clean.update({(history.seed, t): d for t, d in self._clean_run(history).items()})
        return self._clean[key]

    def _clean_run(self, history: History) -> dict[str, str]:
        place = self.place("steady")
        names = {t: f"clean_{history.seed}_{t}" for t in history.groups}
        place.drop_databases(names.values())
        place.create_databases(names.values())
        addresses = {t: place.cluster.address(name) for t, name in names.items()}
        folder = lay_out(self.folder / f"clean_{history.seed}", history, addresses)
        run = Project.load(folder).upgrade()
        assert run.status is RunStatus.SUCCEEDED, [(r.target, r.problem, r.output) for r in run.results]
        dumps = {t: place.cluster.dump_schema(name) for t, name in names.items()}
        place.drop_databases(names.values())
        shutil.rmtree(folder)
        return dumps


@dataclass(frozen=True)
class Manner:
    """What a project says beside its targets and revisions: its ledger (a URL), its waves, if runs are verified."""

    ledger: str = ""
    waves: tuple[Wave, ...] = ()
    verified: bool = False


def lay_out(
    folder: Path, history: History, addresses: dict[str, Address], manner: Manner = Manner(), **limits: Any
) -> Path:
    """The project of a history. Limits are short, so that what hangs is over soon."""
    entries = {t: target_entry(a, branches=list(history.groups[t]), x={"target": t}) for t, a in addresses.items()}
    defaults = {
        "connect_timeout": 2,
        "lock_timeout": "0.3s",
        "statement_timeout": "20s",
        "queue_timeout": "1s",
        "deadline": "30s",
        "retries": 2,
        **limits,
    }
    settings: dict[str, str] = {}
    if manner.ledger:
        settings |= {"ledger": manner.ledger, "ledger_password": f"env:{PASSWORD_VARIABLE}"}
    if manner.verified:
        settings |= {"verify": "always", "prelude": "prelude.sql"}
    write_project(folder, entries, history.files(), defaults=defaults, settings=settings)
    (folder / "prelude.sql").write_text(TEMPLATE)
    if manner.waves:
        (folder / "targets" / "waves.yaml").write_text(file_of(manner.waves))
    return folder
