"""What right target files become."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehg_migrate.errors import Problem
from ehg_migrate.fleet import load_fleet, neighbours
from ehg_migrate.fleet.build import Built
from ehg_migrate.fleet.neighbours import refuse_neighbours
from ehg_migrate.fleet.problems import Report
from ehg_migrate.model import Address, Limits, SecretRef, Target, Wave, meta_schema

REF = "abcdefghijklmnopqrst"
HOST = "aws-1-us-east-1.pooler.supabase.com"
ROOTS = str(Path(load_fleet.__code__.co_filename).with_name("supabase-roots.pem"))

Project = Callable[..., Path]


def _one(root: Path) -> Target:
    (target,) = load_fleet(root).targets
    return target


def _entry(project: Project, entry: str) -> Target:
    return _one(project(f"targets: {{acme: {entry}}}\n"))


POOLER = Address(HOST, 5432, f"postgres.{REF}", "postgres", "verify-full", ROOTS)
DIRECT = Address(f"db.{REF}.supabase.co", 5432, "postgres", "postgres", "verify-full", ROOTS)


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        (f"{{project_ref: {REF}, host: {HOST}}}", POOLER),
        (f"{{project_ref: {REF}, host: {HOST.upper()}.}}", POOLER),
        (
            f"{{project_ref: {REF}, host: {HOST}, user: role, database: app}}",
            Address(HOST, 5432, f"role.{REF}", "app", "verify-full", ROOTS),
        ),
        (f"{{project_ref: {REF}, host: {HOST}, user: postgres.{REF}}}", POOLER),
        (
            f"{{project_ref: {REF}, host: {HOST}, user: a.b}}",
            Address(HOST, 5432, f"a.b.{REF}", "postgres", "verify-full", ROOTS),
        ),
        (
            f"{{project_ref: {REF}, host: {HOST}, sslmode: require}}",
            Address(HOST, 5432, f"postgres.{REF}", "postgres", "require"),
        ),
        (f"{{project_ref: {REF}, host: db.{REF}.supabase.co}}", DIRECT),
        (f"{{project_ref: {REF}, host: db.{REF}.supabase.co, user: postgres.{REF}}}", DIRECT),
        (
            f"{{project_ref: {REF}, host: 127.0.0.1, port: 55432, allow_host: true, sslmode: disable}}",
            Address("127.0.0.1", 55432, f"postgres.{REF}", "postgres", "disable"),
        ),
        (f"{{url: 'postgresql://postgres.{REF}@{HOST}:5432/postgres'}}", POOLER),
        (f"{{url: 'postgresql://postgres@db.{REF}.supabase.co/postgres'}}", DIRECT),
        ("{url: 'postgresql://u@127.0.0.1:5433/db'}", Address("127.0.0.1", 5433, "u", "db", "disable")),
        ("{url: 'postgres://u@localhost/db'}", Address("localhost", 5432, "u", "db", "disable")),
        (
            "{url: 'postgresql://u@db.localhost/db'}",
            Address("db.localhost", 5432, "u", "db", "verify-full", "system"),
        ),
        ("{url: 'postgresql+psycopg://u@[::1]:5433/db'}", Address("::1", 5433, "u", "db", "disable")),
        ("{url: 'postgresql://u@/db?host=/run/Pg'}", Address("/run/Pg", 5432, "u", "db", "disable")),
        ("{url: 'postgresql://u@%2Frun%2FPg/db'}", Address("/run/Pg", 5432, "u", "db", "disable")),
        ("{url: 'postgresql://a%40b@h/d%20b'}", Address("h", 5432, "a@b", "d b", "verify-full", "system")),
        ("{url: 'postgresql://u@h:6543/db'}", Address("h", 6543, "u", "db", "verify-full", "system")),
        ("{url: 'postgresql://u@h/db?sslmode=require'}", Address("h", 5432, "u", "db", "require")),
        ("{url: 'postgresql://u@h/db', sslmode: disable, allow_host: true}", Address("h", 5432, "u", "db", "disable")),
        (
            "{url: 'postgresql://u@h/db', sslrootcert: system}",
            Address("h", 5432, "u", "db", "verify-full", "system"),
        ),
    ],
)
def test_address(entry: str, address: Address, project: Project) -> None:
    """The address is exactly this: host in lower case, the pooler's user with its project, TLS unless local."""
    assert _entry(project, entry).address == address


