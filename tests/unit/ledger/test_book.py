"""A run's book when its ledger comes and goes: what could not be written at once is written at the end."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ehg_migrate.errors import LedgerError, Problem
from ehg_migrate.ledger import Ledger, open_ledger
from ehg_migrate.model import Origin, Result, RunStatus, Status, Verb
from ehg_migrate.rollout import book as writing
from ehg_migrate.rollout.book import Book
from tests.support.programs import wait_until
from tests.unit.ledger.contract import a_result, a_run

TARGETS = ("acme", "bolt")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the ledger's folder is to be; a file stands there, so no ledger can be opened."""
    path = tmp_path / "folder"
    path.write_text("in the way")
    return path


def opener(place: Path) -> Callable[[], Ledger]:
    """Opens the ledger in that folder."""
    return lambda: open_ledger(f"sqlite:///{place / 'ledger.sqlite'}")


def test_a_ledger_that_came_back_has_the_whole_run(place: Path) -> None:
    """Not there at the start and there at the end: it has the run, each result once, and nothing is called missing."""
    with Book(opener(place), a_run("r-1")) as book:
        book.record(a_result("acme"))
        place.unlink()
        book.record(a_result("bolt"))
        book.finish(RunStatus.SUCCEEDED)
    with opener(place)() as ledger:
        kept = ledger.run("r-1")
    assert (kept.status, tuple(r.target for r in kept.results)) == (RunStatus.SUCCEEDED, TARGETS)
    assert [n.code for n in book.notes] == ["ledger_folder"]


def test_what_a_ledger_lacks_is_named(place: Path) -> None:
    """Not there at all: the run's notes name every result that is recorded nowhere."""
    with Book(opener(place), a_run("r-1")) as book:
        for target in (*TARGETS, TARGETS[0]):  # one that was looked at has a second
            book.record(a_result(target))
        book.finish(RunStatus.SUCCEEDED)
    (said,) = [n.message for n in book.notes if n.code == "ledger_incomplete"]
    assert [said.count(f"`{target}`") for target in TARGETS] == [1, 1]


def test_a_run_that_has_nothing_to_write_says_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another machine would take it for dead while its targets take their time."""
    monkeypatch.setattr(writing, "_HEARTBEAT", 0.01)
    with Book(opener(tmp_path), a_run("r-1")) as book, closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE runs SET heartbeat_at = '2001-01-01T00:00:00+00:00'")
        ledger.commit()
        asked = "SELECT count(*) FROM runs WHERE heartbeat_at > '2002'"
        wait_until(lambda: ledger.execute(asked).fetchone() == (1,), "nobody said so", 60)
        book.finish(RunStatus.SUCCEEDED)


def test_a_run_that_another_takes_over_hears_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asleep, and somebody on another machine takes it back: it must not go on behind that."""
    monkeypatch.setattr(writing, "_HEARTBEAT", 0.01)
    heard: list[str] = []
    with Book(opener(tmp_path), a_run("r-1"), taken_over=lambda: heard.append("stop")) as book:
        with opener(tmp_path)() as ledger:
            ledger.start(a_run("back", verb=Verb.ROLLBACK, undoes="r-1"))
            wait_until(lambda: bool(heard), "it never heard", 60)
            for moment in ("2001", "2002"):  # two more beats
                with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
                    file.execute(f"UPDATE runs SET heartbeat_at = '{moment}-01-01T00:00:00+00:00' WHERE id = 'r-1'")
                    file.commit()
                    asked = "SELECT count(*) FROM runs WHERE id = 'r-1' AND heartbeat_at > '2003'"
                    wait_until(lambda c=file, q=asked: c.execute(q).fetchone() == (1,), "no other beat", 60)
        book.finish(RunStatus.INTERRUPTED)
    assert heard == ["stop"]
    assert [n.message for n in book.notes] == [
        "run `back` has taken this one over, as one that has died: it gave no sign of life for too long"
    ]


@pytest.mark.parametrize("way", ["undoes", "resumes", ""])
def test_a_dead_run_is_told_to_those_who_do_not_end_it(way: str, tmp_path: Path) -> None:
    """Not to what takes it back or completes it: `resume` of the hint would bring it again."""
    with opener(tmp_path)() as ledger:
        ledger.start(a_run("dead"))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as c, c:
        c.execute("UPDATE runs SET host = 'elsewhere.invalid', heartbeat_at = '2020-01-01T00:00:00+00:00'")
    with Book(opener(tmp_path), a_run("r-1", **({way: "dead"} if way else {}))) as book:
        book.finish(RunStatus.SUCCEEDED)
    assert [n.code for n in book.notes] == ([] if way else ["died_run"])


