"""What is said about wrong target files: the two tables, what needs a file system, and what would blow up a reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.fleet import load_fleet, yamlfile
from ehg_migrate.fleet.kept import read_fleet
from ehg_migrate.settings import read_settings

HERE = Path(__file__).parent
REF = "abcdefghijklmnopqrst"
HOST = "aws-1-us-east-1.pooler.supabase.com"
URL = "url: postgresql://migrator@127.0.0.1:5432/acme"
_PLACEHOLDERS = {
    "<project>": "project_ref: <ref>, host: <host>",
    "<url>": URL,
    "<ref>": REF,
    "<host>": HOST,
    "<canary>": "S3cretCanary",
}
OTHER = "  other: {url: postgresql://u@127.0.0.1/other}\n"

Find = Callable[[Path], tuple[Problem, ...]]


def _filled(text: str) -> str:
    for mark, value in _PLACEHOLDERS.items():
        text = text.replace(mark, value)
    return text


def _table(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    return rows


def _expected(row: dict[str, Any]) -> list[Problem]:
    return [Problem(**{key: _filled(text) for key, text in problem.items()}) for problem in row["problems"]]


def _leading_outside(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root / "versions" / "link").symlink_to(root.parent / "elsewhere")


@pytest.mark.parametrize("row", _table("bad_entries.yaml"), ids=lambda row: row["entry"][:60])
def test_wrong_entry(row: dict[str, Any], project: Callable[..., Path], mistakes: Find) -> None:
    """A wrong entry has exactly these problems: place, code, message and hint; the right one beside it none."""
    root = project(f"targets:\n  acme: {_filled(row['entry'])}\n{OTHER}")
    _leading_outside(root)
    assert list(mistakes(root)) == _expected(row)


@pytest.mark.parametrize("row", _table("bad_files.yaml"), ids=lambda row: row["file"][:60])
def test_wrong_file(row: dict[str, Any], project: Callable[..., Path], mistakes: Find) -> None:
    """A wrong file is refused with exactly these problems."""
    assert list(mistakes(project(_filled(row["file"])))) == _expected(row)


@pytest.mark.parametrize("row", _table("bad_files.yaml"), ids=lambda row: row["file"][:60])
def test_wrong_file_without_libyaml(
    row: dict[str, Any], project: Callable[..., Path], mistakes: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyYAML without libyaml finds the same problems at the same places, in its own words for syntax."""
    monkeypatch.setattr(yamlfile, "_Loader", yaml.SafeLoader)
    found = mistakes(project(_filled(row["file"])))
    assert [(p.code, p.where) for p in found] == [(p.code, p.where) for p in _expected(row)]


def test_all_mistakes_of_all_files_at_once(project: Callable[..., Path], mistakes: Find) -> None:
    """Files, defaults, entries and syntax are all reported in one go, in the order of the files."""
    root = project(
        a="defaults: {lock_timeout: soon}\ntargets: {t1: {url: 'postgresql://u:S3cretCanary@h/a'}}\n",
        b="targets: [",
        c=f"targets: {{t2: {{project_ref: {REF}, port: 6543}}, t3: {{url: 'postgresql://u@h/c', branches: [nope]}}}}\n",
    )
    assert [(p.where, p.code) for p in mistakes(root)] == [
        ("targets/b.yaml", "yaml_syntax"),
        ("targets/a.yaml: defaults.lock_timeout", "bad_duration"),
        ("targets/a.yaml: targets.t1.url", "password_in_url"),
        ("targets/c.yaml: targets.t2.host", "missing_host"),
        ("targets/c.yaml: targets.t3.branches", "missing_branch"),
    ]


def test_same_name_in_two_files(project: Callable[..., Path], mistakes: Find) -> None:
    """A target's name may stand once in all files; the message says where it stands already."""
    entry = "targets: {acme: {url: 'postgresql://u@127.0.0.1/a'}}\n"
    (problem,) = mistakes(project(a=entry, b=entry))
    assert (problem.where, problem.code) == ("targets/b.yaml: targets.acme", "duplicate_target")
    assert problem.message == "`acme` is a target already, at `targets/a.yaml: targets.acme`"


def test_same_default_in_two_files(project: Callable[..., Path], mistakes: Find) -> None:
    """A default may stand in one file only, so that the order of the files decides nothing."""
    entry = "targets: {acme: {url: 'postgresql://u@127.0.0.1/a'}}\n"
    (problem,) = mistakes(project(a="defaults: {env: a, tags: [x]}\n" + entry, b="defaults: {env: b}\n"))
    assert (problem.where, problem.code) == ("targets/b.yaml: defaults.env", "duplicate_default")
    assert problem.message == "`env` stands in the defaults of two files, also at `targets/a.yaml: defaults.env`"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("ten to the ninth", "a: &a [x]\n" + "".join(
            f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
        ), "aliases_explode"),
        ("merge keys", "a: &a {k: 1}\n" + "".join(
            f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 10)}]}}\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
        ), "aliases_explode"),
        ("deep brackets", "a: " + "[" * 500_000, "too_deep"),
        ("deep blocks", "".join(" " * i + "a:\n" for i in range(200)), "too_deep"),
        ("deep aliases", "a0: &a0 []\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000)), "too_deep"),
        ("sexagesimal", "a: 1" + ":59" * 300_000, "bad_scalar"),
        ("huge number", "a: " + "9" * 10_000, "bad_scalar"),
        ("too large", "#" * (1024 * 1024 + 1), "file_too_large"),
    ],
)  # fmt: skip
def test_bombs(name: str, text: str, code: str, project: Callable[..., Path], mistakes: Find) -> None:
    """A file made to eat time or memory is refused before it is expanded, with one problem."""
    (problem,) = mistakes(project(text))
    assert (problem.code, problem.where) == (code, "targets/x.yaml")


