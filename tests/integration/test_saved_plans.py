"""Plans kept in files: what was approved is done, or the rest of it, and nothing else."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehg_migrate.database.origin import new_run_id
from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, Origin, Result, Run, RunStatus, Status
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE, target_entry
from tests.support.running import Fleet, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

TARGETS = ("a", "b", "c")
STEPS = {
    "shared/s1": step("s1", None, label="shared"),
    "shared/s2": step("s2", "s1"),
    "c/c1": step("c1", None, label="c"),
}


@pytest.fixture
def fleet(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Three targets; the last has a branch of its own."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    return make_fleet(pg, tmp_path / "project", {name: make_database(name) for name in TARGETS}, STEPS)


@pytest.fixture
def file(fleet: Fleet) -> Path:
    """A plan for all three."""
    saved = fleet.folder / "plan.json"
    said = fleet.cli("plan", "-o", str(saved))
    assert (said.returncode, said.stderr) == (0, "")
    return saved


def do(fleet: Fleet, file: Path) -> Run:
    """The saved plan done here."""
    return fleet.run(fleet.load().plan_saved(file))


def refusal(result: Result) -> str:
    """Why a target was refused."""
    assert (result.status, result.problem and result.problem.code) == (Status.REFUSED, "stale_plan")
    assert result.problem is not None
    again = "make a new one, of the same targets (`-t`) and revisions (`--to`): `ehg-migrate plan -o FILE`"
    assert result.problem.hint == again
    return result.problem.message


def test_what_was_read_is_done(fleet: Fleet, file: Path) -> None:
    """The file holds what `--json` prints, and no secret; the run does that, and once more there is nothing to do."""
    assert json.loads(file.read_text()) == json.loads(fleet.cli("plan", "--json").stdout)
    assert CANARY not in file.read_text()
    said = fleet.cli("upgrade", "--plan", str(file), "--yes")
    assert (said.returncode, said.stdout.split(": ")[1]) == (0, "3 succeeded (a, b, c)\n")
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": ["c1", "s2"]}
    said = fleet.cli("upgrade", "--plan", str(file), "--yes")
    assert (said.returncode, said.stdout.split(": ")[1]) == (0, "3 up_to_date (a, b, c)\n")


def test_the_rest_of_it(fleet: Fleet, file: Path) -> None:
    """Where a part was done meanwhile, what is left was approved, too."""
    fleet.run(fleet.load().plan(("a",), ("s1",)))
    run = do(fleet, file)
    assert {r.target: [s.revision for s in r.steps] for r in run.results} == {
        "a": ["s2"], "b": ["s1", "s2"], "c": ["s1", "s2", "c1"],
    }  # fmt: skip


def test_the_rest_of_lines_that_do_not_depend_on_each_other(fleet: Fleet) -> None:
    """Planned from in between, they would come in another order than was approved."""
    fleet.write("c/a", step("c2", "c1", depends=("s2",)))
    fleet.write("c/b", step("c3", "c1", depends=("s1",)))
    saved = fleet.folder / "plan.json"
    assert fleet.cli("plan", "-t", "c", "-o", str(saved)).returncode == 0
    (approved,) = [[s.revision for s in p.steps] for p in fleet.plan("c").plans]
    others: list[bool] = []
    for number in range(1, len(approved)):
        stopped = fleet.load().plan_saved(saved)
        (plan,) = stopped.plans
        fleet.run(replace(stopped, plans=(replace(plan, steps=plan.steps[:1], goal=plan.steps[0].heads_after),)))
        others.append([s.revision for p in fleet.plan("c").plans for s in p.steps] != approved[number:])
        (rest,) = fleet.load().plan_saved(saved).plans
        assert [s.revision for s in rest.steps] == approved[number:]
    assert any(others)
    assert do(fleet, saved).status is RunStatus.SUCCEEDED
    assert [revision for _, revision in fleet.journal("c")] == approved


def test_an_empty_part_of_a_selection(fleet: Fleet) -> None:
    """Has nothing to do, by a saved plan too: not the whole fleet, and no mistake."""
    saved = fleet.folder / "empty.json"
    assert fleet.cli("plan", "--shard", "9/9", "-o", str(saved)).returncode == 0
    said = fleet.cli("upgrade", "--plan", str(saved), "--yes")
    assert (said.returncode, said.stdout.split(": ")[1]) == (0, "no targets\n")
    assert fleet.held() == {"a": [], "b": [], "c": []}
    run = fleet.upgrade()
    assert fleet.cli("rollback", run.id, "--shard", "9/9", "--yes").returncode == 0


@pytest.mark.parametrize("verb", ["resume", "retry"])
def test_what_is_missing_is_not_planned_anew(fleet: Fleet, file: Path, verb: str) -> None:
    """Nobody has approved what would be planned now: the revision that has come since would be done, too."""
    with fleet.connect("a") as c:
        c.execute("CREATE TABLE s2 (n int)")
    run = do(fleet, file)
    assert run.saved_plan == hashlib.sha256(file.read_bytes()).hexdigest()
    with fleet.connect("a") as c:
        c.execute("DROP TABLE s2")
    fleet.write("shared/s3", step("s3", "s2"))
    said = fleet.cli(verb, run.id, "--yes")
    assert (said.returncode, said.stdout) == (2, "")
    assert (
        f"error: run `{run.id}` did a saved plan (SHA-256 {run.saved_plan[:12]}), and would be planned anew"
        in said.stderr
    )
    assert "hint: `ehg-migrate upgrade --plan FILE` with the same file does the rest of it" in said.stderr
    assert fleet.held()["a"] == ["s1"]
    assert f", by a saved plan (SHA-256 {run.saved_plan[:12]})\n" in fleet.cli("show", run.id).stdout
    assert json.loads(fleet.cli("show", run.id, "--json").stdout)["data"]["saved_plan"] == run.saved_plan


def test_what_died_is_not_planned_anew(fleet: Fleet, file: Path) -> None:
    """The ledger has known it since the run began."""
    project = fleet.load()
    plan = project.plan_saved(file)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        lost = Origin("somebody", socket.gethostname(), process.pid, "", "0")
        run = Run(new_run_id(), plan.verb, plan.selector, lost, datetime.now(UTC), targets=plan.targets)
        with project.ledger() as ledger:
            ledger.start(replace(run, saved_plan=plan.saved_plan))
        process.kill()
    assert project.show(run.id).status is RunStatus.DIED
    with pytest.raises(UsageError) as raised:
        project.plan_resume(run.id)
    assert [p.code for p in raised.value.problems] == ["saved_plan"]


def test_what_failed_is_done_by_the_same_file(fleet: Fleet, file: Path) -> None:
    """No hint names `resume`, which leaves such a run alone."""
    with fleet.connect("a") as c:
        c.execute("CREATE TABLE s2 (n int)")
    said = fleet.cli("upgrade", "--plan", str(file), "--yes", "--max-failures", "1", "-p", "1")
    assert (said.returncode, fleet.held()) == (1, {"a": ["s1"], "b": [], "c": []}), said
    assert (
        "hint: when that is mended, `ehg-migrate upgrade --plan FILE` with the file of its plan goes on; with "
        "`--max-failures 0` in spite of it" in said.stderr
    )
    assert "`ehg-migrate resume" not in said.stderr
    assert (
        "  hint: when it is mended, `ehg-migrate upgrade --plan FILE` with the same file does the rest" in said.stderr
    )
    with fleet.connect("a") as c:
        c.execute("DROP TABLE s2")
    run = do(fleet, file)
    assert [n.code for n in run.notes] == []
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": ["c1", "s2"]}


def test_a_revision_that_is_new(fleet: Fleet, file: Path) -> None:
    """It was not read by whoever approved: the target that would get it is left alone, and that is no failure."""
    fleet.write("c/c2", step("c2", "c1"))
    run = do(fleet, file)
    assert refusal(result_of(run, "c")) == (
        "the revisions are not those of the saved plan; its goal is another: `c2`, `s2`"
    )
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": []}
    said = fleet.cli("upgrade", "--plan", str(file), "--yes")
    assert said.returncode == 4, said
    assert "does the rest" not in said.stderr, "with the same file it would be refused for ever"
    assert (
        "for what it does not fit any more: `ehg-migrate plan -o FILE` of the same targets, and that one approved"
        in said.stderr
    )


def test_a_file_that_was_edited(fleet: Fleet, file: Path) -> None:
    """The same revisions with other contents are others."""
    fleet.write("c/c1", step("c1", None, "pass", label="c"))
    assert refusal(result_of(do(fleet, file), "c")) == (
        "the revisions are not those of the saved plan; other files since: `c1`"
    )
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": []}


def test_a_step_that_was_done_has_no_function_any_more(fleet: Fleet, file: Path) -> None:
    """Its target is refused, as those are that still want it; that is no end of the command."""
    fleet.run(fleet.load().plan(("a",), ("s1",)))
    step_file = fleet.folder / "versions" / "shared" / "s1.py"
    step_file.write_text(step_file.read_text().replace("def upgrade(", "def former("))
    assert {(r.target, r.status, code_of(r)) for r in do(fleet, file).results} == {
        (name, Status.REFUSED, "no_upgrade") for name in TARGETS
    }


def test_a_file_that_a_revision_takes_in(fleet: Fleet) -> None:
    """What is run is its text, too; targets whose steps do not take it in are done."""
    (fleet.folder / "helper.py").write_text("SQL = 'SELECT 1'\n")
    text = fleet.folder / "versions" / "c" / "c.sql"
    text.write_text("SELECT 2")
    code = "import helper, pathlib\nop.execute(helper.SQL)\n"
    code += "op.execute(pathlib.Path(__file__).with_name('c.sql').read_text())"
    fleet.write("c/c1", step("c1", None, code, label="c"))
    saved = fleet.folder / "plan.json"
    assert fleet.cli("plan", "-o", str(saved)).returncode == 0
    text.write_text("CREATE TABLE unseen (n int)")
    run = do(fleet, saved)
    assert refusal(result_of(run, "c")) == (
        "the revisions are not those of the saved plan; other files since: `versions/c/c.sql`"
    )
    assert fleet.held() == {"a": ["s2"], "b": ["s2"], "c": []}
    text.write_text("SELECT 2")
    (fleet.folder / "helper.py").write_text("SQL = 'SELECT 3'\n")
    assert refusal(result_of(do(fleet, saved), "c")).endswith("other files since: `helper.py`")
    (fleet.folder / "helper.py").write_text("SQL = 'SELECT 1'\n")
    assert do(fleet, saved).status == "succeeded"


def test_a_target_that_was_taken_back(fleet: Fleet, file: Path) -> None:
    """It holds less than when the plan was made, so it would get a step that nobody has read."""
    fleet.upgrade("a")
    assert fleet.cli("plan", "-o", str(file)).returncode == 0
    fleet.run(fleet.load().plan_downgrade("a", ("s1",)))
    assert refusal(result_of(do(fleet, file), "a")) == "the plan was made for `s2`, and the target holds `s1`"
    assert fleet.heads("a") == ["s1"]


def test_a_target_that_could_not_be_read(fleet: Fleet, pg: Cluster, tmp_path: Path) -> None:
    """For it nothing was approved."""
    saved = tmp_path / "plan.json"
    database = fleet.addresses["b"].dbname
    with pg.admin() as admin:
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false".encode())
        assert fleet.cli("plan", "-o", str(saved)).returncode == 1
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())
    assert refusal(result_of(do(fleet, saved), "b")) == "the saved plan has no steps for this target"
    assert fleet.held() == {"a": ["s2"], "b": [], "c": ["c1", "s2"]}


def test_waves(fleet: Fleet, file: Path) -> None:
    """Who comes first was read, too; a plan that was made without waves is done without."""
    waves = fleet.folder / "targets" / "waves.yaml"
    waves.write_text("waves: [{name: canary, targets: [b]}]\n")
    assert fleet.load().plan_saved(file).waves == ()
    assert fleet.cli("plan", "-o", str(file)).returncode == 0
    assert [w.name for w in fleet.load().plan_saved(file).waves] == ["canary", "rest"]
    with fleet.connect("b") as c:
        c.execute("CREATE TABLE s1 (n int)")
    held_back = result_of(do(fleet, file), "a").problem
    assert held_back is not None
    way = "`ehg-migrate upgrade --plan FILE` with the file of its plan"
    assert held_back.hint == f"when that is mended, {way} goes on", (
        "not with `--no-waves`, which goes with no saved plan"
    )
    waves.write_text("waves: [{name: canary, targets: [a]}]\n")
    said = fleet.cli("upgrade", "--plan", str(file), "--yes")
    assert (said.returncode, said.stderr.splitlines()[0]) == (
        2, "error: the waves are others than those of the saved plan",
    )  # fmt: skip
    assert fleet.held() == {"a": [], "b": [], "c": []}


def rewrite(fleet: Fleet, target: str, **more: Any) -> None:
    """The target's entry in targets/ with other fields."""
    (path,) = (fleet.folder / "targets").glob("*.yaml")
    entries = yaml.safe_load(path.read_text())
    entries["targets"][target] |= more
    path.write_text(yaml.safe_dump(entries))


