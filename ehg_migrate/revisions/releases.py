"""Release points: `versions/releases.yaml` gives a name to the heads that each branch had at a release."""

from __future__ import annotations

from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.revisions.specs import Releases
from ehg_migrate.settings import Settings

FILE = "releases.yaml"


def read_releases(settings: Settings) -> Releases:
    """All release points of the project; none where the file does not exist. Raises ConfigurationError."""
    path = settings.versions / FILE
    if not path.is_file():
        return {}
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return {str(name): {str(b): _ids(ids) for b, ids in heads.items()} for name, heads in data.items()}
    except (yaml.YAMLError, AttributeError, TypeError, UnicodeDecodeError) as e:
        raise ConfigurationError(
            Problem(
                "releases",
                f"the file does not say `name: {{branch: [revision, ...]}}`: {e}".replace("\n", " "),
                "correct it; `ehg-migrate release NAME` writes it",
                where=f"versions/{FILE}",
            )
        ) from e


def write_release(settings: Settings, name: str, heads: dict[str, tuple[str, ...]]) -> None:
    """Adds one release point. Raises ConfigurationError where the name is taken."""
    import yaml

    releases = {n: {b: list(ids) for b, ids in point.items()} for n, point in read_releases(settings).items()}
    if name in releases:
        raise ConfigurationError(
            Problem("release_taken", f"release point `{name}` exists already", "choose another name")
        )
    releases[name] = {b: list(ids) for b, ids in heads.items()}
    path = settings.versions / FILE
    path.write_text(yaml.safe_dump(releases, sort_keys=False), encoding="utf-8")


def _ids(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(i, str) for i in value):
        return tuple(value)
    raise TypeError(f"`{value!r}` is no list of revisions")
