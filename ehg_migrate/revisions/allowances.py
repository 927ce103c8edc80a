"""`lint_allow` of a revision file: which findings it has on purpose, and why. Read from the syntax tree, never run."""

from __future__ import annotations

import ast

from ehg_migrate.errors import Problem, RevisionsError

NAME = "lint_allow"
_EXAMPLE = f'write `{NAME} = {{"effect:rewrite": "the table is empty everywhere"}}`'


def allowances(tree: ast.Module, where: str) -> tuple[tuple[str, str], ...]:
    """Pairs of rule and reason; none where the module does not say. Raises RevisionsError for anything but a literal.

    Whether the rules are any is for `lint` to say.
    """
    found: dict[str, str] = {}
    for node in tree.body:
        value = _assigned(node)
        if value is not None:
            found.update(_pairs(value, where))
    return tuple(found.items())


def _assigned(node: ast.stmt) -> ast.expr | None:
    match node:
        case ast.Assign(targets=[ast.Name(id="lint_allow")], value=value):
            return value
        case ast.AnnAssign(target=ast.Name(id="lint_allow"), value=value):
            return value
    return None


def _pairs(value: ast.expr, where: str) -> dict[str, str]:
    try:
        pairs = ast.literal_eval(value)
    except (ValueError, TypeError):
        pairs = None
    place = f"{where}:{value.lineno}"
    if not isinstance(pairs, dict) or not all(isinstance(text, str) for pair in pairs.items() for text in pair):
        raise _wrong(place, f"`{NAME}` is no dictionary of literal texts")
    for rule, reason in pairs.items():
        if not reason.strip():
            raise _wrong(place, f"`{NAME}` allows `{rule}` without a reason")
    return {rule: " ".join(reason.split()) for rule, reason in pairs.items()}


def _wrong(where: str, message: str) -> RevisionsError:
    return RevisionsError(Problem("lint_allow", message, _EXAMPLE, where))
