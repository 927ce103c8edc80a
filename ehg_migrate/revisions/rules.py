"""The rules about what a step does, in one table: level, message, hint, and what a target's size has to say. Pure.

`docs/lint.md` has a section for each; a test holds it against this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ehg_migrate.model import Level

SQL_RULE = "sql:"
"""Before the name of a rule about the SQL of revisions, `sql:ban-drop-column`; those are squawk's."""

EFFECT_RULE = "effect:"
"""Before the name of a rule about what a step does in a rehearsal, `effect:lost_data`."""


class Weight(StrEnum):
    """What of a target decides whether a finding has its rule's level there, or is a note."""

    NOTHING = "nothing"  # it has the level everywhere
    SIZE = "size"  # where the table is as large as `large_table`
    ROWS = "rows"  # where the table holds anything


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, by its name after `effect:`."""

    name: str
    level: Level
    message: str
    hint: str
    weight: Weight = Weight.NOTHING


_N, _W, _E = Level.NOTE, Level.WARNING, Level.ERROR
_RULES = (
    Rule("rewrite", _E, "the whole table is written anew, and nobody can read it meanwhile",
         "add a new column, fill it in batches, switch over", Weight.SIZE),
    Rule("scan", _E, "every row is read under a lock that keeps writers out",
         "add it NOT VALID, and VALIDATE CONSTRAINT in a later revision", Weight.SIZE),
    Rule("index_build", _E, "the index is built while nobody can write to the table",
         "CREATE INDEX CONCURRENTLY inside `op.get_context().autocommit_block()`", Weight.SIZE),
    Rule("held_lock", _E, "a long statement works on this table while the step holds an exclusive lock",
         "do the long work in a revision of its own, before the one that locks", Weight.SIZE),
    Rule("backfill", _W, "rows are changed in the transaction that changes the schema, which keeps its locks as long",
         "change rows in a revision of their own, in batches", Weight.SIZE),
    Rule("many_locks", _W, "the step locks several tables against readers, one after the other: it can deadlock, and "
         "waits for all of them", "one table in each revision"),
    Rule("lost_data", _E, "its data is gone, and a downgrade brings back the shape only",
         "is it copied, or not needed by anyone?", Weight.ROWS),
    Rule("truncate", _E, "every row of it is thrown away, and no downgrade brings them back",
         "is it copied, or not needed by anyone?", Weight.ROWS),
    Rule("delete", _W, "rows of it are deleted, and no downgrade brings them back",
         "is it copied, or not needed by anyone?", Weight.ROWS),
    Rule("detached", _W, "its rows are no longer among those of the table that it was a part of",
         "is nobody looking for them there, and is no row for it still to come?", Weight.ROWS),
    Rule("renamed", _W, "whatever runs now knows it by its former name, and fails from this step on",
         "add the new one beside it, move what uses it, drop the old one later"),
    Rule("dropped", _W, "whatever runs now and still uses it fails from this step on",
         "drop it when nothing that runs needs it any more"),
    Rule("open_table", _E, "anyone whom PostgREST serves can reach this table, and no row-level security holds them "
         "back", "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, or REVOKE ALL FROM anon, authenticated"),
    Rule("open_view", _E, "this view asks as its owner, so the row-level security of its tables does not hold for "
         "whoever reads it", "CREATE VIEW ... WITH (security_invoker = on), or revoke it from anon and authenticated"),
    Rule("open_policy", _E, "this policy lets everybody write every row",
         "say whose rows they are, as `auth.uid() = owner`, or name the role that may"),
    Rule("open_reading", _N, "this policy lets whoever is not logged in read every row",
         "name `authenticated`, or say whose rows they are, unless the table is meant for everybody"),
    Rule("granted", _W, "whoever is not logged in gets a privilege on it that was not there before",
         "grant to `authenticated`, or to a role of your own"),
    Rule("definer_search_path", _W, "this function runs as its owner, and who calls it chooses which tables and "
         "functions its names mean", "SET search_path = '' and qualify every name in it"),
    Rule("trigger_off", _W, "it is switched off, and nothing says so to whoever relies on it",
         "ENABLE TRIGGER in the same revision, or drop it"),
    Rule("fk_without_index", _W, "each delete or change of a row that it refers to reads the whole table",
         "CREATE INDEX CONCURRENTLY on its columns"),
    Rule("invalid_index", _W, "this index is not valid: nothing uses it and every write pays for it",
         "drop it, build it anew"),
    Rule("not_validated", _N, "rows from before this constraint are not checked",
         "VALIDATE CONSTRAINT in a later revision"),
    Rule("platform", _W, "it belongs to the platform, whose updates may undo the change or fail because of it",
         "keep what is yours in a schema of your own"),
    Rule("no_downgrade", _N, "the revision has no way back", "write `downgrade()`, or let it be on purpose"),
    Rule("not_restored", _W, "its `downgrade()` does not bring back what was there before",
         "`ehg-migrate rehearse` shows each clause"),
    Rule("downgrade_loses", _W, "its `downgrade()` drops what its `upgrade()` has not made, with all data",
         "take that out of `downgrade()`"),
)  # fmt: skip

RULES = {rule.name: rule for rule in _RULES}
"""Every rule about what a step does, by its name after `effect:`."""


LOSING = (f"{EFFECT_RULE}lost_data", f"{EFFECT_RULE}truncate")
"""Rules that stop what loses rows: `schema sync --allow-destructive` is the word that lets them pass."""


def anchor(rule: str) -> str:
    """Where a rule is explained: `docs/lint.md#effectrewrite`. Squawk's rules share a section."""
    if rule.startswith(SQL_RULE):
        return "docs/lint.md#sql"
    return f"docs/lint.md#{rule.replace(':', '')}"


def page_command(anchor: str) -> str:
    """The command that prints what an anchor names: who installed a wheel has no file `docs/lint.md`."""
    return f"ehg-migrate {anchor.replace('/', ' ', 1).replace('.md', '', 1)}"


def meant(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is no rule: what it may have been meant for, else all there are."""
    import difflib  # only who has made a mistake waits for it

    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1) or [n for n in names if n == f"{EFFECT_RULE}{name}"]
    return f"did you mean `{near[0]}`?" if near else f"there are {', '.join(f'`{n}`' for n in names)}"


EFFECT_NAMES = frozenset(f"{EFFECT_RULE}{name}" for name in RULES)
"""The whole names of all rules about what a step does."""
