"""Where a command meets a fault: servers that all cells share, and a project and databases for each."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ehg_migrate.model import Address
from tests.faults.proxy import FaultProxy, Rule
from tests.support.cli import environment
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.programs import free_port
from tests.support.project import revision, target_entry, write_project
from tests.support.warm import PROGRAM, Command, WarmProgram

ACME, BETA = "EHG_TEST_ACME", "EHG_TEST_BETA"  # the variables with their passwords
READER = "fault_matrix_reader"

REVISIONS = {
    "shared/s1": revision("s1", label="shared", doc="first", up="CREATE TABLE s1 (id int)", down_sql="DROP TABLE s1"),
    "shared/s2": revision(
        "s2",
        "s1",
        doc="second",
        up="CREATE TABLE s2 (id int)",
        down_sql="DROP TABLE s2",
        up_code="import os\nif 'EHG_TEST_FAIL' in os.environ: raise RuntimeError('not today')",
    ),
    "shared/s3": revision("s3", "s2", doc="third"),
    "acme/a1": revision("a1", label="acme", doc="own", up="CREATE TABLE a1 (id int)", down_sql="DROP TABLE a1"),
}

LIMITS = {
    "retries": 0,
    "connect_timeout": "2s",
    "answer_timeout": "1s",
    "queue_timeout": "0s",
    "lock_timeout": "300ms",
    "statement_timeout": "2s",
}


@dataclass
class Cell:
    """One command under one fault: its own copy of the project and of both databases."""

    command: str
    folder: Path
    acme: Address
    beta: Address
    variables: dict[str, str | None] = field(default_factory=dict)
    rule: Rule | None = None  # for the way to acme

    @property
    def process(self) -> Command:
        """The command, perhaps not yet started."""
        return Command(self.folder.with_suffix(".txt"))


@dataclass(frozen=True)
class Outcome:
    """How a cell ended."""

    code: int
    said: str
    heads: tuple[str, ...]  # what acme holds then


Fault = Callable[["Laboratory", Cell, ExitStack], None]
"""Brings the fault about; what must stay until the command has ended is given to the stack."""


class Laboratory:
    """The servers that all cells share, the project that each begins with, and the cells themselves."""

    def __init__(self, pg: Cluster, bouncer: PgBouncer, folder: Path) -> None:
        self.pg = pg
        self.bouncer = bouncer
        self.folder = folder
        self.open = ExitStack()  # with all that was started here
        self.proxy = self.open.enter_context(FaultProxy(pg.host, pg.port))
        self.program = self.open.enter_context(WarmProgram())
        self.nobody = free_port()
        self.runs: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._prepare()

    # --- what each cell begins with

    def _prepare(self) -> None:
        """Both targets at s1 (and a1) by a first run; a second one has failed at s2; a third database is foreign."""
        with self.pg.admin() as c:
            c.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(READER), self.pg.password))
        places = {name: self._database() for name in ("acme", "beta", "foreign")}
        self._origin = {name: place.dbname for name, place in places.items()}
        folder = self._write(self.folder / "first", places["acme"], places["beta"], {})
        for arguments, name in (("upgrade --to release:r0 --yes", "first"), ("upgrade --yes", "failed")):
            variables = {} if name == "first" else {"EHG_TEST_FAIL": "1"}
            code, said = self._start(folder, arguments.split(), variables, self.folder / f"{name}.txt").end()
            assert code == (0 if name == "first" else 1), said
            (self.runs[name],) = set(re.findall(r"^run (\S+):", said, re.MULTILINE))
        with self.pg.connect(places["foreign"].dbname) as c:
            c.execute("CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY)")
            c.execute("INSERT INTO public.alembic_version VALUES ('s1')")
        self._first = folder

    def _database(self, template: str = "") -> Address:
        name = f"fault_matrix_{next(self._numbers)}"
        return self.pg.copy_database(template, name) if template else self.pg.create_database(name)

    def _cell(self, command: str) -> Cell:
        """Before its fault."""
        folder = self.folder / f"{command.replace(' ', '_')}_{next(self._numbers)}"
        acme = self._database(self._origin["foreign" if command == "adopt" else "acme"])
        cell = Cell(command, folder, acme, self._database(self._origin["beta"]))
        shutil.copytree(self._first, folder)
        self.readdress(cell, acme)
        return cell

    def _write(self, folder: Path, acme: Address, beta: Address, entry: Mapping[str, Any]) -> Path:
        targets = {
            "acme": target_entry(acme, password=f"env:{ACME}", **LIMITS, **entry),
            "beta": target_entry(beta, password=f"env:{BETA}", **LIMITS),
        }
        write_project(folder, targets, {} if folder.exists() else REVISIONS)
        (folder / "versions" / "releases.yaml").write_text("r0: {shared: [s1], acme: [a1]}\n")
        return folder

    # --- running one

    def run(self, command: str, arguments: str, fault: Fault) -> Outcome:
        """One cell from its beginning to its end."""
        cell = self._cell(command)
        with ExitStack() as until_the_end:
            fault(self, cell, until_the_end)
            self.proxy.rules += [cell.rule] if cell.rule else []
            self._start(cell.folder, arguments.format(**self.runs).split(), cell.variables, cell.process.said)
            code, said = cell.process.end()
        outcome = Outcome(code, said, self.heads(cell.acme))
        self.pg.drop_databases([cell.acme.dbname, cell.beta.dbname])
        return outcome

    def readdress(self, cell: Cell, acme: Address, **entry: Any) -> None:
        """acme elsewhere, with other fields."""
        self._write(cell.folder, acme, cell.beta, entry)

    def heads(self, place: Address) -> tuple[str, ...]:
        """The version rows of a database, whatever its role may see."""
        with self.pg.admin(place.dbname) as c:
            try:
                rows = c.execute("SELECT version_num FROM ehg_migrate.alembic_version ORDER BY 1").fetchall()
            except psycopg.errors.UndefinedTable:
                return ()
        return tuple(row[0] for row in rows)

    def _start(self, folder: Path, arguments: list[str], variables: Mapping[str, str | None], said: Path) -> Command:
        both = {ACME: self.pg.password, BETA: self.pg.password, "EHG_ACTOR": "ada"}
        return self.program.python(folder, [PROGRAM, *arguments], environment({**both, **variables}), said)
