"""The shape of a target file as pydantic models, and the JSON Schema that editors get from them."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from ehg_migrate.fleet import values
from ehg_migrate.fleet.references import REFERENCE_PATTERN, parse_reference
from ehg_migrate.model import PLATFORMS, SecretRef

_NAME = {"type": "string", "pattern": f"^{values.NAME_PATTERN}$"}
_TEXT = {"type": "string", "minLength": 1}
_SECONDS = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{values.DURATION_PATTERN}$"}]}
_ARGV = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_REFERENCE = {
    "anyOf": [
        {"type": "string", "pattern": f"^{REFERENCE_PATTERN}$"},
        {"type": "object", "properties": {"cmd": _ARGV}, "required": ["cmd"], "additionalProperties": False},
    ]
}

Name = Annotated[str, BeforeValidator(values.name), WithJsonSchema(_NAME)]
Text = Annotated[str, BeforeValidator(values.word), WithJsonSchema(_TEXT)]
UrlText = Annotated[str, BeforeValidator(values.url_text), WithJsonSchema(_TEXT)]
Host = Annotated[str, BeforeValidator(values.host), WithJsonSchema(_TEXT)]
Seconds = Annotated[float, BeforeValidator(values.duration), WithJsonSchema(_SECONDS)]
Reference = Annotated[SecretRef, BeforeValidator(parse_reference), WithJsonSchema(_REFERENCE)]
Ref = Annotated[
    str,
    BeforeValidator(values.project_ref),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]{15,30}$"}),
]
SslMode = Annotated[
    str, BeforeValidator(values.sslmode), WithJsonSchema({"type": "string", "enum": list(values.SSLMODES)})
]
Platform = Annotated[str, BeforeValidator(values.platform), WithJsonSchema({"type": "string", "enum": list(PLATFORMS)})]
XName = Annotated[str, BeforeValidator(values.x_name), WithJsonSchema(_TEXT)]
XValue = Annotated[str, BeforeValidator(values.scalar_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Day = Annotated[str, BeforeValidator(values.day), WithJsonSchema({"type": "string", "format": "date"})]
Option = Annotated[str, AfterValidator(values.alembic_option)]
Schema = Annotated[str, BeforeValidator(values.schema), WithJsonSchema(_TEXT)]


def _field(title: str, description: str, example: object, ge: int | None = None, le: int | None = None) -> Any:
    """An optional field. `title` is what a value is expected to be: messages and editors both show it."""
    return Field(None, title=title, description=description, examples=[example], ge=ge, le=le)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Defaults(_Model):
    """What every target gets unless its entry says otherwise; `tags` and `branches` are added to the entry's own,
    `x` and `alembic` are merged key by key, everything else is replaced."""

    user: Text | None = _field(
        "a role", "The role to log in as; `.<project_ref>` is added for Supabase's pooler.", "migrator"
    )
    password: Reference | None = _field(
        "a reference to a password",
        "Where the password is, never what it is: `env:NAME`, `file:PATH` (mode 0600), `keyring:SERVICE/USER`, or "
        "`{cmd: [program, argument]}`, run without a shell.",
        "env:ACME_DB_PASSWORD",
    )
    passfile: Text | None = _field(
        "a path", "A libpq password file (mode 0600), relative to the project; instead of `password`.", "secrets/pgpass"
    )
    branches: list[Name] | None = _field(
        "a list of names", "Folders of versions/ to apply beside `shared` and the target's own.", ["crm"]
    )
    tags: list[Name] | None = _field(
        "a list of names", "Words to select by: `--targets tag:canary`.", ["internal", "canary"]
    )
    env: Name | None = _field("a name", "The environment, to select by: `--targets env:staging`.", "production")
    upgrade_to: list[Text] | None = _field(
        "a list of revisions", "What `upgrade` brings the target to; `[heads]` if not given.", ["heads"]
    )
    connect_timeout: Seconds | None = _field("a time", "How long connecting may take.", "10s")
    answer_timeout: Seconds | None = _field(
        "a time", "How long reading a target's state may take once it is connected to.", "20s"
    )
    lock_timeout: Seconds | None = _field("a time", "PostgreSQL's lock_timeout while a step runs.", "5s")
    statement_timeout: Seconds | None = _field("a time", "PostgreSQL's statement_timeout while a step runs.", "15min")
    idle_in_transaction_timeout: Seconds | None = _field(
        "a time", "PostgreSQL's idle_in_transaction_session_timeout while a step runs.", "10min"
    )
    queue_timeout: Seconds | None = _field("a time", "How long to wait for another runner to leave the target.", "30s")
    deadline: Seconds | None = _field("a time", "How long the whole work on one target may take, measured here.", "1h")
    retries: int | None = _field(
        "a whole number from 0 to 100",
        "How often a step is tried again after a lock timeout, a deadlock or a serialization failure.",
        4,
        ge=0,
        le=100,
    )
    host_parallel: int | None = _field(
        "a whole number from 0 to 256",
        "How many targets of this host and port are worked on at a time; the least that any of them says.",
        4,
        ge=0,
        le=256,
    )
    host_rate: float | None = _field(
        "a number from 0 to 1000", "How many targets of this host and port begin in a second.", 10, ge=0, le=1000
    )
    sslmode: SslMode | None = _field("a TLS mode", "`verify-full` unless the server is on this machine.", "verify-full")
    sslrootcert: Text | None = _field(
        "a path, or `system`",
        "The root certificates to trust, relative to the project; both of Supabase's are bundled.",
        "certs/root.crt",
    )
    platform: Platform | None = _field(
        "`supabase` or `none`",
        "Whose the schemas `auth`, `storage` and their like are; with `none` they are yours, and looked at.",
        "none",
    )
    x: dict[XName, XValue] | None = _field(
        "a mapping", "What `context.get_x_argument()` gives to revisions.", {"tenant": "acme"}
    )
    alembic: dict[Option, Any] | None = _field(
        "a mapping",
        "Further options of Alembic's `context.configure`; `version_table` and `version_table_schema` among them.",
        {"version_table_schema": "ehg_migrate"},
    )
    touches: list[Schema] | None = _field(
        "a list of schemas",
        "Beside `schema`: other schemas that revisions may change too. A step that changes any other is refused.",
        ["auth"],
    )
    protected: bool | None = _field(
        "true or false",
        "Whether nothing changes the target but a person at a terminal who types its name; `--yes` does not.",
        True,
    )
    hold: Text | None = _field(
        "a text", "Why upgrades leave the target alone; `status` and all else go on.", "closing of the books"
    )
    hold_until: Day | None = _field(
        "a date", "The first day (UTC) on which upgrades do not leave it alone any more.", "2027-01-15"
    )


with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # pydantic has a method of that name, deprecated

    class _OneSchema(Defaults):
        schema: Schema | None = _field(  # type: ignore[assignment]  # the same method
            "a schema",
            "The one schema of the database that the target is; all of the database if not given.",
            "staging",
        )


class Entry(_OneSchema):
    """One target: either a Supabase project (`project_ref` and `host`) or any PostgreSQL (`url`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["project_ref", "host"]}, {"required": ["url"]}],
            "not": {"required": ["password", "passfile"]},
        }
    )

    project_ref: Ref | None = _field(
        "a project reference", "The Supabase project's reference (Project ID).", "abcdefghijklmnopqrst"
    )
    host: Host | None = _field(
        "a host",
        "The session pooler's host, copied from the dashboard's Connect dialog: it cannot be derived from the region.",
        "aws-1-us-east-1.pooler.supabase.com",
    )
    port: int | None = _field(
        "a whole number from 1 to 65535", "5432 if not given; Supabase's 6543 is refused.", 5432, ge=1, le=65535
    )
    database: Text | None = _field("a database", "`postgres` if not given.", "postgres")
    url: UrlText | None = _field(
        "a URL without a password", "Any PostgreSQL: `postgresql://user@host:port/database`.", "postgresql://u@h/db"
    )
    purpose: str | None = _field("a text", "What the target is for; shown in lists.", "LEO protocol")
    allow_host: bool | None = _field(
        "true or false",
        "Allows a host that is not Supabase's beside `project_ref`, and `sslmode: disable` to another machine.",
        False,
    )


