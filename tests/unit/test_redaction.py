"""Whatever a secret is made of and however a program writes it down, no text that was redacted holds it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ehg_migrate import redaction
from ehg_migrate.redaction import MASK, longest, one_line, printable, redact, register, safe
from tests.support.secrets import keep_only

TRICKY = "@:/%#?&'\"\\ +=;$`{}()[]<>|!^~,.\t\x01äß漢🔑\u0301\u202e"
# of `*` alone a secret would be in every text that has a mask
SECRETS = st.text(
    st.sampled_from(TRICKY) | st.characters(exclude_categories=["Cs"], exclude_characters="*\0\n\r"),
    min_size=4,
    max_size=24,
)
WORDS = st.sampled_from(["password", "postgres", "error", "succeeded", "true", "null", "100%", "%41%42%43"])
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def _partly_encoded(secret: str) -> str:
    return "".join(f"%{b:02x}" for b in secret[0].encode()) + secret[1:]


WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL": lambda s: quote(s, safe=""),
    "URL path": quote,
    "URL, small digits": lambda s: "".join(f"%{b:02x}" for b in s.encode()),
    "URL, one character": _partly_encoded,
    "form": quote_plus,
    "form, small digits": lambda s: re.sub("%..", lambda m: m[0].lower(), quote_plus(s)),
    "SQLAlchemy": lambda s: sa.URL.create("postgresql", "u", s, "h").render_as_string(hide_password=False),
    "Python": repr,
    "Python, beside both quotes": lambda s: repr({"a": f"'\"{s}"}),
    "ASCII": ascii,
    "bytes": lambda s: repr(s.encode()),
    "JSON": json.dumps,
    "JSON, letters kept": lambda s: json.dumps(s, ensure_ascii=False),
    "SQL": lambda s: sql.Literal(s).as_string(None),
    "libpq": lambda s: make_conninfo(password=s),
    "shell": shlex.quote,
    "double quotes": lambda s: s.replace("\\", "\\\\").replace('"', '\\"'),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
@example(secret="two words", before="", after="")  # a form without a percent sign
@example(secret="it's \x01", before="", after="")  # a quote, beside what some programs write otherwise and some do not
@example(secret="back\\slash isn't \x01", before="", after="")
@example(secret='say "\x01"', before="", after="")
@example(secret="two/words and", before="", after="")  # a plus, and a digit that is a letter
@given(secret=SECRETS | WORDS, before=AROUND, after=AROUND)
def test_no_form_of_a_secret_is_left(way: Callable[[str], str], secret: str, before: str, after: str) -> None:
    """In the middle of any text, in the forms that URLs, Python, JSON, SQL, libpq and shells give it."""
    keep_only()
    register(secret)
    form = way(secret)
    for shown in (redact(f"{before} {form} {after}"), safe(f"{before} {form} {after}"), one_line(f"{form} {after}")):
        assert MASK in shown or "\x1b" in before  # an order to the terminal swallows the rest of its line
        assert form not in shown
        if secret not in before + after:
            assert secret not in shown


@pytest.mark.parametrize("copies", [1, 2, 3, 4])
def test_a_form_that_begins_within_another(copies: int) -> None:
    """The end of one copy and the beginning of the next look like SQL's form of the secret."""
    keep_only()
    register("'@@'")
    assert redact("'@@'" * copies).replace(MASK, "") == ""


@pytest.mark.parametrize("text", ["correct horse battery", "horse correct horse battery", "abcabcab"])
def test_secrets_that_lie_within_one_another(text: str) -> None:
    """Neither what stands behind the inner one is left, nor what two of one have in common."""
    keep_only()
    for secret in ("correct horse battery", "horse", "abcab"):
        register(secret)
    assert redact(text).replace(MASK, "").strip() == ""


@given(secrets=st.lists(SECRETS, min_size=2, max_size=5), data=st.data())
def test_secrets_that_are_parts_of_one_another(secrets: list[str], data: st.DataObject) -> None:
    """No end of the longest stays behind."""
    keep_only()
    # neighbours that differ, or the text around would be a part of one
    secrets = [f"<{s}>" for s in secrets]
    secrets += [secrets[0] + secrets[1], secrets[0][1:] + secrets[1]]
    for secret in secrets:
        register(secret)
    chosen = data.draw(st.sampled_from(secrets))
    assert redact(f"| {chosen} |") == f"| {MASK} |"


def test_a_part_of_a_secret_in_a_url() -> None:
    """What an encoded character keeps from looking like the longer one goes with it, not only the shorter within it."""
    keep_only()
    for secret in ("horse", "correct/horse battery"):
        register(secret)
    assert redact("https://h/correct%2fhorse%20battery/") == f"https://h/{MASK}/"


@given(secret=SECRETS, where=st.integers(1, 3), control=st.sampled_from(["\x1b[1m", "\x00", "\x1b]0;x\x07", "\u202e"]))
def test_control_characters_hide_no_secret(secret: str, where: int, control: str) -> None:
    """Taken out of the middle of a secret they do not leave it whole."""
    keep_only()
    register(secret)
    assert secret not in safe(f"x{secret[:where]}{control}{secret[where:]}x")


