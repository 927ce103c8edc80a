"""Servers that mean harm: terminal, JSON, JUnit and ledger stay what they are, memory and time are bounded."""

from __future__ import annotations

import re
import sqlite3
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from ehg_migrate.model import Address
from tests.support.cli import REPORTS, Said, ehg
from tests.support.hostile import (
    CLEAN,
    NASTY,
    PROBED,
    READY,
    HostileServer,
    always,
    asks_password,
    beginning,
    endlessly,
    error,
    holding,
    notice,
    probed,
    row,
    rows,
    session,
)
from tests.support.postgres import CANARY
from tests.support.project import PASSWORD_VARIABLE, revision, target_entry, write_project

MEMORY = 1 << 30  # bytes of address space; an idle worker takes a third of it
MEGABYTES = 10_000_000
LIMITS = {"connect_timeout": "15s", "answer_timeout": "15s", "deadline": "60s"}  # of one that does, on any machine
SOON = {"connect_timeout": "1s", "answer_timeout": "500ms", "deadline": "5s"}  # of a target that never answers
NEVER = ("endless notices", "silence", "silence to a query", "hangs up")


def limited(folder: Path, *arguments: str) -> Said:
    """A command that may not have more memory than MEMORY, with its password in the environment."""
    return ehg(folder, *arguments, memory=MEMORY, **{PASSWORD_VARIABLE: CANARY})


def assert_clean(said: Said) -> None:
    """Nothing that steers a terminal, no line in our name, no traceback, no end of memory, and not endless."""
    strange = {c for c in said.everything if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}
    assert strange == set()
    assert "\nerror: all is well" not in f"\n{said.everything}"
    assert "Traceback" not in said.everything
    assert "MemoryError" not in said.everything
    assert len(said.everything) < 100_000
    assert CANARY not in said.everything


_A_THOUSAND = struct.pack("!IIIII", 1, 0, 25, 1000, 1)  # the beginning of a text[] in binary

