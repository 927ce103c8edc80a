"""A run that does not go on where too much has failed: the others stay as they were, and can be done later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, Result, RunStatus, Status
from ehg_migrate.project.proving import Manner
from tests.support.cli import ehg
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import Fleet, Gate, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

TARGETS = ("a", "b", "c")
STEPS = {
    "shared/s1": step("s1", None, label="shared"),
    "shared/s2": step("s2", "s1"),
}


@pytest.fixture
def fleet(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Three targets in the order of their names, of which the first has something in the way of the second step."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    made = make_fleet(pg, tmp_path / "project", {name: make_database(name) for name in TARGETS}, STEPS)
    with made.connect("a") as c:
        c.execute("CREATE TABLE s2 (n int)")
    return made


def statuses(results: tuple[Result, ...]) -> list[Status]:
    """By the order of the targets."""
    return [r.status for r in sorted(results, key=lambda r: r.target)]


def test_no_other_target_begins(fleet: Fleet) -> None:
    """They are said to be untouched, and why; the run has failed; `resume` does what is missing when it is mended."""
    run = fleet.upgrade(parallel=1, max_failures=1)
    assert run.status is RunStatus.FAILED
    assert statuses(run.results) == [Status.FAILED, Status.NOT_ATTEMPTED, Status.NOT_ATTEMPTED]
    problem = result_of(run, "c").problem
    assert problem is not None
    assert problem.message == "1 failed (a), and after 1 no other target begins"
    resume = f"`ehg-migrate resume {run.id}` goes on"
    assert problem.hint == f"when that is mended, {resume}; with `--max-failures 0` in spite of it"
    assert fleet.held() == {"a": ["s1"], "b": [], "c": []}
    with fleet.connect("a") as c:
        c.execute("DROP TABLE s2")
    project = fleet.load()
    assert project.run(project.plan_resume(run.id)).status is RunStatus.SUCCEEDED
    assert fleet.held() == {name: ["s2"] for name in TARGETS}


_MOVED = "UPDATE ehg_migrate.alembic_version SET version_num = 'x'"
_MOVES = f"""
DROP TABLE s2;
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_MOVED}; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER move AFTER INSERT ON ehg_migrate.migration_journal DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION move()
"""


@pytest.mark.parametrize(
    ("change", "status"), [(_MOVED, Status.REFUSED), (_MOVES, Status.INDETERMINATE)], ids=["refused", "unsure"]
)
def test_what_counts_as_a_failure(change: str, status: Status, fleet: Fleet) -> None:
    """Also a target that was refused, and one of which nobody knows what was done."""
    fleet.upgrade("a")
    ledger = fleet.load().settings.ledger_file(local=False)
    assert ledger is not None
    ledger.unlink()  # by which the others would come first
    plan = fleet.plan()
    with fleet.admin("a") as c:
        c.execute(change.encode())
    run = fleet.run(plan, parallel=1, max_failures=1)
    assert statuses(run.results) == [status, Status.NOT_ATTEMPTED, Status.NOT_ATTEMPTED]


def test_going_on_in_spite_of_it(fleet: Fleet) -> None:
    """What has failed is tried again before the others, which it so protects; the option of the hint does them all."""
    (fleet.folder / "alembic.ini").open("a").write("max_failures = 1\n")
    run = ehg(fleet.folder, "upgrade", "--yes", "--parallel", "1", "--rollout", "build-7", "--json").json["data"]
    again = ehg(fleet.folder, "resume", run["id"], "--yes", "--parallel", "1")
    assert (again.code, fleet.held()) == (1, {"a": ["s1"], "b": [], "c": []})
    assert "with `--max-failures 0` in spite of it" in again.err
    said = ehg(fleet.folder, "resume", run["id"], "--yes", "--parallel", "1", "--max-failures", "0")
    assert (said.code, fleet.held()) == (1, {"a": ["s1"], "b": ["s2"], "c": ["s2"]})
    assert {r.rollout for r in fleet.load().runs()} == {"build-7"}


def test_what_is_at_work_ends_all_its_steps(fleet: Fleet, tmp_path: Path) -> None:
    """It is not cut between two of them, as where somebody asks to stop."""
    gate = Gate(tmp_path / "gate")
    fleet.write("b/b1", step("b1", None, gate.code, label="b"))
    fleet.write("b/b2", step("b2", "b1", depends=("s2",)))
    future = fleet.background(lambda: fleet.upgrade(parallel=2, max_failures=1))
    assert gate.pid
    wait_until(lambda: any(e.target == "a" and e.result for e in fleet.events), "a has not ended")
    gate.open()
    run = future.result(60)
    assert statuses(run.results) == [Status.FAILED, Status.SUCCEEDED, Status.NOT_ATTEMPTED]
    assert fleet.held() == {"a": ["s1"], "b": ["b2"], "c": []}


@pytest.mark.parametrize(("words", "done"), [((), 1), (("--max-failures", "2"), 3), (("--max-failures", "0"), 3)])
def test_the_project_says_how_many(fleet: Fleet, words: tuple[str, ...], done: int) -> None:
    """`max_failures` in alembic.ini, unless the command says otherwise; the exit code is that of a failure."""
    ini = fleet.folder / "alembic.ini"
    ini.write_text(ini.read_text().replace("[ehg_migrate]\n", "[ehg_migrate]\nmax_failures = 1\n"))
    said = ehg(fleet.folder, "upgrade", "--yes", "--parallel", "1", *words)
    assert said.code == 1
    assert sum(bool(heads) for heads in fleet.held().values()) == done
    assert ("2 not_attempted (b, c)" in said.out) == (done == 1)


def test_targets_that_cannot_be_reached_are_no_failures_of_the_work(fleet: Fleet, pg: Cluster) -> None:
    """They are known before it, and stop nothing."""
    with fleet.connect("a") as c:
        c.execute("DROP TABLE s2")
    with pg.admin() as admin:
        admin.execute(f"ALTER DATABASE {fleet.addresses['c'].dbname} ALLOW_CONNECTIONS false".encode())
    run = fleet.upgrade(parallel=1, max_failures=1)
    assert statuses(run.results) == [Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"parallel": -1}, "`parallel` is -1"),
        ({"max_failures": -1}, "`max_failures` is -1"),
        ({"verify": "allways"}, "`verify` is 'allways'"),
        ({"lint": "never"}, "`lint` is 'never'"),
    ],
)
def test_a_manner_that_makes_no_sense(fleet: Fleet, how: Manner, message: str) -> None:
    """A program is told so before anything is done; with a negative `parallel` its run waited for ever."""
    with pytest.raises(UsageError, match=message):
        fleet.upgrade(**how)
    assert fleet.held() == {"a": [], "b": [], "c": []}
