"""Who runs what from where: found out once a run, the same in ledger, journal and lock."""

from __future__ import annotations

import getpass
import os
import re
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

# the beginnings of those that `git rev-parse --local-env-vars` lists
_LEADING = ("GIT_ALTERNATE", "GIT_COMMON", "GIT_DIR", "GIT_GRAFT", "GIT_INDEX", "GIT_NAMESPACE", "GIT_OBJECT",
            "GIT_PREFIX", "GIT_SHALLOW", "GIT_WORK_TREE")  # fmt: skip
_A_COMMIT = re.compile(r"[0-9a-f]{7,64}(-dirty)?")


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
        done = subprocess.run(argv, env=_for_git(), capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git here, or a hung file system: the run matters more
    said = done.stdout.decode("ascii", "replace").strip()  # a wrapper may say anything
    return said if done.returncode == 0 and _A_COMMIT.fullmatch(said) else ""


def _for_git() -> dict[str, str]:
    """A hook of git's has variables that lead to its own repository: the commit would be that of another project."""
    return {name: value for name, value in environment().items() if not name.startswith(_LEADING)}
