"""What goes where: data on stdout, the rest on stderr; JSON keeps its schema; hostile text breaks no report."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from ehg_migrate import json_form
from ehg_migrate.database.doctor import Finding
from ehg_migrate.database.locks import Held
from ehg_migrate.errors import Problem
from ehg_migrate.model import Address, FleetPlan, JournalEntry, Result, Run, State, StateKind, Status, Target
from ehg_migrate.schema.comparing import Comparison, Grouping
from ehg_migrate.schema.correction import Corrective
from ehg_migrate.schema.drift import Drift
from ehg_migrate.schema.managing import Managed
from ehg_migrate.schema.rehearsed import Rehearsal
from ehg_migrate.schema.saving import Saved
from ehg_migrate.schema.snapshot import Snapshot
from ehg_migrate.schema.squawk import SqlReport
from ehg_migrate.schema.standing import Standing
from tests.support.cli import PROGRAM, REPORTS, Said, ehg, environment
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE, add_revision, revision, target_entry, write_project

DOCUMENT = (Path(__file__).parents[2] / "docs" / "json.md").read_text()

HOSTILE = 'evil \x1b[2J\x07 | ]]> <script> & password="hunter2" \\ `x`\nforged: 1 succeeded (bad)'
"""What a server may say: control characters, a second line, and what XML, Markdown and JSON give a meaning."""

KINDS: dict[str, tuple[Any, list[list[str]]]] = {
    "targets": (tuple[Target, ...], [["targets"]]),
    "status": (tuple[State, ...], [["status"]]),
    "plan": (FleetPlan, [["plan"], ["plan", "--to", "s1"], ["lint", "--effect"]]),
    "run": (
        Run,
        [
            ["show", "<run>"],
            ["downgrade", "good", "--yes", "--to", "s1"],
            ["upgrade", "--yes", "-t", "good,gone"],
            ["resume", "<run>", "--yes"],
            ["retry", "<run>", "--yes"],
        ],
    ),
    "locks": (tuple[Held, ...], [["locks"]]),
    "runs": (tuple[Run, ...], [["runs"]]),
    "history": (tuple[JournalEntry, ...], [["history", "good"], ["history", "bad"]]),
    "doctor": (tuple[Finding, ...], [["doctor"]]),
    "lint": (tuple[Problem, ...], [["lint"]]),
    "lint_sql": (SqlReport, [["lint", "--sql"], ["lint", "--sql", "--pending"]]),
    "drift": (tuple[Drift, ...], [["drift"]]),
    "rehearse": (tuple[Rehearsal, ...], [["rehearse"]]),
    "compare": (Comparison, [["compare", "good", "bad"]]),
    "correction": (Corrective, [["compare", "good", "bad", "--sql"]]),
    "clusters": (Grouping, [["clusters"]]),
    "snapshot": (Snapshot, [["snapshot", "good"]]),
    # tried where there are schemas, in test_schema_manager.py
    "schema_status": (tuple[Standing, ...], []),
    **{f"schema_{verb}": (Managed, []) for verb in ("create", "seed", "sync")},
    "snapshot_tree": (Saved, [["snapshot", "good", "--output", "kept"]]),
}
COMMANDS = [(kind, arguments) for kind, (_, commands) in KINDS.items() for arguments in commands]


@dataclass(frozen=True)
class World:
    """A project of a good target, one whose revision fails with hostile words, and one that is not there."""

    folder: Path
    password: str
    first: Said  # `upgrade` of all three, with all reports

    def ehg(self, *arguments: str) -> Said:
        """A command in it."""
        run = self.first.json["data"]["id"]
        return ehg(self.folder, *(a.replace("<run>", run) for a in arguments), EHG_TEST_PASSWORD=self.password)


@pytest.fixture(scope="module")
def world(
    make_module_database: Callable[[str], Address], pg: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> World:
    """The project after its first upgrade."""
    folder = tmp_path_factory.mktemp("streams") / "project"
    fail = f"""
