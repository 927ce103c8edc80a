"""Release points are written, read again, and never overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehg_migrate.errors import ConfigurationError
from ehg_migrate.revisions.releases import read_releases, write_release
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
    """As people write it by hand."""
    (settings.versions / "releases.yaml").write_text("v1: {shared: s1}\n2026.1: {shared: [s1]}\n")
    assert read_releases(settings) == {"v1": {"shared": ("s1",)}, "2026.1": {"shared": ("s1",)}}


@pytest.mark.parametrize(
    "text", ["- v1\n", "v1: s1\n", "v1: {shared: 7}\n", "v1: {shared: [1]}\n", "v1: [\n", "a: &a {s: [*a]}\n", "7\n"]
)
def test_a_file_that_is_something_else_is_refused(settings: Settings, text: str) -> None:
    """With its place and its form, on one line."""
    (settings.versions / "releases.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_releases(settings)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("releases", "versions/releases.yaml")
    assert problem.message.startswith("the file does not say `name: {branch: [revision, ...]}`: ")
    assert "\n" not in problem.message
    assert problem.hint == "correct it; `ehg-migrate release NAME` writes it"
