"""Files that are made to eat time or memory end a command with a clear error, in a process that may not have much."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import PROGRAM, environment
from tests.support.project import PASSWORD_VARIABLE, revision, write_project

MEMORY = 400 << 20  # bytes of address space; a command that finds nothing wrong has 350 MB, most of them never used
SECONDS = 20  # of CPU, after which the system kills the process; the worst of these takes about two
TEN_MEGABYTES = 10_000_000


def _grown(first: str, line: Callable[[str, str], str]) -> str:
    """Nine lines that stand for a billion values: each names the one before ten times."""
    return first + "".join(line(a, b) for a, b in zip("abcdefghi", "bcdefghij", strict=True))


BOMB = _grown("a: &a [x]\n", lambda a, b: f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n")

# what stands in which file -> words of the error
BOMBS = {
    "ten to the ninth": ("targets/x.yaml", BOMB, "the file has more than 200000 values"),
    "a bomb of releases": ("versions/releases.yaml", BOMB, "the file has more than 200000 values"),
    "deep brackets": ("targets/x.yaml", "a: " + "[" * 1_000_000, "more than 32 levels"),
    "as many values as fit": ("targets/x.yaml", "- []\n" * 209_000, "more than 200000 values"),
    "as many mistakes as fit": (
        "targets/x.yaml",
        "targets:\n" + "".join(f" t{i}: x\n" for i in range(85_000)),
        "and 84900 more",
    ),
    "a long number": ("targets/x.yaml", "a: 1" + ":59" * 340_000, "cannot be read as what it looks like"),
    "10 MB of targets": ("targets/x.yaml", "#" * TEN_MEGABYTES, "larger than 1 MiB"),
    "10 MB of alembic.ini": ("alembic.ini", "#" * TEN_MEGABYTES, "larger than 1 MiB"),
    "10 MB of secret": ("secret", "x" * TEN_MEGABYTES, "larger than 64 KiB"),
    "10 MB of .env": (".env", f"{PASSWORD_VARIABLE}={'x' * TEN_MEGABYTES}", "larger than 4096 KiB"),
    "10 MB of revision": ("versions/shared/s1.py", "x = (" + "[" * TEN_MEGABYTES, "too many nested parentheses"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only target has its password in a file; nothing listens there."""
    folder = tmp_path_factory.mktemp("bombs")
    entry = {"url": "postgresql://u@127.0.0.1:1/d", "password": "file:secret", "sslmode": "disable"}
    write_project(folder, {"acme": entry}, {"shared/s1": revision("s1", label="shared")})
    (folder / "secret").touch(0o600)
    return folder


@pytest.fixture
def placed(project: Path) -> Iterator[Callable[[str, str], None]]:
    """Puts a text into a file of the project, for this test."""
    former: dict[Path, bytes | None] = {}

    def place(name: str, text: str) -> None:
        file = project / name
        former[file] = file.read_bytes() if file.exists() else None
        file.write_text(text)
        file.chmod(0o600)

    yield place
    for file, content in former.items():
        file.unlink() if content is None else file.write_bytes(content)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused(what: str, project: Path, placed: Callable[[str, str], None]) -> None:
    """One short text about the file, and no traceback, no end of memory, no killed process."""
    name, text, words = BOMBS[what]
    placed(name, text)
    done = subprocess.run(
        [PROGRAM, "plan", "--env-file", ".env"] if name == ".env" else [PROGRAM, "plan"],
        cwd=project, env=environment(), capture_output=True, text=True, timeout=120, check=False, preexec_fn=_limit,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, ""), done.stderr[:1000]
    for expected in (words, name, "hint:"):
        assert expected in done.stderr
    assert not [word for word in ("Traceback", "MemoryError", "RecursionError") if word in done.stderr]
    assert len(done.stderr) < 50_000
