"""Pages of docs with a part that a command writes: between two markers, everything else stays as people wrote it."""

from __future__ import annotations

from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Replaces what stands between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    Raises ValueError where the page has no such markers, so that nothing is written anywhere else.
    """
    before, begin, rest = page.read_text().partition(_marker(name, "begin"))
    _, end, after = rest.partition(_marker(name, "end"))
    if not (begin and end):
        raise ValueError(f"`{page}` has no markers `{_marker(name, 'begin')}` and `{_marker(name, 'end')}`")
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def part(page: Path, name: str) -> str:
    """What stands there."""
    return page.read_text().partition(_marker(name, "begin"))[2].partition(_marker(name, "end"))[0].strip()


def _marker(name: str, side: str) -> str:
    return f"<!-- {name}: {side} -->"
