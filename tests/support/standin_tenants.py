"""The stand-in's tenants: whose server a user name means, what was counted, and who is let in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from tests.support.postgres import Cluster
from tests.support.standin_texts import Texts, refusal


@dataclass
class Settings:
    """What a test may set; `StandIn.reset()` puts all of it back."""

    pool_size: int = 15  # clients of a tenant in session mode
    transaction_pool_size: int = 2  # backends of a tenant, role and database in transaction mode
    texts: Texts = "new"
    delay: float = 0.05  # seconds before ENOTFOUND and before a wrong password is told; 0.5 in Supavisor
    enforce_ssl: bool = False
    breaker_failures: int = 10
    breaker_window: float = 150.0
    breaker_block: float = 120.0


@dataclass
class Tenant:
    """A project: its cluster, and the one database that its users reach, or None for the one they name."""

    ref: str
    cluster: Cluster
    database: str | None
    sessions: int = 0  # clients in session mode now
    failures: deque[float] = field(default_factory=deque)
    blocked_until: float = 0.0


class Refused(Exception):
    """A client is not let in; the text is the error it gets."""


class Tenants:
    """The door: from a user name to a tenant, or a refusal."""

    def __init__(self, settings: Settings) -> None:
        self._initial = settings
        self.settings = replace(settings)
        self.by_ref: dict[str, Tenant] = {}
        self.attempts: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def reset(self) -> None:
        """Settings as at first, breakers closed, counts at zero; tenants stay."""
        self.settings = replace(self._initial)
        self.attempts.clear()
        self.most.clear()
        for tenant in self.by_ref.values():
            tenant.failures.clear()
            tenant.blocked_until = 0.0

    async def admit(self, user: str, *, session: bool, tls: bool) -> tuple[str, Tenant]:
        """The role and the tenant that `<role>.<ref>` means, split at the last dot. Raises Refused."""
        role, dot, ref = user.rpartition(".")
        if not dot:
            raise self._refuse("ENOIDENTIFIER")
        self.attempts[ref] += 1
        tenant = self.by_ref.get(ref)
        if tenant is None:
            await asyncio.sleep(self.settings.delay)
            raise self._refuse("ENOTFOUND", user=user)
        if self.settings.enforce_ssl and not tls:
            raise self._refuse("ESSLREQUIRED", user=user)
        if time.monotonic() < tenant.blocked_until:
            raise self._refuse("ECIRCUITBREAKER")
        if session:
            self._count_session(tenant)
        return role, tenant

    def failed(self, tenant: Tenant) -> None:
        """A wrong password; enough of them close the door for a while, to right ones too."""
        now, settings = time.monotonic(), self.settings
        tenant.failures.append(now)
        while tenant.failures[0] < now - settings.breaker_window:
            tenant.failures.popleft()
        if len(tenant.failures) >= settings.breaker_failures:
            tenant.blocked_until = now + settings.breaker_block

    def _count_session(self, tenant: Tenant) -> None:
        """The limit is checked before authentication: a refused client learns nothing about its password."""
        if tenant.sessions >= self.settings.pool_size:
            raise self._refuse("EMAXCONNSESSION", limit=self.settings.pool_size)
        tenant.sessions += 1
        self.most[tenant.ref] = max(self.most[tenant.ref], tenant.sessions)

    def _refuse(self, code: str, **values: object) -> Refused:
        return Refused(refusal(code, self.settings.texts, **values))
