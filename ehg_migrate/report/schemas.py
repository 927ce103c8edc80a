"""How schemas stand, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ehg_migrate.errors import Problem
from ehg_migrate.report.text import counted, names, problem_lines, some, table

if TYPE_CHECKING:
    from ehg_migrate.schema.standing import Standing

_HEAD = ("TARGET", "SCHEMA", "STATE", "HEADS", "PENDING", "TABLES", "ROWS", "SIZE", "LIKE", "PROTECTED")
_UNITS = ("B", "KB", "MB", "GB", "TB")


def standing_lines(found: Sequence[Standing]) -> Iterator[str]:
    """A line for each schema, then what is to be said about some, then the sum."""
    yield from table(_HEAD, [_row(s) for s in found])
    for one in found:
        for problem in (*((one.state.problem,) if one.state.problem else ()), *one.state.notes, *_unmeasured(one)):
            yield ""
            yield from problem_lines(problem, f"{one.target}: ", [one.target])
    yield ""
    yield counted((_state(s), s.target) for s in found)


def _row(one: Standing) -> tuple[str, ...]:
    m, state = one.measure, one.state
    sizes = (str(m.tables), f"~{m.rows}", _size(m.bytes)) if m else ("-", "-", "-")
    pending = str(len(state.pending)) if state.kind.plannable else "?"
    protected = "protected" if one.protected else ""
    return one.target, one.schema, _state(one), names(state.heads), pending, *sizes, some(one.alike) or "-", protected


def _state(one: Standing) -> str:
    return "absent" if one.exists is False else one.state.kind.value


def _unmeasured(one: Standing) -> tuple[Problem, ...]:
    return (one.problem,) if one.problem else ()


def _size(count: int) -> str:
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.0f} {_UNITS[-1]}"
