"""Measured tables kept as JSON, a file each, and read back: what was measured once can be shown again, and mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cases import Sample, Samples, Scale
from benchmarks.peers import PEERS
from benchmarks.suite import Row, Table


def save(folder: Path, name: str, table: Table) -> None:
    """Writes `name`.json, replacing what was measured under this name before."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(plain(table), indent=1))
    beside.replace(file)


def load(folder: Path, name: str) -> Table | None:
    """What `save` wrote; None where nothing was measured yet."""
    file = folder / f"{name}.json"
    return read(json.loads(file.read_text())) if file.exists() else None


def plain(table: Table) -> dict[str, Any]:
    """A table as JSON takes it."""
    rows = [
        {"peer": row.peer.name, "problem": row.problem, "timed": _plain(row.timed), "watched": _plain(row.watched)}
        for row in table.rows
    ]
    about = {"rounds": table.rounds, "took": table.took, "machine": table.machine}
    return {"scale": asdict(table.scale), **about, "rows": rows}


def read(form: dict[str, Any]) -> Table:
    """And back; a peer that is known no more is left out."""
    return Table(Scale(**form["scale"]), [*_rows(form["rows"])], form["rounds"], form["took"], form["machine"])


def _rows(forms: list[dict[str, Any]]) -> Iterator[Row]:
    kinds = {kind.name: kind for kind in PEERS.values()}
    for form in forms:
        if kind := kinds.get(form["peer"]):
            yield Row(kind(Path()), _samples(form["timed"]), _samples(form["watched"]), form["problem"])


def _samples(form: dict[str, list[dict[str, Any]]]) -> Samples:
    return {case: [Sample(**sample) for sample in samples] for case, samples in form.items()}


def _plain(samples: Samples) -> dict[str, list[dict[str, Any]]]:
    return {case: [asdict(sample) for sample in found] for case, found in samples.items()}
