"""Asking the keyring of a `keyring:` reference: in this process, and no longer than a command may take."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from ehg_migrate.fleet.command import TIME_LIMIT
from ehg_migrate.fleet.problems import Refused


def password_of(service: str, user: str) -> str:
    """What the keyring holds. Raises Refused, which never quotes what a backend says."""
    try:
        import keyring
    except ImportError:
        raise Refused(
            "keyring_missing", "`keyring:` needs the package keyring", "run `pip install 'ehg_migrate[keyring]'`"
        ) from None
    answers: SimpleQueue[object] = SimpleQueue()
    # a backend may wait for a window in which nobody types; its thread cannot be ended, and is not waited for
    Thread(target=_ask, args=(keyring.get_password, service, user, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=TIME_LIMIT)
    except Empty:
        raise Refused(
            "keyring_silent",
            f"the keyring did not answer within {TIME_LIMIT:g} s",
            "unlock it: it may wait for a person; a machine without a desktop has none: use `file:` or `cmd:`",
        ) from None
    return _password(answer, service, user)


def _ask(get: Callable[[str, str], Any], service: str, user: str, answers: SimpleQueue[object]) -> None:
    try:
        answers.put(get(service, user))
    except BaseException as e:  # noqa: BLE001 - a backend is others' code: it raises what it likes, with what it has read
        answers.put(e)


def _password(answer: object, service: str, user: str) -> str:
    if isinstance(answer, BaseException):
        raise Refused(
            "keyring_failed",
            f"the keyring cannot be asked ({type(answer).__name__})",
            "unlock it; a machine without a desktop has none: use `file:` or `cmd:`",
        )
    if not answer:
        raise Refused(
            "secret_missing",
            f"the keyring has no password of `{user}` for `{service}`",
            f"run `keyring set {service} {user}`",
        )
    if not isinstance(answer, str):
        what = f"the secret `keyring:{service}/{user}` is no text"
        raise Refused("secret_format", what, "ask another backend of keyring for it")
    return answer
