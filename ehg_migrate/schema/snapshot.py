"""A catalogue in a file: what `snapshot --json` prints and `compare` takes as a side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.json_form import SCHEMA_VERSION, load
from ehg_migrate.schema.facts import Catalog
from ehg_migrate.schema.scope import Scope

KIND = "snapshot"
MANIFEST = "snapshot.json"
"""The file that makes a folder a snapshot; see `tree.py`."""
TOO_DEEP = "it is nested too deeply"
"""What nothing that we have written is."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalogue of a target as it was, and the scope in which it was read: another side is read in the same."""

    name: str  # the target, or `target/schema`
    taken_at: datetime
    fingerprint: str
    scope: Scope
    catalog: Catalog


def read_snapshot(path: Path) -> Snapshot:
    """What `snapshot TARGET --json > FILE` has written. Raises UsageError: not there, or not as it was written."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        snapshot = load(Snapshot, data_of(document, KIND))
        fingerprint = snapshot.catalog.fingerprint
    except RecursionError as e:
        raise _unusable(path, TOO_DEEP) from e
    except OSError as e:
        raise _unusable(path, f"it cannot be read: {e.strerror}") from e
    except ValueError as e:  # not UTF-8, not JSON, or other JSON
        raise _unusable(path, str(e)) from e
    if fingerprint != snapshot.fingerprint:
        raise _unusable(path, "its facts do not make its fingerprint: it was edited or damaged")
    return snapshot


def data_of(document: Any, kind: str) -> Any:
    """What a JSON document of this kind holds. Raises ValueError: it is of another kind, or of another version."""
    expected = {"kind": kind, "schema_version": SCHEMA_VERSION}
    if not isinstance(document, dict) or {name: document.get(name) for name in expected} != expected:
        raise ValueError(f"expected a JSON document of kind `{kind}` and version {SCHEMA_VERSION}")
    return document.get("data")


def _unusable(path: Path, why: str) -> UsageError:
    hint = "take a new one with `ehg-migrate snapshot TARGET --json > FILE`"
    return UsageError(Problem("snapshot", f"`{path}` is no snapshot: {why}", hint))
