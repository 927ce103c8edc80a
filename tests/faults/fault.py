"""What a fault is, and the moments at which it may come."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ehg_migrate.model import Status
from tests.faults.proxy import Act, Link, Rule
from tests.faults.scene import Process, Scene

BROKEN = frozenset({Status.FAILED, Status.INDETERMINATE, Status.REFUSED})
STOPPED = frozenset({Status.CANCELLED, Status.NOT_ATTEMPTED})
NOTHING: frozenset[Status] = frozenset()

SOON = "4s"
"""The deadline of targets on which something will hang: what does not hang is done by then on a slow machine, too."""

PROOF = r"LISTEN|pg_notify"  # that an endpoint is in session mode: an upgrade's is asked for beside the probes

# (regular expression of the SQL, how many such messages a step brings about, weight)
MOMENTS: tuple[tuple[str, int, int], ...] = (
    ("", 20, 12),
    (r"^COMMIT", 1, 8),
    (r"^BEGIN", 1, 2),
    (r"migration_journal", 1, 4),
    (r"(INSERT INTO|UPDATE|DELETE FROM) \S*alembic_version", 1, 4),
    (r"lab\.trail", 1, 3),
    (r"CREATE (TABLE|TYPE|VIEW)|INSERT INTO lab\.data|DROP|DELETE FROM lab", 1, 3),
    (r"CONCURRENTLY", 0, 3),
    (r"set_config", 1, 2),
    (r"pg_try_advisory_lock", 1, 2),
    (r"migration_lease", 0, 1),
    (PROOF, 0, 1),
    (r"CREATE SCHEMA", 0, 1),
    (r"version_num", 0, 1),
    (r"pg_advisory_unlock", 0, 1),
)

PROBE_OR_RUNNER, RUNNER = "", r"^ehg_migrate \d"


@dataclass
class Fault:
    """One fault of one case. What a hurt target may be, beside where the run wanted it, is `excused`."""

    kind: str
    rules: list[Rule] = field(default_factory=list)
    excused: frozenset[Status] = NOTHING
    target: str = ""  # the only one that is hurt, where no rule says so
    everywhere: bool = False  # all targets are hurt
    hides: bool = False  # the run cannot look at the target, or its sessions outlive it, until the fault is healed
    blinds: bool = False  # the look that follows may be hurt as well
    silent: bool = False  # the run may die without a result
    ledger: bool = False  # the ledger is hurt, and the run must say what it could not record
    spares: bool = False  # perhaps nothing was lost there
    away: str = ""  # the database that was hurt, where another one has taken its place
    edits: bool = False  # files of revisions are not what they were when they were applied
    others: list[tuple[Process, str]] = field(default_factory=list)  # further runs, to be waited for
    before: Callable[[], object] = lambda: None  # just before the run starts
    heal: Callable[[], object] = lambda: None
    heal_first: bool = False  # before anybody can look at the databases

    @property
    def fired(self) -> bool:
        """Whether its moment came."""
        return not self.rules or any(r.applied for r in self.rules)

    def hurts(self, scene: Scene, target: str) -> bool:
        """Whether this target is hurt."""
        return (
            self.everywhere
            or target == self.target
            or any(r.database in ("", scene.databases[target]) for r in self.rules)
        )


def moment(scene: Scene, rng: random.Random, act: Act, **more: Any) -> Rule:
    """A rule for a random moment of a random target's run; most are after the probes."""
    target = busy_target(scene, rng)
    match, each, _ = rng.choices(MOMENTS, [weight for _, _, weight in MOMENTS])[0]
    few = 60 if not match else 1
    early = rng.random() < 0.1 or match == PROOF
    more.setdefault("application", PROBE_OR_RUNNER if early else RUNNER)
    return Rule(act, rng.randint(1, few + each * scene.steps[target]), match, scene.databases[target], **more)


def commit(scene: Scene, rng: random.Random, act: Act, **more: Any) -> Rule:
    """A rule for one of the commits."""
    target = busy_target(scene, rng)
    return Rule(act, rng.randint(1, scene.steps[target] + 1), "^COMMIT", scene.databases[target], **more)


def busy_target(scene: Scene, rng: random.Random) -> str:
    return rng.choice([t for t, n in scene.steps.items() if n] or list(scene.steps))


def call_time(rng: random.Random) -> Act:
    """Before the server gets the message, or just after."""
    return rng.choice((Act.CALL, Act.CALL_IN_FLIGHT))


def told(scene: Scene, action: Callable[[Link], None]) -> Callable[[Link], None]:
    """An action whose own failure is a finding of the case."""

    def act(link: Link) -> None:
        try:
            action(link)
        except (OSError, psycopg.Error) as e:
            scene.errors.append(f"the fault itself failed: {type(e).__name__}: {e}")

    return act
