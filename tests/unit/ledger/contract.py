"""What a ledger promises on every database: one table of checks, run on SQLite and on PostgreSQL.

Each check gets a function that opens the same, at first empty, database.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ehg_migrate import redaction
from ehg_migrate.errors import LedgerError, Problem, UsageError
from ehg_migrate.ledger import Ledger, Seen
from ehg_migrate.ledger.backend import Backend
from ehg_migrate.ledger.migrations import LATEST, migrate
from ehg_migrate.model import Direction, Origin, Result, Run, RunStatus, Status, StepResult, Verb

Opener = Callable[[], Backend]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "k4n@ry-p4ssw0rd/of-the-ledger"
PROCESSES = multiprocessing.get_context("spawn")


def a_run(run_id: str, *, minute: int = 0, targets: tuple[str, ...] = ("acme", "bolt"), **changes: Any) -> Run:
    """A run of this process."""
    origin = Origin("dba", socket.gethostname(), os.getpid(), "abc123", "0.1.0")
    run = Run(run_id, Verb.UPGRADE, "tag:prod", origin, NOON + timedelta(minutes=minute), targets=targets)
    return replace(run, **changes)


def a_result(target: str, **changes: Any) -> Result:
    """A result in which every field has something in it."""
    result = Result(
        target,
        Status.FAILED,
        heads_before=("r1",),
        heads_after=("r1", "s2"),
        steps=(StepResult("s2", Direction.UP, "shared", 0.25, 2),),
        not_done=("r3",),
        problem=Problem("lock_timeout", "canceling statement", "look at the blockers", "targets/a.yaml", "55P03"),
        notes=(Problem("edited", "`r1` was edited", "restore it"),),
        output="NOTICE: naïve ☃\n",
        seconds=1.5,
    )
    return replace(result, **changes)


def opened(opener: Opener) -> Ledger:
    """The ledger as `open_ledger` gives it."""
    backend = opener()
    migrate(backend)
    return Ledger(backend)


@contextmanager
def refused(error: type[Exception], *words: str) -> Iterator[None]:
    """The block raises `error` whose text, with the hint that it must have, holds all `words`."""
    with pytest.raises(error) as caught:
        yield
    for word in ("hint:", *words):
        assert word in str(caught.value)


# --- the checks


def all_of_a_run_comes_back(opener: Opener) -> None:
    """A finished run with its results is read by a second opener exactly as it was written."""
    run = a_run("r-1", undoes="r-0", notes=(Problem("n1", "first"),), saved_plan="ab" * 32)
    written = (a_result("acme"), a_result("bolt", status=Status.SUCCEEDED, problem=None))
    with opened(opener) as ledger:
        ledger.start(run)
        for result in written:
            ledger.record("r-1", result)
        ledger.finish("r-1", RunStatus.FAILED, [Problem("n2", "second")])
    with opened(opener) as ledger:
        found = ledger.run("r-1")
    assert found.finished_at is not None
    notes = (Problem("n1", "first"), Problem("n2", "second"))
    assert found == replace(run, status=RunStatus.FAILED, finished_at=found.finished_at, results=written, notes=notes)


def the_last_attempt_counts(opener: Opener) -> None:
    """A second result of a target in one run is kept beside the first, and is the one that is read."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    ledger.record("r-1", a_result("acme"))
    ledger.record("r-1", a_result("acme", status=Status.SUCCEEDED))
    assert [r.status for r in ledger.run("r-1").results] == [Status.SUCCEEDED]
    assert [r.status for r in ledger.runs()[0].results] == [Status.SUCCEEDED]
    assert ledger.last_results(["acme"])["acme"].status is Status.SUCCEEDED
    assert _attempts(opener) == [("acme", 1, "failed"), ("acme", 2, "succeeded")]


def results_stand_in_the_order_of_the_targets(opener: Opener) -> None:
    """Results are read in the order in which the run names its targets, not in that of their arrival."""
    ledger = opened(opener)
    ledger.start(a_run("r-1", targets=("zeta", "acme", "bolt")))
    for name in ("bolt", "acme", "zeta"):
        ledger.record("r-1", a_result(name))
    assert [r.target for r in ledger.run("r-1").results] == ["zeta", "acme", "bolt"]


