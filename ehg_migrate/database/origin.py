"""Who runs what from where: found out once a run, the same in ledger, journal and lock."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from ehg_migrate.children import environment
from ehg_migrate.model import Origin

_ACTORS = ("EHG_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_REQUESTEDFOR")


def new_run_id() -> str:
    """Sorts by time, can be typed, does not repeat: `20261121-081502-3f9a`."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def find_origin(root: Path) -> Origin:
    """Reads the environment and asks git; what cannot be found out is an empty string."""
    return Origin(
        actor=_storable(next((os.environ[name] for name in _ACTORS if os.environ.get(name)), "") or _user()),
        host=_storable(socket.gethostname()),
        pid=os.getpid(),
        git_commit=_storable(_commit(root)),
        tool_version=tool_version(),
    )


def _storable(text: str) -> str:
    """Bytes of the system that are no UTF-8 come as halves of surrogate pairs, which no database takes."""
    return text.encode(errors="replace").decode()


@cache
def tool_version() -> str:
    """The installed version of this package."""
    return metadata.version("ehg_migrate")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return str(os.getuid())


def _commit(root: Path) -> str:
    """The commit of the project, with `-dirty` where files differ from it; an image, which has no .git, may be told."""
    if told := os.environ.get("EHG_COMMIT"):
        return told
    argv = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git here, or a hung file system: the run matters more
    return done.stdout.strip() if done.returncode == 0 else ""
