"""Laying out a project, writing revisions, naming releases, taking over a database: as a user does it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ehg_migrate.model import Address
from tests.support.cli import ALEMBIC, PROGRAM, ehg, environment, normalised
from tests.support.postgres import CANARY, Cluster
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """What `init` lays out."""
    said = ehg(tmp_path, "init", "fleet")
    assert said.code == 0, said.err
    return tmp_path / "fleet"


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its text; but for what Python keeps of those that it has loaded."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.parent.name != "__pycache__")
    return {str(p.relative_to(folder)): p.read_text() for p in files}


def assigned(text: str, name: str) -> Any:
    """The value that a revision file gives to a name, after Python's own rules."""
    values: dict[str, Any] = {}
    exec(compile(text.partition("def upgrade")[0], "revision", "exec"), values)  # noqa: S102 - what Alembic does
    return values[name]


# --- init


def test_init_lays_out_a_project(tmp_path: Path) -> None:
    """Four files, named on stdout, the next command on stderr; lint and stock Alembic take them as they are."""
    said = ehg(tmp_path, "init", "my fleet")
    files = ["alembic.ini", "targets/targets.yaml", "versions/shared/0001_notes.py", ".gitignore"]
    assert said.out == "".join(f"wrote my fleet/{name}\n" for name in files)
    assert said.err == "next: cd 'my fleet' && ehg-migrate upgrade --local --yes\n"
    folder = tmp_path / "my fleet"
    assert sorted(tree(folder)) == sorted(files)
    assert ehg(folder, "lint", "--exit-code").out == "0 warnings\n"
    assert "example  development  shared" in ehg(folder, "targets").out
    assert ehg(folder, "heads", program=ALEMBIC).out == "0001_notes (shared) (head)\n"


def test_init_here(tmp_path: Path) -> None:
    """In the present folder there is nowhere to go."""
    assert ehg(tmp_path, "init", ".").err == "next: ehg-migrate upgrade --local --yes\n"


@pytest.mark.parametrize("there", ["alembic.ini", ".gitignore", "targets/mine.yaml", "versions/x/y.py"])
def test_init_touches_no_project_that_is_there(tmp_path: Path, there: str) -> None:
    """One file of the same place is enough: exit 2, its name, and nothing was written."""
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("mine")
    said = ehg(tmp_path, "init", ".")
    top = Path(there).parts[0]
    assert (said.code, said.out) == (2, "")
    assert said.err == f"error: there is already `{top}`\n  hint: choose an empty folder\n"
    assert tree(tmp_path) == {there: "mine"}


def test_init_where_no_project_can_be(tmp_path: Path) -> None:
    """It is refused before anything is written."""
    said = ehg(tmp_path, "init", "two\nlines")
    assert (said.code, list(tmp_path.iterdir())) == (2, [])
    assert "has a line break in its path" in said.err


def test_init_on_a_full_disk(tmp_path: Path) -> None:
    """The file is named, and nothing is left that would be in the way of the next try."""
    command = ["sh", "-c", f"ulimit -f 0; exec '{PROGRAM}' init ."]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr == "error: `alembic.ini` cannot be written: File too large\n  hint: choose another folder\n"
    assert ehg(tmp_path, "init", ".").code == 0


def test_init_beside_other_files(tmp_path: Path) -> None:
    """In a repository that has none of ours it works."""
    (tmp_path / "README.md").write_text("mine")
    assert ehg(tmp_path, "init", ".").code == 0
    assert tree(tmp_path)["README.md"] == "mine"


# --- revision


def test_a_revision_continues_its_branch(fleet: Path) -> None:
    """A file of the minute and the message, in the branch's folder, after its head; the message is made one line."""
    said = ehg(fleet, "revision", "-m", "Add  a\n note's author, 100% sure")
    assert re.fullmatch(r"wrote versions/shared/\d{12,14}_add_a_note_s_author_100_sure\.py\n", said.out)
    text = (fleet / said.out.split()[1]).read_text()
    assert text.startswith('"""Add a note\'s author, 100% sure\n')
    assert assigned(text, "down_revision") == "0001_notes"
    again = ehg(fleet, "revision", "-m", "the next")
    assert assigned((fleet / again.out.split()[1]).read_text(), "down_revision") == assigned(text, "revision")
    assert ehg(fleet, "lint", "--exit-code").code == 0


