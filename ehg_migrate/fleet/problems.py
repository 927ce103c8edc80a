"""How this package collects mistakes: one `Refused` per wrong value, a `Report` that goes on after each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ehg_migrate.errors import ConfigurationError, Problem

_LONGEST = 60


class Refused(ValueError):
    """A value that cannot be used, and why; whoever knows the place makes a `Problem` of it.

    A ValueError, so that pydantic lets validators raise it.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint

    def at(self, where: str) -> Problem:
        """The same as a Problem at a place in the user's files."""
        return Problem(self.code, self.message, self.hint, where)


@dataclass
class Report:
    """The mistakes found until now, each once, in the order in which they were found."""

    _found: dict[Problem, None] = field(default_factory=dict)

    def add(self, code: str, message: str, hint: str, where: str) -> None:
        """Keeps one mistake; the same one at the same place is kept once."""
        self._found[Problem(code, message, hint, where)] = None

    def refuse(self, refused: Refused, where: str) -> None:
        """Keeps what a validator refused."""
        self._found[refused.at(where)] = None

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raises ConfigurationError with all that was found, if anything was."""
        if self._found:
            raise ConfigurationError(tuple(self._found))


def describe(value: object) -> str:
    """What was found, for a message: short, and never the contents of a list or mapping."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f"the text `{clip(value)}`" if value else "an empty text"
    if isinstance(value, (int, float)):
        return f"the number `{clip(str(value))}`"
    return "an empty list" if value == [] else kind(value)


def kind(value: object) -> str:
    """What sort of thing was found, for fields whose value must not be shown."""
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        (str, "a text"),
        ((int, float), "a number"),
        (list, "a list"),
        (dict, "a mapping"),
    )
    return next((name for types, name in names if isinstance(value, types)), "something else (a date?)")


def clip(text: str) -> str:
    """The text on one line, or its beginning if it is too long for a message."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
