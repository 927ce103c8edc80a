"""The models of a project, one MetaData a branch, and what Alembic may compare of them with a target."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import MetaData, Table

from ehg_migrate.errors import ConfigurationError, Problem, described
from ehg_migrate.model import SUPABASE, SUPABASE_SCHEMAS, VERSION_TABLE, Target
from ehg_migrate.settings import Settings

_WHERE = "alembic.ini: [ehg_migrate] metadata"

Models = Mapping[str, MetaData]
"""Branch -> what its revisions should amount to."""


def load_models(settings: Settings) -> Models:
    """Imports what `metadata` names. Raises ConfigurationError: none named, not importable, no MetaData."""
    if not settings.metadata:
        raise _wrong(
            "no models are named to compare with",
            "write `shared = package.module:Base` below `metadata =`, one line for each branch that has models",
        )
    models: dict[str, MetaData] = {}
    for branch, place in settings.metadata:
        found = _load(branch, place, settings)
        same = next((b for b, m in models.items() if m is found), None)
        if same:
            raise _wrong(
                f"branches `{same}` and `{branch}` have the same MetaData",
                "give each branch its own, so that a table belongs to one of them",
            )
        models[branch] = found
    return models


def named_models(settings: Settings) -> Models:
    """The same, and nothing where none are named.

    Running a revision wants them too: names that it leaves to Alembic follow the MetaData's naming convention.
    """
    return load_models(settings) if settings.metadata else {}


def _load(branch: str, place: str, settings: Settings) -> MetaData:
    if not (settings.versions / branch).is_dir():
        raise _wrong(f"there is no branch `{branch}`", f"create `versions/{branch}`, or correct the name")
    module, _, attribute = place.partition(":")
    try:
        found = operator.attrgetter(attribute)(importlib.import_module(module))
    except (Exception, SystemExit) as e:  # it may do whatever it likes when it is imported
        raise _wrong(
            f"`{place}` cannot be imported: {described(e)}",
            "modules are looked for below `prepend_sys_path` and among the installed packages",
        ) from e
    metadata = found if isinstance(found, MetaData) else getattr(found, "metadata", None)
    if not isinstance(metadata, MetaData):
        raise _wrong(
            f"`{place}` is {type(found).__name__}, which is no MetaData and has none",
            "name a MetaData or a declarative base",
        )
    return metadata


@dataclass(frozen=True)
class Comparison:
    """What is compared with one target: all its branches that have models, or one of them."""

    target: Target
    models: Models
    branches: tuple[str, ...]
    own: Mapping[str, Any]  # options of the project's env.py

    def options(self) -> dict[str, Any]:
        """For `context.configure`."""
        return {
            **self.own,
            "target_metadata": [self.models[b] for b in self.branches],
            "include_object": self._include_object,
            "include_name": self._include_name,
        }

    @property
    def _complete(self) -> bool:
        """Only then can a table that no model has be taken for one too many."""
        return all(b in self.models for b in self.target.branches)

    def _include_object(
        self, item: object, name: str | None, kind: str, reflected: bool, compare_to: object | None
    ) -> bool:
        """Whether Alembic may say something about it: a table only the database has may be somebody else's."""
        if not self._owns("include_object", item, name, kind, reflected, compare_to):
            return False
        if kind != "table":
            return True
        assert isinstance(item, Table)
        # a model of `auth.users` is there for foreign keys: no revision makes that table, changes it or drops it
        if self.target.platform == SUPABASE and item.schema in SUPABASE_SCHEMAS:
            return False
        if not reflected or compare_to is not None:
            return True
        return self._complete and item.name not in self._never and _key(item) not in self._of_other_branches

    def _include_name(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """With `include_schemas` Alembic looks at every schema; those that no model names are not ours."""
        if not self._owns("include_name", name, kind, parents):
            return False
        return kind != "schema" or name is None or name in self._schemas

    def _owns(self, option: str, *asked: object) -> bool:
        """What the project itself says to that."""
        own = self.own.get(option)
        return own is None or bool(own(*asked))

    @property
    def _never(self) -> set[str]:
        # a version table that an earlier tool left behind is not ours to drop either
        return {VERSION_TABLE, self.target.version_table}

    @property
    def _schemas(self) -> set[str]:
        return {t.schema for b in self.branches for t in self.models[b].tables.values() if t.schema}

    @property
    def _of_other_branches(self) -> set[tuple[str, str]]:
        others = [b for b in self.target.branches if b in self.models and b not in self.branches]
        return {_key(t) for b in others for t in self.models[b].tables.values()}


def comparison(
    target: Target, models: Models, branches: Sequence[str], own: Mapping[str, Any] = MappingProxyType({})
) -> Comparison:
    """Of those among `branches` that have models; `branches` of the result may be empty."""
    return Comparison(target, models, tuple(b for b in branches if b in models), own)


def _key(table: Table) -> tuple[str, str]:
    return table.schema or "public", table.name


def _wrong(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(Problem("metadata", message, hint, where=_WHERE))
