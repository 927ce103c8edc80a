"""Release points: `versions/releases.yaml` gives a name to the heads that each branch had at a release."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.fleet.problems import Refused, Report, clip, describe
from ehg_migrate.revisions.specs import Releases
from ehg_migrate.settings import Settings

FILE = "releases.yaml"
_PLACE = f"versions/{FILE}"
_HINT = "correct it; `ehg-migrate release NAME` writes it"


def read_releases(settings: Settings) -> Releases:
    """All release points of the project; none where the file does not exist. Raises ConfigurationError."""
    path = settings.versions / FILE
    if not os.path.lexists(path):
        return {}
    from ehg_migrate.fleet.yamlfile import read_yaml

    report = Report()
    data = read_yaml(path, _PLACE, report)
    if not len(report):
        return _points(data, report)
    if [p.code for p in report] == ["empty_file"]:
        return {}
    # of the file as a whole the hint says what a target file should be
    raise ConfigurationError(p if p.where != _PLACE else replace(p, hint=_HINT) for p in report)


def _points(data: Any, report: Report) -> Releases:
    points: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, heads in _mapping(data, report, _PLACE).items():
        where = f"{_PLACE}: {clip(name)}"
        points[name] = {b: _ids(ids, report, f"{where}.{clip(b)}") for b, ids in _mapping(heads, report, where).items()}
    report.raise_if_any()
    return points


def _mapping(value: Any, report: Report, where: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    report.add("releases", f"expected `name: {{branch: [revision, ...]}}`, found {describe(value)}", _HINT, where)
    return {}


def _ids(value: Any, report: Report, where: str) -> tuple[str, ...]:
    ids = [value] if isinstance(value, str) else value
    if isinstance(ids, list) and all(isinstance(i, str) for i in ids):
        return tuple(ids)
    report.add("releases", f"expected a list of revisions, found {describe(value)}", _HINT, where)
    return ()


def write_release(settings: Settings, name: str, heads: dict[str, tuple[str, ...]]) -> None:
    """Adds one release point. Raises ConfigurationError where the name is taken or none, or it cannot be written."""
    import yaml

    from ehg_migrate.files import write_whole
    from ehg_migrate.fleet.values import word

    try:
        word(name)
    except Refused as refused:
        raise ConfigurationError(Problem(refused.code, refused.message, "choose another name")) from None
    releases = {n: {b: list(ids) for b, ids in point.items()} for n, point in read_releases(settings).items()}
    if name in releases:
        raise ConfigurationError(
            Problem("release_taken", f"release point `{name}` exists already", "choose another name")
        )
    releases[name] = {b: list(ids) for b, ids in heads.items()}
    path = settings.versions / FILE
    try:
        write_whole(path, yaml.safe_dump(releases, sort_keys=False, allow_unicode=True), mode=0o666)
    except OSError as e:
        problem = Problem(
            "unwritable", f"the file cannot be written: {e.strerror}", "let this user write there", _PLACE
        )
        raise ConfigurationError(problem) from e
