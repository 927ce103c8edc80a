"""targets/*.yaml to Targets: reads and checks the fleet, selects from it, and resolves references to secrets.

Nothing here opens a connection. What is exported is loaded when it is first asked for, so that importing one of the
cheap modules (`selectors`, `secrets`) costs neither pydantic nor PyYAML.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ehg_migrate.fleet.dotenv import load_env_file
    from ehg_migrate.fleet.fleet import Fleet
    from ehg_migrate.fleet.load import load_fleet
    from ehg_migrate.fleet.schema import json_schema
    from ehg_migrate.fleet.secrets import resolve, resolve_all, resolve_text

__all__ = ["Fleet", "load_fleet", "json_schema", "resolve", "resolve_all", "resolve_text", "load_env_file"]

_HOME = {
    "Fleet": "fleet",
    "load_fleet": "load",
    "json_schema": "schema",
    "resolve": "secrets",
    "resolve_all": "secrets",
    "resolve_text": "secrets",
    "load_env_file": "dotenv",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
