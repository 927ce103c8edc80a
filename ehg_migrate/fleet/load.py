"""targets/*.yaml to a Fleet, with every mistake of every file at once. Opens no connection and reads no secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.fleet import values
from ehg_migrate.fleet.branches import Folders, read_folders
from ehg_migrate.fleet.build import Built, build_target
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.fleet.listing import is_read, overlooked
from ehg_migrate.fleet.merge import DefaultValues, Settings, merge_defaults, merge_entry
from ehg_migrate.fleet.neighbours import refuse_neighbours
from ehg_migrate.fleet.problems import Refused, Report, clip, kind
from ehg_migrate.fleet.schema import Defaults, Entry
from ehg_migrate.fleet.validate import Checked, check
from ehg_migrate.fleet.waves import in_waves, read_drafts
from ehg_migrate.fleet.yamlfile import read_yaml

FOLDER = "targets"
_TOP = ("defaults", "targets", "waves")


@dataclass(frozen=True)
class _Item:
    """One entry as it stands in its file."""

    name: str
    place: str
    checked: Checked[Entry] | None


def load_fleet(root: Path) -> Fleet:
    """The fleet of the project in `root`: its targets/*.yaml, checked against the folders of its versions/.

    Raises ConfigurationError with all mistakes of all files; each Problem says the file (relative to `root`), the
    entry and the field.
    """
    root = Path(root).absolute()
    report = Report()
    documents = [(place, data) for place, data in _documents(root, report) if data is not None]
    defaults = merge_defaults(list(_defaults(documents, report)), report)
    items = list(_items(documents, report))
    folders = read_folders(root, report)
    if not items and not len(report):
        report.add("no_targets", "no file holds a target", "write one below `targets:`", FOLDER)
    built = list(_build(items, defaults, folders, root, report))
    refuse_neighbours(built, report)
    drafts = read_drafts(documents, report)
    report.raise_if_any()  # else a wave would be told that it names a target whose entry is wrong
    fleet = in_waves([b.target for b in built], drafts, report)
    report.raise_if_any()
    return fleet


def _documents(root: Path, report: Report) -> Iterator[tuple[str, dict[Any, Any] | None]]:
    """Each file's place and top level; None for a file that is no mapping."""
    for path in _files(root, report):
        place = f"{FOLDER}/{path.name}"
        before = len(report)
        data = read_yaml(path, place, report)
        if isinstance(data, dict):
            _check_top(data, place, report)
            yield place, data
        elif data is not None or len(report) == before:
            found = "nothing" if data is None else kind(data)
            report.add("not_a_mapping", f"expected a mapping, found {found}", "write `targets:` first", place)


def _files(root: Path, report: Report) -> list[Path]:
    hint = "create `targets/fleet.yaml` with `targets:` in it; `ehg-migrate init DIR` makes an example"
    try:
        paths = sorted((root / FOLDER).iterdir())
    except OSError as e:
        report.add("missing_targets", f"the folder `{FOLDER}/` cannot be read: {e.strerror}", hint, FOLDER)
        return []
    files = [p for p in paths if is_read(p)]
    before = len(report)
    for path in overlooked(paths):
        _refuse_overlooked(path, root, report)
    if not files and len(report) == before:
        report.add("missing_targets", f"the folder `{FOLDER}/` holds no `.yaml` file", hint, FOLDER)
    return files


def _refuse_overlooked(path: Path, root: Path, report: Report) -> None:
    """A customer who is never migrated is no warning."""
    if path.parent == root / FOLDER:
        message, hint = "a target file ends in `.yaml` or `.yml`, in lower case", "rename it"
    else:
        message = f"only files of `{FOLDER}/` itself are read, and this one is in a folder of it"
        hint = f"move it to `{FOLDER}/`; a folder whose name begins with `_` is left alone"
    report.add("not_read", message, hint, path.relative_to(root).as_posix())


def _check_top(data: dict[Any, Any], place: str, report: Report) -> None:
    for key in data:
        if key not in _TOP:
            report.add(
                "unknown_section",
                f"expected `defaults`, `targets` or `waves` at the top, found `{clip(key)}`",
                "an entry belongs below `targets:`, indented",
                f"{place}: {clip(key)}",
            )
    if not data:
        report.add("empty_file", "the file is empty", "write `targets:` with an entry in it, or remove the file", place)


def _defaults(
    documents: list[tuple[str, dict[Any, Any]]], report: Report
) -> Iterator[tuple[str, Defaults, frozenset[str]]]:
    for place, data in documents:
        if "defaults" not in data:
            continue
        checked = check(Defaults, data["defaults"], f"{place}: defaults", report)
        if checked is not None:
            _refuse_both(checked.model, f"{place}: defaults", report)
            yield f"{place}: defaults", checked.model, checked.broken


def _refuse_both(model: Defaults, place: str, report: Report) -> None:
    if {"password", "passfile"} <= model.model_fields_set:
        report.add(
            "password_and_passfile",
            "`password` and `passfile` stand beside each other",
            "keep one of the two",
            f"{place}.passfile",
        )


def _items(documents: list[tuple[str, dict[Any, Any]]], report: Report) -> Iterator[_Item]:
    first: dict[str, str] = {}
    for place, data in documents:
        entries = data.get("targets", {})
        if not isinstance(entries, dict):
            found = "nothing" if entries is None else kind(entries)
            report.add(
                "not_a_mapping",
                f"expected a mapping from names to entries, found {found}",
                "write each target's name on a line of its own, its fields indented below it",
                f"{place}: targets",
            )
            continue
        for key, entry in entries.items():
            item = _item(key, entry, f"{place}: targets", report)
            if item.name in first:
                report.add(
                    "duplicate_target",
                    f"`{item.name}` is a target already, at `{first[item.name]}`",
                    "rename one of the two",
                    item.place,
                )
            first.setdefault(item.name, item.place)
            yield item


def _item(name: str, entry: object, section: str, report: Report) -> _Item:
    place = f"{section}.{clip(name)}"
    try:
        values.target_name(name)
    except Refused as refused:
        report.refuse(refused, place)
    checked = check(Entry, entry, place, report)
    if checked is not None:
        _refuse_both(checked.model, place, report)
    return _Item(name, place, checked)


def _build(
    items: list[_Item], defaults: DefaultValues, folders: Folders, root: Path, report: Report
) -> Iterator[Built]:
    names = {item.name for item in items}
    for item in items:
        if item.checked is None:
            continue
        entry, broken = item.checked.model, item.checked.broken
        settings = Settings(
            item.name,
            item.place,
            merge_entry(entry, defaults.model),
            frozenset(entry.model_fields_set) | broken,
            broken,
            defaults.places,
            report,
        )
        built = build_target(settings, folders, names, root)
        if built is not None:
            yield built
