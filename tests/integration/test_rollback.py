"""Runs taken back: to exactly the heads and the schema from before, or not at all and with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ehg_migrate.cli import exits
from ehg_migrate.errors import UsageError
from ehg_migrate.model import Address, Run, StateKind, Status, Verb
from ehg_migrate.project import Project
from tests.conftest import MakeProject
from tests.integration.fleets import SHARED, entries, execute, journal, making, own, rows, statuses, tables
from tests.support.cli import ALEMBIC, ehg
from tests.support.postgres import Cluster
from tests.support.project import add_revision, revision

MakeDatabase = Callable[[str], Address]

CONCURRENTLY = """\
with op.get_context().autocommit_block():
    op.execute("{}")
"""

HISTORY = {
    "shared/1": revision("s1", up="CREATE TYPE mood AS ENUM ('sad', 'ok')", down_sql="DROP TYPE mood", label="shared"),
    "shared/2": revision(
        "s2",
        "s1",
        up="CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, mood mood)",
        down_sql="DROP TABLE person",
    ),
    # a fork, and its merge with a dependency
    "shared/3": revision("s3a", "s2", up="ALTER TABLE person ADD a int", down_sql="ALTER TABLE person DROP a"),
    "shared/4": revision("s3b", "s2", up="ALTER TABLE person ADD b int", down_sql="ALTER TABLE person DROP b"),
    "shared/5": revision(
        "s4", ["s3a", "s3b"], up="CREATE VIEW both_of AS SELECT a, b FROM person", down_sql="DROP VIEW both_of"
    ),
    "shared/6": revision(
        "s5",
        "s4",
        up_code=CONCURRENTLY.format("CREATE INDEX CONCURRENTLY person_name ON person (name)"),
        down_code=CONCURRENTLY.format("DROP INDEX CONCURRENTLY person_name"),
    ),
    "crm/1": revision(
        "c1",
        up="CREATE TABLE deal (id int PRIMARY KEY, person int REFERENCES person)",
        down_sql="DROP TABLE deal",
        label="crm",
        depends=["s2"],
    ),
    "crm/2": revision(
        "c2",
        "c1",
        up_code="op.get_bind().exec_driver_sql(\"INSERT INTO person (id, name) VALUES (1, 'x')\")",
        down_code='op.get_bind().exec_driver_sql("DELETE FROM person WHERE id = 1")',
        depends=["s3a"],
    ),
    "a/1": revision(
        "a1",
        up="CREATE VIEW deals AS SELECT d.id, p.a FROM deal d JOIN person p ON p.id = d.person",
        down_sql="DROP VIEW deals",
        label="a",
        depends=["c2", "s3b"],
    ),
    "a/2": revision("a2", "a1", up="CREATE TABLE a2 ()", down_sql="DROP TABLE a2", depends=["s5"]),
    "b/1": revision("b1", up="CREATE TABLE b1 ()", down_sql="DROP TABLE b1", label="b", depends=["s4", "c1"]),
}


@pytest.fixture
def addresses(make_database: MakeDatabase) -> dict[str, Address]:
    """A fresh database for each of a, b and c."""
    return {name: make_database(name) for name in "abc"}


@pytest.fixture
def project(make_project: MakeProject, addresses: dict[str, Address], tmp_path: Path) -> Project:
    """`a` and `b` have the group crm and branches of their own, `c` has only shared."""
    more = {"a": {"branches": ["crm"]}, "b": {"branches": ["crm"]}}
    return Project.load(make_project(tmp_path, entries(addresses, **more), HISTORY))


def look(pg: Cluster, addresses: Mapping[str, Address]) -> dict[str, tuple[frozenset[str], str]]:
    """Of each target its version rows and the schema as pg_dump gives it."""
    return {name: (frozenset(rows(pg, a)), pg.dump_schema(a.dbname)) for name, a in addresses.items()}


def reload(project: Project) -> Project:
    """With the files as they are now."""
    return Project.load(project.settings.root)


def problems(run: Run) -> dict[str, str]:
    """The codes of what went wrong, by target."""
    return {r.target: r.problem.code for r in run.results if r.problem}


# --- there and back


def test_a_run_is_taken_back_to_the_same_heads_and_schema(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """Over merges, several dependencies, CONCURRENTLY and data; and again forward, and again back."""
    project.upgrade(to=["s3a"])
    before = look(pg, addresses)
    run = project.upgrade()
    after = look(pg, addresses)
    assert [sorted(heads) for heads, _ in after.values()] == [["a2"], ["b1", "c2", "s5"], ["s5"]]

    back = project.rollback(run.id)
    assert statuses(back) == dict.fromkeys("abc", Status.SUCCEEDED)
    assert look(pg, addresses) == before
    assert back.undoes == run.id
    assert {s.kind for s in project.status()} == {StateKind.PENDING}

    forward = project.rollback(back.id)
    assert look(pg, addresses) == after
    project.rollback(forward.id)
    assert look(pg, addresses) == before


def test_a_rollback_that_is_said_once_more(pg: Cluster, project: Project, addresses: dict[str, Address]) -> None:
    """By a job that is repeated: what was applied again since, over all kinds of steps, is the work of another run."""
    run = project.upgrade()
    back = project.rollback(run.id)
    newer = project.upgrade()
    now = look(pg, addresses)
    again = project.rollback(run.id)
    assert problems(again) == dict.fromkeys("abc", "rollback_inexact")
    assert {str(r.problem) for r in again.results} == {
        f"run `{run.id}` cannot be taken back exactly: nothing of it is left, and later runs changed the target: "
        f"`{newer.id}`\n"
        "  hint: there is nothing to take back: `ehg-migrate history TARGET` shows who did, and what was done since"
    }
    assert look(pg, addresses) == now
    done = [e for e in project.history("a") if e.event == "done"]
    assert {(e.run, e.undoes) for e in done} == {(run.id, None), (back.id, run.id), (newer.id, None)}
    assert statuses(project.rollback(newer.id)) == dict.fromkeys("abc", Status.SUCCEEDED)
    assert statuses(project.rollback(run.id)) == dict.fromkeys("abc", Status.UP_TO_DATE)


def test_runs_are_taken_back_one_after_the_other(pg: Cluster, project: Project, addresses: dict[str, Address]) -> None:
    """Down to nothing; a run that others stand on is refused until those are gone."""
    runs = [project.upgrade(to=[to]) for to in ("s2", "s4", "heads")]
    assert problems(project.rollback(runs[0].id)) == dict.fromkeys("abc", "rollback_inexact")
    for run, heads in ((runs[2], {"s4"}), (runs[1], {"s2"}), (runs[0], set())):
        assert statuses(project.rollback(run.id)) == dict.fromkeys("abc", Status.SUCCEEDED)
        assert {name: rows(pg, a) for name, a in addresses.items()} == dict.fromkeys("abc", heads)
    assert {name: tables(pg, a) for name, a in addresses.items()} == {"a": set(), "b": set(), "c": set()}


def test_a_downgrade_is_taken_back(pg: Cluster, project: Project, addresses: dict[str, Address]) -> None:
    """By going up again, with everything that it took along."""
    project.upgrade()
    before = look(pg, addresses)
    down = project.downgrade("a", ["crm@base", "s2"])
    assert rows(pg, addresses["a"]) == {"s2"}
    project.rollback(down.id)
    assert look(pg, addresses) == before


def test_only_some_targets_are_taken_back(pg: Cluster, project: Project, addresses: dict[str, Address]) -> None:
    """The others stay as the run left them, and can follow later; who is back already has nothing to do."""
    run = project.upgrade()
    after = look(pg, addresses)
    assert statuses(project.rollback(run.id, ["b"])) == {"b": Status.SUCCEEDED}
    now = look(pg, addresses)
    assert now["b"][0] == frozenset()
    assert (now["a"], now["c"]) == (after["a"], after["c"])
    rest = project.rollback(run.id)
    assert statuses(rest) == {"a": Status.SUCCEEDED, "b": Status.UP_TO_DATE, "c": Status.SUCCEEDED}
    assert [n.code for r in rest.results if r.target == "b" for n in r.notes] == ["taken_back"]
    assert {name: rows(pg, a) for name, a in addresses.items()} == {"a": set(), "b": set(), "c": set()}


def test_a_failed_run_is_taken_back_where_it_did_something(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """What it had committed before it failed goes; where it had done nothing, nothing is done."""
    project.upgrade(to=["s2"])
    before = look(pg, addresses)
    # as if somebody had been there by hand: `a` fails in its own branch, `c` at once
    execute(pg, addresses["a"], "CREATE TABLE a2 ()")
    execute(pg, addresses["c"], "ALTER TABLE person ADD a text, ADD b text")
    run = project.upgrade()
    assert statuses(run) == {"a": Status.FAILED, "b": Status.SUCCEEDED, "c": Status.FAILED}
    assert rows(pg, addresses["a"]) == {"a1", "s5"}

    back = project.rollback(run.id)
    assert statuses(back) == {"a": Status.SUCCEEDED, "b": Status.SUCCEEDED, "c": Status.UP_TO_DATE}
    execute(pg, addresses["a"], "DROP TABLE a2")
    execute(pg, addresses["c"], "ALTER TABLE person DROP a, DROP b")
    assert look(pg, addresses) == before
    completed = project.upgrade(["c"])  # what it had failed at is no work of the run, and not called taken back
    assert problems(project.rollback(run.id, ["c"])) == {"c": "rollback_inexact"}
    project.rollback(completed.id)
    assert statuses(project.rollback(run.id, ["c"])) == {"c": Status.UP_TO_DATE}


@pytest.mark.parametrize("again", ["rollback", "resume", "retry"])
def test_a_rollback_that_failed_goes_on_when_it_is_called_again(
    again: str, pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """What stopped it is mended, the same command takes the rest back, and so does what completes the stopped run."""
    run = project.upgrade(["c"])
    execute(pg, addresses["c"], "CREATE VIEW by_hand AS SELECT name FROM person")
    stopped = project.rollback(run.id)
    assert statuses(stopped) == {"c": Status.FAILED}
    (result,) = stopped.results
    assert result.problem
    assert result.problem.hint.endswith(
        "else correct the revision; a corrected revision is another file, which a "
        "rollback refuses: it names what to say then, `ehg-migrate downgrade TARGET --to REV`"
    )
    assert rows(pg, addresses["c"]) == {"s2"}
    execute(pg, addresses["c"], "DROP VIEW by_hand")
    if again == "rollback":
        goes_on = project.rollback(run.id)
    else:
        goes_on = project.run(project.plan_resume(stopped.id, failed_only=again == "retry"))
    assert (goes_on.verb, statuses(goes_on)) == (Verb.ROLLBACK, {"c": Status.SUCCEEDED})
    assert rows(pg, addresses["c"]) == set()


def test_what_somebody_took_away_by_hand_before_the_rollback(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """The hint does not want it made anew, only to be dropped."""
    run = project.upgrade(["c"], to=["s1"])
    execute(pg, addresses["c"], "DROP TYPE mood")
    (result,) = project.rollback(run.id).results
    assert result.problem
    assert result.problem.hint.startswith(
        "was it taken away here by hand? If `ehg-migrate compare TARGET heads:base` shows nothing of this step any "
        "more, `alembic -x target=TARGET stamp --purge base` says that it is taken back; else make it anew"
    )


@pytest.mark.parametrize("resumed", [False, True], ids=["itself", "what resumed it"])
def test_what_was_taken_back_is_not_completed(
    resumed: bool, pg: Cluster, project: Project, addresses: dict[str, Address], make_project: MakeProject
) -> None:
    """A job that resumes what failed would bring it to the targets again, behind whoever has taken it back.

    Where another of its targets has gone meanwhile, too: the hint of that would do so.
    """
    for name in "bc":
        execute(pg, addresses[name], "CREATE TABLE person ()")
    first = failed = project.upgrade()
    assert statuses(failed) == {"a": Status.SUCCEEDED, "b": Status.FAILED, "c": Status.FAILED}
    if resumed:
        failed = project.run(project.plan_resume(first.id))
    back = project.rollback(failed.id)
    for failed_only in (False, True):
        with pytest.raises(UsageError) as caught:
            project.plan_resume(first.id, failed_only=failed_only)
        assert str(caught.value) == (
            f"run `{first.id}` was taken back since, on `b`, `c` by `{back.id}`\n"
            "  hint: `ehg-migrate upgrade -t b,c` does it again, where that is what you want"
        )
    left = {name: a for name, a in addresses.items() if name != "c"}
    make_project(project.settings.root, entries(left, a={"branches": ["crm"]}, b={"branches": ["crm"]}), {})
    with pytest.raises(UsageError) as caught:
        reload(project).plan_resume(first.id)
    assert str(caught.value) == (
        f"run `{first.id}` was taken back since, on `b` by `{back.id}`\n"
        "  hint: `ehg-migrate upgrade -t b` does it again, where that is what you want"
    )
    for name in "bc":
        execute(pg, addresses[name], "DROP TABLE person")
    assert statuses(project.upgrade(["b", "c"])) == {"b": Status.SUCCEEDED, "c": Status.SUCCEEDED}
    assert statuses(project.run(project.plan_resume(first.id))) == {"b": Status.UP_TO_DATE, "c": Status.UP_TO_DATE}


def test_what_a_downgrade_took_back_is_not_completed(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """As after a rollback, where the run had brought it; what it had not is no matter of the run."""
    project.upgrade(["c"], to=["s2"])
    for name in "bc":
        execute(pg, addresses[name], "CREATE TABLE both_of ()")
    run = project.upgrade(["b", "c"])
    assert statuses(run) == {"b": Status.FAILED, "c": Status.FAILED}
    back = project.downgrade("b", ["s2"])
    project.downgrade("c", ["s3a", "s3b"])
    for name in "bc":
        execute(pg, addresses[name], "DROP TABLE both_of")
    with pytest.raises(UsageError) as caught:
        project.plan_resume(run.id)
    assert str(caught.value) == (
        f"run `{run.id}` was taken back since, on `b` by `{back.id}`\n"
        "  hint: `ehg-migrate upgrade -t b` does it again, where that is what you want; without it: "
        "`ehg-migrate upgrade -t c`, which does the others"
    )
    assert statuses(project.upgrade(["b"])) == {"b": Status.SUCCEEDED}
    assert statuses(project.run(project.plan_resume(run.id))) == {"b": Status.UP_TO_DATE, "c": Status.SUCCEEDED}


def test_an_older_checkout_completes_nothing_that_it_does_not_have(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """There nothing would be missing, and the run would be called complete where the targets lack what it was for."""
    root = project.settings.root
    add_revision(root, "shared/7", revision("s6", "s5", up="CREATE TABLE newest ()"))
    execute(pg, addresses["c"], "CREATE TABLE newest ()")
    run = reload(project).upgrade(["c"])
    assert statuses(run) == {"c": Status.FAILED}
    (root / "versions/shared/7.py").unlink()
    for failed_only in (False, True):
        with pytest.raises(UsageError) as caught:
            reload(project).plan_resume(run.id, failed_only=failed_only)
        assert caught.value.problems[0].code == "newer_checkout"
        assert f"run `{run.id}` was to bring `s6`, which this checkout does not have" in str(caught.value)
        assert "`ehg-migrate upgrade -t c` brings what this one has" in str(caught.value)
    assert statuses(reload(project).upgrade(["c"])) == {"c": Status.UP_TO_DATE}


def test_without_the_ledger_the_journals_suffice(pg: Cluster, project: Project, addresses: dict[str, Address]) -> None:
    """The file of the ledger is gone; the whole id is then needed, the targets are found."""
    run = project.upgrade(["a", "b"])
    ledger = project.settings.root / ".ehg" / "ledger.sqlite"
    assert ledger.is_file()
    for file in ledger.parent.glob("ledger.sqlite*"):
        file.unlink()
    back = reload(project).rollback(run.id)
    assert statuses(back) == {"a": Status.SUCCEEDED, "b": Status.SUCCEEDED, "c": Status.UP_TO_DATE}
    assert {name: rows(pg, addresses[name]) for name in "ab"} == {"a": set(), "b": set()}


def test_the_beginning_of_an_id_is_enough(project: Project) -> None:
    """As long as the ledger knows the run, and no other begins like it."""
    run = project.upgrade(["c"])
    assert project.plan_rollback(run.id[:-2]).undoes == run.id


def test_an_unknown_run_is_a_mistake(project: Project) -> None:
    """Neither the ledger nor any journal has it."""
    project.upgrade(["c"])
    with pytest.raises(UsageError) as caught:
        project.rollback("20200101-000000-nobody")
    assert str(caught.value) == (
        "no selected target has a trace of run `20200101-000000-nobody`\n"
        "  hint: `ehg-migrate runs` lists the runs, `ehg-migrate history TARGET` what was done to a target"
    )


def test_an_unknown_run_is_a_mistake_where_a_target_is_down_too(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """Nobody is called as he was before a run whose id is misspelt, for one who cannot be asked."""
    with pg.admin() as c:
        c.execute(f"ALTER DATABASE {addresses['b'].dbname} ALLOW_CONNECTIONS false".encode())
    with pytest.raises(UsageError) as caught:
        project.plan_rollback("20200101-000000-nobody")
    assert str(caught.value) == (
        "no selected target has a trace of run `20200101-000000-nobody`, of those that can be read: `b` cannot\n"
        "  hint: `ehg-migrate runs` lists the runs, `ehg-migrate history TARGET` what was done to a target; if it was "
        "there: `ehg-migrate rollback 20200101-000000-nobody -t b`"
    )
    (alone,) = project.plan_rollback("20200101-000000-nobody", ["b"]).blocked
    assert alone.trouble.code == "connect_failed"


def test_a_run_that_changed_nothing_is_not_called_unknown(project: Project) -> None:
    """The ledger has it, and what it did."""
    project.upgrade(["c"])
    again = project.upgrade(["c"])
    with pytest.raises(UsageError) as caught:
        project.rollback(again.id)
    assert str(caught.value) == (
        f"run `{again.id}` changed no selected target, so nothing is to be taken back\n"
        f"  hint: `ehg-migrate show {again.id}` tells how it ended"
    )


def test_a_target_that_has_gone_is_not_passed_over(
    pg: Cluster, project: Project, addresses: dict[str, Address], make_project: MakeProject
) -> None:
    """A run is not called taken back where one of its targets is not in the files any more; a part is, by name."""
    project.upgrade(["b"])
    run = project.upgrade()
    left = {name: a for name, a in addresses.items() if name != "c"}
    make_project(project.settings.root, entries(left, a={"branches": ["crm"]}, b={"branches": ["crm"]}), {})
    project = reload(project)
    with pytest.raises(UsageError) as caught:
        project.rollback(run.id)
    assert str(caught.value) == (
        f"run `{run.id}` also worked on `c`, which targets/ does not have\n"
        "  hint: use the checkout that has it; or say `-t NAME` of each, where one has another name now; "
        f"without it: `ehg-migrate rollback {run.id} -t a,b`"
    )
    assert rows(pg, addresses["a"]) == {"a2"}
    assert statuses(project.rollback(run.id, ["a", "b"])) == {"a": Status.SUCCEEDED, "b": Status.UP_TO_DATE}
    assert rows(pg, addresses["a"]) == set()


# --- refusals


def edit_file(project: Project, pg: Cluster, address: Address) -> None:
    file = project.settings.versions / "shared" / "3.py"
    file.write_text(file.read_text() + "\n# a second thought\n")


def delete_file(project: Project, pg: Cluster, address: Address) -> None:
    (project.settings.versions / "shared" / "3.py").unlink()
    execute(pg, address, "UPDATE ehg_migrate.alembic_version SET version_num = 's2'")


def splice_file(project: Project, pg: Cluster, address: Address) -> None:
    text = making("spliced", "s1")
    add_revision(project.settings.root, "shared/15", text)
    file = project.settings.versions / "shared" / "2.py"
    edited = making("s2", "spliced")
    file.write_text(edited)
    # the checksum alone must not be what stops it
    checksum = reload(project).revisions.graph(("shared",))["s2"].checksum
    execute(pg, address, f"UPDATE ehg_migrate.migration_journal SET checksum = '{checksum}' WHERE revision = 's2'")


def run_again(project: Project, pg: Cluster, address: Address) -> None:
    add_revision(project.settings.root, "shared/4", making("s4", "s3"))
    reload(project).upgrade()


def stamp(project: Project, pg: Cluster, address: Address) -> None:
    execute(pg, address, "UPDATE ehg_migrate.alembic_version SET version_num = 's1'")


def cut_a_step(project: Project, pg: Cluster, address: Address) -> None:
    code = CONCURRENTLY.format("CREATE INDEX CONCURRENTLY i ON s1 (id)") + "op.execute('SELECT 1 / 0')"
    add_revision(project.settings.root, "shared/4", revision("s4", "s3", up_code=code))
    reload(project).upgrade()


def lose_a_downgrade(project: Project, pg: Cluster, address: Address) -> None:
    file = project.settings.versions / "shared" / "2.py"
    file.write_text(file.read_text().partition("def downgrade")[0])
    checksum = reload(project).revisions.graph(("shared",))["s2"].checksum
    execute(pg, address, f"UPDATE ehg_migrate.migration_journal SET checksum = '{checksum}' WHERE revision = 's2'")


Spoil = Callable[[Project, Cluster, Address], None]
REFUSALS: dict[Spoil, tuple[str, str, int]] = {
    edit_file: ("rollback_inexact", "`versions/shared/3.py` was edited after it was applied (checksum ", 4),
    delete_file: ("rollback_inexact", "revision `s3` is not in versions/ of this checkout", 4),
    splice_file: ("rollback_inexact", "`down_revision` or `depends_on` changed since", 4),
    run_again: ("rollback_inexact", "later runs changed the target: `", 4),
    stamp: ("rollback_inexact", "the target holds `s1`, and run `", 4),
    cut_a_step: ("rollback_inexact", "revision `s4` ran outside a transaction and did not end", 4),
    lose_a_downgrade: ("no_downgrade", "revision `s2` has no `downgrade()`, so it cannot be taken back", 1),
}


@pytest.mark.parametrize("spoil", REFUSALS, ids=lambda case: case.__name__)
def test_what_would_not_be_exact_is_refused_and_untouched(
    spoil: Spoil, pg: Cluster, make_project: MakeProject, database: Address, tmp_path: Path
) -> None:
    """Rows, schema and journal stay as they are; a rule's refusal ends with exit code 4."""
    code, message, exit_code = REFUSALS[spoil]
    project = Project.load(make_project(tmp_path, entries({"one": database}), SHARED))
    project.upgrade(to=["s1"])
    run = project.upgrade()
    spoil(project, pg, database)
    before = look(pg, {"one": database}), journal(pg, database)
    back = reload(project).rollback(run.id)
    (result,) = back.results
    assert result.status is Status.REFUSED
    assert result.problem is not None
    assert result.problem.code == code
    assert message in result.problem.message
    assert result.problem.hint
    assert exits.of_run(back) == exit_code
    assert (look(pg, {"one": database}), journal(pg, database)) == before


