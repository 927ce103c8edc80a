"""Every kind of fault: when it comes, what it breaks, what it excuses, and how it is healed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ehg_migrate.model import Status
from tests.faults.histories import text
from tests.faults.proxy import Act, Door, Link, Rule
from tests.faults.scene import Scene

_BROKEN = frozenset({Status.FAILED, Status.INDETERMINATE, Status.REFUSED})
_STOPPED = frozenset({Status.CANCELLED, Status.NOT_ATTEMPTED})
_NOTHING: frozenset[Status] = frozenset()

# (regular expression of the SQL, how many such messages a step brings about)
MOMENTS: tuple[tuple[str, int], ...] = (
    ("", 20),
    (r"^COMMIT", 1),
    (r"^BEGIN", 1),
    (r"migration_journal", 1),
    (r"(INSERT INTO|UPDATE|DELETE FROM) \S*alembic_version", 1),
    (r"lab\.trail", 1),
    (r"CREATE (TABLE|TYPE|VIEW)|INSERT INTO lab\.data|DROP|DELETE FROM lab", 1),
    (r"CONCURRENTLY", 0),
    (r"set_config", 1),
    (r"pg_try_advisory_lock", 1),
    (r"migration_lease", 0),
    (r"LISTEN|pg_notify", 0),
    (r"CREATE SCHEMA", 0),
    (r"version_num", 0),
    (r"pg_advisory_unlock", 0),
)


PROBE_OR_RUNNER, RUNNER = "", r"^ehg_migrate \d"


@dataclass
class Fault:
    """One fault of one case. What a hurt target may be, beside where the run wanted it, is `excused`."""

    kind: str
    rules: list[Rule] = field(default_factory=list)
    excused: frozenset[Status] = _NOTHING
    target: str = ""  # the only one that is hurt, where no rule says so
    everywhere: bool = False  # all targets are hurt
    hides: bool = False  # the run cannot look at the target, or its sessions outlive it, until the fault is healed
    silent: bool = False  # the run may die without a result
    ledger: bool = False  # the ledger is hurt, and the run must say so
    others: list[tuple[subprocess.Popen[bytes], str]] = field(default_factory=list)  # further runs, to be waited for
    before: Callable[[], object] = lambda: None  # just before the run starts
    heal: Callable[[], object] = lambda: None

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


Make = Callable[[Scene, random.Random], Fault]


def moment(scene: Scene, rng: random.Random, act: Act, **more: Any) -> Rule:
    """A rule for a random moment of a random target's run; most are after the probe."""
    target = _busy_target(scene, rng)
    match, each = rng.choices(MOMENTS, (14, 4, *(2,) * (len(MOMENTS) - 2)))[0]
    few = 60 if not match else 1
    more.setdefault("application", PROBE_OR_RUNNER if rng.random() < 0.1 else RUNNER)
    return Rule(act, rng.randint(1, few + each * scene.steps[target]), match, scene.databases[target], **more)


def commit(scene: Scene, rng: random.Random, act: Act, **more: Any) -> Rule:
    """A rule for one of the commits."""
    target = _busy_target(scene, rng)
    return Rule(act, rng.randint(1, scene.steps[target] + 1), "^COMMIT", scene.databases[target], **more)


def _busy_target(scene: Scene, rng: random.Random) -> str:
    return rng.choice([t for t, n in scene.steps.items() if n] or list(scene.steps))


# --- the network


def delay(scene: Scene, rng: random.Random) -> Fault:
    """Every round trip takes longer."""
    seconds = rng.uniform(0.001, 0.008)
    return Fault("delay", before=lambda: setattr(scene.place.proxy, "delay", seconds))


def throttle(scene: Scene, rng: random.Random) -> Fault:
    """A narrow line."""
    rate = rng.randint(100_000, 400_000)
    return Fault("throttle", before=lambda: setattr(scene.place.proxy, "rate", rate))


def cut(scene: Scene, rng: random.Random) -> Fault:
    """A reset for both sides."""
    return Fault("cut", [moment(scene, rng, Act.CUT)], _BROKEN)