def runs_are_listed_newest_first(opener: Opener) -> None:
    """`runs` gives the newest first, as many as asked, only those of a target if asked, and without output."""
    ledger = opened(opener)
    for number in range(5):
        ledger.start(a_run(f"r-{number}", minute=number, targets=("acme",) if number % 2 else ("bolt",)))
    ledger.record("r-1", a_result("acme"))
    ledger.record("r-2", a_result("acme"))  # not named by the run, and yet touched
    assert [run.id for run in ledger.runs()] == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert [run.id for run in ledger.runs(2)] == ["r-4", "r-3"]
    assert [run.id for run in ledger.runs(target="acme")] == ["r-3", "r-2", "r-1"]
    assert [run.id for run in ledger.runs(target="acm")] == []
    assert ledger.runs(target="acme")[2].results == (a_result("acme", output=""),)
    with refused(UsageError, "limit 0"):
        ledger.runs(0)


def a_run_is_found_by_its_beginning(opener: Opener) -> None:
    """A unique beginning is enough; a whole id wins over longer ones; letters, `%` and `_` mean themselves."""
    ledger = opened(opener)
    for name in ("ab", "abc", "abd", "x_1", "Ünï"):
        ledger.start(a_run(name))
    assert [ledger.run(p).id for p in ("ab", "abc", "x", "Ün")] == ["ab", "abc", "x_1", "Ünï"]
    with refused(UsageError, "several runs begin with `a`", "`ab`", "`abc`", "`abd`"):
        ledger.run("a")
    for unknown in ("q", "AB", "%", "_", "abcd", ""):
        with refused(UsageError, f"no run `{unknown}`", "ehg-migrate runs"):
            ledger.run(unknown)


def many_candidates_are_not_all_named(opener: Opener) -> None:
    """An ambiguous beginning names the newest five and says that there are more."""
    ledger = opened(opener)
    for number in range(7):
        ledger.start(a_run(f"r{number}", minute=number))
    with refused(UsageError, "`r6`, `r5`, `r4`, `r3`, `r2` and more"):
        ledger.run("r")


def the_newest_result_of_each_target(opener: Opener) -> None:
    """`last_results` gives what each target's newest result says, with its run, and leaves out unknown targets."""
    backend = opener()
    migrate(backend)
    ledger = Ledger(backend)
    for number, names in enumerate((("acme", "bolt"), ("acme",), ("coda",))):
        ledger.start(a_run(f"r-{number}", minute=number))
        for name in names:
            ledger.record(f"r-{number}", a_result(name, seconds=float(number)))
    found = ledger.last_results(["acme", "bolt", "nobody"])
    assert found == {
        "acme": Seen("r-1", True, Status.FAILED, ("r1", "s2"), 1.0),
        "bolt": Seen("r-0", True, Status.FAILED, ("r1", "s2"), 0.0),
    }
    ledger.finish("r-1", RunStatus.FAILED)
    assert {name: seen.running for name, seen in ledger.last_results(["acme", "bolt"]).items()} == {
        "acme": False,
        "bolt": True,
    }
    assert ledger.last_results([]) == {}


def who_was_not_read_says_nothing_of_a_target(opener: Opener) -> None:
    """Behind a run that could not reach it, or left it out, stands what was known before; also when old runs go."""
    with opened(opener) as ledger:
        ledger.start(a_run("r-0"))
        ledger.record("r-0", a_result("acme", status=Status.SUCCEEDED, heads_after=("s1",)))
        for number, status in enumerate((Status.FAILED, Status.REFUSED, Status.SKIPPED, Status.NOT_ATTEMPTED), 1):
            ledger.start(a_run(f"r-{number}", minute=number))
            unread = {"status": status, "heads_before": (), "heads_after": (), "steps": ()}
            ledger.record(f"r-{number}", a_result("acme", **unread), a_result("new", **unread))
        assert (ledger.last_results(["acme"])["acme"].run, ledger.last_results(["new"])["new"].run) == ("r-0", "r-4")
        assert ledger.forget(datetime.now(UTC) + timedelta(hours=1)) == 3
        assert (ledger.last_results(["acme"])["acme"].run, ledger.last_results(["new"])["new"].run) == ("r-0", "r-4")
        taken_back = {"status": Status.FAILED, "heads_before": (), "heads_after": ()}  # behind steps of its own
        ledger.record("r-4", a_result("acme", **taken_back))
        assert ledger.last_results(["acme"])["acme"].run == "r-4"
        ledger.start(a_run("r-5", minute=5))
        ledger.record("r-5", a_result("acme", status=Status.SUCCEEDED, heads_after=()))
        assert ledger.last_results(["acme"])["acme"].heads == ()


