"""Which folders of versions/ belong to a target: `shared`, its groups, its own, in the order of application."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ehg_migrate.errors import quoted
from ehg_migrate.files import is_there
from ehg_migrate.fleet.merge import Settings
from ehg_migrate.fleet.problems import Report
from ehg_migrate.model import SHARED

_FOLDER = "versions"


@dataclass(frozen=True)
class Folders:
    """The branch folders of versions/. Names are compared as written, also where the file system would not."""

    names: frozenset[str]
    outside: frozenset[str]  # links that lead out of versions/
    missing: bool = False  # there is no versions/ at all


def read_folders(root: Path, report: Report) -> Folders:
    """What versions/ holds. A missing or unreadable folder is reported once, here, and not again for each target."""
    versions = root / _FOLDER
    try:
        real = versions.resolve()
        inside: set[str] = set()
        outside: set[str] = set()
        for path in versions.iterdir():
            if path.name.startswith((".", "_")) or not (is_there(path) and path.is_dir()):
                continue
            (inside if path.resolve().is_relative_to(real) else outside).add(path.name)
    except OSError as e:
        report.add(
            "missing_versions",
            f"the folder `{_FOLDER}/` cannot be read: {e.strerror}",
            "make it with one folder a branch, `versions/shared` for all targets, as `ehg-migrate init DIR` does",
            _FOLDER,
        )
        return Folders(frozenset(), frozenset(), missing=True)
    return Folders(frozenset(inside), frozenset(outside))


def target_branches(settings: Settings, folders: Folders, targets: Collection[str]) -> tuple[str, ...]:
    """The target's branches; what is wrong with its list is reported."""
    groups = tuple(dict.fromkeys(settings.values.branches or ()))
    for group in groups:
        _check_group(settings, group, folders, targets)
    wanted = (SHARED, *(g for g in groups if g not in (SHARED, settings.name)), settings.name)
    for name in wanted:
        if name in folders.outside:
            settings.report.add(
                "branch_outside",
                f"`versions/{name}` is a link that leads out of `versions/`",
                "move the folder itself there",
                f"versions/{name}",
            )
    found = tuple(name for name in wanted if name in folders.names)
    if not found and not groups and not folders.missing and not folders.outside.intersection(wanted):
        settings.refuse(
            "" if not settings.gives("branches") else "branches",
            "no_branch",
            "no folder of `versions/` belongs to this target",
            f"create `versions/shared` or `versions/{settings.name}`, or list a group in `branches`",
        )
    return found


def _check_group(settings: Settings, group: str, folders: Folders, targets: Collection[str]) -> None:
    if group in (SHARED, settings.name):
        settings.refuse(
            "branches",
            "needless_branch",
            f"`{group}` need not be listed: {'every target has it' if group == SHARED else 'a target has its own'}",
            "remove it from `branches`",
        )
    elif group in targets:
        settings.refuse(
            "branches",
            "branch_of_other_target",
            f"`{group}` is the branch of another target, and its tables would be made here too",
            "move what both need to a group's folder, and list that in both",
        )
    elif group not in folders.names | folders.outside and not folders.missing:
        there = sorted(folders.names - set(targets) - {SHARED})
        settings.refuse(
            "branches",
            "missing_branch",
            f"there is no folder `versions/{group}`",
            (f"choose among {quoted(there, 8)}; " if there else "")
            + f"for a new one make the folder `versions/{group}`, then `ehg-migrate revision --branch {group} -m WHAT`",
        )
