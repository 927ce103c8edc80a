"""What one worker has found out, for the others of a run: endpoints in session mode, and statements of plain steps.

Both hold for every process alike: an endpoint's mode is the endpoint's, and statements are kept under all that they
depend on (replaying.py). So only the first targets of a run pay for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ehg_migrate.database.hosts import place
from ehg_migrate.rollout.jobs import Job, Learned


@dataclass
class Shared:
    """The runner's side: keeps what workers tell, for as long as somebody may want it.

    Statements stay pickled: the runner has no use for them, and does without the libraries that they may speak of.
    """

    wanted: Counter[str]  # by a step's checksum: how many of the jobs have it
    endpoints: set[tuple[str, int]] = field(default_factory=set)
    statements: dict[str, set[bytes]] = field(default_factory=dict)  # by checksum

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Shared:
        """What is known before these jobs, for them."""
        jobs = tuple(jobs)
        known = {place(job.target) for job in jobs if job.learned.proven}
        return cls(Counter(s.checksum for job in jobs for s in job.plan.steps), known)

    def take(self, job: Job, learned: Learned) -> None:
        """Keeps what the worker of this job has told."""
        if learned.proven:
            self.endpoints.add(place(job.target))
        for checksum, pickled in learned.statements:
            if self.wanted[checksum] > 1:
                self.statements.setdefault(checksum, set()).add(pickled)

    def give(self, job: Job, known: set[bytes]) -> Job:
        """The job with all that helps it and its worker does not know yet; now it does."""
        if not job.clean:
            return job
        of_steps = {(s.checksum, p) for s in job.plan.steps for p in self.statements.get(s.checksum, ())}
        new = tuple((checksum, pickled) for checksum, pickled in of_steps if pickled not in known)
        known.update(pickled for _, pickled in new)
        return replace(job, learned=Learned(place(job.target) in self.endpoints, new))
