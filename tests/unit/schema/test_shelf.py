"""References on disk: whole or not there, for their owner only, the longest unused forgotten first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ehg_migrate.errors import TargetError
from ehg_migrate.schema.facts import Catalog, Fact
from ehg_migrate.schema.shelf import Shelf

TABLE = Fact("table", 'public."ödd\nname"', {"grants": {"anon": "SELECT"}})
CATALOG = Catalog.of([TABLE, Fact("function", "f()", {"body": "$$\u2028$$"})], "18.4")


def test_what_is_put_is_found(tmp_path: Path) -> None:
    """With all its facts and the same fingerprint; nobody else can read it, and nothing unfinished stays."""
    shelf = Shelf(tmp_path / "references")
    put = shelf.put("abc", ("s1",), CATALOG, 1.5)
    found = shelf.find("abc")
    assert found == put
    assert found.catalog() == CATALOG
    assert (found.fingerprint, found.server_version, found.heads) == (CATALOG.fingerprint, "18.4", ("s1",))
    assert [p.name for p in put.path.parent.iterdir()] == ["abc.jsonl"]
    assert put.path.stat().st_mode & 0o777 == 0o600
    assert put.path.parent.stat().st_mode & 0o777 == 0o700
    assert shelf.find("xyz") is None


@pytest.mark.parametrize("text", ["", "{", '{"heads": []}', "[]", "\xff"])
def test_what_is_damaged_is_not_there(tmp_path: Path, text: str) -> None:
    """It is made anew instead, over the damaged one."""
    shelf = Shelf(tmp_path)
    path = shelf.put("abc", (), CATALOG, 0.0).path
    path.write_bytes(text.encode("latin-1"))
    assert shelf.find("abc") is None
    assert shelf.put("abc", (), CATALOG, 0.0) == shelf.find("abc")


@pytest.mark.parametrize("rest", [b"", b'{"kind": "table", "ident', b"[]\n"])
def test_what_is_damaged_below_its_head(tmp_path: Path, rest: bytes) -> None:
    """It is no reference, also where whole lines are missing; the next one who asks makes it anew."""
    shelf = Shelf(tmp_path)
    path = shelf.put("abc", (), CATALOG, 0.0).path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]) + rest)
    found = shelf.find("abc")
    assert found
    for _ in range(2):
        with pytest.raises(TargetError, match="which is damaged or gone"):
            found.catalog()
        assert shelf.find("abc") is None


def test_the_longest_unused_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding one is a use of it."""
    monkeypatch.setattr("ehg_migrate.schema.shelf._MOST", 2)
    shelf = Shelf(tmp_path)
    for age, key in ((300, "first"), (200, "second")):
        path = shelf.put(key, (), CATALOG, 0.0).path
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert shelf.find("first")
    shelf.put("third", (), CATALOG, 0.0)
    assert {p.stem for p in tmp_path.iterdir()} == {"first", "third"}


def test_what_cannot_be_written_is_held(tmp_path: Path) -> None:
    """In memory, for this process; where only its end could not be written, no part of it stays."""
    (tmp_path / "file").touch()
    shelf = Shelf(tmp_path / "file" / "references")
    assert shelf.put("abc", (), CATALOG, 0.0).catalog() == CATALOG
    assert shelf.find("abc") is None
    (tmp_path / "abc.jsonl").mkdir()
    assert Shelf(tmp_path).put("abc", (), CATALOG, 0.0).catalog() == CATALOG
    assert {p.name for p in tmp_path.iterdir()} == {"file", "abc.jsonl"}
