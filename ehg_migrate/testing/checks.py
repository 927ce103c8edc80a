"""Ready tests of a project's migrations: `from ehg_migrate.testing.checks import *` in a file of its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ehg_migrate.testing.telling import failure, told

if TYPE_CHECKING:
    from ehg_migrate.testing.cases import Branch, Combination
    from ehg_migrate.testing.kit import Kit

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]


def test_single_head_revision(ehg_branch: Branch) -> None:
    """Each branch ends in one revision."""
    from ehg_migrate.testing.proofs import second_heads

    _expect_nothing(second_heads, ehg_branch)


def test_upgrade(ehg_combination: Combination, ehg_kit: Kit) -> None:
    """From an empty database every revision can be run, one after the other."""
    from ehg_migrate.testing.proofs import broken_upgrade

    _expect_nothing(broken_upgrade, ehg_kit, ehg_combination)


def test_up_down_consistency(ehg_combination: Combination, ehg_kit: Kit) -> None:
    """Each downgrade brings back exactly the schema that its upgrade found, and the upgrade can be run again."""
    from ehg_migrate.testing.proofs import inconsistent_steps

    _expect_nothing(inconsistent_steps, ehg_kit, ehg_combination)


def test_model_definitions_match_ddl(ehg_combination: Combination, ehg_kit: Kit) -> None:
    """The revisions make what the models say, wherever alembic.ini names models."""
    from ehg_migrate.testing.proofs import has_models, unmatched_models

    if not has_models(ehg_kit, ehg_combination):
        pytest.skip("alembic.ini names no models of these branches below `metadata =`")
    _expect_nothing(unmatched_models, ehg_kit, ehg_combination)


def _expect_nothing(find: Callable[..., str], *what: object) -> None:
    with told():
        found = find(*what)
    if found:
        raise failure(found)