op.get_context().as_sql or print({HOSTILE!r})
op.get_bind().exec_driver_sql("SELECT CAST(%s::text AS int)", ({HOSTILE!r},))
"""
    write_project(
        folder,
        {
            "good": target_entry(make_module_database("streams"), purpose="two\nlines"),
            "bad": target_entry(make_module_database("streams")),
            "gone": target_entry(pg.address("no_such_database")),
        },
        {
            "shared/s1": revision("s1", label="shared", up="CREATE TABLE s1 (id int)", down_sql="DROP TABLE s1"),
            "shared/s2": revision("s2", "s1"),
            "bad/b1": revision("b1", label="bad", depends=["s2"], up_code=fail),
        },
    )
    first = ehg(folder, "upgrade", "--yes", "--json", *REPORTS, **{PASSWORD_VARIABLE: pg.password})
    return World(folder, pg.password, first)


# --- JSON


def test_the_first_run_failed_on_two_targets(world: World) -> None:
    """Exit 1; the good one succeeded, the hostile one failed after what it could do, the third was not reached."""
    assert world.first.code == 1
    statuses = {r["target"]: r["status"] for r in world.first.json["data"]["results"]}
    assert statuses == {"good": "succeeded", "bad": "failed", "gone": "failed"}


@pytest.mark.parametrize(("kind", "arguments"), COMMANDS, ids=[" ".join(a) for _, a in COMMANDS])
def test_json_keeps_its_schema(world: World, kind: str, arguments: list[str]) -> None:
    """One document of the promised form on stdout, though a target fails; whatever is told stands on stderr."""
    said = world.ehg(*arguments, "--json")
    document = said.json
    assert list(document) == ["schema_version", "kind", "data"]
    assert (document["schema_version"], document["kind"]) == (json_form.SCHEMA_VERSION, kind)
    jsonschema.validate(document["data"], json_form.schema(KINDS[kind][0]))
    assert json_form.load(KINDS[kind][0], document["data"]) is not None


def test_the_document_names_all_kinds() -> None:
    """docs/json.md has a row for each kind, with the commands that print it."""
    rows = re.findall(r"^\| (`.*?`) \| `(\w+)` \|", DOCUMENT, re.MULTILINE)
    named = {kind: set(re.findall(r"`(\w+)`", commands)) for commands, kind in rows}
    assert set(named) == set(KINDS)
    assert all({a[0] for a in commands} <= named[kind] for kind, (_, commands) in KINDS.items())


def test_the_document_names_all_fields_and_words() -> None:
    """The fields of problems and results, the kinds of states and the statuses, are those of the model."""
    text = " ".join(DOCUMENT.split())
    for noun, type_ in (("problem", Problem), ("result", Result)):
        (listed,) = re.findall(rf"\*\*{noun}\*\* is `{{(.*?)}}`", text)
        assert listed.split(", ") == [f.name for f in fields(type_)]
    for title, words in (("State kinds", StateKind), ("Result statuses", Status)):
        (line,) = re.findall(rf"{title}: (.*?)\.(?: |$)", text)
        assert re.findall(r"`(\w+)`", line) == [w.value for w in words]


# `targets` ends in `...`; the others are said by another row's name, or by the paragraph below the table
NO_LIST = {"targets", "runs", "lint", "schema_seed", "schema_sync"}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - NO_LIST))
def test_the_document_names_every_field(kind: str) -> None:
    """The row of a kind names what its data has, or each of a list."""
    rows = re.findall(rf"^\| `[^|]* \| `{kind}` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    type_ = KINDS[kind][0]
    named = set(re.findall(r"\w+", " ".join(rows)))
    assert {f.name for f in fields(next(iter(get_args(type_)), type_))} <= named


def test_hostile_text_stays_in_its_value(world: World) -> None:
    """The JSON is JSON although the server's words hold quotes; control characters and passwords are out of them."""
    (bad,) = [r for r in world.first.json["data"]["results"] if r["target"] == "bad"]
    assert bad["problem"]["message"].startswith(
        'invalid input syntax for type integer: "evil | ]]> <script> & password="***"'
    )
    assert "\n" not in bad["problem"]["message"]
    assert "evil" in bad["output"]
    assert "hunter2" not in world.first.everything
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", world.first.everything)


