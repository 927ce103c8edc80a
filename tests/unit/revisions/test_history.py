"""versions/ read from disk: every way to write a revision file that Alembic takes, and every way to get it wrong."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from ehg_migrate.errors import RevisionsError
from ehg_migrate.revisions.graph import Revision
from ehg_migrate.revisions.history import History, read_history
from ehg_migrate.revisions.loading import alembic_config, script_directory
from ehg_migrate.settings import read_settings
from tests.support.programs import as_anybody
from tests.support.project import add_revision, revision, write_project
from tests.unit.revisions.trees import history_of

END = "\ndef upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"
PLAIN = f'revision = "a1"\ndown_revision = None\n{END}'


def only(history: History, branch: str = "shared") -> Revision:
    """The one revision of a history without problems."""
    assert not history.problems
    (found,) = history.branches[branch]
    return found


def stock(root: Path, *branches: str) -> ScriptDirectory:
    """What Alembic itself reads from the same folders."""
    config = alembic_config(read_settings(root))
    return script_directory(config, tuple(root / "versions" / b for b in branches))


# --- what is read


def test_a_link_to_nothing_is_a_revision_that_is_missing(tmp_path: Path) -> None:
    """As where a pipeline has not fetched what it leads to: a run that left it out would be a success without it."""
    root = write_project(tmp_path, {}, {"shared/a1": PLAIN})
    (root / "versions" / "shared" / "a2.py").symlink_to("../../elsewhere/a2.py")
    (root / "versions" / "shared" / ".#a1.py").symlink_to("ada@host.1234")  # an editor's lock
    for keep in (False, True):
        (problem,) = read_history(read_settings(root), keep=keep).problems
        assert problem.where == "versions/shared/a2.py"
        assert problem.message.startswith("the revision file cannot be read: [Errno 2] No such file or directory")


def test_a_file_is_read_without_running_it(tmp_path: Path) -> None:
    """Everything that it says about itself, from a file whose top level would fail."""
    text = '"""Adds a.\n\nMore."""\nimport no_such_module\nrevision: str = "a1"\ndown_revision = ("b", "c")\n'
    text += f'branch_labels = ["x", "y"]\ndepends_on = "d"\n{END}'
    found = only(history_of(tmp_path, {"app/a1_some_name": text}), "app")
    assert found == Revision(
        id="a1",
        parents=("b", "c"),
        depends_on=("d",),
        labels=("x", "y"),
        branch="app",
        path="versions/app/a1_some_name.py",
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        doc="Adds a.",
    )


WAYS = {
    "annotated": 'revision: str = "a1"\ndown_revision: str | None = None\n',
    "computed": 'prefix = "a"\nrevision = prefix + "1"\ndown_revision = None\n',
    "from a function": 'def name():\n    return "a1"\nrevision = name()\ndown_revision = None\n',
    "several at once": 'revision, down_revision = "a1", None\n',
    "chained": 'revision = this = "a1"\ndown_revision = None\n',
    "twice": 'revision = "a0"\nrevision = "a1"\ndown_revision = None\n',
    "conditional": 'if True:\n    revision = "a1"\nelse:\n    revision = "b1"\ndown_revision = None\n',
    "through a global": 'def set_it():\n    global revision\n    revision = "a1"\nset_it()\ndown_revision = None\n',
    "imported under a condition": "if True:\n    from shared_ids import revision, down_revision\n",
    "imported": "from types import SimpleNamespace as s\nfrom shared_ids import revision, down_revision\n",
    "import *": "from shared_ids import *\n",
    "with a local of the same name": 'revision = "a1"\ndown_revision = None\ndef f():\n    revision = 7\n',
    "empty label": 'revision = "a1"\ndown_revision = None\nbranch_labels = ""\ndepends_on = []\n',
    "empty tuple": 'revision = "a1"\ndown_revision = ()\n',
    "prints": 'print("hello")\nrevision = "".join(["a1"])\ndown_revision = None\n',
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saying_who_it_is(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Alembic reads it; a file that computes its names is loaded, and what it prints is no data of ours."""
    (tmp_path / "shared_ids.py").write_text('revision = "a1"\ndown_revision = None\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    found = only(history_of(tmp_path, {"shared/first": WAYS[way] + END}))
    assert (found.id, found.parents, found.labels, found.depends_on) == ("a1", (), (), ())
    assert capsys.readouterr().out == ""
    assert stock(tmp_path, "shared").get_heads() == ["a1"]


def test_alembic_context_is_there_while_a_file_loads(tmp_path: Path) -> None:
    """Some compute their names from the configuration."""
    text = "from alembic import context\n"
    text += 'revision = context.config.get_section_option("ours", "id")\ndown_revision = None\n'
    root = write_project(tmp_path, {}, {"shared/a": text + END})
    (root / "alembic.ini").write_text((root / "alembic.ini").read_text() + "\n[ours]\nid = a1\n")
    assert only(read_history(read_settings(root))).id == "a1"


def test_a_legacy_file_name_is_the_id(tmp_path: Path) -> None:
    """A name of hexadecimal digits, as Alembic still takes it; `revision` wins where it is there."""
    files = {"shared/1a2b": f"down_revision = None\n{END}", "app/3c4d": f'revision = "a1"\ndown_revision = None\n{END}'}
    history = history_of(tmp_path, files)
    assert only(history).id == "1a2b"
    assert only(history, "app").id == "a1"
    assert stock(tmp_path, "shared", "app").get_heads() == ["1a2b", "a1"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + f'"""K\u00f6ln"""\n{PLAIN}'.encode(),
        f'# -*- coding: latin-1 -*-\n"""K\u00f6ln"""\n{PLAIN}'.encode("latin-1"),
        f'"""K\u00f6ln"""\r\n{PLAIN}'.replace("\n", "\r\n").encode(),
    ],
    ids=["byte order mark", "latin-1 cookie", "windows line ends"],
)
def test_encodings_are_pythons(data: bytes, tmp_path: Path) -> None:
    """What Python can run can be read; the checksum is of the bytes."""
    found = only(history_of(tmp_path, {"shared/a1": data}))
    assert (found.id, found.doc, found.checksum) == ("a1", "K\u00f6ln", hashlib.sha256(data).hexdigest())


