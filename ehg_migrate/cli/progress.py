"""A run while it runs: on a terminal a live line for each target at work, elsewhere plain lines."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

from ehg_migrate.cli import console
from ehg_migrate.redaction import safe
from ehg_migrate.report.text import result_lines
from ehg_migrate.rollout.jobs import Event, EventKind

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ehg_migrate.rollout.stop import Stop


_STOPPING = "stopping: running steps end, nothing new begins; again to kill the workers"


class PlainProgress:
    """A line for each event, for logs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to end."""

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        if event.kind is EventKind.STEP_STARTED:
            console.note(f"{event.target}: step {event.step} of {event.steps}: {event.text}")
        elif event.kind is EventKind.NOTICE:
            console.note(f"{event.target}: {event.text}")
        elif event.result is not None:
            console.note(result_lines(event.result))


class LiveProgress:
    """One live line for each target at work; what has ended scrolls up above them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._rows: dict[str, TaskID] = {}
        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
            TimeElapsedColumn(),
            # it takes what is left: a long description must not push the name and the numbers out
            TextColumn("{task.fields[now]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            console=Console(stderr=True, no_color=not console.colours(), highlight=False, soft_wrap=True),
            transient=True,
            expand=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal has gone; what there is to report may go elsewhere
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        if event.result is not None:
            self._end(event)
            return
        if event.target not in self._rows:
            self._rows[event.target] = self._progress.add_task(event.target, total=event.steps, now="")
        done = event.step if event.kind is EventKind.STEP_DONE else max(event.step - 1, 0)
        row = self._rows[event.target]
        if event.kind is EventKind.NOTICE:
            self._progress.update(row, now=safe(event.text))
        else:
            self._progress.update(row, completed=done, now=safe(event.text))

    def _end(self, event: Event) -> None:
        row = self._rows.pop(event.target, None)
        if row is not None:
            self._progress.remove_task(row)
        if event.result is not None:
            for line in result_lines(event.result):
                self._progress.console.print(console.as_typed(safe(line)), markup=False, emoji=False)


def progress() -> PlainProgress | LiveProgress:
    """What suits this stderr."""
    return LiveProgress() if console.terminal() else PlainProgress()


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask to stop: once, running steps end; twice, the workers are killed.

    So does a terminal that closes, but only once: kernel and shell may both tell of it. What the command was started
    deaf to, as to a closing terminal with `nohup` or to Ctrl-C by a script's `&`, it does not hear.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and stop.asked:
            return
        stop.ask()
        if stop.asked == 1:
            # in a thread: the signal may have come in the middle of a write, and a stream cannot be entered twice
            threading.Thread(target=console.note, args=(_STOPPING,), daemon=True).start()

    wishes = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {s: signal.signal(s, ask) for s in wishes if signal.getsignal(s) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
