"""The table of rules, the page that explains them, and what a revision says it breaks on purpose."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ehg_migrate.errors import RevisionsError
from ehg_migrate.revisions.allowances import allowances
from ehg_migrate.revisions.lint import RULES as FILE_RULES
from ehg_migrate.revisions.rules import EFFECT_RULE, RULES, Weight, anchor

PAGE = (Path(__file__).parents[3] / "docs" / "lint.md").read_text()
WEIGHTS = {Weight.NOTHING: "", Weight.SIZE: " on a large table", Weight.ROWS: " where the table holds anything"}


def test_every_rule_is_explained() -> None:
    """docs/lint.md has a section for each rule, whose anchor is the one that findings name, and for no other."""
    headings = re.findall(r"^## `([\w:]+)`$", PAGE, re.MULTILINE)
    assert (
        headings == [f"{EFFECT_RULE}{name}" for name in sorted(RULES, key=list(RULES).index)] + headings[len(RULES) :]
    )
    assert sorted(headings[len(RULES) :]) == sorted(FILE_RULES)
    for heading in headings:
        assert anchor(heading) == f"docs/lint.md#{re.sub('[^a-z0-9_ -]', '', heading)}"
    assert anchor("sql:ban-drop-column") == "docs/lint.md#sql"


@pytest.mark.parametrize("name", RULES)
def test_a_section_begins_with_the_level(name: str) -> None:
    """And with where it has that level."""
    (text,) = re.findall(rf"^## `effect:{name}`\n(.*?\.) ", PAGE, re.MULTILINE | re.DOTALL)
    rule = RULES[name]
    assert text == f"{rule.level.value.capitalize()}{WEIGHTS[rule.weight]}."
    assert rule.message[0].islower()
    assert not rule.message.endswith(".")
    assert rule.hint


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", ()),
        ('lint_allow = {"effect:scan": "a  b", "effect:x": "c"}', (("effect:scan", "a b"), ("effect:x", "c"))),
        ('lint_allow: dict[str, str] = {"effect:scan": "a"}', (("effect:scan", "a"),)),
    ],
)  # fmt: skip
def test_what_a_revision_allows(line: str, found: tuple[tuple[str, str], ...]) -> None:
    """By a literal at the top of the module, with its reasons."""
    assert allowances(ast.parse(line), "a.py") == found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('\nlint_allow = {"effect:scan": " "}', "`lint_allow` allows `effect:scan` without a reason"),
        ("\nlint_allow = dict(a=1)", "`lint_allow` is no dictionary of literal texts"),
        ('\nlint_allow = ["effect:scan"]', "`lint_allow` is no dictionary of literal texts"),
        ('\nlint_allow = {"effect:scan": None}', "`lint_allow` is no dictionary of literal texts"),
    ],
)
def test_what_a_revision_cannot_allow(line: str, message: str) -> None:
    """No reason, or no literal: refused with its line."""
    with pytest.raises(RevisionsError) as caught:
        allowances(ast.parse(line), "a.py")
    (problem,) = caught.value.problems
    assert (problem.message, problem.where) == (message, "a.py:2")
