"""dbmate, a Go program whose binary comes from npm, a process per target."""

from __future__ import annotations

from benchmarks.peers.base import USER, Command, Peer, Work, install_from_npm


class Dbmate(Peer):
    """`dbmate migrate` without the dump of the schema that it makes by default."""

    name = "dbmate, xargs"
    own_tables = ("schema_migrations",)

    def install(self) -> None:
        """From npm."""
        install_from_npm(self.tools / "dbmate", "dbmate")

    def write(self, work: Work) -> None:
        """shared/ and a folder per target."""
        for r in (*work.history.shared, *work.history.added):
            work.put(f"shared/{r.id[1:]}_shared.sql", f"-- migrate:up\n{r.sql}\n-- migrate:down\n")
        for name in work.targets:
            for id_, r in work.history.numbered_own(name):
                work.put(f"own/{name}/{id_[1:]}_own.sql", f"-- migrate:up\n{r.sql}\n-- migrate:down\n")
        work.put_targets()

    def command(self, work: Work) -> Command:
        """Its program itself, not npm's wrapper in JavaScript."""
        program = next((self.tools / "dbmate" / "node_modules" / "@dbmate").glob("*/bin/dbmate"))
        url = f"postgres://{USER}:$PGPASSWORD@{work.host}:{work.port}/$1?sslmode=disable"
        return Command(work.xargs(f'{program} -u "{url}" -d shared -d own/$1 --no-dump-schema migrate'))
