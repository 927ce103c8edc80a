"""Faults of the revisions themselves: they fail, end their process, hang, or make a mess around them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from ehg_migrate.model import Status
from tests.faults.fault import BROKEN, SOON, Fault, busy_target
from tests.faults.histories import text
from tests.faults.scene import Scene

_ENDS: Mapping[str, str] = {
    "raises": 'raise RuntimeError("on purpose")',
    "bad_sql": 'op.execute("SELECT 1/0")',
    "exits": "raise SystemExit(3)",
    "dies": "__import__('os')._exit(7)",
    "crashes": "__import__('os').kill(__import__('os').getpid(), 11)",
    "loses": 'op.execute("SELECT pg_terminate_backend(pg_backend_pid())")',
    "says_enough": "__import__('sys').exit('enough')",
    "interrupts": "raise KeyboardInterrupt",
    "killed": "__import__('os').kill(__import__('os').getpid(), 9)",
    "ended": "__import__('os').kill(__import__('os').getpid(), 15)",
    "shouts": 'print("x" * 3_000_000)\nraise RuntimeError("word " * 200_000)',
}
_MESSES: Mapping[str, str] = {
    "prints": 'for _ in range(300):\n    print("y" * 10_000)',
    "wanders": "__import__('os').chdir('/')\n__import__('os').environ.clear()",
    "closes_output": "__import__('sys').stdout.close()\n__import__('os').close(1)",
    "lost_path": 'op.execute("SET search_path = pg_catalog")',
    "limits": "op.execute(\"SET lock_timeout = '1ms'; SET statement_timeout = 0\")",
    "thread": "__import__('threading').Thread(target=__import__('time').sleep, args=(300,)).start()",
    "traps": "__import__('signal').signal(15, __import__('signal').SIG_IGN)",
}
_HANGS: Mapping[str, str] = {
    "in_sql": 'op.execute("SELECT pg_sleep(300)")',
    "in_pieces": 'while True:\n    op.execute("SELECT pg_sleep(0.1)")',
    "in_python": "__import__('time').sleep(300)",
}


def bad_revision(scene: Scene, rng: random.Random) -> Fault:
    """One revision does all its work and then fails; healed by correcting its file."""
    return _ending(scene, rng, "revision", _ENDS[how := rng.choice(list(_ENDS))], how)


def hanging_revision(scene: Scene, rng: random.Random) -> Fault:
    """One revision does all its work and then never ends; one outside the database is over after a grace, and rare."""
    scene.lay_out(deadline=SOON)
    how = rng.choices(list(_HANGS), (4, 4, 1))[0]
    return _ending(scene, rng, "hangs", _HANGS[how], how)


def messy_revision(scene: Scene, rng: random.Random) -> Fault:
    """One revision changes what surrounds it and is none the worse for it; nor may the others be."""
    fault = _ending(scene, rng, "mess", _MESSES[how := rng.choice(list(_MESSES))], how)
    fault.excused, fault.edits = frozenset({Status.REFUSED}), True  # of an edited file no rollback is exact
    return fault


def _ending(scene: Scene, rng: random.Random, family: str, end: str, how: str) -> Fault:
    node = rng.choice(scene.history.members(busy_target(scene, rng)))
    file = scene.folder / "versions" / node.branch / f"{node.id}.py"
    good = scene.history.files()[f"{node.branch}/{node.id}.py"]
    bad = text(node, label="branch_labels = None" not in good, end=end)
    return Fault(
        f"{family}_{how}",
        [],
        BROKEN,
        everywhere=True,
        before=lambda: file.write_text(bad),
        heal=lambda: file.write_text(good),
    )
