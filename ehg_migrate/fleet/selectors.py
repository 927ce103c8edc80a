"""The language that chooses targets: `acme`, `eu-*`, `tag:prod`, `env:staging`, `wave:canary`, `all`, `!` to leave out.

Several stand in one item with commas between them. What is named is added up, then what has a `!` is taken away; with
nothing but `!` one starts from all. Last, `shard:2/8` keeps the second of eight even parts, so that eight jobs of a
pipeline share one selection. A selector that matches nothing is an error: it is a typing mistake, or a target that
somebody believes to be there; only a shard may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ehg_migrate.errors import Problem, UsageError, some
from ehg_migrate.model import Target

_SHOWN = 8
_GLOB = frozenset("*?[")
_KINDS = {
    "name": "target matches",
    "tag": "target with the tag matches",
    "env": "target with the env matches",
    "wave": "target is in a wave that matches",
}


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector, parsed."""

    text: str  # as written
    exclude: bool
    kind: str  # name, tag, env, wave
    pattern: str

    @property
    def plain(self) -> bool:
        """Whether it is the name of one target, which needs no look at all of them: a `resume` names thousands so."""
        return self.kind == "name" and not _GLOB.intersection(self.pattern)

    def matches(self, target: Target) -> bool:
        """Whether it means this target; upper and lower case differ."""
        if self.kind == "tag":
            return any(fnmatchcase(tag, self.pattern) for tag in target.tags)
        return fnmatchcase(str(getattr(target, self.kind)), self.pattern)


class _Any:
    """What one of several selectors means."""

    def __init__(self, selectors: Iterable[Selector]) -> None:
        selectors = list(selectors)
        self._names = {s.pattern for s in selectors if s.plain}
        self._others = [s for s in selectors if not s.plain]

    def matches(self, target: Target) -> bool:
        return target.name in self._names or any(s.matches(target) for s in self._others)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` even parts of a selection, counted from 1."""

    number: int
    of: int

    def part(self, chosen: tuple[Target, ...]) -> tuple[Target, ...]:
        """Every target is in exactly one part, by the order of the names, so that all jobs agree without talking."""
        mine = {t.name for t in sorted(chosen, key=lambda t: t.name)[self.number - 1 :: self.of]}
        return tuple(t for t in chosen if t.name in mine)


def select(targets: Sequence[Target], selectors: Sequence[str]) -> tuple[Target, ...]:
    """The chosen targets in the order of `targets`; all if there is no selector.

    Raises UsageError with every selector that is wrong or matches nothing, and where nothing is left.
    """
    parsed: list[Selector] = []
    shards: list[Shard] = []
    problems: list[Problem] = []
    names = {target.name for target in targets}
    for text in items(selectors):
        found = _parse(text)
        if isinstance(found, Selector) and not _means_any(found, targets, names):
            found = _no_match(found, targets)
        match found:
            case Problem():
                problems.append(found)
            case Shard():
                shards.append(found)
            case Selector():
                parsed.append(found)
    if len(shards) > 1:
        problems.append(Problem("bad_shard", "a selection has more than one `shard:`", "keep one"))
    if problems:
        raise UsageError(problems)
    chosen = _chosen(targets, parsed)
    return shards[0].part(chosen) if shards else chosen


def missing_shards(selections: Iterable[str]) -> tuple[str, ...]:
    """Those that nobody has selected, of selections that have others of the same parts: whole, as they are written."""
    parts: dict[tuple[str, int], set[int]] = {}
    for selection in selections:
        rest, comma, last = selection.rpartition(",")
        found = _parse(last)
        if isinstance(found, Shard):
            parts.setdefault((rest + comma, found.of), set()).add(found.number)
    return tuple(
        f"{rest}shard:{number}/{of}"
        for (rest, of), there in sorted(parts.items())
        for number in range(1, of + 1)
        if number not in there
    )


def _means_any(selector: Selector, targets: Sequence[Target], names: Collection[str]) -> bool:
    return selector.pattern in names if selector.plain else any(map(selector.matches, targets))


def items(selectors: Sequence[str]) -> Iterator[str]:
    """Each selector by itself; a text by itself is one item, as Python has it that it is many."""
    for item in (selectors,) if isinstance(selectors, str) else selectors:
        for part in item.split(","):
            yield part.strip()


def _parse(text: str) -> Selector | Shard | Problem:
    if text.startswith("shard:"):
        return _shard(text)
    body = text.removeprefix("!").strip()
    kind, colon, pattern = body.partition(":")
    if not colon:
        kind, pattern = "name", "*" if body == "all" else body
    if kind not in _KINDS:
        hint = "use a name, a glob like `eu-*`, `tag:...`, `env:...` or `wave:...`"
        return Problem("bad_selector", f"`{text}` is not a selector", hint)
    if not pattern:
        return Problem(
            "empty_selector",
            f"the selector `{text}` names nothing" if text else "a selector is empty",
            "name targets, or `all`; an unset variable may stand behind it",
        )
    return Selector(text, text.startswith("!"), kind, pattern)


def _shard(text: str) -> Shard | Problem:
    parts = re.fullmatch(r"shard:([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if parts is None or int(parts[1]) > int(parts[2]):
        return Problem(
            "bad_shard", f"`{text}` is not a shard", "write `shard:I/N` with I from 1 to N, the same N for all jobs"
        )
    return Shard(int(parts[1]), int(parts[2]))


def _chosen(targets: Sequence[Target], selectors: Sequence[Selector]) -> tuple[Target, ...]:
    all_of_them = all(s.exclude for s in selectors)
    wanted, unwanted = _Any(s for s in selectors if not s.exclude), _Any(s for s in selectors if s.exclude)
    chosen = tuple(t for t in targets if (all_of_them or wanted.matches(t)) and not unwanted.matches(t))
    if not chosen and selectors:
        written = ",".join(s.text for s in selectors)
        raise UsageError(
            Problem("empty_selection", f"`{written}` leaves no target", "take away one of the `!` selectors")
        )
    return chosen


def _no_match(selector: Selector, targets: Sequence[Target]) -> Problem:
    there = {
        "targets": [target.name for target in targets],
        "tags": sorted({tag for target in targets for tag in target.tags}),
        "envs": sorted({target.env for target in targets if target.env}),
        "waves": list(dict.fromkeys(target.wave for target in targets if target.wave)),
    }
    close = _close(selector, there)
    hints = [f"did you mean {' or '.join(f'`{c}`' for c in close)}?"] if close else []
    hints += [f"{title}: {_short(found)}" for title, found in there.items() if found]
    return Problem("no_match", f"no {_KINDS[selector.kind]} `{selector.pattern}`", "; ".join(hints))


def _close(selector: Selector, there: Mapping[str, Sequence[str]]) -> list[str]:
    """Up to three selectors that may have been meant, of whatever kind; written as one would type them."""
    titles = {"targets": "name", "tags": "tag", "envs": "env", "waves": "wave"}
    near_kind = sorted(there, key=lambda title: titles[title] != selector.kind)
    ways = [f"{titles[title]}:{value}".removeprefix("name:") for title in near_kind for value in there[title]]
    by_value = {way.rpartition(":")[2].lower(): way for way in reversed(ways)}
    near = get_close_matches(selector.pattern.lower(), by_value, n=3)
    sign = "!" if selector.exclude else ""
    return [sign + by_value[value] for value in near]


def _short(names: Sequence[str]) -> str:
    return some(names, _SHOWN)
