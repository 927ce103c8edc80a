"""A program that is forked from one that has imported everything is what it is when a shell begins it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.programs import wait_until
from tests.support.warm import Kind, WarmProgram

LONGEST = 90  # seconds of anything here; what all are forked from imports first, which a loaded machine takes long for
PROGRAM = """
import atexit, json, os, signal, sys
found = [__name__, sys.argv, sys.path, os.getcwd(), dict(os.environ)]
print(json.dumps([*found, sorted({name.partition(".")[0] for name in sys.modules})]))
sys.stdout.write("no end of line")
print("beside", file=sys.stderr)
atexit.register(print, "at the end")
sys.stdout.flush()
exec(sys.argv[1])
"""
ENDS = {
    "by itself": "pass",
    "an exit code": "sys.exit(3)",
    "Alembic's": "sys.exit(-1)",
    "nothing": "sys.exit()",
    "a text": "sys.exit('a reason')",
    "an exception": "raise ValueError('no')",
    "an interrupt": "raise KeyboardInterrupt",
    "a signal": "os.kill(os.getpid(), signal.SIGTERM)",
}


@pytest.fixture(scope="module", params=["ours", "stock", "dask"])
def warm(request: pytest.FixtureRequest) -> Iterator[WarmProgram]:
    """One of each kind."""
    kind: Kind = request.param
    with WarmProgram(kind) as program:
        yield program


@pytest.mark.parametrize("how", ["module", "file"])
@pytest.mark.parametrize("end", ENDS)
def test_it_begins_and_ends_as_any(warm: WarmProgram, how: str, end: str, tmp_path: Path) -> None:
    """Arguments, search path, folder, variables, both streams and the exit code."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [*(["-m", "program"] if how == "module" else [str(tmp_path / "program.py")]), ENDS[end], "two words"]
    variables = {**os.environ, "EHG_TEST_MORE": "x"}
    cold = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    code = warm.python(tmp_path, command, variables, tmp_path / "out", tmp_path / "err").wait(LONGEST)
    out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert code % 256 == cold.returncode % 256
    assert json.loads(out.splitlines()[0])[:-1] == json.loads(cold.stdout.splitlines()[0])[:-1]
    assert out.splitlines()[1:] == cold.stdout.splitlines()[1:]
    assert _without_places(err) == _without_places(cold.stderr)


def _without_places(text: str) -> list[str]:
    """Without the frames by which Python comes to a module."""
    return [line for line in text.splitlines() if "<frozen runpy>" not in line]


def test_what_stock_programs_do_not_have(tmp_path: Path) -> None:
    """Nothing of ours, nor what it needs: stock Alembic does without."""
    (tmp_path / "program.py").write_text(PROGRAM)
    with WarmProgram("stock") as program:
        words, variables = [str(tmp_path / "program.py"), "pass"], dict(os.environ)
        assert program.python(tmp_path, words, variables, tmp_path / "out", tmp_path / "err").wait(LONGEST) == 0
    found = set(json.loads((tmp_path / "out").read_text().splitlines()[0])[-1])
    assert {"alembic", "sqlalchemy", "psycopg"} <= found
    assert found.isdisjoint({"ehg_migrate", "tests", "pytest", "click", "yaml", "pydantic", "rich", "distributed"})


def test_it_can_be_killed(tmp_path: Path) -> None:
    """And says by which signal it ended; a second time nothing happens."""
    (tmp_path / "program.py").write_text("import signal; signal.pause()")
    with WarmProgram("stock") as program:
        command = program.python(tmp_path, [str(tmp_path / "program.py")], dict(os.environ), tmp_path / "out")
        assert os.getpgid(command.pid) == command.pid
        assert command.poll() is None
        command.kill()
        assert command.wait(LONGEST) == -signal.SIGKILL
        command.kill()


def test_one_that_hangs_tells_where(tmp_path: Path) -> None:
    """It and the programs that it has started: they end, and each has written the line where it stood."""
    (tmp_path / "child.py").write_text("import faulthandler, signal\nfaulthandler.enable()\nprint(1)\nsignal.pause()")
    (tmp_path / "program.py").write_text("import subprocess, sys\n\nsubprocess.run([sys.executable, '-u', 'child.py'])")
    out, err = tmp_path / "out", tmp_path / "err"
    with WarmProgram("stock") as program:
        command = program.python(tmp_path, [str(tmp_path / "program.py")], dict(os.environ), out, err)
        wait_until(lambda: out.exists() and out.read_text() == "1\n", "its child does not run")
        command.abort()
        assert command.wait(LONGEST) == -signal.SIGABRT
    assert 'program.py", line 3 in <module>' in err.read_text()
    assert 'child.py", line 4 in <module>' in err.read_text()


def test_one_for_which_nobody_waits_any_more(tmp_path: Path) -> None:
    """Its end is written nowhere, once the folder for that is gone; others begin as before."""
    gone, go = tmp_path / "gone", tmp_path / "go"
    gone.mkdir()
    (tmp_path / "program.py").write_text("import os, sys\nwhile not os.path.exists(sys.argv[1]): pass")
    words, variables = [str(tmp_path / "program.py"), str(go)], dict(os.environ)
    with WarmProgram("stock") as program:
        lost = program.python(tmp_path, words, variables, gone / "out").pid
        shutil.rmtree(gone)
        go.touch()
        wait_until(lambda: not psutil.pid_exists(lost), "it does not end")
        assert program.python(tmp_path, words, variables, tmp_path / "out").wait(LONGEST) == 0