@contextmanager
def missed_by_its_ledger(folder: Path) -> Iterator[Book]:
    """The book of a run whose ledger was away when `acme` was done, and is back."""
    file, away = folder / "ledger.sqlite", folder / "away.sqlite"
    with Book(opener(folder), a_run("r-1")) as book:
        file.rename(away)
        book.record(a_result("acme"))
        wait_until(lambda: bool(book.notes), "nobody missed the ledger", 60)
        away.rename(file)
        yield book


def test_a_run_whose_ledger_has_failed_once_says_that_it_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results wait then, and however fast they come, others hear that it is at work."""
    monkeypatch.setattr(writing, "_HEARTBEAT", 1.0)
    with missed_by_its_ledger(tmp_path) as book:
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as ledger:
            ledger.execute("UPDATE runs SET heartbeat_at = '2001-01-01T00:00:00+00:00'")
            ledger.commit()

            def alive() -> bool:
                book.record(a_result("bolt"))
                return bool(ledger.execute("SELECT count(*) FROM runs WHERE heartbeat_at > '2002'").fetchone()[0])

            wait_until(alive, "nobody said so", 60)
        book.finish(RunStatus.SUCCEEDED)


def test_what_a_ledger_missed_is_written_as_soon_as_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may last for hours after that: written at its end, it would be the newest word on what others did since."""
    monkeypatch.setattr(writing, "_HEARTBEAT", 0.05)
    with missed_by_its_ledger(tmp_path) as book, opener(tmp_path)() as ledger:
        wait_until(lambda: len(ledger.run("r-1").results) == 1, "it was not written", 60)
        ledger.start(a_run("r-2"))
        ledger.record("r-2", a_result("acme", status=Status.SCHEMA_DIFFERS))
        book.finish(RunStatus.SUCCEEDED)
        assert ledger.last_results(["acme"])["acme"].run == "r-2"
        assert ledger.astray(["acme"]) == {"acme": "r-2"}
    assert "ledger_incomplete" not in [n.code for n in book.notes]