def astray_until_something_good_is_said(opener: Opener) -> None:
    """A target whose schema differed is astray until a later result is good; what failed in between says nothing."""
    with opened(opener) as ledger:
        for number, status in enumerate(("succeeded", "schema_differs", "failed", "skipped", "up_to_date")):
            ledger.start(a_run(f"r-{number}"))
            ledger.record(f"r-{number}", a_result("acme", status=Status(status)))
            expected = {"acme": "r-1"} if number in (1, 2, 3) else {}
            assert ledger.astray(["acme", "bolt"]) == expected, status
        assert ledger.astray([]) == {}
        ledger.record("r-4", a_result("acme", status=Status.SCHEMA_DIFFERS))
        assert ledger.astray(["acme"]) == {"acme": "r-4"}, "the last attempt counts"
        ledger.start(a_run("r-5"))
        ledger.record("r-5", *(a_result("acme", status=s) for s in (Status.SCHEMA_DIFFERS, Status.UP_TO_DATE)))
        assert ledger.astray(["acme"]) == {}, "also where both were written at once"
        for run in ("r-6", "r-7"):
            ledger.start(a_run(run))
            ledger.record(run, a_result("acme", status=Status.SCHEMA_DIFFERS))
        assert ledger.astray(["acme"]) == {"acme": "r-7"}, "the newest run that saw it"
        before = Problem("differed_before", "run `r-7` saw it")
        ledger.start(a_run("r-8"))
        ledger.record("r-8", a_result("acme", status=Status.SCHEMA_DIFFERS, problem=before))
        assert ledger.astray(["acme"]) == {"acme": "r-7"}, "not one that did not look"


def astray_by_whatever_name(opener: Opener) -> None:
    """A database is remembered under each name, one that took over its name or its host's is not it."""
    said = (
        ("acme", "A", "schema_differs"),
        ("bolt", "B", "up_to_date"),
        ("acme", "", "failed"),
    )  # fmt: skip
    with opened(opener):
        pass
    for number, (name, identity, status) in enumerate(said):
        ledger = Ledger(opener(), {name: identity})
        ledger.start(a_run(f"r-{number}"))
        ledger.record(f"r-{number}", a_result(name, status=Status(status), heads_after=(f"h{number}",)))

    def found(**now: str) -> tuple[set[str], dict[str, tuple[str, ...]]]:
        ledger = Ledger(opener(), now)
        return set(ledger.astray(now)), {name: seen.heads for name, seen in ledger.last_results(now).items()}

    assert found(new="A") == ({"new"}, {"new": ("h0",)}), "renamed"
    assert found(acme="B", bolt="A")[0] == {"bolt"}, "swapped"
    assert found(acme="C") == ({"acme"}, {"acme": ("h2",)}), "its host has changed, or another took its name"
    assert found(acme="", new="") == ({"acme"}, {"acme": ("h2",)}), "known by name only"
    Ledger(opener(), {"acme": "D"}).record("r-1", a_result("acme", status=Status.SUCCEEDED))
    assert found(acme="D", new="A")[0] == {"new"}, "a good word on who took the name is none on it"
    Ledger(opener(), {"new": "A"}).record("r-1", a_result("new", status=Status.UP_TO_DATE))
    assert found(acme="C", new="A")[0] == set()


def the_newest_of_all_names_counts(opener: Opener) -> None:
    """What was said under the target's name, or of its database under another: whichever was written last."""
    with opened(opener):
        pass
    for last, said in (("bolt", {"acme": "A", "bolt": "B"}), ("cork", {"dune": "", "cork": "C"})):
        for number, (name, identity) in enumerate(said.items()):
            run = f"r-{last}-{9 - number}"  # ids say nothing of the order
            ledger = Ledger(opener(), {name: identity})
            ledger.start(a_run(run))
            ledger.record(run, a_result(name, heads_after=(f"of {name}",)))
    assert Ledger(opener(), {"bolt": "A"}).last_results(["bolt"])["bolt"].heads == ("of bolt",), "by its name"
    assert Ledger(opener(), {"dune": "C"}).last_results(["dune"])["dune"].heads == ("of cork",), "by its database"


