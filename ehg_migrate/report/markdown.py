"""A run as Markdown: one row a target, for a pipeline's step summary or a comment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ehg_migrate.model import Result, Run
from ehg_migrate.redaction import safe
from ehg_migrate.report.text import hint_for, names, run_summary

_LARGEST = 900_000
"""Bytes of all rows. GitHub takes 1 MiB from a step, and of more nothing at all."""


def markdown(run: Run) -> str:
    """The whole page. Of more targets than a step summary has room for, those that are not good come first."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Run) -> Iterator[str]:
    yield f"### ehg-migrate {run.verb.value} `{run.id}`: {run.status.value}"
    yield ""
    yield "| target | status | heads before | heads after | steps | seconds | problem |"
    yield "|---|---|---|---|---|---|---|"
    rows = [_row(r) for r in run.results]
    if sum(map(_size, rows)) <= _LARGEST:
        yield from rows
    else:
        yield from _some(sorted(run.results, key=lambda r: r.status.good), run.id)
    yield ""
    yield _cell(run_summary(run))


def _row(r: Result) -> str:
    cells = (r.target, r.status.value, names(r.heads_before), names(r.heads_after), str(len(r.steps)))
    return f"| {' | '.join(_cell(c) for c in cells)} | {r.seconds:.2f} | {_cell(_problem(r))} |"


def _some(results: Sequence[Result], run: str) -> Iterator[str]:
    """As many rows as there is room for."""
    left = _LARGEST
    for shown, result in enumerate(results):
        row = _row(result)
        left -= _size(row)
        if left < 0:
            yield ""
            yield f"{len(results) - shown} more targets have no room here: `ehg-migrate show {run}` has them all."
            return
        yield row


def _size(row: str) -> int:
    return len(row.encode("utf-8", "backslashreplace")) + 1


def _problem(result: Result) -> str:
    if not result.problem:
        return ""
    hint = hint_for(result.problem, [result.target])
    return f"{result.problem.message} *hint:* {hint}" if hint else result.problem.message


def _cell(text: str) -> str:
    """Text that cannot leave its cell or become markup."""
    escaped = " ".join(safe(text).split())
    for character in "\\|<>[]":
        escaped = escaped.replace(character, "\\" + character)
    return escaped
