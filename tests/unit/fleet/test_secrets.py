"""References to secrets, resolved with real variables, files, programs and a real keyring backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import psutil
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from ehg_migrate.errors import ConfigurationError, Problem
from ehg_migrate.fleet import keyrings, resolve, resolve_all, resolve_text
from ehg_migrate.fleet.command import output_of
from ehg_migrate.fleet.problems import Refused
from ehg_migrate.model import Address, SecretRef, Target
from ehg_migrate.redaction import redact
from tests.support.running import wait_until

SECRET = "S3cretCanary"


def _target(reference: SecretRef | None, name: str = "acme", passfile: str | None = None) -> Target:
    address = Address("h", 5432, "u", name, "disable", passfile=passfile)
    return Target(name, address, ("shared",), password=reference, source=f"targets/x.yaml: targets.{name}")


def _wrong(reference: SecretRef, root: Path) -> Problem:
    with pytest.raises(ConfigurationError) as caught:
        resolve(_target(reference), root)
    (problem,) = caught.value.problems
    assert SECRET not in str(caught.value)
    assert problem.hint
    assert problem.where == "targets/x.yaml: targets.acme.password"
    return problem


def _file(root: Path, content: bytes, mode: int = 0o600) -> SecretRef:
    path = root / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return SecretRef("file", ("secret",))


def test_no_reference(tmp_path: Path) -> None:
    """A target without a reference has no password, and nothing is asked."""
    assert resolve(_target(None), tmp_path) is None


def test_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable's value is the password, and is masked from then on."""
    monkeypatch.setenv("ACME_PW", "from-Env-1")
    assert resolve(_target(SecretRef("env", ("ACME_PW",))), tmp_path) == "from-Env-1"
    assert redact("x from-Env-1 y") == "x *** y"


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (None, "secret_missing", "the environment variable `ACME_PW` is not set"),
        ("", "secret_missing", "the environment variable `ACME_PW` is empty"),
        (f"{SECRET}\n", "secret_format", "the secret `env:ACME_PW` holds a line break or a NUL in it"),
    ],
)
def test_env_wrong(value: str | None, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is missing, empty or more than a line is a problem that names it and never shows it."""
    monkeypatch.delenv("ACME_PW", raising=False)
    if value is not None:
        monkeypatch.setenv("ACME_PW", value)
    problem = _wrong(SecretRef("env", ("ACME_PW",)), tmp_path)
    assert (problem.code, problem.message) == (code, message)


def test_env_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no UTF-8 come as halves of surrogate pairs, which neither libpq nor a mask could take."""
    monkeypatch.setenv("ACME_PW", f"{SECRET}\udcff")
    assert _wrong(SecretRef("env", ("ACME_PW",)), tmp_path).message == "the secret `env:ACME_PW` is not UTF-8"


@pytest.mark.parametrize("content", [b"pass word", b"pass word\n", b"pass word\r\n"])
def test_file(content: bytes, tmp_path: Path) -> None:
    """A file relative to the project is read, without one line break at its end."""
    assert resolve(_target(_file(tmp_path, content)), tmp_path) == "pass word"


_OPEN = "others than its owner may use the file `secret`: its mode is {}"
_LINES = "the secret `file:secret` holds a line break or a NUL in it"


@pytest.mark.parametrize(
    ("content", "mode", "code", "message", "hint"),
    [
        (b"x", 0o640, "secret_file_mode", _OPEN.format("0640"), "run `chmod 600 secret`"),
        (b"x", 0o604, "secret_file_mode", _OPEN.format("0604"), "run `chmod 600 secret`"),
        (b"", 0o600, "secret_empty", "the secret `file:secret` is empty", "put the password there"),
        (b"\n", 0o600, "secret_empty", "the secret `file:secret` is empty", "put the password there"),
        (b"S3cretCanary\nb\n", 0o600, "secret_format", _LINES, None),
        (b"S3cretCanary\n\n", 0o600, "secret_format", _LINES, None),
        (b"S3cretCanary\rb\n", 0o600, "secret_format", _LINES, None),
        (b"S3cretCanary\0", 0o600, "secret_format", _LINES, None),
        (b"S3cretCanary\xff", 0o600, "secret_file", "the file `secret` is not UTF-8", "save it as UTF-8"),
        (b"x" * 70_000, 0o600, "secret_file", "the file `secret` is larger than 64 KiB", "put nothing else into it"),
    ],
)  # fmt: skip
def test_file_wrong(content: bytes, mode: int, code: str, message: str, hint: str | None, tmp_path: Path) -> None:
    """A file that others may read, or that is not one line of text, is refused without showing it."""
    problem = _wrong(_file(tmp_path, content, mode), tmp_path)
    assert (problem.code, problem.message) == (code, message)
    assert hint in (None, problem.hint)


@pytest.mark.parametrize("name", ["my $secret", "~/my secret"])
def test_a_mode_is_mended_as_the_hint_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of the hint can be pasted whatever the file is called, and a home folder stays one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / name.removeprefix("~/")
    file.write_text("x")
    file.chmod(0o644)
    (command,) = re.findall("`(.+)`", _wrong(SecretRef("file", (name,)), tmp_path).hint)
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path)
    assert resolve(_target(SecretRef("file", (name,))), tmp_path) == "x"


