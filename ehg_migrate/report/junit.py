"""A run as JUnit XML: one test case a target, so that a pipeline shows which one failed and why."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from ehg_migrate.model import Result, Run, Status
from ehg_migrate.redaction import safe
from ehg_migrate.report.text import result_lines

# what no XML document may hold, not even escaped
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: Run) -> str:
    """The whole document, for UTF-8. Cancelled targets are failures too: a pipeline must not be green over them."""
    suite = ET.Element(
        "testsuite",
        name=f"ehg-migrate {run.verb.value}",
        tests=str(len(run.results)),
        failures=str(sum(not r.status.good for r in run.results)),
        errors="0",
        skipped=str(sum(r.status is Status.SKIPPED for r in run.results)),
        time=f"{sum(r.seconds for r in run.results):.3f}",
        timestamp=run.started_at.isoformat(),
    )
    for result in run.results:
        _case(suite, run, result)
    ET.indent(suite)
    # not "unicode": that declares the encoding of this machine's locale
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document.decode() + "\n"


def _case(suite: ET.Element, run: Run, result: Result) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=f"ehg-migrate.{run.verb.value}", name=result.target, time=f"{result.seconds:.3f}"
    )
    text = _clean("\n".join(result_lines(result)))
    if not result.status.good:
        message = _clean(result.problem.message) if result.problem else result.status.value
        ET.SubElement(case, "failure", type=result.status.value, message=message).text = text
    elif result.status is Status.SKIPPED:
        ET.SubElement(case, "skipped", message=text)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", safe(text))
