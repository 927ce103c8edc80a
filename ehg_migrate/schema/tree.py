"""A catalogue as files that people review: one YAML file for each object, with everything that belongs to it.

The files are the snapshot: `snapshot.json` beside them holds only in which scope they were read and their fingerprint.
No time, server or order of making stands in any of them, so that equal schemas are equal files.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

try:  # where there is neither a wheel nor libyaml's headers, PyYAML is built without it
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

from ehg_migrate.errors import Problem, UsageError
from ehg_migrate.files import is_there
from ehg_migrate.json_form import SCHEMA_VERSION, dump, load
from ehg_migrate.schema.facts import NOTES, Catalog, Fact
from ehg_migrate.schema.paths import RELATIONS, place_of, relation_of
from ehg_migrate.schema.scope import Scope
from ehg_migrate.schema.snapshot import MANIFEST, TOO_DEEP, Snapshot, data_of, read_snapshot

KIND = "snapshot_tree"
HEADER = "# written by `ehg-migrate snapshot`; what is changed here by hand makes the snapshot unusable\n"
"""The first line of each of our files: what does not begin with it is never written over or removed."""

_ENDING = ".yaml"
_BEGINS = re.compile(rf'\{{\s*"schema_version": \d+,\s*"kind": "{KIND}",')
_WITHOUT_LIBYAML = Problem(
    "snapshot",
    "PyYAML is built without libyaml here: it would write files otherwise than elsewhere, and lose blanks",
    "install its wheel with `pip install --force-reinstall --no-cache-dir --only-binary pyyaml pyyaml`, or write one "
    "file with `--json > FILE`",
)
_LINES = "!lines"  # the tag of a text whose lines stand in a list, because a block would lose something at their ends
_NO_BLOCK = re.compile("[ \t](?:\n|$)|[\r\x85\u2028\u2029\ufeff]")


class _Dumper(SafeDumper):
    """Bodies and queries line by line; what several facts share is written out in each."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(SafeLoader):
    """And back. We write no aliases, by which a few lines may stand for a billion values."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.constructed_objects or node in self.recursive_objects:
            raise yaml.YAMLError("an alias")
        return super().construct_object(node, deep)


def _text(dumper: SafeDumper, text: str) -> yaml.Node:
    if "\n" in text and _NO_BLOCK.search(text):
        return dumper.represent_sequence(_LINES, text.split("\n"), flow_style=False)
    style = "|" if "\n" in text else '"' if "'" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _joined(loader: SafeLoader, node: yaml.SequenceNode) -> str:
    return "\n".join(loader.construct_sequence(node))


def _named(loader: SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    found = loader.construct_mapping(node, deep=True)
    if not all(isinstance(name, str) for name in found):
        raise yaml.YAMLError("a name that is no text")
    return found


_Dumper.add_representer(str, _text)
_Loader.yaml_constructors = {  # what facts hold, and no dates, floats, sets or bytes
    f"tag:yaml.org,2002:{kind}": SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{kind}"]
    for kind in ("null", "bool", "int", "str", "seq")
}
_Loader.add_constructor("tag:yaml.org,2002:map", _named)
_Loader.add_constructor(_LINES, _joined)


def files_of(snapshot: Snapshot) -> dict[str, str]:
    """Path below the folder -> text. Raises UsageError where PyYAML would write other text than elsewhere."""
    if not yaml.__with_libyaml__:
        raise UsageError(_WITHOUT_LIBYAML)
    facts = [f for f in snapshot.catalog.facts if f.kind not in NOTES]
    kinds = {f.identity: f.kind for f in facts if f.kind in RELATIONS}
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(_place(fact, kinds), []).append(fact)
    files = {f"{place}{_ENDING}": _written(group) for place, group in groups.items()}
    return {**files, MANIFEST: _manifest(snapshot)}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `snapshot.json` says."""

    fingerprint: str
    scope: Scope


