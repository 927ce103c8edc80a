"""What this process knows of secrets, which it is to forget between tests."""

from __future__ import annotations

from collections.abc import Collection

from ehg_migrate import redaction


def keep_only(secrets: Collection[str] = ()) -> None:
    """These are masked, and no others. Their forms are kept by how many they are, which only grows outside of tests."""
    kept = set(secrets)
    redaction._known.clear()
    redaction._known.update(kept)
    redaction._forms.cache_clear()
    redaction._middles.cache_clear()
