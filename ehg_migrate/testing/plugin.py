"""The pytest plugin: the marker `ehg`, its fixtures, and for which branches and targets the ready tests run.

Every pytest of an environment with this package loads this module, so it imports nothing heavy before a test asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehg_migrate.testing.telling import collection_error, told

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

    from ehg_migrate.project import Project
    from ehg_migrate.testing.database import MigratedDatabase
    from ehg_migrate.testing.kit import Kit

_INI = "ehg_project"
_MARKER = (
    "ehg(target=None, branches=(), heads=()): what the `migrated_*` fixtures hold: the branches of a target or these"
    " branches, at all of their heads or only at `heads`"
)
_LOADED = pytest.StashKey["Project"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one setting."""
    parser.addini(_INI, "the folder with alembic.ini, targets/ and versions/, seen from the rootdir", default=".")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, so that `--strict-markers` knows it."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that ask for `ehg_branch` or `ehg_combination` run once for each that the project has."""
    wanted = {"ehg_branch", "ehg_combination"} & set(metafunc.fixturenames)
    for name in sorted(wanted):
        from ehg_migrate.testing.cases import branches, combinations

        with told(collection_error):
            project = _project(metafunc.config)
            cases: list[Any] = branches(project) if name == "ehg_branch" else combinations(project)
        metafunc.parametrize(name, cases, ids=str)


@pytest.fixture(scope="session")
def ehg_project(pytestconfig: pytest.Config) -> Path:
    """The folder of the project: the rootdir, or what `ehg_project` in pytest's settings says."""
    return _folder(pytestconfig)


@pytest.fixture(scope="session")
def ehg_kit(pytestconfig: pytest.Config) -> Iterator[Kit]:
    """What the other fixtures and the ready tests share: the scratch server and its templates."""
    with told():
        from ehg_migrate.testing.kit import Kit

        kit = Kit(_project(pytestconfig)).__enter__()
    try:
        yield kit
    finally:
        with told():
            kit.__exit__(None, None, None)


@pytest.fixture
def migrated_database(request: pytest.FixtureRequest, ehg_kit: Kit) -> Iterator[MigratedDatabase]:
    """A database of this test's own with everything that the marker `ehg` names."""
    from ehg_migrate.testing.wish import Wish

    marker = request.node.get_closest_marker("ehg")
    with told():
        wish = Wish.of(marker.args, marker.kwargs) if marker else Wish()
        block = ehg_kit.database(wish)
        database = block.__enter__()
    try:
        yield database
    finally:
        with told():
            block.__exit__(None, None, None)


@pytest.fixture
def migrated_connection(migrated_database: MigratedDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A connection of psycopg to the database of this test, closed after it; what is not committed is lost."""
    connection = migrated_database.connect()
    yield connection
    connection.close()


@pytest.fixture
def migrated_url(migrated_database: MigratedDatabase) -> URL:
    """Where the database of this test is, for SQLAlchemy's `create_engine`."""
    return migrated_database.url


def _folder(config: pytest.Config) -> Path:
    return (config.rootpath / str(config.getini(_INI))).resolve()


def _project(config: pytest.Config) -> Project:
    if _LOADED not in config.stash:
        from ehg_migrate.project import Project

        folder = _folder(config)
        if not (folder / "alembic.ini").is_file():
            from ehg_migrate.errors import ConfigurationError, Problem

            hint = f"write `{_INI} = DIR` where pytest has its settings: the project's folder, seen from the rootdir"
            raise ConfigurationError(Problem("no_project", f"there is no `alembic.ini` in `{folder}`", hint))
        config.stash[_LOADED] = Project.load(folder)
    return config.stash[_LOADED]
