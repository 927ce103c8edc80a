"""Whatever is broken on purpose: no target lies, nothing runs twice, and everything can be brought to its heads.

The short form has fixed seeds. The long form: `make faults CASES=2000 SEED=1`, which sets EHG_FAULT_CASES and
EHG_FAULT_SEED; the same variables with one case do a failing case again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.driver import Report, batches, run_case


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    """The servers and proxies of this process."""
    with Bench() as opened:
        yield opened


@pytest.mark.parametrize("seeds", batches(), ids=lambda s: f"{s[0]}-{s[-1]}")
def test_nothing_is_lost_and_every_status_is_true(bench: Bench, seeds: list[int]) -> None:
    """After the fault every database is consistent and every result true; after healing all is as if undisturbed."""
    reports = [run_case(bench, seed) for seed in seeds]
    for report in reports:
        _record(report)
    bad = [r for r in reports if r.violations]
    if bad:
        pytest.fail("\n\n".join(_told(r) for r in bad), pytrace=False)


def _told(report: Report) -> str:
    lines = [f"{report.kind} during {report.verb}; again with:", f"  {report.command}"]
    return "\n".join([*lines, *(f"  - {v}" for v in report.violations), *report.story])


def _record(report: Report) -> None:
    """For the numbers at the end; see conftest.py."""
    name = os.environ.get("EHG_FAULT_RECORD")
    if name:
        with Path(name).open("a") as file:
            file.write(json.dumps(asdict(report) | {"story": []}) + "\n")
