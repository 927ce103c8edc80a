"""The planner against stock Alembic and against a model of sets, on some thousand random graphs."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator

import pytest
from alembic.script.revision import Revision as StockRevision
from alembic.script.revision import RevisionMap

from ehg_migrate.model import Direction, Step
from ehg_migrate.revisions.graph import Graph
from tests.unit.revisions.trees import graph_of, rev

Nodes = list[tuple[str, tuple[str, ...], tuple[str, ...]]]
"""(id, down_revision, depends_on) in file order."""

ANTICHAIN = range(3000)
REDUNDANT = range(3000, 5000)


class Model:
    """The same graph as sets of names, computed the slow and obvious way."""

    def __init__(self, nodes: Nodes) -> None:
        self.below = {i: set(parents) | set(depends) for i, parents, depends in nodes}

    def closure(self, ids: Iterable[str]) -> set[str]:
        """These and all that they need."""
        found: set[str] = set()
        waiting = list(ids)
        while waiting:
            i = waiting.pop()
            if i not in found:
                found.add(i)
                waiting += self.below[i]
        return found

    def rows(self, applied: Collection[str]) -> tuple[str, ...]:
        """What the version table holds: whatever nothing else that is applied needs."""
        return tuple(sorted(i for i in applied if not any(i in self.closure(self.below[o]) for o in applied)))


def random_nodes(rng: random.Random, *, antichain: bool) -> Nodes:
    """Up to 14 revisions with forks, merges and dependencies, their files in no order."""
    model = Model([])
    nodes: Nodes = []
    for n in range(rng.randint(1, 14)):
        name = f"r{n:02d}"
        earlier = [i for i, _, _ in nodes]
        parents = rng.sample(earlier, min(rng.choice([0, 1, 1, 1, 1, 2]), n))
        depends = rng.sample(earlier, min(rng.randint(1, 3), n)) if rng.random() < 0.4 else []
        depends = [d for d in depends if d not in parents]
        if antichain:
            wanted = {*parents, *depends}
            needless = {w for w in wanted if any(w in model.closure(model.below[o]) for o in wanted)}
            parents = [p for p in parents if p not in needless]
            depends = [d for d in depends if d not in needless]
        nodes.append((name, tuple(parents), tuple(depends)))
        model.below[name] = {*parents, *depends}
    rng.shuffle(nodes)
    return nodes


def cases(seeds: range, *, antichain: bool) -> Iterator[tuple[str, Nodes, Graph, tuple[str, ...], tuple[str, ...]]]:
    """(name, nodes, their graph, rows now, rows wanted) for each seed."""
    for seed in seeds:
        rng = random.Random(seed)
        nodes = random_nodes(rng, antichain=antichain)
        graph = graph_of(*(rev(*node) for node in nodes))
        ids = [i for i, _, _ in nodes]
        now, wanted = (graph.canonical(rng.sample(ids, rng.randint(0, len(ids)))) for _ in range(2))
        yield f"seed {seed}: {now} -> {wanted} in {nodes}", nodes, graph, now, wanted


def walk(model: Model, now: tuple[str, ...], wanted: tuple[str, ...], steps: tuple[Step, ...]) -> None:
    """Asserts that every step is possible, changes the rows as it says, and that all of them are needed."""
    applied = model.closure(now)
    goal = model.closure(wanted)
    assert {s.revision for s in steps if s.direction is Direction.DOWN} == applied - goal
    assert {s.revision for s in steps if s.direction is Direction.UP} == goal - applied
    assert len(steps) == len(applied ^ goal)
    for step in steps:
        assert step.heads_before == model.rows(applied)
        if step.direction is Direction.UP:
            assert model.below[step.revision] <= applied
            applied.add(step.revision)
        else:
            applied.remove(step.revision)
            assert not any(step.revision in model.below[a] for a in applied)
        assert step.heads_after == model.rows(applied)
    assert model.rows(applied) == wanted


def stock_steps(nodes: Nodes, now: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    """The revisions that Alembic's own map walks: down from `now`, then up to `wanted`."""
    stock = RevisionMap(lambda: [StockRevision(i, down or None, depends or None) for i, down, depends in nodes])
    down = stock.iterate_revisions(now, wanted, implicit_base=True) if now else ()
    up = list(stock.iterate_revisions(wanted, now, implicit_base=True))[::-1] if wanted else []
    return [r.revision for r in (*down, *up)]


@pytest.mark.parametrize(("seeds", "antichain"), [(ANTICHAIN, True), (REDUNDANT, False)])
def test_steps_are_those_of_stock_alembic_in_its_order(seeds: range, antichain: bool) -> None:
    """What Alembic walks, in the same order too, but where a revision has several `depends_on`.

    Alembic keeps those in a set, so that its own order changes with the hash seed.
    """
    ordered = 0
    for name, nodes, graph, now, wanted in cases(seeds, antichain=antichain):
        ours = [s.revision for s in graph.steps(now, wanted)]
        theirs = stock_steps(nodes, now, wanted)
        assert sorted(ours) == sorted(theirs), name
        if all(len(depends) < 2 for _, _, depends in nodes):
            ordered += 1
            assert ours == theirs, name
    assert ordered > len(seeds) / 3


def test_what_a_line_depends_on_twice_changes_no_order() -> None:
    """Alembic leaves out a `depends_on` that a revision further down the same line has."""
    nodes: Nodes = [("a3", ("a1", "a2"), ("s1",)), ("s1", (), ()), ("a2", ("a1",), ("s1",)), ("a1", (), ())]
    ours = [s.revision for s in graph_of(*(rev(*node) for node in nodes)).steps((), ("a3",))]
    assert ours == stock_steps(nodes, (), ("a3",)) == ["a1", "s1", "a2", "a3"]


@pytest.mark.parametrize(("seeds", "antichain"), [(ANTICHAIN, True), (REDUNDANT, False)])
def test_each_step_leaves_the_rows_of_its_set(seeds: range, antichain: bool) -> None:
    """Parents before children, nothing needless, and rows after each step that imply one another nowhere.

    That holds with redundant parents too, where stock Alembic raises KeyError or leaves needless rows.
    """
    for name, nodes, graph, now, wanted in cases(seeds, antichain=antichain):
        try:
            walk(Model(nodes), now, wanted, graph.steps(now, wanted))
        except AssertionError as e:
            raise AssertionError(name) from e


@pytest.mark.parametrize("antichain", [True, False])
def test_sets_are_those_of_the_model(antichain: bool) -> None:
    """`heads`, `canonical` and `closure` of rows that overlap, against plain sets."""
    for name, nodes, graph, _, _ in cases(range(500), antichain=antichain):
        model = Model(nodes)
        rng = random.Random(name)
        rows = rng.sample(sorted(model.below), rng.randint(0, len(model.below)))
        assert graph.heads == model.rows(model.below), name
        assert set(graph.ids(graph.closure(rows))) == model.closure(rows), name
        assert graph.canonical(rows) == model.rows(model.closure(rows)), name


def test_there_and_back_again_is_nothing() -> None:
    """The steps back are the steps there, each the other way round, over the same rows."""
    for name, _, graph, now, wanted in cases(range(500), antichain=False):
        there, back = graph.steps(now, wanted), graph.steps(wanted, now)
        assert {(s.revision, s.direction) for s in there} == {
            (s.revision, Direction.UP if s.direction is Direction.DOWN else Direction.DOWN) for s in back
        }, name
        assert graph.steps(now, now) == ()
