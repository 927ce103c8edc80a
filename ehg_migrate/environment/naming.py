"""Which named types (enums, domains) the steps of one run have come to so far: Alembic makes each only once.

It remembers them from step to step, so what a step sends may depend on the steps before it. Another target may have
begun with another step, and Alembic would send it something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from alembic import context

from ehg_migrate.model import Step

Named = frozenset[tuple[str, frozenset[Any]]]
"""Kind of type -> (schema, name) of each."""

NOTHING: Named = frozenset()


class Memo(MutableMapping[str, Any]):
    """Stands for the dictionary `impl.memo` while a step runs; `asked` says whether the step has had to do with it."""

    def __init__(self, named: Named) -> None:
        self._names = {kind: set(names) for kind, names in named}
        self.asked = False

    def __getitem__(self, kind: str) -> Any:
        self.asked = True
        return self._names[kind]

    def __setitem__(self, kind: str, names: Any) -> None:
        self.asked = True
        self._names[kind] = names

    def __delitem__(self, kind: str) -> None:
        self.asked = True
        del self._names[kind]

    def __iter__(self) -> Iterator[str]:
        self.asked = True
        return iter(self._names)

    def __len__(self) -> int:
        self.asked = True
        return len(self._names)


def named_in(memo: MutableMapping[str, Any]) -> Named:
    """What is in it, be it Alembic's own or ours."""
    return frozenset((kind, frozenset(names)) for kind, names in memo.items())


@dataclass(frozen=True, slots=True)
class Past:
    """What each step of a plan has come to, for whoever goes on behind it: another attempt, or another session.

    A step that was committed is not done again; without this, one after it would make its types again.
    """

    steps: Sequence[Step]
    _after: dict[str, Named] = field(default_factory=dict)

    def before(self, step: Step) -> Named:
        """What the steps before this one have come to."""
        number = self.steps.index(step)
        return self._after.get(self.steps[number - 1].revision, NOTHING) if number else NOTHING

    def note(self, step: Step, named: Named) -> None:
        """What has been named when this one ends."""
        self._after[step.revision] = named

    def noting(self, step: Step, function: Callable[..., None]) -> Callable[..., None]:
        """A step's function, after which that is noted."""

        @wraps(function)
        def run(**arguments: Any) -> None:
            function(**arguments)
            self.note(step, named_in(context.get_context().impl.memo))

        return run
