"""The gate of an upgrade where targets are in more states than are rehearsed unasked: nobody is asked for nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ehg_migrate.model import Address, FleetPlan
from ehg_migrate.project import linting
from tests.acceptance.test_drift import scratch_url
from tests.support.postgres import Cluster
from tests.support.project import PASSWORD_VARIABLE
from tests.support.running import make_fleet, step
from tests.support.wire import CountingProxy

TARGETS = ("one", "two")
STEPS = {f"{name}/a": step(name[0], None, label=name) for name in TARGETS}


def test_targets_are_asked_only_where_something_can_come_of_it(
    pg: Cluster, make_database: Callable[[str], Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more goals than cases, of which none is known, no target is; where one was rehearsed before, they are."""
    monkeypatch.setenv(PASSWORD_VARIABLE, pg.password)
    monkeypatch.setenv("EHG_SCRATCH_URL", scratch_url(pg))
    monkeypatch.setattr(linting, "_CASES", 1)
    with CountingProxy(pg.host, pg.port) as proxy:
        here = {name: replace(make_database(name), host=proxy.host, port=proxy.port) for name in TARGETS}
        project = make_fleet(pg, tmp_path, here, STEPS).load()
        plan = project.plan()

        def judged(plan: FleetPlan, lint: str) -> tuple[int, list[str]]:
            proxy.reset()
            found = project.judged(plan, lint)
            return len(proxy.traffic), [n.code for n in found.notes]

        assert judged(plan, "auto") == (0, ["not_linted"])
        assert judged(plan, "always") == (2, ["linted"])
        assert judged(plan, "auto") == (2, ["linted"])
