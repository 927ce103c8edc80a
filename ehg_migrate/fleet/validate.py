"""The models of `schema` applied to what the YAML held; every mistake in our words, none in pydantic's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ehg_migrate.errors import quoted
from ehg_migrate.fleet.problems import Refused, Report, clip, describe, kind
from ehg_migrate.fleet.schema import Defaults, Entry, WaveEntry

M = TypeVar("M", bound=BaseModel)

_SECRET = frozenset({"password", "url"})  # what stands there may be a password
_PLACES: dict[type[BaseModel], str] = {Entry: "a target", Defaults: "`defaults`", WaveEntry: "a wave"}
_MEANT = {
    "dbname": "database",
    "db": "database",
    "username": "user",
    "ref": "project_ref",
    "project": "project_ref",
    "dsn": "url",
    "database_url": "url",
    "groups": "branches",
    "environment": "env",
    "description": "purpose",
    "timeout": "deadline",
}


@dataclass(frozen=True)
class Checked(Generic[M]):
    """A model of what was right in the data."""

    model: M
    broken: frozenset[str]  # fields with a mistake, left out of the model


def check(model: type[M], data: object, place: str, report: Report) -> Checked[M] | None:
    """The data as a model without its wrong fields, each of which goes to `report`; None if it is no mapping at all."""
    if not isinstance(data, dict):
        _refuse_shape(data, place, report)
        return None
    fields: dict[str, Any] = data
    broken = {key for key, value in fields.items() if value is None and key in model.model_fields}
    for key in sorted(broken):
        report.refuse(_wrong(model, key, "nothing"), f"{place}.{key}")
    while True:
        try:
            return Checked(
                model.model_validate({k: v for k, v in fields.items() if k not in broken}), frozenset(broken)
            )
        except ValidationError as e:
            for error in e.errors(include_url=False):
                report.refuse(_translate(model, error, fields), f"{place}{_path(error)}")
                broken.add(str(error["loc"][0]))


def _refuse_shape(data: object, place: str, report: Report) -> None:
    found = "nothing" if data is None else kind(data)
    report.add(
        "not_a_mapping", f"expected a mapping of fields, found {found}", "write `field: value` lines below it", place
    )


def _path(error: ErrorDetails) -> str:
    """`.tags[0]`, `.x.key`: the place within the entry."""
    steps = [step for step in error["loc"] if step != "[key]"]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{clip(step)}" for step in steps)


def _translate(model: type[BaseModel], error: ErrorDetails, fields: Mapping[str, Any]) -> Refused:
    field = str(error["loc"][0])
    if field not in model.model_fields:
        return _unknown(model, field)
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Refused):
        return cause
    show = kind if field in _SECRET else describe
    return _wrong(model, field, show(error["input"]))


def _wrong(model: type[BaseModel], field: str, found: str) -> Refused:
    info = model.model_fields[field]
    example = info.examples[0] if info.examples else ""
    return Refused("bad_value", f"expected {info.title}, found {found}", f"for example `{field}: {_yaml(example)}`")


def _yaml(example: object) -> str:
    if isinstance(example, bool):
        return str(example).lower()
    if isinstance(example, list):
        return f"[{', '.join(example)}]"
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {value}" for key, value in example.items()) + "}"
    return str(example)


def _unknown(model: type[BaseModel], field: str) -> Refused:
    known = list(model.model_fields)
    if model is Defaults and field in Entry.model_fields:
        return Refused(
            "unknown_field",
            f"`{field}` cannot stand in `defaults`: it says which database a target is",
            "move it to the targets' own entries",
        )
    near = [_MEANT[field]] if _MEANT.get(field) in known else get_close_matches(field, known, n=2)
    hint = f"did you mean {quoted(near, 8)}?" if near else f"known are {quoted(known)}"
    return Refused("unknown_field", f"`{clip(field)}` is no field of {_PLACES[model]}", hint)
