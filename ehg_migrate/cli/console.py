"""The only module that writes to the terminal: data on stdout, everything else on stderr, nothing unredacted."""

from __future__ import annotations

import errno
import io
import operator
import os
import select
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from json.encoder import encode_basestring_ascii as escape
from typing import Any, TextIO, TypeVar

import click

from ehg_migrate.errors import Problem, named_in
from ehg_migrate.redaction import inert, is_inert, printable, redact_known, safe, without_secrets

_READER_GONE = 141  # what a shell says of a program that a closed pipe has ended
_HINT = "hint: "
_MOST_PROBLEMS = 100
_MOST_WARNINGS = 5  # of one rule

T = TypeVar("T")

given: dict[str, str] = {}
"""Parameter -> option of the present command as it was typed: what commands in hints are to have, too."""


def as_typed(text: str) -> str:
    """The text, its commands with the options that the present one was given."""
    if not given or not ("`ehg-migrate " in text or "`alembic " in text):
        return text
    from ehg_migrate.cli import again  # most commands have no hint to give

    return again.as_typed(text, given)


def hints_as_typed(value: T, target: str = "") -> T:
    """The same dataclasses and sequences of them, their hints so, with the name of the `target` that they are of."""
    if isinstance(value, (tuple, list)):
        items = type(value)(hints_as_typed(item, target) for item in value)
        return value if all(map(operator.is_, items, value)) else items
    if not is_dataclass(value) or isinstance(value, type):
        return value
    whose = getattr(value, "target", target)
    target = whose if isinstance(whose, str) else target
    told = {}
    for name in _field_names(type(value)):
        held = getattr(value, name)
        if name == "hint" and held:
            told[name] = as_typed(named_in(held, target) if target else held)
        elif (new := hints_as_typed(held, target)) is not held:
            told[name] = new
    return replace(value, **told) if told else value


@cache  # a run has as many steps as targets have revisions
def _field_names(type_: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(type_) if f.init)


def data(lines: Iterable[str] | str) -> None:
    """What was asked for, on stdout, for people. What follows a line break in a name is no line of ours."""
    _write((_told(as_typed(line) if _HINT in line else line) for line in _lines(lines)), err=False)


def script(lines: Iterable[str], *, exact: bool = False) -> None:
    """SQL, on stdout: as it is, but for secrets and what steers a terminal; `exact` but for known secrets and that."""
    _write(map(_as_it_is if exact else safe, lines), err=False)


def changes(sql: str, *, as_json: bool) -> bool:
    """Whether a statement cannot be printed as it is, even `exact`, or not into a log: in JSON nothing is left out."""
    return redact_known(sql) != sql if as_json else not (_as_it_is(sql) == sql and is_inert(sql))


def own(lines: Iterable[str]) -> None:
    """A text of this program itself, on stdout: it holds no secret, and what looks like one is an example."""
    _write(lines, err=False)


def note(lines: Iterable[str] | str) -> None:
    """Progress, warnings, questions: on stderr, so that stdout can be piped. A stderr that is gone stops nothing."""
    _write((_told(as_typed(line)) for line in _lines(lines)), err=True)


def json(kind: str, value: object, *, exact: bool = False) -> None:
    """`{"schema_version": 1, "kind": ..., "data": ...}` on stdout; `docs/json.md` describes it.

    `exact` where it is read again: then nothing but known secrets is masked, and nothing left out.
    """
    _write([json_text(kind, value if exact else hints_as_typed(value), exact=exact)], err=False)


def json_text(kind: str, value: object, *, exact: bool = False) -> str:
    """What `json` writes."""
    from ehg_migrate.json_form import SCHEMA_VERSION, dump, dumps

    data = _safe_texts(dump(value), redact_known if exact else without_secrets)
    return dumps({"schema_version": SCHEMA_VERSION, "kind": kind, "data": data})


def problem(p: Problem, level: str = "error") -> None:
    """One thing that is wrong: what, where, what to do next."""
    state = f" (SQLSTATE {p.sqlstate})" if p.sqlstate else ""
    # only our own colours may pass
    _write([f"{_coloured(level)}: {_told(p.message + state)}"], err=True)
    if p.where:
        note(f"  at {p.where}")
    if p.hint:
        note(f"  hint: {p.hint}")


def problems(found: Sequence[Problem]) -> None:
    """Everything that is wrong, unless that is more than anybody reads."""
    for p in found[:_MOST_PROBLEMS]:
        problem(p)
    if len(found) > _MOST_PROBLEMS:
        note(f"and {len(found) - _MOST_PROBLEMS} more; correct these first")


