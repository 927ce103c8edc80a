"""Statements that are another target's in each schema."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def own(by_target: Mapping[str, Sequence[str]]) -> Callable[[Any, Any], None]:
    """A function for RunPython that runs those of the schema it finds itself in."""

    def run(apps: Any, schema_editor: Any) -> None:
        for statement in by_target[schema_editor.connection.schema_name]:
            schema_editor.execute(statement, params=None)

    return run
