"""docs/operations.md names the codes that the source has, and no other."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from ehg_migrate.database import faults
from ehg_migrate.database.doctor import CHECKS
from ehg_migrate.database.refusals import REFUSALS
from ehg_migrate.model import GATES, Limits, StateKind, Status

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
SOURCE = ROOT / "ehg_migrate"

FIELDS = {
    "connect_timeout": "connect",
    "answer_timeout": "answer",
    "lock_timeout": "lock",
    "statement_timeout": "statement",
    "idle_in_transaction_timeout": "idle_in_transaction",
    "queue_timeout": "queue",
    "deadline": "deadline",
    "retries": "retries",
}
UNITS = {"s": 1, "min": 60, "h": 3600, "": 1}


def section(title: str) -> str:
    """The text under a heading."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title: str) -> list[str]:
    """The words in backticks in the first column of a section's table."""
    cells = re.findall(r"^\| (`[^|]*) \|", section(title), re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`(\w+)`", cell)]


@cache
def trees() -> dict[Path, ast.Module]:
    """Every module of the package, parsed."""
    return {path: ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


@cache
def constants() -> frozenset[object]:
    """Every literal of the package."""
    return frozenset(n.value for tree in trees().values() for n in ast.walk(tree) if isinstance(n, ast.Constant))


def called(node: ast.AST | None, name: str) -> bool:
    """Whether it is a call of this name."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def problem_codes(node: ast.AST) -> set[str]:
    """The codes of the problems that are made somewhere below."""
    calls = [n for n in ast.walk(node) if called(n, "Problem") and isinstance(n, ast.Call) and n.args]
    return {str(n.args[0].value) for n in calls if isinstance(n.args[0], ast.Constant)}


@cache
def refusal_codes() -> frozenset[str]:
    """Codes with which a target is refused: gates, and what is raised as a TargetError by what works on targets."""
    functions = {
        node.name: node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }
    found = set(GATES)
    for path, tree in trees().items():
        if path.relative_to(SOURCE).parts[0] not in ("database", "rollout", "revisions"):
            continue  # stock Alembic's commands end with an error of Alembic's own
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and called(node.exc, "TargetError") and isinstance(node.exc, ast.Call):
                argument = node.exc.args[0]
                found |= problem_codes(argument)
                if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Name):
                    found |= problem_codes(functions.get(argument.func.id, argument))
    return frozenset(found)


@pytest.mark.parametrize("code", sorted({*first_cells("Refusals"), *first_cells("Failures"), *first_cells("Notes")}))
def test_a_code_that_is_named_exists(code: str) -> None:
    """As a text of its own somewhere in the source."""
    assert code in constants()


def test_every_refusal_is_explained() -> None:
    """A code with which a target is refused stands in the table, or in that of states."""
    assert len(refusal_codes()) > 5, "the search finds them"
    named = {*first_cells("Refusals"), *re.findall(r"`(\w+)`", section("What a target can be"))}
    assert sorted(refusal_codes() - named) == []


def failure_codes() -> set[str]:
    """Codes that an error of the driver, the server or a pooler becomes."""
    states = {code for code, _, _ in faults._STATES.values()} | {code for code, _ in faults._LOST.values()}
    return states | {code for _, code, _, _ in REFUSALS} | {"cancelled", "connect_failed", "statement_failed"}


def test_every_failure_is_explained() -> None:
    """In the table of failures, or that of refusals or states where it forbids to begin."""
    named = {*first_cells("Failures"), *first_cells("Refusals")}
    named |= set(re.findall(r"`(\w+)`", section("What a target can be")))
    assert sorted(failure_codes() - named) == []


def test_every_check_of_doctor_is_explained() -> None:
    """In their order, under the names that JSON has."""
    assert first_cells("Who else is there") == list(CHECKS)


def test_every_state_and_status_is_explained() -> None:
    """Both tables have exactly the words of the model."""
    assert sorted(first_cells("What a target can be")) == sorted(StateKind)
    assert sorted(first_cells("What a run can say of a target")) == sorted(Status)


def test_the_timeouts_are_those_of_the_model() -> None:
    """Each field with its default."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) ?(\w*) \|", section("Timeouts"), re.MULTILINE)
    assert {name: int(number) * UNITS[unit] for name, number, unit in rows} == {
        name: getattr(Limits(), field) for name, field in FIELDS.items()
    }


def test_the_codes_that_end_with_four() -> None:
    """The page names the rules' refusals, and no other code beside them."""
    sentence = section("Refusals").partition("said no: ")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == GATES
