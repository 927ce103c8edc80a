"""The data folder and the process behind it: initialise, start, stop, and the first connection that works."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ehg_migrate.database.parameters import ITS_OWN
from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.local.place import Place
from ehg_migrate.local.programs import run
from ehg_migrate.model import Address

_START = 60.0  # seconds; a start after a crash replays the log first
_STOP = 30.0
_POLL = 0.05
_LOCKS = 256  # of each session; four times the usual, since `compare --sql` makes all that differs in one transaction
_OWN_LOCALES = 17  # the first major that brings locales of its own

# Nothing waits for the disk: what is lost with the machine can be made again. `wal_level` as on Supabase.
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "300",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "logical",
    "max_wal_size": "256MB",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "5min",
}

# what a server says to clients while it cannot serve them yet
_NOT_YET = ("starting up", "not yet accepting connections", "in recovery mode", "shutting down")

_NAMELESS = "could not look up effective user ID"  # a container's user that is only a number
_NAME_IT = (
    "PostgreSQL wants a name for this user: add one to /etc/passwd, or, where it is for rehearsals, name a server in "
    "`EHG_SCRATCH_URL`"
)
_MEND = "mend what it says, or make room in `{}`, then try again"


def refuse_other_major(place: Place) -> None:
    """Raises LocalServerError for a data folder of another major version, or one that is none."""
    if not place.data.exists():
        return
    file = place.data / "PG_VERSION"
    found = file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else ""
    if found != str(place.major):
        what = f"is of PostgreSQL {found}, and this is {place.major}" if found else "is not a data folder of PostgreSQL"
        raise LocalServerError(
            Problem(
                "local_other_major",
                f"`{place.data}` {what}",
                "if nothing in it is needed, remove it with `ehg-migrate local wipe`",
            )
        )


def initialize(place: Place) -> None:
    """Makes the data folder if there is none; whole or not at all, however it is interrupted."""
    if place.data.exists():
        return
    unfinished = place.data.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    place.account.make_folder(unfinished, mode=0o700)
    settings = [word for name, value in _SETTINGS.items() for word in ("--set", f"{name}={value}")]
    # the same order and case rules everywhere, whatever locales the machine has
    locale = ["--encoding=UTF8", "--locale=C"]
    if place.major >= _OWN_LOCALES:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    trust = ["--auth=trust"]  # who can reach the socket is its owner: its folder is closed to others
    argv: list[str | Path] = [
        place.bin() / "initdb",
        "-D",
        unfinished.name,
        "-U",
        "postgres",
        "--no-sync",
        *locale,
        *trust,
        *settings,
    ]
    done = run(argv, place.account, place.root, 120)
    if done.returncode:
        raise LocalServerError(
            Problem(
                "local_initdb",
                f"the embedded PostgreSQL cannot be initialised: {_end(done.stdout)}",
                _NAME_IT if _NAMELESS in done.stdout else _MEND.format(place.root),
            )
        )
    unfinished.rename(place.data)


def launch(place: Place, lock: int) -> None:
    """Starts the server, whose processes keep `lock`: a descriptor that was had because no server lives here.

    After a SIGKILL its lock files name a process that is gone, or, worse, another one of the same number, over which
    PostgreSQL would stumble.
    """
    for stale in (place.data / "postmaster.pid", place.socket, place.socket.with_name(f"{place.socket.name}.lock")):
        stale.unlink(missing_ok=True)
    if not _started(place, lock):
        said = place.log.read_text(encoding="utf-8", errors="replace") if place.log.exists() else ""
        raise LocalServerError(
            Problem(
                "local_start",
                f"the embedded PostgreSQL does not start: {_end(said)}",
                f"its log is `{place.log}`; `ehg-migrate local wipe` makes a new one, without its databases",
            )
        )


def halt(place: Place) -> None:
    """Stops the server, whoever is connected to it. Raises LocalServerError if it does not go."""
    for mode in ("fast", "immediate"):
        argv: list[str | Path] = [place.bin() / "pg_ctl", "-D", place.data.name, "-m", mode, "-w"]
        argv += ["-t", str(int(_STOP)), "stop"]
        done = run(argv, place.account, place.root, _STOP + 10)
        if done.returncode == 0 or not (place.data / "postmaster.pid").exists():
            return
    raise LocalServerError(
        Problem(
            "local_stop",
            f"the embedded PostgreSQL does not stop: {_end(done.stdout)}",
            f"its log is `{place.log}`; its process is in the first line of `{place.data}/postmaster.pid`",
        )
    )


@contextmanager
def session(address: Address) -> Iterator[psycopg.Connection]:
    """A superuser's session in autocommit; waits while the server still recovers. Raises LocalServerError only."""
    try:
        with _connect(address) as connection:
            yield connection
    except psycopg.Error as e:
        raise LocalServerError(
            Problem(
                "local_session",
                f"the embedded PostgreSQL refuses: {e}",
                "is it running? `ehg-migrate local start` starts it",
                sqlstate=e.sqlstate,
            )
        ) from e


def _connect(address: Address) -> psycopg.Connection:
    deadline = time.monotonic() + _START
    while True:
        try:
            return psycopg.connect(
                host=address.host,
                port=address.port,
                user=address.user,
                dbname=address.dbname,
                sslmode=address.sslmode,
                gssencmode="disable",
                **ITS_OWN,
                connect_timeout=10,
                application_name="ehg_migrate local",
                autocommit=True,
            )
        except psycopg.OperationalError as e:
            if time.monotonic() > deadline or not any(text in str(e) for text in _NOT_YET):
                raise
            time.sleep(_POLL)  # the connection itself is the condition; it is tried until the deadline


def _started(place: Place, lock: int) -> bool:
    if place.log.exists():
        place.log.replace(place.log.with_suffix(".previous.log"))
    argv: list[str | Path] = [place.bin() / "pg_ctl", "-D", place.data.name, "-w", "-t", str(int(_START))]
    argv += ["-l", place.log.name, "-o", f"-k {place.sockets} -c max_locks_per_transaction={_LOCKS}", "start"]
    return run(argv, place.account, place.root, _START + 10, keep=(lock,)).returncode == 0


def _end(text: str) -> str:
    return " / ".join(text.split("\n")[-8:]).strip(" /")[-800:] or "it says nothing"
