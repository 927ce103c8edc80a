"""Files that a command writes beside its output, for pipelines and for people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ehg_migrate.cli import console
from ehg_migrate.cli.options import Unwritable
from ehg_migrate.errors import Problem, described
from ehg_migrate.model import Run, State
from ehg_migrate.report.junit import junit
from ehg_migrate.report.markdown import markdown

_LOST = "nor could the run be written into the ledger: `ehg-migrate history TARGET` shows what was done"


def write_reports(run: Run, files: Mapping[str, Path | None]) -> None:
    """A report that cannot be written does not change what the run was: it is told, and the run's exit code stays."""
    for name, mode, make in (("junit", "w", junit), ("summary", "a", markdown), ("html", "w", _run_page)):
        file = files[name]
        if file is None:
            continue
        try:
            write_file(file, make(console.hints_as_typed(run)), mode)
        except Exception as e:  # noqa: BLE001 - no memory for the page, say: the run is to be told all the same
            kept = all(note.code != "ledger_incomplete" for note in run.notes)
            hint = f"the run is in the ledger: `ehg-migrate show {run.id}`" if kept else _LOST
            reason = (isinstance(e, OSError) and e.strerror) or described(e)
            console.problem(Problem("report", f"`{file}` cannot be written: {reason}", hint), "warning")


def write_page(file: Path, shown: Run | Sequence[State]) -> None:
    """A run, or what targets are now, as a page. Raises Unwritable."""
    from ehg_migrate.report.html import fleet_page

    shown = console.hints_as_typed(shown)
    page = _run_page(shown) if isinstance(shown, Run) else fleet_page(shown, datetime.now(UTC))
    try:
        write_file(file, page)
    except OSError as e:
        raise Unwritable(file, e) from None


def _run_page(run: Run) -> str:
    from ehg_migrate.report.html import run_page  # brings a template language along

    return run_page(run)


def write_file(file: Path, text: str, mode: str = "w", opener: Callable[[str, int], int] | None = None) -> None:
    """All of it, or OSError; then there is nothing of it, and of what it was to replace neither."""
    before = file.stat().st_size if mode == "a" and file.is_file() else 0
    opened = open(file, mode, encoding="utf-8", errors="backslashreplace", opener=opener)  # noqa: SIM115 - closed below
    try:
        with opened:
            opened.write(text)
    except BaseException:
        with suppress(OSError):
            _take_back(file, mode, before)
        raise


def _take_back(file: Path, mode: str, size: int) -> None:
    """A half report tells something else than the whole one."""
    if not file.is_file():
        return
    if mode == "a":
        os.truncate(file, size)
    else:
        file.resolve().unlink()
