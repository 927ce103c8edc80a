"""Where a new revision file belongs: its branch, its folder, and the revision it continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.errors import Problem, UsageError, quoted
from ehg_migrate.revisions.history import History
from ehg_migrate.revisions.specs import resolve_all

_BASE = "base"
_NOT_GIVEN = "head"  # what Alembic has where there is no `--head`
_SHORTEST_PREFIX = 4

Arguments = Mapping[str, Any]
"""Alembic's arguments of `revision`: `head`, `version_path`, `branch_label`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Of one new file."""

    branch: str
    folder: Path
    head: str | tuple[str, ...]  # for Alembic: an id, several, or `base`
    label: str | None  # a new branch gets its own name for a label


def find_place(arguments: Arguments, versions: Path, history: History, branches: Sequence[str]) -> Place:
    """What the arguments say, in the scope of these branches (in order of application). Raises UsageError."""
    branch = find_branch(arguments, versions, history, branches)
    given = _given_heads(arguments)
    is_new = not history.branches.get(branch)
    label = _label(arguments) or (branch if is_new else None)
    folder = _folder(arguments, versions) or versions / branch
    if given == (_BASE,) or (len(given) == 1 and given[0].endswith(f"@{_BASE}")) or (not given and is_new):
        return Place(branch, folder, _BASE, label)
    heads = resolve_all(history.graph(tuple(branches)), given or (f"{branch}@head",), {})
    return Place(branch, folder, heads[0] if len(heads) == 1 else heads, label)


def find_branch(arguments: Arguments, versions: Path, history: History, branches: Sequence[str]) -> str:
    """The branch that the arguments mean among these; also one that does not exist yet. Raises UsageError."""
    folder = _folder(arguments, versions)
    if folder:
        return folder.relative_to(versions).parts[0]
    given = [h for h in _given_heads(arguments) if h != _BASE]
    if given:
        homes = tuple(dict.fromkeys(b for h in given for b in _homes(h, history, branches)))
        if len(homes) != 1:
            raise UsageError(_not_one(given, homes, branches))
        return homes[0]
    branch = _label(arguments) or (branches[0] if len(branches) == 1 else None)
    if branch is None:
        hint = f"give `--head BRANCH@head`; branches here: {quoted(branches)}"
        raise UsageError(Problem("which_branch", "it is left open which branch the new file belongs to", hint))
    return branch


def _homes(head: str, history: History, branches: Sequence[str]) -> list[str]:
    """The branches that a `--head` may mean."""
    name, at, _ = head.rpartition("@")
    if at:
        labelled = [b for b in branches if any(name in r.labels for r in history.branches.get(b, ()))]
        return [name] if name in branches else labelled
    return [b for b in branches if any(_means(head, r.id) for r in history.branches.get(b, ()))]


def _means(head: str, revision: str) -> bool:
    return head in ("heads", revision) or (len(head) >= _SHORTEST_PREFIX and revision.startswith(head))


def _folder(arguments: Arguments, versions: Path) -> Path | None:
    given = arguments["version_path"]
    if not given:
        return None
    folder, root = Path(given).resolve(), versions.resolve()
    if root not in folder.parents:
        raise UsageError(
            Problem(
                "version_path",
                f"`--version-path {given}` does not lie in a branch of `versions/`",
                "name a folder of `versions/`, or leave it to `--head BRANCH@head`",
            )
        )
    return versions / folder.relative_to(root)


def _given_heads(arguments: Arguments) -> tuple[str, ...]:
    head = arguments["head"] or _NOT_GIVEN
    heads = (head,) if isinstance(head, str) else tuple(head)
    return () if heads == (_NOT_GIVEN,) else heads


def _label(arguments: Arguments) -> str | None:
    label = arguments["branch_label"]
    if isinstance(label, str) or not label:
        return label or None
    return str(label[0])


def _not_one(given: Sequence[str], homes: Sequence[str], branches: Sequence[str]) -> Problem:
    text = " ".join(given)
    if not homes:
        return Problem("which_branch", f"`--head {text}` is in no branch here", f"branches here: {quoted(branches)}")
    return Problem(
        "one_branch",
        f"`--head {text}` lies in {quoted(homes)}, and a file belongs to one branch",
        "continue one branch, and name what it needs of another with `--depends-on`",
    )
