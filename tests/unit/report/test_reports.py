"""JUnit, Markdown and HTML: right for readers of either, whatever stands in the texts; and the doctor's findings."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate.database.doctor import Finding, Level
from ehg_migrate.errors import Problem
from ehg_migrate.model import RunStatus, State, StateKind, Status
from ehg_migrate.redaction import register
from ehg_migrate.report.doctor import doctor_lines
from ehg_migrate.report.html import fleet_page, run_page
from ehg_migrate.report.junit import junit
from ehg_migrate.report.markdown import markdown
from tests.unit.report.nouns import HOSTILE, NOON, done, failed, result, run, unreachable

ANY = st.text(st.characters(), max_size=40) | st.just(HOSTILE)
BAD = [s for s in Status if not s.good]


def parsed(document: str) -> ET.Element:
    """The document as a reader of files sees it."""
    return ET.fromstring(document.encode("utf-8"))  # noqa: S314 - our own text


def test_junit() -> None:
    """Counts, one case a target, status, message and hint of what failed, what was skipped."""
    skipped = result("c", Status.SKIPPED, notes=(Problem("x", "not concerned"),))
    suite = parsed(junit(run(result("a"), failed("b"), skipped)))
    assert {k: suite.get(k) for k in ("name", "tests", "failures", "errors", "skipped", "time")} == {
        "name": "ehg-migrate upgrade", "tests": "3", "failures": "1", "errors": "0", "skipped": "1", "time": "1.500",
    }  # fmt: skip
    assert [(c.get("classname"), c.get("name"), [e.tag for e in c]) for c in suite] == [
        ("ehg-migrate.upgrade", "a", []),
        ("ehg-migrate.upgrade", "b", ["failure"]),
        ("ehg-migrate.upgrade", "c", ["skipped"]),
    ]
    failure = suite[1][0]
    assert (failure.get("type"), failure.get("message")) == ("failed", "it broke")
    assert "    hint: mend it\n" in (failure.text or "")


@pytest.mark.parametrize("status", BAD)
def test_whatever_is_not_good_is_a_failure(status: Status) -> None:
    """A pipeline must not be green over a target that was not reached, with or without a problem."""
    suite = parsed(junit(run(result("a", status))))
    assert suite.get("failures") == "1"
    assert suite[0][0].get("message") == status.value


@given(ANY, ANY)
def test_junit_of_any_text_is_xml(message: str, output: str) -> None:
    """It parses, and holds no control character but tabs and line breaks."""
    document = junit(run(failed("a", message, output=output)))
    failure = parsed(document)[0][0]
    assert failure.get("type") == "failed"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", document)


def test_junit_says_its_own_encoding() -> None:
    """Not that of the machine on which it was written."""
    assert junit(run()).startswith("<?xml version='1.0' encoding='utf-8'?>\n")


def test_a_step_summary_of_a_large_fleet() -> None:
    """GitHub takes no summary above 1 MiB: what is not good comes first, and the rest is counted."""
    good = [result(f"good{i}", output="x") for i in range(9000)]
    page = markdown(run(*good, *(failed(f"bad{i}", "ß" * 500) for i in range(300)), failed("last", "x" * 400_000)))
    lines = page.splitlines()
    assert len(page.encode()) < 1024 * 1024
    assert [line.split(" ")[1] for line in lines[4:305]] == [*(f"bad{i}" for i in range(300)), "last"]
    shown = sum(line.startswith("| good") for line in lines)
    told = f"{9000 - shown} more targets have no room here: `ehg-migrate show 20260131-120000-abcd` has them all."
    assert lines[-4:-1] == ["", told, ""]
    assert lines[-1].startswith("run 20260131-120000-abcd: ")


def test_markdown() -> None:
    """A heading, a table with a row a target, the sum."""
    assert markdown(run(result("a", heads_after=("r1",)), failed("b"))).splitlines() == [
        "### ehg-migrate upgrade `20260131-120000-abcd`: failed",
        "",
        "| target | status | heads before | heads after | steps | seconds | problem |",
        "|---|---|---|---|---|---|---|",
        "| a | succeeded | - | r1 | 0 | 0.50 |  |",
        "| b | failed | - | - | 0 | 0.50 | it broke *hint:* mend it |",
        "",
        "run 20260131-120000-abcd: 1 succeeded (a), 1 failed (b)",
    ]


@given(ANY)
def test_no_text_leaves_its_cell(message: str) -> None:
    """The row has seven cells and is one line; no tag and no link of others can be in it."""
    lines = markdown(run(failed("a", message))).splitlines()
    assert len(lines) == 7
    row = re.sub(r"\\.", "", lines[4])
    assert row.count("|") == 8
    assert not set(row) & set("<>[]")


class Reader(HTMLParser):
    """What a browser sees of a page: its elements in order, and the text of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """A new element, without text yet."""
        self.seen.append((tag, ""))

    def handle_data(self, data: str) -> None:
        """More text of the newest one."""
        if self.seen:
            tag, text = self.seen[-1]
            self.seen[-1] = tag, text + data

    def texts(self, *tags: str) -> list[str]:
        """Of the elements of these kinds."""
        return [text.strip() for tag, text in self.seen if tag in tags]