def test_whether_there_is_an_upgrade_and_a_downgrade(tmp_path: Path) -> None:
    """By whatever statement the name comes; where it may come from `import *` the answer is yes."""
    head = 'revision = "{0}"\ndown_revision = None\n'
    texts = {
        "both": END,
        "up": "def upgrade(): pass\n",
        "none": "",
        "assigned": "upgrade = downgrade = lambda: None\n",
        "imported": "from os import getcwd as upgrade, getcwd as downgrade\n",
        "guarded": "if True:\n    def upgrade(): pass\n    async def downgrade(): pass\n",
    }
    history = history_of(tmp_path, {f"shared/{n}": head.format(n) + text for n, text in texts.items()})
    assert {r.id: (r.has_upgrade, r.has_downgrade) for r in history.branches["shared"]} == {
        "both": (True, True),
        "up": (True, False),
        "none": (False, False),
        "assigned": (True, True),
        "imported": (True, True),
        "guarded": (True, True),
    }


def test_files_come_in_alembics_order(tmp_path: Path) -> None:
    """Sorted, a folder's files before its folders'; what Alembic skips is skipped."""
    names = ["shared/b", "shared/a", "shared/2024/a", "shared/2023/z/a", "shared/2023/b", "shared/zz"]
    files = {n: revision(n.replace("/", "_")) for n in names}
    files |= {"shared/.#a": "(", "shared/__init__": "(", "shared/__pycache__/a": "("}
    history = history_of(tmp_path, files)
    (tmp_path / "versions" / "shared" / "notes.txt").write_text("no revision")
    theirs = [s.revision for s in stock(tmp_path, "shared").revision_map._revision_map.values() if s]
    assert [r.id for r in history.branches["shared"]] == theirs
    assert len(theirs) == len(names)


