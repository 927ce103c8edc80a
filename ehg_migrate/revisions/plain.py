"""What a revision file is known not to do: anything at all when it is loaded, anything but operations in a function.

Read from the syntax tree and never run. Whatever is not known to be harmless counts as something done.
"""

from __future__ import annotations

import ast
import re
import warnings
from functools import lru_cache

from ehg_migrate.turns import PROCESS

_OPERATIONS = frozenset(
    {
        "add_column", "alter_column", "create_check_constraint", "create_exclude_constraint", "create_foreign_key",
        "create_index", "create_primary_key", "create_table", "create_table_comment", "create_unique_constraint",
        "drop_column", "drop_constraint", "drop_index", "drop_table", "drop_table_comment", "execute", "rename_table",
    }
)  # fmt: skip
# operations that only make a value
_VALUES = frozenset({"f", "inline_literal"})
# what modules of SQLAlchemy may be asked for, beside names in capitals (types, constraints) and all of `func`
_WORDS = frozenset(
    {
        "and_", "cast", "column", "desc", "false", "literal", "literal_column", "not_", "null", "nullslast", "or_",
        "table", "text", "true",
    }
)  # fmt: skip
FUNCTIONS = ("upgrade", "downgrade")
_SETS_TRANSACTION = re.compile(rb"SET\s+(?:(?:SESSION|LOCAL)\s+)?TRANSACTION", re.IGNORECASE)
_IMPORTS = frozenset({"__future__", "alembic", "collections", "sqlalchemy", "typing"})


def parsed(source: bytes) -> ast.Module:
    """The file's tree. Warns of nothing: an invalid escape in a string is said when the file is run.

    Raises SyntaxError, ValueError.
    """
    with PROCESS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def is_silent(tree: ast.Module) -> bool:
    """Whether loading a file only defines names, so that no other file could tell if it was loaded."""
    names = _Names()
    return all(names.take(node) for node in tree.body)


@lru_cache(maxsize=1024)  # a worker may serve many targets with the same revisions
def is_plain(source: bytes, function: str) -> bool:
    """Whether a function of a revision file is a list of operations, so that it cannot tell when they are done."""
    try:
        return function in plain_functions(parsed(source))
    except (SyntaxError, ValueError):
        return False


def plain_functions(tree: ast.Module) -> tuple[str, ...]:
    """Those of `upgrade` and `downgrade` that are such lists. Running one leaves nothing behind in its process."""
    names = _Names()
    if not all(names.take(node) for node in tree.body):
        return ()
    return tuple(function for function in FUNCTIONS if names.lists_operations(function))


def sets_transaction(source: bytes) -> bool:
    """Whether a revision file may say how its transactions are to be: that must be the first to be sent in them."""
    return bool(_SETS_TRANSACTION.search(source))


def imports_first(source: bytes) -> tuple[list[ast.stmt], bool]:
    """The imports of a revision file up to where it does anything else but define names, and whether that is all of it.

    Raises SyntaxError, ValueError.
    """
    names, found = _Names(), list[ast.stmt]()
    for node in parsed(source).body:
        harmless = names.take(node)
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
            found.append(node)
        elif not harmless:
            return found, False
    return found, True


class _Names:
    """What the names of a module stand for, statement by statement."""

    def __init__(self) -> None:
        self._alembic: set[str] = set()  # `op`, if it is Alembic's
        self._sqlalchemy: set[str] = set()  # modules of SQLAlchemy and names out of them
        self._constants: set[str] = set()
        self._functions: dict[str, ast.FunctionDef] = {}

    def take(self, node: ast.stmt) -> bool:
        """Learns from one statement of the module; False if it is not known to be harmless."""
        match node:
            case ast.Import() | ast.ImportFrom():
                return self._import(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                return self._constant(name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value, annotation=annotation):
                return not _calls(annotation) and (value is None or self._constant(name, value))
            case ast.FunctionDef(decorator_list=[], args=arguments, returns=returns):
                self._functions[node.name] = node
                return self._is_new(node.name) and not _calls(arguments) and not (returns and _calls(returns))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                return True
        return False

    def _import(self, node: ast.Import | ast.ImportFrom) -> bool:
        for alias in node.names:
            module = alias.name if isinstance(node, ast.Import) else node.module or ""
            name = alias.asname or alias.name.partition(".")[0]
            package = module.partition(".")[0]
            relative = isinstance(node, ast.ImportFrom) and node.level
            if name == "*" or package not in _IMPORTS or relative or not self._is_new(name):
                return False
            if module == "alembic" and alias.name == "op":
                self._alembic.add(name)
            if package == "sqlalchemy":
                self._sqlalchemy.add(name)
        return True

    def _constant(self, name: str, value: ast.expr) -> bool:
        if not self._is_new(name) or not self._is_value(value):
            return False
        self._constants.add(name)
        return True

    def _is_new(self, name: str) -> bool:
        return name not in self._alembic | self._sqlalchemy | self._constants

    def lists_operations(self, function: str) -> bool:
        """Whether the function is known, and every statement in it one operation, on values known by then."""
        found = self._functions.get(function)
        return found is not None and not _parameters(found) and all(self._is_operation(s) for s in found.body)

    def _is_operation(self, node: ast.stmt) -> bool:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                return True
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=operation)) as call):
                known = name in self._alembic and operation in _OPERATIONS and not _has_options(operation, call)
                return known and self._takes_values(call)
        return False

    def _takes_values(self, call: ast.Call) -> bool:
        return all(self._is_value(a) for a in (*call.args, *(k.value for k in call.keywords)))

    def _is_value(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return name in self._constants | self._sqlalchemy
            case ast.Constant() | ast.Tuple() | ast.List() | ast.Dict() | ast.JoinedStr() | ast.UnaryOp() | ast.BinOp():
                parts = operands(node) if isinstance(node, ast.BinOp) else ast.iter_child_nodes(node)
                return all(self._is_value(n) for n in parts if isinstance(n, ast.expr))
            case ast.FormattedValue(value=value, format_spec=None):
                return self._is_value(value)
            case ast.Attribute():
                return self._is_known(_chain(node))
            case ast.Call(func=ast.Name() | ast.Attribute() as called):
                return self._is_known(_chain(called)) and self._takes_values(node)
        return False

    def _is_known(self, chain: tuple[str, ...]) -> bool:
        if not chain or chain[0] not in self._alembic | self._sqlalchemy:
            return False
        if chain[0] in self._alembic:
            return len(chain) == 2 and chain[1] in _VALUES
        return "func" in chain[:-1] or chain[-1][:1].isupper() or chain[-1] in _WORDS


def operands(node: ast.expr) -> list[ast.expr]:
    """Of `a + b + c`, in order. In the tree one is in the other, and no stack is as deep as a thousand of them."""
    found: list[ast.expr] = []
    while isinstance(node, ast.BinOp):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def _has_options(operation: str, call: ast.Call) -> bool:
    """Whether it may say how its connection is to be: what is said so holds for all that comes after it."""
    return operation == "execute" and any(k.arg != "sqltext" for k in call.keywords)


def _parameters(function: ast.FunctionDef) -> bool:
    a = function.args
    return bool(a.posonlyargs or a.args or a.vararg or a.kwonlyargs or a.kwarg)


def _calls(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Call) for n in ast.walk(node))


def _chain(node: ast.expr) -> tuple[str, ...]:
    """`a.b.c` as its names; empty for anything else."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        before = _chain(node.value)
        return (*before, node.attr) if before else ()
    return ()
