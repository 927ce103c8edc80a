"""What is kept of revision files: whatever happens to the files or to it, the history is that of the files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ehg_migrate.revisions import history, kept
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.settings import Settings, read_settings
from tests.support.programs import wait_until
from tests.support.project import add_revision, revision, write_project

COMPUTED = "import kept_ids\nrevision = kept_ids.first\ndown_revision = None\ndef upgrade(): pass\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project with two branches, one of whose files computes its id; the clock of its files tells any two apart."""
    monkeypatch.setattr(kept, "_TICK", 0)
    (tmp_path / "kept_ids.py").write_text('first = "aa"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "shared/1": revision("s1", label="shared"),
        "shared/2": revision("s2", "s1"),
        "shared/3": revision("s3", "s2", doc="three"),
        "shared/deep/4": revision("s4", "s3") + 'lint_allow = {"effect:scan": "why", "effect:rewrite": "so"}\n',
        "acme/1": revision("a1", label="acme", depends=["s2"]),
        "other/1": COMPUTED,
    }
    return read_settings(write_project(tmp_path / "p", {}, files))


def shared(settings: Settings, name: str = "2") -> Path:
    """One file of the shared branch."""
    return settings.versions / "shared" / f"{name}.py"


def settle(settings: Settings) -> None:
    """Waits until the file system's clock has gone on since the last change."""
    newest = max(p.stat().st_ctime_ns for p in settings.versions.rglob("*"))
    mark = settings.root / "mark"

    def later() -> bool:
        mark.write_text("")
        return mark.stat().st_mtime_ns > newest

    wait_until(later, "the clock stands still", 10)


def warm(settings: Settings) -> History:
    """Read once, and kept."""
    settle(settings)
    found = read_history(settings, keep=True)
    assert settings.kept_revisions.exists()
    return found


def parsed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are parsed when the history is read once more, by path."""
    seen: list[str] = []
    read = history._read
    with monkeypatch.context() as patch:
        patch.setattr(
            history,
            "_read",
            lambda path, *rest: (seen.append(path.relative_to(settings.versions).as_posix()), read(path, *rest))[1],
        )
        read_history(settings, keep=True)
    return seen


def test_unchanged_files_are_not_read_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the file that computes its id is, for what it imports may have changed; the history is the same."""
    first = warm(settings)
    assert parsed(settings, monkeypatch) == ["other/1.py"]
    assert read_history(settings, keep=True) == first == read_history(settings)


@pytest.mark.parametrize("changed", ["history", "plain", "allowances"])
def test_nothing_is_kept_that_another_version_of_ours_has_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """What is plain is written down, too, so whoever says what that is counts as one of its readers."""
    ours = {reader.stem: tmp_path / reader.name for reader in history._READERS}
    for reader in history._READERS:
        shutil.copyfile(reader, ours[reader.stem])
    monkeypatch.setattr(history, "_READERS", tuple(ours.values()))
    warm(settings)
    assert parsed(settings, monkeypatch) == ["other/1.py"]
    ours[changed].write_text("")
    assert len(parsed(settings, monkeypatch)) == len(list(settings.versions.rglob("*.py")))


def test_only_the_changed_file_is_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And once it is kept too, none."""
    warm(settings)
    add_revision(settings.root, "shared/2", revision("s2", "s1", doc="edited"))
    settle(settings)
    assert parsed(settings, monkeypatch) == ["shared/2.py", "other/1.py"]
    assert parsed(settings, monkeypatch) == ["other/1.py"]


def same_size(settings: Settings) -> None:
    """Other words of the same length, written in place."""
    file = shared(settings)
    text = file.read_text()
    file.write_text(text.replace('"""s2"""', '"""S2"""'))
    assert file.stat().st_size == len(text)


def times_set_back(change: Callable[[Settings], None]) -> Callable[[Settings], None]:
    """The same change, after which the file says that it was last changed when it was before."""

    def changed(settings: Settings) -> None:
        before = shared(settings).stat()
        change(settings)
        os.utime(shared(settings), ns=(before.st_atime_ns, before.st_mtime_ns))
        assert shared(settings).stat().st_mtime_ns == before.st_mtime_ns

    changed.__name__ = f"{change.__name__}_and_times_set_back"
    return changed


def replaced(settings: Settings) -> None:
    """Another file of the same size takes its place, as editors do."""
    new = shared(settings, "new.tmp")
    new.write_text(shared(settings).read_text().replace('"""s2"""', '"""S2"""'))
    new.replace(shared(settings))


def swapped(settings: Settings) -> None:
    """Two files change their names; neither is written."""
    spare = settings.root / "spare"
    shared(settings, "1").rename(spare)
    shared(settings, "2").rename(shared(settings, "1"))
    spare.rename(shared(settings, "2"))


def renamed(settings: Settings) -> None:
    """The path is a part of what a revision is."""
    shared(settings).rename(shared(settings, "2b"))


def deleted(settings: Settings) -> None:
    """Its child then lacks a parent."""
    shared(settings).unlink()


def added(settings: Settings) -> None:
    """One more head."""
    add_revision(settings.root, "shared/5", revision("s5", "s4"))


def moved_deeper(settings: Settings) -> None:
    """Into a folder below its branch."""
    shared(settings).rename(settings.versions / "shared" / "deep" / "2.py")


def branch_added(settings: Settings) -> None:
    """A folder more."""
    add_revision(settings.root, "crm/1", revision("c1", label="crm"))


def branch_renamed(settings: Settings) -> None:
    """The same files belong to another branch."""
    (settings.versions / "acme").rename(settings.versions / "zeta")


def branch_deleted(settings: Settings) -> None:
    """A folder less."""
    shutil.rmtree(settings.versions / "acme")


def linked_elsewhere(settings: Settings) -> None:
    """The file becomes a link to another one of the same size."""
    target = settings.root / "elsewhere.py"
    target.write_text(shared(settings).read_text().replace('"""s2"""', '"""S2"""'))
    shared(settings).unlink()
    shared(settings).symlink_to(target)


def broken(settings: Settings) -> None:
    """No Python any more."""
    shared(settings).write_text("revision = = 1")


def unnamed(settings: Settings) -> None:
    """Python that is no revision."""
    shared(settings).write_text("x = 1")


def import_changed(settings: Settings) -> None:
    """The file that computes its id is as it was; what it computes is not."""
    (settings.root.parent / "kept_ids.py").write_text('first = "bbb"\n')
    os.utime(settings.root.parent / "kept_ids.py", (1, 1))


CHANGES = (
    same_size, times_set_back(same_size), replaced, times_set_back(replaced), swapped, renamed, deleted, added,
    moved_deeper, branch_added, branch_renamed, branch_deleted, linked_elsewhere, broken, unnamed, import_changed,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_any_change_the_history_is_that_of_the_files(
    settings: Settings, change: Callable[[Settings], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and again when the change itself has been kept; and it is another history than before."""
    before = warm(settings)
    change(settings)
    monkeypatch.delitem(__import__("sys").modules, "kept_ids")
    assert read_history(settings, keep=True) == read_history(settings) != before
    settle(settings)
    for _ in range(2):
        assert read_history(settings, keep=True) == read_history(settings)


