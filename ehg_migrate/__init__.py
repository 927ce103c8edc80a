"""ehg_migrate: one Alembic environment over a fleet of PostgreSQL databases.

`Project` is the public API: one method a verb, and the command line calls the same object. The map of the package, top
down; imports run one way:

cli           words into calls of Project, answers into text and exit codes
testing       the pytest plugin for those who write revisions
report        nouns as text, JSON, JUnit, Markdown
project       the facade
starter       the files that `init` lays out
schema        what is really there: catalogue, compare, drift, rehearse, correct
rollout       states, plans for a fleet, worker processes, results
ledger local  the record of runs; the embedded PostgreSQL
environment   Alembic's env.py, and how plans run through it
database      everything that speaks to a target: connect, prove, lock, probe, journal
revisions fleet   versions/ and targets/ as data
settings setting_values json_form model children redaction errors files turns   nouns and what all else stands on
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ehg_migrate.errors import EhgMigrateError, Problem, TargetError
    from ehg_migrate.model import FleetPlan, Plan, Result, Run, State, Status, Target
    from ehg_migrate.project import Project

__all__ = [
    "EhgMigrateError", "FleetPlan", "Plan", "Problem", "Project", "Result", "Run", "State", "Status", "Target",
    "TargetError",
]  # fmt: skip

_HOME = {"Project": "project", "EhgMigrateError": "errors", "Problem": "errors", "TargetError": "errors"}


def __getattr__(name: str) -> Any:
    """What is exported is imported when it is asked for: `import ehg_migrate` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'model')}"), name)