def old_runs_are_forgotten(opener: Opener) -> None:
    """Whole ones, by when they were last heard of; not those that hold a last word."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    with opened(opener) as ledger:
        for number, names in enumerate((("acme", "gone"), ("acme", "bolt"), ("acme", "bolt"), ("acme", "bolt"))):
            ledger.start(a_run(f"r-{number}", targets=names))
            ledger.record(f"r-{number}", *(a_result(name, status=Status.SUCCEEDED) for name in names))
            ledger.finish(f"r-{number}", RunStatus.SUCCEEDED)
        assert ledger.outlived(datetime.now(UTC) - timedelta(hours=1)) == ()
        assert ledger.outlived(soon) == ("r-1", "r-2")
        assert ledger.forget(soon) == 2
        assert [run.id for run in ledger.runs()] == ["r-3", "r-0"]
        assert [r.target for r in ledger.run("r-0").results] == ["acme", "gone"], "whole, or it would seem unfinished"
        assert not ledger.holds("r-1")
        assert ledger.forget(soon) == 0


def what_is_astray_is_not_forgotten(opener: Opener) -> None:
    """Where nothing good was ever said of it, and something else since; by its name and by its database."""
    with opened(opener):
        pass
    for name, identity in (("acme", ""), ("bolt", "B")):
        ledger = Ledger(opener(), {name: identity})
        for number, status in enumerate((Status.SCHEMA_DIFFERS, Status.FAILED, Status.FAILED)):
            ledger.start(a_run(f"{name}-{number}", targets=(name,)))
            ledger.record(f"{name}-{number}", a_result(name, status=status))
        assert ledger.outlived(datetime.now(UTC) + timedelta(hours=1))[-1] == f"{name}-1"
        assert ledger.forget(datetime.now(UTC) + timedelta(hours=1)) == 1
        assert ledger.astray([name]) == {name: f"{name}-0"}


def what_is_forgotten_changes_no_answer(opener: Opener) -> None:
    """Neither the last word on a target nor what is astray, whatever was said of which database under which name."""
    chance = random.Random(5)
    with opened(opener):
        pass
    statuses = (Status.SUCCEEDED, Status.UP_TO_DATE, Status.SCHEMA_DIFFERS, Status.FAILED, Status.REFUSED)
    asked = [dict(zip(("acme", "bolt"), ids, strict=True)) for ids in ("AB", "BA", ("A", ""), ("", ""))]
    ledgers = [Ledger(opener(), identities) for identities in asked]

    def answers() -> list[object]:
        return [(ledger.astray(("acme", "bolt")), ledger.last_results(("acme", "bolt"))) for ledger in ledgers]

    forgotten = 0
    for number in range(60):
        names = chance.sample(("acme", "bolt"), chance.choice((1, 2)))
        ledger = chance.choice(ledgers)
        ledger.start(a_run(f"r-{number}", targets=tuple(names)))
        unread: dict[str, Any] = chance.choice(({}, {"heads_before": (), "heads_after": (), "steps": ()}))
        ledger.record(f"r-{number}", *(a_result(name, status=chance.choice(statuses), **unread) for name in names))
        if chance.random() < 0.15:
            before = answers()
            forgotten += ledger.forget(datetime.now(UTC) + timedelta(hours=1))
            assert answers() == before, number
    assert forgotten > 25


def the_newest_is_what_was_written_last(opener: Opener) -> None:
    """A clock that was ahead when a result was recorded does not make that one the newest for ever."""
    with opened(opener) as ledger:
        ledger.start(a_run("r-2"))
        ledger.record("r-2", a_result("acme", heads_after=("s9",)))
        _change(opener, table="results", recorded_at=datetime.now(UTC) + timedelta(days=400))
        ledger.start(a_run("r-1"))
        ledger.record("r-1", a_result("acme", heads_after=("s1",)))
        assert ledger.last_results(["acme"])["acme"].heads == ("s1",)


def runs_stand_in_the_order_in_which_they_were_written(opener: Opener) -> None:
    """A run that began while a clock was ahead is not the newest for ever, in lists and among candidates."""
    with opened(opener) as ledger:
        for number in range(7):
            ledger.start(a_run(f"r-{number}", minute=-number))
        assert [run.id for run in ledger.runs(limit=2)] == ["r-6", "r-5"]
        with refused(UsageError, "`r-6`, `r-5`, `r-4`, `r-3`, `r-2` and more"):
            ledger.run("r")


def runs_of_an_older_ledger_keep_their_order(opener: Opener) -> None:
    """A ledger of the first schema is brought to this tool's; its runs stand as they did, by their time."""
    with opened(opener) as ledger:
        for number in (2, 3, 1):
            ledger.start(a_run(f"r-{number}", minute=number))
    as_the_first_schema(opener)
    with opened(opener) as ledger:
        ledger.start(a_run("r-0"))
        assert [run.id for run in ledger.runs()] == ["r-0", "r-3", "r-2", "r-1"]