def warnings(found: Iterable[Problem]) -> None:
    """Of each rule the first, since they come with every command; a fleet with many branches may have thousands."""
    of_rule: Counter[str] = Counter()
    for p in found:
        of_rule[p.code] += 1
        if of_rule[p.code] <= _MOST_WARNINGS:
            problem(p, f"warning [{p.code}]")
    for rule, count in of_rule.items():
        if count > _MOST_WARNINGS:
            note(f"and {count - _MOST_WARNINGS} more [{rule}]; `ehg-migrate lint` shows all")


def interactive() -> bool:
    """Whether there is a person who can answer."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def terminal() -> bool:
    """Whether stderr is a terminal on which lines can move."""
    return _is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"


def colours() -> bool:
    """Whether stderr is a terminal that wants colours; see https://no-color.org."""
    return terminal() and not os.environ.get("NO_COLOR")


def ask(question: str) -> str:
    """What the person types; nothing at the end of the input."""
    click.echo(f"{safe(question)}: ", nl=False, err=True)
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors != "replace":  # not once something was read
        sys.stdin.reconfigure(errors="replace")  # a key of another encoding is another answer
    typed = sys.stdin.readline()
    if not typed.endswith("\n"):
        note("")
    return typed.strip()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None where the program was started with it closed


def _coloured(level: str) -> str:
    return click.style(level, fg="red" if level == "error" else "yellow", bold=True) if colours() else level


def _told(text: str) -> str:
    """Others may have written some of it: no line of that may look like one of ours, or be obeyed by a pipeline."""
    return inert(safe(text)).replace("\n", "\n    ")


def _lines(lines: Iterable[str] | str) -> Iterable[str]:
    return [lines] if isinstance(lines, str) else lines


def _as_it_is(text: str) -> str:
    shown = printable(redact_known(text))
    return inert(shown) if shown.startswith("--") else shown  # a comment of ours, about a name of somebody's


def _safe_texts(value: Any, hide: Callable[[str], str], *, name: bool = False) -> Any:
    """Plain JSON values with every text redacted, but for keys and names; control characters are JSON's to escape.

    Each text by itself: a secret is looked for as it is, not as JSON writes it, and no quote of JSON's is masked.
    """
    from ehg_migrate.json_form import NAMES, SCHEMA

    if isinstance(value, dict):
        return {k: _safe_texts(v, redact_known if k in SCHEMA else hide, name=k in NAMES) for k, v in value.items()}
    if isinstance(value, list):
        return [_safe_texts(item, hide, name=name) for item in value]
    return hide(value) if isinstance(value, str) and not name else value


def _write(lines: Iterable[str], *, err: bool) -> None:
    """All of it at once. Ends the program where stdout cannot be written: its reader has gone, or the disk is full."""
    text = "".join(f"{line}\n" for line in lines)
    stream: TextIO | None = sys.stderr if err else sys.stdout
    if stream is None or not text:  # none where the program was started with it closed: nobody wants to hear
        return
    try:
        _put(_sayable(text, stream), stream)
    except OSError as e:
        _forget(2 if err else 1)
        if err:
            return  # a run must not end in its middle because nobody watches it any more
        if e.errno == errno.EPIPE:
            raise SystemExit(_READER_GONE) from None
        note(f"error: the output cannot be written: {e.strerror}")
        raise SystemExit(1) from None


def _sayable(text: str, stream: TextIO) -> str:
    """What the stream's encoding does not have as JSON writes it, `\\u00f6`; a name must not end a command."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if c == c.encode(encoding, "replace").decode(encoding) else escape(c)[1:-1] for c in text)
    return text


def _put(text: str, stream: TextIO) -> None:
    """All of the text, or OSError. Past Python's buffers: they lose what a pipe that does not block has no room for."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if not stream.encoding or not isinstance(raw, io.RawIOBase):  # a live display's stand-in has no encoding
        click.echo(text, stream, nl=False)
        return
    stream.flush()
    data = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
    while data:
        written = raw.write(data)
        if written is None:
            _wait_for_room(raw)
        else:
            data = data[written:]


def _wait_for_room(raw: io.RawIOBase) -> None:
    """Until the reader has taken something, or is gone."""
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLOUT)
    poll.poll()


def _forget(descriptor: int) -> None:
    """What is still written there is lost, without a word from the interpreter when it flushes at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
