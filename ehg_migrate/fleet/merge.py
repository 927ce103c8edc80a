"""One entry with the defaults behind it: the merged values, and where in the user's files each of them stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ehg_migrate.fleet.problems import Report
from ehg_migrate.fleet.schema import Defaults, Entry

_ADDED = ("tags", "branches")
_MERGED = ("x", "alembic")
_EXCLUSIVE = {"password": "passfile", "passfile": "password"}


@dataclass(frozen=True)
class DefaultValues:
    """The defaults of all files together."""

    model: Defaults
    places: Mapping[str, str] = field(default_factory=dict)  # field -> `targets/a.yaml: defaults.env`


@dataclass(frozen=True)
class Settings:
    """One target's values after defaults, with what is needed to report on them."""

    name: str
    place: str  # `targets/a.yaml: targets.acme`
    values: Entry
    own: frozenset[str]  # fields that the entry itself gives, the broken ones included
    broken: frozenset[str]
    default_places: Mapping[str, str]
    report: Report

    def where(self, field_name: str) -> str:
        """The place of a field's value: the entry's, or that of the defaults it came from."""
        if field_name not in self.own and field_name in self.default_places:
            return self.default_places[field_name]
        return f"{self.place}.{field_name}"

    def refuse(self, field_name: str, code: str, message: str, hint: str) -> None:
        """Reports a mistake in a field; an empty name means the entry as a whole."""
        self.report.add(code, message, hint, self.where(field_name) if field_name else self.place)

    def gives(self, field_name: str) -> bool:
        """Whether the entry itself gives the field, rightly or wrongly."""
        return field_name in self.own


def merge_defaults(parts: list[tuple[str, Defaults, frozenset[str]]], report: Report) -> DefaultValues:
    """One set of defaults from those of all files (place, values, broken fields), whatever the files' order.

    A field may stand in one file only: else the order of the files would decide.
    """
    merged: dict[str, Any] = {}
    places: dict[str, str] = {}
    for place, model, broken in parts:
        for name in sorted(model.model_fields_set | (broken & Defaults.model_fields.keys())):
            if name in places:
                report.add(
                    "duplicate_default",
                    f"`{name}` stands in the defaults of two files, also at `{places[name]}`",
                    "keep one of the two: defaults hold for the targets of all files",
                    f"{place}.{name}",
                )
                continue
            places[name] = f"{place}.{name}"
            merged[name] = getattr(model, name)
    return DefaultValues(Defaults.model_construct(**merged), places)


def merge_entry(entry: Entry, defaults: Defaults) -> Entry:
    """The entry with everything it leaves out taken from the defaults. Its values were validated; nothing is again."""
    own = entry.model_fields_set
    values = {name: getattr(defaults, name) for name in defaults.model_fields_set}
    for name in own:
        mine, general = getattr(entry, name), values.get(name)
        if general is not None and name in _ADDED:
            mine = [*general, *mine]
        elif general is not None and name in _MERGED:
            mine = {**general, **mine}
        values[name] = mine
    for name, other in _EXCLUSIVE.items():
        if name in own and other not in own:
            values.pop(other, None)
    return Entry.model_construct(**values)
