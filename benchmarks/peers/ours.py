"""`ehg-migrate upgrade`, with its journal, its locks and its ledger, as a user runs it."""

from __future__ import annotations

from importlib import resources

from benchmarks.peers.alembic_files import revision_file
from benchmarks.peers.base import BIN, USER, Command, Peer, Work


class Ours(Peer):
    """What the others do: no rehearsal before, no look at the schema afterwards."""

    name = "ehg-migrate"
    options: tuple[str, ...] = ("--lint", "off", "--verify", "never")

    def write(self, work: Work) -> None:
        """A project as `ehg-migrate init` lays it out."""
        work.put("alembic.ini", (resources.files("ehg_migrate") / "environment" / "alembic.ini.tmpl").read_text())
        entries = "".join(self.entry(work, name) for name in work.targets)
        work.put("targets/fleet.yaml", f"targets:\n{entries}")
        write_revisions(work)

    def entry(self, work: Work, name: str) -> str:
        """One target in YAML."""
        url = f"postgresql://{USER}@{work.host}:{work.port}/{name}"
        return f"  {name}: {{url: '{url}', password: 'env:BENCHMARK_PASSWORD', sslmode: disable}}\n"

    def command(self, work: Work) -> Command:
        """Every target."""
        words = ("upgrade", "--yes", "--parallel", str(work.parallel), *self.options)
        return Command([str(BIN / "ehg-migrate"), *words])


class Plainly(Ours):
    """As it is without options. Where every target is in a state of its own, as here, they are too many for `auto` to
    rehearse and to verify, and a note says so: the figures have no rehearsal and no verification in them.
    """

    name = "ehg-migrate, no options"
    options = ()


def write_revisions(work: Work) -> None:
    """versions/shared and a folder for each target, whose first revision needs the last that were there before it."""
    history = work.history
    parent: str | None = None
    for revision in (*history.shared, *history.added):
        work.put(f"versions/shared/{revision.id}.py", revision_file(revision, parent))
        parent = revision.id
    for name in work.targets:
        parent = None
        needs: str | None = history.shared[-1].id
        for revision in history.own(name):
            work.put(f"versions/{name}/{revision.id}.py", revision_file(revision, parent, needs))
            parent, needs = revision.id, None
