"""Faults of processes: runner, worker, backend, server and pooler killed, stopped and restarted."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading

from tests.faults.fault import BROKEN, NOTHING, RUNNER, SOON, STOPPED, Fault, call_time, moment, told
from tests.faults.proxy import Act, Link
from tests.faults.scene import Scene


def kill_worker(scene: Scene, rng: random.Random) -> Fault:
    """kill -9 of whoever sent the message; before the connection passes it on, or after."""

    def kill(link: Link) -> None:
        process = scene.worker_of(link.client_port)
        if process is None or (scene.process is not None and process == scene.process.pid):
            return  # it has gone by itself, or it is the parent at its probe
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    times = 2 if rng.random() < 0.25 else 1
    rules = [moment(scene, rng, call_time(rng), call=kill) for _ in range(times)]
    return Fault("kill_worker", rules, BROKEN, blinds=times > 1)


def kill_parent(scene: Scene, rng: random.Random) -> Fault:
    """kill -9 of the runner."""
    rule = moment(scene, rng, call_time(rng), call=lambda link: scene.signal_parent(signal.SIGKILL))
    return Fault("kill_parent", [rule], BROKEN | STOPPED, everywhere=True, silent=True)


def kill_everything(scene: Scene, rng: random.Random) -> Fault:
    """kill -9 of the runner and all that it has started: the machine lost power."""

    def kill(link: Link) -> None:
        scene.kill_run()

    rule = moment(scene, rng, call_time(rng), call=kill)
    return Fault("kill_everything", [rule], BROKEN | STOPPED, everywhere=True, silent=True)


def stop_signal(scene: Scene, rng: random.Random) -> Fault:
    """Ctrl-C or SIGTERM, once or twice."""
    number = rng.choice((signal.SIGINT, signal.SIGTERM))
    rules = [
        moment(scene, rng, Act.CALL, call=lambda link: scene.signal_parent(number))
        for _ in range(rng.choice((1, 1, 2)))
    ]
    excused = STOPPED | (BROKEN if len(rules) > 1 else NOTHING)
    twice = len(rules) > 1
    name = "stop_twice" if twice else "stop_signal"
    return Fault(name, rules, excused, everywhere=True, blinds=twice, silent=True)


def end_everything(scene: Scene, rng: random.Random) -> Fault:
    """A signal to every process of the run, as `systemctl stop` sends it."""
    number = rng.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))

    def end(link: Link) -> None:
        for pid in scene.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    rule = moment(scene, rng, call_time(rng), call=end)
    return Fault("end_everything", [rule], BROKEN | STOPPED, everywhere=True, silent=True)


def kill_backend(scene: Scene, rng: random.Random) -> Fault:
    """pg_terminate_backend of the session that sends the message, or of another one of the same run."""
    other = rng.random() < 0.5

    def kill(link: Link) -> None:
        pids = [x.pid for x in scene.place.proxy.links if x.database == link.database and x.pid]
        wanted = [p for p in pids if (p == link.pid) is not other] or pids
        for pid in wanted:
            scene.place.admin.execute("SELECT pg_terminate_backend(%s, 2000)", (pid,))

    return Fault("kill_backend", [moment(scene, rng, call_time(rng), call=told(scene, kill))], BROKEN)


def cancel_statement(scene: Scene, rng: random.Random) -> Fault:
    """A DBA cancels whatever the target's sessions do, some milliseconds after the message."""

    def cancel(link: Link) -> None:
        database = (link.database,)
        scene.place.admin.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = %s", database)

    return Fault("cancel_statement", [moment(scene, rng, Act.CALL_IN_FLIGHT, call=told(scene, cancel))], BROKEN)


def restart(scene: Scene, rng: random.Random) -> Fault:
    """The server is restarted under the run, in an orderly way or by a crash."""
    mode = rng.choice(("fast", "immediate"))

    def again(link: Link) -> None:
        scene.place.cluster.restart(mode)
        scene.place.again()

    rule = moment(scene, rng, call_time(rng), call=told(scene, again))
    return Fault(f"restart_{mode}", [rule], BROKEN, everywhere=True)


def server_down(scene: Scene, rng: random.Random) -> Fault:
    """The server crashes and stays down until healed."""

    def down(link: Link) -> None:
        scene.place.cluster.stop("immediate")

    def up() -> None:
        if not rule.applied:
            return
        scene.place.cluster.start()
        scene.place.again()

    rule = moment(scene, rng, Act.CALL, call=told(scene, down))
    return Fault("server_down", [rule], BROKEN, everywhere=True, hides=True, heal=up, heal_first=True)


def server_stopped(scene: Scene, rng: random.Random) -> Fault:
    """The server with all its backends stands still (SIGSTOP) and goes on when healed, with what it was told."""
    scene.lay_out(deadline=SOON, connect_timeout=1)
    cluster = scene.place.cluster

    def stop(link: Link) -> None:
        cluster.signal(signal.SIGSTOP)

    def go_on() -> None:
        cluster.signal(signal.SIGCONT)

    rule = moment(scene, rng, call_time(rng), call=told(scene, stop), application=RUNNER)
    return Fault("server_stopped", [rule], BROKEN, everywhere=True, hides=True, heal=go_on, heal_first=True)


def server_naps(scene: Scene, rng: random.Random) -> Fault:
    """The same for less than any limit, twice perhaps: everybody waits."""

    def nap(link: Link) -> None:
        scene.place.cluster.signal(signal.SIGSTOP)
        threading.Event().wait(seconds)
        scene.place.cluster.signal(signal.SIGCONT)

    seconds = rng.uniform(0.05, 0.5)
    rules = [moment(scene, rng, call_time(rng), call=told(scene, nap)) for _ in range(rng.choice((1, 2)))]
    return Fault("server_naps", rules)


def pooler_stopped(scene: Scene, rng: random.Random) -> Fault:
    """pgbouncer stands still, until healed or for less than any limit."""
    bouncer = scene.place.bouncer
    assert bouncer is not None
    nap = rng.random() < 0.4
    if not nap:
        scene.lay_out(deadline=SOON, connect_timeout=1)

    def stop(link: Link) -> None:
        os.kill(bouncer.pid, signal.SIGSTOP)
        if nap:
            threading.Event().wait(0.3)
            go_on()

    def go_on() -> None:
        os.kill(bouncer.pid, signal.SIGCONT)

    rule = moment(scene, rng, call_time(rng), call=told(scene, stop), application=RUNNER)
    if nap:
        return Fault("pooler_naps", [rule])
    return Fault("pooler_stopped", [rule], BROKEN, everywhere=True, hides=True, heal=go_on)


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

    rule = moment(scene, rng, call_time(rng), call=told(scene, kill))
    fault = Fault("kill_pooler", [rule], BROKEN, everywhere=True, hides=not at_once, heal=heal)
    return fault
