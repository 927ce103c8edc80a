"""The revisions of one scope as a graph, and the exact steps between two sets of heads: pure, and without Alembic.

A(H) is a set of heads with all their ancestors through `down_revision` and `depends_on`. To bring a database from
rows C to rows D, A(C) minus A(D) goes down and A(D) minus A(C) goes up. Both sets are closed, so an order always
exists; where several exist we take the one that Alembic takes for the same files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Direction, Step


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision file, as it stands in its folder; nothing in it is resolved yet."""

    id: str
    parents: tuple[str, ...]  # down_revision: ids
    depends_on: tuple[str, ...]  # ids or labels, as written
    labels: tuple[str, ...]
    branch: str  # the folder of versions/ that holds it
    path: str  # relative to the project
    checksum: str  # sha256 of the file
    doc: str = ""
    has_upgrade: bool = True
    has_downgrade: bool = True
    is_silent: bool = False  # loading the file is known to do nothing but define names
    allowed: tuple[tuple[str, str], ...] = ()  # (rule, reason) from its `lint_allow`
    sets_defaults: bool = False  # its text speaks of default privileges
    plain: tuple[str, ...] = ()  # which of its functions are known to be plain lists of operations


@dataclass(frozen=True)
class Graph:
    """The revisions that one target can have, resolved. Made by `build`, which reports what cannot be resolved.

    Sets of revisions are integers with a bit for each revision, so that an ancestor test costs one operation.
    """

    revisions: tuple[Revision, ...]  # in the order in which Alembic would load them
    edges: tuple[tuple[int, ...], ...]  # for each revision its parents and dependencies
    ancestors: tuple[int, ...]  # for each revision the bits of itself and all below it
    index: dict[str, int] = field(repr=False)
    labels: dict[str, int] = field(repr=False)

    # --- sets of ids

    def __contains__(self, revision: str) -> bool:
        return revision in self.index

    def __getitem__(self, revision: str) -> Revision:
        return self.revisions[self.index[revision]]

    def bits(self, ids: Iterable[str]) -> int:
        """The set of these revisions."""
        result = 0
        for revision in ids:
            result |= 1 << self.index[revision]
        return result

    def ids(self, bits: int) -> tuple[str, ...]:
        """The revisions of a set, sorted by name."""
        return tuple(sorted(self.revisions[i].id for i in _members(bits)))

    def closure(self, ids: Iterable[str]) -> int:
        """A(ids): these revisions and everything below them."""
        result = 0
        for revision in ids:
            result |= self.ancestors[self.index[revision]]
        return result

    def maximal(self, bits: int) -> int:
        """The members of a set that no other member implies: what the version table holds for it."""
        implied, left = 0, bits
        while left:
            i = left.bit_length() - 1  # the newest file, so mostly a head, after which nothing is left of its line
            implied |= self.ancestors[i] & ~(1 << i)
            left &= ~self.ancestors[i]
        return bits & ~implied

    @property
    def everything(self) -> int:
        """All revisions of the scope."""
        return (1 << len(self.revisions)) - 1

    @property
    def heads(self) -> tuple[str, ...]:
        """What the version table holds when everything is applied."""
        return self.ids(self.maximal(self.everything))

    def canonical(self, heads: Iterable[str]) -> tuple[str, ...]:
        """The same state without rows that another row implies."""
        return self.ids(self.maximal(self.bits(heads)))  # what is below a head is implied by it

    # --- order

    def newest_first(self, wanted: int) -> list[int]:
        """The set in an order that puts each revision before what it needs, as Alembic walks the same files.

        Alembic follows one open line down from the first head in file order, and leaves it for another open line
        whenever the next revision is still needed there.
        """
        lines = _members(self.maximal(wanted))
        order: list[int] = []
        current = 0
        while lines:
            other = self._line_above(lines, current)
            if other is not None:
                current = other
                continue
            revision = lines[current]
            if wanted >> revision & 1:
                order.append(revision)
                wanted &= ~(1 << revision)
            below = [e for e in self._walked[revision] if wanted >> e & 1 and e not in lines]
            if below:
                lines[current : current + 1] = below[:1]
                lines += below[1:]
            else:
                del lines[current]
                current = max(current - 1, 0)
        return order

    @cached_property
    def _walked(self) -> list[list[int]]:
        """The edges that Alembic walks: without a `depends_on` that a revision further down its own line has, too."""
        further = [0] * len(self.revisions)  # the bits of what a line depends on
        result: list[list[int]] = [[] for _ in self.revisions]
        for i in sorted(range(len(self.revisions)), key=lambda i: self.ancestors[i].bit_count()):
            parents = [self.index[p] for p in self.revisions[i].parents]
            for p in parents:
                further[i] |= further[p]
            result[i] = [e for e in self.edges[i] if e in parents or not further[i] >> e & 1]
            further[i] |= sum(1 << e for e in self.edges[i] if e not in parents)
        return result

    def _line_above(self, lines: list[int], current: int) -> int | None:
        bit = 1 << lines[current]
        for i, line in enumerate(lines):
            if i != current and self.ancestors[line] & bit:
                return i
        return None

    # --- steps

    def steps(self, heads: Iterable[str], goal: Iterable[str]) -> tuple[Step, ...]:
        """Exactly what brings the version rows from `canonical(heads)` to `canonical(goal)`: downs, then ups.

        Raises TargetError where a step has no function to run.
        """
        now, then = self.closure(heads), self.closure(goal)
        downs = self.newest_first(now & ~then)
        ups = self.newest_first(then & ~now)[::-1]
        rows, steps = self.maximal(now), []
        for direction, indexes in ((Direction.DOWN, downs), (Direction.UP, ups)):
            for i in indexes:
                after = self._rows_without(rows, i) if direction is Direction.DOWN else self._rows_with(rows, i)
                steps.append(self._step(i, direction, self.ids(rows), self.ids(after)))
                rows = after
        return tuple(steps)

    def _rows_with(self, rows: int, i: int) -> int:
        return rows & ~self.ancestors[i] | 1 << i

    def _rows_without(self, rows: int, i: int) -> int:
        rows &= ~(1 << i)
        candidates = 0
        for e in self.edges[i]:
            candidates |= 1 << e
        implied = 0
        for other in _members(rows | candidates):
            implied |= self.ancestors[other] & ~(1 << other)
        return rows | candidates & ~implied

    def _step(self, i: int, direction: Direction, before: tuple[str, ...], after: tuple[str, ...]) -> Step:
        r = self.revisions[i]
        if direction is Direction.DOWN and not r.has_downgrade:
            message = f"revision `{r.id}` has no `downgrade()`, so it cannot be taken back"
            hint = "write one in the file, or restore the target from a backup"
            raise TargetError(Problem("no_downgrade", message, hint, r.path))
        if direction is Direction.UP and not r.has_upgrade:
            message = f"revision `{r.id}` has no `upgrade()`, so it cannot be applied"
            raise TargetError(Problem("no_upgrade", message, "write one in the file; `pass` does nothing", r.path))
        return Step(r.id, direction, r.branch, r.checksum, r.doc, r.path, before, after)


