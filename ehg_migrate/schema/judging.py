"""Effects turned into findings: the level that each has in this project, on this target, for this revision. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ehg_migrate.database.sizes import Size, Sizes
from ehg_migrate.errors import Problem
from ehg_migrate.model import Finding, Level, Step
from ehg_migrate.revisions.rules import EFFECT_RULE, RULES, Weight, anchor
from ehg_migrate.schema.effects import Effect
from ehg_migrate.settings import Settings

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rehearsal has seen of one step."""

    step: Step
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """The levels and exceptions of a project; `allowed` gives the reason why a rule may be broken by a revision."""

    settings: Settings
    allowed: Callable[[str, str], str]  # (whole name of a rule, revision) -> reason, or nothing

    def findings(
        self, steps: Sequence[Seen], targets: tuple[str, ...], sizes: Mapping[str, Sizes | Problem] | None
    ) -> Iterator[Finding]:
        """Of steps that all these targets would get, in the order of the steps.

        Where a size decides, each target has a finding of its own. `sizes` is None where nobody has asked.
        """
        for seen in steps:
            for effect in seen.effects:
                if f"{EFFECT_RULE}{effect.rule}" not in self.settings.lint_ignore:
                    yield from self._of(seen.step, effect, targets, sizes)

    def _of(
        self, step: Step, effect: Effect, targets: tuple[str, ...], sizes: Mapping[str, Sizes | Problem] | None
    ) -> Iterator[Finding]:
        weight = RULES[effect.rule].weight
        if weight is Weight.NOTHING:
            yield self._finding(step, effect, self._level(effect), targets)
        elif sizes is None:
            one = self._finding(step, effect, Level.NOTE, targets)
            yield replace(one, message=f"{one.message}; how much that weighs, `plan --lint` finds out on each target")
        else:
            for target in targets:
                level, words = self._weighed(effect, weight, sizes[target], target)
                one = self._finding(step, effect, level, (target,))
                yield replace(one, message=f"{one.message}; {words}")

    def _level(self, effect: Effect) -> Level:
        levels = dict(self.settings.lint_levels)
        return Level(levels.get(f"{EFFECT_RULE}{effect.rule}", RULES[effect.rule].level))

    def _weighed(self, effect: Effect, weight: Weight, sizes: Sizes | Problem, target: str) -> tuple[Level, str]:
        (table,) = effect.tables
        if isinstance(sizes, Problem):
            return Level.WARNING, f"how large `{table}` is on `{target}` cannot be read: {sizes.message}"
        size = sizes.get(table)
        if size is None:
            return Level.WARNING, f"`{target}` has no table `{table}`, although its revisions make one"
        heavy = size.bytes >= self.settings.large_table if weight is Weight.SIZE else size.heap > 0
        return self._level(effect) if heavy else Level.NOTE, f"on `{target}` `{table}` has {_told(size)}"

    def _finding(self, step: Step, effect: Effect, level: Level, targets: tuple[str, ...]) -> Finding:
        rule = f"{EFFECT_RULE}{effect.rule}"
        return Finding(
            rule,
            level,
            f"{effect.identity}: {effect.message}",
            effect.hint,
            anchor(rule),
            step.revision,
            step.path,
            effect.line,
            targets,
            effect.identity,
            self.allowed(rule, step.revision),
        )


def weighed_tables(steps: Sequence[Seen]) -> frozenset[str]:
    """Tables whose size has a say."""
    return frozenset(
        table for s in steps for e in s.effects if RULES[e.rule].weight is not Weight.NOTHING for table in e.tables
    )


def _told(size: Size) -> str:
    rows = "a number of rows that nobody has counted (ANALYZE)" if size.rows is None else f"about {size.rows:,} rows"
    return f"{rows}, {_bytes(size.bytes)}"


def _bytes(count: float) -> str:
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{f'{count:.1f}'.removesuffix('.0') if count < 10 else f'{count:,.0f}'} {_UNITS[unit]}"
