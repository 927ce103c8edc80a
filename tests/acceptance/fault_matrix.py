"""Every command under every fault, and the page of documentation that they make."""

from __future__ import annotations

import itertools
import re
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from os import killpg
from pathlib import Path
from socket import gethostname

from psycopg import sql

from ehg_migrate.database.session import lock_key
from ehg_migrate.project import Project
from tests.acceptance.fault_lab import ACME, READER, Cell, Fault, Laboratory
from tests.faults.proxy import Act, Link, Rule
from tests.support.cli import normalised
from tests.support.programs import wait_until

COMMANDS: dict[str, str] = {
    "targets": "targets",
    "lint": "lint",
    "status": "status",
    "plan": "plan",
    "doctor": "doctor",
    "history": "history acme",
    "locks": "locks",
    "runs": "runs",
    "show": "show {failed}",
    "upgrade": "upgrade --yes",
    "downgrade": "downgrade acme --to a1 --to shared@base --yes",
    "rollback": "rollback {first} --yes",
    "resume": "resume {failed} --yes",
    "retry": "retry {failed} --yes",
    "adopt": "adopt acme --yes",
    "locks break": "locks break acme --yes",
    "revision": "revision -m new",
    "release": "release r1",
}
GOALS: dict[str, tuple[str, ...]] = {
    "upgrade": ("a1", "s3"),
    "resume": ("a1", "s3"),
    "retry": ("a1", "s3"),
    "downgrade": ("a1",),
    "rollback": (),
    "adopt": ("s1",),
}
"""What `acme` holds where a command has done its work; before, it holds a1 and s1, and for `adopt` nothing of ours."""

OFFLINE = ("targets", "lint", "runs", "show", "revision", "release")
"""Commands that connect to no target."""