def test_a_target_that_is_another_database_now(fleet: Fleet, file: Path, make_database: MakeDatabase) -> None:
    """The name and the revisions are what was approved; who reads a plan approves it for the database, too."""
    before, now = fleet.addresses["b"], make_database("b")
    rewrite(fleet, "b", url=target_entry(now)["url"])
    run = do(fleet, file)
    assert refusal(result_of(run, "b")) == f"it is `{now}`, and the saved plan was made for `{before}`"
    assert fleet.held() == {"a": ["s2"], "b": [], "c": ["c1", "s2"]}
    assert Fleet(fleet.pg, fleet.folder, {"b": now}).heads("b") == []


def test_an_entry_that_gives_other_arguments(fleet: Fleet, file: Path) -> None:
    """They are a part of what a revision does; a longer time limit is not."""
    rewrite(fleet, "a", deadline="2h", tags=["new"])
    rewrite(fleet, "b", x={"tenant": "other"})
    run = do(fleet, file)
    assert refusal(result_of(run, "b")) == "its entry in targets/ is not that of the saved plan"
    assert fleet.held() == {"a": ["s2"], "b": [], "c": ["c1", "s2"]}


def test_a_target_without_its_entry(fleet: Fleet, file: Path) -> None:
    """Nobody knows which database was approved."""
    form = json.loads(file.read_text())
    form["data"]["entries"] = [e for e in form["data"]["entries"] if e["target"] != "b"]
    file.write_text(json.dumps(form))
    run = do(fleet, file)
    assert refusal(result_of(run, "b")) == "its entry in targets/ is not that of the saved plan"
    assert fleet.held() == {"a": ["s2"], "b": [], "c": ["c1", "s2"]}


