"""The command: `python -m benchmarks run`, a couple of minutes as it is; `--help` says how to ask for more."""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks.cases import Bench, Scale
from benchmarks.drift import drift
from benchmarks.peers import PEERS
from benchmarks.picture import draw
from benchmarks.scene import Scene
from benchmarks.suite import Table, installed, run_scale
from benchmarks.tables import markdown

_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked for; the figures go to standard output, progress to standard error."""
    asked = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server does not outlive us
    if asked.command == "drift":
        return drift(asked.tables, asked.targets, asked.rounds)
    with _work_folder(asked.work) as folder, Scene() as scene:
        machine = _machine(scene)
        peers = [PEERS[name](folder / "tools") for name in asked.peers]
        absent = installed(peers)
        bench = Bench(scene, folder / "projects")
        tables = [run_scale(bench, peers, absent, scale, asked.rounds) for scale in _scales(asked)]
    text = f"{machine}; medians of {asked.rounds} rounds.\n\n{markdown(tables)}"
    print(text)
    if asked.json:
        asked.json.write_text(json.dumps([_plain(table) for table in tables], indent=1))
    if asked.doc:
        picture = asked.doc.with_suffix(".svg")
        picture.write_text(draw(tables))
        _into_page(asked.doc, f"{text}\n![seconds over targets, history and delay]({picture.name})\n")
    return int(any(row.problem.startswith("failed") for table in tables for row in table.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    schema = commands.add_parser("drift", help="what reading schemas costs, and drift of a fleet")
    schema.add_argument("--tables", type=int, nargs="+", default=[50, 500, 2000], metavar="N", help="of one target")
    schema.add_argument("--targets", type=int, default=200, metavar="N", help="how many databases (200); 0 for none")
    schema.add_argument("--rounds", type=int, default=5, metavar="N", help="of each, the median is shown (5)")
    run = commands.add_parser("run", help="measure, print the tables, leave nothing behind")
    run.add_argument("--targets", type=int, nargs="+", default=[50], metavar="N", help="how many databases (50)")
    run.add_argument("--history", type=int, nargs="+", default=[20], metavar="N", help="shared revisions (20)")
    run.add_argument("--delay", type=float, nargs="+", default=[0.0], metavar="MS", help="of each round trip (0)")
    run.add_argument("--parallel", type=int, default=8, metavar="N", help="targets at a time, for every tool (8)")
    run.add_argument("--rounds", type=int, default=1, metavar="N", help="each runs every peer once (1)")
    run.add_argument("--peers", nargs="+", choices=PEERS, default=["raw", "ours", "node", "dbmate", "psql", "loop"])
    run.add_argument("--work", type=Path, metavar="FOLDER", help="keep installed peers and projects here")
    run.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    run.add_argument("--doc", type=Path, metavar="FILE", help="put the tables into this page, the picture beside it")
    return parser


def _scales(asked: argparse.Namespace) -> Iterator[Scale]:
    for delay, history, targets in itertools.product(asked.delay, asked.history, asked.targets):
        yield Scale(targets, history, delay / 1000, asked.parallel)


@contextmanager
def _work_folder(given: Path | None) -> Iterator[Path]:
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="ehg-benchmark-") as folder:
        yield Path(folder)


def _machine(scene: Scene) -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {scene.version} on the loopback without TLS and with fsync off; "
        f"load {psutil.getloadavg()[0]:.1f} at the start"
    )


def _plain(table: Table) -> dict[str, object]:
    rows = [
        {
            "peer": row.peer.name,
            "problem": row.problem,
            "timed": {case: [asdict(s) for s in samples] for case, samples in row.timed.items()},
            "watched": {case: [asdict(s) for s in samples] for case, samples in row.watched.items()},
        }
        for row in table.rows
    ]
    return {"scale": asdict(table.scale), "rows": rows}


def _into_page(page: Path, text: str) -> None:
    before, _, rest = page.read_text().partition(_BEGIN)
    page.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
