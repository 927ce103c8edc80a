"""Where a new revision file belongs: its branch, its folder, and the revision it continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.specs import resolve

_DEFAULT = "head"  # what Alembic has where `--head` is not given


@dataclass(frozen=True, slots=True)
class Place:
    """Of one new file."""

    branch: str
    folder: Path
    head: str | tuple[str, ...]  # for Alembic: an id, several, or `base`
    label: str | None  # a new branch gets its own name for a label


def find_place(
    arguments: Mapping[str, Any], versions: Path, history: History, branches: Sequence[str], new: bool = True
) -> Place:
    """What the arguments of `alembic revision` say, among these branches (in order of application).

    Raises UsageError where they leave open which branch is meant, or name one that is not among them (but for a `new`
    one).
    """
    head = arguments["head"] or _DEFAULT
    folder = _folder(arguments["version_path"], versions)
    label = _first(arguments["branch_label"])
    branch = folder.relative_to(versions).parts[0] if folder else ""
    if head not in (_DEFAULT, "base"):
        branch, head = _continues(head, history, branches, branch)
    else:
        branch = branch or label or (branches[0] if len(branches) == 1 else "")
        if not branch:
            raise UsageError(_which(branches))
        _check(branch, branches, new)
        if head == _DEFAULT:
            head = _head_of(branch, history, branches)
    if not label and not history.branches.get(branch):
        label = branch
    return Place(branch, folder or versions / branch, head, label)


def _folder(given: object, versions: Path) -> Path | None:
    if not given:
        return None
    folder = Path(str(given)).resolve()
    root = versions.resolve()
    if root not in folder.parents:
        raise UsageError(
            Problem(
                "version_path",
                f"`--version-path {given}` does not lie in a branch of `versions/`",
                "name a folder of `versions/`, or leave it to `--head BRANCH@head`",
            )
        )
    return versions / folder.relative_to(root)


def _continues(
    head: str | Sequence[str], history: History, branches: Sequence[str], folder_branch: str
) -> tuple[str, str | tuple[str, ...]]:
    """The branch of an explicit `--head`, and the ids it stands for."""
    specs = (head,) if isinstance(head, str) else tuple(head)
    if len(specs) == 1 and specs[0].endswith("@base"):
        return folder_branch or specs[0].partition("@")[0], "base"
    graph = history.graph(tuple(branches))
    ids = tuple(dict.fromkeys(i for spec in specs for i in resolve(graph, spec, {})))
    homes = dict.fromkeys(graph[i].branch for i in ids)
    if len(homes) != 1 or (folder_branch and folder_branch not in homes):
        found = ", ".join(f"`{b}`" for b in homes) or "no branch"
        raise UsageError(
            Problem(
                "one_branch",
                f"`--head {' '.join(specs)}` lies in {found}, and a file belongs to one branch",
                "continue one branch and name what it needs of another with `--depends-on`",
            )
        )
    return next(iter(homes)), ids[0] if len(ids) == 1 else ids


def _head_of(branch: str, history: History, branches: Sequence[str]) -> str:
    if not history.branches.get(branch):
        return "base"
    return resolve(history.graph(tuple(branches)), f"{branch}@head", {})[0]


def _check(branch: str, branches: Sequence[str], new: bool) -> None:
    if branch not in branches and not new:
        raise UsageError(_which(branches, f"the target has no branch `{branch}`"))


def _which(branches: Sequence[str], message: str = "it is left open which branch the new file belongs to") -> Problem:
    known = ", ".join(f"`{b}`" for b in branches)
    return Problem("which_branch", message, f"give `--head BRANCH@head`; branches here: {known}")


def _first(label: object) -> str | None:
    if isinstance(label, str):
        return label
    return str(label[0]) if isinstance(label, (list, tuple)) and label else None
