"""The strict subset of .env files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ehg_migrate.errors import ConfigurationError
from ehg_migrate.fleet import load_env_file


@pytest.fixture
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def _env_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("EHG_T=plain", "plain"),
        ("EHG_T=", ""),
        ("EHG_T=  # nothing", ""),
        ("  export EHG_T=a=b#c  # comment", "a=b#c"),
        ("export\tEHG_T=x\r", "x"),
        ("EHG_T='a $b \\n \"c\" # d'", 'a $b \\n "c" # d'),
        ("EHG_T=''", ""),
        ('EHG_T="a b # c"  # d', "a b # c"),
        ('EHG_T="q\\" s\\\\ d\\$ n\\n t\\t b\\`"', 'q" s\\ d$ n\n t\t b`'),
        ("EHG_T=p@ss:w/rd%41!", "p@ss:w/rd%41!"),
        ("EHG_T=Müller", "Müller"),
    ],
)
def test_values(line: str, value: str, tmp_path: Path) -> None:
    """A line sets exactly this value."""
    load_env_file(_env_file(tmp_path, f"# head\n\n{line}\n"))
    assert os.environ["EHG_T"] == value


@pytest.mark.usefixtures("_environment")
def test_the_shell_wins(tmp_path: Path) -> None:
    """A variable that is set already keeps its value, even an empty one."""
    os.environ["EHG_T"] = ""
    load_env_file(_env_file(tmp_path, "EHG_T=file\nEHG_U=file\n"))
    assert (os.environ["EHG_T"], os.environ["EHG_U"]) == ("", "file")


_GUESS = "the value of `A` cannot be read without guessing; it is not shown"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("S3cretCanary", "expected `NAME=value`; the line is not shown"),
        ("A = S3cretCanary", "expected `NAME=value`; the line is not shown"),
        ("1A=x", "expected `NAME=value`; the line is not shown"),
        ("A= S3cretCanary", _GUESS),
        ("A=S3cret Canary", _GUESS),
        ("A=S3cretCanary$HOME", _GUESS),
        ("A=S3cretCanary\\n", _GUESS),
        ("A=S3cretCanary`id`", _GUESS),
        ("A=it's", _GUESS),
        ("A=#S3cretCanary", _GUESS),
        ("A='S3cretCanary", _GUESS),
        ('A="S3cretCanary', _GUESS),
        ('A="${S3cretCanary}"', _GUESS),
        ('A="\\x"', _GUESS),
        ("A='a'b", _GUESS),
        ("A='a\0'", "the value of `A` holds a NUL"),
        ("A=1\nA=2", "`A` stands twice"),
    ],
)
def test_wrong_lines(line: str, message: str, tmp_path: Path) -> None:
    """What other readers would take differently is refused with its line number, unseen, and nothing is set."""
    path = _env_file(tmp_path, f"EHG_NEVER=1\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_env_file(path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == (f"{path}: line {2 + line.count(chr(10))}", message)
    assert problem.hint
    assert "S3cret" not in problem.message + problem.hint
    assert "EHG_NEVER" not in os.environ


def test_wrong_files(tmp_path: Path) -> None:
    """A file that is missing, or that others may read, is refused; every wrong line is reported at once."""
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        load_env_file(tmp_path / "none")
    with pytest.raises(ConfigurationError, match="its mode is 0644") as caught:
        load_env_file(_env_file(tmp_path, "A=1\n", 0o644))
    assert caught.value.problems[0].hint == f"run `chmod 600 {tmp_path / '.env'}`"
    with pytest.raises(ConfigurationError) as caught:
        load_env_file(_env_file(tmp_path, "x\ny\n"))
    assert len(caught.value.problems) == 2


@pytest.mark.usefixtures("_environment")
def test_a_line_for_each_of_thousands_of_targets(tmp_path: Path) -> None:
    """64 KiB, which a secret may have, are not a thousand passwords with names that say whose they are."""
    lines = (f"EHG_CUSTOMER_{number}_DB_PASSWORD={number:024}\n" for number in range(3000))
    load_env_file(_env_file(tmp_path, "".join(lines)))
    assert os.environ["EHG_CUSTOMER_2999_DB_PASSWORD"] == f"{2999:024}"
