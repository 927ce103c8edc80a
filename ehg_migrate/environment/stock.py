"""What env.py does under the stock `alembic` command: the targets that are meant, one after the other.

    alembic upgrade heads                    all targets; so do current, check and --sql
    alembic -x target=acme downgrade s1      one target: downgrade, stamp, --autogenerate and the like want exactly one
    alembic -x target=tag:canary upgrade heads
    alembic revision --head acme@head -m ..  no database; the file goes into versions/acme

Everything but reading has the same lock, session proof, version table and journal as `ehg-migrate`, under a run id of
its own, so `ehg-migrate history` shows it and `rollback` takes it back; only the ledger does not know it. Through
Alembic's Python API env.py cannot know the command, so exactly one target must be named, as on a terminal for
`downgrade`: `Config(..., cmd_opts=argparse.Namespace(x=["target=acme"]))`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from logging.config import fileConfig
from pathlib import Path
from typing import Any

import psycopg
from alembic import context
from alembic.config import Config
from alembic.util import CommandError

from ehg_migrate.database.faults import run_fault
from ehg_migrate.database.origin import find_origin, new_run_id
from ehg_migrate.database.parameters import forget_environment
from ehg_migrate.environment import hosting
from ehg_migrate.environment.invocation import LOCAL_ADDRESS, Invocation
from ehg_migrate.environment.models import load_models, named_models
from ehg_migrate.environment.new_files import DIRECTIVES, prepare_file
from ehg_migrate.environment.scoping import scope
from ehg_migrate.environment.stock_target import Stock
from ehg_migrate.errors import EhgMigrateError, Problem, RevisionsError, TargetError, described, named_in
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.fleet.load import load_fleet
from ehg_migrate.fleet.secrets import register_variables, resolve_all
from ehg_migrate.model import Address, Target
from ehg_migrate.redaction import inert, safe
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.revisions.lint import lint
from ehg_migrate.revisions.loading import line_of
from ehg_migrate.settings import Settings, read_settings

log = logging.getLogger("alembic.target")

_BEHIND = "Target database is not up to date."  # Alembic's words
_CATCH_UP = "bring it to its heads first: `ehg-migrate upgrade -t TARGET`, or `alembic -x target=TARGET upgrade heads`"


class FailedOn(CommandError):
    """What went wrong on the one target of a command."""

    def __init__(self, target: str, problem: Problem) -> None:
        super().__init__(f"{target}: {_told(problem)}")
        self.target = target
        self.problem = problem


def run_stock(comparing: Mapping[str, Any]) -> None:
    """The whole of env.py under a stock command, with what it gives for comparing models and for new files.

    Raises CommandError, which `alembic` prints and ends with 255.
    """
    config = context.config
    given = getattr(config.cmd_opts, "x", None)
    try:
        _run(config, comparing)
    except EhgMigrateError as e:
        raise CommandError("; ".join(_told(p) for p in e.problems)) from e
    finally:
        if config.cmd_opts is not None:
            config.cmd_opts.x = given  # an application may use its Config again


def _run(config: Config, comparing: Mapping[str, Any]) -> None:
    hosting.check_given(comparing)
    invocation = Invocation.read(config)
    if invocation.from_terminal:
        _own_process(config)
    settings = read_settings(Path(config.config_file_name or "alembic.ini").resolve().parent)
    fleet = _located(load_fleet(settings.root), invocation, config.attributes.get(LOCAL_ADDRESS))
    register_variables(fleet.targets)
    try:
        _do(invocation, settings, fleet, config, comparing)
    except (Exception, SystemExit) as e:  # Alembic runs the top level of every revision file
        said = isinstance(e, (EhgMigrateError, CommandError))
        # whoever calls Alembic's Python API has the exception itself, and shows it or not
        if said or not invocation.from_terminal or not (place := line_of(e, settings.versions)):
            raise
        hint = "correct the file: Alembic loads every revision"
        raise RevisionsError(Problem("revision_raised", described(e), hint, place)) from e


def _located(fleet: Fleet, invocation: Invocation, local: Address | None) -> Fleet:
    """The fleet, with the target that is meant on the embedded server where that is: no password is asked there."""
    if local is None:
        return fleet
    (target,) = invocation.choose(fleet)
    return Fleet((replace(target, address=local, password=None),))


def _do(invocation: Invocation, settings: Settings, fleet: Fleet, config: Config, comparing: Mapping[str, Any]) -> None:
    history = read_history(settings)
    if invocation.needs_target:
        _check_revisions(settings, fleet, history)
        _run_on(invocation.choose(fleet), _stock(invocation, settings, history, comparing), config)
    elif invocation.writes_file:
        prepare_file(invocation, settings, fleet, history, comparing.get(DIRECTIVES))
    else:  # `history` of everything
        invocation.options["fn"]((), context.get_context())


def _own_process(config: Config) -> None:
    """Only where the process is Alembic's own: an application has its logging and environment for itself."""
    forget_environment()
    if config.config_file_name and config.file_config.has_section("loggers"):
        fileConfig(config.config_file_name, disable_existing_loggers=False, encoding="utf-8")


