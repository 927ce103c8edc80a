"""Alembic's multidb template: one `alembic upgrade heads`, all databases connected at once, revisions told which."""

from __future__ import annotations

from importlib import resources
from textwrap import indent

from benchmarks.history import OWN
from benchmarks.peers.alembic_files import revision_file
from benchmarks.peers.base import BIN, USER, Command, Peer, Work
from benchmarks.peers.stock import LOGGING


class Multidb(Peer):
    """Its history is one for all: a target's own revisions are functions in a revision that all databases record."""

    name = "stock Alembic, multidb template"
    own_tables = ("alembic_version",)

    def write(self, work: Work) -> None:
        """alembic.ini as the template has it, with a section for each database."""
        databases = ", ".join(work.targets)
        head = f"[alembic]\nscript_location = %(here)s/environment\ndatabases = {databases}\n"
        work.put("alembic.ini", head + "".join(_section(work, name) for name in work.targets) + LOGGING)
        work.put("environment/env.py", (resources.files("alembic") / "templates/multidb/env.py").read_text())
        parent = None
        for id_, text in (*_shared(work, 0), *_own(work), *_shared(work, 1)):
            work.put(
                f"environment/versions/{id_}.py", text.replace("down_revision = None", f"down_revision = {parent!r}")
            )
            parent = id_

    def command(self, work: Work) -> Command:
        """One process."""
        return Command([str(BIN / "alembic"), "upgrade", "heads"])


def _section(work: Work, name: str) -> str:
    url = f"postgresql+psycopg://{USER}@{work.host}:{work.port}/{name}?sslmode=disable"
    return f"[{name}]\nsqlalchemy.url = {url}\n"


def _shared(work: Work, part: int) -> list[tuple[str, str]]:
    revisions = (work.history.shared, work.history.added)[part]
    return [(r.id, revision_file(r, None, parameter="engine_name")) for r in revisions]


def _own(work: Work) -> list[tuple[str, str]]:
    """OWN files; each has a function for every target, as the template's own script.py.mako makes them."""
    own = {name: work.history.numbered_own(name) for name in work.targets}
    files = []
    for n in range(OWN):
        id_, first = next(iter(own.values()))[n]
        functions = "\n\n".join(f"def upgrade_{name}():\n{indent(o[n][1].code, '    ')}\n" for name, o in own.items())
        text = revision_file(first, None, parameter="engine_name")
        text = text.replace(indent(first.code, "    "), '    globals()[f"upgrade_{engine_name}"]()')
        files.append((id_, f"{text.replace(repr(first.id), repr(id_))}\n\n{functions}"))
    return files