def read_tree(folder: Path) -> Snapshot:
    """What stands below the folder. Raises UsageError: it cannot be read, or its files do not make its fingerprint."""
    path = folder / MANIFEST
    try:
        manifest = load(Manifest, data_of(json.loads(path.read_text(encoding="utf-8")), KIND))
        catalog = Catalog.of(fact for file in our_files(folder) for fact in _read(folder, file))
        taken = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        fingerprint = catalog.fingerprint
    except RecursionError as e:
        raise _damaged(folder, TOO_DEEP) from e
    except OSError as e:
        raise _damaged(folder, f"`{e.filename}` cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise _damaged(folder, str(e)) from e
    if fingerprint != manifest.fingerprint:
        raise _damaged(folder, "its files do not make its fingerprint: some were changed, removed or added")
    return Snapshot(str(folder), taken, fingerprint, manifest.scope, catalog)


def read_saved(path: Path) -> Snapshot:
    """What `snapshot` has written: a file of its JSON, or the `snapshot.json` of a folder. Raises UsageError."""
    try:
        whole = path.name == MANIFEST and is_manifest(path)
    except OSError:
        whole = False
    return read_tree(path.parent) if whole else read_snapshot(path)


def our_files(folder: Path) -> Iterator[str]:
    """The files of objects below the folder, by path; links and what others wrote are left out. Raises OSError."""
    for top in ("database", "schemas"):
        for path in sorted((folder / top).rglob(f"*{_ENDING}")):
            if is_ours(path):
                yield path.relative_to(folder).as_posix()


def is_ours(path: Path) -> bool:
    """Whether it is a file that begins as ours do. Raises OSError."""
    if path.is_symlink() or not (is_there(path) and path.is_file()):
        return False
    with path.open("rb") as file:
        return file.readline(len(HEADER)) == HEADER.encode()


def is_manifest(path: Path) -> bool:
    """Whether it is the `snapshot.json` of a folder, also one with the marks of a merge. Raises OSError."""
    if path.is_symlink() or not (is_there(path) and path.is_file()):
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    if _BEGINS.match(text):
        return True
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("kind") == KIND


def _damaged(folder: Path, why: str) -> UsageError:
    hint = f"write it anew with `ehg-migrate snapshot TARGET -o {shlex.quote(str(folder))}`"
    return UsageError(Problem("snapshot", f"`{folder}` is no snapshot: {why}", hint))


def _place(fact: Fact, kinds: Mapping[str, str]) -> str:
    relation = relation_of(fact.kind, fact.identity)
    if relation is None:
        return place_of(fact.kind, fact.identity)
    return place_of(kinds.get(relation, "table"), relation)  # a policy on a table that is not in the scope


def _written(facts: Iterable[Fact]) -> str:
    """The object itself first, then what belongs to it by kind and name."""
    kinds: dict[str, dict[str, Any]] = {}
    for fact in sorted(facts, key=lambda f: (relation_of(f.kind, f.identity) is not None, f.kind, f.identity)):
        kinds.setdefault(fact.kind, {})[fact.identity] = _sorted(fact.definition)
    return HEADER + yaml.dump(kinds, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20)


def _sorted(value: Any) -> Any:
    """Objects by the names of their fields; lists have their own order."""
    return {name: _sorted(value[name]) for name in sorted(value)} if isinstance(value, Mapping) else value


def _read(folder: Path, file: str) -> Iterator[Fact]:
    try:
        kinds = yaml.load((folder / file).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader still
        yield from (Fact(kind, name, dict(d)) for kind, objects in kinds.items() for name, d in objects.items())
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as e:  # the last three: other YAML than ours
        raise ValueError(f"`{file}` is not as it was written") from e


def _manifest(snapshot: Snapshot) -> str:
    manifest = dump(Manifest(snapshot.fingerprint, snapshot.scope))
    return json.dumps({"schema_version": SCHEMA_VERSION, "kind": KIND, "data": manifest}, indent=2) + "\n"
