"""The figures as one SVG: cost over the number of targets, over the history and over the delay, a panel each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.cases import Scale
from benchmarks.suite import Table
from benchmarks.tables import middle, wall

_CASE = "nothing"
_WIDTH, _HEIGHT, _LEFT, _TOP, _LEGEND = 300, 240, 50, 40, 22
_COLOURS = (
    "#d62728",
    "#000000",
    "#1f77b4",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
    "#17becf",
)

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Panel:
    title: str
    lines: dict[str, Points]  # by peer: what is varied, seconds


def draw(tables: Sequence[Table]) -> str:
    """Wall seconds of a run with nothing to do, both axes logarithmic. Only what was measured at two points or more."""
    panels = [
        _panel("targets", tables, lambda s: s.targets, lambda s: (s.history, s.delay)),
        _panel("shared revisions", tables, lambda s: s.history, lambda s: (s.targets, s.delay)),
        _panel(
            "ms of a round trip (1: none added)",
            tables,
            lambda s: max(s.delay * 1000, 1.0),
            lambda s: (s.targets, s.history),
        ),
    ]
    names = list(dict.fromkeys(row.peer.name for table in tables for row in table.rows))
    colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}
    height = _HEIGHT + 2 * _TOP + _LEGEND * math.ceil(len(names) / 3)
    parts = [part for n, panel in enumerate(panels) for part in _draw(panel, n, colours)]
    parts += _legend(colours)
    width = 3 * (_WIDTH + _LEFT) + _LEFT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def _panel(
    title: str, tables: Sequence[Table], x: Callable[[Scale], float], rest: Callable[[Scale], tuple[float, float]]
) -> _Panel:
    """The tables that differ in `x` alone: of the groups with one `rest`, the largest."""
    groups: dict[tuple[float, float], list[Table]] = {}
    for table in tables:
        groups.setdefault(rest(table.scale), []).append(table)
    lines: dict[str, Points] = {}
    for table in max(groups.values(), key=len):
        for row in table.rows:
            seconds = middle(row.timed, _CASE, wall)
            if seconds is not None:
                lines.setdefault(row.peer.name, []).append((x(table.scale), seconds))
    return _Panel(title, {name: sorted(points) for name, points in lines.items() if len(points) > 1})


def _draw(panel: _Panel, number: int, colours: dict[str, str]) -> Iterable[str]:
    left = _LEFT + number * (_WIDTH + _LEFT)
    yield f'<text x="{left}" y="{_TOP - 14}" font-size="13">nothing to do: seconds over {escape(panel.title)}</text>'
    yield f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>'
    points = [point for line in panel.lines.values() for point in line]
    if not points:
        yield f'<text x="{left + 80}" y="{_TOP + _HEIGHT // 2}" font-size="12" fill="#777">not measured</text>'
        return
    across, up = _scale([x for x, _ in points]), _scale([y for _, y in points])
    for x in sorted({x for x, _ in points}):
        yield _label(left + across(x) * _WIDTH, _TOP + _HEIGHT + 14, f"{x:g}", "middle")
    for y in (min(y for _, y in points), max(y for _, y in points)):
        yield _label(left - 4, _TOP + (1 - up(y)) * _HEIGHT + 4, f"{y:.2g}", "end")
    for name, line in panel.lines.items():
        path = " ".join(f"{left + across(x) * _WIDTH:.1f},{_TOP + (1 - up(y)) * _HEIGHT:.1f}" for x, y in line)
        yield f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" text-anchor="{anchor}">{text}</text>'


def _scale(values: Sequence[float]) -> Callable[[float], float]:
    """Logarithms of the values onto 0.05 to 0.95."""
    low, high = math.log(min(values)), math.log(max(values))
    return lambda value: 0.05 + 0.9 * ((math.log(value) - low) / (high - low) if high > low else 0.5)


def _legend(colours: dict[str, str]) -> Iterable[str]:
    for n, (name, colour) in enumerate(colours.items()):
        x, y = _LEFT + (n % 3) * (_WIDTH + _LEFT), _HEIGHT + 2 * _TOP + (n // 3) * _LEGEND
        yield f'<line x1="{x}" y1="{y - 4}" x2="{x + 24}" y2="{y - 4}" stroke="{colour}" stroke-width="3"/>'
        yield _label(x + 30, y, escape(name), "start")
