"""A connection whose first statement takes others along in its message, so that all of them cost one round trip."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import Params

from ehg_migrate.database.asking import Connection


class Together:
    """Stands in the place of a connection for whoever executes one statement after the other and reads its rows.

    After the first `execute`, `answers` is a cursor at the first statement's rows; `nextset()` leads to those of the
    others. It is None where the message failed: the first statement was sent again alone, and fails by itself or not.
    """

    def __init__(self, connection: Connection, more: sql.Composable) -> None:
        self.answers: psycopg.AsyncCursor[dict[str, object]] | None = None
        self._connection = connection
        self._more: sql.Composable | None = more

    async def execute(
        self, query: sql.SQL | sql.Composed, params: Params | None = None
    ) -> psycopg.AsyncCursor[dict[str, object]]:
        """As that of the connection. Raises psycopg.Error."""
        more, self._more = self._more, None
        if more is None:
            return await self._connection.execute(query, params)
        try:
            self.answers = await self._connection.execute(self._one_text(query, params, more), prepare=False)
        except psycopg.Error:
            if self._connection.closed:
                raise
            await self._connection.rollback()
            return await self._connection.execute(query, params)
        return self.answers

    def _one_text(self, query: sql.SQL | sql.Composed, params: Params | None, more: sql.Composable) -> bytes:
        """Without parameters, since only a message without them can hold several statements."""
        client: psycopg.AsyncClientCursor[Any] = psycopg.AsyncClientCursor(self._connection)
        first = client.mogrify(query, params).encode(self._connection.info.encoding)
        return first + b";\n" + more.as_bytes(self._connection)
