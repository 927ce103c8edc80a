"""The pipelines in docs/pipelines: valid by their systems' own schemas, and their command does what they promise."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import yaml

from ehg_migrate.fleet.private import read_private
from ehg_migrate.model import Address
from tests.conftest import MakeProject
from tests.support.cli import SCRIPTS, ehg
from tests.support.postgres import Cluster
from tests.support.programs import run
from tests.support.project import revision, target_entry

PIPELINES = Path(__file__).parents[2] / "docs" / "pipelines"


def test_github() -> None:
    """The matrix is a workflow."""
    run([SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", PIPELINES / "github-matrix.yml"])


def test_github_secrets(tmp_path: Path) -> None:
    """What a step of the workflow writes the passwords into is a file that `--env-file` takes."""
    steps = yaml.safe_load((PIPELINES / "github-matrix.yml").read_text())["jobs"]["migrate"]["steps"]
    (write,) = (step["run"] for step in steps if "> .env" in step.get("run", ""))
    argv = ["sh", "-ec", f"umask 022; cd {shlex.quote(str(tmp_path))}; {write}"]
    run(argv, env={**os.environ, "FLEET_PASSWORDS": "EHG_T='a'\n"})
    assert read_private(tmp_path / ".env", ".env") == "EHG_T='a'\n"


def test_kubernetes() -> None:
    """The manifest is a Job, and has no field that Kubernetes does not know."""
    run([SCRIPTS / "kubernetes-validate", "--strict", PIPELINES / "kubernetes-job.yaml"])


def test_kubernetes_has_room_for_what_is_written() -> None:
    """Its root is read only; what `output_folder` and rehearsals write to is mounted, and this user's by its group."""
    pod = yaml.safe_load((PIPELINES / "kubernetes-job.yaml").read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    assert mounts.keys() == {"/tmp", f"{container['workingDir']}/.ehg"}
    assert {v["name"] for v in pod["volumes"] if "emptyDir" in v} == set(mounts.values())
    assert pod["securityContext"]["fsGroup"]


def test_signals_reach_the_command() -> None:
    """A shell before it has made way: a system tells the first process only."""
    github = yaml.safe_load((PIPELINES / "github-matrix.yml").read_text())["jobs"]["migrate"]["steps"]
    pod = yaml.safe_load((PIPELINES / "kubernetes-job.yaml").read_text())["spec"]["template"]["spec"]
    lines = [step["run"] for step in github if "ehg-migrate" in step.get("run", "")]
    lines += pod["containers"][0]["args"]
    assert [line.split()[:2] for line in lines] == [["exec", "ehg-migrate"]] * 2


def test_shards(
    pg: Cluster, make_database: Callable[[str], Address], make_project: MakeProject, tmp_path: Path
) -> None:
    """The jobs of a pipeline share a fleet and a PostgreSQL ledger: each target once, and `runs` has them together."""
    entries = {f"t{n}": target_entry(make_database(f"t{n}")) for n in range(3)}
    ledger = make_database("ledger")
    url = f"postgresql://{ledger.user}@{ledger.host}:{ledger.port}/{ledger.dbname}"
    folder = make_project(
        tmp_path / "project",
        entries,
        {"shared/one": revision("one", up="CREATE TABLE one (n int)", label="shared")},
        settings={"ledger": url, "ledger_password": "env:LEDGER"},
    )
    variables = {"EHG_ROLLOUT": "build-7", "LEDGER": pg.password}
    ends = [ehg(folder, "upgrade", "--yes", "--json", "--shard", f"{i}/4", **variables) for i in (1, 2, 3, 4)]
    assert [said.code for said in ends] == [0, 0, 0, 0], [said.err for said in ends]
    done = [[r["target"] for r in json.loads(said.out)["data"]["results"]] for said in ends]
    assert done == [["t0"], ["t1"], ["t2"], []]
    runs = ehg(folder, "runs", "--json", **variables).json["data"]
    assert {(r["rollout"], r["selector"]) for r in runs} == {("build-7", f"shard:{i}/4") for i in (1, 2, 3, 4)}
    assert [s["kind"] for s in ehg(folder, "status", "--json", **variables).json["data"]] == ["up_to_date"] * 3