def test_file_missing_folder_and_pipe(tmp_path: Path) -> None:
    """A missing file, a folder and a named pipe are problems; the pipe holds nobody up."""
    assert _wrong(SecretRef("file", ("none",)), tmp_path).message == (
        "the file `none` cannot be read: No such file or directory"
    )
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert _wrong(SecretRef("file", ("pipe",)), tmp_path).message == "`pipe` is not a regular file"
    (tmp_path / "folder").mkdir(mode=0o700)
    assert _wrong(SecretRef("file", ("folder",)), tmp_path).code == "secret_file"


def _python(code: str) -> SecretRef:
    return SecretRef("cmd", (sys.executable, "-c", code))


def test_command(tmp_path: Path) -> None:
    """A command is run in the project's folder without a shell, with no stdin, and its one line is the password."""
    code = "import os, sys; print(os.getcwd(), sys.argv[1], repr(sys.stdin.read()))"
    reference = SecretRef("cmd", (sys.executable, "-c", code, "$HOME; `id`"))
    assert resolve(_target(reference), tmp_path) == f"{tmp_path} $HOME; `id` ''"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (f"print('{SECRET}'); raise SystemExit(3)", "ended with exit code 3"),
        (f"import os; print('{SECRET}', flush=True); os.kill(os.getpid(), 15)", "was ended by signal 15"),
        ("pass", "printed nothing (exit code 0)"),
        ("print('  ')", "printed nothing (exit code 0)"),
        (f"import os; os.write(1, b'{SECRET}\\xff')", "did not print UTF-8"),
        (f"print('{SECRET}' * 100000)", "printed more than 64 KiB"),
    ],
)  # fmt: skip
def test_command_wrong(code: str, message: str, tmp_path: Path) -> None:
    """A command that fails or prints no password is a problem with its name and exit code, never with its output."""
    problem = _wrong(_python(code), tmp_path)
    assert (problem.code, problem.message) == ("secret_command", f"the command `{sys.executable}` {message}")


def test_command_missing(tmp_path: Path) -> None:
    """A program that is not there, or may not be run, is a problem that says so."""
    (tmp_path / "plain").write_text("x")
    missing = _wrong(SecretRef("cmd", ("no-such-program-here",)), tmp_path)
    assert missing.message == "the command `no-such-program-here` cannot be run: No such file or directory"
    assert "Permission denied" in _wrong(SecretRef("cmd", ("./plain",)), tmp_path).message


@pytest.mark.parametrize(
    "code",
    [
        "import signal; signal.pause()",
        "import os, signal; os.close(1); signal.pause()",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(5)'])",
    ],
)
def test_command_has_a_time_limit(code: str, tmp_path: Path) -> None:
    """A command that does not end is killed after the limit, also if it closed its output or left it to a child."""
    with pytest.raises(Refused) as caught:
        output_of([sys.executable, "-c", code], tmp_path, limit=0.5)
    assert caught.value.message == f"the command `{sys.executable}` did not end within 0.5 s"


