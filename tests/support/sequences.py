"""A project that changes between its commands, its databases, and what is really in them. All comes from a seed.

Each revision makes a table or, outside of its transaction, an index of its own name, and leaves its name in a trail
that no downgrade takes back. In some worlds all are plain lists of operations, which may be sent as wholes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ehg_migrate.model import Address
from tests.support.postgres import Cluster
from tests.support.project import add_revision, target_entry, write_project

TEMPLATE = """
CREATE SCHEMA lab;
CREATE TABLE lab.trail (seq bigint GENERATED ALWAYS AS IDENTITY, revision text, direction text);
CREATE TABLE lab.trouble (revision text, direction text, what text);
CREATE TABLE lab.big (n integer);
CREATE TABLE lab.late (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION lab.trouble(revision text, direction text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text := (SELECT what FROM lab.trouble t WHERE (t.revision, t.direction) = ($1, $2));
BEGIN
    IF found = 'raise' THEN RAISE EXCEPTION 'trouble'; END IF;
    IF found = 'at commit' THEN INSERT INTO lab.late VALUES (1), (1); END IF;
    IF found = 'terminate' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN found;
END $$;
"""
TROUBLE = ("raise", "at commit", "terminate", "kill", "interrupt", "kill the runner")

_HEAD = '''"""{comment}"""

from alembic import op

revision = {id!r}
down_revision = {parents!r}
branch_labels = {labels!r}
depends_on = {depends!r}
'''
_CODE = """
import os
import signal

import sqlalchemy as sa


def told(direction):
    op.execute(f"INSERT INTO lab.trail (revision, direction) VALUES ('{{revision}}', '{{direction}}')")
    found = op.get_bind().execute(sa.text(f"SELECT lab.trouble('{{revision}}', '{{direction}}')")).scalar()
    if found == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if found in ("interrupt", "kill the runner"):
        runner = op.get_bind().execute(sa.text("SELECT pid FROM ehg_migrate.migration_lease")).scalar()
        os.kill(runner, signal.SIGINT if found == "interrupt" else signal.SIGKILL)


def upgrade():
    {up}
    told("up")


def downgrade():
    {down}
    told("down")
"""
_PLAIN = """

def upgrade():
    op.execute("CREATE TABLE t_{id} (n integer)")
    op.execute("INSERT INTO lab.trail (revision, direction) VALUES ('{id}', 'up')")
    op.execute("CREATE TABLE told AS SELECT lab.trouble('{id}', 'up')")
    op.execute("DROP TABLE told")


def downgrade():
    op.execute("DROP TABLE t_{id}")
    op.execute("INSERT INTO lab.trail (revision, direction) VALUES ('{id}', 'down')")
    op.execute("CREATE TABLE told AS SELECT lab.trouble('{id}', 'down')")
    op.execute("DROP TABLE told")
"""
_OUTSIDE = "with op.get_context().autocommit_block():\n        "
_MADE = """
SELECT substring(c.relname FROM 3) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
 WHERE c.relname ~ '^[ti]_' AND coalesce(i.indisvalid, c.relkind = 'r')
"""
_LEFT = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                                                AND backend_type = 'client backend')
     + (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE locktype = 'advisory' AND datname = current_database())
"""
_ROWS = "SELECT version_num FROM ehg_migrate.alembic_version"
_JOURNAL = """
SELECT run, event, revision, direction, heads_before, heads_after FROM ehg_migrate.migration_journal ORDER BY seq
"""


@dataclass(frozen=True)
class Rev:
    """One revision file."""

    id: str
    branch: str
    parents: tuple[str, ...]
    depends: tuple[str, ...] = ()
    outside: bool = False  # of its transaction
    plain: bool = False
    comment: str = ""

    @property
    def text(self) -> str:
        up = f"CREATE INDEX CONCURRENTLY IF NOT EXISTS i_{self.id} ON lab.big (n)"
        down = f"DROP INDEX CONCURRENTLY IF EXISTS lab.i_{self.id}"
        if not self.outside:
            up, down = f"CREATE TABLE t_{self.id} (n integer)", f"DROP TABLE t_{self.id}"
        before = _OUTSIDE if self.outside else ""
        return (_HEAD + (_PLAIN if self.plain else _CODE)).format(
            comment=self.comment or self.id,
            id=self.id,
            parents=self.parents[0] if len(self.parents) == 1 else self.parents or None,
            labels=None if self.parents else (self.branch,),
            depends=self.depends or None,
            up=f'{before}op.execute("{up}")',
            down=f'{before}op.execute("{down}")',
        )


class Entry(NamedTuple):
    """One of the journal."""

    run: str
    event: str
    revision: str
    direction: str
    before: list[str]
    after: list[str]


@dataclass(frozen=True)
class Truth:
    """What is in a database."""

    rows: frozenset[str]
    made: frozenset[str]  # the revisions whose table or valid index is there
    trail: tuple[tuple[str, str], ...]
    journal: tuple[Entry, ...]
    left: int  # sessions and locks that nobody should have any more

    def half(self) -> dict[str, str]:
        """The direction of each step that left its transaction and did not end."""
        found: dict[str, str] = {}
        for e in self.journal:
            if e.event == "started":
                found[e.revision] = e.direction
            elif e.event == "done":
                found.pop(e.revision, None)
        return found


class World:
    """Targets with a database each; files that come, are edited, and are put below others."""

    def __init__(self, rng: random.Random, folder: Path, pg: Cluster, databases: Mapping[str, Address]) -> None:
        self.rng, self.folder, self.revs = rng, folder, dict[str, Rev]()
        self.moved: set[str] = set()  # targets some of whose applied files came to need others
        self._pg, self._databases = pg, databases
        self._copies: dict[str, tuple[str, bool]] = {}  # by target: a database's name, and whether it was `moved`
        self._plain = rng.random() < 0.3
        write_project(folder, {t: target_entry(a, retries=1) for t, a in databases.items()}, {})
        for a in databases.values():
            with pg.connect(a.dbname) as c:
                c.execute(TEMPLATE.encode())
        for _ in range(rng.randint(3, 6)):
            self.add()

    @property
    def targets(self) -> list[str]:
        return [*self._databases]

    # --- files

    def add(self) -> None:
        """A revision at a head, or not; a merge; the first of a branch; with or without a dependency."""
        branch = self.rng.choices(("shared", *self.targets), (4, *[1] * len(self.targets)))[0]
        mine = self._of(branch)
        heads = [i for i in mine if not any(i in r.parents for r in self.revs.values())]
        number = 2 if len(heads) > 1 and self.rng.random() < 0.5 else 1
        parents = self.rng.sample(heads if self.rng.random() < 0.8 else mine, number) if mine else []
        below = [i for i in self._of("shared") if i not in self.closure(parents)] if branch != "shared" else []
        depends = self.rng.sample(below, 1) if below and self.rng.random() < 0.5 else []
        name = f"{self.rng.getrandbits(12):03x}{branch}{len(self.revs)}"  # files do not stand in the graph's order
        outside = not self._plain and self.rng.random() < 0.2
        self._write(Rev(name, branch, tuple(sorted(parents)), tuple(depends), outside, self._plain))

    def edit(self) -> None:
        """A file is another, and does the same."""
        r = self.rng.choice([*self.revs.values()])
        self._write(replace(r, comment=f"{r.comment}."))

    def put_below(self) -> None:
        """A file comes to continue or to need another one, whoever has applied it."""
        r = self.rng.choice([*self.revs.values()])
        others = [i for i in self._of(r.branch) if r.parents and r.id not in self.closure([i])]
        needed = [i for i in self._of("shared") if r.branch != "shared" and i not in self.closure([r.id])]
        before = {t: self.closure(self.truth(t).rows) for t in self.targets}
        if needed and (self.rng.random() < 0.5 or not others):
            self._write(replace(r, depends=(*r.depends, self.rng.choice(needed))))
        elif others:
            self._write(replace(r, parents=(self.rng.choice(others),), depends=()))
        self.moved |= {t for t in self.targets if self.closure(self.truth(t).rows) != before[t]}

    def _write(self, r: Rev) -> None:
        self.revs[r.id] = r
        add_revision(self.folder, f"{r.branch}/{r.id}", r.text)

    def _of(self, branch: str) -> list[str]:
        return [i for i, r in self.revs.items() if r.branch == branch]

    # --- the graph, as this model has it

    def scope(self, target: str) -> set[str]:
        return {*self._of("shared"), *self._of(target)}

    def closure(self, ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        left = list(ids)
        while left:
            i = left.pop()
            if i not in found:
                found.add(i)
                left += [*self.revs[i].parents, *self.revs[i].depends]
        return found

    def heads(self, ids: Iterable[str]) -> set[str]:
        """Without those that another one needs."""
        ids = set(ids)
        return {i for i in ids if not any(i in self.closure([o]) for o in ids - {i})}

    # --- the databases

    def trouble(self) -> dict[str, tuple[str, str, str]]:
        """What happens on some targets in the next command, in a step that is likely to be done."""
        found = {}
        for target in self.targets:
            self._do(target, "DELETE FROM lab.trouble")
            scope, held = self.scope(target), self.closure(self.truth(target).rows)
            if not scope or self.rng.random() > 0.3:
                continue
            revision = self.rng.choice(sorted(scope - held or scope if self.rng.random() < 0.6 else held or scope))
            what = revision, "down" if revision in held else "up", self.rng.choice(TROUBLE)
            self._do(target, "INSERT INTO lab.trouble VALUES ('{}', '{}', '{}')".format(*what))
            found[target] = what
        return found

    def restore(self) -> None:
        """A target's database becomes what it was when it was last copied; where it never was, it is copied."""
        target = self.rng.choice(self.targets)
        name = self._databases[target].dbname
        if target not in self._copies:
            self._pg.copy_database(name, f"{name}_copy")
            self._copies[target] = f"{name}_copy", target in self.moved
            return
        copy, moved = self._copies.pop(target)
        self._pg.drop_databases([name])
        self._pg.copy_database(copy, name)
        self._pg.drop_databases([copy])
        self.moved = self.moved | {target} if moved else self.moved - {target}

    def forget_copies(self) -> None:
        """Their databases go."""
        self._pg.drop_databases(name for name, _ in self._copies.values())

    def _do(self, target: str, statement: str) -> None:
        with self._pg.connect(self._databases[target].dbname) as c:
            c.execute(statement.encode())

    def truth(self, target: str) -> Truth:
        """Read past every tool."""
        with self._pg.admin(self._databases[target].dbname) as c:

            def column(statement: str) -> frozenset[str]:
                return frozenset(r[0] for r in c.execute(statement.encode()).fetchall())

            ours = column("SELECT 1 FROM pg_tables WHERE schemaname = 'ehg_migrate'")
            trail = c.execute("SELECT revision, direction FROM lab.trail ORDER BY seq").fetchall()
            entries = c.execute(_JOURNAL).fetchall() if ours else []
            return Truth(
                column(_ROWS) if ours else frozenset(),
                column(_MADE),
                tuple((r, d) for r, d in trail),
                tuple(Entry(*row) for row in entries),
                c.execute(_LEFT).fetchall()[0][0],
            )
