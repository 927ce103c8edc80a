"""What the console writes: JSON that is JSON, without secrets, whatever stands in the texts."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate import redaction
from ehg_migrate.cli import console
from ehg_migrate.errors import Problem
from ehg_migrate.model import Result, Status
from ehg_migrate.report.text import problem_lines
from tests.support.programs import wait_until

SECRET = """p@ss:w/o%rd#?&'"\\ of it"""
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['password="', "password='", "postgresql://u:x@h/", '"', "\\", "\x1b[31m", "\u2028"]
)


@pytest.fixture(autouse=True)
def _known_secret() -> None:
    redaction.register(SECRET)


def printed(value: object) -> str:
    """What `--json` of this value prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        console.json("status", value)
    return out.getvalue()


@given(AROUND, AROUND)
def test_json_is_json_without_the_secret(before: str, after: str) -> None:
    """Redaction takes the secret out of each text, and nothing out of JSON's own quotes and braces."""
    text = printed([Problem("x", f"{before}{SECRET}{after}", SECRET), {"x": [SECRET, {"y": SECRET}]}])
    data = json.loads(text)["data"]
    assert list(data[0]) == ["code", "message", "hint", "where", "sqlstate"]
    assert SECRET not in json.dumps(data)
    assert json.dumps(SECRET)[1:-1] not in text
    assert "p@ss" not in text


@pytest.mark.parametrize("level", ["error", "warning"])
def test_a_problem_is_redacted_where_it_is_coloured(
    level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the level's own colour passes."""
    monkeypatch.setattr(console, "colours", lambda: True)
    console.problem(Problem("x", f"\x1b[2J{SECRET}", "mend it", "here", "42P07"), level)
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b[2J" not in err
    assert err.endswith(": *** (SQLSTATE 42P07)\n  at here\n  hint: mend it\n")


def test_a_line_that_begins_like_ours_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape at the beginning of a line opens no way for the rest of it."""
    console.note([f"\x1b[31m{SECRET}\x1b[2J"])
    console.data(f"\x1b[31m{SECRET}")
    assert capsys.readouterr() == ("***\n", "***\n")


WRITER = """
import resource, signal, sys
from ehg_migrate.cli import console
limit = int(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
console.json("status", ["x" * 1000] * 1000)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("limit", [0, 100_000])
def test_a_disk_that_fills_is_not_a_success(unbuffered: str, limit: int, tmp_path: Path) -> None:
    """JSON of a megabyte into a file that may have less: an error and exit code 1, also where Python has no buffer."""
    with (tmp_path / "out.json").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", WRITER, str(limit)],
            stdout=out,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: the output cannot be written: File too large\n")


def test_nothing_is_lost_without_a_buffer() -> None:
    """A pipe takes what it has room for; the rest follows."""
    done = subprocess.run(
        [sys.executable, "-uc", WRITER, str(1 << 30)], capture_output=True, env=os.environ, text=True, check=True
    )
    assert json.loads(done.stdout)["data"] == ["x" * 1000] * 1000


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_that_does_not_block_is_waited_for(stream: str, unbuffered: str) -> None:
    """As whoever starts us from Node.js hands it on: what has no room yet is written when there is some."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    write = "data" if stream == "stdout" else "note"
    program = f"from ehg_migrate.cli import console; console.{write}(['x' * 999] * 1000)"
    variables = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([sys.executable, "-c", program], env=variables, **{stream: writing}) as process:
        wait_until(lambda: not select.select([], [writing], [], 0)[1], "the pipe is full")
        os.close(writing)
        with os.fdopen(reading, "rb") as end:
            assert end.read() == b"".join([b"x" * 999 + b"\n"] * 1000)
    assert process.returncode == 0


@pytest.mark.parametrize("word", ["succeeded", "password", "acme", "statement_failed", "status"])
def test_a_password_that_equals_a_word_of_ours_breaks_no_program(word: str) -> None:
    """Fields, statuses, codes and names stay what they are; free text is masked."""
    redaction.register(word)
    problem = Problem("wrong_password", f"said {word}")
    data = json.loads(printed(Result("acme", Status.SUCCEEDED, problem=problem)))["data"]
    assert (data["target"], data["status"], data["problem"]["code"]) == ("acme", "succeeded", "wrong_password")
    assert data["problem"]["message"] == "said ***"


def test_a_message_of_many_lines_says_nothing_in_our_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Its further lines are indented."""
    console.problem(Problem("x", "one\nerror: two\r\n  hint: three\rfour"))
    assert capsys.readouterr().err == "error: one\n    error: two\n      hint: threefour\n"


@pytest.mark.parametrize(
    "said",
    ["::error::x", "  ::set-output name=a::b", "\u00a0\u3000::error::x", "x ##[error]y", "##vso[task.complete]"],
)
def test_no_word_of_a_server_is_a_command_to_a_pipeline(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub and Azure obey what stands in a log: the first at the beginning of a line, the last two anywhere in it.

    It is shown all the same, with a blank more.
    """
    console.note(problem_lines(Problem("statement_failed", said), "  "))
    console.data(problem_lines(Problem("statement_failed", f"failed\n{said}")))
    console.problem(Problem("statement_failed", f"failed\n{said}"))
    shown = "".join(capsys.readouterr())
    assert shown.replace(" ", "").count(said.replace(" ", "")) == 3
    for line in shown.splitlines():
        assert not line.lstrip().startswith("::")
        assert "##" not in line


def test_streams_that_were_closed_from_the_start() -> None:
    """They end nothing."""
    program = "from ehg_migrate.cli import console; console.data('a'); console.note('b')"
    command = 'exec "$0" -c "$1" >&- 2>&-'
    done = subprocess.run(["sh", "-c", command, sys.executable, program], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_encoding_without_the_letters_ends_nothing(unbuffered: str) -> None:
    """They are written as JSON writes them, so that JSON stays JSON."""
    program = "from ehg_migrate.cli import console; console.data('größe 漢😀'); console.json('k', ['größe 漢😀'])"
    variables = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=variables, check=True)
    line, _, document = done.stdout.decode("latin-1").partition("\n")
    assert line == "größe \\u6f22\\ud83d\\ude00"
    assert json.loads(document)["data"] == ["größe 漢😀"]


def test_an_answer_in_another_encoding_is_another_answer() -> None:
    """It confirms nothing, and ends nothing with a traceback."""
    program = "from ehg_migrate.cli import console; print([ascii(console.ask(q)) for q in ('really', 'all')])"
    variables = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=b"ye\xffs\nyes\n", capture_output=True, env=variables, check=True)
    assert ast.literal_eval(done.stdout.decode()) == [r"'ye\ufffds'", "'yes'"]


def test_thousands_of_warnings() -> None:
    """They come with every command: of each rule the first are shown, and where the others are."""
    found = [Problem(rule, f"{rule} {n}") for n in range(1000) for rule in ("no_label", "long_id")]
    found.append(Problem("loose_file", "loose"))
    with contextlib.redirect_stderr(io.StringIO()) as err:
        console.warnings(found)
    assert err.getvalue().splitlines() == [
        *(f"warning [{rule}]: {rule} {n}" for n in range(5) for rule in ("no_label", "long_id")),
        "warning [loose_file]: loose",
        "and 995 more [no_label]; `ehg-migrate lint` shows all",
        "and 995 more [long_id]; `ehg-migrate lint` shows all",
    ]
