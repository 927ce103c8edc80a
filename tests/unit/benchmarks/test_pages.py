"""What the benchmarks write: results kept and read back, tables, the picture, and the pages of docs as they stand."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import page, paper, results
from benchmarks.axes import decades, from_zero, linear, logarithmic
from benchmarks.cases import CASES, Sample, Scale
from benchmarks.peers import PEERS
from benchmarks.picture import draw
from benchmarks.simulation import check, forecast, own, record, show
from benchmarks.simulation.check import Held
from benchmarks.simulation.model import Costs, Outcome, Use
from benchmarks.suite import Row, Table
from benchmarks.tables import across, markdown
from ehg_migrate.model import Direction, Result, Status, StepResult

DOCS = Path(__file__).parents[3] / "docs"


def _table(scale: Scale, *names: str, watched: bool = False, rounds: int = 1) -> Table:
    """The nth peer takes n seconds for each target, three times as much for a full history."""
    rows = []
    for n, name in enumerate(names, 1):
        seconds = {"full": 3.0 * n * scale.targets, "nothing": 1.0 * n * scale.targets, "one": 2.0 * n * scale.targets}
        samples = {case: [Sample(wall=s, cpu=s, own=s, server=s, memory=10**6)] for case, s in seconds.items()}
        rows.append(Row(PEERS[name](Path()), samples, samples if watched else {}))
    return Table(scale, rows, rounds, 60.0, "a machine")


def test_results_are_read_back(tmp_path: Path) -> None:
    """The same table, problems included; nothing where nothing was kept."""
    table = _table(Scale(5), "raw", "ours", watched=True)
    table.rows[1].problem = "failed: so it did"
    results.save(tmp_path / "new", "five", table)
    found = results.load(tmp_path / "new", "five")
    assert found
    assert results.plain(found) == results.plain(table)
    assert results.load(tmp_path / "new", "six") is None


def test_a_table() -> None:
    """Seconds and ratios to the limit; what nobody watched has no column; a failure says so and why."""
    table = _table(Scale(2), "raw", "ours", "node")
    table.rows[2] = Row(table.rows[2].peer, problem="failed: ended with 3")
    text = markdown([table])
    assert "| ehg-migrate | 12.00 (x2.0) | 4.00 (x2.0) | 8.00 (x2.0) | 12.00 / 4.00 / 8.00 |" in text
    assert "memory" not in text
    assert "| node-pg-migrate, its API | failed | failed | failed |" in text
    assert "- node-pg-migrate, its API: failed: ended with 3" in text
    assert "memory" in markdown([_table(Scale(2), "raw", watched=True)])


def test_scales_beside_each_other() -> None:
    """A column for each, case by case; a peer that is not in one has an empty cell."""
    tables = [_table(Scale(2, history=20), "raw", "ours"), _table(Scale(2, history=1000), "raw")]
    text = across("long", tables, lambda scale: f"{scale.history:,}")
    assert "| tool | full from empty, 20 | full from empty, 1,000 | nothing to do, 20 |" in text
    assert "| ehg-migrate | 12.00 (x2.0) |  | 4.00 (x2.0) |  | 8.00 (x2.0) |  |" in text


def test_the_paper_shows_what_is_there(tmp_path: Path) -> None:
    """Slow peers come into the table of their scale; parts that nobody has measured are left out."""
    (tmp_path / "page.md").write_text("before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n")
    for name, table in (("50", _table(Scale(50), "raw", "ours")), ("50-slow", _table(Scale(50), "sqitch"))):
        results.save(tmp_path / "kept", f"{name}-50-20-0", table)
    assert paper.show(tmp_path / "kept", tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert text.count("### ") == 1
    assert "| sqitch, xargs | 150.00 (x1.0) |" in text
    assert "(page.svg)" in text
    assert "ehg-migrate" in (tmp_path / "page.svg").read_text()


def test_every_part_of_the_paper_can_be_measured() -> None:
    """Its peers exist; those that are watched are among them; no two parts are kept in one file."""
    files = [paper._file(name, scale) for name, part in paper.PARTS.items() for scale in part.scales]
    assert len(set(files)) == len(files)
    for part in paper.PARTS.values():
        assert set(part.watched) <= set(part.peers) <= set(PEERS)
    assert {peer for part in paper.PARTS.values() for peer in part.peers} == set(PEERS)


def test_a_page_without_markers(tmp_path: Path) -> None:
    """Nothing is written into a page that has no place for it."""
    (tmp_path / "page.md").write_text("<!-- figures: begin -->\n")
    with pytest.raises(ValueError, match="has no markers `<!-- figures: begin -->` and `<!-- figures: end -->`"):
        page.put(tmp_path / "page.md", "figures", "new")
    assert (tmp_path / "page.md").read_text() == "<!-- figures: begin -->\n"


def test_the_picture() -> None:
    """A line where there are two points, for each case; else it says that nothing was measured."""
    tables = [_table(Scale(n), "raw", "ours", "node") for n in (50, 200)]
    root = ElementTree.fromstring(draw(tables))  # noqa: S314 - ours
    words = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("not measured") == 2 * len(CASES)  # history and delay
    assert words.count("targets") == len(CASES)
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 3 * len(CASES) + 3  # and the legend
    assert draw([]).endswith("</svg>\n")


@pytest.mark.parametrize(
    ("axis", "values", "ticks"),
    [
        (linear, [0, 20, 80], (0, 20, 80)),
        (logarithmic, [50, 200, 50], (50, 200)),
        (decades, [0.05, 30.0], (0.1, 1.0, 10.0)),
        (decades, [0.4, 3.0], (0.5, 1.0, 2.0)),
        (decades, [1.0, 1.0], (1.0,)),
        (from_zero, [1.0, 9.0], (0, 2, 4, 6, 8)),
    ],
)
def test_axes(axis, values: list[float], ticks: tuple[float, ...]) -> None:
    """Round values are written, all within the frame and in their order."""
    found = axis(values)
    assert found.ticks == pytest.approx(ticks)
    places = [found.place(v) for v in found.ticks]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in (*places, *map(found.place, values)))


# --- the simulation


def test_recordings_are_read_back(tmp_path: Path) -> None:
    """The same recording."""
    costs = Costs(start=0.1, probe=Use(0.1, 0.2, 4, 0.3), step=Use(0.5), spread=(0.5, 1.5))
    recording = record.Recording("a machine", "2026-01-01", 0.1, costs)
    record.save(recording, tmp_path / "times.json")
    assert record.load(tmp_path / "times.json") == recording


def test_times_of_a_ledger() -> None:
    """The means of workers and steps; the wire is in them."""
    results = [_result("a", 1.0, 1.0), _result("b", 3.0), _result("c", 3.0)]
    costs = own.from_results(results, Costs(enter=Use(0.1, 0.2, 10), step=Use(0.1, 0.2, 2)))
    assert costs.step == Use(0.1, pytest.approx(2.0 - 0.1))
    assert costs.enter == Use(0.1, pytest.approx(0.5 - 0.1))
    assert costs.spread == pytest.approx((3 / 7, 9 / 7, 9 / 7))


def _result(target: str, *steps: float) -> Result:
    done = tuple(StepResult(f"s{n}", Direction.UP, "shared", seconds) for n, seconds in enumerate(steps))
    return Result(target, Status.SUCCEEDED, steps=done, seconds=0.5 + sum(steps))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.456, "0.5 s"), (45.6, "46 s"), (119.0, "119 s"), (300.0, "5 min"), (9000.0, "2.5 h")]
)
def test_durations(seconds: float, words: str) -> None:
    """As people say them."""
    assert forecast.duration(seconds) == words


# --- docs as they stand


def _rows(text: str) -> list[list[str]]:
    """The cells of all tables in a text."""
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]


def test_the_form_of_performance() -> None:
    """Every table of the page has the head that the command writes, and names only peers."""
    heads = [_rows(markdown([_table(Scale(5), "raw", watched=watched)]))[0] for watched in (True, False)]
    heads += [
        _rows(across("", [_table(scale, "raw") for scale in part.scales], part.column))[0]
        for part in paper.PARTS.values()
        if part.column
    ]
    known = {kind.name for kind in PEERS.values()}
    found = _rows(page.part(DOCS / "performance.md", "figures"))
    assert found
    for row in found:
        assert row in heads or row[0] in {*known, "---"}, row
    assert (DOCS / "performance.svg").read_text().startswith("<svg ")


def test_the_form_of_capacity() -> None:
    """Each table has the head and the first cells that the command writes now, from the times that are kept."""
    recording = record.load()
    assert page.part(DOCS / "capacity.md", "times") == show.times(recording).strip()
    for name, questions, table in forecast.TABLES:
        asked = list(questions())
        wanted = _rows(table([(q, Outcome(1.0, 1.0, 1, 0, 1)) for q in asked]))
        found = _rows(page.part(DOCS / "capacity.md", name))
        keys = len(asked[0].cells)
        assert found[0] == wanted[0]
        assert [row[:keys] for row in found] == [row[:keys] for row in wanted]


def test_capacity_holds_what_is_simulated() -> None:
    """A row of the page, simulated again from the times that are kept."""
    asked = next(forecast.careful())
    answer = asked.answer(record.load().costs)
    found = [row for row in _rows(page.part(DOCS / "capacity.md", "careful")) if row[:2] == [*asked.cells]]
    assert [row[2:4] for row in found] == [[forecast.duration(answer.seconds), answer.limit]]


def test_the_form_of_the_check() -> None:
    """Real runs stand in the page under the head that the command writes, with the cases and settings that it has."""
    found = _rows(page.part(DOCS / "capacity.md", "check"))
    assert found[0] == _rows(check.markdown([Held("", 1, "one", 1.0, 1.0, 0.0)]))[0]
    titles = {setting.title for setting in check.SETTINGS}
    assert {row[0] for row in found[2:]} <= titles
    assert len(found) > 2
    assert json.loads(record.TIMES.read_text())["machine"]
