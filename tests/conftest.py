"""The servers and projects that tests share. A worker of pytest-xdist has its own of each; no port is fixed."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest

from ehg_migrate import redaction
from ehg_migrate.model import Address
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, write_project
from tests.support.running import Gate
from tests.support.secrets import keep_only
from tests.support.session import forget_servers, session_folder
from tests.support.standin import StandIn

# how long an example takes says how busy the machine is
hypothesis.settings.register_profile("unhurried", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("unhurried")

REF_A = "abcdefghijklmnopqrst"
REF_B = "zyxwvutsrqponmlkjihg"

_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Before workers are started, which inherit all this.

    With `nohup`, or from a script that does not wait for the tests, commands would not hear these signals.
    """
    session_folder()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class MakeProject(Protocol):
    """`write_project` with the password of its targets' entries put into the environment."""

    def __call__(
        self,
        folder: Path,
        targets: Mapping[str, Mapping[str, Any]],
        revisions: Mapping[str, str],
        *,
        defaults: Mapping[str, Any] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Path: ...


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Opened at the end, whatever comes, so that nobody waits there for ever."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()


@pytest.fixture(autouse=True)
def _secrets_of_this_test() -> Iterator[None]:
    """A secret is masked in its process for ever; that of one test must not mask words in another's messages."""
    before = set(redaction._known)
    keep_only(before)
    yield
    keep_only(before)


@pytest.fixture(scope="session", autouse=True)
def _no_files_of_embedded_servers_stay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Those of root's tests stand outside of their folders."""
    yield
    forget_servers(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def pg() -> Iterator[Cluster]:
    """The PostgreSQL that most tests share."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pg_second() -> Iterator[Cluster]:
    """Another one, for what must not reach the first."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def pg_own() -> Iterator[Cluster]:
    """One of this test's own, to be stopped, crashed and filled."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def make_database(pg: Cluster) -> Iterator[Callable[[str], Address]]:
    """Makes databases like Supabase's, of names that are used once; all are dropped at the end of the test."""
    yield from _databases(pg)


@pytest.fixture(scope="module")
def make_module_database(pg: Cluster) -> Iterator[Callable[[str], Address]]:
    """The same, dropped at the end of the file."""
    yield from _databases(pg)


@pytest.fixture
def database(make_database: Callable[[str], Address]) -> Address:
    """One database for this test."""
    return make_database("db")


@pytest.fixture(scope="module")
def pg_module_db(make_module_database: Callable[[str], Address]) -> Address:
    """One database for all tests of a file."""
    return make_module_database("module")


@pytest.fixture(scope="session")
def bouncer_session(pg: Cluster) -> Iterator[PgBouncer]:
    """PgBouncer in session mode before `pg`."""
    with PgBouncer(pg, "session") as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def bouncer_transaction(pg: Cluster) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode before `pg`."""
    with PgBouncer(pg, "transaction") as bouncer:
        yield bouncer


@pytest.fixture(scope="session")
def _standin(pg: Cluster, pg_second: Cluster) -> Iterator[StandIn]:
    with StandIn() as standin:
        standin.add_tenant(REF_A, pg)
        standin.add_tenant(REF_B, pg_second)
        yield standin


@pytest.fixture
def standin(_standin: StandIn) -> Iterator[StandIn]:
    """The stand-in for Supabase's pooler: REF_A is `pg`, REF_B is `pg_second`; counts and breakers start afresh."""
    _standin.reset()
    yield _standin
    _standin.reset()


@pytest.fixture
def make_project(pg: Cluster, monkeypatch: pytest.MonkeyPatch) -> MakeProject:
    """Writes a project whose entries (`target_entry`) find the canary password in the environment."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    return write_project


def _databases(cluster: Cluster) -> Iterator[Callable[[str], Address]]:
    made: list[str] = []

    def make(prefix: str = "db") -> Address:
        name = f"{prefix}_{next(_numbers)}"
        made.append(name)
        return cluster.create_database(name)

    yield make
    cluster.drop_databases(made)
