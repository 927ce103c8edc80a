"""How pytest says what is wrong with a project, its revisions or the server: in words, without our own frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


def collection_error(text: str) -> BaseException:
    """For what is wrong before any test can run."""
    return pytest.Collector.CollectError(text)


def failure(text: str) -> BaseException:
    """Of a test, or an error where a fixture raises it."""
    return pytest.fail.Exception(text, pytrace=False)


@contextmanager
def told(error: Callable[[str], BaseException] = failure) -> Iterator[None]:
    """Our exceptions of this block become pytest's."""
    from ehg_migrate.errors import EhgMigrateError, TargetError
    from ehg_migrate.redaction import safe

    try:
        yield
    except (EhgMigrateError, TargetError) as e:
        raise error(safe(str(e))) from None
