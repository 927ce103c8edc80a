"""What a step finds is not what the one before it has set, and what it says of its own transaction holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ehg_migrate.database.origin import find_origin
from ehg_migrate.database.session import Session
from ehg_migrate.model import Address, Run, RunStatus, Status, Target
from tests.support.bare import BareServer
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import CANARY, Cluster
from tests.support.programs import postgres_bin
from tests.support.project import PASSWORD_VARIABLE, revision
from tests.support.running import Fleet, code_of, make_fleet, result_of, step

MakeDatabase = Callable[[str], Address]

_OTHER = "ehg_test_other"  # a role that may do what ours may
_DRIVER = "op.get_bind().connection.driver_connection"
_NOTE = """
op.execute(\"\"\"INSERT INTO noted SELECT concat_ws(' | ', session_user, current_user,
    current_setting('transaction_isolation'), current_setting('transaction_read_only'),
    current_setting('transaction_deferrable'), current_setting('row_security'), current_setting('TimeZone'),
    current_setting('work_mem'), current_setting('search_path'), current_setting('lock_timeout'),
    current_setting('client_encoding'), current_setting('application_name'),
    nullif(current_setting('app.tenant', true), ''), current_setting('session_replication_role'))\"\"\")
"""

# what the step in the middle leaves behind
SPOILERS = {
    "read_only": 'op.execute("SET default_transaction_read_only = on")',
    "characteristics": 'op.execute("SET SESSION CHARACTERISTICS AS TRANSACTION "'
    '"DEFERRABLE, ISOLATION LEVEL SERIALIZABLE")',
    "role": f'op.execute("SET ROLE {_OTHER}")',
    "several": "op.execute(\"SET row_security = off; SET TimeZone = 'Asia/Tokyo'; SET work_mem = '1MB'\")\n"
    'op.execute("SET client_encoding = LATIN1"); op.execute("SET application_name = mine")\n'
    'op.execute("SET app.tenant = \'acme\'"); op.execute("SET lock_timeout = 0")',
    "replication": f'op.execute("SET ROLE {_OTHER}; SET session_replication_role = replica; RESET ROLE")',
    "driver": f"import psycopg\n{_DRIVER}.commit()\n{_DRIVER}.isolation_level = psycopg.IsolationLevel.SERIALIZABLE\n"
    f"{_DRIVER}.deferrable = True",
    "autocommit": 'with op.get_context().autocommit_block():\n    op.execute("SET row_security = off")',
}
# what an administrator has set, for the database or for our role in it: that must stay
DEFAULTS = {
    "of_database": "ALTER DATABASE {0} SET work_mem = '3MB'; ALTER DATABASE {0} SET app.tenant = 'default'",
    "of_role": "ALTER ROLE postgres IN DATABASE {0} SET TimeZone = 'Europe/Rome';"
    "ALTER ROLE postgres IN DATABASE {0} SET default_transaction_isolation = 'repeatable read'",
    "own_role": f"ALTER ROLE postgres IN DATABASE {{0}} SET role = '{_OTHER}'",
}
_CHANGES_ALL = f'{SPOILERS["several"]}\n{SPOILERS["characteristics"]}\nop.execute("RESET ROLE")'
POOLED = "pooled"
UNTOUCHED = "before_one_that_says_how_its_transaction_is"


@dataclass(frozen=True)
class Case:
    """What the only revision of a branch does, and what is to be said of it."""

    code: str
    noted: tuple[str, ...] = ()  # isolation and deferrable, as it found them
    problem: str = ""
    hint: str = ""
    journal: tuple[str, ...] = ("done",)


_SAYS = 'op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")\n'
_LEFT = ("started", "done")
_FOUND = """
op.execute(\"\"\"INSERT INTO noted SELECT concat_ws(' ', current_setting('transaction_isolation'),
    current_setting('transaction_deferrable'))\"\"\")
