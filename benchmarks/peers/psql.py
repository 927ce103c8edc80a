"""psql in a shell script, a process or two per target: no tool at all."""

from __future__ import annotations

from benchmarks.peers.base import PROGRAMS, USER, Absent, Command, Peer, Work, found


class Psql(Peer):
    """One psql asks for the version; a second one runs the files that are newer, each in its transaction."""

    name = "psql, xargs"
    own_tables = ("psql_version",)

    def install(self) -> None:
        """It comes with PostgreSQL."""
        if not found("psql"):
            raise Absent("`psql` is not on PATH; `apt-get install postgresql-client`")

    def write(self, work: Work) -> None:
        """shared/, added/ and a folder per target, a file for each revision."""
        for folder, revisions in (("shared", work.history.shared), ("added", work.history.added)):
            for r in revisions:
                work.put(f"{folder}/{r.id}.sql", _file(r.id, r.sql))
        for name in work.targets:
            for id_, r in work.history.numbered_own(name):
                work.put(f"own/{name}/{id_}.sql", _file(id_, r.sql))
        work.put("added/.keep", "")
        work.put_targets()

    def command(self, work: Work) -> Command:
        """Two shell processes a target beside psql's own."""
        place = {"PGHOST": work.host, "PGPORT": str(work.port), "PGUSER": USER, "PGSSLMODE": "disable"}
        return Command(work.xargs(f"sh {PROGRAMS}/psql_target.sh $1"), place)


def _file(id_: str, sql: str) -> str:
    return f"BEGIN;\n{sql}INSERT INTO psql_version VALUES ('{id_}');\nCOMMIT;\n"
