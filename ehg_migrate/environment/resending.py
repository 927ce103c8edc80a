"""Steps sent as wholes on one connection, when their statements are known: from another target, or made before.

What is sent is what Alembic would send (replaying.py says why that can be known), with the version rows and the
journal's entry of the step and its COMMIT, in one flight: a step costs one wait. Where anything is not as it was
planned, the server does not come to the COMMIT.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path

import psycopg

from ehg_migrate.database.faults import is_lost
from ehg_migrate.database.flight import Flight, Sent
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.environment.hosting import BeforeStep
from ehg_migrate.environment.making import make_known
from ehg_migrate.environment.naming import NOTHING, Past
from ehg_migrate.environment.recording import Recorder
from ehg_migrate.environment.replaying import Statement, known, row_changes, surroundings
from ehg_migrate.model import Step
from ehg_migrate.settings import Settings


def learn_steps(settings: Settings, session: SingleSession, steps: Iterable[Step]) -> bool:
    """Makes the statements of these plain steps known to this process; nothing is sent. Whether some were not.

    Raises NeedsPair where that is not possible.
    """
    around = surroundings(session.found.facts, session.work, session.target)
    if _all_known(steps, around):
        return False
    try:
        make_known(settings, session, steps, around)
    except Exception as e:  # whatever a revision raises: where it is run in earnest, that is told as it is
        raise NeedsPair from e
    return True


def _all_known(steps: Iterable[Step], around: Hashable) -> bool:
    named = NOTHING
    for step in steps:
        if (made := known(step, around, named)) is None:
            return False
        named = made.named
    return True


def send_steps(
    settings: Settings,
    session: SingleSession,
    recorder: Recorder,
    steps: tuple[Step, ...],
    before: BeforeStep,
    past: Past,
) -> None:
    """Does what `run_steps` does, for steps that are known. Raises psycopg.Error; NeedsPair where anything but a
    statement of the step has failed, one is not known after all, or somebody else has come in between.
    """
    around = surroundings(session.found.facts, session.work, session.target)
    named = NOTHING
    for number, step in enumerate(steps, 1):
        if not before(step):
            return
        if (made := known(step, around, named)) is None:
            raise NeedsPair  # a step of which nothing is sent would be called done
        past.note(step, made.named)
        recorder.begin(step.revision, step.direction)
        _send(session, recorder, step, made.statements, settings.root, last=number == len(steps))
        recorder.sent_done(step)
        named = made.named


def _send(
    session: SingleSession, recorder: Recorder, step: Step, statements: Iterable[Statement], root: Path, *, last: bool
) -> None:
    sent: list[tuple[Sent, Statement]] = []

    def send(flight: Flight) -> None:
        sent.extend((flight.send(statement.text), statement) for statement in statements)
        for change, values in row_changes(step, session.target):
            flight.ask(change, values)
        recorder.send_done(step, flight)

    try:
        session.do(send, last=last)
    except psycopg.Error as e:
        if is_lost(session.work):
            raise
        failed = next((statement for it, statement in sent if it.status is None), None)
        if failed is None:
            raise NeedsPair from e
        raise e.with_traceback(failed.place(root / step.path)) from None