def test_a_secret_that_has_lost_its_control_characters() -> None:
    """A text may have been made printable before it came here."""
    keep_only()
    register("sword\tfish\x01bone")
    assert redact(printable("the sword\tfish\x01bone")) == f"the {MASK}"


@given(secret=SECRETS, before=st.integers(0, 400))
def test_a_shortened_text_shows_no_piece(secret: str, before: int) -> None:
    """Where a text is cut in the middle of a secret, nothing of its beginning stays."""
    keep_only()
    register(secret)
    filler = "\x01" * before  # goes, so that what stands far behind comes near
    shown = one_line(f"{filler}{secret * 20}", length=30)
    assert shown.replace(MASK, "").strip(MASK).strip() == "" or secret[0].isspace()
    assert secret[:4] not in shown
    assert longest() >= len(secret)


@example(secret="00.0", text="row contains (1, {}..., null)")  # a dot where it was cut
@example(secret="00 0", text="('{} ... (9 characters truncated) ... {}',)")  # a blank
@example(secret="...0000", text="row contains (1, {}..., null)")
@given(
    secret=SECRETS,
    text=st.sampled_from(["row contains (1, {}..., null)", "('{} ... (9 characters truncated) ... {}',)"]),
)
def test_a_secret_that_others_have_cut_shows_no_piece(secret: str, text: str) -> None:
    """PostgreSQL shows the beginning of a value, SQLAlchemy its beginning and its end."""
    keep_only()
    secret = f"<begin>{secret}<end>"
    register(secret)
    for form in (secret, repr(secret)[1:-1]):
        shown = redact(text.format(form[:11], form[-11:]))
        assert shown.replace(" ", "") == text.format(MASK, MASK).replace(" ", "")


LITERALS = [
    # text, what is shown
    ("ALTER ROLE a PASSWORD 'x'", "ALTER ROLE a PASSWORD '***'"),
    ("alter role a encrypted password 'it''s'", "alter role a encrypted password '***'"),
    ("CREATE USER a PASSWORD E'x\\'y' LOGIN", "CREATE USER a PASSWORD '***' LOGIN"),
    ("CREATE USER a PASSWORD U&'x' LOGIN", "CREATE USER a PASSWORD '***' LOGIN"),
    ("CREATE USER a PASSWORD $$x y$$ LOGIN", "CREATE USER a PASSWORD *** LOGIN"),
    ("CREATE USER a PASSWORD $q$x $$ y$q$ LOGIN", "CREATE USER a PASSWORD *** LOGIN"),
    ("USER MAPPING FOR a OPTIONS (user 'u', password 'x y')", "USER MAPPING FOR a OPTIONS (user 'u', password '***')"),
    ("PASSWORD\n  'x\ny'", "PASSWORD\n  '***'"),
    ("ALTER ROLE a PASSWORD 'cut off in its mid", "ALTER ROLE a PASSWORD '***'"),
    ("ALTER ROLE a PASSWORD NULL", "ALTER ROLE a PASSWORD NULL"),
    ("dblink('host=h password=x dbname=d')", "dblink('host=h password=*** dbname=d')"),
    ("password='two words' port=1", "password='***' port=1"),
    ("environ({'PGPASSWORD': 'a b', 'X': 1})", "environ({'PGPASSWORD': '***', 'X': 1})"),
    ('{"db_password": "a\\"b", "x": 1}', '{"db_password": "***", "x": 1}'),
    ("export DB_PASSWORD=ab", "export DB_PASSWORD=***"),
    ("the_password := 'x y';", "the_password := '***';"),
    ("make_user('u', password => 'x y')", "make_user('u', password => '***')"),
    ("SET password = crypt('x y', gen_salt('bf'))", "SET password = crypt('***', gen_salt('bf'))"),
    ("SET password = ''; SELECT 'x'", "SET password = '***'; SELECT 'x'"),
    ("password=a,b;c''d port=1", "password=*** port=1"),
    ("CONNECTION 'host=h password=''x y'' user=u'", "CONNECTION 'host=h password=''***'' user=u'"),
    ("dblink(E'password=\\'x y\\' user=u')", "dblink(E'password=\\'***\\' user=u')"),
    ("EXECUTE 'ALTER ROLE a PASSWORD ''x y'''; END", "EXECUTE 'ALTER ROLE a PASSWORD ''***'''; END"),
    ("'EXECUTE ''CREATE USER a PASSWORD ''''x y''''''", "'EXECUTE ''CREATE USER a PASSWORD ''''***''''''"),
    ("format('ALTER ROLE a PASSWORD %L', 'x y')", "format('ALTER ROLE a PASSWORD %L', ***)"),
    ("format('ROLE %I PASSWORD %L LOGIN', 'a', 'x y');", "format('ROLE %I PASSWORD %L LOGIN', ***);"),
    ("'PASSWORD ' || quote_literal('x y') || ' LOGIN'", "'PASSWORD '***'***') || ' LOGIN'"),
    ("op.execute('CREATE USER a PASSWORD \\'x y\\'')", "op.execute('CREATE USER a PASSWORD \\'***\\'')"),
    ('{"said": "password=\\"x y\\" port=1"}', '{"said": "password=\\"***\\" port=1"}'),
    ("OPTIONS (ADD \"password\" 'x y', \"user\" 'u')", "OPTIONS (ADD \"password\" '***', \"user\" 'u')"),
    ("ALTER ROLE a PASSWORD/* of a */ 'x y'", "ALTER ROLE a PASSWORD/* of a */ '***'"),
    ("ALTER ROLE a PASSWORD -- of a\n'x y'", "ALTER ROLE a PASSWORD -- of a\n'***'"),
    ("ALTER ROLE a PASSWORD'{x y}'", "ALTER ROLE a PASSWORD'***'"),
    ("ALTER ROLE a PASSWORD '***x y'", "ALTER ROLE a PASSWORD '***'"),
    ("SET \"app.settings.jwt_secret\" TO 'x y'", "SET \"app.settings.jwt_secret\" TO '***'"),
    ("set_config('app.password', 'x y', false)", "set_config('app.password', '***', false)"),
    ("SELECT vault.create_secret('x y', 'name')", "SELECT vault.create_secret('***', 'name')"),
    ("SERVER s OPTIONS (api_key 'x y', region 'r')", "SERVER s OPTIONS (api_key '***', region 'r')"),
    ("UPDATE a SET secret = excluded.secret, n = 'x'", "UPDATE a SET secret = excluded.secret, n = 'x'"),
    ("INSERT INTO labels VALUES ('password', 'Label')", "INSERT INTO labels VALUES ('password', 'Label')"),
    ("the password isn't known, and the secret 1's", "the password isn't known, and the secret 1's"),
    ("postgresql+psycopg://u:p:@w@h:1/d?a=b", "postgresql+psycopg://u:***@h:1/d?a=b"),
    ("sqlite:////tmp/a:b and https://host:8080/x", "sqlite:////tmp/a:b and https://host:8080/x"),
    ('password authentication failed for user "x"', 'password authentication failed for user "x"'),
    ("write `password: env:NAME`", "write `password: env:NAME`"),
    ("write `password: {cmd: [program]}`", "write `password: {cmd: [program]}`"),
    ("export ACME_PASSWORD=..., or put it into a .env file", "export ACME_PASSWORD=..., or put it into a .env file"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), LITERALS)
