"""Faults of the ledger, in a file or in PostgreSQL: the targets must not suffer, and the run says what it lacks."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable

from tests.faults.fault import RUNNER, Fault, busy_target, moment, told
from tests.faults.proxy import Act, Door, Link, Rule
from tests.faults.scene import Scene
from tests.support.programs import find_program


def ledger_file(scene: Scene, rng: random.Random) -> Fault:
    """A file that is none, or no database, gone in the middle, read-only, locked for a while, or that cannot grow."""
    make = rng.choice((_folder, _garbage, _gone, _full, _fills, _read_only, _read_only_folder, _locked))
    return make(scene, rng)


def _folder(scene: Scene, rng: random.Random) -> Fault:
    def before() -> None:
        scene.ledger.parent.mkdir(exist_ok=True)
        scene.ledger.unlink(missing_ok=True)
        scene.ledger.mkdir()

    return Fault("ledger_folder", ledger=True, before=before, heal=scene.ledger.rmdir)


def _garbage(scene: Scene, rng: random.Random) -> Fault:
    def before() -> None:
        scene.ledger.parent.mkdir(exist_ok=True)
        scene.ledger.write_bytes(b"this is no database\n" * 500)

    return Fault("ledger_garbage", ledger=True, before=before, heal=scene.ledger.unlink)


def _gone(scene: Scene, rng: random.Random) -> Fault:
    def gone(link: Link) -> None:
        scene.ledger.unlink()

    # the first that a worker says, which is never before the run is in the ledger
    database = scene.databases[busy_target(scene, rng)]
    rule = Rule(Act.CALL, 1, r"LISTEN|RESET", database, RUNNER, call=told(scene, gone))
    return Fault("ledger_gone", [rule], ledger=True)


def _full(scene: Scene, rng: random.Random) -> Fault:
    """Less than an empty ledger, more than the run's output."""
    fault = Fault("ledger_full", ledger=True)
    scene.ledger.unlink(missing_ok=True)
    fault.before = lambda: setattr(scene, "limit_files", 16384)
    return fault


def _fills(scene: Scene, rng: random.Random) -> Fault:
    """The disk is full after some more pages: it may be enough, for the ledger reuses what it has."""
    scene.project.runs(1)  # makes it
    limit = scene.ledger.stat().st_size + 4096 * rng.randint(0, 2)
    return Fault("ledger_fills", ledger=True, spares=True, before=lambda: setattr(scene, "limit_files", limit))


def _read_only(scene: Scene, rng: random.Random) -> Fault:
    scene.project.runs(1)
    return _without_rights(scene, "ledger_read_only", lambda: scene.ledger.chmod(0o400))


def _read_only_folder(scene: Scene, rng: random.Random) -> Fault:
    """With a ledger in it or without."""
    folder = scene.ledger.parent
    folder.mkdir(exist_ok=True)
    if rng.random() < 0.5:
        scene.ledger.unlink(missing_ok=True)
    return _without_rights(scene, "ledger_read_only_folder", lambda: folder.chmod(0o500))


def _without_rights(scene: Scene, kind: str, take: Callable[[], None]) -> Fault:
    """Root may write everywhere: the run's process is to have no such privilege."""
    if os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        scene.prefix = (find_program("setpriv", "util-linux"), "--bounding-set", rights)

    def heal() -> None:
        scene.ledger.parent.chmod(0o700)
        if scene.ledger.exists():
            scene.ledger.chmod(0o600)

    return Fault(kind, ledger=True, before=take, heal=heal)


def _locked(scene: Scene, rng: random.Random) -> Fault:
    """Somebody writes into it for a while, and the run waits for him."""
    scene.project.runs(1)
    holder = sqlite3.connect(scene.ledger, isolation_level=None, check_same_thread=False)
    scene.keep(holder.close)
    timer = threading.Timer(rng.uniform(0.2, 0.8), holder.rollback)
    scene.keep(timer.join)

    def before() -> None:
        holder.execute("BEGIN EXCLUSIVE")
        timer.start()

    return Fault("ledger_locked", before=before)


def ledger_set_back(scene: Scene, rng: random.Random) -> Fault:
    """In the place of the file comes a copy of it, from before the run or from its beginning."""
    scene.project.runs(1)
    copy = scene.ledger.with_suffix(".copy")

    def take(link: Link | None = None) -> None:
        shutil.copyfile(scene.ledger, copy)

    def put_back(link: Link) -> None:
        if copy.exists():
            copy.replace(scene.ledger)

    rules = [moment(scene, rng, Act.CALL, call=told(scene, put_back), application=RUNNER)]
    if rng.random() < 0.5:
        return Fault("ledger_set_back", rules, before=take)
    database = scene.databases[busy_target(scene, rng)]
    first = Rule(Act.CALL, 1, r"LISTEN|RESET", database, RUNNER, call=told(scene, take))
    return Fault("ledger_set_back_within", [first, *rules])


def ledger_cut(scene: Scene, rng: random.Random) -> Fault:
    """A connection of the ledger's is cut in one way or another, or its backend is killed."""
    place = scene.ledger_place
    assert place is not None

    def kill(link: Link) -> None:
        place.admin.execute("SELECT pg_terminate_backend(%s, 2000)", (link.pid,))

    acts = (Act.CUT, Act.CUT_IN_FLIGHT, Act.LOSE_ANSWER, Act.CUT_CLIENT, Act.CALL, Act.CALL_IN_FLIGHT)
    act = rng.choice(acts)
    match, most = rng.choice((("", 60), ("^COMMIT", 5), ("^INSERT|^UPDATE", 5)))
    lasting = rng.random() < 0.3
    nth = rng.randint(1, 12 if lasting else most)
    rule = Rule(act, nth, match, scene.ledger_database, per_connection=lasting, call=told(scene, kill))
    rule.times = 99 if lasting else 1
    return Fault(f"ledger_{act}", [rule], ledger=True, spares=True)


def ledger_hangs(scene: Scene, rng: random.Random) -> Fault:
    """A connection of the ledger's does not answer any more."""
    act = rng.choice((Act.STALL, Act.CUT_SERVER, Act.FREEZE))
    door = rng.choice((Door.OPEN, Door.SILENT))
    rule = Rule(act, rng.randint(1, 60), "", scene.ledger_database, door=door)
    return Fault("ledger_hangs", [rule], ledger=True, spares=True)


def ledger_server(scene: Scene, rng: random.Random) -> Fault:
    """The ledger's own server, beside those of the targets, is restarted, crashes, or stands still."""
    place = scene.ledger_place
    assert place is not None
    how = rng.choice(("restarted", "down", "stopped"))
    one_of_both, down, healed = threading.Lock(), threading.Event(), threading.Event()

    def hurt(link: Link) -> None:
        with one_of_both:  # its moment may be the last message of the run, which nothing waits for
            if healed.is_set():
                return
            if how == "stopped":
                place.cluster.signal(signal.SIGSTOP)
                return
            place.cluster.stop("immediate")
            down.set()
            if how == "restarted":
                start()

    def start() -> None:
        place.cluster.start()
        place.again()
        down.clear()

    def heal() -> None:
        with one_of_both:
            healed.set()
            if how == "stopped":
                place.cluster.signal(signal.SIGCONT)
            elif down.is_set():
                start()

    rule = Rule(rng.choice((Act.CALL, Act.CALL_IN_FLIGHT)), rng.randint(1, 60), "", scene.ledger_database)
    rule.call = told(scene, hurt)
    return Fault(f"ledger_server_{how}", [rule], ledger=True, spares=True, heal=heal, heal_first=True)
