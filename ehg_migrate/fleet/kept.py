"""The fleet that an earlier command has read: target files that say the same cost neither YAML nor validation.

They say the same while a hash over everything that decides is the same: the bytes of targets/, the branch folders, the
home folder that a `~` stands for, and our own code. A fleet with a mistake is never kept, so every mistake is shown
every time. What is kept holds references to secrets and no secret, as the files do; whatever is wrong with it, it is as
if it were not there, and where it cannot be written, every command reads the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ehg_migrate import json_form
from ehg_migrate.fleet.fleet import Fleet
from ehg_migrate.model import Address, Limits, SecretRef, Target, Wave
from ehg_migrate.settings import Settings

_PACKAGE = Path(__file__).parent
_READERS = (".", "..", "../model")
"""Folders of our own code that decides what a Fleet is, seen from this one."""
_LARGEST = 1024 * 1024  # bytes of a file; what is larger is no target file


def read_fleet(settings: Settings) -> Fleet:
    """What `load_fleet` gives for the project in `settings.root`, and raises."""
    key = _key(settings.root)
    kept = _load(settings.kept_targets, key) if key else None
    if kept is not None:
        return kept
    from ehg_migrate.fleet.load import load_fleet

    fleet = load_fleet(settings.root)
    if key and key == _key(settings.root):  # else a file has changed meanwhile, and the fleet is not that of the key
        _keep(settings.kept_targets, key, fleet)
    return fleet


def _key(root: Path) -> str:
    """Equal only where the same fleet would be read; nothing where a file or folder cannot be read, or is too large."""
    whole = hashlib.sha256()
    try:
        for part in (*_code(), str(root), os.path.expanduser("~"), *_branches(root / "versions")):  # noqa: PTH111 - as `resolved`
            whole.update(f"{part!r}\n".encode("utf-8", "surrogatepass"))
        files = sorted((root / "targets").iterdir())
        if _overlooks(files):
            return ""  # the loader refuses it
        for path in files:
            if path.is_file() and path.stat().st_size > _LARGEST:
                return ""  # the loader refuses it without reading it
            data = path.read_bytes() if path.is_file() else b""  # a named pipe must not hold us up
            whole.update(f"{path.name!r} {len(data)}\n".encode("utf-8", "surrogatepass") + data)
    except OSError:
        return ""
    return whole.hexdigest()


def _overlooks(files: Sequence[Path]) -> bool:
    """Whether there is a file that somebody may take for a target file, and that is not read."""
    if all(path.suffix in (".yaml", ".yml") for path in files):
        return False
    from ehg_migrate.fleet.listing import overlooked  # most fleets have nothing else there

    return any(overlooked(files))


def _code() -> Iterator[object]:
    yield from (*sys.version_info[:2], str(_PACKAGE))
    for folder in _READERS:
        with os.scandir(_PACKAGE / folder) as entries:
            for entry in sorted((e for e in entries if e.name.endswith(".py")), key=lambda e: e.name):
                yield entry.name, entry.stat().st_size, entry.stat().st_mtime_ns


def _branches(versions: Path) -> Iterator[object]:
    with os.scandir(versions) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            yield entry.name, entry.is_dir(), os.path.realpath(entry.path) if entry.is_symlink() else ""


def _load(file: Path, key: str) -> Fleet | None:
    try:
        digest, _, body = file.read_text(encoding="ascii").partition("\n")
        fleet = _fleet(body) if digest == _digest(key, body) else None
    except (OSError, ValueError):
        return None
    if fleet is None or not all(map(os.path.isfile, _certificates(fleet))):
        return None
    return fleet


def _certificates(fleet: Fleet) -> set[str]:
    """Files outside of the project that must be there."""
    return {t.address.sslrootcert or "system" for t in fleet.targets} - {"system"}


def _keep(file: Path, key: str, fleet: Fleet) -> None:
    """Writes it down, if it can be had back: a date among Alembic's options has no form in JSON."""
    from ehg_migrate.files import write_whole  # seldom

    try:
        body = json.dumps(json_form.dump(fleet), separators=(",", ":"))
        if _fleet(body) != fleet:
            return
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(file, f"{_digest(key, body)}\n{body}")
    except (OSError, ValueError, TypeError):
        return


def _digest(key: str, body: str) -> str:
    return hashlib.sha256(f"{key}\n{body}".encode("ascii")).hexdigest()


def _fleet(body: str) -> Fleet:
    form = json.loads(body)
    waves = tuple(Wave(w["name"], tuple(w["targets"]), w["soak"]) for w in form["waves"])
    return Fleet(tuple(map(_target, form["targets"])), waves)


def _target(form: dict[str, Any]) -> Target:
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in form.items()}
    reference = plain["password"]
    password = SecretRef(reference["scheme"], tuple(reference["value"])) if reference else None
    address, limits = Address(**plain["address"]), Limits(**plain["limits"])
    return Target(**{**plain, "address": address, "limits": limits, "password": password})
