"""Revisions without files, histories of a few files, and journals without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ehg_migrate.model import UNDOES, JournalEntry, Plan
from ehg_migrate.revisions.building import build
from ehg_migrate.revisions.graph import Graph, Revision
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.settings import read_settings
from tests.support.project import write_project


def rev(
    id_: str,
    parents: str | Sequence[str] = (),
    depends: str | Sequence[str] = (),
    *,
    labels: Sequence[str] = (),
    branch: str = "shared",
    checksum: str = "",
    has_upgrade: bool = True,
    has_downgrade: bool = True,
) -> Revision:
    """A revision; its file is `versions/<branch>/<id>.py`, its checksum made of its id."""
    return Revision(
        id=id_,
        parents=_names(parents),
        depends_on=_names(depends),
        labels=tuple(labels),
        branch=branch,
        path=f"versions/{branch}/{id_}.py",
        checksum=checksum or f"sum-{id_}",
        doc=f"about {id_}",
        has_upgrade=has_upgrade,
        has_downgrade=has_downgrade,
    )


def graph_of(*revisions: Revision) -> Graph:
    """Their graph; there is nothing wrong with it."""
    graph, problems = build(revisions)
    assert not problems
    return graph


def history_of(folder: Path, files: Mapping[str, str | bytes], **settings: str) -> History:
    """What is read from a versions/ with these files (`shared/a`, `.py` may be left out)."""
    texts = {path: text for path, text in files.items() if isinstance(text, str)}
    root = write_project(folder, {}, texts, settings=settings)
    for path, data in files.items():
        if isinstance(data, bytes):
            file = root / "versions" / f"{path}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    return read_history(read_settings(root))


def fleet_graph() -> Graph:
    """shared s1 - s2 - s3; app a1 (needs s1) - a2 (needs s2)."""
    return graph_of(
        rev("s1", labels=["shared"]),
        rev("s2", "s1"),
        rev("s3", "s2"),
        rev("a1", depends="s1", branch="app", labels=["app"]),
        rev("a2", "a1", "s2", branch="app"),
    )


def steps(plan: Plan) -> list[str]:
    """`+s1` for up, `-s1` for down."""
    return [f"{'+' if s.direction == 'up' else '-'}{s.revision}" for s in plan.steps]


@dataclass
class Book:
    """A target's journal and version rows, as runs would write them."""

    heads: tuple[str, ...] = ()
    entries: list[JournalEntry] = field(default_factory=list)

    def does(self, run: str, plan: Plan, *, steps: int | None = None) -> None:
        """`run` does the plan, or its first `steps`."""
        detail = UNDOES + plan.undoes if plan.undoes else ""
        for step in plan.steps[:steps]:
            self.add(run, "done", step.revision, step.direction, step.heads_after, step.checksum, detail)

    def add(
        self,
        run: str,
        event: str,
        revision: str,
        direction: str = "up",
        after: tuple[str, ...] | None = None,
        checksum: str = "",
        detail: str = "",
    ) -> None:
        """One entry; the rows are `after` from now on."""
        before, self.heads = self.heads, self.heads if after is None else after
        self.entries.append(
            JournalEntry(
                seq=len(self.entries) + 1,
                run=run,
                event=event,
                revision=revision,
                direction=direction,
                branch="shared",
                checksum=checksum or f"sum-{revision}",
                heads_before=before,
                heads_after=self.heads,
                started_at=datetime(2026, 1, 31, tzinfo=UTC),
                seconds=0.1,
                actor="a",
                host="h",
                git_commit="c0ffee",
                tool_version="1",
                detail=detail,
            )
        )


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
