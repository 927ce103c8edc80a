"""Servers of several major versions with the base schema in a database `base`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.schema.mutations import base
from tests.support.bare import BareServer, majors


@pytest.fixture(scope="session", params=sorted(majors()))
def bare(request: pytest.FixtureRequest) -> Iterator[BareServer]:
    """A server of each major version that is at hand, one after the other."""
    with BareServer(majors()[request.param]) as server:
        server.create("base")
        with server.connect("base") as connection:
            connection.execute(base(server.major).encode())
        yield server