def test_a_new_branch_gets_folder_and_label(fleet: Path) -> None:
    """It may need `shared`; stock Alembic knows both heads, and continues it by its label."""
    said = ehg(fleet, "revision", "-m", "bills", "-b", "billing", "--depends-on", "shared@head")
    assert re.fullmatch(r"wrote versions/billing/\d{12,14}_bills\.py\n", said.out)
    text = (fleet / said.out.split()[1]).read_text()
    assert assigned(text, "branch_labels") == ("billing",)
    assert assigned(text, "down_revision") is None
    assert assigned(text, "depends_on") == "0001_notes"
    heads = ehg(fleet, "heads", program=ALEMBIC)
    assert re.search(r"^[0-9a-f]{12} \(billing\) \(head\)$", heads.out, re.MULTILINE)
    assert re.search(r"^0001_notes \(shared\) \((effective )?head\)$", heads.out, re.MULTILINE)
    again = ehg(fleet, "revision", "-m", "more bills", "-b", "billing")
    assert re.fullmatch(r"wrote versions/billing/\d{12,14}_more_bills\.py\n", again.out)
    assert assigned((fleet / again.out.split()[1]).read_text(), "down_revision") == assigned(text, "revision")


def test_a_branch_that_an_entry_names_first(fleet: Path) -> None:
    """What the hint says about its folder makes it."""
    file = fleet / "targets" / "targets.yaml"
    file.write_text(file.read_text().replace("    env: development\n", "    branches: [crm]\n"))
    said = ehg(fleet, "revision", "-m", "companies", "--branch", "crm")
    assert said.code == 2
    hint = "hint: for a new one make the folder `versions/crm`, then `ehg-migrate revision --branch crm -m WHAT`\n"
    assert hint in said.err
    (fleet / "versions" / "crm").mkdir()
    assert ehg(fleet, "revision", "-m", "companies", "--branch", "crm").code == 0
    assert ehg(fleet, "lint", "--exit-code").out == "0 warnings\n"


def test_a_branch_of_two_heads_is_not_continued(fleet: Path) -> None:
    """Which head is meant is asked, and no file is written."""
    for name in ("x1", "x2"):
        (fleet / "versions" / "shared" / f"{name}.py").write_text(revision(name, "0001_notes"))
    before = tree(fleet / "versions")
    said = ehg(fleet, "revision", "-m", "which")
    assert said.code == 2
    hint = "  hint: merge them with `alembic merge -m WHY x1 x2` first\n"
    assert f"error: branch `shared` has 2 heads: `x1`, `x2`\n{hint}" in said.err
    assert tree(fleet / "versions") == before


def test_what_a_target_lacks_is_not_depended_on(fleet: Path) -> None:
    """No file is written with which every later command would end."""
    assert ehg(fleet, "revision", "-m", "bills", "-b", "billing").code == 0
    before = tree(fleet / "versions")
    for branch in ("shared", "example"):
        said = ehg(fleet, "revision", "-m", "x", "-b", branch, "--depends-on", "billing@head")
        assert (said.code, said.out) == (2, "")
        assert f"is of `billing`, which `example` with `{branch}` has not\n  hint: depend only toward" in said.err
    assert tree(fleet / "versions") == before
    # what no target has yet, none of them lacks
    assert ehg(fleet, "revision", "-m", "x", "-b", "other", "--depends-on", "billing@head").code == 0
    file = fleet / "targets" / "targets.yaml"
    file.write_text(file.read_text().replace("    env: development\n", "    branches: [billing, other]\n"))
    assert ehg(fleet, "revision", "-m", "x", "-b", "example", "--depends-on", "billing@head").code == 0
    assert ehg(fleet, "lint", "--exit-code").out == "0 warnings\n"


@pytest.mark.parametrize("command", [(), ("--autogenerate", "example")], ids=["plain", "autogenerate"])
def test_no_revision_is_replaced_by_another(command: tuple[str, ...], fleet: Path) -> None:
    """Where `file_template` has no id in it, two may have one name; Alembic would write over the first."""
    (fleet / "models.py").write_text("import sqlalchemy as sa\nm = sa.MetaData()\nsa.Table('t', m, sa.Column('a'))\n")
    ini = fleet / "alembic.ini"
    text = re.sub(r"(?m)^file_template = .*", "file_template = %%(slug)s", ini.read_text())
    ini.write_text(text.replace("# metadata =", "metadata = shared = models:m"))
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    (fleet / "versions" / "shared" / "0001_notes.py").rename(fleet / "versions" / "shared" / "more.py")
    before = tree(fleet / "versions")
    said = ehg(fleet, "revision", "-m", "more", *command, *(("--local",) if command else ()))
    assert (said.code, said.out) == (2, ""), said
    assert f"there is already `{fleet}/versions/shared/more.py`, which the new file would replace" in said.err
    stock = ehg(fleet, "revision", "-m", "more", "--head", "0001_notes", program=ALEMBIC)
    assert "which the new file would replace" in stock.err
    assert tree(fleet / "versions") == before