def cut_each(scene: Scene, rng: random.Random) -> Fault:
    """Every connection is cut at its nth message, so reconnecting does not help."""
    target = _busy_target(scene, rng)
    nth = rng.randint(3, 60)
    rule = Rule(Act.CUT, nth, "", scene.databases[target], per_connection=True, times=rng.randint(2, 9))
    return Fault("cut_each", [rule], _BROKEN)


def cut_for_long(scene: Scene, rng: random.Random) -> Fault:
    """A reset, and nobody can connect any more."""
    return Fault("cut_for_long", [moment(scene, rng, Act.CUT, door=Door.RESET)], _BROKEN, everywhere=True, hides=True)


def silence(scene: Scene, rng: random.Random) -> Fault:
    """A reset, and new connections get no answer."""
    rule = moment(scene, rng, rng.choice((Act.CUT, Act.LOSE_ANSWER)), door=Door.SILENT, application=RUNNER)
    return Fault("silence", [rule], _BROKEN, everywhere=True, hides=True)


def half_open(scene: Scene, rng: random.Random) -> Fault:
    """The client gets a reset, the server never hears of it and keeps the session with its locks."""
    return Fault("half_open", [moment(scene, rng, Act.CUT_CLIENT)], _BROKEN, hides=True)


def server_side_cut(scene: Scene, rng: random.Random) -> Fault:
    """The server gets a reset, the client waits for an answer that never comes."""
    scene.lay_out(deadline="2s")
    return Fault("server_side_cut", [moment(scene, rng, Act.CUT_SERVER, application=RUNNER)], _BROKEN, hides=True)


def stall(scene: Scene, rng: random.Random) -> Fault:
    """Nothing goes through any more until the client gives up."""
    scene.lay_out(deadline="2s")
    return Fault("stall", [moment(scene, rng, Act.STALL, application=RUNNER)], _BROKEN)


def freeze(scene: Scene, rng: random.Random) -> Fault:
    """The same, and what the client sent arrives when everybody has given up: a COMMIT, perhaps."""
    scene.lay_out(deadline="2s")
    make = commit if rng.random() < 0.5 else moment
    return Fault("freeze", [make(scene, rng, Act.FREEZE, application=RUNNER)], _BROKEN, hides=True)


def pause(scene: Scene, rng: random.Random) -> Fault:
    """One message is late, by less than any limit."""
    seconds = rng.uniform(0.1, 0.6)
    wait = threading.Event().wait
    return Fault("pause", [moment(scene, rng, Act.CALL, call=lambda link: wait(seconds))])


def lost_answer(scene: Scene, rng: random.Random) -> Fault:
    """The server has committed, and nobody heard it."""
    make = commit if rng.random() < 0.7 else moment
    return Fault("lost_answer", [make(scene, rng, Act.LOSE_ANSWER)], _BROKEN)


def lost_for_long(scene: Scene, rng: random.Random) -> Fault:
    """The same, and nobody can connect any more."""
    rule = commit(scene, rng, Act.LOSE_ANSWER, door=Door.RESET)
    return Fault("lost_for_long", [rule], _BROKEN, everywhere=True, hides=True)


def cut_in_flight(scene: Scene, rng: random.Random) -> Fault:
    """The message has left, the client is cut before the server can answer."""
    make = commit if rng.random() < 0.5 else moment
    return Fault("cut_in_flight", [make(scene, rng, Act.CUT_IN_FLIGHT)], _BROKEN)


# --- processes


def kill_worker(scene: Scene, rng: random.Random) -> Fault:
    """kill -9 of whoever sent the message; before the connection passes it on, or after."""

    def kill(link: Link) -> None:
        process = scene.worker_of(link.client_port)
        if process is None or (scene.process is not None and process == scene.process.pid):
            return  # it has gone by itself, or it is the parent at its probe
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    times = 2 if rng.random() < 0.25 else 1
    return Fault("kill_worker", [moment(scene, rng, _call(rng), call=kill) for _ in range(times)], _BROKEN)


