"""What a stock `alembic` command line asks of env.py: which command, which targets, from a database or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self

from alembic import context
from alembic.autogenerate.api import RevisionContext
from alembic.config import Config

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.model import Target

LOCAL_ADDRESS = "ehg_migrate.local_address"
"""Of Alembic's Config.attributes: where the database of the one target is that is meant, with `--local`."""
_X = "target"
# without `-x target=` these go over all targets; nothing of what they do takes anything away
_OVER_ALL = frozenset({"upgrade", "current", "check", "ensure_version"})
_READING = frozenset({"current", "check", "revision", "history", "show", "edit"})


@dataclass(frozen=True)
class Invocation:
    """One run of env.py under a command of Alembic's.

    `command` is empty where Alembic's Python API was called: it does not say which command runs. What could take
    something away then wants exactly one target, as downgrade does.
    """

    command: str
    from_terminal: bool
    selectors: tuple[str, ...]
    x: tuple[str, ...]  # the other -x arguments, as they were given
    options: dict[str, Any]  # Alembic's own, the live object that `context.configure` writes into
    arguments: Any = field(repr=False)  # argparse's Namespace, or None
    _first: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, config: Config) -> Self:
        """Of the command that is running env.py now."""
        # without a connection; the only public way to the options that the command gave to its EnvironmentContext
        context.configure(dialect_name="postgresql")
        options = context.get_context().opts
        given = config.cmd_opts
        command = getattr(given, "cmd", None)
        x = tuple(getattr(given, "x", None) or ())
        mine = [a for a in x if a.partition("=")[0] == _X]
        return cls(
            command=command[0].__name__ if command else _named_by(options),
            from_terminal=hasattr(given, "raiseerr"),
            selectors=tuple(a.partition("=")[2] for a in mine),
            x=tuple(a for a in x if a not in mine),
            options=options,
            arguments=given,
            _first=dict(options),
        )

    def forget(self) -> None:
        """Takes back every option that was set for a target: what the next one does not set would stay."""
        self.options.clear()
        self.options.update(self._first)

    @property
    def offline(self) -> bool:
        """Whether SQL is to be printed (`--sql`)."""
        return bool(self.options.get("as_sql"))

    @property
    def revision(self) -> RevisionContext | None:
        """What `revision` and `check` collect, None under other commands."""
        found: RevisionContext | None = self.options.get("revision_context")
        return found

    @property
    def autogenerates(self) -> bool:
        """Whether models are compared with a database."""
        return self.revision is not None and bool(self.revision.command_args["autogenerate"])

    @property
    def writes_file(self) -> bool:
        """Whether a revision file comes of it."""
        return self.command in ("revision", "merge")

    @property
    def stamps(self) -> bool:
        """Whether version rows are written and nothing is run; Alembic's Python API gives that away."""
        return self.command == "stamp" or "purge" in self._first

    @property
    def needs_target(self) -> bool:
        """Whether a database, or at least a target's own scope, is meant."""
        if self.command == "history":
            wants = getattr(self.arguments, "rev_range", None) or ""
            return bool(getattr(self.arguments, "indicate_current", False)) or "current" in wants.split(":")
        return self.autogenerates or not self.writes_file

    @property
    def only_reads(self) -> bool:
        """Whether the target is not changed, so that neither lock nor journal is needed."""
        return self.command in _READING or bool(self.options.get("dont_mutate"))

    def choose(self, fleet: Fleet) -> tuple[Target, ...]:
        """The targets that are meant. Raises UsageError; an unknown name is never taken for all."""
        if self.command in _OVER_ALL:
            if not self.selectors:
                _refuse_misspelt(self.x)
            return fleet.select(self.selectors)
        chosen = fleet.select(self.selectors) if self.selectors else ()
        if len(chosen) != 1:
            raise UsageError(self._one_wanted(chosen, fleet))
        return chosen

    def _one_wanted(self, chosen: Sequence[Target], fleet: Fleet) -> Problem:
        what = f"`{self.command}`" if self.command else "a command of Alembic's Python API"
        found = f"not {len(chosen)} ({', '.join(t.name for t in chosen)})" if chosen else "and none is named"
        example = fleet.targets[0].name
        hint = f"`alembic -x target={example} {self.command or 'upgrade heads'}`"
        if not self.command:
            hint = f'Config(..., cmd_opts=argparse.Namespace(x=["target={example}"]))'
        return Problem("one_target", f"{what} wants exactly one target, {found}", hint)


def _named_by(options: dict[str, Any]) -> str:
    """The command as far as its options give it away."""
    if "revision_context" in options:
        return "revision"
    return "merge" if "template_args" in options else ""


def _refuse_misspelt(x: Sequence[str]) -> None:
    """`-x targets=acme` would mean all targets, and is not meant so."""
    for argument in x:
        key, _, value = argument.partition("=")
        if get_close_matches(key.lower(), [_X], cutoff=0.8):
            raise UsageError(
                Problem(
                    "misspelt_target",
                    f"`-x {key}=` names no target, so this would go over all of them",
                    f"write `-x target={value or 'NAME'}`; where `{key}` is an argument of your revisions, say "
                    "`-x target=all` too",
                )
            )