def test_without_recursion_nested_folders_are_not_read(tmp_path: Path) -> None:
    """`recursive_version_locations` is Alembic's setting, and read."""
    root = write_project(tmp_path, {}, {"shared/a1": PLAIN, "shared/old/b1": "("})
    ini = root / "alembic.ini"
    ini.write_text(ini.read_text().replace("recursive_version_locations = true", ""))
    assert only(read_history(read_settings(root))).id == "a1"


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    """Nor does Alembic; one that leads back would never end."""
    root = write_project(tmp_path, {}, {"shared/a1": PLAIN})
    (root / "versions" / "shared" / "again").symlink_to(root / "versions" / "shared")
    assert only(read_history(read_settings(root))).id == "a1"
    assert stock(root, "shared").get_heads() == ["a1"]


def test_an_invalid_escape_is_not_our_business(tmp_path: Path) -> None:
    """Newer Pythons warn of it while they parse; a status must not print that, whatever the filters are."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert only(history_of(tmp_path, {"shared/a1": PLAIN + 'SQL = "\\d"\n'})).id == "a1"


def test_folders_are_branches_and_shared_is_the_first(tmp_path: Path) -> None:
    """Hidden folders and Python's own are none; files beside them are told of."""
    root = write_project(tmp_path, {}, {"crm/c": revision("c"), "acme/a": revision("a"), "loose": revision("l")})
    for name in (".git", "__pycache__", "empty"):
        (root / "versions" / name).mkdir()
    history = read_history(read_settings(root))
    assert list(history.branches) == ["shared", "acme", "crm", "empty"]
    assert history.loose == ("versions/loose.py",)


def test_no_versions_is_an_empty_history(tmp_path: Path) -> None:
    """A project that has just begun."""
    root = write_project(tmp_path, {}, {})
    (root / "versions" / "shared").rmdir()
    (root / "versions").rmdir()
    assert read_history(read_settings(root)) == History({})


# --- what is wrong


CORRECT = "correct the file"


def of_a_set_of_lists() -> str:
    """What this Python says of one; from 3.14 on it says more."""
    with pytest.raises(TypeError) as raised:
        _ = {["b"]}
    return str(raised.value)


