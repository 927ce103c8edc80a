"""The tests' PostgreSQL in a container, where EHG_TEST_DOCKER=1 and there is a Docker engine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest
from testcontainers.postgres import PostgresContainer

from tests.support.server import CANARY, SUPERUSER, certificates, prepare

IMAGE = os.environ.get("EHG_TEST_DOCKER_IMAGE", "postgres:17")
_START = (
    "install -o postgres -g postgres -m 600 /tls/server.crt /tls/server.key /var/lib/postgresql/"
    " && exec docker-entrypoint.sh postgres -c ssl=on -c max_connections=300 -c fsync=off -c wal_level=logical"
    " -c ssl_cert_file=/var/lib/postgresql/server.crt -c ssl_key_file=/var/lib/postgresql/server.key"
)


class ContainerServer:
    """The same promises as `ProcessServer`, kept by a container of the official image."""

    log_file: Path | None = None

    def __init__(self) -> None:
        self.ca_file = certificates().ca_file
        self._container = PostgresContainer(
            IMAGE, username=SUPERUSER, password=CANARY, dbname="postgres", driver=None
        ).with_volume_mapping(str(self.ca_file.parent), "/tls", "ro")
        self._container.with_kwargs(entrypoint=["bash", "-c", _START])
        self._prepared = False
        self.host = "127.0.0.1"

    @property
    def port(self) -> int:
        """The port that Docker mapped; another one after a restart."""
        return int(self._container.get_exposed_port(5432))

    @property
    def pid(self) -> int:
        """Never one of this machine's."""
        raise ProcessLookupError("the server runs in a container")

    def start(self) -> None:
        """Starts it; makes it look like Supabase's the first time."""
        if self._prepared:
            self._container.get_wrapped_container().start()
            self._container._connect()  # testcontainers' own wait until a query is answered
            return
        self._container.start()
        self.host = self._container.get_container_host_ip().replace("localhost", "127.0.0.1")
        prepare(self._superuser)
        self._prepared = True

    def stop(self, mode: str) -> None:
        """`immediate` kills the container; the other modes are the image's own fast shutdown."""
        wrapped = self._container.get_wrapped_container()
        if mode == "immediate":
            wrapped.kill()
        else:
            wrapped.stop()

    def signal(self, number: signal.Signals) -> None:
        """Docker freezes all that runs in the container, as SIGSTOP does."""
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        if number is signal.SIGSTOP:
            wrapped.pause()
        elif wrapped.status == "paused":
            wrapped.unpause()

    def close(self) -> None:
        """Removes the container."""
        self._container.stop()

    def pg_dump(self, *arguments: str) -> str:
        """Runs inside the container, so it is of the server's version."""
        done = self._container.exec(["pg_dump", "-U", SUPERUSER, *arguments])
        if done.exit_code:
            pytest.fail(f"`pg_dump` ended with {done.exit_code}: {done.output.decode()}")
        return str(done.output.decode())

    def _superuser(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host, port=self.port, user=SUPERUSER, password=CANARY, dbname=database, autocommit=True
        )
