"""Random histories from a seed: branches with forks, merges and dependencies, whose every step leaves its name behind.

The databases hold, before any revision, what `TEMPLATE` makes. Each step writes its revision and the name of the target
that the revision was told into `lab.trail`, which no downgrade takes back, and makes an object or a row of the same
names. So a step that ran in the wrong database, twice, or not at all shows in the catalogues.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from textwrap import indent

SHARED = "shared"
TEMPLATE = """
CREATE SCHEMA lab;
CREATE TABLE lab.trail (seq bigint GENERATED ALWAYS AS IDENTITY, revision text, direction text, target text,
                        at timestamptz DEFAULT clock_timestamp());
CREATE TABLE lab.data (revision text, target text, part integer);
CREATE TABLE lab.big (n integer);
INSERT INTO lab.big SELECT generate_series(1, 200);
CREATE FUNCTION lab.leave(text, text) RETURNS integer LANGUAGE sql AS
$$ INSERT INTO lab.trail (revision, direction, target) VALUES ($1, $2, substring(current_database() FROM '[^_]+$'))
   RETURNING 1 $$;
"""


@dataclass(frozen=True)
class Kind:
    """One kind of step: the Python of its two functions, and what it leaves.

    In the texts `{r}` is the revision, and the revision's own variable `N` is `<revision>_<target>`.
    """

    name: str
    up: str
    down: str
    objects: tuple[
        str, ...
    ] = ()  # what is in the catalogues afterwards, as `kind name`, without `_<revision>_<target>`
    rows: int = 0  # in lab.data
    atomic: bool = True
    plain: bool = False  # the same statements for every target, so that names are without it


_TABLE = 'op.create_table(f"t_{N}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("word", sa.Text))'
_BEYOND = "with op.get_context().autocommit_block():"

KINDS = (
    Kind("table", _TABLE, 'op.drop_table(f"t_{N}")', ("table t",)),
    Kind(
        "statements",
        'op.execute(f"CREATE TABLE t_{N} (id int, n int); CREATE INDEX i_{N} ON t_{N} (n)")\n'
        "op.execute(f\"ALTER TABLE t_{N} ADD COLUMN later text DEFAULT 'x'\")\n"
        'op.execute(f"CREATE VIEW v_{N} AS SELECT id FROM t_{N}")',
        'op.execute(f"DROP VIEW v_{N}")\nop.execute(f"DROP TABLE t_{N}")',
        ("table t", "index i", "view v"),
    ),
    Kind(
        "data",
        'bind = op.get_bind()\ncount = bind.execute(sa.text("SELECT count(*) FROM lab.big")).scalar_one()\n'
        "bind.execute(sa.text(\"INSERT INTO lab.data VALUES (:r, :t, :n)\"), {'r': '{r}', 't': TARGET, 'n': count})",
        "op.get_bind().execute(sa.text(\"DELETE FROM lab.data WHERE revision = :r\"), {'r': '{r}'})",
        rows=1,
    ),
    Kind(
        "concurrently",
        f'{_BEYOND}\n    op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS i_{{N}} ON lab.big (n)")',
        f'{_BEYOND}\n    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS lab.i_{{N}}")',
        ("index i",),
        atomic=False,
    ),
    Kind(
        "table and index",
        'op.execute(f"CREATE TABLE IF NOT EXISTS t_{N} (id int, n int)")\n'
        f"{_BEYOND}\n"
        '    op.create_index(f"i_{N}", f"t_{N}", ["n"], postgresql_concurrently=True, if_not_exists=True)\n'
        f'    op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS j_{{N}} ON t_{{N}} (id)")',
        f'{_BEYOND}\n    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS i_{{N}}")\n'
        '    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS j_{N}")\n'
        'op.execute(f"DROP TABLE IF EXISTS t_{N}")',
        ("table t", "index i", "index j"),
        atomic=False,
    ),
    Kind(
        "enum",
        "if not op.get_bind().execute(sa.text(f\"SELECT to_regtype('e_{N}')\")).scalar():\n"
        "    op.execute(f\"CREATE TYPE e_{N} AS ENUM ('a')\")\n"
        f"{_BEYOND}\n    op.execute(f\"ALTER TYPE e_{{N}} ADD VALUE IF NOT EXISTS 'b'\")",
        'op.execute(f"DROP TYPE IF EXISTS e_{N}")',
        ("type e(a,b)",),
        atomic=False,
    ),
    Kind(
        "backfill",
        f"for part in range(3):\n    {_BEYOND}\n"
        "        op.execute(f\"INSERT INTO lab.data SELECT '{r}', '{TARGET}', {part} WHERE NOT EXISTS \"\n"
        "                   f\"(SELECT FROM lab.data WHERE revision = '{r}' AND part = {part})\")",
        f"{_BEYOND}\n    op.execute(\"DELETE FROM lab.data WHERE revision = '{{r}}'\")",
        rows=3,
        atomic=False,
    ),
)
_WEIGHTS = (5, 4, 5, 3, 2, 2, 2)
PLAIN_KINDS = (
    Kind(
        "plain table",
        'op.create_table("t_{r}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("word", sa.Text))\n'
        'op.create_index("i_{r}", "t_{r}", ["word"])',
        'op.drop_table("t_{r}")',
        ("table t", "index i"),
        plain=True,
    ),
    Kind(
        "plain view",
        'op.execute("CREATE VIEW v_{r} AS SELECT n FROM lab.big")\nop.execute("COMMENT ON VIEW v_{r} IS \'a; b\'")',
        'op.execute("DROP VIEW v_{r}")',
        ("view v",),
        plain=True,
    ),
    Kind(
        "plain rows",
        'op.execute("CREATE TABLE t_{r} (n int)")\nop.execute("INSERT INTO t_{r} SELECT n FROM lab.big")',
        'op.execute("DROP TABLE t_{r}")',
        ("table t",),
        plain=True,
    ),
)
_PLAIN_WEIGHTS = (6, 4, 1)
_PLAIN = float(os.environ.get("EHG_FAULT_PLAIN", "0.4"))
"""Of the histories: their steps can be sent to one target as they were to another."""


@dataclass(frozen=True)
class Node:
    """One revision."""

    id: str
    branch: str
    parents: tuple[str, ...]
    depends: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True)
class History:
    """Revisions and the targets that have them; each target has `shared`, its groups, and its own branch."""

    seed: int
    nodes: tuple[Node, ...]  # each after what it needs
    groups: dict[str, tuple[str, ...]]  # target -> its group branches

    @cached_property
    def by_id(self) -> dict[str, Node]:
        """The revisions."""
        return {n.id: n for n in self.nodes}

    @property
    def is_plain(self) -> bool:
        """Whether all its steps are."""
        return all(n.kind.plain for n in self.nodes)

    def branches(self, target: str) -> tuple[str, ...]:
        """The folders of versions/ that a target has."""
        return (SHARED, *self.groups[target], target)

    def members(self, target: str) -> tuple[Node, ...]:
        """All revisions that a target can have, each after what it needs."""
        branches = self.branches(target)
        return tuple(n for n in self.nodes if n.branch in branches)

    def closure(self, ids: Iterable[str]) -> frozenset[str]:
        """These and all that they need."""
        found: set[str] = set()
        waiting = list(ids)
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += [*self.by_id[one].parents, *self.by_id[one].depends]
        return frozenset(found)

    def rows(self, applied: Iterable[str]) -> tuple[str, ...]:
        """What the version table holds when these are applied: those that no other one needs."""
        applied = set(applied)
        needed = {e for i in applied for e in (*self.by_id[i].parents, *self.by_id[i].depends)}
        return tuple(sorted(applied - needed))

    def heads(self, target: str) -> tuple[str, ...]:
        """What it holds when everything is applied."""
        return self.rows(n.id for n in self.members(target))

    def files(self) -> dict[str, str]:
        """The revision files by path below versions/."""
        first = {n.branch: n.id for n in reversed(self.nodes)}
        return {f"{n.branch}/{n.id}.py": text(n, label=first[n.branch] == n.id) for n in self.nodes}


def make_history(seed: int) -> History:
    """The history of this seed, always the same: 1 to 4 targets, 0 to 2 groups."""
    rng = random.Random(seed)
    kinds = (PLAIN_KINDS, _PLAIN_WEIGHTS) if random.Random(f"plain {seed}").random() < _PLAIN else (KINDS, _WEIGHTS)
    targets = [f"t{i + 1}" for i in range(rng.choice((1, 2, 2, 3, 4)))]
    groups = {t: tuple(g for g in ("ga", "gb") if rng.random() < 0.4) for t in targets}
    nodes = _branch(rng, SHARED, rng.randint(2, 5), [], kinds)
    for group in sorted({g for own in groups.values() for g in own}):
        nodes += _branch(rng, group, rng.randint(1, 3), [n for n in nodes if n.branch == SHARED], kinds)
    for target in targets:
        below = [n for n in nodes if n.branch in (SHARED, *groups[target])]
        nodes += _branch(rng, target, rng.randint(0, 3), below, kinds)
    return History(seed, tuple(nodes), groups)


def _branch(
    rng: random.Random, branch: str, size: int, below: list[Node], kinds: tuple[tuple[Kind, ...], tuple[int, ...]]
) -> list[Node]:
    """A branch of this size; its revisions may depend on those of `below`."""
    made: list[Node] = []
    for i in range(size):
        parents = _parents(rng, made)
        partial = History(0, (*below, *made), {})
        depends = _depends(rng, partial, parents, below)
        # a random beginning, so that files do not stand in the order of the graph
        name = f"{rng.getrandbits(12):03x}_{branch}{i}"
        made.append(Node(name, branch, parents, depends, rng.choices(*kinds)[0]))
    return made


def _parents(rng: random.Random, made: list[Node]) -> tuple[str, ...]:
    if not made:
        return ()
    heads = [n.id for n in made if not any(n.id in o.parents for o in made)]
    draw = rng.random()
    if len(heads) > 1 and draw < 0.5:
        return tuple(sorted(rng.sample(heads, 2)))
    return (rng.choice(made).id,) if draw > 0.8 else (rng.choice(heads),)


def _depends(rng: random.Random, known: History, parents: tuple[str, ...], below: list[Node]) -> tuple[str, ...]:
    """One or two of `below` that neither a parent nor one another needs already: parents stay an antichain."""
    chosen: list[str] = []
    if rng.random() < 0.45:
        for node in rng.sample(below, min(len(below), 2)):
            implied = known.closure((*parents, *chosen))
            if node.id not in implied and not any(c in known.closure((node.id,)) for c in chosen):
                chosen.append(node.id)
    return tuple(chosen)


def text(node: Node, *, label: bool, end: str = "") -> str:
    """The file of a revision; `end` is Python for the end of both its functions."""
    parents = node.parents[0] if len(node.parents) == 1 else node.parents or None
    return f'''"""{node.kind.name}"""

import sqlalchemy as sa
from alembic import context, op

revision = {node.id!r}
down_revision = {parents!r}
branch_labels = {(node.branch,) if label else None!r}
depends_on = {node.depends or None!r}


def upgrade():
{_body(node, node.kind.up, "up", end)}


def downgrade():
{_body(node, node.kind.down, "down", end)}
'''


def _body(node: Node, code: str, direction: str, end: str) -> str:
    if node.kind.plain:
        trail = f"CREATE TABLE x_{node.id} AS SELECT lab.leave('{node.id}', '{direction}')"
        lines = (code.replace("{r}", node.id), f'op.execute("{trail}")', f'op.execute("DROP TABLE x_{node.id}")', end)
        return indent("\n".join(filter(None, lines)), "    ")
    row = f"('{node.id}', '{direction}', '{{TARGET}}')"
    trail = f'op.execute(f"INSERT INTO lab.trail (revision, direction, target) VALUES {row}")'
    names = f'TARGET = context.get_x_argument(as_dictionary=True)["target"]\nN = f"{node.id}_{{TARGET}}"'
    # ids begin with a digit often, so names are always built behind a letter
    return indent("\n".join(filter(None, (names, code.replace("{r}", node.id), trail, end))), "    ")
