"""The limit: asyncio and psycopg, one message for each revision, nothing proven, locked or journalled."""

from __future__ import annotations

import json
import sys

from benchmarks.peers.base import PROGRAMS, USER, Command, Peer, Work


class Raw(Peer):
    """What the wire and the server allow from Python."""

    name = "raw psycopg (the limit)"
    own_tables = ("raw_version",)

    def write(self, work: Work) -> None:
        """One file with everything."""
        revisions = {name: [(r.id, r.sql) for r in work.history.own(name)] for name in work.targets}
        shared = [[(r.id, r.sql) for r in part] for part in (work.history.shared, work.history.added)]
        where = {"host": work.host, "port": work.port, "user": USER, "parallel": work.parallel}
        work.put("work.json", json.dumps({**where, "shared": shared, "own": revisions}))

    def command(self, work: Work) -> Command:
        """One process."""
        return Command([sys.executable, str(PROGRAMS / "raw_limit.py"), "work.json"])
