"""What alembic.ini says to us; what is wrong in it is in the table of bad input."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from ehg_migrate import settings
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
    assert (found.ledger_secret, found.lint_ignore, found.worker_memory) == ("", frozenset(), 0)


def test_all_of_it(tmp_path: Path) -> None:
    """What is written is read; a `%` in the folder's name, and what stands in [DEFAULT], disturb nobody."""
    found = read_settings(
        written(
            tmp_path / "50% of it",
            "[DEFAULT]\nmine = 1\n[alembic]\nrecursive_version_locations = True\n[ehg_migrate]\n"
            "ledger = sqlite:///%(here)s/l.sqlite\nledger_password = env:X\nparallel = 3\nlint_ignore = a, b c\n"
            "max_failures = 2\n"
            "metadata =\n  shared = models.shared:Base\n  acme=models:acme.metadata\n",
        )
    )
    assert (found.recursive, found.parallel, found.max_failures) == (True, 3, 2)
    assert found.lint_ignore == frozenset("abc")
    assert found.ledger_url == f"sqlite:///{tmp_path / '50% of it' / 'l.sqlite'}"
    assert found.ledger_secret == "env:X"
    assert found.metadata == (("shared", "models.shared:Base"), ("acme", "models:acme.metadata"))


def test_what_alembic_reads_in_pyproject(tmp_path: Path) -> None:
    """As Alembic takes it: where alembic.ini says nothing; a file that cannot be read says nothing to us."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/own"\nrecursive_version_locations = true\nother = [1]\n'
    )
    found = read_settings(written(tmp_path, ""))
    assert (found.recursive, found.environment) == (True, f"{tmp_path}/own")
    found = read_settings(written(tmp_path, "[alembic]\nrecursive_version_locations = false\n"))
    assert (found.recursive, found.environment) == (False, f"{tmp_path}/own")
    (tmp_path / "pyproject.toml").write_text("[tool.alembic\n")
    assert not read_settings(written(tmp_path, "")).recursive


@pytest.mark.parametrize(
    ("lines", "pyproject", "located"),
    [
        ("script_location = ehg_migrate:environment", "", False),
        ("script_location = ehg_migrate:environment\nversion_locations = %(here)s/versions", "", True),
        ("script_location = ehg_migrate:environment", 'version_locations = ["versions"]', True),
        ("", 'script_location = "ehg_migrate:environment"', False),
        ("script_location = %(here)s/own", "", True),  # an env.py of the project's own is no place of ours
    ],
)
def test_where_stock_commands_look(tmp_path: Path, lines: str, pyproject: str, located: bool) -> None:
    """Without `version_locations` beside env.py, which is in the installed package if it is ours."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.alembic]\n{pyproject}\n")
    assert read_settings(written(tmp_path, f"[alembic]\n{lines}\n")).odd == (
        set() if located else {"no_version_locations"}
    )


