"""Secrets never leave this process in text: whoever resolves one registers it here, whoever writes asks `redact`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from urllib.parse import quote_plus, unquote

MASK = "***"

# Anything shorter would mask ordinary words; such a password is still masked in the forms of `_GIVEN`.
_SHORTEST = 4
_NAMED = r"(?:password|passwd|passphrase)"
# more that SQL gives away: settings, options of foreign servers; only in quotes, since columns are called so too
_ALIKE = r"(?:secret|api_?key|access_?key|private_?key|role_?key)"
# A text in quotes, or one that was cut before its end. Within another one its quotes are doubled or have backslashes
# before them, as in `EXECUTE 'ALTER ROLE a PASSWORD ''x'''` and in a line of Python. A run of backslashes is passed
# over at once, and a quote has 99 signs at most, or a customer's text could keep us for hours. `(?>(?:...)*)`, and not
# `(?:...)*+`, which until Python 3.11.5 matches nothing where a part of it looks ahead.
_QUOTED = (
    r"(?:[eEnN]|[uU]&)?(?:\\*(?P<empty>['\"])(?:\\*(?P=empty))+(?=[\s,;:|)\]}]|$)"
    r"|(?P<quote>\\{0,99}(?:'{1,99}|\"{1,99}))"
    r"(?>(?:(?P=quote){2}|(?:\\\\)+(?P=quote)|(?!(?P=quote))(?:(?:\\\\)++|\\.|.))*)(?:(?P=quote)|$))"
    r"|(?P<tag>\$\w*\$).*?(?:(?P=tag)|$)"
)
_BARE = r"(?:[^\s'\",;)\\]|\\(?!['\"])|''(?=[^\s'\",;)])|[,;)](?=[^\s'\",;)]))+"
_GAP = r"(?>(?:\s|/\*.{0,200}?\*/|--[^\n]{0,200}\n)+)"  # what may stand between two words of SQL
_IS = r"(?::=|=>|==?|:(?!:))"
_CALL = r"(?:\w{1,63}\s*\(\s*)*"  # `crypt(`
_GIVEN = tuple(
    re.compile(rf"(?P<key>{key})(?P<value>{value})", re.IGNORECASE | re.DOTALL)
    for key, value in (
        # `password=x`, `"password": "x"`, `password := crypt('x', ...)`
        (rf"{_NAMED}\\*[\"'`]?(?:::\w+)?\s*{_IS}\s*{_CALL}", f"{_QUOTED}|{_BARE}"),
        # `format('ALTER ROLE %I PASSWORD %L', 'a', 'x')`: any of them may be it
        (rf"{_NAMED}[\"']*\s+'*+%\d*\$?[LIs][^';]{{0,100}}'++\s*+,\s*", r"(?:[^()']|'(?:[^']|'')*+(?:'|$))++"),
        # `'... PASSWORD ' || quote_literal('x')`
        (rf"{_NAMED}\s+'++\s*+\|\|\s*{_CALL}", _QUOTED),
        # `set_config('app.password', 'x', false)`, `vault.create_secret('x')`
        (rf"set_config\s*\(\s*'[^']{{0,100}}(?:{_NAMED}|{_ALIKE})'\s*,\s*|create_secret\s*\(\s*", _QUOTED),
        # `PASSWORD 'x'`, `OPTIONS (ADD "password" 'x')`, `SET "app.jwt_secret" TO 'x'`, `"api_key": "x"`
        (
            rf"(?:{_NAMED}|{_ALIKE})\\*[\"'`]?(?:{_GAP}(?:(?:TO\b|{_IS}){_GAP}?)?|{_IS}{_GAP}?)"
            rf"|(?<![\w'\"`.]){_NAMED}",
            _QUOTED,
        ),
    )
)
_GIVING = re.compile("pass(?:word|wd|phrase)|secret|key", re.IGNORECASE)  # what any of them finds has one of these
_URL_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]*):(?P<value>[^\s/]*)@", re.IGNORECASE)
# a reference to a secret, or the place for one, is what we want people to see
_SHOWN = re.compile(r"['\"]?(?:env|file|cmd|keyring):|\{|\.\.\.|[\\'\"]*\*\*\*[\\'\"]*$")

# what SQL calls by name is not there to be seen: `crypt(given`, `NEW.password`, `$1`; behind the last sign of the key
_NAME = re.compile(r"\((?!\d)[\w.]+|.(?:(?:NEW|OLD|EXCLUDED)\.\w+|\$\d+)", re.IGNORECASE)

# what a hostile server could use to move the cursor, colour the terminal, fill the clipboard, break a line of a log or
# turn the direction of what stands behind it
_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
    re.MULTILINE,
)

# what pipelines read in a log as a command to them: `::error::` at the beginning of a line, behind blanks of any kind
# too, and `##[error]` (both GitHub), `##vso[task.setvariable ...]` (Azure), `##teamcity[...]` anywhere
_COMMAND = re.compile(r"^(?P<first>[^\S\n]*:)(?=:)|(?P<anywhere>#)(?=#\w*\[)", re.MULTILINE)
# the same where SQL must be what it is: a cast may begin a line too, and no type is called like one of these
_COMMAND_IN_SQL = re.compile(
    r"^[^\S\n]*::(?:add-(?:mask|matcher|path)|debug|echo|(?:end)?group|error|notice|remove-matcher|save-state|"
    r"set-(?:env|output)|stop-commands|warning)\b|##\w*\[",
    re.MULTILINE,
)

# what stands in the place of the rest, where PostgreSQL shows 64 signs of a value, and SQLAlchemy, which puts a blank
# before it, 300 of a parameter
_CUT = "..."

# beginnings that are looked for one by one; of more each place of the text is looked at, which long texts feel
_FEW = 64
_LONG = 12  # signs of a beginning; many secrets have the first four in common, as `sbp_`
_LOOKED_AT = 10  # times the length that is kept

_known: set[str] = set()


def register(secret: str) -> None:
    """From now on `redact` masks `secret`, as it is and as URLs, Python, JSON, SQL, libpq and shells write it."""
    if len(secret) >= _SHORTEST:
        _known.add(secret)


def known() -> tuple[str, ...]:
    """Every registered secret, for a process of ours that must mask them too; never to be written anywhere."""
    return tuple(_known)


def longest() -> int:
    """How many characters the longest form of a secret has: so much of a cut text may be a piece of one."""
    return max((len(form) for forms in _forms(len(_known))[0].values() for form in forms), default=0)


def redact(text: str) -> str:
    """The same text with every registered secret, `password=...`, `PASSWORD '...'` and URL password masked as `***`."""
    text = _URL_USERINFO.sub(rf"\g<scheme>:{MASK}@", redact_known(text))
    if _GIVING.search(text):
        for pattern in _GIVEN:
            text = pattern.sub(_mask, text)
    return text


def redact_known(text: str) -> str:
    """The same text with every registered secret masked, and what only looks like one as it is.

    For SQL, which must be what it is: in a schema `password = crypt(...)` is no secret, and masked another statement.
    """
    return _without(text, _encoded_in(text) if "%" in text else ())


def printable(text: str) -> str:
    """The same text without control characters, line breaks and tabs excepted."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def safe(text: str) -> str:
    """`redact`, and `printable`: for text that came from a server or from a revision."""
    return printable(without_secrets(text))