def test_a_plan_of_embedded_databases(fleet: Fleet) -> None:
    """It is not done to the targets themselves, though it is the same steps of the same names."""
    saved = fleet.folder / "local.json"
    assert fleet.cli("plan", "--local", "-o", str(saved)).returncode == 0
    said = fleet.cli("upgrade", "--plan", str(saved), "--yes")
    assert said.returncode == 4, said
    address = fleet.addresses["a"]
    assert f"a: refused\n  it is `{address}`, and the saved plan was made for `--local`\n" in said.stderr
    assert fleet.held() == {"a": [], "b": [], "c": []}
    said = fleet.cli("upgrade", "--local", "--plan", str(saved), "--yes")
    assert (said.returncode, said.stdout.split(": ")[1]) == (0, "3 succeeded (a, b, c)\n")


def test_a_target_that_would_get_nothing_now(fleet: Fleet) -> None:
    """A branch was taken from it, so the wish does not concern it any more: what was approved is not done."""
    fleet.write("crm/m1", step("m1", None, label="crm"))
    for name in "ab":
        rewrite(fleet, name, branches=["crm"])
    saved = fleet.folder / "plan.json"
    assert fleet.cli("plan", "--to", "crm@head", "-o", str(saved)).returncode == 0
    rewrite(fleet, "a", branches=[])
    run = do(fleet, saved)
    assert refusal(result_of(run, "a")).startswith("the saved plan has steps for it, and now it gets none: ")
    assert result_of(run, "c").status is Status.SKIPPED
    assert fleet.held() == {"a": [], "b": ["m1"], "c": []}


