"""One login attempt for one wrong password, whatever stands behind a host's name; text in every encoding."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from ehg_migrate.database.addresses import addresses
from ehg_migrate.database.connections import connect
from ehg_migrate.database.faults import ConnectError
from ehg_migrate.database.probe import Reading, probe
from ehg_migrate.database.session import Session
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.model import Address, Limits, Origin, Target
from tests.conftest import REF_A, MakeProject
from tests.support.cli import ehg
from tests.support.postgres import Cluster
from tests.support.project import revision, target_entry
from tests.support.standin import StandIn

WRONG = "not-the-password"
# the same server twice: as itself, and as IPv6 writes it
TWICE = ("127.0.0.1", "::ffff:127.0.0.1")


def target(address: Address) -> Target:
    return Target("acme", address, ("shared",), limits=Limits(connect=5))


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name has two addresses, as a pooler's has."""

    def answer(host: str, port: int, *rest: object, **more: object) -> list[object]:
        families = (socket.AF_INET, socket.AF_INET6)
        return [(f, socket.SOCK_STREAM, 6, "", (ip, port)) for f, ip in zip(families, TWICE, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.usefixtures("two_addresses")
def test_a_wrong_password_is_tried_at_one_address_only(standin: StandIn, database: Address) -> None:
    """Both ways to connect make one attempt; the driver alone would make one for each address."""
    address = replace(standin.address(REF_A, database.dbname), host="localhost")
    with pytest.raises(ConnectError) as caught:
        connect(target(address), WRONG, "test")
    assert caught.value.problem.code == "wrong_password", caught.value.problem
    assert standin.attempts[REF_A] == 1

    standin.reset()
    answer = probe([target(address)], {"acme": WRONG}, 1)["acme"]
    assert isinstance(answer, Problem)
    assert answer.code == "wrong_password"
    assert standin.attempts[REF_A] == 1


@pytest.mark.usefixtures("two_addresses")
def test_the_next_address_is_tried_where_the_first_does_not_answer(
    pg: Cluster, database: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that refuses connections does not hide one that answers."""
    dead = ("127.0.0.9", "127.0.0.1")  # nothing listens on the first

    def answer(host: str, port: int, *rest: object, **more: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in dead]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    reached = target(replace(database, host="localhost"))
    with connect(reached, pg.password, "test") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert isinstance(probe([reached], {"acme": pg.password}, 1)["acme"], Reading)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PGHOSTADDR", "127.0.0.9"), ("PGOPTIONS", "-c lock_timeout=77"), ("PGTARGETSESSIONATTRS", "standby")],
)
def test_variables_of_an_application_lead_nowhere_else(
    pg: Cluster, database: Address, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """libpq's own variables are the importing application's, and stay; a target is reached where its entry says."""
    monkeypatch.setenv(variable, value)
    reading = probe([target(database)], {"acme": pg.password}, 1)["acme"]
    assert isinstance(reading, Reading), reading
    with connect(target(database), pg.password, "test") as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("5s",)


def test_a_password_in_the_environment_is_offered_to_no_target(
    pg: Cluster, database: Address, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PGPASSWORD is somebody's; a target without a reference has a passfile or nothing."""
    monkeypatch.setenv("PGPASSWORD", pg.password)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    answer = probe([target(database)], {"acme": None}, 1)["acme"]
    assert isinstance(answer, Problem)
    assert answer.code == "no_password"
    escaped = pg.password.replace("\\", "\\\\").replace(":", "\\:")
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{escaped}\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert isinstance(probe([target(database)], {"acme": None}, 1)["acme"], Reading)


def test_a_reference_may_name_libpqs_own_variable(
    make_project: MakeProject, database: Address, pg: Cluster, tmp_path: Path
) -> None:
    """What stands in PGPASSWORD can be had by `env:PGPASSWORD`, for the target that says so, and in its worker."""
    entry = {**target_entry(database), "password": "env:PGPASSWORD"}
    folder = make_project(tmp_path / "p", {"acme": entry}, {"shared/s1.py": revision("s1")})
    said = ehg(folder, "upgrade", "--yes", PGPASSWORD=pg.password)
    assert said.code == 0, said.err


def test_a_file_of_variables_leads_nowhere_else(make_project: MakeProject, database: Address, tmp_path: Path) -> None:
    """`--env-file` is read before libpq's own variables are taken away."""
    folder = make_project(tmp_path, {"acme": target_entry(database)}, {"shared/s1.py": revision("s1")})
    file = tmp_path / "variables"
    file.write_text("PGHOSTADDR=127.0.0.9\nPGSERVICE=nobody\n")
    file.chmod(0o600)
    said = ehg(folder, "status", "--env-file", str(file))
    assert said.code == 0, said.err
    assert "pending" in said.out


@pytest.mark.parametrize("host", ["nobody.invalid", "nobody..invalid"])
def test_a_name_without_an_address_is_said_to_have_none(database: Address, host: str) -> None:
    """The message names the host, and the hint what may be wrong with it; also of a name that cannot be asked for."""
    address = replace(database, host=host)
    answer = probe([target(address)], {}, 1)["acme"]
    assert isinstance(answer, Problem)
    assert answer.code == "unresolved_host"
    assert f"failed to resolve host '{host}'" in answer.message
    with pytest.raises(psycopg.OperationalError, match=f"failed to resolve host '{host}'"):
        addresses(address)


@contextmanager
def in_encoding(pg: Cluster, encoding: str) -> Iterator[Address]:
    """A database of its own in this encoding."""
    with pg.admin() as admin:
        admin.execute("DROP DATABASE IF EXISTS encoded")
        own_locales = admin.info.server_version >= 150000  # else those of the template may be for UTF-8 only
        admin.execute(
            f"CREATE DATABASE encoded OWNER postgres TEMPLATE template0 ENCODING '{encoding}'"
            f" LC_COLLATE 'C' LC_CTYPE 'C'{' LOCALE_PROVIDER libc' if own_locales else ''}".encode()
        )
        yield Address("127.0.0.1", pg.port, "postgres", "encoded", "disable")
        admin.execute("DROP DATABASE encoded WITH (FORCE)")


def test_a_database_in_sql_ascii_answers_in_text(pg: Cluster) -> None:
    """Without a client encoding the driver gives bytes, and settings seem lost."""
    with in_encoding(pg, "SQL_ASCII") as address:
        reading = probe([target(address)], {"acme": pg.password}, 1)["acme"]
        assert isinstance(reading, Reading)
        assert reading.server_version[:1].isdigit()
        connection: psycopg.Connection = connect(target(address), pg.password, "test")
        with connection:
            assert connection.execute("SHOW lock_timeout").fetchone() == ("5s",)


def test_a_name_that_a_database_cannot_hold(pg: Cluster) -> None:
    """It is not the entry of the target that is to be corrected."""
    origin = Origin("Łukasz", "here", 1, "", "0")
    with in_encoding(pg, "LATIN1") as address:
        with pytest.raises(TargetError, match="has no equivalent in encoding") as caught:
            Session(target(address), pg.password, "run", origin).__enter__()
        assert caught.value.problem.code == "untranslatable"
        assert "`EHG_ACTOR`" in caught.value.problem.hint
        with Session(target(address), pg.password, "run", replace(origin, actor="Ægir")) as session:
            assert session.found.heads == ()
