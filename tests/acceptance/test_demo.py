"""`docs/demo.sh` keeps its promises, in a copy of this repository's tree."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cli import ehg, environment

ROOT = Path(__file__).parents[2]
FLEET = ("ehg_engineer", "app_1", "app_2")
NEEDED = ("alembic.ini", "docs", "targets", "versions")  # of the tree; the program is the installed one


@dataclass(frozen=True)
class Demo:
    """How it ended, and its commands with what each said, both streams together."""

    code: int
    parts: list[tuple[str, str]]

    def said(self, start: str, number: int = 0) -> str:
        """What the command that begins so said; `number` where there are several."""
        return [text for command, text in self.parts if command.startswith(start)][number]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, run to its end."""
    folder = tmp_path_factory.mktemp("demo")
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    try:
        done = subprocess.run(
            ["bash", "docs/demo.sh"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        pieces = re.split(r"^\$ ehg-migrate (.*)\n", done.stdout, flags=re.MULTILINE)
        yield Demo(done.returncode, list(zip(pieces[1::2], pieces[2::2], strict=True)))
    finally:
        ehg(folder / ".ehg" / "demo", "local", "wipe", "--yes")


def heads(status: str) -> dict[str, tuple[str, str]]:
    """State and heads of each target in what `status` printed."""
    rows = (line.split() for line in status.splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 4 and row[0] in FLEET}


def test_it_ends_well(demo: Demo) -> None:
    """Every command ended as the script expects, so it ends with 0."""
    assert demo.code == 0, demo.parts[-1]


def test_every_target_is_at_its_heads_in_the_end(demo: Demo) -> None:
    """All three are up to date, and hold the newest revision of `shared` beside their own."""
    found = heads(demo.said("status"))
    assert set(found) == set(FLEET)
    assert all(state == "up_to_date" and "demo_surveys" in rows for state, rows in found.values())


def test_the_first_run_does_everything(demo: Demo) -> None:
    """From nothing, on every target."""
    first = demo.said("upgrade --local --yes", 0)
    assert re.search(r"^run \S+: 3 succeeded \(ehg_engineer, app_1, app_2\)$", first, re.MULTILINE)
    assert first.count("  from  -\n") == 3


def test_the_second_run_has_nothing_to_do(demo: Demo) -> None:
    """And says so, without a step."""
    second = demo.said("upgrade --local --yes", 1)
    assert second.startswith("nothing to do for ehg_engineer, app_1, app_2\nupgrade: 0 steps on 0 targets")
    assert re.search(r"^run \S+: 3 up_to_date", second, re.MULTILINE)
    assert ": step " not in second


def test_one_target_fails_alone(demo: Demo) -> None:
    """With PostgreSQL's words, the place in its file and what to do; the others succeed; the exit code is 1."""
    third = demo.said("upgrade --local --yes", 2)
    assert re.search(r"^run \S+: 2 succeeded \(ehg_engineer, app_1\), 1 failed \(app_2\)$", third, re.MULTILINE)
    assert (
        '  relation "surveys" already exists (SQLSTATE 42P07)\n    at versions/shared/demo_surveys.py:7\n    hint: '
    ) in third
    assert "\n(exit 1)\n" in third


def test_the_rollback_restores_the_heads(demo: Demo) -> None:
    """It leaves exactly the heads from before the failed run, by the target's own journal too."""
    (before,) = re.findall(r"plan \w+ for app_2\n  from  (\S+)\n", demo.said("upgrade --local --yes", 2))
    rolled = demo.said("rollback")
    assert f"\n  to    {before}\n" in rolled
    assert re.search(r"^run \S+: 1 succeeded \(app_2\)$", rolled, re.MULTILINE)
    journal = [line for line in demo.said("history app_2").splitlines() if line.startswith("20")]
    assert journal[-1].endswith(f"  {before}")


def test_the_last_run_does_what_is_missing_only_there(demo: Demo) -> None:
    """Two steps on the one target, nothing on the others."""
    last = demo.said("upgrade --local --yes", 3)
    assert "upgrade: 2 steps on 1 target, nothing to do on 2\n" in last
    assert re.search(r"^run \S+: 2 up_to_date \(ehg_engineer, app_1\), 1 succeeded \(app_2\)$", last, re.MULTILINE)