"""
_FAILED = ("failed",)
_PLAIN = "read committed off"  # what the next step finds

TRANSACTIONS = {
    "plain": Case(_SAYS + _FOUND, ("serializable off",)),
    "waiting": Case(f"if True:\n    {_SAYS}{_FOUND}", ("serializable off",)),
    "lower_case": Case(f'op.execute("/* why */ set local transaction_isolation to serializable"){_FOUND}',
                       ("serializable off",)),
    "deferrable": Case(f'{_SAYS}op.execute("SET TRANSACTION DEFERRABLE"){_FOUND}', ("serializable on",)),
    "one_string": Case(f'op.execute("-- so\\nSET TRANSACTION ISOLATION LEVEL REPEATABLE READ; CREATE TABLE t (n int)")'
                       f"{_FOUND}", ("repeatable read off",)),
    "only_said": Case(_SAYS),
    "block_first": Case("with op.get_context().autocommit_block():\n    op.execute('SELECT 1')\n" + _SAYS + _FOUND,
                        ("serializable off",), journal=_LEFT),
    "commits": Case(f"{_SAYS}op.execute('COMMIT'){_FOUND}", ("read committed off",), journal=_LEFT),
    "commits_past_the_driver": Case(
        f"{_SAYS}op.execute('SELECT 1')\n{_DRIVER}.pgconn.exec_(b'COMMIT; BEGIN')\nraise RuntimeError('half way')",
        problem="revision_raised", journal=("failed", "started")),
    "rolls_back": Case(f"{_SAYS}{_FOUND}op.execute('ROLLBACK')", problem="thrown_away", journal=_FAILED),
    "rolls_back_nothing": Case(f"{_SAYS}{_DRIVER}.rollback(){_FOUND}", problem="thrown_away", journal=_FAILED),
    "too_late": Case(f"op.execute('SELECT 1')\n{_SAYS}", problem="statement_failed",
                     hint="as the first statement", journal=_FAILED),
    "from_elsewhere": Case("op.execute('SET ' + 'TRANSACTION ISOLATION LEVEL SERIALIZABLE')",
                           problem="statement_failed", hint="in the revision's own file", journal=_FAILED),
    "read_only_itself": Case('op.execute("SET TRANSACTION READ ONLY")', problem="read_only",
                             hint="what the revision has SET", journal=_FAILED),
}  # fmt: skip
_NAMES = (*SPOILERS, *DEFAULTS, POOLED, UNTOUCHED, *TRANSACTIONS)


def _noting(name: str, code: str, last: str = _NOTE) -> dict[str, str]:
    """A branch that notes what it finds, spoils it, and notes again."""
    a, b, c = f"{name}_a", f"{name}_b", f"{name}_c"
    return {
        f"{name}/{a}": revision(a, None, label=name, depends=("s1",), up_code=_NOTE),
        f"{name}/{b}": revision(b, a, up_code=code),
        f"{name}/{c}": revision(c, b, up_code=last),
    }


def _revisions() -> dict[str, str]:
    found = {"shared/s1": revision("s1", None, label="shared", up="CREATE TABLE noted (words text)")}
    for name, code in SPOILERS.items():
        found |= _noting(name, code)
    for name in (*DEFAULTS, POOLED):
        found |= _noting(name, _CHANGES_ALL)
    # the driver begins that transaction, as it was told to by then
    found |= _noting(UNTOUCHED, SPOILERS["driver"], f"# it might SET TRANSACTION{_NOTE}")
    for name, case in TRANSACTIONS.items():
        first, second = f"{name}_1", f"{name}_2"
        found[f"{name}/{first}"] = revision(first, None, label=name, depends=("s1",), up_code=case.code)
        found[f"{name}/{second}"] = revision(second, first, up_code=_FOUND)
    return found


@pytest.fixture(scope="module")
def other(pg: Cluster) -> Iterator[str]:
    """A role that ours may become, and that may do all; dropped after the databases that know it."""
    with pg.admin() as c:
        c.execute(f"CREATE ROLE {_OTHER} SUPERUSER; GRANT {_OTHER} TO postgres".encode())
        yield _OTHER
        c.execute(f"DROP ROLE {_OTHER}".encode())


@pytest.fixture(scope="module")
def fleet(
    pg: Cluster,
    other: str,
    make_module_database: MakeDatabase,
    bouncer_session: PgBouncer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """A target for each case; their databases are reached without the pooler where the tests look into them."""
    addresses = {name: make_module_database(name) for name in _NAMES}
    with pg.admin() as c:
        for name, statements in DEFAULTS.items():
            for statement in statements.split(";"):
                c.execute(statement.format(addresses[name].dbname).encode())
    pooled = bouncer_session.address(addresses[POOLED].dbname)
    at = {**addresses, POOLED: replace(addresses[POOLED], host=pooled.host, port=pooled.port)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD_VARIABLE, CANARY)
        yield make_fleet(pg, tmp_path_factory.mktemp("fleet"), at, _revisions())


@pytest.fixture(scope="module")
def run(fleet: Fleet) -> Run:
    """All of them in one run."""
    return fleet.upgrade(parallel=4)


@pytest.mark.parametrize("name", [*SPOILERS, *DEFAULTS, POOLED, UNTOUCHED])
def test_nothing_that_a_step_has_set_reaches_the_next(fleet: Fleet, run: Run, name: str) -> None:
    """Role, transactions, time zone, custom settings: the third revision finds what the first one found."""
    assert result_of(run, name).status is Status.SUCCEEDED, result_of(run, name)
    before, after = fleet.values(name, "SELECT words FROM noted")
    assert before == after
    assert " | UTF8 | ehg_migrate " in after


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("of_database", "3MB"),
        ("of_database", "default"),
        ("of_role", "Europe/Rome | 4MB"),
        ("own_role", f"| {_OTHER} |"),
    ],
)
def test_what_an_administrator_has_set_stays(fleet: Fleet, run: Run, name: str, words: str) -> None:
    """ALTER DATABASE and ALTER ROLE hold for every step, a default role too."""
    assert {words in noted for noted in fleet.values(name, "SELECT words FROM noted")} == {True}


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_a_step_may_say_how_its_transaction_is(fleet: Fleet, run: Run, name: str) -> None:
    """As its first statement, as with stock Alembic; it is noticed all the same when it leaves that transaction."""
    case, result = TRANSACTIONS[name], result_of(run, name)
    assert code_of(result) == case.problem, result
    assert not result.problem or case.hint in (result.problem.hint or "")
    assert [r.revision for r in result.steps] == (["s1"] if case.problem else ["s1", f"{name}_1", f"{name}_2"])
    assert fleet.heads(name) == ["s1" if case.problem else f"{name}_2"]
    assert fleet.values(name, "SELECT words FROM noted") == [*case.noted, *([] if case.problem else [_PLAIN])]
    assert tuple(event for event, revision in fleet.journal(name) if revision == f"{name}_1") == case.journal
    fleet.check_no_lock(name)


@pytest.mark.parametrize("first", ["", 'op.execute("COMMENT ON TABLE s1 IS $$SET TRANSACTION$$")\n'])
@pytest.mark.parametrize(
    "how",
    ['op.get_bind().execution_options(isolation_level="AUTOCOMMIT")', f"{_DRIVER}.autocommit = True"],
    ids=["sqlalchemy", "driver"],
)
def test_autocommit_that_a_step_has_left_is_not_the_next_ones(
    how: str, first: str, pg: Cluster, database: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a transaction, which goes as a whole where it fails: what is said to have failed has left nothing."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    halves = 'op.execute("CREATE TABLE s3 (n int)")\nop.execute("CREATE TABLE s1 (n int)")'
    steps = {
        "shared/s1": step("s1", label="shared"),
        "shared/s2": step("s2", "s1", f"op.get_bind().commit()\n{how}"),
        "shared/s3": revision("s3", "s2", up_code=first + halves),
    }
    fleet = make_fleet(pg, tmp_path / "project", {"one": database}, steps)
    result = result_of(fleet.upgrade(), "one")
    assert (result.status, code_of(result), result.heads_after) == (Status.FAILED, "exists_already", ("s2",))
    fleet.check(holds=["s1", "s2"])
    fleet.write("shared/s3", step("s3", "s2", first))
    assert fleet.upgrade().status is RunStatus.SUCCEEDED
    fleet.check(holds=["s1", "s2", "s3"])


@pytest.mark.parametrize("path", ["''", "nowhere"])
def test_nothing_lands_in_our_schema(pg: Cluster, make_database: MakeDatabase, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch, path: str) -> None:  # fmt: skip
    """Where the search_path leads nowhere, a table without a schema is refused, as stock Alembic has it refused."""
    monkeypatch.setenv(PASSWORD_VARIABLE, CANARY)
    addresses = {name: make_database(name) for name in ("one", "two")}
    first = revision("s1", up="CREATE TABLE lost (n int)", label="shared")
    fleet = make_fleet(pg, tmp_path, addresses, {"shared/s1": first})
    with fleet.admin("two") as c:
        role = f'ALTER ROLE postgres IN DATABASE "{addresses["two"].dbname}"'
        c.execute(f"{role} SET search_path = {path}".encode())
    run = fleet.upgrade(parallel=1)
    assert result_of(run, "one").status is Status.SUCCEEDED
    assert code_of(result_of(run, "two")) == "statement_failed"
    assert fleet.values("two", "SELECT schemaname FROM pg_tables WHERE tablename = 'lost'") == []


def test_who_a_step_has_become_is_forgotten(tmp_path: Path) -> None:
    """A superuser's step may go on as another session's user, which ends neither with it nor with RESET ROLE."""
    with BareServer(postgres_bin()) as server, server.connect("postgres") as admin:
        target = Target("one", Address(admin.info.host, 5432, "postgres", "postgres", "disable"), ("shared",))
        with Session(target, None, "run", find_origin(tmp_path)) as session:
            session.work.autocommit = False
            session.prepare_work()
            session.work.execute("SET SESSION AUTHORIZATION anon")
            session.work.commit()
            session.prepare_work()
            assert session.work.execute("SELECT session_user").fetchone() == ("postgres",)
            session.work.rollback()
