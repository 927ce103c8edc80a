"""What is kept of target files: whatever happens to the files or to it, the fleet is that of the files."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.errors import ConfigurationError
from ehg_migrate.fleet import kept, load, load_fleet
from ehg_migrate.fleet.kept import read_fleet
from ehg_migrate.settings import Settings, read_settings
from tests.unit.fleet.conftest import CANARY, MakeProject

FILE = """
defaults: {env: production, lock_timeout: 7s, x: {tenant: all}}
targets:
  acme:
    url: postgresql://migrator@db.example.com:5433/acme
    password: {cmd: [pass, show, acme]}
    branches: [crm]
    tags: [canary, eu]
    purpose: ERP of Acme
    sslrootcert: root.crt
    upgrade_to: [shared@head, acme@head]
    alembic: {version_table: words, compare_type: true}
  other: {url: postgresql://u@127.0.0.1/other, passfile: pgpass}
waves: [{name: first, targets: [other], soak: 1min}]
"""


@pytest.fixture
def settings(project: MakeProject) -> Settings:
    """A project whose fleet has something in every field."""
    root = project(FILE)
    (root / "root.crt").write_text("certificate")
    (root / "alembic.ini").write_text("[alembic]\n")
    return read_settings(root)


def target_file(settings: Settings) -> Path:
    """Its only one."""
    return settings.root / "targets" / "x.yaml"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], int]:
    """Reads the fleet, which must be that of the files; says how many of them were parsed for it."""

    def count(settings: Settings) -> int:
        seen: list[Path] = []
        read = load.read_yaml
        with monkeypatch.context() as patch:
            patch.setattr(load, "read_yaml", lambda path, *rest: (seen.append(path), read(path, *rest))[1])
            found = read_fleet(settings)
        assert found == load_fleet(settings.root)
        return len(seen)

    return count


def test_unchanged_files_are_not_parsed_again(settings: Settings, reads: Callable[[Settings], int]) -> None:
    """And the fleet is equal in every field and type."""
    assert [reads(settings) for _ in range(3)] == [1, 0, 0]
    assert repr(read_fleet(settings)) == repr(load_fleet(settings.root))


CHANGES: tuple[Callable[[Settings], object], ...] = (
    lambda s: target_file(s).write_text(FILE.replace("7s", "8s")),
    lambda s: target_file(s).rename(s.root / "targets" / "y.yaml"),
    lambda s: (s.root / "targets" / "z.yaml").write_text("targets: {erp: {url: 'postgresql://u@h/erp'}}"),
    lambda s: (s.root / "versions" / "acme").rmdir(),
    lambda s: s.root.joinpath("versions", "other").rename(s.root / "versions" / "others"),
)


@pytest.mark.parametrize(
    "change", CHANGES, ids=["content", "name", "another file", "a branch gone", "a branch renamed"]
)
def test_what_has_changed_is_read(
    settings: Settings, reads: Callable[[Settings], int], change: Callable[[Settings], object]
) -> None:
    """Also where the new text has the size and the times of the old one."""
    before, times = read_fleet(settings), target_file(settings).stat()
    change(settings)
    if target_file(settings).exists():
        os.utime(target_file(settings), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert reads(settings) > 0
    assert reads(settings) == 0
    assert read_fleet(settings) != before


def test_the_home_folder_counts(
    settings: Settings, reads: Callable[[Settings], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A `~` in a file stands for another folder under another HOME."""
    target_file(settings).write_text(FILE.replace("pgpass", "~/pgpass"))
    read_fleet(settings)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reads(settings) == 1
    assert read_fleet(settings).targets[1].address.passfile == str(tmp_path / "pgpass")


@pytest.mark.parametrize("file", ["fleet/build.py", "model/target.py", "json_form.py"])
def test_our_own_code_counts(
    settings: Settings, reads: Callable[[Settings], int], file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another version of this package may read the same files otherwise, or have other limits by default."""
    package = shutil.copytree(kept._PACKAGE.parent, tmp_path / "code", ignore=shutil.ignore_patterns("docs"))
    monkeypatch.setattr(kept, "_PACKAGE", package / "fleet")
    assert [reads(settings) for _ in range(2)] == [1, 0]
    with (package / file).open("a") as code:
        code.write("# changed\n")
    assert reads(settings) == 1


MISTAKES: tuple[Callable[[Settings], object], ...] = (
    lambda s: (s.root / "root.crt").unlink(),
    lambda s: (s.root / "versions" / "crm").rmdir(),
    lambda s: target_file(s).write_text(f"targets: {{acme: {{url: 'postgresql://u:{CANARY}@h/d'}}}}"),
)


@pytest.mark.parametrize("make", MISTAKES, ids=["a certificate gone", "a group gone", "a password in a URL"])
def test_every_mistake_is_shown_every_time(settings: Settings, make: Callable[[Settings], object]) -> None:
    """A fleet that was right before, or another time, hides none; nothing of a wrong file is written down."""
    read_fleet(settings)
    make(settings)
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            read_fleet(settings)
    assert CANARY not in settings.kept_targets.read_text()


def test_what_json_cannot_say_is_not_kept(settings: Settings, reads: Callable[[Settings], int]) -> None:
    """A date among Alembic's options would come back as a text."""
    target_file(settings).write_text(FILE.replace("version_table: words", "since: 2026-01-31"))
    assert [reads(settings) for _ in range(2)] == [1, 1]
    assert not settings.kept_targets.exists()


SPOILT: tuple[Callable[[Path], object], ...] = (
    lambda file: file.write_bytes(b""),
    lambda file: file.write_bytes(b"\xff\xfe no text"),
    lambda file: file.write_text(file.read_text()[:-20]),
    lambda file: file.write_text(file.read_text().replace("db.example.com", "xy.example.com")),
    lambda file: file.write_text(f"{'0' * 64}\n{json.dumps([{'name': 'acme'}])}"),
    lambda file: (file.unlink(), file.mkdir()),
)


@pytest.mark.parametrize("spoil", SPOILT, ids=["empty", "binary", "cut", "edited", "other", "folder"])
def test_what_is_spoilt_is_as_if_it_were_not_there(
    settings: Settings, reads: Callable[[Settings], int], spoil: Callable[[Path], object]
) -> None:
    """The files are read, and where it can be written it is made anew."""
    read_fleet(settings)
    spoil(settings.kept_targets)
    assert reads(settings) == 1
    assert reads(settings) == (0 if settings.kept_targets.is_file() else 1)
    assert len(list(settings.kept_targets.parent.iterdir())) == 1, "no temporary file stays"


def test_where_nothing_can_be_written_the_files_are_read(settings: Settings, reads: Callable[[Settings], int]) -> None:
    """A file stands where the folder should be: no error, no trace."""
    settings.kept_targets.parent.write_text("in the way")
    assert [reads(settings) for _ in range(2)] == [1, 1]
    assert settings.kept_targets.parent.read_text() == "in the way"


def test_it_is_closed_to_others(settings: Settings) -> None:
    """The file and its folder are for their owner alone, whatever the umask."""
    former = os.umask(0)
    try:
        read_fleet(settings)
    finally:
        os.umask(former)
    assert stat.S_IMODE(settings.kept_targets.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.kept_targets.parent.stat().st_mode) == 0o700
