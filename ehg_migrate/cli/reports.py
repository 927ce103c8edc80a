"""Files that a command writes beside its output, for pipelines and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ehg_migrate.cli import console
from ehg_migrate.cli.options import Unwritable
from ehg_migrate.errors import Problem
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
            _write(file, make(console.hints_as_typed(run)), mode)
        except OSError as e:
            kept = all(note.code != "ledger_incomplete" for note in run.notes)
            hint = f"the run is in the ledger: `ehg-migrate show {run.id}`" if kept else _LOST
            console.problem(Problem("report", f"`{file}` cannot be written: {e.strerror}", hint), "warning")


def write_page(file: Path, shown: Run | Sequence[State]) -> None:
    """A run, or what targets are now, as a page. Raises Unwritable."""
    from ehg_migrate.report.html import fleet_page

    shown = console.hints_as_typed(shown)
    page = _run_page(shown) if isinstance(shown, Run) else fleet_page(shown, datetime.now(UTC))
    try:
        _write(file, page)
    except OSError as e:
        raise Unwritable(file, e) from None


def _run_page(run: Run) -> str:
    from ehg_migrate.report.html import run_page  # brings a template language along

    return run_page(run)


def _write(file: Path, text: str, mode: str = "w") -> None:
    with file.open(mode, encoding="utf-8", errors="backslashreplace") as opened:
        opened.write(text)