def test_the_page_of_a_run() -> None:
    """What went wrong stands first and open, with its hint; what was done is there to be unfolded."""
    steps = (done("r2"), done("r3"))
    good = result("a", heads_before=("r1",), heads_after=("r3",), steps=steps, notes=(Problem("n", "look at it"),))
    left = result("c", Status.NOT_ATTEMPTED, not_done=("r2",))
    page = Reader(run_page(run(good, failed("b", output="printed"), left, notes=(Problem("x", "no ledger"),))))
    assert page.texts("h1", "span")[:2] == ["ehg-migrate upgrade 20260131-120000-abcd:", "failed"]
    assert page.texts("th")[6:] == ["b", "c", "a"]
    assert page.texts("p")[:3] == [
        "no ledger", "it broke (SQLSTATE 42P07)\n  at versions/a.py:3\n  hint: mend it", "look at it",
    ]  # fmt: skip
    assert list(zip(page.texts("summary"), page.texts("pre"), strict=True)) == [
        ("what its revisions printed (the end)", "printed"),
        ("1 step not done", "r2"),
        ("2 steps done", "up    r2  (shared)  0.25 s\nup    r3  (shared)  0.25 s"),
    ]
    assert page.texts("p")[-1] == "run 20260131-120000-abcd: 1 succeeded (a), 1 failed (b), 1 not_attempted (c)"


def test_the_page_of_a_run_without_all_results_is_not_good() -> None:
    """A target of which nothing was heard is none that is well."""
    assert '<span class="good">running' in run_page(replace(run(result("a")), status=RunStatus.RUNNING))
    assert '<span class="bad">running' in run_page(
        replace(run(result("a")), status=RunStatus.RUNNING, targets=("a", "b"))
    )


def test_the_page_of_a_fleet() -> None:
    """The same of states: who could not be asked, and why, before all others."""
    states = [State("a", StateKind.PENDING, ("r1",), ("r2", "r3"), server_version="15.3"), unreachable("b")]
    page = Reader(fleet_page(states, NOON))
    assert page.texts("span")[0] == "1 pending (a), 1 unreachable (b)"
    assert page.texts("dd") == ["2026-01-31 12:00:00Z", "2"]
    assert page.texts("th")[5:] == ["b", "a"]
    assert page.texts("td")[-5:] == ["", "r1", "2", "15.3", ""]
    assert (page.texts("p")[0], page.texts("pre")) == ("connection refused\n  hint: start it", ["r2\nr3"])


@given(ANY, ANY)
def test_no_text_becomes_markup_of_the_page(message: str, output: str) -> None:
    """The elements are those of a page with plain words; no secret and no control character is in it."""
    register("never:shown:7")
    page = run_page(run(failed("a", message + "never:shown:7", output=f"x{output}")))
    plain = Reader(run_page(run(failed("a", "m", output="x"))))
    assert [tag for tag, _ in Reader(page).seen] == [tag for tag, _ in plain.seen]
    assert "never:shown:7" not in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)


def test_the_doctor() -> None:
    """A block for each target; hints where something is to be done, with its name; who is well, in a sum."""
    findings = [
        Finding("a", "tcp", Level.OK, "answers", "not shown"),
        Finding("a", "locks", Level.WARNING, "a long one", "end it"),
        Finding("b", "tcp", Level.ERROR, "refused", "start it: `ehg-migrate adopt TARGET`"),
        Finding("b", "login", Level.SKIPPED, "not looked at"),
        Finding("c", "tcp", Level.OK, "answers"),
    ]
    assert list(doctor_lines(findings)) == [
        "a",
        "  ok       tcp                answers",
        "  warning  locks              a long one",
        "                              hint: end it",
        "b",
        "  ERROR    tcp                refused",
        "                              hint: start it: `ehg-migrate adopt b`",
        "  skipped  login              not looked at",
        "c",
        "  ok       tcp                answers",
        "",
        "1 warned (a), 1 ill (b), 1 well (c)",
    ]


def test_the_doctor_of_a_large_fleet() -> None:
    """What is not well, once for all that have it, however long each took; what is well would hide it."""
    names = [f"t{n}" for n in range(9)]
    findings = [
        *(Finding(name, "tcp", Level.OK, "answers") for name in names),
        *(Finding(name, "privileges", Level.WARNING, "a superuser", "use another", n) for n, name in enumerate("uv")),
        Finding("w", "tcp", Level.ERROR, "refused", "start it"),
    ]
    assert list(doctor_lines(findings)) == [
        "u, v",
        "  warning  privileges         a superuser",
        "                              hint: use another",
        "w",
        "  ERROR    tcp                refused",
        "                              hint: start it",
        "",
        "what is in order on 12 targets is not shown; of one or a few it is: `ehg-migrate doctor -t NAME`",
        "",
        "9 well (t0, t1, t2, t3, t4, t5, t6, t7 and 1 more), 2 warned (u, v), 1 ill (w)",
    ]
    assert list(doctor_lines(findings[:9]))[:1] == [
        "what is in order on 9 targets is not shown; of one or a few it is: `ehg-migrate doctor -t NAME`"
    ]
