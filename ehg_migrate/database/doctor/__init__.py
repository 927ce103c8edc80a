"""Is a target fit for migrations? Every reason why it may not be, looked at in order, each finding with a hint.

Reads only: no lock is taken, no schema made, nobody's settings changed, and every connection is closed. A setting that
means nothing may stay on a server connection of a pooler that cleans nothing (`cleaning`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from ehg_migrate.database.asking import complete
from ehg_migrate.database.doctor import access, handing_on, inventory, network
from ehg_migrate.database.doctor.examination import Examination
from ehg_migrate.database.doctor.findings import Finding, Level, Verdict
from ehg_migrate.database.faults import connect_fault, is_lost
from ehg_migrate.database.hosts import Hosts
from ehg_migrate.errors import TargetError
from ehg_migrate.model import Target
from ehg_migrate.redaction import one_line

__all__ = ["CHECKS", "Finding", "Level", "examine", "examine_all"]

LONG_TRANSACTION = 60.0
"""Seconds from which on an open transaction is worth a warning."""


@dataclass(frozen=True, slots=True)
class _Check:
    """`needs` is the check without which this one cannot be made."""

    name: str
    look: Callable[[Examination], Verdict]
    needs: str = ""


_CHECKS = (
    _Check("resolve", network.resolve),
    _Check("tcp", network.tcp, "resolve"),
    _Check("tls", network.tls, "tcp"),
    _Check("login", access.login, "tls"),
    _Check("session_mode", access.session_mode, "login"),
    _Check("server", access.server, "login"),
    _Check("writable", access.writable, "login"),
    _Check("privileges", access.privileges, "login"),
    # in transaction mode a SET would stay in a connection that the pooler gives to the application next
    _Check("settings", access.settings, "session_mode"),
    _Check("cleaning", handing_on.cleaning, "session_mode"),
    _Check("version_table", inventory.version_table, "login"),
    _Check("foreign_writers", inventory.foreign_writers, "login"),
    _Check("lock", inventory.lock, "login"),
    _Check("long_transactions", inventory.long_transactions, "login"),
    _Check("latency", inventory.latency, "login"),
)
CHECKS = tuple(check.name for check in _CHECKS)
"""The stable names of all checks, in the order of the findings."""


def examine(target: Target, password: str | None, *, long_transaction: float = LONG_TRANSACTION) -> tuple[Finding, ...]:
    """One Finding for each of CHECKS, in their order. Never raises for a target; one login attempt, no retries."""
    with Examination(target, password, long_transaction) as exam:
        return tuple(_findings(exam))


def examine_all(
    targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int
) -> dict[str, tuple[Finding, ...]]:
    """The findings of each target by name, in the order given; `at_once` targets of two connections each at a time, and
    of a host no more and no faster than it bears.
    """
    targets, at_once = tuple(targets), max(1, at_once)

    async def every() -> dict[str, tuple[Finding, ...]]:
        hosts, places, loop = Hosts(targets), asyncio.Semaphore(at_once), asyncio.get_running_loop()

        async def one(target: Target) -> tuple[Finding, ...]:
            async with hosts.turn(target), places:
                return await loop.run_in_executor(pool, examine, target, passwords.get(target.name))

        found = await asyncio.gather(*map(one, targets))
        return {t.name: findings for t, findings in zip(targets, found, strict=True)}

    with ThreadPoolExecutor(at_once, "doctor") as pool:
        try:
            return complete(every)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C: what has not begun does not begin
            raise


def _findings(exam: Examination) -> Iterator[Finding]:
    blame: dict[str, str] = {}  # check that gave no answer -> the failed check behind it
    lost = ""  # the check in which the connection went away
    for check in _CHECKS:
        start = time.monotonic()
        failed = blame.get(check.needs) or (lost if exam.connections else "")
        verdict = _skipped(failed) if failed else _look(check, exam)
        if failed or verdict.level is Level.ERROR:
            blame[check.name] = failed or check.name
        if not lost and exam.connections and is_lost(exam.connection):
            lost = check.name
        seconds = time.monotonic() - start if verdict.seconds is None else verdict.seconds
        yield Finding(
            exam.target.name, check.name, verdict.level, one_line(verdict.message), one_line(verdict.hint), seconds
        )


def _skipped(failed: str) -> Verdict:
    return Verdict(Level.SKIPPED, f"not looked at, since `{failed}` failed")


def _look(check: _Check, exam: Examination) -> Verdict:
    try:
        with exam.limited():
            return check.look(exam)
    except TargetError as e:
        return Verdict(Level.ERROR, e.problem.message, e.problem.hint)
    except (psycopg.Error, OSError) as e:
        problem = connect_fault(e).problem
        return Verdict(Level.ERROR, problem.message, problem.hint)
    except Exception as e:  # noqa: BLE001 - a server that answers nonsense must not hide the other targets
        return Verdict(Level.ERROR, f"{type(e).__name__}: {e}", "the server's answer was not understood: report it")