def test_models_are_compared_with_the_local_database(fleet: Path) -> None:
    """`--local` means it here, too: the target itself is not asked, and its secret not read."""
    (fleet / "models.py").write_text("import sqlalchemy as sa\nm = sa.MetaData()\nsa.Table('t', m, sa.Column('a'))\n")
    unnamed = ehg(fleet, "revision", "-m", "t", "--autogenerate", "example", "--local")
    assert (unnamed.code, unnamed.err) == (
        2,
        "error: no models are named to compare with\n"
        "  at alembic.ini: [ehg_migrate] metadata\n"
        "  hint: write `shared = package.module:Base` below `metadata =`, one line for each branch that has models\n",
    )
    ini = fleet / "alembic.ini"
    ini.write_text(ini.read_text().replace("# metadata =", "metadata = shared = models:m"))
    behind = ehg(fleet, "revision", "-m", "t", "--autogenerate", "example", "--local")
    assert (behind.code, behind.out) == (2, "")
    assert "error: example: Target database is not up to date." in behind.err
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    said = ehg(fleet, "revision", "-m", "t", "--autogenerate", "example", "--local")
    assert said.code == 0, said.err
    text = (fleet / said.out.split()[1]).read_text()
    assert "op.create_table('t'" in text
    assert "op.drop_table('notes')" in text
    assert ehg(fleet, "local", "wipe", "--yes").code == 0


def test_the_drift_of_a_local_database(fleet: Path) -> None:
    """`alembic stamp` would write on the target itself, which has nothing of it: what is said does what is meant."""
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    assert ehg(fleet, "local", "psql", "example", "--", "-qc", "CREATE TABLE by_hand (n int)").code == 0
    said = ehg(fleet, "revision", "-m", "by hand", "--from-drift", "example", "--local")
    assert (said.code, "stamp" in said.err) == (0, False), said.err
    assert "the local database of example has all of it already: `ehg-migrate local wipe` before the next" in said.err
    assert ehg(fleet, "local", "wipe", "--yes").code == 0
    assert ehg(fleet, "upgrade", "--local", "--yes").code == 0
    assert ehg(fleet, "local", "wipe", "--yes").code == 0


def test_a_name_that_cannot_be_made(fleet: Path) -> None:
    """It is a fault of alembic.ini, which is said."""
    ini = fleet / "alembic.ini"
    ini.write_text(re.sub(r"(?m)^file_template = .*", "file_template = %%(id)s", ini.read_text()))
    said = ehg(fleet, "revision", "-m", "more")
    assert (said.code, said.out) == (2, "")
    assert "error: `file_template` cannot be filled in: KeyError: 'id'\n  at alembic.ini: [alembic] " in said.err


# --- lint, release, schema


def test_lint_shows_what_can_be_settled(fleet: Path) -> None:
    """Each warning with its rule's name, its place and a hint; `lint_ignore` settles it by that name."""
    (fleet / "versions" / "billing").mkdir()
    (fleet / "versions" / "billing" / "b1.py").write_text(revision("b1", label="billing"))
    said = ehg(fleet, "lint")
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "[unused_branch]\n  no target has this branch\n    at versions/billing\n"
        "    hint: add it to a target's `branches`, name it as the target whose own it is, or delete the folder\n"
        "1 warning\n"
    )
    ini = fleet / "alembic.ini"
    ini.write_text(ini.read_text().replace("# lint_ignore = second_base", "lint_ignore = unused_branch, second_base"))
    assert ehg(fleet, "lint").out == "0 warnings\n"
    assert ehg(fleet, "targets").err == ""