def test_steps_in_another_order(fleet: Fleet, file: Path) -> None:
    """Which of two lines of a branch comes first is decided by the files' names; heads and contents are the same."""
    fleet.write("shared/b", step("u1", None))
    fleet.write("shared/d", step("t1", None))
    assert fleet.cli("plan", "-o", str(file)).returncode == 0
    (fleet.folder / "versions/shared/b.py").rename(fleet.folder / "versions/shared/e.py")
    planned = [s.revision for p in fleet.plan("a").plans for s in p.steps]
    assert sorted(planned) == ["s1", "s2", "t1", "u1"]
    assert refusal(result_of(do(fleet, file), "a")) == (
        "the revisions are not those of the saved plan; they come in another order: "
        + ", ".join(f"`{r}`" for r in planned)
    )
    assert fleet.held() == {"a": [], "b": [], "c": []}


def test_a_pipe_that_never_ends(fleet: Fleet) -> None:
    """It has no size, so it is read only as far as a plan may reach."""
    with pytest.raises(UsageError, match="it is too large for a plan"):
        fleet.load().plan_saved(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["gone", "all", "!b", "tag:x", "shard:1/2", "*\n::error::x"])
def test_a_target_that_is_gone(fleet: Fleet, file: Path, name: str) -> None:
    """Nothing begins where the fleet is not the one that was planned for; what the file has there is no selector."""
    data = json.loads(file.read_text())
    data["data"]["plans"][2]["target"] = name
    file.write_text(json.dumps(data))
    with pytest.raises(UsageError) as caught:
        fleet.load().plan_saved(file)
    (problem,) = caught.value.problems
    assert problem.message == f"the saved plan is for `{' '.join(name.split())}`, which targets/ does not have"


