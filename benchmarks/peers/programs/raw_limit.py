"""Applies work.json as fast as Python and the wire allow: one connection, one query, one message for each revision."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import psycopg

_TABLE = "CREATE TABLE raw_version (id text PRIMARY KEY);"


async def _target(work: dict[str, Any], name: str, gate: asyncio.Semaphore) -> None:
    before, after = work["shared"]
    async with gate:
        connection = await psycopg.AsyncConnection.connect(
            host=work["host"], port=work["port"], user=work["user"], dbname=name, sslmode="disable",
            gssencmode="disable", autocommit=True,
        )  # fmt: skip
        try:
            done, first = await _done(connection)
            for id_, statements in (*before, *work["own"][name], *after):
                if id_ not in done:
                    record = f"INSERT INTO raw_version VALUES ('{id_}');"
                    await connection.execute(f"BEGIN; {first} {statements} {record} COMMIT".encode())
                    first = ""
        finally:
            await connection.close()


async def _done(connection: psycopg.AsyncConnection) -> tuple[set[str], str]:
    """The ids that are there, and the statement that a first revision must run before."""
    try:
        rows = await (await connection.execute("SELECT id FROM raw_version")).fetchall()
    except psycopg.errors.UndefinedTable:
        return set(), _TABLE
    return {row[0] for row in rows}, ""


async def _all(work: dict[str, Any]) -> None:
    gate = asyncio.Semaphore(work["parallel"])
    async with asyncio.TaskGroup() as group:
        for name in work["own"]:
            group.create_task(_target(work, name, gate))


if __name__ == "__main__":
    asyncio.run(_all(json.loads(Path(sys.argv[1]).read_text())))