def times_are_utc(opener: Opener) -> None:
    """A time given in another zone comes back as the same moment in UTC, to the microsecond."""
    local = datetime(2026, 7, 1, 23, 30, 0, 7, tzinfo=timezone(timedelta(hours=-7)))
    ledger = opened(opener)
    ledger.start(a_run("r-1", started_at=local))
    before = datetime.now(UTC)
    ledger.finish("r-1", RunStatus.SUCCEEDED)
    found = ledger.run("r-1")
    assert found.started_at == local
    assert found.started_at.utcoffset() == timedelta(0)
    assert found.finished_at is not None
    assert before <= found.finished_at <= datetime.now(UTC)
    assert found.finished_at.utcoffset() == timedelta(0)


def secrets_do_not_come_in(opener: Opener) -> None:
    """A registered secret in any free text of a run, result or note is not in any row."""
    redaction.register(CANARY)
    problem = Problem("login", f"bad {CANARY}", f"hint {CANARY}", f"where {CANARY}")
    ledger = opened(opener)
    origin = Origin(f"me {CANARY}", socket.gethostname(), os.getpid(), f"g{CANARY}", f"v{CANARY}")
    ledger.start(a_run("r-1", selector=f"x{CANARY}", origin=origin, notes=(problem,)))
    ledger.record("r-1", a_result("acme", output=f"out {CANARY}\n", problem=problem, notes=(problem,)))
    ledger.finish("r-1", RunStatus.FAILED, [problem])
    stored = _everything(opener)
    assert CANARY not in stored
    assert stored.count(redaction.MASK) >= 10


def a_secret_that_equals_a_name_masks_no_name(opener: Opener) -> None:
    """A password that happens to be a target's name does not make that target's rows those of `***`."""
    redaction.register("target-and-password")
    ledger = opened(opener)
    ledger.start(a_run("r-1", targets=("target-and-password",)))
    ledger.record("r-1", a_result("target-and-password", output="with target-and-password"))
    (result,) = ledger.run("r-1").results
    assert (result.target, result.output) == ("target-and-password", f"with {redaction.MASK}")


def any_text_can_be_stored(opener: Opener) -> None:
    """What PostgreSQL and UTF-8 refuse (NUL, half a surrogate pair) is dropped or replaced; the rest stays."""
    ledger = opened(opener)
    ledger.start(a_run("r-1", selector="a\0b"))
    text = "a\0b \udc80 'quoted' \"double\" \\ % :name {x} \x1b ☃ 𝄞"
    ledger.record("r-1", a_result("acme", output=text, problem=Problem("c", text)))
    found = ledger.run("r-1")
    assert found.selector == "ab"
    kept = text.replace("\0", "").replace("\udc80", "?")
    assert (found.results[0].output, found.results[0].problem) == (kept, Problem("c", kept))


def any_text_can_be_asked_for(opener: Opener) -> None:
    """A run or a target whose name no database could hold is not there."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    for text in ("\udc80", "\0", "r-1\udc80"):
        with refused(UsageError, "the ledger has no run"):
            ledger.run(text)
    assert ledger.runs(target="\udc80") == ()


def a_run_that_was_not_started(opener: Opener) -> None:
    """Writing to a run whose start was never recorded is told, with a hint, and leaves nothing behind."""
    ledger = opened(opener)
    for write in (
        lambda: ledger.record("gone", a_result("acme")),
        lambda: ledger.heartbeat("gone"),
        lambda: ledger.finish("gone", RunStatus.FAILED),
    ):
        with refused(LedgerError, "`gone`", "ehg-migrate status"):
            write()
    assert ledger.runs() == ()
    assert ledger.last_results(["acme"]) == {}


def an_id_is_used_once(opener: Opener) -> None:
    """A second start with the same id is refused and does not touch the first."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    with refused(LedgerError, "`r-1` is in the ledger already"):
        ledger.start(a_run("r-1", selector="other"))
    assert ledger.run("r-1").selector == "tag:prod"


