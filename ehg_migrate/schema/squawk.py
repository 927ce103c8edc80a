"""The SQL of revisions read by squawk, one revision at a time: what would lock, rewrite, lose data or break clients."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.children import environment
from ehg_migrate.environment.offline import Rendered, rendered
from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.model import State, Step, Target
from ehg_migrate.revisions.rules import SQL_RULE
from ehg_migrate.settings import Settings

# Style that Alembic's own SQL breaks on each line, and timeouts, which every run sets before each step.
_LEFT_OUT = (
    "prefer-robust-stmts", "prefer-text-field", "prefer-identity", "prefer-bigint-over-int",
    "prefer-bigint-over-smallint", "require-lock-timeout", "require-statement-timeout",
)  # fmt: skip
_SECONDS = 60
_FINDINGS = 1  # squawk's exit code where it found something


@dataclass(frozen=True, slots=True)
class SqlFinding:
    """One thing that squawk says of a statement, or why a revision's SQL could not be read."""

    rule: str  # squawk's name for it, or `not_rendered`
    level: str  # `warning`, `error` where the SQL is none, or what `lint_levels` says
    step: Step
    statement: str  # the line it is about
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class SqlReport:
    """All findings, and the targets whose pending steps are not known."""

    findings: tuple[SqlFinding, ...]
    blocked: tuple[State, ...] = ()


def lint_sql(settings: Settings, work: Iterable[tuple[Target, tuple[Step, ...]]]) -> Iterator[SqlFinding]:
    """The findings about these steps, each step read once however many targets have it.

    Runs the revisions' code without a database. Raises UsageError: squawk is not installed, or refuses its options.
    """
    program = _program()
    seen: set[tuple[str, str]] = set()
    for target, steps in work:
        new = tuple(s for s in steps if (s.revision, s.direction) not in seen)
        seen.update((s.revision, s.direction) for s in new)
        for one in rendered(settings, target, new):
            yield from _of_one(program, settings, one)


def _of_one(program: str, settings: Settings, one: Rendered) -> Iterator[SqlFinding]:
    if one.failure:
        hint = "a revision that asks the database cannot be read without one; `ehg-migrate rehearse` runs it"
        yield SqlFinding("not_rendered", "warning", one.step, "", one.failure, hint)
        return
    lines = one.sql.split("\n")
    for found in _run(program, settings, one):
        line = lines[found["line"]].strip() if found["line"] < len(lines) else ""
        help_ = " ".join((found["help"] or "").split())
        level = "error" if found["level"] == "Error" else "warning"
        level = dict(settings.lint_levels).get(f"{SQL_RULE}{found['rule_name']}", level)
        yield SqlFinding(found["rule_name"], level, one.step, line, found["message"], help_)


def _run(program: str, settings: Settings, one: Rendered) -> list[dict[str, Any]]:
    settled = {rule.removeprefix(SQL_RULE) for rule in settings.lint_ignore if rule.startswith(SQL_RULE)}
    excluded = ",".join(sorted({*_LEFT_OUT, *settled}))
    name = one.step.path if re.fullmatch(r"[\w./ -]+", one.step.path) else "revision"
    argv = [program, "--reporter", "json", "--stdin-filepath", name, "--exclude", excluded]
    try:
        done = subprocess.run(
            argv, input=one.sql, cwd=settings.root, env=environment(), capture_output=True, encoding="utf-8",
            errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        raise _failed(str(e), f"does `{program} --version` work?") from e
    if done.returncode not in (0, _FINDINGS):
        hint = f"are the names after `{SQL_RULE}` in `lint_ignore` rules of squawk, and is `.squawk.toml` in order?"
        raise _failed(done.stderr, hint)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def _failed(why: str, hint: str) -> UsageError:
    return UsageError(Problem("squawk", f"squawk cannot be run: {' '.join(why.split())[:300]}", hint))


def _program() -> str:
    beside_us = Path(sysconfig.get_path("scripts")) / "squawk"
    found = str(beside_us) if beside_us.is_file() else shutil.which("squawk")
    if found is None:
        hint = "run `pip install 'ehg_migrate[lint]'`"
        raise UsageError(Problem("no_squawk", "squawk, which reads the SQL, is not installed", hint))
    return found