def test_a_ledger_that_was_away_at_the_start_has_the_run_as_soon_as_it_is_back(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks for it there finds it at work, and what it did is not the newest word on what others did since."""
    monkeypatch.setattr(writing, "_HEARTBEAT", 0.05)
    with Book(opener(place), a_run("r-1")) as book:
        book.record(a_result("acme"))
        place.unlink()
        wait_until(lambda: place.exists() and opener(place)().holds("r-1"), "it was not begun there", 60)
        with opener(place)() as ledger:
            wait_until(lambda: len(ledger.run("r-1").results) == 1, "it was not written", 60)
            assert ledger.run("r-1").status is RunStatus.RUNNING
            ledger.start(a_run("r-2"))
            ledger.record("r-2", a_result("acme"))
            book.finish(RunStatus.SUCCEEDED)
            assert ledger.last_results(["acme"])["acme"].run == "r-2"
    assert [n.code for n in book.notes] == ["ledger_folder"]


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(
    ("spoilt", "code"),
    [
        ("verb = 'unheard of'", "ledger_row"),
        ("targets = 'acme'", "ledger_error"),
        (f"notes = '{'[' * 600}{']' * 600}'", "ledger_row"),
        (f"targets = '{'[' * 60_000}{']' * 60_000}'", "ledger_error"),
    ],
    ids=["word", "no JSON", "deep JSON", "deeper JSON"],
)
def test_a_run_before_that_cannot_be_read(tmp_path: Path, spoilt: str, code: str, *, short: bool) -> None:
    """A newer tool may have written it, or a hand: it is said, and this run is recorded all the same."""
    with opener(tmp_path)() as ledger, closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
        ledger.start(a_run("r-1", origin=Origin("ci", "elsewhere.invalid", 1, "", "")))
        file.execute(f"UPDATE runs SET heartbeat_at = '2001-01-01T00:00:00+00:00', {spoilt}")
        file.commit()
    with Book(opener(tmp_path), a_run("r-2"), short=short) as book:
        book.record(a_result("acme"))
        book.finish(RunStatus.SUCCEEDED)
    assert [n.code for n in book.notes] == [code]
    with opener(tmp_path)() as ledger:
        assert (ledger.run("r-2").status, len(ledger.run("r-2").results)) == (RunStatus.SUCCEEDED, 1)


@pytest.mark.parametrize("back_to", ["before the run", "its start", "its first look"])
@pytest.mark.parametrize("more", [True, False])
def test_a_ledger_that_was_set_back_has_the_whole_run(tmp_path: Path, back_to: str, *, more: bool) -> None:
    """An older copy in its place, from a backup: what was written since is written again, and nothing is missing."""
    file, copy = tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite"

    def written(*expected: Status) -> bool:
        with opener(tmp_path)() as ledger:
            return [r.status for r in ledger.run("r-1").results] == list(expected)

    opener(tmp_path)().close()
    shutil.copy(file, copy)
    with Book(opener(tmp_path), a_run("r-1")) as book:
        wait_until(lambda: opener(tmp_path)().holds("r-1"), "nobody began", 60)
        if back_to == "its start":
            shutil.copy(file, copy)
        book.record(a_result("acme", status=Status.SUCCEEDED))
        wait_until(lambda: written(Status.SUCCEEDED), "nobody wrote", 60)
        if back_to == "its first look":
            shutil.copy(file, copy)
        book.record(a_result("acme", status=Status.SCHEMA_DIFFERS))
        wait_until(lambda: written(Status.SCHEMA_DIFFERS), "nobody wrote again", 60)
        copy.replace(file)
        if more:
            book.record(a_result("bolt", status=Status.SUCCEEDED))
        book.finish(RunStatus.FAILED)
    assert book.notes == []
    with opener(tmp_path)() as ledger:
        kept = ledger.run("r-1")
    assert kept.status is RunStatus.FAILED
    found = {r.target: r.status for r in kept.results}
    assert found == {"acme": Status.SCHEMA_DIFFERS, **({"bolt": Status.SUCCEEDED} if more else {})}


def test_what_a_ledger_has_lost_is_written_as_soon_as_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby in its place that lagged behind: the run goes on, and its results come before what others do then."""
    monkeypatch.setattr(writing, "_HEARTBEAT", 0.05)
    with opener(tmp_path)() as ledger, Book(opener(tmp_path), a_run("r-1")) as book:
        book.record(a_result("acme"))
        wait_until(lambda: len(ledger.run("r-1").results) == 1, "nobody wrote", 60)
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
            file.executescript("BEGIN; DELETE FROM results; DELETE FROM runs; COMMIT")
        wait_until(lambda: ledger.holds("r-1") and len(ledger.run("r-1").results) == 1, "it was not written again", 20)
        ledger.start(a_run("r-2"))
        ledger.record("r-2", a_result("acme"))
        book.finish(RunStatus.SUCCEEDED)
        assert ledger.last_results(["acme"])["acme"].run == "r-2"
    assert book.notes == []


def test_what_a_ledger_that_was_set_back_does_not_take_again_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed just then: the run says so, to people and in the ledger."""
    record = Ledger.record
    with Book(opener(tmp_path), a_run("r-1")) as book:
        book.record(a_result("acme"))
        wait_until(lambda: len(opener(tmp_path)().runs(1)[0].results) == 1, "nobody wrote", 60)
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file:
            file.execute("DELETE FROM results")
            file.commit()

        def full(ledger: Ledger, run: str, *results: Result) -> None:
            raise LedgerError(Problem("ledger_disk_full", "it is full", "free some space"))

        monkeypatch.setattr(Ledger, "record", full)
        book.finish(RunStatus.SUCCEEDED)
    monkeypatch.setattr(Ledger, "record", record)
    assert [n.code for n in book.notes] == ["ledger_disk_full", "ledger_incomplete"]
    assert "`acme`" in book.notes[1].message
    with opener(tmp_path)() as ledger:
        assert ledger.run("r-1").notes == tuple(book.notes)


def test_what_is_late_is_written_together(place: Path) -> None:
    """A ledger that came back at the end of a large run takes its results in a few transactions, in their order."""
    targets = [f"t{number:03}" for number in range(250)]
    with Book(opener(place), a_run("r-1", targets=tuple(targets))) as book:
        book.record(*map(a_result, targets))
        wait_until(lambda: bool(book.notes), "nobody missed the ledger", 60)
        place.unlink()
        book.finish(RunStatus.SUCCEEDED)
    with closing(sqlite3.connect(place / "ledger.sqlite")) as ledger:
        kept = ledger.execute("SELECT target, recorded_at FROM results ORDER BY rowid").fetchall()
    assert [target for target, _ in kept] == targets
    assert len({moment for _, moment in kept}) == 3