def test_a_selection_that_is_a_command(fleet: Fleet, file: Path) -> None:
    """Whoever can write the file writes nothing that a pipeline obeys into the record of runs, which is shown later."""
    data = json.loads(file.read_text())
    data["data"]["selector"] = "all\n::error::x ##vso[task.complete]\x1b[31m"
    file.write_text(json.dumps(data))
    run = do(fleet, file)
    assert "##vso[" not in run.selector
    assert run.selector.splitlines() == [run.selector]
    assert "\x1b" not in run.selector


def _changed(**more: Any) -> Callable[[Any], Any]:
    return lambda form: {**form, **more}


def _data(**more: Any) -> Callable[[Any], Any]:
    return lambda form: {**form, "data": {**form["data"], **more}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _: [], "it is not what `plan -o` writes"),
        (_changed(kind="run"), "it is not what `plan -o` writes"),
        (_changed(schema_version=99), "it was written by another version of `ehg-migrate`"),
        (_changed(data=None), "it is damaged: the whole: "),
        (_data(plans=[{"target": "a"}]), "it is damaged: plans[0].verb: field required; "),
        (_data(plans="S3cretCanary"), "it is damaged: plans: "),
        (_data(verb="downgrade"), "it is a plan of `downgrade`"),
        (_data(plans=[]), "it names no target"),
    ],
)
def test_files_that_are_no_plan(fleet: Fleet, file: Path, change: Callable[[Any], Any], why: str) -> None:
    """They are refused before a target is asked, and nothing of them is quoted."""
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(UsageError) as caught:
        fleet.load().plan_saved(file)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"`{file}` cannot be used as a plan: {why}")
    assert "S3cretCanary" not in problem.message


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\0", "NaN,"])
def test_files_that_are_not_json(fleet: Fleet, file: Path, text: str) -> None:
    """Such as one whose writing was cut."""
    file.write_text(text)
    with pytest.raises(UsageError, match="cannot be used as a plan: it is not JSON"):
        fleet.load().plan_saved(file)


def test_words_that_contradict_each_other(fleet: Fleet, file: Path) -> None:
    """The plan says which targets, revisions and waves; and a plan that cannot be written is no plan."""
    for words in (("-t", "a"), ("--to", "s1"), ("--shard", "1/2"), ("--no-waves",)):
        said = fleet.cli("upgrade", "--plan", str(file), "--yes", *words)
        assert (said.returncode, "leave out `--targets`" in said.stderr) == (2, True), said
    said = fleet.cli("plan", "-o", str(fleet.folder / "none" / "plan.json"))
    assert (said.returncode, "There is no folder" in said.stderr) == (2, True), said
    said = fleet.cli("plan", "-o", "/dev/full")
    assert (said.returncode, "No space left on device" in said.stderr) == (1, True), said
    assert fleet.held() == {"a": [], "b": [], "c": []}
