"""`python -m benchmarks simulate`: record times, predict a run, hold predictions against real runs, write the page."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from benchmarks.page import put
from benchmarks.scene import Scene
from benchmarks.simulation import check as checking
from benchmarks.simulation import forecast, own, record, show
from benchmarks.simulation.model import Costs, Site, fleet
from benchmarks.simulation.runner import simulate

T = TypeVar("T", int, float)

_PARTS = ("times", "check", "forecast")


def _count(text: str) -> int:
    return _least(int(text), 1)


def _number(text: str) -> float:
    return _least(float(text), 0.0)


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, found `{text}`")
    return float(text)


def _milliseconds(text: str) -> float:
    return _number(text) / 1000


def _least(value: T, least: T) -> T:
    if value < least:
        raise argparse.ArgumentTypeError(f"expected {least} or more, found `{value}`")
    return value


_OPTIONS = (
    ("--parallel", _count, "N", "`--parallel` of the run"),
    ("--probes", _count, "N", "looks at once: twice `parallel` of alembic.ini"),
    ("--cores", _number, "N", "of each runner's machine"),
    ("--delay", _milliseconds, "MS", "of a round trip to a target"),
    ("--handshakes", _number, "N", "round trips more for each connection; 3 with TCP and TLS"),
    ("--hosts", _count, "N", "poolers, over which the targets are spread evenly"),
    ("--host-parallel", int, "N", "targets of a host at a time, for each machine; 0: no limit"),
    ("--host-rate", _number, "N", "targets of a host that begin in a second, for each machine; 0: no limit"),
    ("--shards", _count, "N", "machines"),
    ("--failures", _share, "P", "the share of attempts to connect that fail"),
    ("--ledger-delay", _milliseconds, "MS", "of a round trip to a ledger in PostgreSQL; else it is a file"),
    ("--seed", int, "N", "of what is left to chance"),
)
"""Fields of `Site`."""


def add(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    commands = parser.add_subparsers(required=True)
    for name, do, text in (
        ("record", _record, "measure what a runner's pieces take here, some minutes"),
        ("run", _run, "predict one run; runs nothing"),
        ("check", _check, "hold predictions against real runs on this machine"),
        ("page", _page, "all of it: record, check, forecast, each written into docs/capacity.md when it is done"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(do=do)
        command.add_argument("--times", type=Path, default=record.TIMES, metavar="FILE", help="the recorded times")
        if name == "run":
            _add_run(command)
        if name in ("check", "page"):
            sizes = checking.SIZES
            command.add_argument("--sizes", type=int, nargs="+", default=sizes, metavar="N", help=f"of fleets {sizes}")
        if name == "page":
            command.add_argument("--doc", type=Path, default=Path("docs/capacity.md"), metavar="FILE")
            command.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS, help="write these only")


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--targets", type=_count, default=1000, metavar="N", help="(1000)")
    command.add_argument("--steps", type=int, default=0, metavar="N", help="pending on each target (0)")
    command.add_argument("--slow", type=_share, default=0.0, metavar="P", help="the share of slow targets (0)")
    command.add_argument("--slow-seconds", type=_number, default=60.0, metavar="S", help="that those take longer (60)")
    command.add_argument("--ledger", type=Path, metavar="FILE", help="take workers and steps from your own ledger")
    defaults = {field.name: field.default for field in fields(Site)}
    for option, kind, unit, text in _OPTIONS:
        default = defaults[_name(option)]
        command.add_argument(option, type=kind, default=default, metavar=unit, help=f"{text} ({default})")


def _name(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _record(asked: argparse.Namespace) -> int:
    with _place() as folder, Scene() as scene:
        recording = record.record(scene, folder)
    record.save(recording, asked.times)
    print(show.times(recording))
    return 0


def _run(asked: argparse.Namespace) -> int:
    try:
        costs = _costs(asked)
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    site = Site(**{_name(option): getattr(asked, _name(option)) for option, *_ in _OPTIONS})
    tasks = fleet(asked.targets, asked.steps, site, costs.spread, asked.slow, asked.slow_seconds)
    print(show.told(simulate(costs, site, tasks)))
    return 0


def _costs(asked: argparse.Namespace) -> Costs:
    costs = record.load(asked.times).costs
    return own.from_ledger(asked.ledger, costs) if asked.ledger else costs


def _check(asked: argparse.Namespace) -> int:
    costs = record.load(asked.times).costs
    with _place() as folder, Scene() as scene:
        print(checking.markdown(list(checking.check(scene, folder, costs, asked.sizes))))
    return 0


def _page(asked: argparse.Namespace) -> int:
    if "times" in asked.parts:
        _record(asked)
    recording = record.load(asked.times)
    put(asked.doc, "times", show.times(recording))
    if "check" in asked.parts:
        held: list[checking.Held] = []
        with _place() as folder, Scene() as scene:
            for one in checking.check(scene, folder, recording.costs, asked.sizes):
                held.append(one)
                put(asked.doc, "check", f"{scene.machine}.\n\n{checking.markdown(held)}")
    if "forecast" in asked.parts:
        for name, questions, table in forecast.TABLES:
            record.tell(f"simulating `{name}`")
            put(asked.doc, name, table(forecast.answered(questions(), recording.costs)))
    return 0


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ehg-simulation-") as folder:
        yield Path(folder)