def a_killed_run_has_died(opener: Opener) -> None:
    """A run whose process was killed is read as died, as a zombie and after; reading writes nothing."""
    ledger = opened(opener)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        ledger.start(a_run("r-1", origin=replace(a_run("").origin, pid=child.pid)))
        ledger.record("r-1", a_result("acme"))
        assert ledger.run("r-1").status is RunStatus.RUNNING
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still a zombie
        assert ledger.run("r-1").status is RunStatus.DIED
    finally:
        child.kill()
        child.communicate()
    assert ledger.run("r-1").status is RunStatus.DIED
    assert ledger.runs()[0].status is RunStatus.DIED
    assert ledger.last_results(["acme"])["acme"].running is False
    assert _stored(opener, "runs", "status") == ["running"]


def a_later_process_with_the_same_pid(opener: Opener) -> None:
    """A living process with the run's pid that started at another time is not the run."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    assert ledger.run("r-1").status is RunStatus.RUNNING
    start, _, space = _stored(opener, "runs", "process_started")[0].partition("@")
    assert start
    _change(opener, process_started=f"{float(start) - 1}@{space}")
    assert ledger.run("r-1").status is RunStatus.DIED


def another_host_is_judged_by_its_heartbeat(opener: Opener) -> None:
    """A run elsewhere has died when its heartbeat is older than 60 s, and lives again with the next one."""
    ledger = opened(opener)
    ledger.start(a_run("r-1", origin=Origin("ci", "elsewhere.invalid", os.getpid(), "", "")))
    for age, status in ((0, RunStatus.RUNNING), (50, RunStatus.RUNNING), (61, RunStatus.DIED)):
        _change(opener, heartbeat_at=datetime.now(UTC) - timedelta(seconds=age))
        assert ledger.run("r-1").status is status
    ledger.heartbeat("r-1")
    assert ledger.run("r-1").status is RunStatus.RUNNING


def results_say_that_a_run_is_alive(opener: Opener) -> None:
    """A run whose targets end one after the other has no time to say so by itself."""
    ledger = opened(opener)
    ledger.start(a_run("r-1", origin=Origin("ci", "elsewhere.invalid", 1, "", "")))
    _change(opener, heartbeat_at=datetime.now(UTC) - timedelta(seconds=61))
    ledger.record("r-1", a_result("acme"))
    assert ledger.run("r-1").status is RunStatus.RUNNING


def who_takes_a_run_over_is_told_to_it(opener: Opener) -> None:
    """Where something of it is left to do; who takes back one target that is done leaves the others to it."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    assert ledger.heartbeat("r-1") is None
    ledger.record("r-1", a_result("acme"))
    ledger.start(a_run("back-1", verb=Verb.ROLLBACK, undoes="r-1", targets=("acme", "other")))
    ledger.start(a_run("r-2", resumes="r-0"))
    assert ledger.heartbeat("r-1") is None
    ledger.start(a_run("back-2", verb=Verb.ROLLBACK, undoes="r-1"))
    assert ledger.heartbeat("r-1") == "back-2"
    ledger.start(a_run("r-3", resumes="r-2", targets=("bolt",)))
    assert ledger.heartbeat("r-2") == "r-3"
    ledger.record("r-1", a_result("bolt"))
    assert ledger.heartbeat("r-1") is None


def who_went_on_with_a_run_is_known(opener: Opener) -> None:
    """And who went on with that one; a run that says so of itself is no reason to look for ever."""
    with opened(opener) as ledger:
        for number, resumes in enumerate(("", "r-0", "", "r-1", "r-0", "r-5")):
            ledger.start(a_run(f"r-{number}", minute=number, resumes=resumes))
        assert ledger.completions("r-0") == ("r-1", "r-3", "r-4")
        assert (ledger.completions("r-2"), ledger.completions("r-5")) == ((), ("r-5",))


def what_the_runs_of_a_rollout_were_to_work_on(opener: Opener) -> None:
    """Each selection once, of the rollouts that are asked for."""
    ledger = opened(opener)
    for number, (rollout, selector) in enumerate([("r", "a"), ("r", "b"), ("r", "b"), ("s", "c"), ("", "d")]):
        ledger.start(a_run(f"r-{number}", rollout=rollout, selector=selector))
    found = ledger.selections(["r", "unheard of"])
    assert {name: sorted(selections) for name, selections in found.items()} == {"r": ["a", "b"]}


