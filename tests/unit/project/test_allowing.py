"""Which findings stop nothing, and names that name nothing."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from ehg_migrate.errors import UsageError
from ehg_migrate.model import Finding
from ehg_migrate.model.finding import Level
from ehg_migrate.project.allowing import allowances, checked
from ehg_migrate.project.linting import _refusal
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.rules import EFFECT_NAMES
from tests.unit.revisions.trees import rev

HISTORY = History({"shared": (replace(rev("s1"), allowed=(("effect:scan", "small"),)), rev("s2", "s1"))})


def test_who_allows_what() -> None:
    """The revision's own reason, or the name that was given: for all revisions, or for one."""
    reason = allowances(HISTORY, ("effect:rewrite@s2", "effect:granted"))
    assert reason("effect:scan", "s1") == "small"
    assert reason("effect:scan", "s2") == ""
    assert (reason("effect:rewrite", "s1"), reason("effect:rewrite", "s2")) == ("", "by --allow effect:rewrite@s2")
    assert reason("effect:granted", "s1") == "by --allow effect:granted"


def test_what_lets_a_finding_pass_can_be_pasted() -> None:
    """A revision may be called so that a shell would take its name apart."""
    found = Finding("effect:rewrite", Level.ERROR, "it is", "", "docs/lint.md#effectrewrite", "s 2; $x")
    flags = _refusal([found]).hint.partition("let it pass: ")[2]
    assert shlex.split(flags) == ["--allow", "effect:rewrite@s 2; $x"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("effect:rewite", "did you mean `effect:rewrite`?"),
        ("rewrite", "did you mean `effect:rewrite`?"),
        ("second_head", "there are `effect:backfill`, "),
        ("effect:rewrite@s3", "write the whole id"),
    ],
)
def test_a_name_that_names_nothing(name: str, hint: str) -> None:
    """Refused with what it may have been meant for."""
    with pytest.raises(UsageError) as caught:
        checked(HISTORY, (name,))
    assert caught.value.problems[0].hint.startswith(hint)


def test_names_are_whole() -> None:
    """What settings and revisions name is `effect:RULE`."""
    assert checked(HISTORY, sorted(EFFECT_NAMES)) == tuple(sorted(EFFECT_NAMES))