def without_secrets(text: str) -> str:
    """`redact`, which leaves control characters as they are, except in a text where they may hide a secret."""
    masked = redact(text)
    shown = printable(masked)
    again = masked if shown == masked else redact(shown)
    return masked if again == shown else again


def inert(text: str) -> str:
    """The same text with a blank in whatever a pipeline would obey if it stood in its log: for words of others."""
    return _COMMAND.sub(r"\g<0> ", text)


def is_inert(statement: str) -> bool:
    """Whether no pipeline would obey a line of this SQL if it stood in its log."""
    return _COMMAND_IN_SQL.search(statement) is None


def one_line(text: str, length: int = 1000) -> str:
    """The beginning of `safe(text)` on one line. A server may say 10 MB: what lies far behind is not looked at."""
    near = _LOOKED_AT * length
    shown = safe(text[:near])
    if len(text) > near:  # where it was cut, a piece of a secret may stand, which nothing recognises
        shown = shown[: max(0, len(shown) - longest())]
    return " ".join(shown.split())[:length]


def _without(text: str, patterns: Iterable[re.Pattern[str]]) -> str:
    """The text with all of it masked that belongs to any form of a secret, or that a pattern finds.

    One may begin within another, or be a part of it.
    """
    found: list[tuple[int, int]] = []
    for form in _near(text, _forms(len(_known))[0]):
        found += ((start, start + len(form)) for start in _places(text, form))
    for pattern in patterns:
        match = pattern.search(text)
        while match:
            found.append(match.span())
            match = pattern.search(text, match.start() + 1)
    if _CUT in text:
        found += _pieces(text)
    kept, end = [], 0
    for start, stop in sorted(found):
        if start >= end:
            kept += [text[end:start], MASK]
        end = max(end, stop)
    return "".join((*kept, text[end:])) if found else text


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Beginnings of a form that was cut behind them, and ends of one that was cut before."""
    _, beginnings, ends = _forms(len(_known))
    yield from _begun(text, _near(text, beginnings))
    mirror = text[::-1]
    mirrored = _begun(mirror, _near(mirror, ends))
    yield from ((len(text) - stop, len(text) - start) for start, stop in mirrored)


def _begun(text: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        for start in _places(text, form[:_SHORTEST]):
            stop = start + _alike(form, text[start : start + len(form)])
            cut = text.rfind(_CUT, start + _SHORTEST, stop + len(_CUT) + 1)  # a secret may have dots there, too
            if cut >= 0 and text[stop:cut] in ("", " "):
                yield start, min(cut, stop)


def _alike(one: str, other: str) -> int:
    """How many signs of two texts are the same, from their beginning on."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _places(text: str, piece: str) -> Iterator[int]:
    place = text.find(piece)
    while place >= 0:
        yield place
        place = text.find(piece, place + 1)


