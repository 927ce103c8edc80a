"""Findings as SARIF 2.1.0, which code hosts show beside the lines of a change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata
from typing import Any
from urllib.parse import quote

from ehg_migrate.json_form import dumps
from ehg_migrate.model import Finding
from ehg_migrate.redaction import safe
from ehg_migrate.revisions.rules import EFFECT_RULE, RULES, anchor, page_command

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Sequence[Finding]) -> str:
    """One run of one tool, as JSON. Paths are relative to the project; what is allowed is a suppression."""
    names = list(dict.fromkeys(f.rule for f in findings))
    driver = {
        "name": "ehg-migrate",
        "semanticVersion": metadata.version("ehg_migrate"),
        "rules": [_rule(name, next(f for f in findings if f.rule == name)) for name in names],
    }
    results = [_result(f, names.index(f.rule)) for f in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(name: str, example: Finding) -> dict[str, Any]:
    known = RULES.get(name.removeprefix(EFFECT_RULE)) if name.startswith(EFFECT_RULE) else None
    message = known.message if known else safe(example.message)
    level = known.level if known else example.level
    page = f"{known.hint if known else safe(example.hint)} (`{page_command(anchor(name))}`)"
    return {
        "id": name,
        "shortDescription": {"text": message},
        "help": {"text": page},
        "defaultConfiguration": {"level": level.value},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    uri = quote(finding.path or "versions", errors="surrogateescape")
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}}}
    if finding.line:
        place["physicalLocation"]["region"] = {"startLine": finding.line}
    if finding.identity:
        place["logicalLocations"] = [{"fullyQualifiedName": safe(finding.identity)}]
    hint = f" Hint: {finding.hint}" if finding.hint else ""
    result = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.level.value,
        "message": {"text": safe(f"{finding.message}.{hint}")},
        "locations": [place],
        "partialFingerprints": {"ehgMigrate/v1": _fingerprint(finding)},
        "properties": {"revision": finding.revision, "targets": list(finding.targets)},
    }
    if finding.allowed:
        kind = "external" if finding.allowed.startswith("by --allow") else "inSource"
        result["suppressions"] = [{"kind": kind, "justification": safe(finding.allowed)}]
    return result


def _fingerprint(finding: Finding) -> str:
    """The same for the same finding in the next run, whatever the sizes are then."""
    parts = (finding.rule, finding.path, finding.revision, finding.identity, *finding.targets)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
