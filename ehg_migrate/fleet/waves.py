"""The waves of a fleet: in which order an upgrade takes which of its targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ehg_migrate.errors import UsageError
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.fleet.problems import Report, kind
from ehg_migrate.fleet.schema import WaveEntry
from ehg_migrate.fleet.selectors import select
from ehg_migrate.fleet.validate import check
from ehg_migrate.model import Target, Wave

REST = "rest"
"""The wave of the targets that no wave names."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A wave as its file has it: what it selects is not known yet."""

    place: str
    name: str
    selectors: tuple[str, ...]
    soak: float


def read_drafts(documents: Sequence[tuple[str, dict[Any, Any]]], report: Report) -> list[Draft]:
    """The waves of the one file that has any; every mistake is reported."""
    given = [(f"{place}: waves", data["waves"]) for place, data in documents if "waves" in data]
    for place, _ in given[1:]:
        report.add(
            "duplicate_waves", f"waves stand in two files, also at `{given[0][0]}`", "keep one of the two", place
        )
    return [] if len(given) != 1 else list(_drafts(*given[0], report))


def _drafts(place: str, entries: object, report: Report) -> Iterator[Draft]:
    if not isinstance(entries, list) or not entries:
        found = "nothing" if not entries else kind(entries)
        hint = "write `- name: canary` and below it `targets: [tag:canary]`, or remove `waves`"
        report.add("not_a_list", f"expected a list of waves, found {found}", hint, place)
        return
    names: set[str] = set()
    for number, entry in enumerate(entries):
        draft = _draft(f"{place}[{number}]", entry, report)
        if draft is None:
            continue
        if draft.name in {*names, REST}:
            why = "the wave of all that no wave names" if draft.name == REST else "a wave already"
            report.add(
                "duplicate_wave", f"`{draft.name}` is {why}", "give this one another name", f"{draft.place}.name"
            )
        names.add(draft.name)
        yield draft


def _draft(place: str, entry: object, report: Report) -> Draft | None:
    checked = check(WaveEntry, entry, place, report)
    if checked is None:
        return None
    given = checked.model
    for field in ("name", "targets"):
        if field in given.model_fields_set | checked.broken:
            continue
        report.add("missing_field", f"the wave has no `{field}`", "a wave has `name` and `targets`", place)
    if given.name is None or given.targets is None:
        return None
    for number, selector in enumerate(given.targets):
        parts = (part.strip().removeprefix("!").strip() for part in selector.split(","))
        if any(part.startswith(("wave:", "shard:")) for part in parts):
            hint = "name targets by their name, `tag:...` or `env:...`"
            report.add("bad_selector", f"`{selector}` cannot choose a wave", hint, f"{place}.targets[{number}]")
    return Draft(place, given.name, tuple(given.targets), given.soak or 0.0)


def in_waves(targets: Sequence[Target], drafts: Sequence[Draft], report: Report) -> Fleet:
    """The fleet, each target in the first wave that names it; a selector that matches nothing is reported."""
    if not drafts:
        return Fleet(tuple(targets))
    of: dict[str, str] = {}
    for draft in drafts:
        try:
            chosen = select(targets, draft.selectors)
        except UsageError as e:
            for problem in e.problems:
                report.add(problem.code, problem.message, problem.hint, f"{draft.place}.targets")
            continue
        of = {t.name: draft.name for t in chosen} | of
    placed = tuple(replace(t, wave=of.get(t.name, REST)) for t in targets)
    order = [*((d.name, d.soak) for d in drafts), (REST, 0.0)]
    waves = (Wave(name, tuple(t.name for t in placed if t.wave == name), soak) for name, soak in order)
    return Fleet(placed, tuple(w for w in waves if w.targets))