def kill_parent(scene: Scene, rng: random.Random) -> Fault:
    """kill -9 of the runner."""
    rule = moment(scene, rng, _call(rng), call=lambda link: scene.signal_parent(signal.SIGKILL))
    return Fault("kill_parent", [rule], _BROKEN | _STOPPED, everywhere=True, silent=True)


def kill_everything(scene: Scene, rng: random.Random) -> Fault:
    """kill -9 of the runner and all that it has started: the machine lost power."""

    def kill(link: Link) -> None:
        scene.kill_run()

    rule = moment(scene, rng, _call(rng), call=kill)
    return Fault("kill_everything", [rule], _BROKEN | _STOPPED, everywhere=True, silent=True)


def stop_signal(scene: Scene, rng: random.Random) -> Fault:
    """Ctrl-C or SIGTERM, once or twice."""
    number = rng.choice((signal.SIGINT, signal.SIGTERM))
    rules = [
        moment(scene, rng, Act.CALL, call=lambda link: scene.signal_parent(number))
        for _ in range(rng.choice((1, 1, 2)))
    ]
    excused = _STOPPED | (_BROKEN if len(rules) > 1 else _NOTHING)
    return Fault("stop_signal" if len(rules) == 1 else "stop_twice", rules, excused, everywhere=True, silent=True)


def kill_backend(scene: Scene, rng: random.Random) -> Fault:
    """pg_terminate_backend of the session that sends the message, or of another one of the same run."""
    other = rng.random() < 0.5

    def kill(link: Link) -> None:
        pids = [x.pid for x in scene.place.proxy.links if x.database == link.database and x.pid]
        wanted = [p for p in pids if (p == link.pid) is not other] or pids
        for pid in wanted:
            scene.place.admin.execute("SELECT pg_terminate_backend(%s, 2000)", (pid,))

    return Fault("kill_backend", [moment(scene, rng, _call(rng), call=_told(scene, kill))], _BROKEN)


def cancel_statement(scene: Scene, rng: random.Random) -> Fault:
    """A DBA cancels whatever the target's sessions do, some milliseconds after the message."""

    def cancel(link: Link) -> None:
        database = (link.database,)
        scene.place.admin.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = %s", database)

    return Fault("cancel_statement", [moment(scene, rng, Act.CALL_IN_FLIGHT, call=_told(scene, cancel))], _BROKEN)


def restart(scene: Scene, rng: random.Random) -> Fault:
    """The server is restarted under the run, in an orderly way or by a crash."""
    mode = rng.choice(("fast", "immediate"))

    def again(link: Link) -> None:
        scene.place.cluster.restart(mode)
        scene.place.again()

    rule = moment(scene, rng, _call(rng), call=_told(scene, again))
    return Fault(f"restart_{mode}", [rule], _BROKEN, everywhere=True)


def server_down(scene: Scene, rng: random.Random) -> Fault:
    """The server crashes and stays down until healed."""

    def down(link: Link) -> None:
        scene.place.cluster.stop("immediate")

    def up() -> None:
        if not rule.applied:
            return
        scene.place.cluster.start()
        scene.place.again()

    rule = moment(scene, rng, Act.CALL, call=_told(scene, down))
    return Fault("server_down", [rule], _BROKEN, everywhere=True, hides=True, heal=up)


def kill_pooler(scene: Scene, rng: random.Random) -> Fault:
    """pgbouncer in session mode is killed, and started again at once or later."""
    bouncer = scene.place.bouncer
    assert bouncer is not None
    at_once = rng.random() < 0.6

    def kill(link: Link) -> None:
        bouncer.kill()
        if at_once:
            bouncer.start()

    def heal() -> None:
        if not at_once and fault.fired:
            bouncer.start()

    rule = moment(scene, rng, _call(rng), call=_told(scene, kill))
    fault = Fault("kill_pooler", [rule], _BROKEN, everywhere=True, hides=not at_once, heal=heal)
    return fault


# --- other people


def lock_holder(scene: Scene, rng: random.Random) -> Fault:
    """Somebody holds a table, or an old snapshot, until so many lock timeouts have come."""
    target = _busy_target(scene, rng)
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
    return Fault(name, [], _NOTHING if patient else _BROKEN, target, before=before, heal=holder.close)


