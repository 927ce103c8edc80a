"""`alembic -n TARGET upgrade heads` for every target of a file, one after the other in this process."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

if __name__ == "__main__":
    for name in Path(sys.argv[1]).read_text().split():
        command.upgrade(Config("alembic.ini", ini_section=name), "heads")