# --- streams


READING = ["targets", "status", "plan", "plan --sql", "history good", "runs", "show <run>", "doctor", "lint"]


# the hostile revision asks the database
ENDS = """
note: a script ends before step `b1`: cannot be shown without the database: AttributeError: 'MockConnection' object \
has no attribute 'exec_driver_sql'
note:   at versions/bad/b1.py
note:   hint: `ehg-migrate upgrade` does that step, and the rest
"""


@pytest.mark.parametrize("command", READING)
def test_what_was_asked_for_is_on_stdout_alone(world: World, command: str) -> None:
    """A reading command has nothing else to say, but where a script is not whole; there are no colours, either."""
    said = world.ehg(*command.split())
    assert said.out.strip()
    assert said.err == (ENDS if command == "plan --sql" else "")
    assert "\x1b" not in said.out


def test_progress_is_on_stderr(world: World) -> None:
    """A run prints one line on stdout, the sum with the names; plan, steps and problems are on stderr, plain."""
    said = world.ehg("upgrade", "--yes")
    assert re.fullmatch(r"run \S+: 1 up_to_date \(good\), 2 failed \(bad, gone\)\n", said.out)
    for words in (
        "bad: step 1 of 1: up b1 (bad) b1\n",
        "bad: failed in ",
        "gone: unreachable\n",
        "nothing to do for good\n",
    ):
        assert words in said.err
    assert "\x1b" not in said.err


def test_a_forged_line_is_not_a_line(world: World) -> None:
    """A second line in the server's words does not begin a line of ours."""
    said = world.ehg("upgrade", "--yes", "-t", "bad")
    assert "forged" in said.err
    assert not re.search(r"^forged", said.err, re.MULTILINE)


def test_a_table_has_a_line_for_each_target(world: World) -> None:
    """Also where a text of the target file has two lines."""
    lines = world.ehg("targets").out.splitlines()
    assert [line.split()[0] for line in lines] == ["TARGET", "good", "bad", "gone"]
    assert lines[1].endswith("two lines")


@pytest.mark.parametrize("command", ["history gone", "snapshot gone", "compare good gone", "locks break gone --yes"])
def test_an_error_of_one_target_names_it(world: World, command: str) -> None:
    """As a log is read later, without the command."""
    said = world.ehg(*command.split())
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: gone: connection failed")


def test_colours_are_for_terminals_only(world: World) -> None:
    """Whatever TERM says, a pipe gets none."""
    said = ehg(world.folder, "status", "-t", "nope", TERM="xterm-256color")
    assert said.err.startswith("error: no target matches `nope`\n")


# --- readers that have gone


