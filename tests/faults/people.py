"""Faults that people make: locks held, a second runner, stock Alembic at the same time."""

from __future__ import annotations

import random
import sys

from tests.faults.fault import BROKEN, NOTHING, Fault, busy_target
from tests.faults.scene import Scene


def lock_holder(scene: Scene, rng: random.Random) -> Fault:
    """Somebody holds a table, or an old snapshot, until so many lock timeouts have come."""
    target = busy_target(scene, rng)
    statement = rng.choice(
        (
            "LOCK TABLE lab.trail IN ACCESS EXCLUSIVE MODE",
            "LOCK TABLE lab.data IN SHARE MODE",
            "LOCK TABLE lab.big IN SHARE ROW EXCLUSIVE MODE",
            "SELECT txid_current(), count(*) FROM lab.big",
        )
    )
    enough = rng.choice((1, 1, 2, 99))
    holder = scene.place.cluster.open(scene.place.cluster.address(scene.databases[target]), autocommit=False)
    scene.keep(holder.close)
    seen: list[str] = []

    def on_error(state: str) -> None:
        seen.append(state)
        if seen.count("55P03") == enough:
            holder.close()

    def before() -> None:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute(statement.encode())
        scene.place.proxy.on_error = on_error

    # a step beyond its transaction is not tried again
    patient = enough <= 2 and all(n.kind.atomic for n in scene.history.members(target))
    name = "lock_holder" if enough < 99 else "lock_held"
    return Fault(name, [], NOTHING if patient else BROKEN, target, before=before, heal=holder.close, heal_first=True)


def second_runner(scene: Scene, rng: random.Random) -> Fault:
    """The same command from two places at once; one of them is killed, perhaps."""
    fault = Fault("second_runner", [], BROKEN, everywhere=True)
    fault.before = lambda: fault.others.append((scene.start(scene.upgrade, "second"), "second"))
    return fault


def stock_runner(scene: Scene, rng: random.Random) -> Fault:
    """Stock `alembic upgrade heads` on one of the targets at the same time."""
    target = busy_target(scene, rng)
    argv = [sys.executable, "-m", "alembic", "-x", f"target={target}", "upgrade", "heads"]
    fault = Fault("stock_runner", [], BROKEN, target)
    fault.before = lambda: fault.others.append((scene.launch(argv, "stock"), "stock"))
    return fault


def nothing(scene: Scene, rng: random.Random) -> Fault:
    """All is well: what the laboratory itself would find wrong shows here."""
    return Fault("nothing")