def test_a_release_names_the_present_heads(fleet: Path) -> None:
    """It is written down, cannot be given twice, and `--to release:` goes there and not beyond."""
    assert ehg(fleet, "release", "v1").out == "shared: 0001_notes\n"
    assert yaml.safe_load((fleet / "versions" / "releases.yaml").read_text()) == {"v1": {"shared": ["0001_notes"]}}
    assert ehg(fleet, "release", "v1").code == 2
    assert ehg(fleet, "revision", "-m", "later").code == 0
    try:
        assert "  to    0001_notes\n" in ehg(fleet, "plan", "--local", "--to", "release:v1").out
        assert "  to    0001_notes\n" not in ehg(fleet, "plan", "--local").out
    finally:
        ehg(fleet, "local", "wipe", "--yes")


def test_the_schema_is_one_and_fits_the_example(fleet: Path) -> None:
    """A JSON Schema that takes the laid out target file, and refuses a mistyped field."""
    schema = ehg(fleet, "schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    file = yaml.safe_load((fleet / "targets" / "targets.yaml").read_text())
    jsonschema.validate(file, schema)
    file["targets"]["example"]["pasword"] = "env:X"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(file, schema)


# --- adopt


@pytest.fixture
def legacy(
    make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project whose only target was migrated by somebody else's Alembic to `s1`."""
    address = make_database("legacy")
    with pg.open(address) as c:
        c.execute(b"CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        c.execute(b"INSERT INTO alembic_version VALUES ('s1')")
        c.execute(b"CREATE TABLE s1 (id int)")
    revisions = {
        "shared/s1": revision("s1", label="shared", up="CREATE TABLE s1 (id int)"),
        "shared/s2": revision("s2", "s1", up="CREATE TABLE s2 (id int)"),
    }
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    return write_project(tmp_path / "legacy", {"acme": target_entry(address)}, revisions)


def test_adopting_a_history(legacy: Path, pg: Cluster) -> None:
    """It is refused until it is adopted; adopting shows what it declares; then the next revision runs."""
    refused = ehg(legacy, "upgrade", "--yes")
    assert refused.code == 1
    assert "acme: not adopted\n" in refused.err
    said = ehg(legacy, "adopt", "acme", "--yes", "--verify", "always")
    assert (said.code, "No such option '--verify'" in said.err) == (2, True), "no schema is looked at"
    adopted = ehg(legacy, "adopt", "acme", "--yes")
    assert (adopted.code, normalised(adopted.out)) == (0, "run RUN: 1 succeeded (acme)\n")
    assert adopted.err.startswith(
        "acme: nothing is run; these revisions are declared applied, by its public.alembic_version:\n  s1"
    )
    assert "adopt: 1 target\n" in adopted.err
    assert "acme: succeeded in " in adopted.err
    assert "up    s1" not in ehg(legacy, "upgrade", "--yes").err
    assert ehg(legacy, "status", "--json").json["data"][0]["heads"] == ["s2"]
    for yes in (["--yes"], []):  # where nothing can be done nobody is asked
        again = ehg(legacy, "adopt", "acme", *yes)
        assert again.code == 1, "refused by what the target is, by no rule"
        assert "the target is ours already" in again.err
        assert "hint: " in again.err


def test_declaring_revisions(legacy: Path) -> None:
    """With `--heads` it is the person's word that counts, and the words say so."""
    said = ehg(legacy, "adopt", "acme", "--heads", "s2", "--yes")
    assert said.code == 0
    assert "declared applied, by your word:\n  s1" in said.err
    assert ehg(legacy, "status", "--json").json["data"][0]["heads"] == ["s2"]


def test_nothing_to_adopt(make_database: Callable[[str], Address], pg: Cluster, tmp_path: Path) -> None:
    """An empty database without `--heads` is not adopted by accident."""
    write_project(tmp_path, {"acme": target_entry(make_database("legacy"))}, {"shared/s1": revision("s1")})
    said = ehg(tmp_path, "adopt", "acme", "--yes", **{PASSWORD_VARIABLE: pg.password})
    assert said.code != 0
    assert "hint: " in said.err


def test_a_file_that_cannot_be_written(fleet: Path) -> None:
    """It is named, as no fault of the tool: nothing stands there with a traceback."""
    (fleet / "versions" / "billing").symlink_to("nowhere/billing")
    said = ehg(fleet, "revision", "-m", "bills", "-b", "billing")
    assert (said.code, "Traceback" in said.err, "billing` cannot be written: " in said.err) == (2, False, True), said


def test_a_revision_on_a_full_disk(fleet: Path) -> None:
    """It is said so, and no piece of a file is left, with which no other command would work."""
    before = tree(fleet / "versions")
    command = ["sh", "-c", f"ulimit -f 0; exec '{PROGRAM}' revision -m bills"]
    done = subprocess.run(command, cwd=fleet, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    said = r"error: `\S+/versions/shared/\w+_bills\.py` cannot be written: File too large\n  hint: free some space\n"
    assert re.fullmatch(said, done.stderr)
    assert tree(fleet / "versions") == before


@pytest.mark.parametrize("raised", ["SystemExit(0)", "RuntimeError('not today')", "OSError('nothing')"])
def test_a_file_that_ends_the_program_is_named(fleet: Path, raised: str) -> None:
    """Alembic loads every revision: nothing was written, so the exit code is 2, with the line, and no stack of ours."""
    file = fleet / "versions" / "shared" / "0001_notes.py"
    file.write_text(f"{file.read_text()}\n\nraise {raised}\n")
    before = tree(fleet / "versions")
    said = ehg(fleet, "revision", "-m", "more")
    assert (said.code, said.out) == (2, "")
    assert f"error: {raised.partition('(')[0]}" in said.err
    assert "at versions/shared/0001_notes.py:" in said.err
    assert "Traceback" not in said.err
    assert tree(fleet / "versions") == before


def test_an_environment_without_a_template(fleet: Path) -> None:
    """env.py alone runs steps; for a new file the folder lacks something, which is no fault of ours."""
    (fleet / "env").mkdir()
    (fleet / "env" / "env.py").write_text("from ehg_migrate.environment.hosting import run\n\nrun()\n")
    ini = fleet / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/env"))
    said = ehg(fleet, "revision", "-m", "new", "--branch", "crm")
    assert (said.code, said.out) == (2, "")
    place = f"{fleet}/env/script.py.mako"
    assert said.err == f"error: there is no `{place}`\n  hint: put one beside env.py, such as `alembic init` writes\n"
    assert [f.name for f in (fleet / "versions").iterdir()] == ["shared"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("sys.exit(f'no {os.environ[NAME]} here')", "SystemExit: no *** here\n  at env/env.py:3"),
        ("raise ValueError(os.environ[NAME])", "ValueError: ***\n  at env/env.py:3"),
        ("def x(", "SyntaxError: '(' was never closed (env.py, line 3)\n  at env/env.py:3"),
    ],
)
def test_an_environment_with_a_fault(fleet: Path, code: str, told: str) -> None:
    """It is the project's, and its words are masked; what leaves the process had Python print them."""
    (fleet / "env").mkdir()
    template = resources.files("ehg_migrate.environment").joinpath("script.py.mako").read_text()
    (fleet / "env" / "script.py.mako").write_text(template)
    (fleet / "env" / "env.py").write_text(f"import os, sys\nNAME = {PASSWORD_VARIABLE!r}\n{code}\n")
    ini = fleet / "alembic.ini"
    ini.write_text(ini.read_text().replace("ehg_migrate:environment", "%(here)s/env"))
    file = fleet / "targets" / "t.yaml"
    entry = target_entry(Address("127.0.0.1", 1, "u", "d", "disable"))
    file.write_text(json.dumps({"targets": {"example": entry}}))
    for other in set((fleet / "targets").iterdir()) - {file}:
        other.unlink()
    said = ehg(fleet, "revision", "-m", "x", "--autogenerate", "example", **{PASSWORD_VARIABLE: CANARY})
    assert (said.code, said.out) == (2, ""), said
    assert said.err.startswith(f"error: {told}\n  hint: correct it"), said.err


def test_a_hook_that_cannot_be_run(fleet: Path) -> None:
    """The file is there, which is said; a program that is not installed is no fault of ours."""
    ini = fleet / "alembic.ini"
    text = ini.read_text().replace("# hooks = ruff", "hooks = ruff").replace("# ruff.", "ruff.")
    ini.write_text(text.replace("ruff.executable = ruff", "ruff.executable = no-such-program"))
    said = ehg(fleet, "revision", "-m", "bills")
    assert (said.code, said.out, "Traceback" in said.err) == (2, "", False), said.err
    assert "error: the new file is in `versions/`, and a hook could not be run on it: FileNotFoundError" in said.err
    assert "  at alembic.ini: [post_write_hooks]\n  hint: correct the hook, or take it out\n" in said.err
    assert len(list((fleet / "versions" / "shared").glob("*_bills.py"))) == 1