@pytest.mark.parametrize(
    ("locations", "outside"),
    [
        ("%(here)s/db", True),
        ("%(here)s/versions\n  %(here)s/db", True),
        ("versions, db", True),
        ("versions:db", True),
        ("db2", True),  # of a link: where its files are
        ("%(here)s/versions/shared", False),
        ("%(here)s/versions %(here)s/versions/crm", False),
        (".", False),  # versions/ is in it
        ("empty gone", False),
        ("linked", False),  # from versions/
        ("%(nowhere)s/db", False),
    ],
)
def test_revisions_elsewhere(tmp_path: Path, locations: str, outside: bool) -> None:
    """What stock Alembic would run and nobody here does; a folder without any is none."""
    for folder in ("db", "empty", "linked", "versions/shared"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("db/s2.py", "linked/c1.py", "setup.py", "versions/shared/s1.py"):
        (tmp_path / file).touch()
    (tmp_path / "db2").symlink_to("db")
    (tmp_path / "versions" / "crm").symlink_to("../linked")
    found = read_settings(written(tmp_path, f"[alembic]\nversion_locations = {locations}\n"))
    assert found.odd == ({"other_locations"} if outside else set())


def test_what_is_proven(tmp_path: Path) -> None:
    """By default a run is verified where that can be; the prelude is the text of a file that lies by alembic.ini."""
    found = read_settings(written(tmp_path, ""))
    assert (found.verify, found.prelude) == ("auto", "")
    (tmp_path / "p.sql").write_text("CREATE ROLE r; -- für alle", encoding="utf-8")
    found = read_settings(written(tmp_path, "[ehg_migrate]\nverify = always\nprelude = p.sql\n"))
    assert (found.verify, found.prelude) == ("always", "CREATE ROLE r; -- für alle")


def test_a_prelude_from_windows(tmp_path: Path) -> None:
    """The byte order mark that editors put before it is no part of its first statement."""
    (tmp_path / "p.sql").write_text("CREATE ROLE r;", encoding="utf-8-sig")
    assert read_settings(written(tmp_path, "[ehg_migrate]\nprelude = p.sql\n")).prelude == "CREATE ROLE r;"


def test_what_lint_weighs(tmp_path: Path) -> None:
    """By default steps are looked at where they can be rehearsed, and a table is large from 100 MB on."""
    found = read_settings(written(tmp_path, ""))
    assert (found.lint, found.lint_levels, found.large_table) == ("auto", (), 100 << 20)
    text = "lint = off\nlarge_table = 2 GB\nlint_levels =\n  effect:scan = note\n  sql:ban-drop-column=error\n"
    found = read_settings(written(tmp_path, f"[ehg_migrate]\n{text}"))
    assert (found.lint, found.large_table) == ("off", 2 << 30)
    assert found.lint_levels == (("effect:scan", "note"), ("sql:ban-drop-column", "error"))


def test_an_absolute_ledger_and_one_on_a_server(tmp_path: Path) -> None:
    """Both are taken as they stand."""
    for url in ("sqlite:////var/lib/ledger.sqlite", "postgresql://u@h:5432/ledger"):
        assert read_settings(written(tmp_path, f"[ehg_migrate]\nledger = {url}\n")).ledger_url == url


CANARY = "S3cretCanary"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[alembic]\nname = M\xfcller\n", "the file is not UTF-8: line 2"),
        (b"[ehg_migrate]\nprelude = a\0b\n", "line 2 holds a NUL, which no path and no name can have"),
        (b"ledger = S3cretCanary\n", "line 1 stands before the first `[section]`"),
        (b"[a]\nS3cretCanary\nb\n", "expected `name = value` on line 2, 3"),
        (b"[a]\nx = 1\n[a]\n", "`[a]` stands twice, again on line 3"),
        (b"[a]\nx = S3cretCanary\nx = 2\n", "`x` stands twice in `[a]`, again on line 3"),
        (b"[a]\nx = " + b"9" * 10_000_000, "the file cannot be read: it is larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    """It is refused with its name and line, and without what stands there."""
    (tmp_path / "alembic.ini").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.where, problem.message) == ("alembic.ini", message)


def test_who_has_gone_down_into_a_project_is_told_where_it_is(tmp_path: Path) -> None:
    """The nearest one above; quoted, for a shell."""
    below = tmp_path / "my fleet" / "versions" / "shared"
    below.mkdir(parents=True)
    written(tmp_path / "my fleet", "")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(below)
    assert caught.value.problems[0].hint.endswith(f"go there, or say `--project '{tmp_path}/my fleet'`")


def test_a_folder_whose_path_has_two_lines(tmp_path: Path) -> None:
    """Alembic is given folders one a line."""
    root = tmp_path / "two\nlines" / "project"
    root.mkdir(parents=True)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(written(root, ""))
    (problem,) = caught.value.problems
    assert problem.code == "folder_name"
    assert r"two\nlines/project' has a line break" in problem.message


@pytest.mark.parametrize(("text", "size"), [("256MB", 256 << 20), ("2GB", 2 << 30), ("3 GB", 3 << 30)])
def test_memory(tmp_path: Path, text: str, size: int) -> None:
    """In binary units, as PostgreSQL counts them."""
    assert read_settings(written(tmp_path, f"[ehg_migrate]\nworker_memory = {text}\n")).worker_memory == size


@pytest.mark.parametrize(
    "line",
    [
        "worker_memory = 2",
        "worker_memory = 1MB",
        f"worker_memory = {'9' * 900_000}GB",
        f"ledger_password = {CANARY}%x",
        f"ledger = postgresql://u:{CANARY}%(x)s@h/d",
        f"ledger = mysql://u:{CANARY}@h/d",
        f"parallel = \n  {'9' * 900_000}",
        "max_failures = -1",
        "max_failures = few",
        "parallel = 9\x1b[2J9",
        "metadata = \x1b]52;c;x\x07",
    ],
)
def test_a_wrong_value(tmp_path: Path, line: str) -> None:
    """No password, nothing long and no control character is shown of it."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(written(tmp_path, f"[ehg_migrate]\n{line}\n"))
    (problem,) = caught.value.problems
    assert CANARY not in str(problem)
    assert problem.message.isprintable()
    assert len(problem.message) < 200
    assert problem.where == f"alembic.ini: [ehg_migrate] {line.split(maxsplit=1)[0]}"


@pytest.mark.parametrize("name", ["ehg-migrate", "EHG_Migrate", "ehgmigrate"])
def test_a_mistyped_section(tmp_path: Path, name: str) -> None:
    """It is refused: all settings in it would silently keep their defaults."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(written(tmp_path, f"[{name}]\nverify = always\n"))
    (problem,) = caught.value.problems
    assert (problem.where, problem.hint) == (f"alembic.ini: [{name}]", "write `[ehg_migrate]`")


def test_settings_of_ours_elsewhere(tmp_path: Path) -> None:
    """A line that slipped below another section is refused; names of everybody's own, and Alembic's, are theirs."""
    ours = "[DEFAULT]\nledger = sqlite:///a\n[alembic]\nmetadata = mine\n[ehg_migrate]\nparallel = 4\n"
    text = f"{ours}[formatter_x]\nformat = a\nlint = off\n"
    with pytest.raises(ConfigurationError) as caught:
        read_settings(written(tmp_path, text))
    (problem,) = caught.value.problems
    assert (problem.where, problem.hint) == ("alembic.ini: [formatter_x] lint", "move the line below `[ehg_migrate]`")


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """It is named as what it is; the line behind it is right."""
    with pytest.raises(ConfigurationError, match="byte order mark"):
        read_settings(written(tmp_path, "\ufeff[alembic]\n"))


def test_every_setting_stands_in_the_ini_of_a_new_project() -> None:
    """As a comment, with what may be written."""
    template = (resources.files("ehg_migrate.environment") / "alembic.ini.tmpl").read_text(encoding="utf-8")
    section = template.partition("[ehg_migrate]")[2].partition("\n[")[0]
    assert set(re.findall(r"^# (\w+) =", section, re.MULTILINE)) == settings._KNOWN


@pytest.mark.parametrize("line", ["file_template = %(rev)s_%(slug)s", "truncate_slug_length = long", "timezone = %"])
def test_what_alembic_would_end_a_run_with(tmp_path: Path, line: str) -> None:
    """A value of its own that it cannot read is found before anything is done, and the line is named."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(written(tmp_path, f"[alembic]\n{line}\n"))
    assert [p.where for p in caught.value.problems] == [f"alembic.ini: [alembic] {line.split(maxsplit=1)[0]}"]
    found = read_settings(written(tmp_path, "[alembic]\nsqlalchemy.url = a%40b\ntruncate_slug_length = 40\n"))
    assert found.odd == {"ignored_url"}


@pytest.mark.parametrize(
    "text",
    ["\n  .\n  src\n  a b", ".:src:a b", "%(here)s/src\n  %(here)s/a b", "src/../src:./a b:/etc:..:missing"],
    ids=["lines", "colons", "anchored", "odd ones"],
)
def test_where_modules_are(tmp_path: Path, text: str) -> None:
    """Every folder of the project that `prepend_sys_path` names, by each separator that Alembic knows; no other."""
    root = tmp_path / "50% of it"
    for name in ("src", "a b", "other"):
        (root / name).mkdir(parents=True)
    found = read_settings(written(root, f"[alembic]\nprepend_sys_path = {text}\n")).module_folders
    assert found == (root / "a b", root / "src")


def test_where_modules_are_by_pyproject(tmp_path: Path) -> None:
    """Alembic takes a list from there, where alembic.ini has nothing of it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.alembic]\nprepend_sys_path = [".", "%(here)s/src"]\n')
    assert read_settings(written(tmp_path, "")).module_folders == (tmp_path / "src",)
