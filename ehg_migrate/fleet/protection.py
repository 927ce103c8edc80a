"""What is said where automation would change a target that is marked `protected`."""

from __future__ import annotations

from ehg_migrate.errors import Problem
from ehg_migrate.model import Target


def protected(target: Target) -> Problem:
    """Nothing was done. No option stands for the person: what a pipeline can say, it would say."""
    return Problem(
        "protected",
        f"`{target.name}` is protected: nothing changes it but a person who types its name",
        "run `ehg-migrate` at a terminal and type the name when it asks; `--yes` does not answer that",
        target.source,
    )