@pytest.mark.parametrize("end", ["time.sleep(600)", f"print('{SECRET}' * 100_000, flush=True); time.sleep(600)"])
def test_what_a_command_started_ends_with_it(end: str, tmp_path: Path) -> None:
    """Too late or too much: the program is killed, and so is a child of it that would have stayed behind."""
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'child'); time.sleep(600)"
    wait = "while not os.path.exists('child'): time.sleep(0.01)"
    code = f"import os, subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\n{wait}\n{end}"
    with pytest.raises(Refused):
        output_of([sys.executable, "-c", code], tmp_path, limit=5)
    pid = int((tmp_path / "child").read_text())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it lives")


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_command_that_cannot_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo` has become another user and waits for a password: nobody waits for it longer than the limit."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.killpg", refuse)
    # it looks for the file that lets it go; should the test fail, it ends by itself
    code = (
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nfor _ in range(1000):\n"
        "    if os.path.exists('enough'): break\n    time.sleep(0.01)"
    )
    with pytest.raises(Refused, match=r"did not end within 0\.5 s"):
        output_of([sys.executable, "-c", code], tmp_path, limit=0.5)
    pid = int((tmp_path / "pid").read_text())
    assert psutil.pid_exists(pid), "it was waited for"
    (tmp_path / "enough").touch()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it lives")


class _Backend(KeyringBackend):
    """A keyring backend that holds one password, and is locked for another service."""

    priority = 1.0
    held = "from-Keyring"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.goes_on = threading.Event()

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held = password

    def get_password(self, service: str, username: str) -> str | None:
        if service == "locked":
            raise KeyringLocked(SECRET)
        if service == "broken":
            raise ModuleNotFoundError(SECRET)
        if service == "waits":
            self.asked.append(username)
            assert self.goes_on.wait(60)
        if service == "bytes":
            return SECRET.encode()  # type: ignore[return-value]  # others' backends may do anything
        return self.held if (service, username) == ("ehg/acme", "migrator") else None


@pytest.fixture(name="backend")
def _backend() -> Iterator[_Backend]:
    before, ours = keyring.get_keyring(), _Backend()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.mark.usefixtures("backend")
def test_keyring(tmp_path: Path) -> None:
    """The part before the last slash is the service; a missing entry and a locked keyring are problems."""
    assert resolve(_target(SecretRef("keyring", ("ehg/acme/migrator",))), tmp_path) == "from-Keyring"
    assert redact("from-Keyring") == "***"
    missing = _wrong(SecretRef("keyring", ("ehg/acme/other",)), tmp_path)
    assert (missing.message, missing.hint) == (
        "the keyring has no password of `other` for `ehg/acme`",
        "run `keyring set ehg/acme other`",
    )
    assert (
        _wrong(SecretRef("keyring", ("locked/u",)), tmp_path).message == "the keyring cannot be asked (KeyringLocked)"
    )


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("broken/u", "the keyring cannot be asked (ModuleNotFoundError)"),
        ("bytes/u", "the secret `keyring:bytes/u` is no text"),
    ],
)
def test_a_keyring_may_do_anything(reference: str, message: str, tmp_path: Path) -> None:
    """A backend is others' code: what it raises, quoting what it likes, and what is no text, are problems of it."""
    assert _wrong(SecretRef("keyring", (reference,)), tmp_path).message == message


def test_a_keyring_that_waits_for_a_person(backend: _Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left after the limit of commands, once for all that is kept there."""
    monkeypatch.setattr(keyrings, "TIME_LIMIT", 0.2)
    references = [SecretRef("keyring", (f"waits/{user}",)) for user in ("a", "b", "c")]
    with pytest.raises(ConfigurationError) as caught:
        resolve_all([_target(ref, f"t{n}") for n, ref in enumerate(references)], tmp_path)
    assert [(p.code, p.message, p.where) for p in caught.value.problems] == [
        ("keyring_silent", "the keyring did not answer within 0.2 s", f"targets/x.yaml: targets.t{n}.password")
        for n in range(3)
    ]
    assert backend.asked == ["a"]
    backend.goes_on.set()


def test_keyring_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package cannot be imported the hint says how to install it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    problem = _wrong(SecretRef("keyring", ("ehg/acme",)), tmp_path)
    assert (problem.code, problem.hint) == ("keyring_missing", "run `pip install 'ehg_migrate[keyring]'`")


def test_each_reference_once_and_all_problems_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets with one reference share its resolution; every reference that fails is reported, with its targets."""
    counter = tmp_path / "count"
    code = f"open({str(counter)!r}, 'a').write('x'); print('from-Command')"
    monkeypatch.delenv("NOT_SET", raising=False)
    good = [_target(_python(code), name) for name in ("a", "b", "c")]
    assert resolve_all([*good, _target(None, "d")], tmp_path) == {
        "a": "from-Command",
        "b": "from-Command",
        "c": "from-Command",
        "d": None,
    }
    assert counter.read_text() == "x"
    bad = [_target(SecretRef("env", ("NOT_SET",)), n) for n in ("e", "f", "g")]
    bad.append(_target(SecretRef("file", ("none",)), "h"))
    bad.append(_target(_python("raise SystemExit(4)"), "i"))
    with pytest.raises(ConfigurationError) as caught:
        resolve_all([*good, *bad], tmp_path)
    assert [(p.where, p.message) for p in caught.value.problems] == [
        (
            "targets/x.yaml: targets.e.password",
            "the environment variable `NOT_SET` is not set (wanted also by `f`, `g`)",
        ),
        ("targets/x.yaml: targets.h.password", "the file `none` cannot be read: No such file or directory"),
        ("targets/x.yaml: targets.i.password", f"the command `{sys.executable}` ended with exit code 4"),
    ]


def test_passfile(tmp_path: Path) -> None:
    """A passfile that libpq would ignore is a problem before anything is connected; a good one needs no password."""
    path = tmp_path / "pgpass"
    target = _target(None, passfile=str(path))
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        resolve(target, tmp_path)
    path.write_text(f"*:*:*:*:{SECRET}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="its mode is 0644") as caught:
        resolve(target, tmp_path)
    assert caught.value.problems[0].where == "targets/x.yaml: targets.acme.passfile"
    path.chmod(0o600)
    assert resolve(target, tmp_path) is None
    assert redact(SECRET) == "***"


def test_a_passfile_of_thousands(tmp_path: Path) -> None:
    """libpq reads a file of any size; one of more than 64 KiB had passwords that were masked nowhere."""
    path = tmp_path / "pgpass"
    path.write_text("".join(f"customer-{number}.db.example.com:*:*:*:{number:05}{SECRET}\n" for number in range(2000)))
    path.chmod(0o600)
    assert resolve(_target(None, passfile=str(path)), tmp_path) is None
    assert redact(f"it is 01999{SECRET}") == "it is ***"


@pytest.mark.parametrize("named", [True, False])
def test_the_default_passfile_is_masked_too(named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an entry names nothing, libpq looks into ~/.pgpass or PGPASSFILE: what stands there is masked as well."""
    path = tmp_path / ("named" if named else ".pgpass")
    path.write_text("# a comment\nh\\:1:5432:*:u:with\\:colon\\:and\\\\slash\n\nnot:a:line\n*:*:*:*:another one\n")
    path.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGPASSFILE", raising=False)
    if named:
        monkeypatch.setenv("PGPASSFILE", str(path))
    resolve(_target(None), tmp_path)
    assert redact(r"with:colon:and\slash, another one, a comment") == "***, ***, a comment"


def test_what_libpq_takes_for_the_password(tmp_path: Path) -> None:
    """It ends with its field, and a line only with a line feed; a backslash at the end is one."""
    path = tmp_path / "pgpass"
    path.write_bytes(b"*:*:*:*:its own\\:field:and a remark\r\n*:*:*:*:odd\x0bline\n*:*:*:*:backslash\\\n")
    path.chmod(0o600)
    resolve(_target(None, passfile=str(path)), tmp_path)
    assert redact("<its own:field> <odd\x0bline> <backslash\\> and a remark") == "<***> <***> <***> and a remark"


def test_resolve_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference outside the target files is resolved alike, and its problems stand at the place it came from."""
    monkeypatch.setenv("LEDGER_PW", "from-Ledger")
    assert resolve_text("env:LEDGER_PW", "alembic.ini", tmp_path) == "from-Ledger"
    assert resolve_text("", "alembic.ini", tmp_path) is None
    for text in (SECRET, "env:NOT_SET_ANYWHERE"):
        with pytest.raises(ConfigurationError) as caught:
            resolve_text(text, "alembic.ini", tmp_path)
        assert caught.value.problems[0].where == "alembic.ini"
        assert SECRET not in str(caught.value)
