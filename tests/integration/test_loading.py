"""Which revision files a worker loads: those of its steps, and those that may do something when they are loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.model import Address, Status
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, revision
from tests.support.running import Fleet, make_fleet, result_of, step

_LOADED = """
import gc, json, pathlib, types
modules = [m for m in gc.get_objects() if isinstance(m, types.ModuleType)]
files = [m.__file__ for m in modules if isinstance(getattr(m, "revision", None), str)]
print(json.dumps(sorted(pathlib.Path(f).stem for f in files)))
"""
_OPERATION = """
from alembic.operations import MigrateOperation, Operations

@Operations.register_operation("make")
class Make(MigrateOperation):
    def __init__(self, name):
        self.name = name

    @classmethod
    def make(cls, operations, name):
        return operations.invoke(cls(name))

@Operations.implementation_for(Make)
def _make(operations, operation):
    operations.execute(f"CREATE TABLE {operation.name} (id int)")

"""
_ASKS = """
from alembic import context
assert [s.revision for s in context.script.walk_revisions()] == ["s4", "s3", "s2", "s1"]
"""


@pytest.fixture
def fleet(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    """At s3; of its files s2 is not silent."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    odd = step("s2", "s1").replace("\nrevision =", f"{_OPERATION}revision =")
    history = {"shared/s1": step("s1"), "shared/s2": odd, "shared/s3": step("s3", "s2")}
    fleet = make_fleet(pg, tmp_path, {"one": make_database("loading")}, history)
    fleet.upgrade()
    return fleet


def test_only_what_must_be(fleet: Fleet) -> None:
    """The pending file, and the one that registers an operation, which the pending one uses."""
    fleet.write("shared/s4", revision("s4", "s3", up_code=f"op.make('s4')\n{_LOADED}"))
    result = result_of(fleet.upgrade(), "one")
    assert result.status is Status.SUCCEEDED, result
    assert json.loads(result.output) == ["s2", "s4"]
    fleet.check("one", holds=["s1", "s2", "s3", "s4"])


def test_everything_for_whoever_asks(fleet: Fleet) -> None:
    """A revision that walks through the history finds all of it."""
    fleet.write("shared/s4", step("s4", "s3", _ASKS))
    result = result_of(fleet.upgrade(), "one")
    assert result.status is Status.SUCCEEDED, (result, result.output)


@pytest.mark.parametrize("name", ["feature%2Fx", "%(here)s", "100%"])
def test_a_folder_with_a_percent_sign(
    pg: Cluster,
    make_database: Callable[[str], Address],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """As Jenkins names them; to Alembic's reader of alembic.ini it is the beginning of a name."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    fleet = make_fleet(pg, tmp_path / name, {"one": make_database("percent")}, {"shared/s1": step("s1")})
    assert result_of(fleet.upgrade(), "one").status is Status.SUCCEEDED
    fleet.check("one", holds=["s1"])


@pytest.mark.parametrize("code", ["", "if True: pass\n"], ids=["plain", "other"])
def test_what_is_run_is_the_file_and_not_what_python_has_compiled_of_another(
    code: str, pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive gives each file the same time, and a correction may have the same size."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    fleet = make_fleet(pg, tmp_path, {n: make_database(n) for n in ("one", "two")}, {})
    for target, table in (("one", "wrong"), ("two", "sound")):
        fleet.write("shared/a", step("a", code=f'{code}op.execute("CREATE TABLE {table} (n int)")'))
        os.utime(tmp_path / "versions" / "shared" / "a.py", (1_700_000_000, 1_700_000_000))
        done = fleet.cli("upgrade", "-t", target, "--yes")
        assert done.returncode == 0, done.stderr
        # of a plain file nothing is compiled to be kept
        assert bool(list(tmp_path.glob("versions/shared/__pycache__/a.*.pyc"))) is bool(code)
    assert (fleet.tables("one"), fleet.tables("two")) == (["a", "wrong"], ["a", "sound"])
