"""The commands: `run` at a scale of your own, `paper` for docs/performance.md, `simulate` for docs/capacity.md."""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import paper, results
from benchmarks.cases import Bench, Scale
from benchmarks.drift import drift
from benchmarks.peers import PEERS
from benchmarks.scene import Scene
from benchmarks.simulation import command as simulation
from benchmarks.suite import Table, installed, run_scale
from benchmarks.tables import markdown

_SMALL = 10  # times fewer targets, to try a command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked for; the figures go to standard output, progress to standard error."""
    asked = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server does not outlive us
    code: int = asked.do(asked)
    return code


def _run(asked: argparse.Namespace) -> int:
    with _work_folder(asked.work) as folder, Scene() as scene:
        peers = [PEERS[name](folder / "tools") for name in asked.peers]
        absent = installed(peers)
        bench = Bench(scene, folder / "projects")
        tables = [run_scale(bench, peers, absent, scale, asked.rounds) for scale in _scales(asked)]
    print(f"{scene.machine}.\n\n{markdown(tables)}")
    if asked.json:
        asked.json.write_text(json.dumps([results.plain(table) for table in tables], indent=1))
    return int(_failed(tables))


def _paper(asked: argparse.Namespace) -> int:
    if not asked.show:
        with _work_folder(asked.work) as folder, Scene() as scene:
            bench = Bench(scene, folder / "projects")
            small = _SMALL if asked.small else 1
            paper.measure(asked.parts, bench, folder / "tools", asked.results, asked.doc, small)
    return int(not paper.show(asked.results, asked.doc))


def _failed(tables: Sequence[Table]) -> bool:
    return any(row.problem.startswith("failed") for table in tables for row in table.rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add_run(commands.add_parser("run", help="measure, print the tables, leave nothing behind"))
    _add_paper(commands.add_parser("paper", help="measure all figures of docs/performance.md, and write them there"))
    simulation.add(commands.add_parser("simulate", help="predict runs from recorded times"))
    _add_drift(commands.add_parser("drift", help="what reading schemas costs, and drift of a fleet"))
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.set_defaults(do=_run)
    run.add_argument("--targets", type=int, nargs="+", default=[50], metavar="N", help="how many databases (50)")
    run.add_argument("--history", type=int, nargs="+", default=[20], metavar="N", help="shared revisions (20)")
    run.add_argument("--delay", type=float, nargs="+", default=[0.0], metavar="MS", help="of each round trip (0)")
    run.add_argument("--parallel", type=int, default=8, metavar="N", help="targets at a time, for every tool (8)")
    run.add_argument("--rounds", type=int, default=1, metavar="N", help="each runs every peer once (1)")
    run.add_argument("--peers", nargs="+", choices=PEERS, default=["raw", "ours", "node", "dbmate", "psql", "loop"])
    run.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    _add_work(run)


def _add_paper(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(do=_paper)
    parts = list(paper.PARTS)
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="measure these only; all are shown")
    parser.add_argument("--doc", type=Path, default=Path("docs/performance.md"), metavar="FILE", help="the page")
    parser.add_argument("--results", type=Path, default=Path("build/benchmarks"), metavar="FOLDER",
                        help="where each part is kept when it is measured (build/benchmarks)")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="measure nothing, write what was kept into the page")
    parser.add_argument("--small", action="store_true", help="with a tenth of the targets, to try the command")
    _add_work(parser)


def _add_drift(schema: argparse.ArgumentParser) -> None:
    schema.set_defaults(do=lambda asked: drift(asked.tables, asked.targets, asked.rounds))
    schema.add_argument("--tables", type=int, nargs="+", default=[50, 500, 2000], metavar="N", help="of one target")
    schema.add_argument("--targets", type=int, default=200, metavar="N", help="how many databases (200); 0 for none")
    schema.add_argument("--rounds", type=int, default=5, metavar="N", help="of each, the median is shown (5)")


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep installed peers and projects here")


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


if __name__ == "__main__":
    sys.exit(main())
