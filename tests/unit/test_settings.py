"""What alembic.ini says to us; what is wrong in it is in the table of bad input."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehg_migrate.errors import ConfigurationError
from ehg_migrate.settings import read_settings


def written(folder: Path, text: str) -> Path:
    """A folder with this alembic.ini."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alembic.ini").write_text(text, encoding="utf-8")
    return folder


def test_defaults(tmp_path: Path) -> None:
    """An empty file is enough; the ledger is a file of the project."""
    found = read_settings(written(tmp_path, ""))
    assert (found.root, found.parallel, found.recursive, found.metadata) == (tmp_path, 8, False, ())
    assert found.ledger_url == f"sqlite:///{tmp_path}/.ehg/ledger.sqlite"
    assert (found.ledger_secret, found.lint_ignore) == ("", frozenset())


def test_all_of_it(tmp_path: Path) -> None:
    """Every setting; a `%` in the folder's name, and what stands in [DEFAULT], disturb nobody."""
    found = read_settings(
        written(
            tmp_path / "50% of it",
            "[DEFAULT]\nmine = 1\n[alembic]\nrecursive_version_locations = True\n[ehg_migrate]\n"
            "ledger = sqlite:///%(here)s/l.sqlite\nledger_password = env:X\nparallel = 3\nlint_ignore = a, b c\n"
            "metadata =\n  shared = models.shared:Base\n  acme=models:acme.metadata\n",
        )
    )
    assert (found.recursive, found.parallel, found.lint_ignore) == (True, 3, frozenset("abc"))
    assert found.ledger_url == f"sqlite:///{tmp_path / '50% of it' / 'l.sqlite'}"
    assert found.ledger_secret == "env:X"
    assert found.metadata == (("shared", "models.shared:Base"), ("acme", "models:acme.metadata"))


def test_an_absolute_ledger_and_one_on_a_server(tmp_path: Path) -> None:
    """Both are taken as they stand."""
    for url in ("sqlite:////var/lib/ledger.sqlite", "postgresql://u@h:5432/ledger"):
        assert read_settings(written(tmp_path, f"[ehg_migrate]\nledger = {url}\n")).ledger_url == url


@pytest.mark.parametrize("content", [b"[alembic]\nname = M\xfcller\n", b"\x00"])
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    """It is refused with its name, and without a traceback."""
    (tmp_path / "alembic.ini").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(tmp_path)
    assert caught.value.problems[0].where == "alembic.ini"