def the_same_host_name_in_another_container(opener: Opener) -> None:
    """Where pids count in another space, a missing pid says nothing and the heartbeat decides."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    _change(opener, process_started="1@pid:[1]")
    assert ledger.run("r-1").status is RunStatus.RUNNING
    _change(opener, heartbeat_at=datetime.now(UTC) - timedelta(seconds=61))
    assert ledger.run("r-1").status is RunStatus.DIED


def a_finished_run_never_dies(opener: Opener) -> None:
    """Only a run that says running is asked for its process."""
    ledger = opened(opener)
    ledger.start(a_run("r-1", origin=Origin("ci", "elsewhere.invalid", 1, "", "")))
    ledger.finish("r-1", RunStatus.SUCCEEDED)
    _change(opener, heartbeat_at=datetime.now(UTC) - timedelta(days=1))
    assert ledger.run("r-1").status is RunStatus.SUCCEEDED


def a_row_of_a_newer_tool_is_told(opener: Opener) -> None:
    """A word that this tool does not know is a LedgerError that names the run and the column, not a crash."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    _change(opener, verb="teleport")
    with refused(LedgerError, "run `r-1`", "verb", "newer"):
        ledger.run("r-1")


def opening_again_changes_nothing(opener: Opener) -> None:
    """A ledger at this tool's version is opened without a write."""
    with opened(opener) as ledger:
        ledger.start(a_run("r-1"))
    before = _everything(opener)
    opened(opener).close()
    assert _everything(opener) == before


def several_results_are_added_together(opener: Opener) -> None:
    """One call adds the results of many targets, or none of them where the run is not there."""
    ledger = opened(opener)
    ledger.start(a_run("r-1"))
    ledger.record("r-1", a_result("acme"), a_result("bolt"))
    with refused(LedgerError, "`gone`"):
        ledger.record("gone", a_result("acme"), a_result("bolt"))
    assert _attempts(opener) == [("acme", 1, "failed"), ("bolt", 1, "failed")]
    ledger.record("r-1", a_result("acme", heads_after=("s1",)), a_result("acme", heads_after=("s2",)))
    assert ledger.last_results(["acme"])["acme"].heads == ("s2",), "the second of one moment counts"


def only_the_dead_of_the_newest_are_read(opener: Opener) -> None:
    """`died` gives of the newest runs those whose process is gone, with results; `holds` knows each by its whole id."""
    ledger = opened(opener)
    elsewhere = replace(a_run("").origin, host="elsewhere.invalid")
    for number, origin in enumerate((elsewhere, elsewhere, a_run("").origin)):
        ledger.start(a_run(f"r-{number}", minute=number, origin=origin))
        ledger.record(f"r-{number}", a_result("acme"))
    _change(opener, heartbeat_at=datetime.now(UTC) - timedelta(seconds=61))
    assert [(r.id, len(r.results)) for r in ledger.died(2)] == [("r-1", 1)]
    assert [ledger.holds(i) for i in ("r-0", "r-2", "r", "r-3")] == [True, True, False, False]


def a_newer_schema_is_refused(opener: Opener) -> None:
    """A ledger that a newer tool migrated is left alone, with a hint to use that tool."""
    opened(opener).close()
    with opener().transaction(write=True) as transaction:
        transaction.execute("set_version", version=LATEST + 1)
    with refused(LedgerError, f"schema version {LATEST + 1}", "pip install --upgrade"):
        opened(opener)


