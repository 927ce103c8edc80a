"""The stand-in's refusals, in Supavisor's words: after and before 2026-03-10 (facts 1.5, read in its source)."""

from __future__ import annotations

from typing import Literal

Texts = Literal["new", "old"]

_TEXTS: dict[str, dict[Texts, str]] = {
    "ENOTFOUND": {
        "new": "(ENOTFOUND) tenant/user {user} not found",
        "old": "Tenant or user not found",
    },
    "ENOIDENTIFIER": {
        "new": "(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)",
        "old": "Tenant or user not found",
    },
    "ESSLREQUIRED": {
        "new": "(ESSLREQUIRED) SSL connection is required for user: {user}",
        "old": "SSL connection is required",
    },
    "EMAXCONNSESSION": {
        "new": "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: {limit}",
        "old": "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size",
    },
    "ECIRCUITBREAKER": {
        "new": "(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked",
        "old": "Circuit breaker open: too many authentication failures",
    },
    "EDBHANDLEREXITED": {
        "new": "(EDBHANDLEREXITED) connection to database closed. Check logs for more information",
        "old": "Connection to database closed. Check logs for more information",
    },
    "EUPSTREAM": {  # has no code of its own in either
        "new": "Failed to connect to database: {reason}",
        "old": "Failed to connect to database: {reason}",
    },
}


def refusal(code: str, texts: Texts, **values: object) -> str:
    """The message of an ErrorResponse."""
    return _TEXTS[code][texts].format(**values)
