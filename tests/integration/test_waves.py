"""Upgrades in waves: who comes first, what holds the others back, and what is said of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, RunStatus, Status
from ehg_migrate.rollout.jobs import EventKind
from ehg_migrate.rollout.stop import Stop
from tests.acceptance.test_drift import scratch_url
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

TARGETS = ("a", "b", "c", "d")
STEPS = {
    "shared/s1": step("s1", None, label="shared"),
    "shared/s2": step("s2", "s1"),
}
WAVES = "waves:\n- {name: canary, targets: [c]}\n- {name: early, targets: ['!a', '!d']}\n"


@pytest.fixture
def fleet(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Four targets in three waves: c, then b, then the rest."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    made = make_fleet(pg, tmp_path / "project", {name: make_database(name) for name in TARGETS}, STEPS)
    (made.folder / "targets" / "waves.yaml").write_text(WAVES)
    return made


def soak(fleet: Fleet, seconds: float) -> None:
    """From now on the first wave has this pause behind it."""
    file = fleet.folder / "targets" / "waves.yaml"
    file.write_text(WAVES.replace("[c]}", f"[c], soak: {seconds}}}"))


def in_the_way(fleet: Fleet, target: str) -> None:
    """The second step fails on this target."""
    with fleet.connect(target) as c:
        c.execute("CREATE TABLE s2 (n int)")


def verifying(fleet: Fleet, how: str) -> None:
    """From now on schemas are looked at."""
    settings = fleet.folder / "alembic.ini"
    settings.write_text(settings.read_text().replace("verify = never", f"verify = {how}"))


def order(fleet: Fleet) -> list[str]:
    """In which the targets of the last run began."""
    return [e.target for e in fleet.events if e.kind is EventKind.STARTED]


def test_one_wave_after_the_other(fleet: Fleet) -> None:
    """However many may be at work; the run is one, told of wave by wave."""
    said: list[str] = []
    run = fleet.upgrade(parallel=4, notice=said.append)
    assert run.status is RunStatus.SUCCEEDED
    begun = order(fleet)
    assert begun[:2] == ["c", "b"]
    assert sorted(begun[2:]) == ["a", "d"]
    told = [(e.target, e.kind) for e in fleet.events]
    for before, after in (("c", "b"), ("b", "a"), ("b", "d")):
        assert told.index((before, EventKind.FINISHED)) < told.index((after, EventKind.STARTED))
    assert said == ["wave 1 of 3, `canary`: c", "wave 2 of 3, `early`: b", "wave 3 of 3, `rest`: a, d"]
    assert fleet.held() == {name: ["s2"] for name in TARGETS}


def test_a_word_alone(fleet: Fleet) -> None:
    """In Python it is one word, not its letters: of targets, of revisions, of a shard that would not wait."""
    project = fleet.load()
    assert project.plan("all", "s1") == project.plan(("all",), ("s1",))
    with pytest.raises(UsageError, match="a shard does not wait for the waves of other shards"):
        project.plan("shard:1/2")
    fleet.run(project.plan("c"))
    down = fleet.load().plan_downgrade("c", "s1")
    assert (down.wish, [s.revision for s in down.plans[0].steps]) == (("s1",), ["s2"])
    back = fleet.load().plan_rollback(project.runs()[0].id, "c")
    assert (back.selector, [s.revision for s in back.plans[0].steps]) == ("c", ["s2", "s1"])


def test_a_failure_holds_the_next_waves_back(fleet: Fleet) -> None:
    """The wave itself is done to its end; the others are not attempted, and `resume` goes on when it is mended."""
    (fleet.folder / "targets" / "waves.yaml").write_text("waves: [{name: first, targets: [a, b]}]\n")
    in_the_way(fleet, "a")
    run = fleet.upgrade(parallel=1)
    assert run.status is RunStatus.FAILED
    assert {r.target: r.status for r in run.results} == {
        "a": Status.FAILED, "b": Status.SUCCEEDED, "c": Status.NOT_ATTEMPTED, "d": Status.NOT_ATTEMPTED,
    }  # fmt: skip
    problem = result_of(run, "c").problem
    assert problem is not None
    assert problem.message == "wave `first` did not end well (a failed), so the next did not begin"
    assert problem.hint == (
        f"when that is mended, `ehg-migrate resume {run.id}` goes on; with `--no-waves` in spite of it"
    )
    assert fleet.held() == {"a": ["s1"], "b": ["s2"], "c": [], "d": []}
    again = fleet.run(fleet.load().plan_resume(run.id))
    assert [r.status for r in again.results] == [Status.FAILED, Status.NOT_ATTEMPTED, Status.NOT_ATTEMPTED]
    with fleet.connect("a") as c:
        c.execute("DROP TABLE s2")
    assert fleet.run(fleet.load().plan_resume(again.id)).status is RunStatus.SUCCEEDED
    assert order(fleet)[0] == "a"
    assert fleet.held() == {name: ["s2"] for name in TARGETS}


def test_what_another_run_completed_is_not_called_taken_back(fleet: Fleet) -> None:
    """The targets that the first never came to hold the release all the same; what takes it back is named."""
    in_the_way(fleet, "c")
    first = fleet.upgrade()
    with fleet.connect("c") as c:
        c.execute("DROP TABLE s2")
    completion = fleet.run(fleet.load().plan_resume(first.id))
    assert (first.status, completion.status) == (RunStatus.FAILED, RunStatus.SUCCEEDED)

    said = fleet.cli("rollback", first.id, "--yes")
    assert (said.returncode, said.stdout.count("refused (a, b, c, d)")) == (4, 1)
    assert f"it did nothing here, and `{completion.id}`, which completed it, did" in said.stderr
    assert f"`ehg-migrate rollback {completion.id} -t TARGET` takes that back" in said.stderr
    assert fleet.held() == {name: ["s2"] for name in TARGETS}

    assert fleet.run(fleet.load().plan_rollback(completion.id)).status is RunStatus.SUCCEEDED
    back = fleet.run(fleet.load().plan_rollback(first.id))
    assert (back.status, result_of(back, "a").status) == (RunStatus.SUCCEEDED, Status.UP_TO_DATE)
    assert fleet.held() == {name: [] for name in TARGETS}
    assert fleet.upgrade("a").status is RunStatus.SUCCEEDED  # what somebody else brings is not its matter
    again = fleet.run(fleet.load().plan_rollback(first.id))
    assert (again.status, fleet.heads("a")) == (RunStatus.SUCCEEDED, ["s2"])


def test_one_that_cannot_be_reached_holds_them_back(fleet: Fleet, pg: Cluster) -> None:
    """A canary of which nothing is known has proven nothing."""
    with pg.admin() as admin:
        admin.execute(f"ALTER DATABASE {fleet.addresses['c'].dbname} ALLOW_CONNECTIONS false".encode())
    run = fleet.upgrade()
    assert {r.target: r.status for r in run.results if r.target != "c"} == dict.fromkeys("abd", Status.NOT_ATTEMPTED)
    assert result_of(run, "c").status is Status.FAILED
    assert {name: fleet.heads(name) for name in "abd"} == {"a": [], "b": [], "d": []}
    assert fleet.upgrade("!c").status is RunStatus.SUCCEEDED


def test_a_schema_that_differs_holds_them_back(fleet: Fleet, pg: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wave is held against its revisions before the next begins."""
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
    assert fleet.run(fleet.load().plan(to=("s1",)), verify="never").status is RunStatus.SUCCEEDED
    with fleet.connect("c") as c:
        c.execute("ALTER TABLE s1 DROP COLUMN n")
    run = fleet.upgrade(verify="always")
    assert [result_of(run, n).status for n in "cbad"] == [Status.SCHEMA_DIFFERS, *[Status.NOT_ATTEMPTED] * 3]
    assert fleet.held() == {"a": ["s1"], "b": ["s1"], "c": ["s2"], "d": ["s1"]}
    assert fleet.load().show(run.id).results == run.results


