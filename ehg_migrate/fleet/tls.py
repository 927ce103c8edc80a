"""How a target's connection is encrypted and whom it trusts: `sslmode`, `sslrootcert`, `passfile`, and their rules."""

from __future__ import annotations

from pathlib import Path

from ehg_migrate.files import is_there
from ehg_migrate.fleet import values
from ehg_migrate.fleet.endpoint import Endpoint
from ehg_migrate.fleet.merge import Settings
from ehg_migrate.fleet.private import resolved
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.model import Address, is_local

SUPABASE_ROOTS = Path(__file__).with_name("supabase-roots.pem")
"""Both roots: they have one subject name and different keys, and which host uses which is not published."""


def address(settings: Settings, endpoint: Endpoint, root: Path) -> Address:
    """The endpoint as an Address; mistakes in the fields about TLS are reported."""
    sslmode = _sslmode(settings, endpoint)
    sslrootcert = _sslrootcert(settings, endpoint, sslmode, root)
    passfile = _option(settings, endpoint, "passfile")
    return Address(
        endpoint.host,
        endpoint.port,
        endpoint.user,
        endpoint.database,
        sslmode,
        sslrootcert,
        str(resolved(passfile, root)) if passfile else None,
    )


def _option(settings: Settings, endpoint: Endpoint, name: str) -> str | None:
    """The URL's option, or else the field's value."""
    if name not in endpoint.options:
        value: str | None = getattr(settings.values, name)
        return value
    if settings.gives(name):
        settings.refuse(name, "given_twice", f"`{name}` stands in the URL as well", "keep one of the two")
    return endpoint.options[name]


def _where(endpoint: Endpoint, name: str) -> str:
    return "url" if name in endpoint.options else name


def _sslmode(settings: Settings, endpoint: Endpoint) -> str:
    given = _option(settings, endpoint, "sslmode")
    local = is_local(endpoint.host)
    if given is None:
        return "disable" if local and not endpoint.supabase else "verify-full"
    try:
        mode = values.sslmode(given)
    except Refused as refused:
        settings.report.refuse(refused, settings.where(_where(endpoint, "sslmode")))
        return "verify-full"
    if mode == "disable" and not local and not settings.values.allow_host:
        settings.refuse(
            _where(endpoint, "sslmode"),
            "tls_disabled",
            f"`sslmode: disable` to `{endpoint.host}`, which is another machine: password and data would be readable",
            "use `verify-full`, or set `allow_host: true` in the entry if the network between is truly yours",
        )
    return mode


def _sslrootcert(settings: Settings, endpoint: Endpoint, mode: str, root: Path) -> str | None:
    given = _option(settings, endpoint, "sslrootcert")
    where = _where(endpoint, "sslrootcert")
    if mode == "disable":
        return None
    if given is None:
        return _default_roots(settings, endpoint, mode)
    if given == "system":
        if mode != "verify-full":
            settings.refuse(
                where,
                "weak_sslmode",
                f"`sslrootcert: system` goes only with `sslmode: verify-full`, found `{mode}`",
                "use `verify-full`, or a file of certificates",
            )
        return given
    path = resolved(given, root)
    if wrong := _unusable(path, given):
        settings.refuse(where, "missing_certificate", *wrong)
    return str(path)


def _unusable(path: Path, given: str) -> tuple[str, str] | None:
    """Why this is no file of certificates, and what to do."""
    try:
        if is_there(path) and path.is_file():
            return None
    except OSError as e:
        return f"the file `{given}` cannot be read: {e.strerror}", "let this user read what is in its folder"
    hint = "a relative path starts at the project's folder; `system` takes the machine's own roots"
    return f"there is no file `{given}`", hint


def _default_roots(settings: Settings, endpoint: Endpoint, mode: str) -> str | None:
    if mode == "require":
        return None
    if endpoint.supabase:
        return str(SUPABASE_ROOTS)
    if mode == "verify-ca":
        settings.refuse(
            _where(endpoint, "sslmode"),
            "missing_certificate",
            "`sslmode: verify-ca` needs `sslrootcert`",
            "name the file of the certificates to trust, or use `verify-full`",
        )
    return "system"
