"""The figures as one SVG: seconds over the number of targets, the history and the delay, for each case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.axes import Axis, decades, from_zero, linear, logarithmic
from benchmarks.cases import Scale
from benchmarks.peers.ours import Ours
from benchmarks.peers.raw import Raw
from benchmarks.suite import Table
from benchmarks.tables import TITLES, middle, wall

_CASES = ("nothing", "one", "full")
_WIDTH, _HEIGHT = 270, 190  # of a panel
_LEFT, _RIGHT, _TOP, _BETWEEN = 62, 30, 128, 84  # around panels
_COLUMNS, _LEGEND_WIDTH, _LEGEND_HEIGHT = 3, 340, 20
_TEXT, _FAINT, _GRID = "#24292f", "#6e7781", "#e3e6ea"
_OURS, _LIMIT = "#d1242f", "#24292f"
_OTHERS = ("#0969da", "#1a7f37", "#8250df", "#bc4c00", "#9a6700", "#1b7c83", "#bf3989", "#6e7781")

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Way:
    """A column: what is varied, how it is drawn and written, and what must be the same along a line."""

    title: str
    value: Callable[[Scale], float]
    rest: Callable[[Scale], tuple[float, float]]
    across: Callable[[Sequence[float]], Axis]
    up: Callable[[Sequence[float]], Axis]


_WAYS = (
    _Way("targets", lambda s: s.targets, lambda s: (s.history, s.delay), logarithmic, decades),
    _Way("shared revisions", lambda s: s.history, lambda s: (s.targets, s.delay), logarithmic, decades),
    _Way("ms added to each round trip", lambda s: s.delay * 1000, lambda s: (s.targets, s.history), linear, from_zero),
)


@dataclass(frozen=True)
class _Style:
    colour: str
    width: float = 1.6
    dash: str = ""


def draw(tables: Sequence[Table]) -> str:
    """A row for each case, a column for each thing that is varied; only what was measured at two points or more."""
    styles = _styles(list(dict.fromkeys(row.peer.name for table in tables for row in table.rows)))
    width = len(_WAYS) * (_LEFT + _WIDTH + _RIGHT)
    height = _TOP + len(_CASES) * (_HEIGHT + _BETWEEN) - 20
    body = [*_legend(styles)]
    for row, case in enumerate(_CASES):
        for column, way in enumerate(_WAYS):
            left, top = column * (_LEFT + _WIDTH + _RIGHT) + _LEFT, _TOP + row * (_HEIGHT + _BETWEEN)
            body += _panel(_lines(way, tables, case), way, left, top, styles)
        body.append(_words(_LEFT, _TOP + row * (_HEIGHT + _BETWEEN) - 14, f"{TITLES[case]}, seconds", weight="600"))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="12">'
    )
    back = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, "<title>what a run costs</title>", back, *body, "</svg>", ""])


def _styles(names: Sequence[str]) -> dict[str, _Style]:
    """Ours and the limit look the same in every picture; the others take what is left, in their order."""
    known = {Ours.name: _Style(_OURS, 3.2), Raw.name: _Style(_LIMIT, 1.8, "5 4")}
    others = [name for name in names if name not in known]
    colours = {name: _Style(_OTHERS[n % len(_OTHERS)]) for n, name in enumerate(others)}
    return {name: (known | colours)[name] for name in names}


def _lines(way: _Way, tables: Sequence[Table], case: str) -> dict[str, Points]:
    """By peer, the points of the tables that differ in one thing alone: of several such groups the widest."""
    groups: dict[tuple[float, float], list[Table]] = {}
    for table in tables:
        groups.setdefault(way.rest(table.scale), []).append(table)
    lines: dict[str, Points] = {}
    for table in max(groups.values(), key=lambda g: len({way.value(t.scale) for t in g}), default=[]):
        for row in table.rows:
            seconds = middle(row.timed, case, wall)
            if seconds is not None:
                lines.setdefault(row.peer.name, []).append((way.value(table.scale), seconds))
    return {name: sorted(points) for name, points in lines.items() if len({x for x, _ in points}) > 1}


def _panel(lines: dict[str, Points], way: _Way, left: float, top: float, styles: dict[str, _Style]) -> Iterator[str]:
    yield _words(left + _WIDTH / 2, top + _HEIGHT + 36, way.title, anchor="middle", colour=_FAINT)
    points = [point for line in lines.values() for point in line]
    if not points:
        yield f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="{_GRID}"/>'
        yield _words(left + _WIDTH / 2, top + _HEIGHT / 2, "not measured", anchor="middle", colour=_FAINT)
        return
    x, y = way.across([x for x, _ in points]), way.up([y for _, y in points])
    yield from _grid(x, y, left, top)
    # ours last, so that it lies above
    for name in sorted(lines, key=lambda n: styles[n].width):
        yield from _line(styles[name], [(left + x.place(a) * _WIDTH, top + _HEIGHT * (1 - y.place(b)))
                                        for a, b in lines[name]])  # fmt: skip


def _grid(x: Axis, y: Axis, left: float, top: float) -> Iterator[str]:
    for value in y.ticks:
        at = top + _HEIGHT * (1 - y.place(value))
        yield f'<line x1="{left}" y1="{at:.1f}" x2="{left + _WIDTH}" y2="{at:.1f}" stroke="{_GRID}"/>'
        yield _words(left - 8, at + 4, f"{value:g}", anchor="end", colour=_FAINT)
    for value in x.ticks:
        at = left + x.place(value) * _WIDTH
        yield f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{top + _HEIGHT}" stroke="{_GRID}"/>'
        yield _words(at, top + _HEIGHT + 18, f"{value:,g}", anchor="middle", colour=_FAINT)
    bottom = top + _HEIGHT
    yield f'<line x1="{left}" y1="{bottom}" x2="{left + _WIDTH}" y2="{bottom}" stroke="{_FAINT}"/>'


def _line(style: _Style, places: Points) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = f' stroke-dasharray="{style.dash}"' if style.dash else ""
    yield (
        f'<polyline points="{path}" fill="none" stroke="{style.colour}" stroke-width="{style.width}" '
        f'stroke-linejoin="round" stroke-linecap="round"{dash}/>'
    )
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{style.width + 0.9:.1f}" fill="{style.colour}"/>'


def _legend(styles: dict[str, _Style]) -> Iterable[str]:
    ordered = sorted(styles.items(), key=lambda item: -item[1].width)
    for n, (name, style) in enumerate(ordered):
        x, y = _LEFT + (n % _COLUMNS) * _LEGEND_WIDTH, 22 + (n // _COLUMNS) * _LEGEND_HEIGHT
        yield from _line(style, [(x, y - 4), (x + 24, y - 4)])
        yield _words(x + 34, y, name, weight="600" if style.colour == _OURS else "400")


def _words(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _TEXT, weight: str = "400") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}"'
    return f"<text {place}>{escape(text)}</text>"
