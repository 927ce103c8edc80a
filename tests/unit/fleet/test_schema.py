"""The JSON Schema for editors, and what importing the package costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ehg_migrate import fleet
from ehg_migrate.fleet import json_schema

COPY = Path(fleet.__file__).with_name("targets.schema.json")
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
EXAMPLE = """
defaults: {env: production, lock_timeout: 5s, statement_timeout: 15min, branches: [], tags: []}
targets:
  ehg_engineer:
    project_ref: abcdefghijklmnopqrst
    host: aws-1-us-east-1.pooler.supabase.com
    password: env:EHG_ENGINEER_DB_PASSWORD
    purpose: LEO protocol
    tags: [internal, canary]
  app_1:
    url: postgresql://migrator@127.0.0.1:5432/app_1
    password: {cmd: [op, read, "op://x"]}
    branches: [crm]
    env: staging
    x: {tenant: acme, debug: true}
    alembic: {compare_type: true}
waves:
  - {name: canary, targets: ["tag:canary", "!app_1"], soak: 10min}
"""


def test_committed_copy() -> None:
    """The committed copy is the schema that the models give."""
    assert json.loads(COPY.read_text(encoding="utf-8")) == json_schema()


def test_it_is_a_schema() -> None:
    """It is valid JSON Schema 2020-12, and every field has a description and an example that fits the field."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    for model in ("Defaults", "Entry", "WaveEntry"):
        for name, field in schema["$defs"][model]["properties"].items():
            assert field["description"], name
            (example,) = field["examples"]
            jsonschema.validate(example, field, jsonschema.Draft202012Validator)
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(None, field, jsonschema.Draft202012Validator)


def test_a_right_file(project: Callable[..., Path]) -> None:
    """The example of the documentation fits the schema, and loads."""
    VALIDATOR.validate(yaml.safe_load(EXAMPLE))
    assert [t.name for t in fleet.load_fleet(project(EXAMPLE)).targets] == ["ehg_engineer", "app_1"]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"url": "postgresql://u@h/d", "project_ref": "abcdefghijklmnopqrst", "host": "h"},
        {"project_ref": "abcdefghijklmnopqrst"},
        {"url": "postgresql://u@h/d", "password": "literal"},
        {"url": "postgresql://u@h/d", "password": "env:A", "passfile": "x"},
        {"url": "postgresql://u@h/d", "pasword": "env:A"},
        {"url": "postgresql://u@h/d", "port": 0},
        {"url": "postgresql://u@h/d", "sslmode": "prefer"},
        {"url": "postgresql://u@h/d", "lock_timeout": "5m"},
        {"url": "postgresql://u@h/d", "tags": ["a b"]},
        {"url": "postgresql://u@h/d", "tags": None},
    ],
)
def test_wrong_entries(entry: dict[str, Any]) -> None:
    """An editor marks the common mistakes."""
    assert list(VALIDATOR.iter_errors({"targets": {"acme": entry}}))


@pytest.mark.parametrize("name", ["shared", "a..b", "a/b", ""])
def test_wrong_names(name: str) -> None:
    """An editor marks names that a target may not have."""
    assert list(VALIDATOR.iter_errors({"targets": {name: {"url": "postgresql://u@h/d"}}}))


@pytest.mark.parametrize("module", ["ehg_migrate.fleet", "ehg_migrate.fleet.selectors", "ehg_migrate.fleet.secrets"])
def test_cheap_imports(module: str) -> None:
    """Importing the package, the selectors or the secrets loads neither pydantic nor PyYAML."""
    code = f"import sys, {module}; print(sorted({{'pydantic', 'yaml', 'keyring'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_exports() -> None:
    """Every name that the package promises is there, and no other."""
    assert all(getattr(fleet, name) is not None for name in fleet.__all__)
    with pytest.raises(AttributeError):
        fleet.nothing_of_this_name  # noqa: B018