def several_processes_lose_nothing(opener: Opener) -> None:
    """Processes that open a new ledger at the same moment, then write to it and to one run together, lose no row."""
    count, each = 4, 12
    barrier = PROCESSES.Barrier(count)
    children = [PROCESSES.Process(target=_write, args=(opener, barrier, n, each)) for n in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * count
    ledger = opened(opener)
    assert {run.id for run in ledger.runs()} == {"r-common", *(f"r-{n}" for n in range(count))}
    for n in range(count):
        assert {r.target for r in ledger.run(f"r-{n}").results} == {f"t{i}" for i in range(each)}
    common = [attempt for target, attempt, _ in _attempts(opener) if target == "common"]
    assert common == list(range(1, count * each + 1))


CHECKS: tuple[Callable[[Opener], None], ...] = (
    all_of_a_run_comes_back,
    the_last_attempt_counts,
    results_stand_in_the_order_of_the_targets,
    runs_are_listed_newest_first,
    a_run_is_found_by_its_beginning,
    many_candidates_are_not_all_named,
    the_newest_result_of_each_target,
    who_was_not_read_says_nothing_of_a_target,
    astray_until_something_good_is_said,
    astray_by_whatever_name,
    the_newest_of_all_names_counts,
    what_is_astray_is_not_forgotten,
    old_runs_are_forgotten,
    what_is_forgotten_changes_no_answer,
    the_newest_is_what_was_written_last,
    runs_stand_in_the_order_in_which_they_were_written,
    runs_of_an_older_ledger_keep_their_order,
    times_are_utc,
    secrets_do_not_come_in,
    a_secret_that_equals_a_name_masks_no_name,
    any_text_can_be_stored,
    any_text_can_be_asked_for,
    a_run_that_was_not_started,
    an_id_is_used_once,
    a_killed_run_has_died,
    a_later_process_with_the_same_pid,
    another_host_is_judged_by_its_heartbeat,
    results_say_that_a_run_is_alive,
    who_takes_a_run_over_is_told_to_it,
    who_went_on_with_a_run_is_known,
    what_the_runs_of_a_rollout_were_to_work_on,
    the_same_host_name_in_another_container,
    a_finished_run_never_dies,
    a_row_of_a_newer_tool_is_told,
    opening_again_changes_nothing,
    several_results_are_added_together,
    only_the_dead_of_the_newest_are_read,
    a_newer_schema_is_refused,
    several_processes_lose_nothing,
)


# --- below the ledger's own methods


def _write(opener: Opener, barrier: Any, number: int, each: int) -> None:
    """One writer: its own run, and attempts of one target in a run that all share."""
    barrier.wait(60)
    ledger = opened(opener)
    if number == 0:
        ledger.start(a_run("r-common"))
    ledger.start(a_run(f"r-{number}", minute=number))
    barrier.wait(60)
    for i in range(each):
        ledger.record(f"r-{number}", a_result(f"t{i}"))
        ledger.record("r-common", a_result("common"))
        ledger.heartbeat("r-common")


def _attempts(opener: Opener) -> list[tuple[str, int, str]]:
    columns = (_stored(opener, "results", column) for column in ("target", "attempt", "status"))
    return sorted(zip(*columns, strict=True))


def _everything(opener: Opener) -> str:
    return repr([_rows(opener, "*", table) for table in ("ledger_schema", "runs", "results")])


def _stored(opener: Opener, table: str, column: str) -> list[Any]:
    return [row[0] for row in _rows(opener, column, table)]


def _rows(opener: Opener, columns: str, table: str) -> list[Any]:
    """As the driver gives them, past the ledger."""
    backend = opener()
    schema = backend.dialect.words["schema"]
    with backend.transaction(write=False) as transaction:
        rows: list[Any] = transaction.driver.execute(f"SELECT {columns} FROM {schema}{table}").fetchall()
    return rows


def as_the_first_schema(opener: Opener) -> None:
    """Takes back what the migrations after the first have made."""
    backend = opener()
    schema = backend.dialect.words["schema"]
    with backend.transaction(write=True) as transaction:
        for index in ("runs_by_place", "results_by_identity", "differing_by_target", "differing_by_identity"):
            transaction.driver.execute(f"DROP INDEX {schema}{index}")
        transaction.driver.execute(f"ALTER TABLE {schema}results DROP COLUMN identity")
        for column in ("place", "saved_plan"):
            transaction.driver.execute(f"ALTER TABLE {schema}runs DROP COLUMN {column}")
        transaction.driver.execute(f"CREATE INDEX runs_by_start ON {schema}runs (started_at)")
        transaction.execute("set_version", version=1)


def _change(opener: Opener, table: str = "runs", **values: Any) -> None:
    """Sets one column of all rows."""
    backend = opener()
    ((column, value),) = values.items()
    schema, mark = backend.dialect.words["schema"], "?" if backend.dialect.words["lock"] == "" else "%s"
    with backend.transaction(write=True) as transaction:
        given = backend.dialect.write(value)
        transaction.driver.execute(f"UPDATE {schema}{table} SET {column} = {mark}", (given,))