HOSTILE: dict[str, tuple[Callable[[], HostileServer], str]] = {
    # what it does -> the server, what `status` calls the target
    "10 MB of error": (lambda: HostileServer(always(error("x" * MEGABYTES) + READY)), "unreachable"),
    "10 MB of nasty error": (lambda: HostileServer(always(error(CLEAN * 200_000) + READY)), "unreachable"),
    "10 MB of error at login": (lambda: HostileServer(always(b""), login=error("x" * MEGABYTES)), "unreachable"),
    "nasty error": (lambda: HostileServer(always(error(NASTY) + READY)), "unreachable"),
    "nasty error at login": (lambda: HostileServer(always(b""), login=error(NASTY, severity="FATAL")), "unreachable"),
    "nasty severity and state": (
        lambda: HostileServer(always(error("m", "\x1b[2J", "\x1b[2J") + READY)),
        "unreachable",
    ),
    "error that is no UTF-8": (lambda: HostileServer(always(error(b"\xff\xfe\x80 no text") + READY)), "unreachable"),
    "no UTF-8 at login": (lambda: HostileServer(always(b""), login=error(b"\xff\x1b[2J\xfe")), "unreachable"),
    "nasty version": (lambda: HostileServer(holding(probed("s1", CLEAN)), version=CLEAN), "up_to_date"),
    "nasty heads": (lambda: HostileServer(holding(probed(CLEAN))), "unknown"),
    "nasty unfinished": (lambda: HostileServer(holding(probed("s1", unfinished=f"down {CLEAN}"))), "up_to_date"),
    "head of 10 MB": (lambda: HostileServer(holding(probed("h" * MEGABYTES))), "unreachable"),
    "endless notices": (lambda: HostileServer(endlessly(b"", notice("n" * 1000) * 100)), "unreachable"),
    "nasty notice": (lambda: HostileServer(holding(notice(NASTY) + probed("s1"))), "up_to_date"),
    "endless notices at login": (lambda: HostileServer(always(b""), login=notice("n" * 1000) * 50_000), "unreachable"),
    "no protocol": (lambda: HostileServer(always(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "unreachable"),
    "no protocol at login": (lambda: HostileServer(always(b""), login=b"\x16\x03\x01\x1b[2J\0\0\0"), "unreachable"),
    "a length that is none": (lambda: HostileServer(always(b"D\xff\xff\xff\xff")), "unreachable"),
    "wrong columns": (lambda: HostileServer(always(rows([("a", 25)], [[b"x"]]))), "unreachable"),
    "wrong types": (
        lambda: HostileServer(always(rows([(n, 23) for n, _ in PROBED], [[CLEAN.encode()] * len(PROBED)]))),
        "unreachable",
    ),
    "heads that are lists of lists": (
        lambda: HostileServer(
            holding(rows(PROBED, [[b"{" * 3 * MEGABYTES, None, b"{}", b"f", None, b"17.0", b"off"]]))
        ),
        "unreachable",
    ),
    "an array of more than it has": (
        lambda: HostileServer(
            always(rows(PROBED, [[_A_THOUSAND, b"", _A_THOUSAND, b"\0", b"", b"17.0", b"off"]], binary=True))
        ),
        "unreachable",
    ),
    "no rows": (lambda: HostileServer(always(rows(PROBED, []))), "unreachable"),
    "silence": (lambda: HostileServer(always(b""), silent=True), "unreachable"),
    "silence to a query": (lambda: HostileServer(always(b"")), "unreachable"),
    "hangs up": (lambda: HostileServer(always(b""), login=session()[:-3]), "unreachable"),
}


@pytest.fixture(scope="module")
def hostile_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project in which each of them is a target, and what `status` calls it by its name."""
    folder, entries, kinds = tmp_path_factory.mktemp("hostile"), {}, {}
    with ExitStack() as stack:
        for what, (make, kind) in HOSTILE.items():
            server = stack.enter_context(make())
            limits = SOON if what in NEVER else LIMITS
            name = re.sub(r"\W+", "-", what.lower())
            entries[name] = target_entry(Address(server.host, server.port, "u", "d", "disable"), **limits)
            kinds[name] = kind
        write_project(folder, entries, {"shared/s1": revision("s1", label="shared")})
        yield folder, kinds


def test_what_servers_say_harms_nobody(hostile_fleet: tuple[Path, dict[str, str]]) -> None:
    """Reading commands and a run over all of them: every stream and file is what it should be, for each target."""
    folder, kinds = hostile_fleet
    status = limited(folder, "status", "--json")
    assert_clean(status)
    assert status.out, status
    assert {s["target"]: s["kind"] for s in status.json["data"]} == kinds
    assert status.code == 1
    done = limited(folder, "upgrade", "--yes", "--json", *REPORTS)
    assert_clean(done)
    assert done.code == 1
    run = done.json["data"]
    good = {r["target"] for r in run["results"] if r["status"] == "up_to_date"}
    assert good == {name for name, kind in kinds.items() if kind == "up_to_date"}
    check_reports(folder, run, kinds)
    for command in ("status", "locks", "show " + run["id"], *(f"history {name}" for name in kinds)):
        assert_clean(limited(folder, *command.split()))
    # those that let it wait for its whole 20 s apart: they stand at one host, which has its turns
    waited_for = ["endless-notices", "silence-to-a-query"]
    for names in ([name for name in kinds if name not in waited_for], *([name] for name in waited_for)):
        examined = [word for name in names for word in ("-t", name)]
        # each of its threads reserves more than 100 MB of address space
        found = ehg(folder, "doctor", "--json", *examined, memory=2 * MEMORY, **{PASSWORD_VARIABLE: CANARY})
        assert_clean(found)
        assert found.json["kind"] == "doctor"


@pytest.mark.parametrize(
    "name", ["10-mb-of-nasty-error", "nasty-heads", "nasty-unfinished", "nasty-version", "silence"]
)
def test_what_one_server_says_harms_nobody(name: str, hostile_fleet: tuple[Path, dict[str, str]]) -> None:
    """Commands about one target, and exit codes where it is the only one."""
    folder, kinds = hostile_fleet
    for command in ("status", "upgrade --yes"):
        assert_clean(said := limited(folder, *command.split(), "-t", name))
        assert said.code == (0 if kinds[name] == "up_to_date" else 1), said


def check_reports(folder: Path, run: dict[str, Any], targets: Iterable[str]) -> None:
    """JUnit, summary and ledger say of the run what its JSON says."""
    suite = ET.parse(folder / "junit.xml").getroot()  # noqa: S314 - whether it can be read is the question
    bad = {r["target"] for r in run["results"] if r["status"] not in ("succeeded", "up_to_date", "skipped")}
    assert {case.get("name") for case in suite if case.find("failure") is not None} == bad
    summary, page = (folder / "summary.md").read_text(), (folder / "page.html").read_text()
    assert_clean(Said(0, summary, (folder / "junit.xml").read_text()))
    assert_clean(Said(0, page, ""))
    for target in targets:
        assert len([line for line in summary.splitlines() if line.startswith(f"| {target} |")]) == 1
        assert page.count(f'<th scope="row">{target}</th>') == 1
    with sqlite3.connect(folder / ".ehg" / "ledger.sqlite") as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert sorted(ledger.execute("SELECT target FROM results")) == sorted((target,) for target in targets)


def test_an_endless_result_ends(tmp_path: Path) -> None:
    """At the time limit, in bounded memory."""
    cell = row([b'{"h"}', None, b"{}", b"17.0", b"f"])
    with HostileServer(endlessly(beginning(PROBED), cell * 100)) as server:
        entry = target_entry(Address(server.host, server.port, "u", "d", "disable"))
        write_project(tmp_path, {"acme": entry}, {"shared/s1": revision("s1")}, defaults=SOON)
        said = limited(tmp_path, "status", "--json")
    assert_clean(said)
    assert (said.code, [s["kind"] for s in said.json["data"]]) == (1, ["unreachable"])


_CELL = row([b'{"h"}', b"x" * MEGABYTES, b"{}", b"f", None, b"17.0", b"off"])
FLOODS = {
    "rows": endlessly(beginning(PROBED), _CELL),
    "notices": endlessly(b"", notice("n" * MEGABYTES)),
    "one message": endlessly(b"E" + struct.pack("!I", 1_000_000_000) + b"SERROR\0M", b"x" * MEGABYTES),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_ends(what: str, tmp_path: Path) -> None:
    """Long before the time limit, since a fast server sends more by then than the machine of the run has memory.

    Fails where the system does not tell how much has come: there nothing but the time limit ends it.
    """
    with HostileServer(FLOODS[what]) as server:
        entry = target_entry(Address(server.host, server.port, "u", "d", "disable"))
        write_project(tmp_path, {"acme": entry}, {"shared/s1": revision("s1")}, defaults={"answer_timeout": "100s"})
        for command in ("status", "drift", "locks"):
            said = ehg(tmp_path, command, "--json", memory=4 * MEMORY, **{PASSWORD_VARIABLE: CANARY})
            assert_clean(said)
            assert (said.code, [s["problem"]["code"] for s in said.json["data"]]) == (1, ["strange_answer"])
            assert "it is larger than 256 MB" in said.out


@pytest.mark.parametrize("kind", [3, 5], ids=["cleartext", "md5"])
@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_a_password_is_not_given_away_without_tls(kind: int, sslmode: str, tmp_path: Path) -> None:
    """Where the entry demands TLS, a server that has none and asks for the password hears nothing, in one attempt."""
    with HostileServer(always(b""), login=asks_password(kind)) as server:
        address = Address("localhost", server.port, "u", "d", sslmode, str(tmp_path / "none.crt"))
        write_project(tmp_path, {"acme": target_entry(address)}, {"shared/s1": revision("s1")}, defaults=LIMITS)
        (tmp_path / "none.crt").write_text("")
        for command in ("status", "upgrade --yes", "doctor"):
            said = limited(tmp_path, *command.split())
            assert said.code == 1
            assert_clean(said)
        assert server.heard == []
