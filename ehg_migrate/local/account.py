"""As which system user the embedded server runs: ourselves, or another if we are root, whom PostgreSQL refuses."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.errors import LocalServerError, Problem

_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A system user; `switch` says whether it is another than ours, which only root can become."""

    uid: int
    gid: int
    name: str
    switch: bool

    def process_options(self) -> dict[str, Any]:
        """Keywords for `subprocess`."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def own(self, path: Path) -> None:
        """Makes a file or folder this user's."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def make_folder(self, path: Path, mode: int = 0o700) -> None:
        """Makes a folder and those above it that are missing, all of them this user's."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(mode=mode, exist_ok=True)
        self.own(path)

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can reach a folder; asked of the kernel, since modes are only half of the answer.

        Raises LocalServerError where we are a root that cannot become this user.
        """
        if not self.switch:
            return os.access(folder, os.X_OK)
        argv = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        quiet = subprocess.DEVNULL
        try:
            done = subprocess.run(argv, cwd="/", stdout=quiet, stderr=quiet, check=False, **self.process_options())
        except OSError as e:
            raise LocalServerError(self._out_of_reach(e)) from e
        return done.returncode == 0

    def _out_of_reach(self, error: OSError) -> Problem:
        """Root of a container without capabilities, or of a user namespace in which nobody else is."""
        return Problem(
            "local_no_account",
            f"PostgreSQL does not run as root, and this root cannot become `{self.name}`: {error.strerror}",
            "run the command as an ordinary user, or, where it is for rehearsals, name a server in `EHG_SCRATCH_URL`",
        )


def server_account(folder: Path) -> Account:
    """The user for a server whose files stand below `folder`, which exists.

    Root becomes the owner of the project's folder, so that `sudo` leaves nothing behind that its user cannot use; in
    root's own folders `postgres`, or `nobody`. Raises LocalServerError: we are root and there is no such user.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), "", switch=False)
    owner = folder.stat().st_uid
    for name in ((_name_of(owner),) if owner else ()) + _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name, switch=True)
    raise LocalServerError(
        Problem(
            "local_no_account",
            "PostgreSQL does not run as root, and this machine has no user `postgres` or `nobody` to run it as",
            "add one (`useradd --system postgres`), or run the command as an ordinary user",
        )
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""  # initdb would refuse a user without a name