def _no_targets(root: Path) -> None:
    (root / "targets").rmdir()


def _pipe(root: Path) -> None:
    os.mkfifo(root / "targets" / "x.yaml")


def _folder(root: Path) -> None:
    (root / "targets" / "x.yaml").mkdir()


def _dangling(root: Path) -> None:
    (root / "targets" / "x.yaml").symlink_to("nowhere")


def _latin(root: Path) -> None:
    (root / "targets" / "x.yaml").write_bytes("# ok\ntargets: {}\n# M\xfcller\n".encode("latin-1"))


def _hidden(root: Path) -> None:
    (root / "targets" / ".x.yaml").write_text("targets: {}\n")
    (root / "targets" / "notes.txt").write_text("targets: {}\n")


@pytest.mark.parametrize(
    ("prepare", "where", "code", "message"),
    [
        (_no_targets, "targets", "missing_targets", "the folder `targets/` cannot be read: No such file or directory"),
        (lambda root: None, "targets", "missing_targets", "the folder `targets/` holds no `.yaml` file"),
        (_hidden, "targets", "missing_targets", "the folder `targets/` holds no `.yaml` file"),
        (_pipe, "targets/x.yaml", "not_a_file", "this is not a regular file"),
        (_folder, "targets/x.yaml", "not_a_file", "this is not a regular file"),
        (_dangling, "targets/x.yaml", "file_unreadable", "the file cannot be read: No such file or directory"),
        (_latin, "targets/x.yaml", "not_utf8", "the file is not UTF-8: line 3"),
    ],
)
def test_files_that_cannot_be_read(
    prepare: Callable[[Path], None],
    where: str,
    code: str,
    message: str,
    project: Callable[..., Path],
    mistakes: Find,
) -> None:
    """A folder or file that cannot be read as text is one problem, and a named pipe holds nobody up."""
    root = project()
    prepare(root)
    (problem,) = mistakes(root)
    assert (problem.where, problem.code, problem.message) == (where, code, message)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("acme.YAML", "a target file ends in `.yaml` or `.yml`, in lower case"),
        ("acme.Yml", "a target file ends in `.yaml` or `.yml`, in lower case"),
        ("eu/acme.yaml", "only files of `targets/` itself are read, and this one is in a folder of it"),
        ("eu/paris/acme.YML", "only files of `targets/` itself are read, and this one is in a folder of it"),
    ],
)
def test_a_file_that_is_not_read_is_told(name: str, why: str, project: Callable[..., Path], mistakes: Find) -> None:
    """Who wrote it believes that its targets are migrated with the others."""
    root = project(f"targets: {{acme: {{{URL}}}}}\n")
    (root / "alembic.ini").write_text("[alembic]\n")
    (root / "targets" / name).parent.mkdir(parents=True, exist_ok=True)
    read_fleet(read_settings(root))  # so that it is kept
    (root / "targets" / name).write_text("targets: {}\n")
    (problem,) = mistakes(root)
    assert (problem.where, problem.code, problem.message) == (f"targets/{name}", "not_read", why)
    with pytest.raises(ConfigurationError):
        read_fleet(read_settings(root))


def test_what_is_no_target_file_may_stand_in_targets(project: Callable[..., Path]) -> None:
    """Notes, schemas, backups, what is hidden, and folders that say by their name that they are left alone."""
    root = project(f"targets: {{acme: {{{URL}}}}}\n")
    for name in ("README.md", "x.yaml.bak", ".x.YAML", "_old/x.yaml", ".git/x.yaml", "eu/notes.txt", "eu/_old/x.yaml"):
        (root / "targets" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "targets" / name).write_text("targets: [")
    assert [t.name for t in load_fleet(root).targets] == ["acme"]


def test_no_branch(project: Callable[..., Path], mistakes: Find) -> None:
    """A target without a folder of versions/ is refused, and a missing versions/ is one problem for all."""
    text = "targets: {a: {url: 'postgresql://u@127.0.0.1/a'}, b: {url: 'postgresql://u@127.0.0.1/b'}}\n"
    root = project(text, branches=("b",))
    (problem,) = mistakes(root)
    assert (problem.where, problem.message) == (
        "targets/x.yaml: targets.a",
        "no folder of `versions/` belongs to this target",
    )
    assert problem.hint == "create `versions/shared` or `versions/a`, or list a group in `branches`"
    (root / "versions" / "b").rmdir()
    (root / "versions").rmdir()
    (problem,) = mistakes(root)
    assert (problem.where, problem.code) == ("versions", "missing_versions")
