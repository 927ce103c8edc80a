"""What a ledger of years costs a command: it looks at the newest of each target, not at all that was ever done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.ledger import open_ledger
from ehg_migrate.ledger.sqlite import connect, open_sqlite
from tests.unit.ledger.contract import a_result, a_run

_TARGETS = ("acme", "bolt", "crux")
_IDENTITIES = {name: f"{name:x<16}" for name in _TARGETS}

_QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("last_results", {"asked": [f"{i:16}{n}" for n, i in _IDENTITIES.items()]}),
    ("newest_record", {"targets": list(_TARGETS), "identities": list(_IDENTITIES.values())}),
]


@pytest.mark.parametrize(("name", "values"), _QUESTIONS, ids=[name for name, _ in _QUESTIONS])
def test_a_long_past_costs_nothing(name: str, values: dict[str, Any], tmp_path: Path) -> None:
    """SQLite takes as many steps for an answer after 80 runs as after 20."""
    assert _steps(tmp_path / "old", 80, name, values) < 1.3 * _steps(tmp_path / "new", 20, name, values)


def _steps(file: Path, runs: int, name: str, values: dict[str, Any]) -> int:
    url, count = f"sqlite:///{file}", 0
    ledger = open_ledger(url, identities=_IDENTITIES)
    for number in range(runs):
        run = a_run(f"r{number:04}", minute=number, targets=_TARGETS)
        ledger.enter(replace(run, results=tuple(a_result(target) for target in _TARGETS)))

    def counted() -> None:
        nonlocal count
        count += 1

    dialect, connection = open_sqlite(url).dialect, connect(file)
    connection.set_progress_handler(counted, 1)
    rows = connection.execute(dialect.statement(name), {k: dialect.write(v) for k, v in values.items()} | {"now": ""})
    assert rows.fetchall()
    connection.close()
    return count