BAD: dict[str, tuple[str, str, str]] = {
    "syntax": ("def upgrade(:\n", "the revision file cannot be read: invalid syntax (line 1)", CORRECT),
    "null byte": ("a = 1\0", "the revision file cannot be read: source code string cannot contain null bytes", CORRECT),
    "no revision": (
        f"down_revision = None\n{END}",
        "the file does not say which `revision` it is",
        'give it `revision = "..."`, or move a file that is no revision out of versions/',
    ),
    "empty": (
        "",
        "the file does not say which `revision` it is",
        'give it `revision = "..."`, or move a file that is no revision out of versions/',
    ),
    "number as id": (
        "revision = 7\ndown_revision = None\n",
        "the file does not say which `revision` it is",
        'give it `revision = "..."`, or move a file that is no revision out of versions/',
    ),
    "no down_revision": (
        'revision = "a"\n',
        "the file has no `down_revision`",
        "write `down_revision = None` in a first revision",
    ),
    "number as parent": (
        'revision = "a"\ndown_revision = 7\n',
        "`down_revision` is 7; expected an id, several ids or None",
        CORRECT,
    ),
    "None among parents": (
        'revision = "a"\ndown_revision = ("b", None)\n',
        "`down_revision` is ('b', None); expected an id, several ids or None",
        CORRECT,
    ),
    "empty parent": (
        'revision = "a"\ndown_revision = ""\n',
        "`down_revision` is ''; expected an id, several ids or None",
        CORRECT,
    ),
    "wrong depends_on": (
        'revision = "a"\ndown_revision = None\ndepends_on = True\n',
        "`depends_on` is True; expected an id, several ids or None",
        CORRECT,
    ),
    "wrong label": (
        'revision = "a"\ndown_revision = None\nbranch_labels = (1,)\n',
        "`branch_labels` is (1,); expected a label, several labels or None",
        CORRECT,
    ),
    "unhashable": (
        'revision = "a"\ndown_revision = {["b"]}\n',
        f"the revision file does not load: TypeError: {of_a_set_of_lists()}",
        CORRECT,
    ),
    "character": (
        'revision = "a-1"\ndown_revision = None\n',
        "revision id `a-1` holds one of the characters `@ - + :`",
        "rename the revision",
    ),
    "reserved word": (
        'revision = "head"\ndown_revision = None\n',
        "`head` means something else where a revision is named",
        "rename the revision",
    ),
    "does not load": (
        "revision = str(no_such_name)\ndown_revision = None\n",
        "the revision file does not load: NameError: name 'no_such_name' is not defined",
        CORRECT,
    ),
    "no words": (
        "class Mute(Exception):\n    def __str__(self): raise OSError\nraise Mute\nfrom x import *\n",
        "the revision file does not load: Mute: its message cannot be had (OSError)",
        CORRECT,
    ),
    "exits": (
        'import sys\nsys.exit("no")\nfrom x import *\n',
        "the revision file does not load: SystemExit: no",
        CORRECT,
    ),
    "import of nothing": (
        "from no_such_module import *\n",
        "the revision file does not load: ModuleNotFoundError: No module named 'no_such_module'",
        CORRECT,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named(case: str, tmp_path: Path) -> None:
    """What is wrong, in which file, what to do; the other files are read all the same."""
    text, message, hint = BAD[case]
    history = history_of(tmp_path, {"shared/bad_one": text, "shared/good": revision("good")})
    (problem,) = history.problems
    assert (problem.code, problem.where, problem.message, problem.hint) == (
        "revision_file",
        "versions/shared/bad_one.py",
        message,
        hint,
    )
    assert [r.id for r in history.branches["shared"]] == ["good"]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """Latin-1 without a cookie is what editors of old leave behind."""
    (problem,) = history_of(tmp_path, {"shared/bad": '"""K\u00f6ln"""\n'.encode("latin-1")}).problems
    assert problem.where == "versions/shared/bad.py"
    assert problem.message.startswith("the revision file cannot be read: ")
    assert "utf-8" in problem.message.lower()  # each Python has its own words for it


def test_a_folder_that_cannot_be_read_is_named() -> None:
    """A problem like others, not an exception."""
    with tempfile.TemporaryDirectory() as folder, as_anybody(Path(folder)):
        root = write_project(Path(folder), {}, {"secret/a1": PLAIN})
        (root / "versions" / "secret").chmod(0)
        (problem,) = read_history(read_settings(root)).problems
        (root / "versions" / "secret").chmod(0o755)
    assert str(problem) == "versions/secret: the folder cannot be read: Permission denied\n  hint: correct the file"


# --- graphs of branches


def test_a_graph_is_made_of_a_targets_branches(tmp_path: Path) -> None:
    """Of no other folder; kept, so that targets with the same branches share it."""
    history = history_of(
        tmp_path,
        {"shared/s": revision("s1"), "crm/c": revision("c1", depends=["s1"]), "app/a": revision("a1", depends=["s1"])},
    )
    graph = history.graph(("shared", "crm"))
    assert graph.heads == ("c1",)
    assert history.graph(("shared", "crm")) is graph
    assert history.graph(("shared", "nowhere")).heads == ("s1",)
    assert history.holders("c1") == ("crm",)
    assert history.holders("x") == ()


def test_a_graph_with_mistakes_is_an_exception(tmp_path: Path) -> None:
    """With all of them."""
    history = history_of(tmp_path, {"app/a": revision("a1", "a0", depends=["s1"])})
    with pytest.raises(RevisionsError) as caught:
        history.graph(("shared", "app"))
    assert [p.code for p in caught.value.problems] == ["missing_revision", "missing_revision"]


def test_an_edit_changes_the_checksum(tmp_path: Path) -> None:
    """Of that file only, however small."""
    root = write_project(tmp_path, {}, {"shared/a": revision("a"), "shared/b": revision("b", "a")})
    before = {r.id: r.checksum for r in read_history(read_settings(root)).branches["shared"]}
    add_revision(root, "shared/b", revision("b", "a") + "\n")
    after = {r.id: r.checksum for r in read_history(read_settings(root)).branches["shared"]}
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]
