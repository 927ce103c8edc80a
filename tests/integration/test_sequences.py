"""Sequences of commands on a project that changes between them: after each, what is said is what is there.

Ours and stock Alembic's, killed ones too, on databases that are set back in between.

EHG_SEQUENCES=1000,40,30 pytest tests/integration/test_sequences.py    40 seeds from 1000, 30 commands each
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.model import Address
from tests.support.cli import ALEMBIC, Said, ehg
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import PASSWORD_VARIABLE
from tests.support.sequences import Truth, World

MakeDatabase = Callable[[str], Address]
FIRST, COUNT, LENGTH = map(int, os.environ.get("EHG_SEQUENCES", "321,1,10").split(","))
GOOD = ("succeeded", "up_to_date", "skipped")


class Sequence:
    """Commands by chance, each held against the databases before and after it."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng
        self.trouble: dict[str, tuple[str, str, str]] = {}
        self.before: dict[str, dict[str, Truth]] = {}  # by run
        self.done: list[str] = []  # what this sequence did, for whoever reads a failure

    def step(self) -> None:
        """One change of the files or one command, and what is said then."""
        ways: tuple[tuple[Callable[[], None], int], ...] = (
            (self.world.add, 3),
            (self.world.edit, 1),
            (self.world.put_below, 2),
            (self.upgrade, 5),
            (self.downgrade, 3),
            (self.rollback, 4),
            (self.again, 3),
            (self.by_a_saved_plan, 2),
            (self.by_stock_alembic, 2),
            (self.world.restore, 2),
        )
        way = self.rng.choices([w for w, _ in ways], [n for _, n in ways])[0]
        self.done.append(way.__name__)
        way()
        self.status_is_true()

    # --- commands

    def upgrade(self) -> None:
        to = ["--to", self._any()] if self.rng.random() < 0.4 else []
        alone = ["-t", self.rng.choice(self.world.targets)] if self.rng.random() < 0.4 else []
        planned = ehg(self.world.folder, "plan", "--json", *alone, *to)
        run = self._run("upgrade", *alone, *to)
        if run:
            self._has_its_goal(run)
            self._is_as_planned(run, planned.json["data"])

    def downgrade(self) -> None:
        target = self.rng.choice(self.world.targets)
        held = sorted(self.world.closure(self.world.truth(target).rows))
        to = self.rng.choice([*held, "base"])
        run = self._run("downgrade", target, "--to", to)
        if run and run["results"][0]["status"] in GOOD:
            left = self.world.closure(self.world.truth(target).rows)
            assert to in left if to != "base" else not left, self.done

    def rollback(self) -> None:
        if not self.before:
            return
        undone = self.rng.choice([*self.before][-5:])
        run = self._run("rollback", undone)
        for result in run["results"] if run else ():
            target = result["target"]
            was, now = self.before[undone][target], self.world.truth(target)
            if result["status"] in GOOD and any(e.run == undone and e.event != "failed" for e in now.journal):
                assert self.world.heads(now.rows) == self.world.heads(was.rows), self.done
                assert now.made == was.made - was.half().keys(), self.done

    def again(self) -> None:
        if not self.before:
            return
        run = self._run(self.rng.choice(("resume", "retry")), self.rng.choice([*self.before][-3:]))
        if run and run["verb"] == "upgrade":
            self._has_its_goal(run)

    def by_a_saved_plan(self) -> None:
        file = self.world.folder / "plan.json"
        if ehg(self.world.folder, "plan", "-o", str(file)).code == 2:
            return
        approved = {p["target"]: p for p in json.loads(file.read_text())["data"]["plans"]}
        between = (self.world.add, self.world.edit, self.upgrade, lambda: None)
        self.rng.choice(between)()
        run = self._run("upgrade", "--plan", str(file))
        for result in run["results"] if run else ():
            steps = [s["revision"] for s in result["steps"]]
            wanted = [s["revision"] for s in approved.get(result["target"], {"steps": ()})["steps"]]
            assert any(wanted[i : i + len(steps)] == steps for i in range(len(wanted) + 1)), self.done
            if result["status"] in GOOD:
                assert set(result["heads_after"]) == set(approved[result["target"]]["goal"]), self.done

    def by_stock_alembic(self) -> None:
        """It does what it does by itself, with the same record and the same lock."""
        target = self.rng.choice(self.world.targets)
        scope = sorted(self.world.scope(target))
        ways = (("upgrade", "heads"), ("upgrade", *scope[:1]), ("downgrade", "base"), ("downgrade", *scope[-1:]))
        way = self.rng.choice(ways)
        before = self._truths()
        said = ehg(self.world.folder, "-x", f"target={target}", *way, program=ALEMBIC)
        self.done.append(f"alembic {target} {' '.join(way)} -> {said.code}")
        after = self._truths()
        for other in self.world.targets:
            done = self._is_kept(before[other], after[other])
            assert other == target or not done, self.done
        if said.code == 0 and way == ("upgrade", "heads"):
            assert self.world.scope(target) <= self.world.closure(after[target].rows), self.done

    def _any(self) -> str:
        return self.rng.choice(sorted(self.world.revs))

    def _run(self, *arguments: str) -> dict[str, Any] | None:
        """The run that a command says it made, held against what it did; None where it did not begin."""
        before = self._truths()
        self.trouble = self.world.trouble()
        said = ehg(self.world.folder, *arguments, "--yes", "--json")
        self.done.append(f"{' '.join(arguments)} -> {said.code} {self.trouble or ''}")
        if said.code == -signal.SIGKILL:
            self._was_killed(before)
            return None
        after = self._truths()
        if said.code == 2:
            assert after == before, self.done
            return None
        run: dict[str, Any] = said.json["data"]
        self.before[run["id"]] = before
        self._exit_is_true(said, run)
        told = {r["target"]: r for r in run["results"]}
        for target in self.world.targets:
            self._is_true(told.get(target), before[target], after[target])
        shown = ehg(self.world.folder, "show", run["id"], "--json").json["data"]
        assert [(r["target"], r["status"], r["heads_after"]) for r in shown["results"]] == [
            (r["target"], r["status"], r["heads_after"]) for r in run["results"]
        ], self.done
        return run

    def _was_killed(self, before: dict[str, Truth]) -> None:
        """Its workers end by themselves, after whole steps, and the ledger knows that it died."""
        wait_until(lambda: not any(t.left for t in self._truths().values()), "workers end after their runner")
        (run,) = ehg(self.world.folder, "runs", "-n", "1", "--json").json["data"]
        assert run["status"] == "died", self.done
        self.before[run["id"]] = before
        for target, after in self._truths().items():
            self._is_kept(before[target], after)

    def _truths(self) -> dict[str, Truth]:
        return {t: self.world.truth(t) for t in self.world.targets}

    # --- what must hold

    def _exit_is_true(self, said: Said, run: dict[str, Any]) -> None:
        interrupted = said.code == 130 and any(what == "interrupt" for *_, what in self.trouble.values())
        assert interrupted or (said.code == 0) == all(r["status"] in GOOD for r in run["results"]), (self.done, said)

    def _is_kept(self, before: Truth, after: Truth) -> list[tuple[str, str]]:
        """The steps that came to a target, each of them in its journal and, as far as it can be, in its schema."""
        assert after.left == 0, self.done
        assert _follow_one_another(after), (self.done, after.journal)
        entries = after.journal[len(before.journal) :]
        done = [(e.revision, e.direction) for e in entries if e.event == "done"]
        assert done == list(after.trail[len(before.trail) :]), self.done
        made = set(before.made)
        for revision, direction in done:
            (made.add if direction == "up" else made.discard)(revision)
        assert made ^ after.made <= after.half().keys(), self.done
        return done

    def _is_true(self, result: dict[str, Any] | None, before: Truth, after: Truth) -> None:
        """What a run says of a target, or that it says nothing of it."""
        done = self._is_kept(before, after)
        if result is None:
            assert after.journal == before.journal, self.done
            return
        unread = result["status"] in ("indeterminate", "skipped") and not result["heads_after"]
        if not unread:
            assert set(result["heads_after"]) == after.rows, (self.done, result)
            assert [(s["revision"], s["direction"]) for s in result["steps"]] == done, (self.done, result)
        assert result["status"] in GOOD or result["problem"], (self.done, result)
        assert result["status"] not in ("refused", "skipped") or not done, (self.done, result)
        half = after.half().keys() - before.half().keys()
        assert result["status"] == "indeterminate" or not half, (self.done, result)

    def _is_as_planned(self, run: dict[str, Any], planned: dict[str, Any]) -> None:
        """What `plan` has said before is done, or the first of it."""
        plans = {p["target"]: [s["revision"] for s in p["steps"]] for p in planned["plans"]}
        for result in run["results"]:
            steps = [s["revision"] for s in result["steps"]]
            plan = plans.get(result["target"], [])
            assert steps == plan[: len(steps)], (self.done, planned)
            assert result["status"] not in GOOD or steps == plan, (self.done, planned)

    def _has_its_goal(self, run: dict[str, Any]) -> None:
        for result in run["results"]:
            if result["status"] in ("succeeded", "up_to_date"):
                goal = self.world.closure(run["wish"] or self.world.scope(result["target"]))
                assert goal <= self.world.closure(self.world.truth(result["target"]).rows), (self.done, result)

    def status_is_true(self) -> None:
        """The state of each target, and what is noted of it."""
        for state in ehg(self.world.folder, "status", "--json").json["data"]:
            truth = self.world.truth(state["target"])
            held, half = self.world.closure(truth.rows), truth.half()
            said = [state["problem"], *state["notes"]] if state["problem"] else state["notes"]
            never = _named(said, "never_run", before=" counts as")
            assert set(state["heads"]) == truth.rows, (self.done, state)
            if "down" in half.values():
                assert state["kind"] == "half_done", (self.done, state)
                continue
            assert held - truth.made - half.keys() == never, (self.done, state)
            assert never == set() or state["target"] in self.world.moved, (self.done, state)
            if state["kind"] == "refused":
                lost = _named(said, "lost_rows")  # where a graph was changed the last row may go and leave something
                assert never or (not truth.rows and lost == truth.made - half.keys() != set()), (self.done, state)
                continue
            assert truth.made - held - half.keys() == _named(said, "unaccounted"), (self.done, state)
            assert set(state["pending"]) == self.world.scope(state["target"]) - held, (self.done, state)
            assert state["kind"] == ("pending" if state["pending"] else "up_to_date"), (self.done, state)
            assert half.keys() == _named(said, "half_done"), (self.done, state)


def _follow_one_another(truth: Truth) -> bool:
    """Whether each change of the rows begins where the one before it ended, and the last ends at the rows."""
    changes = ((set(e.before), set(e.after)) for e in truth.journal if e.event in ("done", "normalized"))
    spans = [span for span, _ in groupby(changes)]  # rows that are taken out together have an entry each
    return all(end == begin for (_, end), (begin, _) in pairwise(spans)) and (not spans or spans[-1][1] == truth.rows)


def _named(said: list[dict[str, Any]], code: str, before: str = "") -> set[str]:
    """The revisions that problems of this code name."""
    texts = [p["message"].split(before)[0] if before else p["message"] for p in said if p["code"] == code]
    return {name for text in texts for name in re.findall("`(.+?)`", text)}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_a_sequence(
    seed: int, pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes after what: heads, steps, states and exit codes are true, and a rollback leads back."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    rng = random.Random(seed)
    databases = {name: make_database("seq") for name in ("a", "b")[: rng.choice((1, 2))]}
    sequence = Sequence(World(rng, tmp_path, pg, databases))
    for _ in range(LENGTH):
        sequence.step()
    sequence.world.forget_copies()
    assert any("->" in line for line in sequence.done)
