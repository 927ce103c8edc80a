"""What a revision takes in beside its own file: by what is written in it, and nothing outside of the project."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from ehg_migrate.revisions.beside import files_beside
from ehg_migrate.settings import read_settings

FILES = {
    "helpers.py": "from lib import deep",
    "lib/__init__.py": "",
    "lib/deep.py": "from . import beside\nopen('told.csv')",
    "lib/beside.py": "import helpers",
    "lib/other.py": "",
    "told.csv": "1",
    "versions/shared/sql/one.sql": "select 1",
    "versions/shared/sql/two.sql": "select 2",
    "versions/shared/words.py": "",
    "versions/shared/broken.py": "def (",
    "sql/far.sql": "select 3",
    "src/app/__init__.py": "",
    "src/app/rows.py": "",
    "src/rows.py": "",
    "more of it/words2.py": "",
    "alembic.ini": "[alembic]\npath_separator = os\nprepend_sys_path = .:src:more of it",
    ".env": "PASSWORD=x",
}
LIB = ["lib/__init__.py", "lib/beside.py", "lib/deep.py", "told.csv"]

CASES = {
    "nothing": ("import os\nfrom alembic import op\nop.execute('helpers')", []),
    "a module, and all behind it": ("import helpers", ["helpers.py", *LIB]),
    "a name out of a package": ("from lib.deep import x", ["helpers.py", *LIB]),
    "a module beside it": ("from words import all_of_them", ["versions/shared/words.py"]),
    "one that does not parse": ("import broken", ["versions/shared/broken.py"]),
    "a path put together": ("open(HERE / 'sql' / 'one.sql')", ["versions/shared/sql/one.sql"]),
    "its last part": ("for name in ('one.sql', 'two.sql'): run(SQL / name)",
                      ["versions/shared/sql/one.sql", "versions/shared/sql/two.sql"]),
    "joined": ("os.path.join(ROOT, 'sql', 'far.sql')", ["sql/far.sql"]),
    "of very many parts": (f"open({' + '.join(['x'] * 2000)} / 'sql' / 'far.sql')", ["sql/far.sql"]),
    "from the project": ("open('sql/far.sql')", ["sql/far.sql"]),
    "not what is hidden, or elsewhere": ("open('.env'); open('/etc/passwd'); open('../../../../outside')", []),
    "where `prepend_sys_path` leads": ("from app.rows import ROWS; import words2",
                                      ["more of it/words2.py", "src/app/__init__.py", "src/app/rows.py"]),
    "not there what is imported from beside": ("from . import rows", []),
    "itself": ("import r; open('r.py')", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_files_beside(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each with the checksum of its contents."""
    root = tmp_path / "project"
    for name, content in {**FILES, "versions/shared/r.py": text}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (tmp_path / "outside").write_text("x")
    found = files_beside(read_settings(root), ["versions/shared/r.py"])
    assert found == {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in sorted(expected)}


UNREADABLE = Path("/proc/self/mem")  # to root as well, whom no mode of a file keeps out


def test_of_what_cannot_be_read_nothing_is_taken_in(tmp_path: Path) -> None:
    """The revision cannot read it either; and the plan of a whole fleet does not end in it."""
    shared = tmp_path / "versions/shared"
    shared.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\n")
    (shared / "r.py").write_text("open('rows.sql'); open('more.sql')")
    assert UNREADABLE.is_file() or sys.platform != "linux"  # elsewhere the link leads nowhere: not taken in either
    (shared / "rows.sql").symlink_to(UNREADABLE)
    (shared / "more.sql").write_text("select 1")
    assert list(files_beside(read_settings(tmp_path), ["versions/shared/r.py"])) == ["versions/shared/more.sql"]