def _nothing(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    pass


def _server_down(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    lab.readdress(cell, replace(cell.acme, port=lab.nobody))


def _name_unknown(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    lab.readdress(cell, replace(cell.acme, host="nowhere.invalid"), allow_host=True)


def _wrong_password(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    cell.variables[ACME] = "not-this-one"


def _missing_secret(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    cell.variables[ACME] = None


def _transaction_pooler(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    lab.readdress(cell, lab.bouncer.address(cell.acme.dbname))


def _locked(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    """By a runner of another machine, whose lease nobody has."""
    holder = stack.enter_context(lab.pg.connect(cell.acme.dbname, application_name="ehg_migrate elsewhere"))
    (target,) = Project.load(cell.folder).targets(["acme"])
    holder.execute("SELECT pg_advisory_lock(%s)", (lock_key(target),))


def _table_locked(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    """Somebody's open transaction has the version table."""
    holder = stack.enter_context(lab.pg.connect(cell.acme.dbname, autocommit=False, application_name="psql"))
    table = "public.alembic_version" if cell.command == "adopt" else "ehg_migrate.alembic_version"
    holder.execute(f"LOCK TABLE {table}".encode())


# what a command says to a target that is worth a fault: a step's own statement, else the first question
_STEP = r"(?i)^(CREATE|DROP) TABLE s\d"
_BETA = {"upgrade": ("s3",), "resume": ("s3",), "retry": ("s3",), "rollback": ()}  # what beta holds in the end
_MOMENTS = dict.fromkeys(("upgrade", "downgrade", "rollback", "resume", "retry"), _STEP)


def _through(lab: Laboratory, cell: Cell, rule: Rule) -> None:
    lab.readdress(cell, replace(cell.acme, port=lab.proxy.port, host=lab.proxy.host))
    rule.match, rule.database = _MOMENTS.get(cell.command, r"(?i)^\s*(SELECT|LISTEN|WITH|SHOW)"), cell.acme.dbname
    cell.rule = rule


def _cut_once(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    _through(lab, cell, Rule(Act.CUT))


def _cut_always(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    _through(lab, cell, Rule(Act.CUT, per_connection=True, times=99))


def _ctrl_c(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    def press(link: Link) -> None:
        if cell.command in _BETA:  # or it would be chance how far the other one comes
            wait_until(lambda: lab.heads(cell.beta) == _BETA[cell.command], "beta is not done", 60)
        killpg(cell.process.pid, signal.SIGINT)
        if cell.command in _MOMENTS:  # the step goes on when it is known that nothing shall come after it
            wait_until(lambda: "stopping" in cell.process.said.read_text(), "nobody stops", 60)

    _through(lab, cell, Rule(Act.CALL, call=press))


def _ledger(cell: Cell) -> Path:
    return cell.folder / ".ehg" / "ledger.sqlite"


def _ledger_absent(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    _ledger(cell).unlink()


def _ledger_corrupt(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    _ledger(cell).write_bytes(b"no database at all" * 1000)


def _ledger_full(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    """What SQLite says of a full disk: a mode or a quota does not keep root from writing."""
    with sqlite3.connect(_ledger(cell)) as ledger:
        for table, act in itertools.product(("runs", "results"), ("INSERT", "UPDATE")):
            body = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            ledger.execute(f"CREATE TRIGGER full_{table}_{act} BEFORE {act} ON {table} {body}")


def _bad_yaml(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    (cell.folder / "targets" / "t.yaml").write_text("targets: {acme: [\n")


def _read_only(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    with lab.pg.admin() as c:
        database = sql.Identifier(cell.acme.dbname)
        c.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))


def _no_privilege(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    lab.readdress(cell, replace(cell.acme, user=READER))


def _file_missing(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    """Of a revision that acme holds."""
    (cell.folder / "versions" / "acme" / "a1.py").unlink()


def _parent_missing(lab: Laboratory, cell: Cell, stack: ExitStack) -> None:
    (cell.folder / "versions" / "shared" / "s2.py").unlink()


FAULTS: dict[str, Fault] = {
    "nothing": _nothing,
    "server down": _server_down,
    "name unknown": _name_unknown,
    "wrong password": _wrong_password,
    "secret missing": _missing_secret,
    "transaction pooler": _transaction_pooler,
    "locked by another runner": _locked,
    "version table locked": _table_locked,
    "connection cut once": _cut_once,
    "connection cut every time": _cut_always,
    "Ctrl-C": _ctrl_c,
    "ledger absent": _ledger_absent,
    "ledger corrupt": _ledger_corrupt,
    "ledger on a full disk": _ledger_full,
    "bad YAML": _bad_yaml,
    "database read-only": _read_only,
    "no privilege": _no_privilege,
    "file of an applied revision missing": _file_missing,
    "file of a parent missing": _parent_missing,
}
OF_FILES = ("nothing", "secret missing", "ledger", "bad YAML", "file")
"""How the names of faults begin that befall a command which connects to no target, too."""


def cells() -> list[tuple[str, str]]:
    """(command, fault) of every cell."""
    return [(c, f) for f in FAULTS for c in COMMANDS if c not in OFFLINE or f.startswith(OF_FILES)]


def last_line(lab: Laboratory, said: str) -> str:
    """The last line of what was said, with words in place of what differs from time to time."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = normalised(lines[-1] if lines else "")
    for pattern, word in (
        (rf"\b({lab.pg.port}|{lab.proxy.port}|{lab.bouncer.port}|{lab.nobody})\b", "PORT"),
        (r"\bfault_matrix_\d+\b", "DATABASE"),
        (re.escape(str(lab.folder)) + r"/\w+", "PROJECT"),
        (r"\bbackends? \d+(, \d+)*", "backend PID"),
        (r"\b(pid|process) \d+", r"\1 PID"),
        (r"\b\d+\.\d\d\b", "SECONDS"),
        (r"\b[0-9a-f]{12}_", "REVISION_"),
        (rf"@{re.escape(gethostname())}\b", "@HOST"),
        (r"  +", "  "),
    ):
        text = re.sub(pattern, word, text)
    return text


def page(found: Mapping[tuple[str, str], tuple[int, str]]) -> str:
    """The matrix as Markdown: for each fault the commands that end alike in one row."""
    parts = [_INTRODUCTION]
    for fault in FAULTS:
        rows: dict[tuple[int, str], list[str]] = {}
        for command in COMMANDS:
            if (command, fault) in found:
                rows.setdefault(found[command, fault], []).append(command)
        parts.append(f"\n## {fault[0].upper()}{fault[1:]}\n\n| command | exit | last line |\n|---|---|---|\n")
        parts += [f"| {', '.join(names)} | {code} | {_cell(line)} |\n" for (code, line), names in rows.items()]
    return "".join(parts)


def _cell(line: str) -> str:
    return "" if not line else "`` " + line.replace("|", "\\|") + " ``"


_INTRODUCTION = """\
# Every command under every fault

Two targets, `acme` and `beta`; both hold `s1`, and a run that wanted `s2` and `s3` has failed before. The fault befalls
`acme` alone, or the project. For each command stands its exit code and the last line that it printed. A test makes this
page and compares it with what is here.
"""
