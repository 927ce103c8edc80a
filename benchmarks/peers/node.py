"""node-pg-migrate through its API: one Node process, several targets at once."""

from __future__ import annotations

import json

from benchmarks.peers.base import PROGRAMS, USER, Absent, Command, Peer, Work, found, install_from_npm


class NodePgMigrate(Peer):
    """The fastest known peer: no process per target, and no wait for the others."""

    name = "node-pg-migrate, its API"
    own_tables = ("pgmigrations",)

    def install(self) -> None:
        """From npm."""
        if not found("node"):
            raise Absent("`node` is not on PATH")
        install_from_npm(self.tools / "node", "node-pg-migrate", "pg")

    def write(self, work: Work) -> None:
        """A folder per target with links to the shared files, since it reads one folder."""
        for r in (*work.history.shared, *work.history.added):
            work.put(f"shared/{r.id[1:]}_shared.sql", f"-- Up Migration\n{r.sql}\n-- Down Migration\n")
        for name in work.targets:
            for id_, r in work.history.numbered_own(name):
                work.put(f"own/{name}/{id_[1:]}_own.sql", f"-- Up Migration\n{r.sql}\n-- Down Migration\n")
            for file in (work.folder / "shared").iterdir():
                link = work.folder / "own" / name / file.name
                if not link.is_symlink():
                    link.symlink_to(file)
        where = {"host": work.host, "port": work.port, "user": USER, "parallel": work.parallel}
        work.put("work.json", json.dumps({**where, "targets": work.targets}))

    def command(self, work: Work) -> Command:
        """One process; modules are found from the folder of the script, so that is copied beside them."""
        script = self.tools / "node" / "loop.mjs"
        script.write_text((PROGRAMS / "node_loop.mjs").read_text())
        return Command(["node", str(script), "work.json"])
