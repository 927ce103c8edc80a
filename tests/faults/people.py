"""Faults that people make: locks held, a second runner, a ledger that is gone, revisions that misbehave."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping

from tests.faults.fault import BROKEN, NOTHING, Fault, busy_target, told
from tests.faults.histories import text
from tests.faults.proxy import Act, Link, Rule
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
    fault.before = lambda: fault.others.append((scene.start(["upgrade"], "second"), "second"))
    return fault


def stock_runner(scene: Scene, rng: random.Random) -> Fault:
    """Stock `alembic upgrade heads` on one of the targets at the same time."""
    target = busy_target(scene, rng)
    argv = [sys.executable, "-m", "alembic", "-x", f"target={target}", "upgrade", "heads"]
    fault = Fault("stock_runner", [], BROKEN, target)
    fault.before = lambda: fault.others.append((scene.launch(argv, "stock"), "stock"))
    return fault


def ledger(scene: Scene, rng: random.Random) -> Fault:
    """The ledger is no file, no database, gone in the middle, or cannot grow."""
    how = rng.choice(("folder", "garbage", "gone", "full"))
    fault = Fault(f"ledger_{how}", ledger=True)

    def before() -> None:
        scene.ledger.parent.mkdir(exist_ok=True)
        if how == "folder":
            scene.ledger.unlink(missing_ok=True)
            scene.ledger.mkdir()
        elif how == "garbage":
            scene.ledger.write_bytes(b"this is no database\n" * 500)
        elif how == "full":
            scene.limit_files = 16384  # less than an empty ledger, more than the run's output

    def gone(link: Link) -> None:
        scene.ledger.unlink()

    def heal() -> None:
        if scene.ledger.is_dir():
            scene.ledger.rmdir()
        scene.ledger.unlink(missing_ok=True)

    if how == "gone":
        target = busy_target(scene, rng)
        fault.rules = [Rule(Act.CALL, 1, "LISTEN", scene.databases[target], call=told(scene, gone))]
    fault.before, fault.heal = before, heal
    return fault


_ENDS: Mapping[str, str] = {
    "raises": 'raise RuntimeError("on purpose")',
    "bad_sql": 'op.execute("SELECT 1/0")',
    "exits": "raise SystemExit(3)",
    "dies": "__import__('os')._exit(7)",
    "crashes": "__import__('os').kill(__import__('os').getpid(), 11)",
    "loses": 'op.execute("SELECT pg_terminate_backend(pg_backend_pid())")',
}


def bad_revision(scene: Scene, rng: random.Random) -> Fault:
    """One revision does all its work and then fails; healed by correcting its file."""
    target = busy_target(scene, rng)
    node = rng.choice(scene.history.members(target))
    how = rng.choice(list(_ENDS))
    file = scene.folder / "versions" / node.branch / f"{node.id}.py"
    good = scene.history.files()[f"{node.branch}/{node.id}.py"]
    bad = text(node, label="branch_labels = None" not in good, end=_ENDS[how])
    fault = Fault(f"revision_{how}", [], BROKEN, everywhere=True)
    fault.before = lambda: file.write_text(bad)
    fault.heal = lambda: file.write_text(good)
    return fault


def nothing(scene: Scene, rng: random.Random) -> Fault:
    """All is well: what the laboratory itself would find wrong shows here."""
    return Fault("nothing")
