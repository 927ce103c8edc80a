"""Reports that an earlier command has left, where the present one cannot even be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ehg_migrate.cli.app import run

OURS = '<testsuite name="ehg-migrate upgrade">'


@pytest.mark.parametrize("wrong", [("--nope",), ("--max-failures", ""), ("--verify", "all")], ids=" ".join)
@pytest.mark.parametrize("form", ["--junit {}", "--html={}"])
def test_a_former_report_goes(
    form: str, wrong: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the mistake stands: a pipeline that publishes the file finds the last good run in it otherwise."""
    file, mine = tmp_path / "report", tmp_path / "mine.xml"
    mine.write_text('<testsuite name="pytest"/>')
    given = [*form.format(file).split(), "--junit", str(mine)]
    for words in ([*given, *wrong], [*wrong, *given]):
        file.write_text(OURS)
        monkeypatch.setattr(sys, "argv", ["ehg-migrate", "upgrade", *words])
        with pytest.raises(SystemExit) as ended:
            run()
        assert (ended.value.code, file.exists(), mine.exists()) == (2, False, True)
