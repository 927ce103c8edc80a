"""Every exception of the package, and `Problem`: one thing that is wrong, with its code, message and hint.

Exceptions stop a command; a `Problem` inside a State or Result describes one target and stops nothing else.

EhgMigrateError                 exit 2
 +-- UsageError                 the command line or the arguments of a `Project` method
 +-- ConfigurationError         targets/*.yaml, alembic.ini, a secret that cannot be resolved: all mistakes at once
 +-- RevisionsError             versions/ cannot be used as it is
 +-- GateError                  exit 4: refused by a rule although it could be done
 +-- LedgerError                the record of runs cannot be read or written
 +-- LocalServerError           the embedded PostgreSQL cannot be had
TargetError                     one target's trouble; caught by whoever makes that target's State or Result
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable `code`, a `message` that says what, a `hint` that says what to do next.

    `where` names the place in the user's own files (`targets/a.yaml: targets.acme.port`), `sqlstate` is PostgreSQL's.
    """

    code: str
    message: str
    hint: str = ""
    where: str = ""
    sqlstate: str | None = None

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


_TARGET = re.compile(r"\bTARGET\b")


def named_in(hint: str, target: str) -> str:
    """A hint of which the commands that want `TARGET` have this one's name; of many targets alike it is said once."""
    return _TARGET.sub(target, hint)


def of_target(problem: Problem, target: str) -> Problem:
    """The same where nothing else says whose it is: the message begins with the name, and the commands have it."""
    return replace(problem, message=f"{target}: {problem.message}", hint=named_in(problem.hint, target))


def some(names: Sequence[str], most: int, between: str = ", ") -> str:
    """The first of many names, the rest counted: `a, b and 3 more`."""
    more = len(names) - most
    return between.join(names[:most]) + (f" and {more} more" if more > 0 else "")


def together(pairs: Iterable[tuple[K, str]]) -> dict[K, list[str]]:
    """The targets of which the same is to be said: of a thousand it is said once."""
    groups: dict[K, list[str]] = {}
    for said, target in pairs:
        groups.setdefault(said, []).append(target)
    return groups


def quoted(names: Iterable[str], most: int | None = None) -> str:
    """Names in backticks, all or the first of them: "`a`, `b` and 3 more"; `nothing` where there is none."""
    words = [f"`{name}`" for name in names]
    return some(words, len(words) if most is None else most) or "nothing"


def described(error: BaseException) -> str:
    """`Type: message`. An exception of a revision may be anything: one whose message cannot be had, too.

    Halves of surrogate pairs, as in the name of a file that is no UTF-8, are written as escapes: no database has them.
    """
    try:
        words = str(error)
    except Exception as e:  # noqa: BLE001 - whatever its `__str__` does
        words = f"its message cannot be had ({type(e).__name__})"
    return f"{type(error).__name__}: {words}".rstrip(": ").encode("utf-8", "backslashreplace").decode("utf-8")


def lacks_threads(error: BaseException) -> bool:
    """Whether it says that the machine has no thread left, whoever wanted one; `LACKING_THREADS` is the hint."""
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"  # Python's words, all it says


LACKING_THREADS = (
    "are there too many processes (`ulimit -u`)? then run again, perhaps with a lower `parallel` in alembic.ini"
)


class EhgMigrateError(Exception):
    """What stops a command. `problems` is never empty; `exit_code` is what the CLI ends with."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class UsageError(EhgMigrateError):
    """The arguments make no sense: a selector that matches nothing, a revision that does not exist."""


class ConfigurationError(EhgMigrateError):
    """The project's files are wrong; carries every mistake that was found, not only the first."""


class RevisionsError(EhgMigrateError):
    """`versions/` cannot be used: a file that does not load, ids that collide, a parent that is missing."""


class GateError(EhgMigrateError):
    """Refused by a rule (a rollback that would not be exact, a confirmation that was not given)."""

    exit_code = 4


class LedgerError(EhgMigrateError):
    """The record of runs cannot be opened, read or written."""


class LocalServerError(EhgMigrateError):
    """The embedded PostgreSQL cannot be installed, started or reached."""


class TargetError(Exception):
    """Trouble with one target; the caller turns `problem` into that target's State or Result."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))