class WaveEntry(_Model):
    """One wave of a rollout: the targets that its selectors name and no wave before it has."""

    model_config = ConfigDict(json_schema_extra={"required": ["name", "targets"]})

    name: Name | None = _field("a name", "What the wave is called: `--targets wave:canary`.", "canary")
    targets: Annotated[list[Text], Field(min_length=1)] | None = _field(
        "a list of selectors", "Which targets: names, globs, `tag:...`, `env:...`, `!` to leave out.", ["tag:canary"]
    )
    soak: Seconds | None = _field(
        "a time", "How long an upgrade waits between the end of this wave and the next.", "10min"
    )


class TargetsFile(_Model):
    """One file of targets/."""

    defaults: Defaults | None = Field(None, description="What every target of every file gets.")
    targets: dict[str, Entry] | None = Field(
        None,
        description="The targets by name; the name is also that of the target's own folder in versions/.",
        json_schema_extra={"propertyNames": {**_NAME, "not": {"enum": list(values.RESERVED)}}},
    )
    waves: list[WaveEntry] | None = Field(
        None,
        description="In one file only: groups of targets that an upgrade does one after the other, each only if all "
        "targets of the one before are where they should be. Those that no wave names come last, as the wave `rest`.",
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a file of targets/, for editors; equal to `targets.schema.json` beside this module."""
    schema = TargetsFile.model_json_schema()
    tidy = _without_null(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tidy, "title": "ehg_migrate targets"}


def _without_null(node: Any) -> Any:
    """The schema without null: a field may be left out, but not be there and empty."""
    if isinstance(node, list):
        return [_without_null(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    tidy = {k: _without_null(v) for k, v in node.items() if not (k == "default" and v is None)}
    if len(tidy.get("anyOf", ())) == 1:
        tidy |= tidy.pop("anyOf")[0]
    return tidy