def test_a_file_changed_within_one_tick_of_the_clock_is_read_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed just before it was read is not kept, for the next change might not show; no folder is made."""
    monkeypatch.setattr(kept, "_TICK", 60_000_000_000)
    read_history(settings, keep=True)
    assert not settings.kept_revisions.parent.exists()
    assert len(parsed(settings, monkeypatch)) == 6


def test_a_file_from_the_future_is_never_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times say nothing about the order of things."""
    os.utime(shared(settings), (2**33, 2**33))
    newest = shared(settings, "1").stat().st_ctime_ns
    wait_until(lambda: _touched(settings) > newest, "the clock stands still", 10)
    read_history(settings, keep=True)
    assert parsed(settings, monkeypatch) == ["shared/2.py", "other/1.py"]


def _touched(settings: Settings) -> int:
    mark = settings.root / "mark"
    mark.write_text("")
    return mark.stat().st_mtime_ns


# --- what can be wrong with what is kept


def _other_tool(file: Path) -> None:
    _, _, body = file.read_text().partition("\n")
    body = body.replace("history.py", "mystery.py")
    file.write_text(f"{kept._digest(body)}\n{body}")


SPOILT: tuple[Callable[[Path], object], ...] = (
    lambda file: file.write_bytes(b""),
    lambda file: file.write_bytes(b"\xff\xfe no text"),
    lambda file: file.write_text(file.read_text()[:-20]),
    lambda file: file.write_text(file.read_text().replace('"s2"', '"s9"')),
    lambda file: (file.unlink(), file.mkdir()),
    _other_tool,
)


@pytest.mark.parametrize("spoil", SPOILT, ids=["empty", "binary", "cut", "edited", "folder", "other tool"])
def test_what_is_spoilt_is_as_if_it_were_not_there(
    settings: Settings, spoil: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are read, the history is right, and where it can be written it is made anew."""
    warm(settings)
    spoil(settings.kept_revisions)
    assert len(parsed(settings, monkeypatch)) == 6
    assert read_history(settings, keep=True) == read_history(settings)
    if settings.kept_revisions.is_file():
        assert parsed(settings, monkeypatch) == ["other/1.py"]
    assert len(list(settings.kept_revisions.parent.iterdir())) == 1, "no temporary file stays"


def test_only_what_came_since_the_last_command_is_new(settings: Settings) -> None:
    """Not a first look at a checkout, and not a file that is read each time since it takes in another one."""
    settle(settings)
    assert not read_history(settings).novel
    assert not read_history(settings, keep=True).novel
    assert not read_history(settings, keep=True).novel
    add_revision(settings.root, "acme/2", revision("a2", "a1"))
    settle(settings)
    assert read_history(settings, keep=True).novel
    assert not read_history(settings, keep=True).novel
    shared(settings).write_text(shared(settings).read_text() + "# more\n")
    settle(settings)
    assert read_history(settings, keep=True).novel


def test_where_nothing_can_be_written_all_files_are_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the folder should be: no error, no trace, the same history."""
    settings.kept_revisions.parent.write_text("in the way")
    settle(settings)
    assert read_history(settings, keep=True) == read_history(settings)
    assert len(parsed(settings, monkeypatch)) == 6
    assert settings.kept_revisions.parent.read_text() == "in the way"


def test_it_is_closed_to_others(settings: Settings) -> None:
    """The file and its folder are for their owner alone, whatever the umask."""
    former = os.umask(0)
    try:
        warm(settings)
    finally:
        os.umask(former)
    assert stat.S_IMODE(settings.kept_revisions.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.kept_revisions.parent.stat().st_mode) == 0o700
