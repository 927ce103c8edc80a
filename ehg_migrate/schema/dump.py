"""A schema as SQL that makes it anew, by the `pg_dump` of the embedded PostgreSQL's wheel."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator

from psycopg.conninfo import make_conninfo

from ehg_migrate.children import environment
from ehg_migrate.database.parameters import parameters
from ehg_migrate.errors import Problem, TargetError
from ehg_migrate.local.programs import wheel_folder
from ehg_migrate.model import Target
from ehg_migrate.redaction import one_line
from ehg_migrate.schema.scope import OURS, Scope

_SECONDS = 600.0
_VOLATILE = (  # what stands at the top, and how often
    (re.compile(r"^-- Dumped (?:from|by) .*\n", re.MULTILINE), 2),
    (re.compile(r"^SET transaction_timeout = 0;\n", re.MULTILINE), 1),  # PostgreSQL 17 has it, and it is the default
)
# A user mapping, whose options are passwords, so no catalogue of ours has them either; and what else may look like one:
# a body or a comment is somebody's text. Nothing is given back (`+`), or a row of quotes could be read in endless ways.
_PIECE = re.compile(
    r"(?P<mapping>^--\n-- Name: USER MAPPING [^\n]*; Type: USER MAPPING; [^\n]*\n--\n\n"
    r"CREATE USER MAPPING FOR (?:[^;'\"]|'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\")*+;\n\n\n)"
    r"|--[^\n]*|'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\"|(?<![\w$])\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)|(?P<order>\\)",
    re.MULTILINE | re.DOTALL,
)
# servers of late 2026 stamp each column with it, others do not know it
_ATTVER = re.compile(r"^ALTER (?:FOREIGN )?TABLE [^;\n]* SET \(pg_attver=[^,)]*\);\n", re.MULTILINE)


def dump_schema(target: Target, password: str | None, scope: Scope) -> str:
    """Everything in scope but owners, publications and user mappings. Only reads.

    The same text whenever it is asked for. Raises TargetError: pg_dump fails, as where the server is newer than it;
    LocalServerError: it is not there.
    """
    key = secrets.token_hex(16)
    place = parameters(target, None, "ehg_migrate snapshot")
    del place["password"]  # the empty one would go before PGPASSWORD
    argv = [str(wheel_folder() / "bin" / "pg_dump"), "--dbname", make_conninfo("", **place), *_options(scope, key)]
    variables = environment() | ({"PGPASSWORD": password} if password else {})
    try:
        done = subprocess.run(argv, env=variables, capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise TargetError(_failed(target, str(e))) from e
    if done.returncode:
        raise TargetError(_failed(target, done.stderr.decode(errors="replace")))
    try:
        return _stable(done.stdout.decode(), scope, key)
    except ValueError as e:  # it is no UTF-8, perhaps
        raise TargetError(_failed(target, str(e))) from e


def _options(scope: Scope, key: str) -> Iterator[str]:
    yield from ("--schema-only", "--no-owner", "--no-publications", "--no-subscriptions", "--lock-wait-timeout=10s")
    yield f"--restrict-key={key}"
    for schema in scope.only:
        yield f"--schema={_pattern(schema)}"
    if not scope.only:
        yield from (f"--exclude-schema={pattern}" for pattern in OURS)
        yield from (f"--exclude-schema={_pattern(schema)}" for schema in scope.without_schemas)
    for table in scope.without_tables:
        schema, _, name = table.partition(".")
        yield f"--exclude-table={_pattern(scope.only[0] if scope.alias else schema)}.{_pattern(name)}"


def _pattern(name: str) -> str:
    """A name that is taken as it stands."""
    return '"' + name.replace('"', '""') + '"'


def _stable(text: str, scope: Scope, key: str) -> str:
    for command in ("restrict", "unrestrict"):
        text = text.replace(f"\\{command} {key}\n\n", "", 1)
    for pattern, times in _VOLATILE:
        text = pattern.sub("", text, count=times)
    for role in scope.without_roles:  # their default privileges are the platform's, and only it may grant them
        text = re.sub(rf"^ALTER DEFAULT PRIVILEGES FOR ROLE {role} .*;\n", "", text, flags=re.MULTILINE)
    return _PIECE.sub(_kept, _ATTVER.sub("", text))


def _kept(piece: re.Match[str]) -> str:
    if piece["order"]:  # no SQL has one; psql would do what it says, a command of the shell too
        raise ValueError("a backslash stands in its answer outside of quotes, where psql would obey it")
    return "" if piece["mapping"] else piece[0]


def _failed(target: Target, said: str) -> Problem:
    message = f"{target.name}: `pg_dump` fails: {one_line(said)}"
    hint = f"what it says is about this server; `ehg-migrate doctor -t {target.name}` looks at the connection"
    return Problem("dump_failed", message, hint)
