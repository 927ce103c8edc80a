"""What one command of the schema manager did."""

from __future__ import annotations

from dataclasses import dataclass

from ehg_migrate.model import Run
from ehg_migrate.schema.correction import Corrective


@dataclass(frozen=True, slots=True)
class Managed:
    """Its runs, in their order, and the SQL that was looked for besides revisions, if it was."""

    target: str
    source: str = ""  # what the target was to become like
    runs: tuple[Run, ...] = ()
    correction: Corrective | None = None
