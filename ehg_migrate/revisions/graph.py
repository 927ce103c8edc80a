"""The revisions of one scope as a graph, and the exact steps between two sets of heads: pure, and without Alembic.

A(H) is a set of heads with all their ancestors through `down_revision` and `depends_on`. To bring a database from
rows C to rows D, A(C) minus A(D) goes down and A(D) minus A(C) goes up. Both sets are closed, so an order always
exists; where several exist we take the one that Alembic takes for the same files.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    """The revisions that one target can have, resolved. Made by `building.build`, which reports what cannot be.

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

    def known(self, ids: Iterable[str]) -> tuple[str, ...]:
        """The same of those that are revisions here."""
        return self.canonical(i for i in ids if i in self.index)

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


def _members(bits: int) -> list[int]:
    """Positions of the set bits, lowest first."""
    result = []
    while bits:
        low = bits & -bits
        result.append(low.bit_length() - 1)
        bits ^= low
    return result
