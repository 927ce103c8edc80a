"""Where a target's database is, before TLS: what `project_ref` or `url` says, and Supabase's rules about its hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ehg_migrate.fleet import values
from ehg_migrate.fleet.merge import Settings

POOLER = ".pooler.supabase.com"
TRANSACTION_PORT = 6543
ADDRESS_FIELDS = frozenset({"project_ref", "host", "port", "user", "database", "url"})
_DIRECT = re.compile(r"db\.(?P<ref>[a-z0-9]+)\.supabase\.co")
_PROJECT_ID = re.compile(r"[a-z]{20}")


@dataclass(frozen=True)
class Endpoint:
    """An address without TLS and password."""

    host: str
    port: int
    user: str
    database: str
    supabase: bool  # the server's certificate is signed by Supabase's own roots
    ref: str = ""
    options: dict[str, str] = field(default_factory=dict)  # from a url's query

    @property
    def identity(self) -> tuple[str | int, ...]:
        """Equal for two endpoints that are the same database; on Supabase by either of its hosts."""
        if self.ref and (is_pooler(self.host) or direct_ref(self.host)):
            return ("supabase", self.ref, self.database)
        host = "loopback" if values.is_this_machine(self.host) else self.host
        return (host, self.port, self.database, self.ref)


def is_pooler(host: str) -> bool:
    """Whether it is a host of Supabase's shared pooler."""
    return host.endswith(POOLER)


def direct_ref(host: str) -> str | None:
    """The project of a `db.<ref>.supabase.co` host, None for other hosts."""
    match = _DIRECT.fullmatch(host)
    return match["ref"] if match else None


def refuse_transaction_port(settings: Settings, field_name: str, host: str, port: int, ref: str = "") -> bool:
    """Reports Supabase's transaction-mode port, known by its number alone. Whether it did."""
    if port != TRANSACTION_PORT or not (ref or is_pooler(host) or direct_ref(host)):
        return False
    settings.refuse(
        field_name,
        "transaction_pooler",
        "port 6543 is Supabase's transaction-mode pooler, where migrations break: each transaction may run on another "
        "server connection, so session locks and settings are lost",
        "use port 5432, the session-mode pooler on the same host"
        if not direct_ref(host)
        else "use port 5432, the database itself",
    )
    return True


def project_endpoint(settings: Settings) -> Endpoint | None:
    """The endpoint of an entry with `project_ref`; None if a mistake, now reported, leaves it unknown."""
    given = settings.values
    ref = given.project_ref or ""
    host = _project_host(settings, ref)
    port = given.port or 5432
    if host:
        refuse_transaction_port(settings, "port", host, port, ref or "?")
    user = _project_user(settings, ref, host)
    if settings.broken & ADDRESS_FIELDS or host is None or user is None:
        return None
    return Endpoint(host, port, user, given.database or "postgres", supabase=True, ref=ref)


def _project_host(settings: Settings, ref: str) -> str | None:
    host = settings.values.host
    if host is None:
        if not settings.gives("host"):
            settings.refuse(
                "host",
                "missing_host",
                "`host` is missing beside `project_ref`",
                "copy it from the dashboard's Connect dialog (session pooler): it cannot be derived from the region",
            )
        return None
    of_host = direct_ref(host)
    if of_host is not None and ref and of_host != ref:
        settings.refuse(
            "host",
            "host_of_other_project",
            f"`{host}` belongs to project `{of_host}`, and `project_ref` is `{ref}`",
            "copy both from the dashboard of the same project",
        )
    elif of_host is None and not is_pooler(host) and not settings.values.allow_host:
        settings.refuse(
            "host",
            "foreign_host",
            f"expected a host below `{POOLER[1:]}`, found `{host}`",
            "copy it from the dashboard's Connect dialog, or set `allow_host: true` if it is truly yours",
        )
    return host


def _project_user(settings: Settings, ref: str, host: str | None) -> str | None:
    """`role.<ref>` on the pooler, which routes by it; the bare role on the database's own host."""
    role, dot, suffix = (settings.values.user or "postgres").rpartition(".")
    if not dot or suffix != ref:
        if dot and ref and _PROJECT_ID.fullmatch(suffix):
            settings.refuse(
                "user",
                "user_of_other_project",
                f"the user belongs to project `{suffix}`, and `project_ref` is `{ref}`",
                "write the role alone: the suffix is added",
            )
            return None
        role = settings.values.user or "postgres"
    return role if host and direct_ref(host) else f"{role}.{ref}"
