"""Release points are written, read again, and never overwritten."""

from __future__ import annotations

import resource
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate.errors import ConfigurationError
from ehg_migrate.project.releases import read_releases, write_release
from ehg_migrate.settings import Settings, read_settings
from tests.support.project import write_project


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project without release points."""
    return read_settings(write_project(tmp_path, {}, {}))


def test_what_is_written_is_read(settings: Settings) -> None:
    """In the order in which it was written; nothing before."""
    assert read_releases(settings) == {}
    write_release(settings, "v2", {"shared": ("s2",), "app": ("a1", "a2")})
    write_release(settings, "v10", {"shared": ("s3",)})
    assert list(read_releases(settings).items()) == [
        ("v2", {"shared": ("s2",), "app": ("a1", "a2")}),
        ("v10", {"shared": ("s3",)}),
    ]


def test_a_name_is_given_once(settings: Settings) -> None:
    """A release point that changed its meaning would be none."""
    write_release(settings, "v1", {"shared": ("s1",)})
    with pytest.raises(ConfigurationError) as caught:
        write_release(settings, "v1", {"shared": ("s2",)})
    assert str(caught.value) == "release point `v1` exists already\n  hint: choose another name"
    assert read_releases(settings)["v1"] == {"shared": ("s1",)}


def test_one_revision_may_stand_without_a_list(settings: Settings) -> None:
    """As people write it by hand; and a file of comments holds none yet."""
    file = settings.versions / "releases.yaml"
    file.write_text("v1: {shared: s1}\n'2026.10': {shared: [s1]}\n")
    assert read_releases(settings) == {"v1": {"shared": ("s1",)}, "2026.10": {"shared": ("s1",)}}
    file.write_text("# none yet\n")
    assert read_releases(settings) == {}


FORM = "expected `name: {branch: [revision, ...]}`, found "
WRITES_IT = "correct it; `ehg-migrate release NAME` writes it"
BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghij"))


@pytest.mark.parametrize(
    ("text", "place", "code", "message", "hint"),
    [
        ("- v1\n", "", "releases", FORM + "a list", WRITES_IT),
        ("7\n", "", "releases", FORM + "the number `7`", WRITES_IT),
        ("v1: s1\n", ": v1", "releases", FORM + "the text `s1`", WRITES_IT),
        ("v1: {shared: 7}\n", ": v1.shared", "releases", "expected a list of revisions, found the number `7`", None),
        ("v1: {shared: [1]}\n", ": v1.shared", "releases", "expected a list of revisions, found a list", WRITES_IT),
        ("v1:\n", ": v1", "releases", FORM + "nothing", WRITES_IT),
        ("v1: [\n", "", "yaml_syntax", "this is not YAML: ", WRITES_IT),
        ("a: &a {s: [*a]}\n", "", "alias_loop", "the alias on line 1 contains itself", WRITES_IT),
        ("v1: {}\nv1: {}\n", ": v1", "duplicate_key", "`v1` stands more than once, on lines 1 and 2", None),
        ("2026.10: {}\n", ": 2026.10", "bad_key", "the key `2026.10` on line 1 is not a text", None),
        (BOMB, "", "aliases_explode", "with its aliases followed the file has more than", WRITES_IT),
        ("[" * 100_000, "", "too_deep", "more than 32 levels are nested on line 1", WRITES_IT),
        ("#" * 10_000_000, "", "file_too_large", "the file is larger than 1 MiB", WRITES_IT),
        ("v1: {s: " + "9" * 10_000 + "}", "", "bad_scalar", "the value on line 1 cannot be read", WRITES_IT),
        ("v1: {s: ['\x1b[2J']}", "", "control_character", "a control character stands on line 1", WRITES_IT),
        ("v1: !!python/name:os.system x", "", "yaml_tag", "a tag (`!...`) stands on line 1", WRITES_IT),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_refused(
    settings: Settings, text: str, place: str, code: str, message: str, hint: str | None
) -> None:
    """With its place and its form, on one line; what would grow or read as something else, too."""
    (settings.versions / "releases.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_releases(settings)
    (problem,) = caught.value.problems
    assert (problem.where, problem.code) == (f"versions/releases.yaml{place}", code)
    assert problem.message.startswith(message)
    assert "\n" not in problem.message
    assert hint in (None, problem.hint)


def test_what_is_no_file_is_refused(settings: Settings) -> None:
    """A link to nowhere, a folder and bytes that are no text are not taken for a file that is missing."""
    file = settings.versions / "releases.yaml"
    for make, code in (
        (lambda: file.symlink_to("nowhere"), "file_unreadable"),
        (lambda: file.write_bytes(b"v\xff: {}\n"), "not_utf8"),
        (file.mkdir, "not_a_file"),
    ):
        file.unlink(missing_ok=True)
        make()
        with pytest.raises(ConfigurationError) as caught:
            read_releases(settings)
        assert [p.code for p in caught.value.problems] == [code]


@pytest.mark.parametrize("name", ["", " v1", "v1\n", "v\x001", "v\x1b[31m", "\u202ev1"])
def test_what_cannot_be_a_name_is_refused(settings: Settings, name: str) -> None:
    """It could not be written behind `--to release:` again."""
    with pytest.raises(ConfigurationError) as caught:
        write_release(settings, name, {"shared": ("s1",)})
    assert [p.code for p in caught.value.problems] == ["bad_text"]
    assert read_releases(settings) == {}


@given(name=st.text(min_size=1, max_size=80))
def test_a_name_that_is_written_is_read_again(name: str) -> None:
    """Whatever characters it has that can be printed: quotes, dots, slashes, `{}`, `%`, numbers, words of YAML."""
    with TemporaryDirectory() as folder:
        settings = read_settings(write_project(Path(folder), {}, {}))
        with suppress(ConfigurationError):
            write_release(settings, name, {"shared": ("s1",)})
            assert read_releases(settings) == {name: {"shared": ("s1",)}}


def test_a_disk_that_is_full(settings: Settings) -> None:
    """It is said so, in place of a traceback, and no release point is lost."""
    write_release(settings, "v1", {"shared": ("s1",)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match="cannot be written: File too large"):
            write_release(settings, "v2", {"shared": ("s1",)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_releases(settings) == {"v1": {"shared": ("s1",)}}
    assert [p.name for p in settings.versions.iterdir() if p.is_file()] == ["releases.yaml"]
