"""What it costs to know a schema: reading one of many tables, and `drift` of a fleet; tables for docs/schema.md."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from benchmarks.peers.base import BIN, PASSWORD, USER
from benchmarks.scene import Scene
from ehg_migrate.schema.catalog import read_catalog, read_fingerprint, read_token
from ehg_migrate.schema.scope import Scope
from tests.support.project import revision, write_project

_MEASURE = Path(__file__).with_name("measure.py")
_STATES = 3
_TABLES = 50  # of each target of a fleet
_COMMON = """
CREATE SCHEMA app;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changed := now(); RETURN NEW; END $$;
"""
_TABLE = """
CREATE TABLE app.t{n} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner uuid NOT NULL, name varchar(80) NOT NULL,
    kind text DEFAULT 'plain', amount numeric(10,2) DEFAULT 0, note text, made timestamptz NOT NULL DEFAULT now(),
    changed timestamptz, flags integer[], data jsonb DEFAULT '{{}}', parent bigint, done boolean NOT NULL DEFAULT false,
    CONSTRAINT t{n}_amount CHECK (amount >= 0), CONSTRAINT t{n}_kind CHECK (kind IN ('plain', 'odd', 'even')),
    CONSTRAINT t{n}_parent FOREIGN KEY (parent) REFERENCES app.t{n});
CREATE INDEX t{n}_owner ON app.t{n} (owner);
CREATE INDEX t{n}_made ON app.t{n} (made DESC) WHERE NOT done;
ALTER TABLE app.t{n} ENABLE ROW LEVEL SECURITY;
CREATE POLICY reading ON app.t{n} FOR SELECT TO authenticated USING (owner = current_setting('app.user')::uuid);
CREATE POLICY writing ON app.t{n} FOR INSERT TO authenticated WITH CHECK (owner = current_setting('app.user')::uuid);
CREATE TRIGGER touched BEFORE UPDATE ON app.t{n} FOR EACH ROW EXECUTE FUNCTION app.touch();
GRANT SELECT, INSERT, UPDATE ON app.t{n} TO authenticated;
GRANT SELECT ON app.t{n} TO anon;
COMMENT ON TABLE app.t{n} IS 'number {n}';
"""


def drift(tables: Sequence[int], targets: int, rounds: int) -> int:
    """All that was asked for, on a server of its own."""
    with Scene() as scene:
        print(f"{psutil.cpu_count()} cores, {scene.version}, load {psutil.getloadavg()[0]:.1f} at the start\n")
        print(
            "| tables | facts | fingerprint, CPU | wall | again, wall | token, CPU | wall | facts read, wall |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for count in tables:
            print(_one_target(scene, count, rounds), flush=True)
        if targets:
            _fleet(scene, targets, rounds)
    return 0


@dataclass(frozen=True, slots=True)
class _Cost:
    """Medians, in seconds; `cpu` is the server's."""

    wall: float
    cpu: float


def _one_target(scene: Scene, count: int, rounds: int) -> str:
    name = f"tables_{count}"
    scene.cluster.create_plain_database(name)
    with scene.cluster.admin(name) as c:
        c.execute(_COMMON.encode())
        for first in range(0, count, _TABLES):
            c.execute("".join(_TABLE.format(n=n) for n in range(first, min(first + _TABLES, count))).encode())
    with scene.cluster.admin(name) as c:
        c.execute("VACUUM ANALYZE")
    with scene.cluster.admin(name) as c:
        facts = len(read_catalog(c, Scope()).facts)
    hashed = _cost(scene, name, lambda c: read_fingerprint(c, Scope()), rounds)
    again = _again(scene, name, rounds)
    token = _cost(scene, name, read_token, rounds)
    whole = _cost(scene, name, lambda c: read_catalog(c, Scope()), rounds)
    cells = (hashed.cpu, hashed.wall, again, token.cpu, token.wall, whole.wall)
    return f"| {count:,} | {facts:,} | {' | '.join(f'{cell:.3f}' for cell in cells)} |"


def _cost(scene: Scene, name: str, ask: Callable[[psycopg.Connection], object], rounds: int) -> _Cost:
    """On a new connection each time, whose caches are empty, as a look at a fleet has them."""
    walls, cpus = [], []
    for _ in range(rounds):
        with scene.cluster.admin(name) as c:
            backend = psutil.Process(c.info.backend_pid)
            before, start = sum(backend.cpu_times()[:2]), time.perf_counter()
            ask(c)
            walls.append(time.perf_counter() - start)
            cpus.append(sum(backend.cpu_times()[:2]) - before)
    return _Cost(statistics.median(walls), statistics.mean(cpus))  # the clock of CPU ticks in hundredths


