"""Steps sent as wholes on one connection, when their statements are known: from another target, or by a dry run.

What is sent is what Alembic would send (replaying.py says why that can be known), with the version rows and the
journal's entry of the step and its COMMIT, in one flight: a step costs one wait. Where anything is not as it was
planned, the server does not come to the COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg
from alembic import context
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext

from ehg_migrate.database.faults import is_lost
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.environment.hosting import BeforeStep, options, scripts, sqlalchemy_over
from ehg_migrate.environment.pipelining import Ahead
from ehg_migrate.environment.recording import Recorder
from ehg_migrate.environment.replaying import Statement, known, row_changes, surroundings
from ehg_migrate.environment.steps import ExactStep
from ehg_migrate.model import Step
from ehg_migrate.revisions.loading import load_scripts
from ehg_migrate.settings import Settings


def learn_steps(settings: Settings, session: SingleSession, steps: Iterable[Step]) -> None:
    """Makes the statements of these plain steps known to this process, if they are not yet; nothing is sent.

    Raises NeedsPair where that is not possible.
    """
    around = surroundings(session.found.facts, session.work, session.target)
    unknown = [s for s in steps if known(s, around) is None]
    if not unknown:
        return
    with session.beside() as driver:
        try:
            _run_dry(settings, session, unknown, Ahead(session.work, around, dry=True))
        except Exception as e:  # whatever a revision raises: where it is run in earnest, that is told as it is
            raise NeedsPair from e
        finally:
            driver.autocommit = True
    if any(known(s, around) is None for s in unknown):
        raise NeedsPair  # the file is another than at the time of the plan


def _run_dry(settings: Settings, session: SingleSession, steps: list[Step], ahead: Ahead) -> None:
    target = session.target
    config, script = scripts(settings, target)
    with (
        sqlalchemy_over(session.work, target, session.found.facts, keep=True) as connection,
        EnvironmentContext(config, script),
    ):
        context.configure(connection=connection, **options(target))
        loaded = load_scripts(script, [settings.root / s.path for s in steps])
        with Operations.context(context.get_context()):
            for step in steps:
                exact = ExactStep(script, step, loaded.get(step.revision))
                ahead.running(exact.migration_fn, settings.root / step.path)()
                ahead.end()


def send_steps(session: SingleSession, recorder: Recorder, steps: tuple[Step, ...], before: BeforeStep) -> None:
    """Does what `run_steps` does, for steps that are known. Raises psycopg.Error; NeedsPair where anything but a
    statement of the step has failed, or somebody else has come in between.
    """
    around = surroundings(session.found.facts, session.work, session.target)
    for number, step in enumerate(steps, 1):
        if not before(step):
            return
        recorder.begin(step.revision, step.direction)
        _send(session, recorder, step, known(step, around) or (), last=number == len(steps))
        recorder.sent_done(step)


def _send(
    session: SingleSession, recorder: Recorder, step: Step, statements: Iterable[Statement], *, last: bool
) -> None:
    work, sent = session.work, []

    def send() -> None:
        for statement in statements:
            sent.append((psycopg.Cursor(work), statement))
            sent[-1][0].execute(statement.query, *statement.arguments, **statement.more)
        for change, values in row_changes(step, session.target):
            work.execute(change, values)
        recorder.send_done(step)

    try:
        session.do(send, last=last)
    except psycopg.Error as e:
        if is_lost(work):
            raise
        failed = next((statement for cursor, statement in sent if cursor.statusmessage is None), None)
        if failed is None:
            raise NeedsPair from e
        raise e.with_traceback(failed.place()) from None
