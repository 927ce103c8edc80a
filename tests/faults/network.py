"""Faults of the network: what a proxy can do to connections."""

from __future__ import annotations

import random
import threading

from tests.faults.fault import BROKEN, RUNNER, SOON, Fault, busy_target, commit, moment
from tests.faults.proxy import Act, Door, Rule
from tests.faults.scene import Scene


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
    return Fault("cut", [moment(scene, rng, Act.CUT)], BROKEN)


def cut_each(scene: Scene, rng: random.Random) -> Fault:
    """Every connection is cut at its nth message, so reconnecting does not help."""
    target = busy_target(scene, rng)
    nth = rng.randint(3, 60)
    rule = Rule(Act.CUT, nth, "", scene.databases[target], per_connection=True, times=rng.randint(2, 9))
    return Fault("cut_each", [rule], BROKEN, blinds=True)


def cut_for_long(scene: Scene, rng: random.Random) -> Fault:
    """A reset, and nobody can connect any more."""
    return Fault("cut_for_long", [moment(scene, rng, Act.CUT, door=Door.RESET)], BROKEN, everywhere=True, hides=True)


def silence(scene: Scene, rng: random.Random) -> Fault:
    """A reset, and new connections get no answer."""
    scene.lay_out(connect_timeout=1)
    rule = moment(scene, rng, rng.choice((Act.CUT, Act.LOSE_ANSWER)), door=Door.SILENT, application=RUNNER)
    return Fault("silence", [rule], BROKEN, everywhere=True, hides=True)


def half_open(scene: Scene, rng: random.Random) -> Fault:
    """The client gets a reset, the server never hears of it and keeps the session with its locks."""
    return Fault("half_open", [moment(scene, rng, Act.CUT_CLIENT)], BROKEN, hides=True)


def server_side_cut(scene: Scene, rng: random.Random) -> Fault:
    """The server gets a reset, the client waits for an answer that never comes."""
    scene.lay_out(deadline=SOON)
    return Fault("server_side_cut", [moment(scene, rng, Act.CUT_SERVER, application=RUNNER)], BROKEN, hides=True)


def stall(scene: Scene, rng: random.Random) -> Fault:
    """Nothing goes through any more until the client gives up."""
    scene.lay_out(deadline=SOON)
    return Fault("stall", [moment(scene, rng, Act.STALL, application=RUNNER)], BROKEN)


def freeze(scene: Scene, rng: random.Random) -> Fault:
    """The same, and what the client sent arrives when everybody has given up: a COMMIT, perhaps."""
    scene.lay_out(deadline=SOON)
    make = commit if rng.random() < 0.5 else moment
    return Fault("freeze", [make(scene, rng, Act.FREEZE, application=RUNNER)], BROKEN, hides=True)


def pause(scene: Scene, rng: random.Random) -> Fault:
    """One message is late, by less than any limit."""
    seconds = rng.uniform(0.1, 0.6)
    wait = threading.Event().wait
    return Fault("pause", [moment(scene, rng, Act.CALL, call=lambda link: wait(seconds))])


def lost_answer(scene: Scene, rng: random.Random) -> Fault:
    """The server has committed, and nobody heard it."""
    make = commit if rng.random() < 0.7 else moment
    return Fault("lost_answer", [make(scene, rng, Act.LOSE_ANSWER)], BROKEN)


def lost_for_long(scene: Scene, rng: random.Random) -> Fault:
    """The same, and nobody can connect any more."""
    rule = commit(scene, rng, Act.LOSE_ANSWER, door=Door.RESET)
    return Fault("lost_for_long", [rule], BROKEN, everywhere=True, hides=True)


def cut_in_flight(scene: Scene, rng: random.Random) -> Fault:
    """The message has left, the client is cut before the server can answer."""
    make = commit if rng.random() < 0.5 else moment
    return Fault("cut_in_flight", [make(scene, rng, Act.CUT_IN_FLIGHT)], BROKEN)