def second_runner(scene: Scene, rng: random.Random) -> Fault:
    """The same command from two places at once; one of them is killed, perhaps."""
    fault = Fault("second_runner", [], _BROKEN, everywhere=True)
    fault.before = lambda: fault.others.append((scene.start(["upgrade"], "second"), "second"))
    return fault


def stock_runner(scene: Scene, rng: random.Random) -> Fault:
    """Stock `alembic upgrade heads` on one of the targets at the same time."""
    target = _busy_target(scene, rng)
    argv = [sys.executable, "-m", "alembic", "-x", f"target={target}", "upgrade", "heads"]
    fault = Fault("stock_runner", [], _BROKEN, target)
    fault.before = lambda: fault.others.append((scene.launch(argv, "stock"), "stock"))
    return fault


# --- the ledger


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
        target = _busy_target(scene, rng)
        fault.rules = [Rule(Act.CALL, 1, "LISTEN", scene.databases[target], call=_told(scene, gone))]
    fault.before, fault.heal = before, heal
    return fault


# --- revisions that misbehave

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
    node = rng.choice(scene.history.nodes)
    how = rng.choice(list(_ENDS))
    file = scene.folder / "versions" / node.branch / f"{node.id}.py"
    good = scene.history.files()[f"{node.branch}/{node.id}.py"]
    bad = text(node, label="branch_labels = None" not in good, up_end=_ENDS[how])
    fault = Fault(f"revision_{how}", [], _BROKEN, everywhere=True)
    fault.before = lambda: file.write_text(bad)
    fault.heal = lambda: file.write_text(good)
    return fault


def nothing(scene: Scene, rng: random.Random) -> Fault:
    """All is well: what the laboratory itself would find wrong shows here."""
    return Fault("nothing")


def _call(rng: random.Random) -> Act:
    """Before the server gets the message, or just after."""
    return rng.choice((Act.CALL, Act.CALL_IN_FLIGHT))


def _told(scene: Scene, action: Callable[[Link], None]) -> Callable[[Link], None]:
    """An action whose own failure is a finding of the case."""

    def act(link: Link) -> None:
        try:
            action(link)
        except (OSError, psycopg.Error) as e:
            scene.errors.append(f"the fault itself failed: {type(e).__name__}: {e}")

    return act


# (how to make it, weight, where)
FAULTS: tuple[tuple[Make, int, str], ...] = (
    (cut, 10, "steady"),
    (cut_each, 3, "steady"),
    (cut_in_flight, 8, "steady"),
    (lost_answer, 8, "steady"),
    (kill_worker, 10, "steady"),
    (kill_parent, 7, "steady"),
    (kill_everything, 5, "steady"),
    (kill_backend, 10, "steady"),
    (stop_signal, 7, "steady"),
    (bad_revision, 6, "steady"),
    (lock_holder, 6, "steady"),
    (half_open, 4, "steady"),
    (cancel_statement, 3, "steady"),
    (restart, 4, "fragile"),
    (kill_pooler, 4, "pooled"),
    (second_runner, 3, "steady"),
    (stock_runner, 2, "steady"),
    (ledger, 4, "steady"),
    (stall, 2, "steady"),
    (freeze, 2, "steady"),
    (server_side_cut, 1, "steady"),
    (cut_for_long, 1, "steady"),
    (lost_for_long, 1, "steady"),
    (silence, 1, "steady"),
    (server_down, 1, "fragile"),
    (delay, 2, "steady"),
    (throttle, 1, "steady"),
    (pause, 2, "steady"),
    (nothing, 1, "steady"),
)


def choose(rng: random.Random) -> tuple[Make, str]:
    """A kind of fault and its place."""
    make, _, place = rng.choices(FAULTS, [w for _, w, _ in FAULTS])[0]
    return make, place


def kinds() -> Iterator[str]:
    """Names for the choice of one kind."""
    return (make.__name__ for make, _, _ in FAULTS)
