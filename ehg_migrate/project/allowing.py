"""Which findings stop nothing: by `lint_allow` in the revision, or by name on the command line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.rules import EFFECT_NAMES, meant


def checked(history: History, allow: Sequence[str]) -> tuple[str, ...]:
    """The same names (`RULE` or `RULE@REVISION`). Raises UsageError for those that name nothing."""
    for name in allow:
        rule, at, revision = name.partition("@")
        if rule not in EFFECT_NAMES:
            message = f"`{rule}` is no rule that a step can be allowed to break"
            raise UsageError(Problem("unknown_rule", message, meant(rule, EFFECT_NAMES)))
        if at and not history.holders(revision):
            hint = "write the whole id; `ehg-migrate plan` shows it"
            raise UsageError(Problem("no_such_revision", f"there is no revision `{revision}`", hint))
    return tuple(allow)


def allowances(history: History, allow: Sequence[str]) -> Callable[[str, str], str]:
    """(whole name of a rule, revision) -> why it may be broken there; nothing where it may not."""
    given = {(r.id, rule): reason for revisions in history.branches.values() for r in revisions
             for rule, reason in r.allowed}  # fmt: skip

    def allowed(rule: str, revision: str) -> str:
        named = next((name for name in (rule, f"{rule}@{revision}") if name in allow), "")
        return given.get((revision, rule), "") or (f"by --allow {named}" if named else "")

    return allowed