def test_a_closed_pipe_ends_the_program_quietly(world: World) -> None:
    """As `| head` does it: no traceback, and the exit code that shells give to such an end."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [PROGRAM, "schema"], cwd=world.folder, env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_run_outlives_its_watcher(
    make_module_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """When the reader of stderr has gone, the run ends as if it were there."""
    write_project(tmp_path, {"a": target_entry(make_module_database("streams"))}, {"shared/s1": revision("s1")})
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [PROGRAM, "upgrade", "--yes"],
        cwd=tmp_path,
        env=environment({PASSWORD_VARIABLE: pg.password}),
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0
    assert re.fullmatch(r"run \S+: 1 succeeded \(a\)\n", done.stdout)


@pytest.mark.parametrize("closed", ["<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_needs_no_streams(
    closed: str, make_module_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """Started without them, as some services start their programs: every step is done, and the ledger is whole."""
    revisions = {"shared/s1": revision("s1", up_code="print('heard by nobody')"), "shared/s2": revision("s2", "s1")}
    write_project(tmp_path, {"a": target_entry(make_module_database("streams"))}, revisions)
    variables = {PASSWORD_VARIABLE: pg.password}
    command = ["sh", "-c", f'exec "$0" upgrade --yes {closed}', PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=environment(variables), check=False)
    (run,) = ehg(tmp_path, "runs", "--json", **variables).json["data"]
    assert (done.returncode, run["results"][0]["status"]) == (0, "succeeded")
    assert ehg(tmp_path, "status", "--json", **variables).json["data"][0]["heads"] == ["s2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_at_the_very_beginning_ends_it_as_any_other(number: signal.Signals, tmp_path: Path) -> None:
    """It comes while the program is still imported: no traceback, and 130."""
    tmp_path.joinpath("click.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    # where a script runs the tests beside others, Ctrl-C is ignored in all that they start
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}\nfrom ehg_migrate.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "targets"],
        env=environment({"PYTHONPATH": str(tmp_path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="/dev/full is Linux's; elsewhere a disk cannot be filled safely"
)
def test_a_full_disk_is_told(world: World) -> None:
    """What was asked for could not be written, so it is no success."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, "schema"],
            cwd=world.folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: the output cannot be written: No space left on device\n")


# --- reports


def test_junit_has_a_case_for_each_target(world: World) -> None:
    """Failures are marked, with status, message and hint; hostile text is text."""
    suite = ET.parse(world.folder / "junit.xml").getroot()  # noqa: S314 - our own file
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == ["good", "bad", "gone"]
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    assert cases["good"].find("failure") is None
    failure = cases["bad"].find("failure")
    assert failure is not None
    assert failure.get("type") == "failed"
    assert "]]> <script> &" in failure.get("message", "")
    assert "hint: " in (failure.text or "")


