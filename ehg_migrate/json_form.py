"""The one JSON form of the model's nouns: the worker's pipe, `--json`, saved plans and the ledger all use it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

T = TypeVar("T")

SCHEMA_VERSION = 1
"""Raised when a reader of the former form would misread the new one; a new field with a default does not raise it."""

NAMES = (
    frozenset({"id", "target", "targets", "name", "status", "kind", "verb", "direction", "revision", "branch", "event"})
    | {"heads", "heads_before", "heads_after", "goal", "pending", "not_done", "wish", "undoes", "resumes", "rollout"}
    | {"code", "sqlstate", "check", "level", "checksum", "saved_plan"}
)  # fmt: skip
"""Fields that hold the project's own names, or words of ours: a password that happens to equal one is not masked there.

Else the rows of the target `acme` would turn into those of `***`, and a program would read `wrong_***`.
"""

SCHEMA = frozenset({"definition", "sql"})
"""Fields that hold what a schema is, or statements: what only looks like a secret is a part of it."""

# JSON escapes U+0000 to U+001F by itself. These can still steer a terminal, break a line, turn what stands behind them
# or not be encoded as UTF-8; and Azure obeys `##vso[...]` wherever it stands in a log.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|#(?=#\\w*\\[)")


def dump(value: object) -> Any:
    """`value` as plain JSON values: every field of a dataclass in its order, its properties not.

    Tuples and sets become lists, enums their values, datetimes ISO 8601 in UTC (`2026-01-31T09:30:00Z`).
    Raises ValueError for a datetime without a zone and TypeError for what has no JSON form.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: dump(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(dump(key)): dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    if isinstance(value, Set):
        return sorted(dump(item) for item in value)
    return _dump_scalar(value)


def dumps(value: object) -> str:
    """`dump` as text that is safe on a terminal: indented, readable letters kept, control characters escaped.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(dump(value), indent=2, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def load(type_: type[T], data: Any) -> T:
    """The `type_` that `data` (what `json.loads` gives) describes; unknown keys are ignored.

    Nothing is coerced: `"12"` is not a number. Raises ValueError that names the path of every wrong value
    and never shows the value itself.
    """
    from pydantic import ValidationError

    try:
        # through text, because pydantic's strict rules know of JSON's lists and strings only for JSON text
        text = json.dumps(data, allow_nan=False)
        return cast("T", _adapter(cast("Any", type_)).validate_json(text, strict=True))
    except ValidationError as e:
        raise ValueError(_explain(e)) from None


def schema(type_: Any) -> dict[str, Any]:
    """The JSON Schema of what `dump` makes of a `type_` and `load` accepts."""
    return _adapter(type_).json_schema()


def _dump_scalar(value: object) -> Any:
    if isinstance(value, Enum):  # before str: a StrEnum is both
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, datetime):
        return _utc(value)
    if isinstance(value, date):  # YAML makes dates of its own accord
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"the time {moment.isoformat()} has no zone")
    with contextlib.suppress(OverflowError):  # of the end of all years, which somebody may have written into a journal
        moment = moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # 0.1 s, which a command that reads no JSON need not pay

    return TypeAdapter(type_)


def _explain(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{_path(detail)}: {detail['msg'][:1].lower()}{detail['msg'][1:]}" for detail in found)


def _path(detail: ErrorDetails) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return text.removeprefix(".") or "the whole"
