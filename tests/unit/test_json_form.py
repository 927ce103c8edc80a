"""The JSON form loses nothing, refuses what has another shape, and is safe to print."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehg_migrate import json_form
from ehg_migrate.errors import Problem
from ehg_migrate.model import (
    Address,
    Direction,
    Limits,
    Origin,
    Plan,
    Result,
    Run,
    RunStatus,
    SecretRef,
    State,
    StateKind,
    Status,
    Step,
    StepResult,
    Target,
    Verb,
)

_words = st.text(max_size=8)
_many = st.lists(_words, max_size=3).map(tuple)
_seconds = st.floats(min_value=0, max_value=1e6, allow_nan=False)
_zones = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
_times = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=_zones)  # noqa: DTZ001  the strategy adds zones
_problems = st.builds(Problem, _words, _words, _words, _words, st.none() | _words)
_notes = st.lists(_problems, max_size=2).map(tuple)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=4,
)


def _tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


_results = st.builds(
    Result,
    _words,
    st.sampled_from(Status),
    _many,
    _many,
    _tuples(st.builds(StepResult, _words, st.sampled_from(Direction), _words, _seconds, st.integers(1, 9))),
    _many,
    st.none() | _problems,
    _notes,
    _words,
    _seconds,
)
_steps = st.builds(Step, _words, st.sampled_from(Direction), _words, _words, _words, _words, _many, _many)
_plans = st.builds(Plan, _words, st.sampled_from(Verb), _many, _many, _tuples(_steps), _notes, st.none() | _words)
_states = st.builds(
    State, _words, st.sampled_from(StateKind), _many, _many, st.none() | _problems, _notes, _words, _seconds
)
_runs = st.builds(
    Run,
    _words,
    st.sampled_from(Verb),
    _words,
    st.builds(Origin, _words, _words, st.integers(0, 2**31), _words, _words),
    _times,
    st.sampled_from(RunStatus),
    st.none() | _times,
    _many,
    _tuples(_results),
    _many,
    st.none() | _words,
    st.none() | _words,
    _words,
    _notes,
)
_targets = st.builds(
    Target,
    _words,
    st.builds(Address, _words, st.integers(0, 65535), _words, _words, _words, st.none() | _words, st.none() | _words),
    _many,
    st.none() | st.builds(SecretRef, _words, _many),
    _words,
    _many,
    _words,
    st.builds(Limits, _seconds, _seconds, _seconds, _seconds, _seconds, _seconds, st.integers(0, 9)),
    _many,
    st.dictionaries(_words, _words, max_size=2),
    st.dictionaries(_words, _json, max_size=2),
    _words,
    _words,
    _words,
)
_nouns = _results | _plans | _states | _runs | _targets


@given(_nouns)
def test_round_trip(value: Any) -> None:
    """Dumping any noun to text and loading it gives the equal noun."""
    assert json_form.load(type(value), json.loads(json_form.dumps(value))) == value


@given(_nouns)
def test_the_published_schema_is_true(value: Any) -> None:
    """What `dump` makes is valid by the JSON Schema that `schema` publishes."""
    jsonschema.Draft202012Validator(json_form.schema(type(value))).validate(json_form.dump(value))


@given(_nouns)
def test_text_is_safe_to_print(value: Any) -> None:
    """The text has no control character but line feeds, and every letter of it can be written as UTF-8."""
    text = json_form.dumps(value)
    assert not [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]
    assert text.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))), "9999-12-31T23:00:00-05:00"),
        (datetime(2026, 1, 31, 11, 30, tzinfo=timezone(timedelta(hours=2))), "2026-01-31T09:30:00Z"),
        (datetime(2026, 1, 31, 9, 30, 0, 5, tzinfo=UTC), "2026-01-31T09:30:00.000005Z"),
        (date(2026, 1, 31), "2026-01-31"),
        (Status.FAILED, "failed"),
        (("a", 1, None, True), ["a", 1, None, True]),
        ({"b", "a"}, ["a", "b"]),
        ({Status.FAILED: 1, 2: 3}, {"failed": 1, "2": 3}),
    ],
)
def test_dump_of_values(value: object, expected: object) -> None:
    """Times are told in UTC, enums by their value, tuples and sets as lists, keys as text."""
    assert json_form.dump(value) == expected


def test_properties_stay_out() -> None:
    """Only fields are dumped: a plan's digest is worked out from them."""
    assert "digest" not in json_form.dump(Plan("a", Verb.UPGRADE, (), (), ()))


def test_letters_stay_and_escapes_go() -> None:
    """Readable letters are kept; an escape sequence, a C1 control and half a surrogate pair are written as escapes."""
    assert json_form.dumps("é\x1b[31m\x9b\u2028\udc80") == '"é\\u001b[31m\\u009b\\u2028\\udc80"'


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (datetime(2026, 1, 31), ValueError),  # noqa: DTZ001  the missing zone is the case
        (float("nan"), ValueError),
        (b"bytes", TypeError),
        (object(), TypeError),
    ],
)
def test_what_has_no_form_is_refused(value: object, error: type[Exception]) -> None:
    """A time without a zone, a number that JSON lacks and foreign objects raise instead of being guessed at."""
    with pytest.raises(error):
        json_form.dumps(value)


_RESULT = json_form.dump(Result("a", Status.FAILED, steps=(StepResult("r1", Direction.UP, "shared", 1.0),)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "target: field required; status: field required"),
        ([], "the whole: "),
        (_RESULT | {"status": "odd"}, "status: input should be 'up_to_date'"),
        (_RESULT | {"seconds": "1"}, "seconds: input should be a valid number"),
        (_RESULT | {"heads_before": "abc"}, "heads_before: "),
        (_RESULT | {"steps": [_RESULT["steps"][0] | {"attempts": "2"}]}, "steps[0].attempts: input should be"),
    ],
)
def test_wrong_shapes_name_their_path(data: Any, message: str) -> None:
    """A wrong shape raises a ValueError that says where, and nothing is coerced."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is asserted below
        json_form.load(Result, data)
    assert message in str(caught.value)


def test_a_wrong_value_is_not_shown() -> None:
    """The error says what was expected, never what was there: it might be a secret in the wrong place."""
    with pytest.raises(ValueError, match="seconds") as caught:
        json_form.load(Result, _RESULT | {"seconds": "hunter2-canary"})
    assert "hunter2-canary" not in str(caught.value)


def test_a_newer_field_is_ignored() -> None:
    """An older tool reads what a newer one wrote with one more field."""
    assert json_form.load(Result, _RESULT | {"mood": "good"}).target == "a"