def build(revisions: Sequence[Revision]) -> tuple[Graph, tuple[Problem, ...]]:
    """The graph of these revisions, in load order, and everything about it that cannot be resolved.

    The graph is usable only where the second value is empty.
    """
    index, labels, problems = _names(revisions)
    edges: list[tuple[int, ...]] = []
    for r in revisions:
        if len(r.parents) == 1 and not r.depends_on and r.parents[0] in index:  # nearly all, in every target's scope
            edges.append((index[r.parents[0]],))
            continue
        found, missing = _edges(r, revisions, index, labels)
        edges.append(found)
        problems += missing
    ancestors, unresolved = _ancestors(edges)
    if unresolved:
        problems.append(_circle_problem(revisions, _circle(edges, unresolved)))
    return Graph(tuple(revisions), tuple(edges), tuple(ancestors), index, labels), tuple(problems)


def _members(bits: int) -> list[int]:
    """Positions of the set bits, lowest first."""
    result = []
    while bits:
        low = bits & -bits
        result.append(low.bit_length() - 1)
        bits ^= low
    return result


def _names(revisions: Sequence[Revision]) -> tuple[dict[str, int], dict[str, int], list[Problem]]:
    index: dict[str, int] = {}
    labels: dict[str, int] = {}
    problems: list[Problem] = []
    for i, r in enumerate(revisions):
        if r.id in index:
            problems.append(_taken(f"revision id `{r.id}`", r, revisions[index[r.id]]))
        index[r.id] = i
    for i, r in enumerate(revisions):
        for label in r.labels:
            if label in labels or label in index:
                problems.append(_taken(f"branch label `{label}`", r, revisions[labels.get(label, index.get(label, i))]))
            labels[label] = i
    return index, labels, problems


def _taken(what: str, revision: Revision, other: Revision) -> Problem:
    return Problem(
        "duplicate_id" if what.startswith("revision") else "duplicate_label",
        f"{what} is used twice: in `{other.path}` and in `{revision.path}`",
        "give one of them another name",
        where=revision.path,
    )


def _edges(
    r: Revision, revisions: Sequence[Revision], index: dict[str, int], labels: dict[str, int]
) -> tuple[tuple[int, ...], list[Problem]]:
    found: list[int] = []
    problems: list[Problem] = []
    for name, attribute in [(p, "down_revision") for p in r.parents] + [(d, "depends_on") for d in r.depends_on]:
        # a label stands for the revision that declares it, the FIRST of its branch, as in Alembic
        at = index.get(name, labels.get(name) if attribute == "depends_on" else None)
        if at is not None:
            if at not in found:
                found.append(at)
            continue
        what, hint = "which is in none of the folders it is used with", "restore the missing file, or correct the name"
        if name in labels:
            what, hint = "which is a label, not an id", f"write the id: `{revisions[labels[name]].id}`"
        message = f"`{attribute}` of revision `{r.id}` names `{name}`, {what}"
        problems.append(Problem("missing_revision", message, hint, where=r.path))
    return tuple(found), problems


def _ancestors(edges: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Ancestor sets of all revisions, and the revisions that are in a circle or above one."""
    above: list[list[int]] = [[] for _ in edges]
    waiting = [len(e) for e in edges]
    for i, below in enumerate(edges):
        for e in below:
            above[e].append(i)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    result = [0] * len(edges)
    while ready:
        i = ready.pop()
        result[i] = 1 << i
        for e in edges[i]:
            result[i] |= result[e]
        for child in above[i]:
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    return result, [i for i, n in enumerate(waiting) if n]


def _circle(edges: Sequence[tuple[int, ...]], unresolved: Sequence[int]) -> list[int]:
    """One circle among these revisions, each needing the next, the last the first."""
    stuck = set(unresolved)
    path: list[int] = [unresolved[0]]
    while True:
        below = next(e for e in edges[path[-1]] if e in stuck)  # who is stuck needs another who is
        if below in path:
            return path[path.index(below) :]
        path.append(below)


def _circle_problem(revisions: Sequence[Revision], circle: Sequence[int]) -> Problem:
    names = " needs ".join(f"`{revisions[i].id}`" for i in (*circle, circle[0]))
    return Problem(
        "cycle",
        f"revisions need one another in a circle: {names}",
        "correct `down_revision` or `depends_on` in one of them",
        where=revisions[circle[0]].path,
    )