def test_passwords_that_nobody_registered(text: str, shown: str) -> None:
    """SQL's literals, assignments and URLs are known by what stands before them; references and hints stay."""
    keep_only()
    assert redact(text) == shown
    assert redact(shown) == shown


def test_a_very_short_password_masks_no_words() -> None:
    """It is masked where it is assigned, and nowhere else, whatever else stands in the text."""
    register("a")
    shown = "a banana, 100%, password=***, postgresql://u:***@h"
    assert redact("a banana, 100%, password=a, postgresql://u:a@h") == shown


@pytest.mark.parametrize(
    "text",
    [
        "a." * 100_000,
        "password " * 100_000,
        "password 'x " * 50_000,
        "password $a$ " * 50_000,
        "a://b:" * 50_000,
        "\x1b]" * 100_000,
        "password" + " " * 200_000,
        "password /*" * 50_000,
        "password" + "/**/" * 50_000,
        "password --" * 50_000,
        "password = a(" * 50_000,
        "password = " + "a(" * 50_000,
        "password " + "'" * 100_000,
        "password ''x" * 50_000,
        "password \\'x" * 50_000,
        "password " + "\\" * 100_000,
        "password = '" + "\\" * 500_000,
        "password '" + ("\\" * 9_999 + "x") * 50,
        "password " + "\\" * 50_000 + "'" + ("\\" * 49_999 + "x") * 5,
        "password " + "'" * 50_000 + ("'" * 49_999 + "x") * 5,
        "password %L' ," * 50_000,
        "set_config('" * 50_000,
        "secret" + "key" * 50_000,
        "a se..." * 50_000,
        "...d %" * 50_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Texts made to keep a regular expression busy: what does not end is stopped by the time limit of the tests."""
    register("a secret of % and +")
    assert len(safe(text)) <= len(text) + 100
    assert len(one_line(text * 10)) <= 1000


def test_thousands_of_secrets_cost_a_text_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet has as many: looked for one by one, each text of a report took a tenth of a second, a URL most of one."""
    keep_only()
    for number in range(2000):
        register(f"sbp_{number:x}'{number}/horse battery")
    assert redact("https://h/sbp_7cf%271999/horse+battery/ sbp_0%270%2Fhorse%20battery") == f"https://h/{MASK}/ {MASK}"
    searched: list[str] = []
    places, encoded = redaction._places, redaction._encoded
    monkeypatch.setattr(redaction, "_places", lambda text, form: searched.append(form) or places(text, form))
    monkeypatch.setattr(redaction, "_encoded", lambda secret: searched.append(secret) or encoded(secret))
    assert redact("column `sbp_a` is 100% another") == "column `sbp_a` is 100% another"
    assert searched == []
    assert redact("sbp_7cf'1999/horse battery") == MASK
    assert 0 < len(searched) < 20