def test_an_unreachable_target_does_not_stop_the_others(
    pg: Cluster, project: Project, addresses: dict[str, Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """It fails, the others are taken back."""
    run = project.upgrade()
    with pg.admin() as c:
        c.execute(f"ALTER DATABASE {addresses['b'].dbname} ALLOW_CONNECTIONS false".encode())
    back = project.rollback(run.id)
    assert statuses(back) == {"a": Status.SUCCEEDED, "b": Status.FAILED, "c": Status.SUCCEEDED}
    with pg.admin() as c:
        c.execute(f"ALTER DATABASE {addresses['b'].dbname} ALLOW_CONNECTIONS true".encode())
    assert statuses(project.rollback(run.id)) == {"a": Status.UP_TO_DATE, "b": Status.SUCCEEDED, "c": Status.UP_TO_DATE}


def test_a_target_that_neither_run_reached_is_where_it_should_be(
    pg: Cluster, project: Project, addresses: dict[str, Address]
) -> None:
    """What a rollback has left is complete too where nothing is to be taken back, so it can be resumed."""
    name = addresses["b"].dbname
    with pg.admin() as c:
        c.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        run = project.upgrade()
        back = project.rollback(run.id)
        assert statuses(back) == {"a": Status.SUCCEEDED, "b": Status.FAILED, "c": Status.SUCCEEDED}
        c.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    with pytest.raises(UsageError, match="changed no selected target"):
        project.plan_rollback(run.id, ["b"])
    again = project.run(project.plan_resume(back.id))
    assert statuses(again) == {"b": Status.UP_TO_DATE}


@pytest.mark.parametrize("recorded", [True, False], ids=["in the ledger", "lost by the ledger"])
def test_a_journal_that_cannot_be_read_is_not_taken_for_an_empty_one(
    pg: Cluster, make_project: MakeProject, make_database: MakeDatabase, tmp_path: Path, recorded: bool
) -> None:
    """What the run did there nobody knows: that target is refused with the reason, and the others are taken back."""
    at = {name: make_database(name) for name in ("readable", "unreadable")}
    project = Project.load(make_project(tmp_path, entries(at), SHARED))
    run = project.upgrade(to=["s1"])
    execute(pg, at["unreadable"], "ALTER TABLE ehg_migrate.migration_journal RENAME host TO machine")
    if not recorded:
        for file in (tmp_path / ".ehg").glob("ledger.sqlite*"):
            file.unlink()
    (alone,) = reload(project).rollback(run.id, ["unreadable"]).results
    both = reload(project).rollback(run.id)
    assert statuses(both) == {"readable": Status.SUCCEEDED, "unreadable": Status.REFUSED}
    assert alone.status is Status.REFUSED
    assert alone.problem
    assert alone.problem.message == 'column "host" does not exist'
    assert rows(pg, at["unreadable"]) == {"s1"}


# --- adopt


@pytest.fixture
def one(make_project: MakeProject, database: Address, tmp_path: Path) -> Project:
    """One target of shared and its own branch; its database is fresh."""
    return Project.load(make_project(tmp_path, entries({"one": database}), SHARED | own("one")))


def stock_history(pg: Cluster, address: Address, *heads: str) -> None:
    """What stock Alembic would have left: its table, and the tables of s1 and s2."""
    values = ", ".join(f"('{h}')" for h in heads)
    execute(
        pg,
        address,
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        f"INSERT INTO alembic_version VALUES {values}",
        "CREATE TABLE s1 (id int PRIMARY KEY)",
        "CREATE TABLE s2 (id int PRIMARY KEY)",
    )


def test_a_stock_history_is_taken_over(pg: Cluster, one: Project, database: Address) -> None:
    """Its rows become ours, nothing is run, the old table stays; the next upgrade goes on from there."""
    stock_history(pg, database, "s2")
    before = pg.dump_schema(database.dbname)
    plan = one.plan_adoption("one").plans[0]
    assert (plan.goal, one.declared(plan)) == (("s2",), ("s1", "s2"))
    run = one.adopt("one")
    assert statuses(run) == {"one": Status.SUCCEEDED}
    assert [n.code for n in run.results[0].notes] == ["old_table_stays"]
    assert rows(pg, database) == {"s2"}
    assert pg.dump_schema(database.dbname) == before
    assert journal(pg, database) == [("adopted", "up", "s1"), ("adopted", "up", "s2")]
    (state,) = one.status()
    assert (state.kind, state.notes) == (StateKind.PENDING, ())

    upgraded = one.upgrade()
    assert tables(pg, database) == {"s1", "s2", "s3", "one_1", "one_2", "alembic_version"}
    assert problems(one.rollback(run.id)) == {"one": "rollback_inexact"}
    one.rollback(upgraded.id)
    assert (rows(pg, database), pg.dump_schema(database.dbname)) == ({"s2"}, before)


def test_rows_that_overlap_are_taken_over_without_the_needless(pg: Cluster, one: Project, database: Address) -> None:
    """As stock Alembic may have left them."""
    stock_history(pg, database, "s1", "s2")
    one.adopt("one")
    assert rows(pg, database) == {"s2"}


def test_a_database_without_any_record_is_declared(pg: Cluster, one: Project, database: Address) -> None:
    """By the word of whoever knows; what was declared can be edited no more without a note."""
    execute(pg, database, "CREATE TABLE s1 (id int PRIMARY KEY)", "CREATE TABLE s2 (id int PRIMARY KEY)")
    plan = one.plan_adoption("one", ["s2"])
    assert one.declared(plan.plans[0]) == ("s1", "s2")
    one.adopt("one", ["s2"])
    assert rows(pg, database) == {"s2"}
    one.upgrade()
    assert tables(pg, database) == {"s1", "s2", "s3", "one_1", "one_2"}
    add_revision(one.settings.root, "shared/1", SHARED["shared/1"] + "\n# edited\n")
    assert [n.code for n in reload(one).status()[0].notes] == ["edited_file"]


def test_a_wrong_word_is_taken_back_without_a_table(pg: Cluster, one: Project, database: Address) -> None:
    """Nothing was run, so no `downgrade()` is to be; the hint of the refused rollback is done to the letter."""
    execute(pg, database, "CREATE TABLE s1 (id int PRIMARY KEY)", "CREATE TABLE s2 (id int PRIMARY KEY)")
    (result,) = one.rollback(one.adopt("one", ["s2"]).id).results
    assert result.problem is not None
    (command,) = (p for p in result.problem.hint.split("`") if p.startswith("alembic "))
    for rev, held in (("s1", {"s1"}), ("base", set())):
        words = command.replace("TARGET", "one").replace("REV ...", rev).split()[1:]
        assert ehg(one.settings.root, *words, program=ALEMBIC).code == 0
        assert rows(pg, database) == held
        assert reload(one).status()[0].kind is StateKind.PENDING
    assert tables(pg, database) == {"s1", "s2"}


@pytest.mark.parametrize("heads", [(), ("s1",)])
def test_what_is_ours_is_not_adopted(pg: Cluster, one: Project, database: Address, heads: tuple[str, ...]) -> None:
    """Neither from an old table nor by declaration; the plan says so already."""
    one.upgrade(to=["s3"])
    before = journal(pg, database)
    assert [s.problem.code for s in one.plan_adoption("one", heads).blocked if s.problem] == ["adopted_already"]
    run = one.adopt("one", heads)
    (result,) = run.results
    assert result.status is Status.REFUSED
    assert str(result.problem) == (
        "the target is ours already and holds `s3`\n  hint: `ehg-migrate upgrade -t TARGET` brings it to its heads; "
        "`alembic -x target=TARGET stamp --purge REV ...` declares that it holds others, and runs nothing (name one of "
        "every branch)"
    )
    assert (rows(pg, database), journal(pg, database)) == ({"s3"}, before)


def test_a_plan_to_adopt_that_came_too_late_writes_nothing(pg: Cluster, one: Project, database: Address) -> None:
    """Somebody else was here between the plan and the run."""
    stock_history(pg, database, "s2")
    plan = one.plan_adoption("one")
    one.adopt("one")
    before = journal(pg, database)
    assert problems(one.run(plan)) == {"one": "adopted_already"}
    assert (rows(pg, database), journal(pg, database)) == ({"s2"}, before)


def test_lost_rows_are_not_those_of_the_old_table(pg: Cluster, one: Project, database: Address) -> None:
    """It stays as it was when it was taken over: without a word of what is applied, the hint has that."""
    stock_history(pg, database, "s1")
    one.adopt("one")
    execute(pg, database, "TRUNCATE ehg_migrate.alembic_version")
    (state,) = one.status()
    (result,) = one.adopt("one").results
    assert (result.status, result.problem) == (Status.REFUSED, state.problem)
    assert rows(pg, database) == set()
    assert statuses(one.adopt("one", ["s1"])) == {"one": Status.SUCCEEDED}


def test_rows_that_nothing_explains_are_not_adopted(pg: Cluster, one: Project, database: Address) -> None:
    """They are named; nothing of ours is made in the database."""
    stock_history(pg, database, "feedbeef", "s2")
    run = one.adopt("one")
    (result,) = run.results
    assert result.status is Status.REFUSED
    assert str(result.problem) == (
        "`public.alembic_version` holds `feedbeef`, which this target's branches do not have\n"
        "  hint: bring its revision files into versions/, or declare what is applied with `--heads`"
    )
    assert "ehg_migrate" not in pg.dump_schema(database.dbname, ())
    assert statuses(one.adopt("one", ["s2"])) == {"one": Status.SUCCEEDED}
    assert rows(pg, database) == {"s2"}


def test_a_declared_revision_that_does_not_exist_is_a_mistake(one: Project) -> None:
    """Of the one who declares."""
    with pytest.raises(UsageError, match="there is no revision `nothing` here"):
        one.adopt("one", ["nothing"])


def test_nothing_to_take_over_is_said(pg: Cluster, one: Project, database: Address) -> None:
    """A fresh database needs no adopting."""
    run = one.adopt("one")
    assert [str(r.problem) for r in run.results] == [
        "there is no `public.alembic_version` with rows to take over\n"
        "  hint: declare what is applied with `--heads REV`; where nothing is, `ehg-migrate upgrade -t TARGET` is "
        "enough"
    ]
    assert "ehg_migrate" not in pg.dump_schema(database.dbname, ())


def test_a_run_of_which_the_journal_has_no_trace(
    pg: Cluster, make_project: MakeProject, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Restored to before it: said so. Whatever else it holds: refused, for there is no word on how it came there."""
    names = ("new", "restored", "stripped", "whole")
    at = {name: make_database(name) for name in names}
    project = Project.load(make_project(tmp_path, entries(at), SHARED))
    project.upgrade(names[1:], to=["s1"])
    run = project.upgrade(to=["s2"])
    execute(pg, at["restored"], "DROP TABLE s2", "UPDATE ehg_migrate.alembic_version SET version_num = 's1'",
            f"DELETE FROM ehg_migrate.migration_journal WHERE run = '{run.id}'")  # fmt: skip
    for name in ("new", "stripped"):
        execute(pg, at[name], "DROP SCHEMA ehg_migrate CASCADE")
    back = project.rollback(run.id)
    results = {r.target: r for r in back.results}
    assert statuses(back) == {
        "new": Status.REFUSED,
        "restored": Status.UP_TO_DATE,
        "stripped": Status.REFUSED,
        "whole": Status.SUCCEEDED,
    }
    assert [n.code for n in results["restored"].notes] == ["no_trace"]
    assert str(results["stripped"].problem) == (
        f"run `{run.id}` cannot be taken back exactly: by the ledger it brought the target from `s1` to `s2`; the "
        "target's journal has no trace of that, and the target holds nothing\n"
        "  hint: it was restored to another time, or its entry names another database now: look with "
        "`ehg-migrate history TARGET` and `ehg-migrate drift -t TARGET`"
    )
    assert exits.of_run(back) == 4


def test_a_run_whose_beginning_the_journal_has_otherwise(
    pg: Cluster, make_project: MakeProject, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Its first entries are gone, or are those of another target's backup: it is not said to be taken back exactly.

    The hint leads out, and without a word of the ledger the journal's is taken.
    """
    at = {name: make_database(name) for name in ("cut", "whole")}
    project = Project.load(make_project(tmp_path, entries(at), SHARED))
    project.upgrade(to=["s1"])
    run = project.upgrade()
    execute(pg, at["cut"], "DELETE FROM ehg_migrate.migration_journal WHERE revision = 's2'")
    back = project.rollback(run.id)
    assert statuses(back) == {"cut": Status.REFUSED, "whole": Status.SUCCEEDED}
    assert exits.of_run(back) == 4
    assert rows(pg, at["cut"]) == {"s3"}
    assert {r.target: str(r.problem) for r in back.results}["cut"] == (
        f"run `{run.id}` cannot be taken back exactly: by the ledger it found `s1` on the target, by the target's "
        "journal `s2`\n"
        "  hint: entries of the journal are gone, or it came here with another target's database: look with "
        "`ehg-migrate history TARGET`; `ehg-migrate downgrade TARGET --to s1` shows what it would do"
    )
    (tmp_path / ".ehg" / "ledger.sqlite").unlink()
    assert statuses(reload(project).rollback(run.id, ["cut"])) == {"cut": Status.SUCCEEDED}
    assert rows(pg, at["cut"]) == {"s2"}


def test_a_run_of_which_no_journal_has_a_trace(
    pg: Cluster, make_project: MakeProject, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Its only targets were restored, or no others are asked for: the same word on them as beside others."""
    at = {name: make_database(name) for name in ("gone", "restored")}
    project = Project.load(make_project(tmp_path, entries(at), SHARED))
    project.upgrade(to=["s1"])
    run = project.upgrade(to=["s2"])
    undo = ("DROP TABLE s2", f"DELETE FROM ehg_migrate.migration_journal WHERE run = '{run.id}'")
    execute(pg, at["restored"], *undo, "UPDATE ehg_migrate.alembic_version SET version_num = 's1'")
    execute(pg, at["gone"], "DROP SCHEMA ehg_migrate CASCADE")
    assert statuses(project.rollback(run.id)) == {"gone": Status.REFUSED, "restored": Status.UP_TO_DATE}
    (result,) = project.rollback(run.id, ["restored"]).results
    assert (result.status, [n.code for n in result.notes]) == (Status.UP_TO_DATE, ["no_trace"])
    with pytest.raises(UsageError, match="no selected target has a trace"):
        project.plan_rollback("20260101-000000-ffff")
