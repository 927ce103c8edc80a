"""References to secrets, resolved: `env:`, `file:`, `cmd:`, `keyring:`; each is registered for redaction."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ehg_migrate.errors import ConfigurationError, Problem, quoted
from ehg_migrate.fleet import passfile
from ehg_migrate.fleet.private import check_private, read_private, resolved
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.fleet.references import parse_reference
from ehg_migrate.model import SecretRef, Target
from ehg_migrate.redaction import register
from ehg_migrate.turns import PROCESS

_COMMANDS_AT_ONCE = 4  # password managers answer in half a second, and dislike being asked by fifty at once


def resolve(target: Target, root: Path) -> str | None:
    """The target's password; None if it has no reference (a passfile, or a server that asks for none).

    Raises ConfigurationError if it cannot be had. The text is never part of an error.
    """
    return resolve_all((target,), root)[target.name]


def resolve_all(targets: Sequence[Target], root: Path) -> dict[str, str | None]:
    """The passwords by target; each distinct reference is resolved once, commands four at a time.

    Raises ConfigurationError with every reference that cannot be resolved and every passfile that libpq would ignore.
    """
    wanted: dict[SecretRef, list[Target]] = {}
    for target in targets:
        if target.password is not None:
            wanted.setdefault(target.password, []).append(target)
    found = _resolve_references(list(wanted), root)
    problems = [_missing(error, wanted[ref]) for ref, error in found.items() if isinstance(error, Refused)]
    problems += _bad_passfiles(targets, root)
    if problems:
        raise ConfigurationError(problems)
    return {target.name: _secret(found, target.password) for target in targets}


def resolve_text(reference: str, where: str, root: Path) -> str | None:
    """The secret that a reference outside the target files stands for, at `where`; None for an empty one.

    Raises ConfigurationError if it is no reference or cannot be resolved.
    """
    if not reference:
        return None
    try:
        found = _resolve(parse_reference(reference), root)
    except Refused as refused:
        raise ConfigurationError(refused.at(where)) from None
    if isinstance(found, Refused):
        raise ConfigurationError(found.at(where))
    return found


def register_variables(targets: Sequence[Target], *references: str) -> None:
    """Masks what the variables hold that targets, and other `references`, name; says nothing of those that are missing.

    A project's own code, which is loaded before anything is resolved, has them as well, and may show them.
    """
    named = {target.password for target in targets if target.password}
    for text in filter(None, references):
        with contextlib.suppress(Refused):  # whoever resolves it says so
            named.add(parse_reference(text))
    for reference in named:
        if reference.scheme == "env":
            with PROCESS:
                register(os.environ.get(reference.value[0], ""))


def _secret(found: Mapping[SecretRef, str | Refused], reference: SecretRef | None) -> str | None:
    secret = found[reference] if reference is not None else None
    return secret if isinstance(secret, str) else None


def _resolve_references(references: Sequence[SecretRef], root: Path) -> dict[SecretRef, str | Refused]:
    """For each reference its secret, or why there is none."""
    by_scheme = {scheme: [ref for ref in references if ref.scheme == scheme] for scheme in _RESOLVERS}
    commands = by_scheme["cmd"]
    found = {ref: _resolve(ref, root) for ref in (*by_scheme["env"], *by_scheme["file"])}
    found |= _resolve_keyring(by_scheme["keyring"], root)
    if commands:
        with ThreadPoolExecutor(min(_COMMANDS_AT_ONCE, len(commands))) as pool:
            found.update(zip(commands, pool.map(lambda ref: _resolve(ref, root), commands), strict=True))
    return {ref: found[ref] for ref in references}


def _resolve_keyring(references: Sequence[SecretRef], root: Path) -> dict[SecretRef, str | Refused]:
    """One after the other, since it may ask a person; one that was silent is not asked again."""
    found: dict[SecretRef, str | Refused] = {}
    for reference in references:
        found[reference] = answer = _resolve(reference, root)
        if isinstance(answer, Refused) and answer.code == "keyring_silent":
            return dict.fromkeys(references, answer) | found
    return found


def _resolve(reference: SecretRef, root: Path) -> str | Refused:
    try:
        secret = _checked(_RESOLVERS[reference.scheme](reference, root), reference)
    except Refused as refused:
        return refused
    register(secret)
    return secret


def _checked(secret: str, reference: SecretRef) -> str:
    if not secret:
        raise Refused("secret_empty", f"the secret `{reference}` is empty", "put the password there")
    if any(c in secret for c in "\0\n\r"):
        raise Refused(
            "secret_format",
            f"the secret `{reference}` holds a line break or a NUL in it",
            "a password is one line; one line break at the end of a file or an output is taken away",
        )
    if not _is_text(secret):
        raise Refused("secret_format", f"the secret `{reference}` is not UTF-8", "save it as UTF-8")
    return secret


def _is_text(secret: str) -> bool:
    try:
        secret.encode()
    except UnicodeEncodeError:  # a variable's bytes that are no UTF-8 come as halves of surrogate pairs
        return False
    return True


def _one_line(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _env(reference: SecretRef, root: Path) -> str:
    name = reference.value[0]
    with PROCESS:
        secret = os.environ.get(name)
    if not secret:
        state = "is not set" if secret is None else "is empty"
        raise Refused(
            "secret_missing",
            f"the environment variable `{name}` {state}",
            f"`export {name}=...`, or name a file that has it with `--env-file`",
        )
    return secret


def _file(reference: SecretRef, root: Path) -> str:
    path = reference.value[0]
    return _one_line(read_private(resolved(path, root), path))


def _cmd(reference: SecretRef, root: Path) -> str:
    from ehg_migrate.fleet.command import output_of  # most fleets have none

    return _one_line(output_of(reference.value, root))


def _keyring(reference: SecretRef, root: Path) -> str:
    from ehg_migrate.fleet.keyrings import password_of  # as above

    service, _, user = reference.value[0].rpartition("/")
    return password_of(service, user)


_RESOLVERS: dict[str, Callable[[SecretRef, Path], str]] = {
    "env": _env,
    "file": _file,
    "cmd": _cmd,
    "keyring": _keyring,
}


def _missing(refused: Refused, users: Sequence[Target]) -> Problem:
    """The problem at the first target that has the reference; the others are named."""
    others = f" (wanted also by {quoted((t.name for t in users[1:]), 8)})" if len(users) > 1 else ""
    return Problem(
        refused.code, f"{refused.message}{others}", refused.hint, f"{users[0].source or users[0].name}.password"
    )


def _bad_passfiles(targets: Sequence[Target], root: Path) -> list[Problem]:
    """Passfiles that libpq would ignore without a word, and then say that no password was supplied."""
    first: dict[str, Target] = {}
    for target in targets:
        if target.address.passfile:
            first.setdefault(target.address.passfile, target)
    if any(t.password is None and not t.address.passfile for t in targets):
        passfile.register_passwords(passfile.default())
    problems = []
    for path, target in first.items():
        try:
            check_private((root / path).stat(), root / path, path)
            passfile.register_passwords(root / path)
        except OSError as e:
            problem = Refused("passfile", f"the passfile `{path}` cannot be read: {e.strerror}", "create it")
            problems.append(problem.at(f"{target.source or target.name}.passfile"))
        except Refused as refused:
            problems.append(refused.at(f"{target.source or target.name}.passfile"))
    return problems
