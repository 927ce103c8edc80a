"""The numbers of the long form: each worker of pytest writes its cases down, and at the end they are counted."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

RECORD = "EHG_FAULT_RECORD"


def pytest_configure(config: pytest.Config) -> None:
    """In the process that starts the workers: where they write. They inherit the environment."""
    if not hasattr(config, "workerinput") and "EHG_FAULT_CASES" in os.environ:
        descriptor, name = tempfile.mkstemp(prefix="ehg-faults-", suffix=".jsonl")
        os.close(descriptor)
        os.environ[RECORD] = name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many cases, of which kinds, with what results, and how long."""
    if hasattr(config, "workerinput") or RECORD not in os.environ:
        return
    file = Path(os.environ.pop(RECORD))
    cases = [json.loads(line) for line in file.read_text().splitlines()]
    file.unlink()
    terminalreporter.write_sep("-", "fault laboratory")
    for line in summary(cases):
        terminalreporter.write_line(line)


def summary(cases: list[dict[str, object]]) -> list[str]:
    """One line for each kind of fault, then one for all."""
    lines = []
    for kind in sorted({str(c["kind"]) for c in cases}):
        ours = [c for c in cases if c["kind"] == kind]
        fired = sum(bool(c["fired"]) for c in ours)
        statuses = Counter(s for c in ours for s in c["statuses"])  # type: ignore[attr-defined]  # a list of texts
        told = ", ".join(f"{n} {s}" for s, n in statuses.most_common())
        lines.append(f"{kind:18} {len(ours):5} cases, {fired:5} struck; targets: {told}")
    seconds = sum(float(str(c["seconds"])) for c in cases)
    bad = sum(bool(c["violations"]) for c in cases)
    lines.append(f"{len(cases)} cases, {bad} with violations, {seconds / max(1, len(cases)):.2f} s each")
    return lines