def _check_revisions(settings: Settings, fleet: Fleet, history: History) -> None:
    names = frozenset(t.name for t in fleet.targets)
    findings = lint(history, (t.branches for t in fleet.targets), names, settings.lint_ignore)
    if findings.errors:
        raise CommandError("; ".join(_told(p) for p in findings.errors))


def _stock(invocation: Invocation, settings: Settings, history: History, comparing: Mapping[str, Any]) -> Stock:
    models = load_models(settings) if invocation.autogenerates else named_models(settings)
    return Stock(invocation, settings, history, {}, models, new_run_id(), find_origin(settings.root), comparing)


def _run_on(targets: tuple[Target, ...], stock: Stock, config: Config) -> None:
    if not stock.invocation.offline:
        stock.passwords.update(resolve_all(targets, stock.settings.root))
    failed = {t.name: problem for t in targets if (problem := _run_one(t, stock, config))}
    if len(targets) == 1 and failed:
        raise FailedOn(targets[0].name, failed[targets[0].name])
    if failed:
        raise CommandError(f"failed on {len(failed)} of {len(targets)} targets: {', '.join(failed)}")


def _run_one(target: Target, stock: Stock, config: Config) -> Problem | None:
    """What went wrong, if anything; it stands on stderr too. One bad target never hides the others."""
    log.info("%s", target.name)
    stock.invocation.forget()
    scope(context.script, (stock.settings.versions / b for b in reversed(target.branches)))
    if config.cmd_opts is not None:
        config.cmd_opts.x = [*(f"{k}={v}" for k, v in target.x.items()), *stock.invocation.x]
    try:
        done = stock.on(target, lambda text: _say(target.name, safe(text)))
    except (Exception, SystemExit) as e:  # noqa: BLE001 - a revision may raise anything
        problem = _problem(e)
        problem = replace(problem, hint=named_in(problem.hint, target.name))
        _say(target.name, f"failed: {_told(problem)}")
        return problem
    if done:
        _say(target.name, safe(done))
    return None


def _problem(error: BaseException) -> Problem:
    if isinstance(error, TargetError):
        return error.problem
    if isinstance(error, EhgMigrateError):
        return error.problems[0]
    if isinstance(error, CommandError):
        return Problem("alembic", str(error), _CATCH_UP if str(error) == _BEHIND else "")
    if isinstance(error, psycopg.Error) or hasattr(error, "orig"):
        return run_fault(error, lost=bool(getattr(error, "connection_invalidated", False))).problem
    # a revision's own fault: its author wants this; what it says may be what it has read in the target
    sys.stderr.write(inert(safe("".join(traceback.format_exception(error)))))
    return Problem("revision_raised", described(error))


def _say(name: str, text: str) -> None:
    sys.stderr.write(f"{name}: {_line(text)}\n")


def _told(problem: Problem) -> str:
    place = f"{problem.where}: " if problem.where else ""
    hint = f" (hint: {safe(problem.hint)})" if problem.hint else ""
    return _line(f"{place}{safe(problem.message)}{hint}")  # not as one: `password: the ...` would lose a word


def _line(text: str) -> str:
    """As it may stand in a pipeline's log, whoever has written it."""
    return inert(" ".join(text.split()))
