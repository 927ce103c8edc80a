"""JUnit and Markdown: right for readers of either, whatever stands in the texts; and the doctor's findings."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate.database.doctor import Finding, Level
from ehg_migrate.errors import Problem
from ehg_migrate.model import Status
from ehg_migrate.report.doctor import doctor_lines
from ehg_migrate.report.junit import junit
from ehg_migrate.report.markdown import markdown
from tests.unit.report.nouns import HOSTILE, failed, result, run

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


def test_the_doctor() -> None:
    """A block for each target; hints where something is to be done; who is well, in a sum."""
    findings = [
        Finding("a", "tcp", Level.OK, "answers", "not shown"),
        Finding("a", "locks", Level.WARNING, "a long one", "end it"),
        Finding("b", "tcp", Level.ERROR, "refused", "start it"),
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
        "                              hint: start it",
        "  skipped  login              not looked at",
        "c",
        "  ok       tcp                answers",
        "",
        "1 warned (a), 1 ill (b), 1 well (c)",
    ]
