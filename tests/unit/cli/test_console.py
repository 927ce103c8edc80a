"""What the console writes: JSON that is JSON, without secrets, whatever stands in the texts."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate import redaction
from ehg_migrate.cli import console
from ehg_migrate.errors import Problem

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
    text = printed([Problem("x", f"{before}{SECRET}{after}", SECRET), {SECRET: before}])
    data = json.loads(text)["data"]
    assert [list(data[0]), list(data[1])] == [["code", "message", "hint", "where", "sqlstate"], ["***"]]
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
