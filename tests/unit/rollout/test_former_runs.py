"""What of a run is to be done again, by its results: all that is missing, only what failed, only looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ehg_migrate.database.locks import Held
from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.ledger import Seen
from ehg_migrate.model import (
    Direction,
    Origin,
    Result,
    Run,
    RunStatus,
    Status,
    Step,
    StepResult,
    Verb,
)
from ehg_migrate.rollout.former_runs import (
    left_and_gone,
    left_at_work,
    taken_back_since,
    touched,
    unfinished,
    unseen,
)
from ehg_migrate.rollout.reasons import is_there, lost_rows, unaccounted

STEP = StepResult("s1", Direction.UP, "shared", 0.1)
RUN = Run(
    "20261129-120000-abcd",
    Verb.UPGRADE,
    "all",
    Origin("ann", "build", 1, "", "1"),
    datetime.now(UTC),
    RunStatus.FAILED,
    targets=(*Status, "unsaid"),
    results=tuple(Result(s, s, steps=(STEP,) if s is Status.SUCCEEDED else ()) for s in Status),
)


def test_what_failed_and_what_is_missing() -> None:
    """A target that was refused has failed; one of which nothing was said is missing."""
    failed = ("failed", "schema_differs", "indeterminate", "refused")
    assert unfinished(RUN, failed_only=True) == failed
    assert unfinished(RUN, failed_only=False) == (*failed, "cancelled", "not_attempted", "unsaid")


def test_of_which_run_nothing_is_to_be_done() -> None:
    """One that is where it wanted to be, and nobody has to look at; the rest of a saved plan is done by that plan."""
    good = ("up_to_date", "succeeded", "skipped")
    whole = replace(RUN, targets=good, results=tuple(Result(t, Status(t)) for t in good))
    assert unfinished(whole, failed_only=False, unseen=("succeeded",)) == ()
    saved = replace(RUN, saved_plan="0" * 64)
    for failed_only in (False, True):
        with pytest.raises(UsageError, match="nothing of run"):
            unfinished(whole, failed_only=failed_only)
        with pytest.raises(UsageError, match="did a saved plan"):
            unfinished(saved, failed_only=failed_only)


def test_a_target_that_has_gone_leaves_the_others_to_be_done() -> None:
    """Who has left for good keeps nobody from what a run has missed on others: the hint says how, and names them."""
    wished = replace(RUN, wish=("NAME@head",))
    assert left_and_gone(wished, ["failed", "refused"]).hint.partition("; without them: ")[2] == (
        "`ehg-migrate upgrade -t schema_differs,indeterminate,cancelled,not_attempted,unsaid --to NAME@head`, "
        "which does the others"
    )
    many = replace(RUN, targets=(*RUN.targets, *map(str, range(9))))
    assert "`ehg-migrate upgrade -t NAME,...`, which does the others" in left_and_gone(many, ["failed"]).hint
    alone = replace(RUN, targets=("succeeded", "failed"))
    assert "without it" not in left_and_gone(alone, ["failed"]).hint
    back = replace(alone, targets=("refused", "failed"), verb=Verb.ROLLBACK, undoes="r0")
    assert "without it: `ehg-migrate rollback r0 -t refused`" in left_and_gone(back, ["failed"]).hint


def test_words_with_spaces_are_quoted_in_commands() -> None:
    """Release points and revisions may be called so, and a hint is pasted into a shell."""
    wished = replace(RUN, wish=("release:spring 26", "crm@head"))
    assert "`ehg-migrate upgrade -t NAME --to 'release:spring 26' --to crm@head`" in left_and_gone(wished, ["x"]).hint
    assert (
        "`ehg-migrate adopt TARGET --heads 'odd; one' --heads s1`" in lost_rows(["x"], (), ["odd; one", "s1"], "m").hint
    )
    row = unaccounted(["x"], ["odd; one", "s1"], ["c1", "odd; one", "s1"])
    assert "`alembic -x target=TARGET stamp 'odd; one' s1`" in row.hint
    assert "`ehg-migrate compare TARGET 'heads:c1,odd; one,s1'`" in row.hint
    step = Step("odd; one", Direction.UP, "shared", "", "", "", (), ("odd; one", "c1"))
    assert "`ehg-migrate compare TARGET 'heads:odd; one,c1'`" in is_there(step)
    assert "`alembic -x target=TARGET stamp 'odd; one'`" in is_there(step)


def test_what_the_journal_knows_is_not_taken_for_a_customers_own() -> None:
    """A step that finds what it makes may be one whose row was lost, with all above it: its rows are to be kept."""
    step = Step("s2", Direction.UP, "shared", "", "", "", (), ("s2",))
    told = is_there(step, [unaccounted(["s2", "s3"], ["s3"], ["s3"])])
    assert told.startswith("by the target's journal it may be what was applied before")
    for hint in (told, is_there(step)):
        assert "shows no difference in what this step makes" in hint
        assert "with the rows that it may hold" in hint


def test_a_rollback_that_was_refused_has_taken_nothing_back() -> None:
    """It is said so, since somebody wanted the run away; and the command of the hint has the targets' names."""
    back = replace(RUN, id="back", undoes=RUN.id)
    seen = {"failed": Status.SUCCEEDED, "refused": Status.REFUSED, "unsaid": Status.NOT_ATTEMPTED}
    last = {t: Seen("back", running=False, status=s, heads=(), seconds=1.0) for t, s in seen.items()}
    found = taken_back_since(RUN, last, lambda _: back)
    assert found is not None
    assert found.message == (
        f"run `{RUN.id}` was taken back since, on `failed` by `back`; "
        "was to be taken back since, in vain, on `refused`, `unsaid` by `back`"
    )
    assert found.hint == (
        "`ehg-migrate upgrade -t failed,refused,unsaid` does it again, where that is what you want; "
        "without them: `ehg-migrate upgrade -t schema_differs,indeterminate,cancelled,not_attempted`, which does the "
        "others"
    )


