"""No text about a wrong value repeats a password that stands in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate.errors import Problem
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.fleet.references import parse_reference
from ehg_migrate.fleet.url import parse_url

CANARY = "S3cretCanary"
AROUND = st.text("/?#@:&=%[]+ 12ab,!*'\"\\", max_size=6)


@given(before=AROUND, after=AROUND)
def test_password_in_any_url(before: str, after: str) -> None:
    """Whatever characters stand around it, a URL with a password is refused, and the text holds nothing of it."""
    with pytest.raises(Refused) as caught:
        parse_url(f"postgresql://u:{before}{CANARY}{after}@db.example.com/db")
    assert CANARY not in caught.value.message + caught.value.hint


@given(before=AROUND, after=AROUND, scheme=st.sampled_from(["", "env:", "keyring:", "cmd:", "cmd:[", "vault:"]))
def test_literal_in_any_reference(before: str, after: str, scheme: str) -> None:
    """What is no reference is refused without being shown; what has a reference's form is taken for one."""
    try:
        found = parse_reference(f"{scheme}{before}{CANARY}{after}")
    except Refused as refused:
        assert CANARY not in refused.message + refused.hint  # noqa: PT017 - either outcome is right
    else:
        assert found.scheme in ("env", "keyring", "cmd", "file")


@pytest.mark.parametrize(
    "line",
    [
        "password: S3cretCanary: more",
        "password: S3cretCanary #\tx\n\tport: 1",
        "password: *S3cretCanary",
        "password: !S3cretCanary x",
        "password: !S3cretCanary!x y",
        "password: &S3cretCanary",
        "password: {S3cretCanary}",
        "password: {S3cretCanary: 1}",
        "password: [S3cretCanary",
        "password: 'S3cretCanary",
        'password: "S3cretCanary\\q"',
        "password: |\n      S3cretCanary",
        "password: {cmd: S3cretCanary}",
        "password: {cmd: [[S3cretCanary]]}",
        f"url: {json.dumps('postgresql://u:' + CANARY + '@h/d')}",
        f"url: {json.dumps('u:' + CANARY + '@h/d')}",
        f"url: [{CANARY}]",
        f"url: postgresql://u@h/d?password={CANARY}",
        f"url: postgresql://u@h/d?{CANARY}",
    ],
)
def test_password_in_broken_yaml(
    line: str, project: Callable[..., Path], mistakes: Callable[[Path], tuple[Problem, ...]]
) -> None:
    """Also where the YAML itself is broken, or has the password in an odd place, no text repeats it."""
    assert mistakes(project(f"targets:\n  acme:\n    {line}\n"))  # `mistakes` looks for the canary
