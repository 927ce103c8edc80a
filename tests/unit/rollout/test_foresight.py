"""What is seen to be needed of a target's answer: workers at all, and a proof that its endpoint is in session mode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ehg_migrate.database import proof
from ehg_migrate.database.asking import Then
from ehg_migrate.database.probe import Reading
from ehg_migrate.model import Address, Target
from ehg_migrate.project import Project
from ehg_migrate.rollout import foresight
from ehg_migrate.rollout.foresight import Foresight
from tests.support.project import add_revision, revision, target_entry, write_project

HERE, THERE = Address("127.0.0.1", 5432, "u", "d", "disable"), Address("127.0.0.1", 6543, "u", "d", "disable")
ONE = Target("one", HERE, ("shared",))
BEHIND = Reading(heads=("s1",))


@dataclass
class Seen:
    """What was found to be needed."""

    works: int = 0
    asked: list[str] = field(default_factory=list)
    proven: set[tuple[str, int]] = field(default_factory=set)


See = Callable[..., Seen]


@pytest.fixture
def see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> See:
    """Looks at targets that answer so, one after the other, in a history of s1 and s2; `proves` is what proofs give."""
    root = write_project(
        tmp_path,
        {"one": target_entry(HERE)},
        {"shared/1": revision("s1", label="shared"), "shared/2": revision("s2", "s1")},
    )

    def look(*answers: tuple[Target, Reading], proves: bool = True) -> Seen:
        seen, project = Seen(), Project.load(root)

        async def is_in_session_mode(target: Target, password: str | None) -> bool:
            seen.asked.append(target.name)
            return proves

        async def all_of_them(then: Then) -> None:
            for answer in answers:
                if more := then(*answer):
                    await more

        def probe(
            targets: Iterable[Target], passwords: Mapping[str, str | None], at_once: int, then: Then
        ) -> dict[str, Reading]:
            asyncio.run(all_of_them(then))
            return {}

        def work() -> None:
            seen.works += 1

        monkeypatch.setattr(proof, "is_in_session_mode", is_in_session_mode)
        monkeypatch.setattr(foresight, "probe", probe)
        found = Foresight(project.revisions, project.releases, work)
        found.probe([], {}, 2)
        return replace(seen, proven=found.proven)

    return look


def test_who_has_nothing_to_do_needs_nothing(see: See) -> None:
    """Neither workers nor a proof."""
    assert see((ONE, Reading(heads=("s2",)))) == Seen()


@pytest.mark.parametrize("heads", [(), ("s1",)])
def test_who_has_something_to_do(heads: tuple[str, ...], see: See) -> None:
    """Workers, and the proof."""
    assert see((ONE, Reading(heads=heads))) == Seen(1, ["one"], {("127.0.0.1", 5432)})


def test_an_endpoint_that_is_not_proven_is_not_said_to_be(see: See) -> None:
    """It may be a transaction-mode pooler: its workers look for themselves."""
    assert see((ONE, BEHIND), proves=False) == Seen(1, ["one"], set())


def test_one_of_each_endpoint_is_asked(see: See) -> None:
    """By host and port, and workers begin to start once."""
    others = [replace(ONE, name="two"), replace(ONE, name="three", address=THERE)]
    assert see(*((t, BEHIND) for t in (ONE, *others))) == Seen(
        1, ["one", "three"], {("127.0.0.1", 5432), ("127.0.0.1", 6543)}
    )


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        (replace(ONE, schema="crm"), BEHIND),
        (ONE, replace(BEHIND, read_only=True)),
        (ONE, Reading(foreign_heads=("s1",))),
        (ONE, Reading(heads=("unknown",))),
    ],
    ids=["a schema", "takes no writes", "another's", "unknown"],
)
def test_who_is_not_worked_on_by_one_connection_is_not_asked(target: Target, answer: Reading, see: See) -> None:
    """Nor for the others of its endpoint: the next one is."""
    other = replace(ONE, name="two")
    assert see((target, answer), (other, BEHIND)) == Seen(1, ["two"], {("127.0.0.1", 5432)})


def test_steps_that_are_not_plain_have_no_proof_beside_looks(see: See, tmp_path: Path) -> None:
    """They need two connections in any case; nor is anything known of a history with a file that does something."""
    add_revision(tmp_path, "shared/2", revision("s2", "s1", up_code="op.get_bind()"))
    assert see((ONE, BEHIND)) == Seen(1)
    add_revision(tmp_path, "shared/2", revision("s2", "s1"))
    add_revision(tmp_path, "shared/1", revision("s1", label="shared") + "\nprint()\n")
    assert see((ONE, BEHIND)) == Seen(1)
