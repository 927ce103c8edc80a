"""sqitch from Debian, a process per target."""

from __future__ import annotations

from benchmarks.history import Revision
from benchmarks.peers.base import USER, Absent, Command, Peer, Work, found


class Sqitch(Peer):
    """A project per target: its plan is one line of changes. Its records are in a schema of their own."""

    name = "sqitch, xargs"
    slow = True

    def install(self) -> None:
        """Not from here: it is Debian's, with a client library in Perl."""
        if not found("sqitch"):
            raise Absent("`sqitch` is not on PATH; `apt-get install sqitch libdbd-pg-perl`")

    def write(self, work: Work) -> None:
        """own/TARGET/sqitch.plan and its deploy scripts."""
        for name in work.targets:
            changes = work.history.numbered(name)
            lines = "".join(f"{id_} 2026-01-01T00:00:00Z B <b@example.com>\n" for id_, _ in changes)
            work.put(f"own/{name}/sqitch.plan", f"%syntax-version=1.0.0\n%project=benchmark\n\n{lines}")
            work.put(f"own/{name}/sqitch.conf", "[core]\n\tengine = pg\n[user]\n\tname = B\n\temail = b@example.com\n")
            for id_, r in changes:
                work.put(f"own/{name}/deploy/{id_}.sql", _script(r))
        work.put_targets()

    def command(self, work: Work) -> Command:
        """`deploy` says by its exit code 0 that there was nothing to do, too."""
        uri = f"db:pg://{USER}@{work.host}:{work.port}/$1"
        return Command(work.xargs(f'cd own/$1 && sqitch deploy --no-verify "{uri}"'), {"PGSSLMODE": "disable"})


def _script(revision: Revision) -> str:
    return f"BEGIN;\n{revision.sql}COMMIT;\n"
