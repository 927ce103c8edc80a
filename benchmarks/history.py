"""The work of a benchmark: one history of revisions, said once as SQL and once as Alembic's operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

OWN = 2
"""How many revisions each target has of its own."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One step. `statements` (SQL) and `code` (the body of an Alembic `upgrade()`) leave the same objects behind."""

    id: str
    statements: tuple[str, ...]
    code: str

    @property
    def sql(self) -> str:
        """All statements in one text, each ended by a semicolon."""
        return "".join(f"{statement};\n" for statement in self.statements)


@dataclass(frozen=True)
class History:
    """`length` shared revisions, then OWN for each target, then `later` shared ones: ids sort in this order."""

    length: int
    later: int = 0

    @property
    def shared(self) -> tuple[Revision, ...]:
        """What every target gets before its own revisions."""
        return tuple(islice(_shared(), self.length))

    @property
    def added(self) -> tuple[Revision, ...]:
        """What every target gets after its own revisions."""
        return tuple(_table(f"r{self.length + OWN + n:05d}", f"added_{n}") for n in range(self.later))

    def own(self, target: str) -> tuple[Revision, ...]:
        """What this target alone gets."""
        first, second = (f"{self.length + n:05d}" for n in range(OWN))
        name = f"own_{target}"
        return (_table(f"{target}_{first}", name), _alter(f"{target}_{second}", name))

    def numbered_own(self, target: str) -> tuple[tuple[str, Revision], ...]:
        """The same with ids for a tool that orders all its files by name."""
        return tuple((f"r{self.length + n:05d}", r) for n, r in enumerate(self.own(target)))

    def numbered(self, target: str) -> tuple[tuple[str, Revision], ...]:
        """All that this target gets, in order, with such ids."""
        before, after = ([(r.id, r) for r in part] for part in (self.shared, self.added))
        return (*before, *self.numbered_own(target), *after)


def _shared() -> Iterator[Revision]:
    """Tables with foreign keys, indexes, checks, views, triggers with functions, and policies, again and again."""
    numbers = (f"r{n:05d}" for n in count())
    for group in count():
        name = f"t_{group}"
        yield _table(next(numbers), name)
        yield _child(next(numbers), name)
        yield _alter(next(numbers), name)
        yield _view(next(numbers), name)
        yield _trigger(next(numbers), name)
        yield _policy(next(numbers), name)


def _table(id_: str, name: str) -> Revision:
    return Revision(
        id_,
        (
            f"CREATE TABLE {name} (id BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL, name VARCHAR(200) NOT NULL, "
            f"created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL, CONSTRAINT {name}_pkey PRIMARY KEY (id))",
            f"CREATE UNIQUE INDEX {name}_name ON {name} (name)",
        ),
        f"""op.create_table(
    "{name}",
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
    sa.PrimaryKeyConstraint("id", name="{name}_pkey"),
)
op.create_index("{name}_name", "{name}", ["name"], unique=True)""",
    )


def _child(id_: str, name: str) -> Revision:
    child = f"{name}_child"
    return Revision(
        id_,
        (
            f"CREATE TABLE {child} (id BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL, parent_id BIGINT NOT NULL, "
            f"amount NUMERIC(12, 2), CONSTRAINT {child}_pkey PRIMARY KEY (id), "
            f"CONSTRAINT {child}_parent FOREIGN KEY(parent_id) REFERENCES {name} (id) ON DELETE CASCADE)",
            f"CREATE INDEX {child}_parent_id ON {child} (parent_id)",
        ),
        f"""op.create_table(
    "{child}",
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column("parent_id", sa.BigInteger(), nullable=False),
    sa.Column("amount", sa.Numeric(12, 2), nullable=True),
    sa.PrimaryKeyConstraint("id", name="{child}_pkey"),
    sa.ForeignKeyConstraint(["parent_id"], ["{name}.id"], name="{child}_parent", ondelete="CASCADE"),
)
op.create_index("{child}_parent_id", "{child}", ["parent_id"])""",
    )


def _alter(id_: str, name: str) -> Revision:
    return Revision(
        id_,
        (
            f"ALTER TABLE {name} ADD COLUMN state VARCHAR(20) DEFAULT 'new' NOT NULL",
            f"CREATE INDEX {name}_state ON {name} (state, created_at)",
            f"ALTER TABLE {name} ADD CONSTRAINT {name}_state_known CHECK (state <> '')",
        ),
        f"""op.add_column("{name}", sa.Column("state", sa.String(20), server_default="new", nullable=False))
op.create_index("{name}_state", "{name}", ["state", "created_at"])
op.create_check_constraint("{name}_state_known", "{name}", "state <> ''")""",
    )


def _view(id_: str, name: str) -> Revision:
    return _in_sql(
        id_,
        f"CREATE VIEW {name}_totals AS SELECT p.id, p.name, sum(c.amount) AS total FROM {name} p "
        f"LEFT JOIN {name}_child c ON c.parent_id = p.id GROUP BY p.id, p.name",
    )


def _trigger(id_: str, name: str) -> Revision:
    return _in_sql(
        id_,
        f"CREATE FUNCTION {name}_touch() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.created_at = now(); RETURN NEW; END'",
        f"CREATE TRIGGER {name}_touched BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_touch()",
    )


def _policy(id_: str, name: str) -> Revision:
    return _in_sql(
        id_,
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY {name}_seen ON {name} FOR SELECT USING (state <> 'hidden')",
    )


def _in_sql(id_: str, *statements: str) -> Revision:
    """What Alembic has no operation for."""
    return Revision(id_, statements, "\n".join(f"op.execute({s!r})" for s in statements))
