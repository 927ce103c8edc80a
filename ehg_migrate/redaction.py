"""Secrets never leave this process in text: whoever resolves one registers it here, whoever writes asks `redact`."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus

MASK = "***"

# Anything shorter would mask ordinary words; such a password is still masked in the forms of `_ASSIGNED`.
_SHORTEST = 4
_ASSIGNED = re.compile(
    r"(?P<key>\bpassword\s*[=:]\s*)(?P<quote>['\"]?)(?P<value>[^\s'\",;)]+)(?P=quote)", re.IGNORECASE
)
_URL_USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://[^\s:/@]*):(?P<value>[^\s/]*)@", re.IGNORECASE)
_REFERENCE = re.compile(r"^(env|file|cmd|keyring):")

# what a hostile server could use to move the cursor, colour the terminal or break a line of a log
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_known: set[str] = set()


def register(secret: str) -> None:
    """From now on `redact` masks `secret`, as it is and in the forms that URLs, repr and psycopg give it."""
    if len(secret) >= _SHORTEST:
        _known.update({secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]})
        _known.add(secret.replace("\\", "\\\\").replace("'", "\\'"))


def redact(text: str) -> str:
    """The same text with every registered secret, `password=...` and URL password replaced by `***`."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _URL_USERINFO.sub(rf"\g<scheme>:{MASK}@", text)
    return _ASSIGNED.sub(_mask_assigned, text)


def safe(text: str) -> str:
    """`redact`, and without control characters: for text that came from a server or from a revision."""
    return _CONTROL.sub("", redact(text.replace("\r\n", "\n")))


def _mask_assigned(match: re.Match[str]) -> str:
    value = match["value"]
    if _REFERENCE.match(value):  # a reference to a secret is what we want people to see
        return match[0]
    return f"{match['key']}{match['quote']}{MASK}{match['quote']}"
