"""Every command under every fault ends with the exit code and the last line that docs/faults.md says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.fault_lab import Laboratory, Outcome
from tests.acceptance.fault_matrix import COMMANDS, FAULTS, GOALS, cells, last_line, page
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.running import CANARY_PARTS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
AT_ONCE = 8  # most cells wait for something

Found = Mapping[tuple[str, str], Outcome]


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Where all cells take place: on a server of their own, which goes with all their databases."""
    with Cluster() as pg, PgBouncer(pg, "transaction") as bouncer:
        lab = Laboratory(pg, bouncer, tmp_path_factory.mktemp("matrix"))
        with lab.open:
            yield lab


@pytest.fixture(scope="module")
def found(laboratory: Laboratory) -> Found:
    """What every cell said, and how it ended."""

    def run(cell: tuple[str, str]) -> Outcome:
        command, fault = cell
        return laboratory.run(command, COMMANDS[command], FAULTS[fault])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(cells(), threads.map(run, cells()), strict=True))


def test_the_page_is_what_happens(laboratory: Laboratory, found: Found) -> None:
    """Exit code and last line of every cell; `EHG_TEST_WRITE=1` writes the page anew."""
    text = page({cell: (outcome.code, last_line(laboratory, outcome.said)) for cell, outcome in found.items()})
    if os.environ.get("EHG_TEST_WRITE") == "1":
        PAGE.write_text(text)
    assert text == PAGE.read_text()


def test_every_cell_says_something_fit_to_be_seen(found: Found) -> None:
    """No traceback, no silence, no password."""
    for cell, outcome in found.items():
        assert outcome.said.strip(), cell
        for unfit in ("Traceback", "this is a fault of ehg-migrate", *CANARY_PARTS):
            assert unfit not in outcome.said, (cell, outcome.said)


@pytest.mark.parametrize("command", GOALS)
def test_green_is_good(found: Found, command: str) -> None:
    """A command that changes targets ends with 0 exactly where `acme` holds what it was to hold."""
    for (name, fault), outcome in found.items():
        if name == command and fault != "Ctrl-C":  # which ends with 130 although its step was finished
            assert (outcome.code == 0) == (outcome.heads == GOALS[command]), (fault, outcome)
