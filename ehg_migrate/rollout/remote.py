"""One target's work on a machine that is not the runner's: its files proven the same, the secret looked up there."""

from __future__ import annotations

import multiprocessing
import os
import socket
from dataclasses import replace
from itertools import chain
from pathlib import Path

from ehg_migrate.database.origin import tool_version
from ehg_migrate.errors import ConfigurationError, EhgMigrateError, Problem
from ehg_migrate.fleet import load_fleet
from ehg_migrate.fleet.secrets import resolve
from ehg_migrate.model import Result, Status, Target
from ehg_migrate.revisions.history import read_history
from ehg_migrate.rollout.jobs import NOTHING_LEARNED, Job, Watch
from ehg_migrate.rollout.outputs import output_folder
from ehg_migrate.rollout.pool import Pool
from ehg_migrate.rollout.stop import Stop
from ehg_migrate.settings import Settings

PROJECT = "EHG_PROJECT"
"""The variable that names the project's folder on a machine where it stands elsewhere than at the runner."""


def do(job: Job, watch: Watch, stop: Stop) -> Result:
    """Does the job in a process of its own on this machine.

    Refused where this machine would not do what was planned: another tool version, another file of a planned step. That
    is raised where a worker was lost that may have begun: then nobody here knows what the target is.
    """
    try:
        job = _at_home(job)
    except EhgMigrateError as e:
        if job.again:
            raise
        plan = job.plan
        return Result(job.target.name, Status.REFUSED, plan.heads, plan.heads, (), plan.revisions, e.problems[0])
    with output_folder() as folder:
        (result,) = Pool(1, watch, stop).run([replace(job, output=str(folder / "out"))])
    return result


def _at_home(job: Job) -> Job:
    """The job with this machine's folder and secret. Raises ConfigurationError where they are not as planned."""
    if multiprocessing.current_process().daemon:
        raise ConfigurationError(_DAEMON)
    if tool_version() != job.origin.tool_version:
        raise ConfigurationError(_other_version(job.origin.tool_version))
    root = Path(os.environ.get(PROJECT) or job.settings.root)
    settings = replace(job.settings, root=root)
    _prove_steps(job, settings)
    target = _target(job.target, root)
    password = resolve(target, root)  # and the same name may lead elsewhere from here, so nothing of its mode is known
    here = replace(job, settings=settings, target=target, password=password, learned=NOTHING_LEARNED)
    return replace(here, remote=True)


def _prove_steps(job: Job, settings: Settings) -> None:
    revisions = chain.from_iterable(read_history(settings).branches.values())
    found = {r.id: r.checksum for r in revisions}
    other = [s.revision for s in job.plan.steps if found.get(s.revision) != s.checksum]
    if other:
        raise ConfigurationError(_other_files(f"{settings.versions} has other files for {', '.join(other)}"))


def _target(planned: Target, root: Path) -> Target:
    """The entry of this machine's files, with its own paths of certificates, if the same would be done by it."""
    here = load_fleet(root).by_name.get(planned.name)
    if here is None or here.meant != planned.meant:
        raise ConfigurationError(_other_files(f"{root / 'targets'} has not the same entry for `{planned.name}`"))
    return here


def _other_files(what: str) -> Problem:
    hint = (
        f"bring the runner's commit to every worker; `{PROJECT}` names the project's folder where it stands elsewhere"
    )
    return Problem("other_files", f"on {socket.gethostname()} {what}", hint)


_DAEMON = Problem(
    "no_processes",
    "this Dask worker may not start processes, and every target needs one of its own",
    "start it with `DASK_DISTRIBUTED__WORKER__DAEMON=false`, or with `--no-nanny`",
)


def _other_version(wanted: str) -> Problem:
    return Problem(
        "other_version",
        f"the runner is `ehg_migrate` {wanted}, this machine has {tool_version()}",
        "install the same version on every worker",
    )
