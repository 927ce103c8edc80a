"""Whole projects from a few words: alembic.ini, target files and revisions, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from ehg_migrate.model import Address

PASSWORD_VARIABLE = "EHG_TEST_PASSWORD"
"""The variable that target entries refer to; the `make_project` fixture sets it to the canary."""

_INI = """\
[alembic]
script_location = ehg_migrate:environment
version_locations = %(here)s/versions
path_separator = newline
recursive_version_locations = true
prepend_sys_path = .

[ehg_migrate]
"""


def write_project(
    folder: Path,
    targets: Mapping[str, Mapping[str, Any]],
    revisions: Mapping[str, str],
    *,
    defaults: Mapping[str, Any] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Path:
    """Lays out a project in `folder` and returns it.

    `targets` are entries of targets/t.yaml by name; `revisions` texts by path below versions/ (`shared/s1.py`; the
    `.py` may be left out); `settings` stand in alembic.ini's `[ehg_migrate]`. Each target gets a folder of versions/.
    """
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    # a replay before and after each run would run revisions twice that wait, fail and count on purpose
    quiet = {"lint": "off", "verify": "never"}
    lines = "".join(f"{key} = {value}\n" for key, value in {**quiet, **(settings or {})}.items())
    (folder / "alembic.ini").write_text(_INI + lines)
    file = {"defaults": dict(defaults)} if defaults else {}
    (folder / "targets" / "t.yaml").write_text(yaml.safe_dump({**file, "targets": _plain(targets)}, sort_keys=False))
    for branch in ("shared", *targets):
        (folder / "versions" / branch).mkdir(parents=True, exist_ok=True)
    for path, text in revisions.items():
        add_revision(folder, path, text)
    return folder


def add_revision(folder: Path, path: str, text: str) -> Path:
    """Writes one revision below versions/; replaces one of the same path."""
    file = folder / "versions" / (path if path.endswith(".py") else f"{path}.py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def target_entry(address: Address, **more: Any) -> dict[str, Any]:
    """An entry of a target file for an address; `more` are further fields, and win."""
    url = f"postgresql://{address.user}@{address.host}:{address.port}/{address.dbname}"
    entry: dict[str, Any] = {"url": url, "password": f"env:{PASSWORD_VARIABLE}", "sslmode": address.sslmode}
    if address.sslrootcert:
        entry["sslrootcert"] = address.sslrootcert
    return {**entry, **more}


def revision(
    id_: str,
    down: str | Sequence[str] | None = None,
    *,
    up: str = "",
    down_sql: str = "",
    label: str | None = None,
    depends: Sequence[str] = (),
    doc: str = "",
    up_code: str = "",
    down_code: str = "",
) -> str:
    """The text of a revision file: SQL by `up` and `down_sql`, Python by `up_code` and `down_code`, which run after."""
    parents = down if down is None or isinstance(down, str) else tuple(down)
    return f'''"""{doc or id_}"""

from alembic import op

revision = {id_!r}
down_revision = {parents!r}
branch_labels = {(label,) if label else None!r}
depends_on = {tuple(depends) or None!r}


def upgrade():
{_body(up, up_code)}


def downgrade():
{_body(down_sql, down_code)}
'''


def _body(statement: str, code: str) -> str:
    lines = [f"op.execute({statement!r})"] if statement else []
    return indent("\n".join([*lines, *([code.strip("\n")] if code else [])]) or "pass", "    ")


def _plain(targets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(entry) for name, entry in targets.items()}