def test_the_summary_has_a_row_for_each_target(world: World) -> None:
    """Seven cells each, whatever stands in them, and no markup of others; it is appended to what was there."""
    text = (world.folder / "summary.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [re.split(r"(?<!\\)\|", row)[1].strip() for row in rows] == ["target", "good", "bad", "gone"]
    assert all(len(re.split(r"(?<!\\)\|", row)) == 9 for row in rows)
    assert "\\<script\\>" in text
    assert "hunter2" not in text
    world.ehg("upgrade", "--yes", "-t", "good", "--summary", "summary.md")
    assert (world.folder / "summary.md").read_text().startswith(text)


def test_the_page_is_of_the_run_and_of_what_there_is(world: World) -> None:
    """Each target once, those that are not good first; of a former run, and of the fleet, it is written too."""
    text = (world.folder / "page.html").read_text()
    assert _named_on(text) == ["bad", "gone", "good"]
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert world.ehg("show", "<run>", "--html", "shown.html").code == 0
    assert (world.folder / "shown.html").read_text() == text
    assert world.ehg("status", "--html", "fleet.html").code == 1
    assert _named_on((world.folder / "fleet.html").read_text()) == ["gone", "good", "bad"]


def _named_on(page: str) -> list[str]:
    return re.findall(r'<th scope="row">(\w+)</th>', page)


@pytest.mark.parametrize("command", ["status -t good", "show <run>"])
def test_a_page_that_was_asked_for_is_written_or_missed(world: World, command: str) -> None:
    """Nobody takes an old file for a new one."""
    link = world.folder / "page-link.html"
    link.unlink(missing_ok=True)
    link.symlink_to("nowhere/page.html")
    said = world.ehg(*command.split(), "--html", link.name)
    assert (said.code, said.out) == (1, "")
    assert "error: `page-link.html` cannot be written: No such file or directory\n  hint: let this user" in said.err


def test_findings_that_cannot_be_written_are_no_wrong_usage(world: World) -> None:
    """The document was printed, so the exit code is not the one with which stdout is empty."""
    link = world.folder / "found-link.sarif"
    link.symlink_to("nowhere/found.sarif")
    said = world.ehg("lint", "--json", "--sarif", link.name)
    assert (said.code, said.json["kind"]) == (1, "lint")
    assert said.err == (
        "error: `found-link.sarif` cannot be written: No such file or directory\n"
        "  hint: let this user write there, or name another file\n"
    )


def test_a_report_that_cannot_be_written_hides_nothing(world: World) -> None:
    """The run is what it was, and the report's trouble is told beside it."""
    (world.folder / "folder" / "junit.xml").mkdir(parents=True)
    link = world.folder / "junit-link.xml"
    link.symlink_to("nowhere/junit.xml")
    said = world.ehg("upgrade", "--yes", "-t", "good", "--junit", "junit-link.xml")
    assert said.code == 0
    assert re.fullmatch(r"run \S+: 1 up_to_date \(good\)\n", said.out)
    assert (
        "warning: `junit-link.xml` cannot be written: No such file or directory\n  hint: the run is in the ledger"
        in said.err
    )


# --- exit codes


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("status -t good", 0),
        ("status -t good,gone", 1),
        ("status -t bad", 0),
        ("status -t bad --exit-code", 3),
        ("status -t bad,gone --exit-code", 1),
        ("plan -t bad", 0),
        ("plan -t bad --exit-code", 3),
        ("plan -t good --exit-code", 0),
        ("plan -t bad,gone --exit-code", 1),
        ("lint", 0),
        ("lint --exit-code", 0),
        ("doctor -t gone", 1),
        ("locks", 1),
        ("locks -t good", 0),
        ("locks break good --yes", 1),
        ("retry <run> --yes", 1),
        ("history gone", 1),
        ("upgrade -t good --yes", 0),
        ("upgrade -t gone --yes", 1),
        ("--version", 0),
        ("upgrade --help", 0),
    ],
)
def test_exit_codes(world: World, command: str, code: int) -> None:
    """0 done, 1 a target failed or cannot be reached, 3 differences where that was asked; 1 goes before 3."""
    assert world.ehg(*command.split()).code == code


def test_lint_finds_a_difference(world: World, tmp_path: Path) -> None:
    """A warning is exit 3 only where `--exit-code` is given."""
    write_project(
        tmp_path, {"a": target_entry(Address("127.0.0.1", 1, "u", "a", "disable"))}, {"shared/s1": revision("s1")}
    )
    add_revision(tmp_path, "unused/u1", revision("u1", label="unused"))
    assert ehg(tmp_path, "lint").code == 0
    said = ehg(tmp_path, "lint", "--exit-code")
    assert said.code == 3
    assert [p["code"] for p in ehg(tmp_path, "lint", "--json").json["data"]] == ["no_label", "unused_branch"]


def test_a_rollback_that_is_not_exact_is_blocked(
    make_module_database: Callable[[str], Address], pg: Cluster, tmp_path: Path
) -> None:
    """Exit 4, refused by a rule, and the target holds what it held."""
    write_project(tmp_path, {"a": target_entry(make_module_database("streams"))}, {"shared/s1": revision("s1")})
    variables = {PASSWORD_VARIABLE: pg.password}
    run = ehg(tmp_path, "upgrade", "--yes", "--json", **variables).json["data"]["id"]
    add_revision(tmp_path, "shared/s2", revision("s2", "s1"))
    assert ehg(tmp_path, "upgrade", "--yes", **variables).code == 0
    said = ehg(tmp_path, "rollback", run, "--yes", "--json", **variables)
    assert said.code == 4
    assert said.json["data"]["results"][0]["problem"]["code"] == "rollback_inexact"
    assert ehg(tmp_path, "status", "--json", **variables).json["data"][0]["heads"] == ["s2"]