def test_paths_start_at_the_project(project: Project) -> None:
    """`sslrootcert` and `passfile` are made absolute from the project's folder; `~` is the home folder."""
    root = project("targets: {a: {url: 'postgresql://u@h/a', sslrootcert: certs/ca.crt, passfile: ~/pg}}\n")
    (root / "certs").mkdir()
    (root / "certs" / "ca.crt").write_text("x")
    address = _one(root).address
    assert (address.sslrootcert, address.passfile) == (str(root / "certs/ca.crt"), os.path.expanduser("~/pg"))  # noqa: PTH111


def test_url_options(project: Project) -> None:
    """A URL's passfile, certificate and connect_timeout reach the target, before the default ones and password."""
    root = project(
        "defaults: {password: env:X, connect_timeout: 1}\n"
        "targets: {a: {url: 'postgresql://u@h/a?passfile=pg&sslrootcert=ca.crt&connect_timeout=7'}}\n"
    )
    (root / "ca.crt").write_text("x")
    target = _one(root)
    assert target.address.passfile == str(root / "pg")
    assert target.address.sslrootcert == str(root / "ca.crt")
    assert (target.limits.connect, target.password) == (7.0, None)


def test_thousands_of_schemas_of_one_database(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be held against all before it: half a minute of pairs."""
    one = _one(project("targets: {acme: {url: 'postgresql://u@h/a', schema: s, password: env:X}}\n"))
    names = [f"s{number}" for number in range(3000)]
    many = [Built(replace(one, name=n, schema=n, version_table_schema=n), ("h", "a")) for n in names]
    report, pairs = Report(), list[str]()
    refused = neighbours._refused
    monkeypatch.setattr(neighbours, "_refused", lambda one, *more: pairs.append(one.name) or refused(one, *more))
    refuse_neighbours([*many, Built(replace(one, schema="s7", name="late"), ("h", "a"))], report)
    assert pairs == ["late"]
    assert [p.message[:36] for p in report] == ["`late` and `s7` are the same schema:"]


def test_the_same_database_is_known_by_any_name(project: Project) -> None:
    """By either host of a Supabase project, by any role; not another schema, database or version table."""
    entry = "{project_ref: abcdefghijklmnopqrst, host: %s, password: env:P}"
    root = project(f"targets: {{acme: {entry % 'aws-1-us-east-1.pooler.supabase.com'}}}\n")

    def identity(entry: str) -> str:
        (root / "targets" / "x.yaml").write_text(f"targets: {{acme: {entry}}}\n")
        return _one(root).identity

    supabase = _one(root).identity
    assert identity(entry % "db.abcdefghijklmnopqrst.supabase.co") == supabase
    mine = identity("{url: 'postgresql://me@127.0.0.1/acme', password: env:P}")
    assert identity("{url: 'postgresql://you@localhost/acme', password: env:P}") == mine
    other = identity("{url: 'postgresql://me@127.0.0.1/bolt', password: env:P}")
    part = identity("{url: 'postgresql://me@127.0.0.1/acme', schema: one, password: env:P}")
    theirs = identity("{url: 'postgresql://me@127.0.0.1/acme', alembic: {version_table: history}, password: env:P}")
    assert len({supabase, mine, other, part, theirs}) == 5
    assert {len(i) for i in (supabase, mine, other, part, theirs)} == {16}


def test_everything_with_defaults(project: Project) -> None:
    """Lists are added to those of the defaults, `x` and `alembic` merged, all else replaced."""
    root = project(
        """
defaults:
  user: migrator
  env: production
  tags: [all-of-us, internal]
  branches: [crm]
  password: env:GENERAL
  lock_timeout: 500ms
  statement_timeout: 2h
  x: {region: eu, debug: false}
  alembic: {compare_type: true, version_table: history}
targets:
  acme:
    url: postgresql://127.0.0.1/acme
    passfile: pgpass
    purpose: |
      two
      lines
    tags: [internal, canary]
    branches: [erp]
    lock_timeout: 0
    queue_timeout: 1.5
    deadline: 15min
    retries: 0
    upgrade_to: [shared@head, acme@head]
    x: {debug: true, count: 3}
    alembic: {version_table_schema: public}
"""
    )
    found = _one(root)
    assert found == Target(
        name="acme",
        identity=found.identity,  # what it is made of is another test's
        address=Address("127.0.0.1", 5432, "migrator", "acme", "disable", passfile=str(root / "pgpass")),
        branches=("shared", "crm", "erp", "acme"),
        env="production",
        tags=("all-of-us", "internal", "canary"),
        purpose="two lines",
        limits=Limits(lock=0.0, statement=7200.0, queue=1.5, deadline=900.0, retries=0),
        upgrade_to=("shared@head", "acme@head"),
        x={"region": "eu", "debug": "true", "count": "3"},
        alembic={"compare_type": True},
        version_table_schema="public",
        version_table="history",
        source="targets/x.yaml: targets.acme",
    )


@pytest.mark.parametrize(
    ("yaml_value", "reference"),
    [
        ("env:ACME_PW", SecretRef("env", ("ACME_PW",))),
        ("file:/run/secrets/acme", SecretRef("file", ("/run/secrets/acme",))),
        ("keyring:a/b/user", SecretRef("keyring", ("a/b/user",))),
        ('{cmd: [op, read, "op://vault/x"]}', SecretRef("cmd", ("op", "read", "op://vault/x"))),
        ("""'cmd:["op", "read"]'""", SecretRef("cmd", ("op", "read"))),
        ('cmd:["op", "read"]', SecretRef("cmd", ("op", "read"))),  # as the hint has it
    ],
)
def test_references(yaml_value: str, reference: SecretRef, project: Project) -> None:
    """Each form of a reference is read, and nothing behind it is looked at."""
    entry = f"  acme:\n    url: postgresql://u@127.0.0.1/a\n    password: {yaml_value}\n"
    assert _one(project(f"targets:\n{entry}")).password == reference


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("5", 5.0), ("0.25", 0.25), ("500ms", 0.5), ("5s", 5.0), ("'1.5 min'", 90.0), ("2h", 7200.0), ("1d", 86400.0)],
)
def test_durations(written: str, seconds: float, project: Project) -> None:
    """A duration is a number of seconds, or a number with a unit."""
    entry = f"{{url: 'postgresql://u@127.0.0.1/a', lock_timeout: {written}}}"
    assert _entry(project, entry).limits.lock == seconds


def test_many_files_in_order(project: Project) -> None:
    """Targets come in the order of the sorted files and of their entries; defaults hold for all files."""
    root = project(
        b="targets: {z: {url: 'postgresql://u@127.0.0.1/z'}, a: {url: 'postgresql://u@127.0.0.1/a'}}\n",
        c="defaults: {env: staging}\n",
        a="targets: {m: {url: 'postgresql://u@127.0.0.1/m'}}\n",
    )
    (root / "targets" / "d.yml").write_text("targets: {d: {url: 'postgresql://u@127.0.0.1/d'}}\n")
    fleet = load_fleet(root)
    assert [t.name for t in fleet.targets] == ["m", "z", "a", "d"]
    assert {t.env for t in fleet.targets} == {"staging"}
    assert fleet.by_name["a"] is fleet.targets[2]
    assert fleet.targets[3].source == "targets/d.yml: targets.d"


def test_anchors_and_merge_keys(project: Project) -> None:
    """Aliases and `<<` of ordinary size work as in any YAML."""
    root = project(
        "targets:\n"
        "  a: &a {url: 'postgresql://u@127.0.0.1/a', tags: &t [x]}\n"
        "  b: {<<: *a, url: 'postgresql://u@127.0.0.1/b', tags: *t}\n"
    )
    assert [t.tags for t in load_fleet(root).targets] == [("x",), ("x",)]


@pytest.mark.parametrize(
    "entries",
    [
        "a: {url: 'postgresql://u@h/db'}, b: {url: 'postgresql://u@h/DB'}",
        "a: {url: 'postgresql://u@h/db'}, b: {url: 'postgresql://u@h:5433/db'}",
        "a: {url: 'postgresql://u@127.0.0.2/db'}, b: {url: 'postgresql://u@127.0.0.3/db'}",
        f"a: {{project_ref: {REF}, host: {HOST}}}, b: {{project_ref: {REF[::-1]}, host: {HOST}}}",
        f"a: {{project_ref: {REF}, host: {HOST}}}, b: {{project_ref: {REF}, host: {HOST}, database: other}}",
    ],
)
def test_different_databases(entries: str, project: Project) -> None:
    """Another port, database or Supabase project is another database, also on the same host; so may tunnels be."""
    assert len(load_fleet(project(f"targets: {{{entries}}}\n")).targets) == 2


def test_linked_branch_inside(project: Project) -> None:
    """A branch folder may be a link to another place within versions/."""
    root = project("targets: {a: {url: 'postgresql://u@127.0.0.1/a', branches: [alias]}}\n")
    (root / "versions" / "alias").symlink_to("crm")
    assert _one(root).branches == ("shared", "alias")


def test_nothing_is_read_but_the_files(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading neither opens a socket nor runs a program nor reads a secret's file."""
    import socket

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("used")

    monkeypatch.setattr(socket, "socket", never)
    monkeypatch.setattr(subprocess, "Popen", never)
    root = project(
        f"targets: {{a: {{project_ref: {REF}, host: {HOST}, password: {{cmd: ['false']}}}},\n"
        " b: {url: 'postgresql://u@h/b', password: file:nowhere}}\n"
    )
    assert [str(t.password) for t in load_fleet(root).targets] == ["cmd:false", "file:nowhere"]


def test_supabase_roots() -> None:
    """The bundle holds exactly Supabase's two roots, by their fingerprints, and each is a valid authority by itself."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    blocks = Path(ROOTS).read_text().split("-----BEGIN CERTIFICATE-----\n")[1:]
    prints = []
    for block in blocks:
        pem = "-----BEGIN CERTIFICATE-----\n" + block.split("-----END")[0] + "-----END CERTIFICATE-----\n"
        shown = subprocess.run(
            [openssl, "x509", "-noout", "-fingerprint", "-sha256", "-subject"],
            input=pem, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "Supabase Root 2021 CA" in shown
        subprocess.run([openssl, "verify", "-CAfile", ROOTS], input=pem, check=True, text=True, capture_output=True)
        prints.append(shown.split("=", 1)[1].split("\n")[0])
    assert prints == [
        "80:70:25:AD:50:D4:ED:21:9D:2C:9C:7D:29:9C:00:4F:82:4E:B0:0C:F7:F6:5A:FE:F6:07:D0:7B:72:E6:CA:FA",
        "5F:9B:77:95:1A:7A:A1:30:3F:9B:58:EE:A9:BF:A8:9E:35:8C:FD:C1:5F:97:86:FF:10:D4:93:0A:72:2C:9A:E2",
    ]


def test_a_schema_of_a_database(project: Project) -> None:
    """Schemas of one database stand beside each other, each with a place for its record that is a plain identifier."""
    entries = {
        "dev": "{url: 'postgresql://u@localhost/db', schema: dev, protected: true, touches: [auth, auth]}",
        "odd": "{url: 'postgresql://u@localhost/db', schema: 'Odd \"one\"'}",
        "main": "{url: 'postgresql://u@localhost/db', schema: public}",
        "whole": "{url: 'postgresql://u@localhost/other'}",
    }
    text = "defaults: {protected: false, touches: [storage]}\ntargets:\n"
    fleet = load_fleet(project(text + "".join(f"  {name}: {entry}\n" for name, entry in entries.items())))
    dev, odd, main, whole = fleet.targets
    assert (dev.schema, dev.protected, dev.touches) == ("dev", True, ("auth",))
    assert (odd.schema, odd.protected, odd.touches) == ('Odd "one"', False, ("storage",))
    assert (whole.schema, whole.touches, str(whole)) == ("", (), str(whole.address))
    assert str(main) == f"{main.address}, schema public"
    metas = [t.version_table_schema for t in fleet.targets]
    assert metas == [t.meta_schema for t in fleet.targets]
    assert metas == ["ehg_migrate_dev", "ehg_migrate_odd__one__c4586ffb9398", "ehg_migrate_public", "ehg_migrate"]


@pytest.mark.parametrize("schema", ["x" * 63, "é" * 31, "A", "a b", "a" * 41, "a" * 40])
def test_the_record_of_a_schema_has_a_plain_name(schema: str) -> None:
    """However the schema is called: no longer than PostgreSQL allows, and without need of quotes."""
    assert re.fullmatch("ehg_migrate_[a-z0-9_]{1,51}", meta_schema(schema))


def test_waves(project: Project) -> None:
    """Each target is in the first wave that names it, the others in `rest`; a wave that is left empty is none."""
    entries = "".join(
        f"  {n}: {{url: 'postgresql://u@127.0.0.1/{n}', tags: [{n[0]}]}}\n" for n in ("a1", "a2", "b1", "c1")
    )
    waves = (
        "waves:\n"
        "- {name: canary, targets: [a2, 'tag:b'], soak: 2min}\n"
        "- {name: again, targets: [a2]}\n"
        "- {name: a, targets: ['a*', '!b*']}\n"
    )
    fleet = load_fleet(project(f"targets:\n{entries}", waves=waves))
    assert fleet.waves == (Wave("canary", ("a2", "b1"), 120.0), Wave("a", ("a1",)), Wave("rest", ("c1",)))
    assert {t.name: t.wave for t in fleet.targets} == {"a1": "a", "a2": "canary", "b1": "canary", "c1": "rest"}
    assert [t.name for t in fleet.select(["wave:canary"])] == ["a2", "b1"]


def test_waves_of_two_files(project: Project, mistakes: Callable[[Path], tuple[Problem, ...]]) -> None:
    """Else the order of the files would decide."""
    waves = "waves: [{name: one, targets: [a]}]\n"
    root = project("targets: {a: {url: 'postgresql://u@127.0.0.1/a'}}\n" + waves, y=waves)
    (problem,) = mistakes(root)
    assert (problem.code, problem.where) == ("duplicate_waves", "targets/y.yaml: waves")
    assert problem.message == "waves stand in two files, also at `targets/x.yaml: waves`"


@pytest.mark.parametrize(
    ("targets", "where", "message"),
    [
        ("[]", "", "expected a list of selectors, found an empty list"),
        ("['a1,wave:*']", "[0]", "`a1,wave:*` cannot choose a wave"),
        ("[a1, 'b1, !wave:x']", "[1]", "`b1, !wave:x` cannot choose a wave"),
        ("['a*, shard:1/2']", "[0]", "`a*, shard:1/2` cannot choose a wave"),
    ],
)
def test_a_wave_says_whom_it_takes(
    project: Project, mistakes: Callable[[Path], tuple[Problem, ...]], targets: str, where: str, message: str
) -> None:
    """Else all of the fleet would be in the first one: nobody chosen is no selection, and each has no wave as yet."""
    entries = "targets:\n" + "".join(f"  {n}: {{url: 'postgresql://u@127.0.0.1/{n}'}}\n" for n in ("a1", "b1"))
    root = project(entries, waves=f"waves: [{{name: canary, targets: {targets}}}]\n")
    (problem,) = mistakes(root)
    assert (problem.where, problem.message) == (f"targets/waves.yaml: waves[0].targets{where}", message)