def _mask(match: re.Match[str]) -> str:
    groups = match.groupdict()
    quote = groups.get("quote") or groups.get("empty") or ""
    is_name = not (quote or groups.get("tag")) and _NAME.fullmatch(match["key"][-1] + match["value"])
    if _SHOWN.match(match["value"]) or is_name:
        return match[0]
    return f"{match['key']}{quote}{MASK}{quote}"


def _near(text: str, by_beginning: Mapping[str, Iterable[str]]) -> list[str]:
    """What may stand in the text, since its beginning does: a fleet has thousands of secrets, a text few of them."""
    if len(by_beginning) > _FEW:
        pieces = (text[i : i + size] for size in (_SHORTEST, _LONG) for i in range(len(text) - size + 1))
        there = {piece for piece in pieces if piece in by_beginning}
    else:
        there = {beginning for beginning in by_beginning if beginning in text}
    return [one for beginning in there for one in by_beginning[beginning]]


@lru_cache(maxsize=1)
def _forms(known: int) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
    """All that secrets can look like, by its beginning; by one that may be a piece of it, and so from the end on.

    `known` is how many: they only become more, and one that comes while these are made has them made anew.
    """
    forms = {form for secret in frozenset(_known) for form in _written(secret) if len(form) >= _SHORTEST}
    mirrored = _by_beginning(((f[::-1], f[::-1]) for f in forms), _SHORTEST)
    return _by_beginning((f, f) for f in forms), _by_beginning(((f, f) for f in forms), _SHORTEST), mirrored


def _by_beginning(named: Iterable[tuple[str, str]], long: int = _LONG) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, one in named:
        found.setdefault(name[: long if len(name) >= long else _SHORTEST], []).append(one)
    return found


def _written(secret: str) -> set[str]:
    bare = secret.replace("\\", "\\\\")
    return {
        secret,
        printable(secret),
        quote_plus(secret),
        repr(secret)[1:-1],  # Python
        repr(f"'\"{secret}")[4:-1],  # the same where it stands in a text with both quotes
        ascii(secret)[1:-1],
        repr(secret.encode())[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.replace("'", "''"),  # SQL
        bare.replace("'", "''"),
        bare.replace("'", "\\'"),  # libpq
        bare.replace('"', '\\"'),
        secret.replace("'", "'\"'\"'"),  # shlex
    }


def _encoded_in(text: str) -> Iterator[re.Pattern[str]]:
    """For URLs, whatever characters their writer chose to encode."""
    middles, others = _middles(len(_known))
    return map(_encoded, (*_near(unquote(text).replace("+", " "), middles), *others))


@lru_cache(maxsize=1)
def _middles(known: int) -> tuple[dict[str, list[str]], list[str]]:
    """Secrets by their third sign and more, since a percent sign before may take two digits; then all others."""
    secrets = frozenset(_known)
    plain = {s for s in secrets if len(s) >= 2 + _SHORTEST and "%" not in s[: 2 + _LONG]}
    return _by_beginning((s[2:].replace("+", " "), s) for s in plain), sorted(secrets - plain)


@cache
def _encoded(secret: str) -> re.Pattern[str]:
    return re.compile("".join(map(_either, secret)))


def _either(character: str) -> str:
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    plus = r"|\+" if character == " " else ""
    return f"(?:{re.escape(character)}|(?i:{encoded}){plus})"
