"""Targets whose schema was last seen to differ: nothing good is said of them until a look finds a match. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from ehg_migrate.errors import Problem
from ehg_migrate.model import Result, Status

_CODE = "differed_before"
LOOK_AGAIN = (
    "`ehg-migrate drift -t TARGET` shows whether it still is so; where nothing differs any more, "
    "`ehg-migrate upgrade -t TARGET --verify always` finds that too, and this is not said again"
)

Astray = Mapping[str, str]
"""Target -> the run that saw its schema differ."""


def doubted(result: Result, astray: Astray) -> Result:
    """The same result, but `schema_differs` where the target is astray and the result would be good."""
    run = astray.get(result.target)
    if run is None or result.status not in (Status.UP_TO_DATE, Status.SUCCEEDED):
        return result
    problem = Problem(
        _CODE,
        f"run `{run}` saw that the schema is not what the revisions produce, and nobody has looked at it since",
        LOOK_AGAIN,
    )
    return replace(result, status=Status.SCHEMA_DIFFERS, problem=problem)


def doubted_still(result: Result, astray: Astray) -> Result:
    """The same where rows were brought, which says nothing of the schema; who repeats that for it has them twice."""
    told = doubted(result, astray)
    if told.problem is None or not in_doubt(told):
        return result
    return replace(
        told, problem=replace(told.problem, message=f"the file was run, and is kept; but {told.problem.message}")
    )


def to_be_looked_at(results: Iterable[Result], unseen: Collection[str] = ()) -> Iterator[Result]:
    """Those that got steps, now or `unseen`, and those in doubt, each as good as it is if its schema matches."""
    for result in results:
        if in_doubt(result):
            status = Status.SUCCEEDED if result.steps else Status.UP_TO_DATE
            yield replace(result, status=status, problem=None)
        elif (result.status is Status.SUCCEEDED and result.steps) or (
            result.status is Status.UP_TO_DATE and result.target in unseen
        ):
            yield result


def in_doubt(result: Result) -> bool:
    """Whether it is called bad for what an earlier run saw."""
    return result.status is Status.SCHEMA_DIFFERS and result.problem is not None and result.problem.code == _CODE
