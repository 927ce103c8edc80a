"""What a platform does to a server or a database under a run: it closes it to writes, or puts an older copy there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from tests.faults.fault import BROKEN, RUNNER, Fault, call_time, commit, moment, told
from tests.faults.proxy import Act, Link
from tests.faults.scene import Scene
from tests.support.programs import wait_until

_CLOSED = "default_transaction_read_only"


def read_only(scene: Scene, rng: random.Random) -> Fault:
    """Whatever transaction begins from now on may only read, until healed: the disk is nearly full."""

    def close(link: Link) -> None:
        _set(scene, f"ALTER SYSTEM SET {_CLOSED} = on", "on")

    def open_again() -> None:
        scene.place.admin.execute(f"SET {_CLOSED} = off".encode())
        _set(scene, f"ALTER SYSTEM RESET {_CLOSED}", "off")

    rule = moment(scene, rng, call_time(rng), call=told(scene, close))
    return Fault("read_only", [rule], BROKEN, everywhere=True, heal=open_again, heal_first=True)


def _set(scene: Scene, statement: str, value: str) -> None:
    """Returns when sessions have heard of it."""
    admin = scene.place.admin
    admin.execute(statement.encode())
    admin.execute(f"RESET {_CLOSED}".encode())
    admin.execute("SELECT pg_reload_conf()")
    shown = f"SHOW {_CLOSED}".encode()
    wait_until(lambda: admin.execute(shown).fetchone() == (value,), f"{_CLOSED} is not {value}")


def set_back(scene: Scene, rng: random.Random) -> Fault:
    """At one of a run's commits its database gives way to a copy: of before the run, as a backup has it, or of an
    earlier commit, as a standby that had not heard of the last ones.
    """
    rule = commit(scene, rng, Act.CALL, application=RUNNER)
    name = rule.database
    old, away = f"{name}_old", f"{name}_away"
    scene.keep(lambda: scene.place.drop_databases([old, away]))
    within = rng.random() < 0.5

    def copy(link: Link | None = None) -> None:
        with _alone(scene, name):
            scene.place.create_databases([old], template=name)

    def turn(link: Link) -> None:
        if within and not rules[0].applied:  # its moment has not come
            copy()
        with _alone(scene, name):
            for former, new in ((name, away), (old, name)):
                rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                scene.place.admin.execute(rename.format(sql.Identifier(former), sql.Identifier(new)))

    rule.call, rules = told(scene, turn), [rule]
    if not within:
        return Fault("set_back", rules, BROKEN, before=copy, away=away)
    first = commit(scene, rng, Act.CALL, application=RUNNER, call=told(scene, copy))
    first.database = name
    rules.insert(0, first)
    return Fault("set_back_within", rules, BROKEN, away=away)


@contextmanager
def _alone(scene: Scene, name: str) -> Iterator[None]:
    """Nobody is in this database, and no run is let in."""
    admin, limit = scene.place.admin, sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
    admin.execute(limit.format(sql.Identifier(name), 0))
    admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
    yield
    admin.execute(limit.format(sql.Identifier(name), -1))
