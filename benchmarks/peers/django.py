"""django-tenants: each target is a schema of one database, migrated by its multiprocessing executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.history import Revision
from benchmarks.peers.base import ONE_DATABASE, PASSWORD, PROGRAMS, USER, Absent, Command, Peer, Work, run_installer

_SHARED = "migrations.RunSQL({statements!r})"
_OWN = "migrations.RunPython(own({by_target!r}))"


class Django(Peer):
    """Its history is one for all: a target's own revisions are Python that asks in which schema it is."""

    name = "django-tenants, multiprocessing"
    one_database = True
    own_tables = ("django_migrations",)

    def install(self) -> None:
        """A virtual environment of its own, from PyPI."""
        folder = self.tools / "django"
        if (folder / "bin" / "django-admin").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        run_installer([sys.executable, "-m", "venv", "."], folder)
        packages = ("django-tenants", "psycopg[binary]")
        run_installer(["bin/pip", "install", "-q", "--disable-pip-version-check", *packages], folder)

    def set_up(self, work: Work) -> None:
        """Its own tables, and for each tenant a row and an empty schema."""
        argv = [self._python, "manage.py", "set_up"]
        env = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(argv, cwd=work.folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Absent(f"`manage.py set_up` ended with {done.returncode}: {done.stderr[-500:]}")

    def write(self, work: Work) -> None:
        """manage.py with the settings in it, the app of the tenants, and the app with the migrations."""
        for file in ("manage.py", "registry/models.py"):
            work.put(file, (PROGRAMS / f"django_{file.rpartition('/')[2]}").read_text())
        for package in ("registry", "work", "work/migrations"):
            work.put(f"{package}/__init__.py", "")
        work.put("work/own.py", (PROGRAMS / "django_own.py").read_text())
        parent = None
        for id_, operation in _operations(work):
            work.put(f"work/migrations/{id_}.py", _file(operation, parent))
            parent = id_
        where = {"HOST": work.host, "PORT": work.port, "USER": USER, "NAME": ONE_DATABASE}
        work.put("work.json", json.dumps({"database": where, "targets": work.targets, "parallel": work.parallel}))

    def command(self, work: Work) -> Command:
        """All tenants."""
        return Command([self._python, "manage.py", "migrate_schemas", "--tenant", "--executor=multiprocessing"])

    @property
    def _python(self) -> str:
        return str(self.tools / "django" / "bin" / "python")


def _operations(work: Work) -> list[tuple[str, str]]:
    history = work.history
    before, after = ([(r.id, _shared(r)) for r in part] for part in (history.shared, history.added))
    own = {name: history.numbered_own(name) for name in work.targets}
    ids = [id_ for id_, _ in history.numbered_own(work.targets[0])]
    between = [
        (id_, _OWN.format(by_target={t: o[n][1].statements for t, o in own.items()})) for n, id_ in enumerate(ids)
    ]
    return [*before, *between, *after]


def _shared(revision: Revision) -> str:
    return _SHARED.format(statements=list(revision.statements))


def _file(operation: str, parent: str | None) -> str:
    return f"""from django.db import migrations

from work.own import own


class Migration(migrations.Migration):
    dependencies = {[("work", parent)] if parent else []!r}
    operations = [{operation}]
"""
