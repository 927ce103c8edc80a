"""One merged entry to a Target: the address, the branches, the limits."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehg_migrate.fleet import values
from ehg_migrate.fleet.branches import Folders, target_branches
from ehg_migrate.fleet.endpoint import Endpoint, project_endpoint
from ehg_migrate.fleet.merge import Settings
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.fleet.tls import address
from ehg_migrate.fleet.url import url_endpoint
from ehg_migrate.model import SUPABASE, VERSION_TABLE, Limits, SecretRef, Target, meta_schema

_LIMITS = {
    "connect": "connect_timeout",
    "answer": "answer_timeout",
    "lock": "lock_timeout",
    "statement": "statement_timeout",
    "idle_in_transaction": "idle_in_transaction_timeout",
    "queue": "queue_timeout",
    "deadline": "deadline",
    "retries": "retries",
    "host_parallel": "host_parallel",
    "host_rate": "host_rate",
}


@dataclass(frozen=True)
class Built:
    """A Target, and what tells whether another one is in the same database. Worth nothing if a mistake was reported."""

    target: Target
    identity: tuple[str | int, ...]


def build_target(settings: Settings, folders: Folders, names: Collection[str], root: Path) -> Built | None:
    """The target of an entry; every mistake in it is reported. None where its address is not known for one."""
    branches = target_branches(settings, folders, names)
    table, version_schema, alembic = _version_table(settings)
    endpoint = _endpoint(settings)
    _refuse_alone(settings, "touches", "schema", "the target is all of its database", "name the target's schema")
    _refuse_alone(settings, "hold_until", "hold", "nothing says that the target is held", "say why in `hold`")
    if endpoint is None:
        return None
    given = settings.values
    schema = _schema(settings)
    target = Target(
        name=settings.name,
        address=address(settings, endpoint, root),
        branches=branches,
        password=_password(settings, endpoint),
        env=given.env or "",
        tags=tuple(dict.fromkeys(given.tags or ())),
        purpose=" ".join((given.purpose or "").split()),
        limits=_limits(settings, endpoint.options),
        upgrade_to=tuple(given.upgrade_to or ("heads",)),
        x=dict(given.x or {}),
        alembic=alembic,
        version_table_schema=version_schema,
        version_table=table,
        source=settings.place,
        schema=schema,
        touches=tuple(dict.fromkeys(given.touches or ())) if schema else (),
        protected=bool(given.protected),
        hold=given.hold or "",
        hold_until=given.hold_until or "",
        identity=hashlib.sha256(repr((endpoint.identity, schema, version_schema, table)).encode()).hexdigest()[:16],
        platform=given.platform or (SUPABASE if endpoint.supabase or endpoint.ref else ""),
    )
    return Built(target, endpoint.identity)


def _schema(settings: Settings) -> str:
    """Empty, too, where what stands there is a mistake."""
    return str(settings.values.schema) if "schema" in settings.values.model_fields_set else ""


def _refuse_alone(settings: Settings, field: str, beside: str, why: str, what: str) -> None:
    if settings.gives(field) and not settings.gives(beside):
        settings.refuse(field, f"{field}_alone", f"`{field}` stands without `{beside}`: {why}", f"{what}, or remove it")


def _endpoint(settings: Settings) -> Endpoint | None:
    project, url = settings.gives("project_ref"), settings.gives("url")
    if project and url:
        settings.refuse(
            "url", "project_and_url", "`project_ref` and `url` stand beside each other", "keep one of the two"
        )
    elif project:
        return project_endpoint(settings)
    elif url and "url" not in settings.broken:
        return url_endpoint(settings)
    elif not url:
        settings.refuse(
            "",
            "no_address",
            "expected `project_ref` or `url`, found neither",
            "write `project_ref` and `host` for a Supabase project, `url` for any other PostgreSQL",
        )
    return None


def _password(settings: Settings, endpoint: Endpoint) -> SecretRef | None:
    """The reference; none beside a passfile in the URL."""
    if "passfile" not in endpoint.options:
        return settings.values.password
    if settings.gives("password"):
        settings.refuse(
            "password",
            "password_and_passfile",
            "`password` stands beside a `passfile` in the URL",
            "keep one of the two",
        )
    return None


def _limits(settings: Settings, options: dict[str, str]) -> Limits:
    """What is given, over the defaults of `Limits`."""
    given: dict[str, Any] = {name: getattr(settings.values, field) for name, field in _LIMITS.items()}
    if "connect_timeout" in options:
        if settings.gives("connect_timeout"):
            settings.refuse(
                "connect_timeout", "given_twice", "`connect_timeout` stands in the URL as well", "keep one of the two"
            )
        given["connect"] = _url_seconds(settings, options["connect_timeout"])
    return Limits(**{name: value for name, value in given.items() if value is not None})


def _url_seconds(settings: Settings, text: str) -> float | None:
    try:
        return values.duration(int(text) if text.isdecimal() else text)
    except Refused as refused:
        settings.report.refuse(refused, settings.where("url"))
        return None


def _version_table(settings: Settings) -> tuple[str, str, dict[str, Any]]:
    """The version table's name and schema, and the other options of Alembic's."""
    options = dict(settings.values.alembic or {})
    found = []
    for name, default in (("version_table", VERSION_TABLE), ("version_table_schema", meta_schema(_schema(settings)))):
        value = options.pop(name, default)
        try:
            found.append(values.identifier(value))
        except Refused as refused:
            settings.report.refuse(refused, f"{settings.where('alembic')}.{name}")
            found.append(default)
    return found[0], found[1], options
