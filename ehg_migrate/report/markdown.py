"""A run as Markdown: one row a target, for a pipeline's step summary or a comment."""

from __future__ import annotations

from collections.abc import Iterator

from ehg_migrate.model import Result, Run
from ehg_migrate.redaction import safe
from ehg_migrate.report.text import names, run_summary


def markdown(run: Run) -> str:
    """The whole page."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Run) -> Iterator[str]:
    yield f"### ehg-migrate {run.verb.value} `{run.id}`: {run.status.value}"
    yield ""
    yield "| target | status | heads before | heads after | steps | seconds | problem |"
    yield "|---|---|---|---|---|---|---|"
    for r in run.results:
        cells = (r.target, r.status.value, names(r.heads_before), names(r.heads_after), str(len(r.steps)))
        yield f"| {' | '.join(_cell(c) for c in cells)} | {r.seconds:.2f} | {_cell(_problem(r))} |"
    yield ""
    yield _cell(run_summary(run))


def _problem(result: Result) -> str:
    if not result.problem:
        return ""
    return f"{result.problem.message} *hint:* {result.problem.hint}" if result.problem.hint else result.problem.message


def _cell(text: str) -> str:
    """Text that cannot leave its cell or become markup."""
    escaped = " ".join(safe(text).split())
    for character in "\\|<>[]":
        escaped = escaped.replace(character, "\\" + character)
    return escaped