def test_a_stopped_wave_is_looked_at_before_the_next(
    fleet: Fleet, pg: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps were done nobody had looked when it was stopped: that is told, and `resume` begins with it."""
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
    assert fleet.run(fleet.load().plan(to=("s1",)), verify="never").status is RunStatus.SUCCEEDED
    with fleet.connect("c") as c:
        c.execute("ALTER TABLE s1 DROP COLUMN n")
    gate, stop = Gate(tmp_path / "gate"), Stop()
    fleet.write("shared/s2", step("s2", "s1", gate.code))
    verifying(fleet, "auto")
    future = fleet.background(lambda: fleet.upgrade(stop=stop))
    assert gate.pid
    stop.ask()
    gate.open()
    run = future.result(60)
    assert [result_of(run, n).status for n in "cbad"] == [Status.SUCCEEDED, *[Status.NOT_ATTEMPTED] * 3]
    assert [n.message for n in run.notes] == ["not verified: c: the run was stopped before anybody looked"]
    cut = fleet.run(fleet.load().plan_resume(run.id), stop=stop)  # before it has looked
    assert (cut.status, result_of(cut, "c").status) == (RunStatus.INTERRUPTED, Status.UP_TO_DATE)
    again = fleet.run(fleet.load().plan_resume(cut.id))
    assert [result_of(again, n).status for n in "cbad"] == [Status.SCHEMA_DIFFERS, *[Status.NOT_ATTEMPTED] * 3]
    assert fleet.held() == {"a": ["s1"], "b": ["s1"], "c": ["s2"], "d": ["s1"]}


@pytest.mark.parametrize("word", [None, "auto"], ids=["by the settings", "by a word against them"])
def test_the_last_target_of_a_stopped_run_is_looked_at(
    fleet: Fleet, pg: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str | None
) -> None:
    """Nothing else is missing of such a run, so `resume` does only what its note says that it does."""
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
    assert fleet.run(fleet.load().plan(("c",), ("s1",)), verify="never").status is RunStatus.SUCCEEDED
    with fleet.connect("c") as c:
        c.execute("ALTER TABLE s1 DROP COLUMN n")
    gate, stop = Gate(tmp_path / "gate"), Stop()
    fleet.write("shared/s2", step("s2", "s1", gate.code))
    if word is None:
        verifying(fleet, "auto")
    future = fleet.background(lambda: fleet.run(fleet.load().plan(("c",)), stop=stop, verify=word))
    assert gate.pid
    stop.ask()
    gate.open()
    run = future.result(60)
    assert (run.status, result_of(run, "c").status) == (RunStatus.INTERRUPTED, Status.SUCCEEDED)
    way = " --verify auto" if word else ""
    assert f"`ehg-migrate resume {run.id}{way}` looks" in run.notes[0].hint
    with pytest.raises(UsageError) as raised:
        fleet.load().plan_resume(run.id, failed_only=True)
    assert [p.code for p in raised.value.problems] == ["nothing_left"]
    again = fleet.run(fleet.load().plan_resume(run.id, verify=word), verify=word)
    assert [(r.target, r.status, r.steps) for r in again.results] == [("c", Status.SCHEMA_DIFFERS, ())]
    with pytest.raises(UsageError, match="nothing of run"):
        fleet.load().plan_resume(run.id, verify="never")


def test_a_stopped_rollback_says_who_looks(
    fleet: Fleet, pg: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not `resume`, which would take back what is left."""
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
    gate, stop = Gate(tmp_path / "gate"), Stop()
    fleet.write("shared/s1", step("s1", None, label="shared", down_code=gate.code))
    done = fleet.run(fleet.load().plan(("c",)))
    verifying(fleet, "auto")
    future = fleet.background(lambda: fleet.run(fleet.load().plan_rollback(done.id), stop=stop))
    assert gate.pid
    stop.ask()
    gate.open()
    run = future.result(60)
    assert (run.status, result_of(run, "c").status) == (RunStatus.INTERRUPTED, Status.SUCCEEDED)
    assert [(n.code, n.hint) for n in run.notes] == [("not_verified", "`ehg-migrate drift` looks")]


def test_a_wave_that_could_not_be_judged(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `always` it holds the next one back, and so it does whenever the run is resumed and nothing was mended."""
    monkeypatch.setenv("EHG_SCRATCH_URL", "postgresql://127.0.0.1:1/nobody")
    verifying(fleet, "always")
    runs = [fleet.upgrade()]
    for _ in range(2):
        runs.append(fleet.run(fleet.load().plan_resume(runs[-1].id)))
    for found in runs:
        assert [result_of(found, n).status for n in "cbad"] == [Status.INDETERMINATE, *[Status.NOT_ATTEMPTED] * 3]
    assert fleet.held() == {"a": [], "b": [], "c": ["s2"], "d": []}


def test_the_way_out_of_both_limits(fleet: Fleet) -> None:
    """Where enough had failed and a wave ended badly, the hint names what it takes to go on in spite of both."""
    (fleet.folder / "targets" / "waves.yaml").write_text("waves: [{name: first, targets: [a, b]}]\n")
    in_the_way(fleet, "a")
    run = fleet.upgrade(parallel=1, max_failures=1)
    hints = {r.target: r.problem.hint.split("; ")[1] for r in run.results if r.problem and r.target != "a"}
    assert hints["b"] == "with `--max-failures 0` in spite of it"
    assert hints["c"] == hints["d"] == "with `--max-failures 0 --no-waves` in spite of it"
    said = fleet.cli("resume", run.id, "--yes", "--max-failures", "0", "--no-waves")
    assert (said.returncode, fleet.held()) == (1, {"a": ["s1"], "b": ["s2"], "c": ["s2"], "d": ["s2"]}), said


@pytest.mark.parametrize("begun", [True, False])
def test_a_wish_to_stop_is_told_as_such(fleet: Fleet, tmp_path: Path, begun: bool) -> None:
    """A wave that it has cut did not end badly: nothing has to be mended, and `resume` does all of it, wave by wave."""
    stop, gate = Stop(), Gate(tmp_path / "gate")
    fleet.write("shared/s1", step("s1", None, gate.code, label="shared"))
    if begun:
        future = fleet.background(lambda: fleet.upgrade(stop=stop))
        assert gate.pid
        stop.ask()
        gate.open()
        run = future.result(60)
    else:
        gate.open()
        stop.ask()
        run = fleet.upgrade(stop=stop)
    assert run.status is RunStatus.INTERRUPTED
    assert result_of(run, "c").status is (Status.CANCELLED if begun else Status.NOT_ATTEMPTED)
    for name in "bad":
        problem = result_of(run, name).problem
        assert problem is not None
        assert problem.message == "the run was stopped before this target began"
        assert problem.hint == f"`ehg-migrate resume {run.id}` goes on"
    assert fleet.run(fleet.load().plan_resume(run.id)).status is RunStatus.SUCCEEDED
    assert order(fleet)[:2] == ["c", "b"]


@pytest.mark.parametrize("code", ["", "import os"], ids=["plain", "any"])
def test_a_file_that_changes_meanwhile(fleet: Fleet, code: str) -> None:
    """A wave gets what was planned, or nothing: what a checkout brings while the others soak was read by nobody."""
    soak(fleet, 0.01)
    fleet.write("shared/s2", step("s2", "s1", code))

    def hear(text: str) -> None:
        if "the next begins" in text:
            fleet.write("shared/s2", step("s2", "s1", "op.execute('CREATE TABLE other (n int)')"))

    run = fleet.upgrade(notice=hear)
    assert [(result_of(run, n).status, code_of(result_of(run, n))) for n in "cbad"] == [
        (Status.SUCCEEDED, ""), (Status.REFUSED, "stale_plan"), *[(Status.NOT_ATTEMPTED, "not_attempted")] * 2,
    ]  # fmt: skip
    problem = result_of(run, "b").problem
    assert problem is not None
    assert problem.message == "since the plan was made it was edited or taken away: `versions/shared/s2.py`"
    assert fleet.held() == {"a": [], "b": [], "c": ["s2"], "d": []}
    assert fleet.tables("b") == []


@pytest.mark.parametrize("kept", [False, True])
def test_a_file_beside_that_changes_meanwhile(fleet: Fleet, kept: bool) -> None:
    """What is run in the first wave is run in the last, whether the plan was approved or made just now."""
    soak(fleet, 0.01)
    helper = fleet.folder / "helper.py"
    helper.write_text("SQL = 'SELECT 1'\n")
    fleet.write("shared/s2", step("s2", "s1", "import helper\nop.execute(helper.SQL)"))
    project, saved = fleet.load(), fleet.folder / "plan.json"
    assert fleet.cli("plan", "-o", str(saved)).returncode == 0

    def hear(text: str) -> None:
        if "the next begins" in text:
            helper.write_text("SQL = 'CREATE TABLE other (n int)'\n")

    run = fleet.run(project.plan_saved(saved) if kept else project.plan(), notice=hear)
    problem = result_of(run, "b").problem
    assert problem is not None
    assert problem.message == "since the plan was made it was edited or taken away: `helper.py`"
    assert fleet.held() == {"a": [], "b": [], "c": ["s2"], "d": []}


def test_a_pause_between(fleet: Fleet) -> None:
    """It begins when the wave has ended, and is told; a wish to stop ends it, and the next wave does not begin."""
    soak(fleet, 3600)
    stop, waiting = Stop(), threading.Event()

    def hear(text: str) -> None:
        if text == "wave `canary` is done; the next begins in 3600 s":
            waiting.set()

    future = fleet.background(lambda: fleet.upgrade(notice=hear, stop=stop))
    assert waiting.wait(60)
    assert fleet.held() == {"a": [], "b": [], "c": ["s2"], "d": []}
    stop.ask()
    run = future.result(60)
    assert run.status is RunStatus.INTERRUPTED
    assert [result_of(run, n).status for n in "cbad"] == [Status.SUCCEEDED, *[Status.NOT_ATTEMPTED] * 3]
    assert fleet.held() == {"a": [], "b": [], "c": ["s2"], "d": []}


@pytest.mark.parametrize("kept", [False, True])
def test_a_canary_that_was_taken_back_in_the_pause_holds_the_next_wave_back(fleet: Fleet, kept: bool) -> None:
    """Whoever saw that it does not do well took it back by another command, and the run has not heard of it."""
    soak(fleet, 0.01)
    project, saved = fleet.load(), fleet.folder / "plan.json"
    assert fleet.cli("plan", "-o", str(saved)).returncode == 0

    def hear(text: str) -> None:
        if "the next begins" in text:
            assert fleet.load().rollback(fleet.load().runs()[0].id, ["c"]).status is RunStatus.SUCCEEDED

    run = fleet.run(project.plan_saved(saved) if kept else project.plan(), notice=hear)
    assert run.status is RunStatus.FAILED
    assert [(result_of(run, n).status, code_of(result_of(run, n))) for n in "cbad"] == [
        (Status.FAILED, "not_as_left"), *[(Status.NOT_ATTEMPTED, "not_attempted")] * 3,
    ]  # fmt: skip
    assert fleet.load().show(run.id).results == run.results
    problem = result_of(run, "b").problem
    assert problem is not None
    assert problem.message == "wave `canary` did not stay as it was left (c holds nothing), so the next did not begin"
    assert ("--no-waves" in problem.hint) is not kept
    assert fleet.held() == {name: [] for name in TARGETS}
    again = fleet.load().plan_saved(saved) if kept else fleet.load().plan_resume(run.id)
    assert fleet.run(again).status is RunStatus.SUCCEEDED
    assert order(fleet)[0] == "c"


def test_a_canary_that_was_taken_back_behind_its_pause_holds_later_waves_back(fleet: Fleet) -> None:
    """While the wave behind it is at work: people look at canaries for longer than its pause."""
    soak(fleet, 0.01)

    def hear(text: str) -> None:
        if "wave 2 of 3" in text:
            assert fleet.load().rollback(fleet.load().runs()[0].id, ["c"]).status is RunStatus.SUCCEEDED

    run = fleet.upgrade(notice=hear)
    assert [(result_of(run, n).status, code_of(result_of(run, n))) for n in "cbad"] == [
        (Status.FAILED, "not_as_left"), (Status.SUCCEEDED, ""), *[(Status.NOT_ATTEMPTED, "not_attempted")] * 2,
    ]  # fmt: skip
    problem = result_of(run, "a").problem
    assert problem is not None
    assert problem.message == "wave `canary` did not stay as it was left (c holds nothing), so the next did not begin"
    assert fleet.held() == {"a": [], "b": ["s2"], "c": [], "d": []}


def test_a_canary_that_another_run_has_done_just_now_is_waited_for(fleet: Fleet) -> None:
    """Two pipelines at once: the second must not go past the pause of the first."""
    soak(fleet, 0.01)
    plan, said = fleet.plan(), list[str]()
    assert fleet.upgrade("c").status is RunStatus.SUCCEEDED
    run = fleet.run(plan, notice=said.append)
    assert [result_of(run, n).status for n in "cbad"] == [Status.UP_TO_DATE, *[Status.SUCCEEDED] * 3]
    assert said[1] == "wave `canary` is done; the next begins in 0.01 s"


def test_a_canary_that_was_taken_back_when_the_run_had_been_stopped(fleet: Fleet) -> None:
    """Nothing is missing of it by the run, but what it stood for has gone: the others do not get it by `resume`."""
    soak(fleet, 3600)
    stop = Stop()
    run = fleet.upgrade(notice=lambda text: stop.ask() if "the next begins" in text else None, stop=stop)
    assert run.status is RunStatus.INTERRUPTED
    back = fleet.run(fleet.load().plan_rollback(run.id, ["c"]))
    said = fleet.cli("resume", run.id, "--yes")
    assert (said.returncode, fleet.held()) == (2, {name: [] for name in TARGETS})
    assert f"run `{run.id}` was taken back since, on `c` by `{back.id}`" in said.stderr
    assert "without it: `ehg-migrate upgrade -t a,b,d`, which does the others" in said.stderr
    assert fleet.cli("resume", run.id, "--yes", "--no-waves").returncode == 0
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": [], "d": ["s2"]}


def test_a_canary_that_is_not_as_it_was_left_when_others_are_to_follow(fleet: Fleet) -> None:
    """Restored, or taken back by stock Alembic: no ledger knows of it, and a `resume` of a `resume` asks the target."""
    soak(fleet, 3600)
    stop = Stop()
    run = fleet.upgrade(notice=lambda text: stop.ask() if "the next begins" in text else None, stop=stop)
    cut = fleet.run(fleet.load().plan_resume(run.id), stop=stop)
    with fleet.connect("c") as c:
        c.execute("DROP TABLE s1, s2; DROP SCHEMA ehg_migrate CASCADE")
    with pytest.raises(UsageError) as raised:
        fleet.load().plan_resume(cut.id)
    (problem,) = raised.value.problems
    assert problem.code == "not_as_left"
    assert problem.message == f"earlier waves of run `{cut.id}` did not stay as they were left: c holds nothing"
    assert "without it: `ehg-migrate upgrade -t a,b,d`, which does the others" in problem.hint


def test_a_canary_that_is_down_after_the_pause_holds_the_next_wave_back(fleet: Fleet, pg: Cluster) -> None:
    """It may be for what the run did to it."""
    soak(fleet, 0.01)

    def hear(text: str) -> None:
        if "the next begins" in text:
            with pg.admin() as admin:
                admin.execute(f"ALTER DATABASE {fleet.addresses['c'].dbname} ALLOW_CONNECTIONS false".encode())

    run = fleet.upgrade(notice=hear)
    problem = result_of(run, "b").problem
    assert problem is not None
    assert problem.message == "wave `canary` did not stay as it was left (c cannot be read), so the next did not begin"
    assert {name: fleet.heads(name) for name in "abd"} == {"a": [], "b": [], "d": []}


def test_a_canary_that_went_further_in_the_pause_holds_nobody_back(fleet: Fleet) -> None:
    """What the run brought is still there; another run has brought more."""
    soak(fleet, 0.01)
    project = fleet.load()

    def hear(text: str) -> None:
        if "the next begins" in text:
            fleet.write("c/c1", step("c1", None, label="c"))
            assert fleet.load().upgrade(["c"]).status is RunStatus.SUCCEEDED

    assert project.run(project.plan(to=["s2"]), notice=hear).status is RunStatus.SUCCEEDED
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": ["c1", "s2"], "d": ["s2"]}


def test_no_pause_where_nothing_was_done_or_nothing_is_left(fleet: Fleet) -> None:
    """A canary that was up to date has not been tried by this run, and the last wave has nobody behind it."""
    fleet.run(fleet.plan("c"))
    soak(fleet, 3600)
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.write("c/c1", step("c1", None, label="c"))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    assert fleet.heads("c") == ["c1", "s2"]


def test_a_plan_shows_its_waves(fleet: Fleet) -> None:
    """As text and as JSON; a selection of one wave has none, and neither has one that shall be done at once."""
    soak(fleet, 90)
    lines = fleet.cli("plan").stdout.splitlines()
    assert lines[-4:-1] == ["wave 1, canary: c; 90 s before the next", "wave 2, early: b", "wave 3, rest: a, d"]
    data = json.loads(fleet.cli("plan", "-t", "!b", "--json").stdout)["data"]
    assert data["waves"] == [
        {"name": "canary", "targets": ["c"], "soak": 90.0},
        {"name": "rest", "targets": ["a", "d"], "soak": 0.0},
    ]
    for words in (("-t", "wave:rest"), ("--no-waves",)):
        assert json.loads(fleet.cli("plan", *words, "--json").stdout)["data"]["waves"] == []


def test_all_at_once(fleet: Fleet) -> None:
    """`--no-waves` leaves a failure to the target that has it; so does a rollback, which is in a hurry."""
    in_the_way(fleet, "c")
    said = fleet.cli("upgrade", "--no-waves", "--yes")
    assert said.returncode == 1
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": ["s1"], "d": ["s2"]}
    (run, *_) = json.loads(fleet.cli("runs", "--json").stdout)["data"]
    assert fleet.load().plan_rollback(run["id"]).waves == ()


def test_shards_do_not_wait_for_each_other(fleet: Fleet) -> None:
    """So several waves are refused before any target is asked; one wave can be split."""
    with pytest.raises(UsageError, match="a shard does not wait for the waves of other shards") as caught:
        fleet.plan("shard:1/2")
    assert caught.value.problems[0].hint == (
        "one wave after the other: `--targets wave:canary --shard ...` first; or `--no-waves`"
    )
    assert [p.target for p in fleet.plan("wave:rest", "shard:1/2").plans] == ["a"]
    said = fleet.cli("upgrade", "--shard", "1/2", "--no-waves", "--yes")
    assert (said.returncode, fleet.held()) == (0, {"a": ["s2"], "b": [], "c": ["s2"], "d": []})
