"""The numbers of the laboratory: each worker of pytest writes its cases down, and at the end they are counted."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

RECORD = "EHG_FAULT_RECORD"


def pytest_configure(config: pytest.Config) -> None:
    """In the process that starts the workers: where they write. They inherit the environment."""
    if not hasattr(config, "workerinput"):
        descriptor, name = tempfile.mkstemp(prefix="ehg-faults-", suffix=".jsonl")
        os.close(descriptor)
        os.environ[RECORD] = name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many cases, of which kinds, with what results, how long, and how to do the bad ones again."""
    if hasattr(config, "workerinput") or RECORD not in os.environ:
        return
    file = Path(os.environ.pop(RECORD))
    cases = [json.loads(line) for line in file.read_text().splitlines()]
    file.unlink()
    if not cases:
        return
    terminalreporter.write_sep("-", "fault laboratory")
    wall = max(c["at"] for c in cases) - min(c["at"] - c["seconds"] for c in cases)  # other tests may run beside
    for line in summary(cases, wall):
        terminalreporter.write_line(line)


def summary(cases: list[dict[str, Any]], wall: float) -> list[str]:
    """One line for each kind of fault, then one for all, then the command of each case with a violation."""
    bad = [c for c in cases if c["violations"]]
    struck = sum(bool(c["fired"]) for c in cases)
    seconds = sum(c["seconds"] for c in cases) / len(cases)
    single = sum(c["single"] for c in cases)
    return [
        *(_kind(kind, [c for c in cases if c["kind"] == kind]) for kind in sorted({c["kind"] for c in cases})),
        f"{len(cases)} cases, {struck} struck, {len(bad)} with violations; {seconds:.1f} s a case, {wall:.0f} s in all",
        f"{single} targets were entered by one connection",
        *(f"{n:4} {form}" for form, n in sorted(Counter(f for c in cases for f in c["forms"]).items())),
        *(f"{c['violations'][0][:100]}\n  {c['command']}\n  kept in {c['kept']}" for c in bad),
    ]


def _kind(kind: str, cases: list[dict[str, Any]]) -> str:
    fired, bad = sum(bool(c["fired"]) for c in cases), sum(bool(c["violations"]) for c in cases)
    statuses = Counter(s for c in cases for s in c["statuses"])
    told = ", ".join(f"{n} {s}" for s, n in statuses.most_common())
    seconds = sum(c["seconds"] for c in cases) / len(cases)
    wrong = f", {bad} WITH VIOLATIONS" if bad else ""
    return f"{kind:22} {len(cases):4} cases, {fired:4} struck, {seconds:4.1f} s each{wrong}; targets: {told}"