def _again(scene: Scene, name: str, rounds: int) -> float:
    """The median of further fingerprints on a connection that has had one."""
    walls = []
    with scene.cluster.admin(name) as c:
        for _ in range(rounds + 1):
            start = time.perf_counter()
            read_fingerprint(c, Scope())
            walls.append(time.perf_counter() - start)
    return statistics.median(walls[1:])


def _fleet(scene: Scene, targets: int, rounds: int) -> None:
    """One target of each state is migrated, the others are copies of it."""
    names = [f"fleet_{n:04d}" for n in range(targets)]
    with tempfile.TemporaryDirectory(prefix="ehg-benchmark-") as folder, _databases(scene, names):
        project = _project(scene, Path(folder), names)
        for n, goal in enumerate(("one", "two", "three")[:_STATES]):
            _command(scene, project, "upgrade", "-t", names[n], "--to", goal, "--yes")
        _copy(scene, names)
        print(f"\n{targets} targets of {_TABLES} tables in {_STATES} states, 16 connections at a time:\n")
        print("| drift | wall | CPU | CPU of the server |\n|---|---|---|---|")
        print(_line("the first, with its replays", [_command(scene, project, "drift")]), flush=True)
        full = [_command(scene, project, "drift", "--full") for _ in range(rounds)]
        print(_line("each schema hashed (`--full`)", full), flush=True)
        print(_line("nothing was changed since", [_command(scene, project, "drift") for _ in range(rounds)]))
        print(_line("`status`, beside it", [_command(scene, project, "status") for _ in range(rounds)]))


@contextmanager
def _databases(scene: Scene, names: Sequence[str]) -> Iterator[None]:
    for name in names[:_STATES]:
        scene.cluster.create_plain_database(name)
    yield
    scene.cluster.drop_databases(names)


def _copy(scene: Scene, names: Sequence[str]) -> None:
    create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy")
    with scene.cluster.admin() as c:
        for n, name in enumerate(names[_STATES:], _STATES):
            c.execute(create.format(*map(sql.Identifier, (name, USER, names[n % _STATES]))))


def _project(scene: Scene, folder: Path, names: Sequence[str]) -> Path:
    place = f"postgresql://{USER}@{scene.cluster.host}:{scene.cluster.port}"
    entry = {"password": "env:BENCHMARK_PASSWORD", "sslmode": "disable"}
    tables = "".join(_TABLE.format(n=n) for n in range(_TABLES))
    revisions = {
        "shared/1": revision("one", up=_COMMON + tables, label="shared"),
        "shared/2": revision("two", "one", up="ALTER TABLE app.t1 ADD COLUMN two text"),
        "shared/3": revision("three", "two", up="ALTER TABLE app.t1 ADD COLUMN three text"),
    }
    write_project(folder, {name: {"url": f"{place}/{name}", **entry} for name in names}, revisions)
    for name in names:
        (folder / "versions" / name).rmdir()
    return folder


def _command(scene: Scene, project: Path, *arguments: str) -> tuple[float, float, float]:
    """Wall, CPU of the command, CPU of the server. A command that fails ends the benchmark."""
    cluster = scene.cluster
    # a variable with all in it is how a scratch server is named; this one, password and all, ends with the benchmark
    scratch = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@{cluster.host}:{cluster.port}/postgres"
    job = {
        "argv": [str(BIN / "ehg-migrate"), *arguments],
        "cwd": str(project),
        "env": {**os.environ, "BENCHMARK_PASSWORD": PASSWORD, "EHG_SCRATCH_URL": scratch},
        "output": str(project / "output.txt"),
        "watch": False,
    }
    before = scene.server_seconds()
    done = subprocess.run([sys.executable, _MEASURE], input=json.dumps(job), capture_output=True, text=True, check=True)
    got = json.loads(done.stdout)
    if got["code"]:
        raise SystemExit((project / "output.txt").read_text()[-2000:])
    return got["wall"], got["cpu"], scene.server_seconds() - before


def _line(what: str, samples: Sequence[tuple[float, float, float]]) -> str:
    return f"| {what} | {' | '.join(f'{statistics.median(column):.2f}' for column in zip(*samples, strict=True))} |"