def test_a_run_that_is_still_at_work() -> None:
    """It may yet do what is missing."""
    with pytest.raises(UsageError) as raised:
        unfinished(replace(RUN, status=RunStatus.RUNNING), failed_only=False)
    assert [p.code for p in raised.value.problems] == ["still_running"]


@pytest.mark.parametrize(
    ("status", "resumes", "expected"),
    [
        (RunStatus.FAILED, None, {"indeterminate"}),
        (RunStatus.DIED, None, {"indeterminate", "succeeded"}),
        (RunStatus.INTERRUPTED, None, {"indeterminate", "succeeded"}),
        (RunStatus.INTERRUPTED, "another", {"indeterminate", "succeeded", "up_to_date"}),
    ],
)
def test_whose_schema_may_not_have_been_looked_at(status: RunStatus, resumes: str | None, expected: set[str]) -> None:
    """Where nobody knows what was done, and where a run was cut before its look, at what another had changed too."""
    assert set(unseen(replace(RUN, status=status, resumes=resumes))) == expected


def test_who_is_at_work_for_a_dead_run() -> None:
    """Its own workers alone: another run there is no part of it."""
    holders = [Held("a", (1, 2), run=RUN.id), Held("b", (3, 4), run="another"), Held("c")]
    assert list(left_at_work(RUN, holders)) == ["a"]


def test_whom_a_rollback_must_reach() -> None:
    """Who got a step, or nobody knows, or nobody said: such a target must be there. Others may have gone."""
    done = Result("done", Status.FAILED, steps=(STEP,))
    results = (done, Result("unsure", Status.INDETERMINATE), Result("refused", Status.REFUSED))
    run = replace(RUN, targets=("done", "unsure", "refused", "silent"), results=results)
    assert touched(run, ("done", "unsure", "refused", "silent")) == ("done", "unsure", "refused", "silent")
    assert touched(run, ("done", "unsure", "silent")) == ("done", "unsure", "silent")
    for gone in ("done", "unsure", "silent"):
        rest = [t for t in run.targets if t != gone]
        with pytest.raises(UsageError, match=f"also worked on `{gone}`, which") as raised:
            touched(run, rest)
        assert f"-t {','.join(rest)}`" in raised.value.problems[0].hint


@pytest.mark.parametrize(
    ("undoes", "back"),
    [(RUN.id, True), ("first", True), ("second", True), ("other", False), ("lost", False), (None, False)],
)
def test_what_was_taken_back_is_seen(undoes: str | None, back: bool) -> None:
    """By whom the ledger's last word is: whether that undid the run, or one that completed it, or that one's."""
    runs = {
        "back": replace(RUN, id="back", undoes=undoes),
        "first": replace(RUN, id="first", resumes=RUN.id),
        "second": replace(RUN, id="second", resumes="first"),
        "other": replace(RUN, id="other"),
    }

    def show(name: str) -> Run:
        if name not in runs:
            raise UsageError(Problem("no_run", "the ledger has lost it"))
        return runs[name]

    says = Seen("", running=False, status=Status.SUCCEEDED, heads=("s2",), seconds=1.0)
    last = {"a": replace(says, run="back"), "b": replace(says, run="other"), "c": replace(says, run=RUN.id)}
    found = taken_back_since(RUN, last, show)
    assert (found is not None) is back
    assert not found or found.message.endswith("on `a` by `back`")
