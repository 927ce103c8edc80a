"""Targets after a worker's first: one connection, whole steps, locks and settings that end with each transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ehg_migrate.database.hosts import place
from ehg_migrate.database.origin import find_origin
from ehg_migrate.database.session import lock_key
from ehg_migrate.database.single import NeedsPair, SingleSession
from ehg_migrate.database.statements import layout
from ehg_migrate.model import Address, Result, Run, RunStatus, Status, Target
from ehg_migrate.rollout import pool
from ehg_migrate.rollout.jobs import Event, EventKind, Job, Learned
from ehg_migrate.rollout.sharing import Shared
from ehg_migrate.rollout.stop import Stop
from tests.support.bare import BareServer, majors
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Cluster
from tests.support.programs import wait_until
from tests.support.project import revision
from tests.support.running import Fleet, Workers, code_of, make_fleet, result_of, step
from tests.support.wire import CountingProxy, Traffic

MakeDatabase = Callable[[str], Address]

_DELAY = 0.1  # seconds: what is sent together arrives together, and waits once, on a busy machine too
_PAIR = 12  # waits of the first target, on two connections, for one revision
SLOW = 'op.execute("CREATE TABLE slow AS SELECT 1 AS n FROM pg_sleep({})")'
HISTORY = {"shared/a": step("a", None, label="shared")}


@dataclass
class Line:
    """Targets `one` and `two` behind one proxy; they are done one after the other, by one process."""

    fleet: Fleet
    proxy: CountingProxy

    def upgrade(self, *selectors: str) -> Run:
        """Counted; `one` goes first, since nobody remembers how long each took before."""
        ledger = self.fleet.load().settings.ledger_file(local=False)
        assert ledger is not None
        ledger.unlink(missing_ok=True)
        self.proxy.reset()
        return self.fleet.upgrade(*selectors, parallel=1)

    def write(self, *names: str) -> None:
        """Revisions of `shared`, each after the one before."""
        for name, down in zip(names, ("a", *names), strict=False):
            self.fleet.write(f"shared/{name}", step(name, down))

    def working(self, target: str) -> list[Traffic]:
        """The connections of the last run that worked on a target, without the look before."""
        name, ours = self.fleet.addresses[target].dbname, "ehg_migrate 2"
        return [
            t
            for t in self.proxy.traffic
            if t.parameters.get("database") == name and t.parameters["application_name"].startswith(ours)
        ]


@pytest.fixture
def line(pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Both hold revision `a`."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    with CountingProxy(pg.host, pg.port) as proxy:
        here = {n: replace(make_database(n), host=proxy.host, port=proxy.port) for n in ("one", "two")}
        fleet = make_fleet(pg, tmp_path, here, HISTORY)
        run = Line(fleet, proxy)
        assert run.upgrade().status is RunStatus.SUCCEEDED
        yield run
        for target in here:
            assert fleet.lock_holders(target) == []
            assert fleet.values(target, "SELECT run FROM ehg_migrate.migration_lease") == []


def failed(run: Run) -> Result:
    """The result of `two`, while `one` is done."""
    assert [r.status for r in run.results] == [Status.SUCCEEDED, Status.FAILED]
    return result_of(run, "two")


# --- what it costs


@pytest.mark.parametrize(("revisions", "waits"), [("b", 5), ("bcd", 7)])
def test_a_step_costs_one_wait(line: Line, revisions: str, waits: int) -> None:
    """Beside it three of the login, and one for what the target holds; the version rows come with the last commit."""
    line.write(*revisions)
    line.proxy.delay = _DELAY
    run = line.upgrade()
    assert run.status is RunStatus.SUCCEEDED
    first, second = line.working("one"), line.working("two")
    assert (len(first), len(second)) == (2, 1)
    assert second[0].round_trips == waits
    # since the look at both, whose waits are the same only where the machine begins both within one
    assert line.proxy.waits - min(t.before for t in first) == _PAIR + 2 * (len(revisions) - 1) + waits
    assert line.proxy.hasty == 0
    assert line.fleet.heads("one") == line.fleet.heads("two") == [revisions[-1]]


def test_rows_are_brought_by_one_connection_too(line: Line) -> None:
    line.fleet.write("shared/b", step("b", "a", code='op.execute("INSERT INTO b VALUES (1), (2)")'))
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert [len(line.working(target)) for target in ("one", "two")] == [2, 1]
    assert line.fleet.values("one", "SELECT n FROM b") == line.fleet.values("two", "SELECT n FROM b") == [1, 2]


def test_numbers_that_every_database_has_its_own_of_are_no_difference(line: Line) -> None:
    """With hstore each target's statements were made, told and kept apart from all others'."""
    for target, others in (("one", 1), ("two", 2)):
        with line.fleet.admin(target) as c:
            for number in range(others):
                c.execute(f"CREATE TABLE public.other{number} (n int)")
            c.execute("CREATE EXTENSION hstore SCHEMA public")
    assert line.fleet.values("one", "SELECT 'hstore'::regtype::oid") != line.fleet.values(
        "two", "SELECT 'hstore'::regtype::oid"
    )
    line.write("b")
    line.proxy.delay = _DELAY
    assert line.upgrade().status is RunStatus.SUCCEEDED
    (only,) = line.working("two")
    assert only.round_trips == 5


def test_what_no_target_was_sent_before_is_found_out_without_sending_it(line: Line) -> None:
    """A branch of its own: it costs the target no wait."""
    line.write("b")
    line.fleet.write("two/o", step("o", None, label="two", depends=["b"]))
    line.proxy.delay = _DELAY
    assert line.upgrade().status is RunStatus.SUCCEEDED
    (only,) = line.working("two")
    assert only.round_trips == 5 + 1
    assert [s for s in only.statements if "CREATE TABLE" in s] == ["CREATE TABLE b (n int)", "CREATE TABLE o (n int)"]
    assert line.fleet.tables("two") == ["a", "b", "o"]
    assert line.fleet.heads("two") == ["o"]


@pytest.fixture
def wide(line: Line, make_database: MakeDatabase, pg: Cluster, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Four targets, two workers, of which one goes ahead for as long as it takes."""
    monkeypatch.setattr(pool, "_AHEAD", 1)
    monkeypatch.setattr(pool, "_LEAD", 1000)
    more = {n: replace(make_database(n), host=line.proxy.host, port=line.proxy.port) for n in ("three", "four")}
    line.fleet = make_fleet(pg, line.fleet.folder, {**line.fleet.addresses, **more}, HISTORY)
    line.upgrade()
    return line.fleet


def test_one_worker_finds_out_for_all(line: Line, wide: Fleet) -> None:
    """Of all that begin after the first target has ended, none proves its endpoint again, or makes statements anew."""
    wide.write("shared/b", step("b", "a", code=SLOW.format(0.3)))
    line.proxy.reset()
    workers = Workers({})
    project = wide.load()
    before = workers.alive()
    assert project.run(project.plan(), parallel=2, watch=workers).status is RunStatus.SUCCEEDED
    assert len(set.union(*workers.seen.values()) - before) == 2
    first, *others = sorted((line.working(name) for name in wide.addresses), key=len, reverse=True)
    assert [len(first), *map(len, others)] == [2, 1, 1, 1]
    assert {only.round_trips for (only,) in others} == {5}
    assert {tuple(wide.heads(name)) for name in wide.addresses} == {("b",)}


def test_what_cannot_be_told_is_found_out_again(line: Line, wide: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its statements are made anew, in the transaction that entering has begun."""
    line.write("b")
    monkeypatch.setattr(Shared, "take", take_endpoint_only)
    line.proxy.reset()
    project = wide.load()
    assert project.run(project.plan(), parallel=2).status is RunStatus.SUCCEEDED
    first, *others = sorted((line.working(name) for name in wide.addresses), key=len, reverse=True)
    assert [len(first), *map(len, others)] == [2, 1, 1, 1]
    assert max(only.round_trips for (only,) in others) == 5
    assert {tuple(wide.heads(name)) for name in wide.addresses} == {("b",)}


def test_a_type_that_each_database_has_its_own_number_of(line: Line) -> None:
    """SQLAlchemy makes hstore known to a connection; what makes the statements has none of the target's."""
    with line.fleet.admin("two") as c:
        c.execute("CREATE TYPE between AS ENUM ('a'); CREATE EXTENSION hstore")
    line.write("b")
    line.fleet.write("two/o", step("o", None, label="two", depends=["b"]))
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 1
    assert line.fleet.tables("two") == ["a", "b", "o"]


def take_endpoint_only(shared: Shared, job: Job, learned: Learned) -> None:
    """As where what others have made does not come in time."""
    if learned.proven:
        shared.endpoints.add(place(job.target))


def test_a_new_target(line: Line, make_database: MakeDatabase) -> None:
    """Our tables are made on the way, and stay where the first step is another transaction."""
    line.write("b")
    line.fleet.write("two/o", step("o", None, label="two", depends=["b"]))
    line.fleet.upgrade("one")
    with line.fleet.admin("two") as c:
        c.execute("DROP SCHEMA ehg_migrate CASCADE; DROP TABLE a")
    line.write("b", "c")
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 1
    assert line.fleet.tables("two") == ["a", "b", "c", "o"]
    assert line.fleet.runs_of("two")[-1][0] == "o"


# --- what it leaves in the target


def test_the_journal_says_what_it_says_of_the_first_target(line: Line) -> None:
    """And how long the step took is the server's to say, since the entry is sent before the step begins."""
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(0.3)))
    run = line.upgrade()
    assert len(line.working("two")) == 1
    one, two = (line.fleet.load().history(t)[-1] for t in ("one", "two"))
    of_two = {"seq": two.seq, "started_at": two.started_at, "seconds": two.seconds, "target": "two"}
    assert (one.target, replace(one, **of_two)) == ("one", two)
    for entry, target in ((one, "one"), (two, "two")):
        result = result_of(run, target)
        assert result.steps[0].seconds >= 0.3
        assert 0.3 <= entry.seconds <= result.seconds


def test_nothing_of_it_is_left_behind_a_pooler_that_is_not_in_session_mode(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint is proven with its first target. Should another one of it be in transaction mode, no lock and no
    setting stays on the connection that the pooler gives to the next client.
    """
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    first, second = make_database("one"), make_database("two")
    history = HISTORY | {f"shared/{name}": step(name, down) for name, down in ("ba", "cb", "dc", "ed")}
    with PgBouncer(pg, "session", databases={second.dbname: "transaction"}) as bouncer:
        addresses = {"one": bouncer.address(first.dbname), "two": bouncer.address(second.dbname)}
        fleet = make_fleet(pg, tmp_path, addresses, history)
        assert fleet.upgrade(parallel=1).status is RunStatus.SUCCEEDED
        with bouncer.connect(second.dbname) as c:
            left = c.execute(
                "SELECT name FROM pg_settings WHERE setting <> reset_val AND source = 'session'"
            ).fetchall()
            assert left == c.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
            assert fleet.lock_holders("two") == []
        assert fleet.heads("two") == ["e"]


def test_nothing_is_set_between_two_transactions(
    pg: Cluster, database: Address, bouncer_transaction: PgBouncer, tmp_path: Path
) -> None:
    """Whoever comes to the pooler meanwhile has the same connection to the server, and not our limits."""
    target = Target("one", bouncer_transaction.address(database.dbname), ("shared",))
    with pg.connect(database.dbname) as c:
        c.execute(layout(target))
    session = SingleSession(target, pg.password, "run", find_origin(tmp_path))
    with session, session.beside(), bouncer_transaction.connect(database.dbname) as c:
        ours = session.work.execute("SELECT pg_backend_pid()").fetchone()
        assert c.execute("SELECT pg_backend_pid()").fetchone() == ours
        limits = "SELECT name FROM pg_settings WHERE name LIKE '%timeout' AND source = 'session'"
        assert c.execute(limits).fetchall() == []


def test_what_another_client_has_left_in_a_pooler_is_not_the_first_steps(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cleans nothing: each target's tables are the role's that the entry names, where its path leads."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    databases = {n: make_database(n) for n in ("one", "two")}
    with PgBouncer(pg, "session", server_reset_query="", max_db_connections=2) as bouncer, pg.admin() as admin:
        fleet = make_fleet(pg, tmp_path, {n: bouncer.address(d.dbname) for n, d in databases.items()}, HISTORY)
        admin.execute("CREATE ROLE left_there SUPERUSER; GRANT left_there TO postgres")
        try:
            for database in databases.values():
                clients = [bouncer.connect(database.dbname) for _ in range(2)]
                for client in clients:
                    client.execute("SET ROLE left_there; SET search_path = pg_temp")
                for client in clients:
                    client.close()
            assert fleet.load().upgrade(parallel=1).status is RunStatus.SUCCEEDED
            owners = "SELECT schemaname || ' ' || tableowner FROM pg_tables WHERE tablename = 'a'"
            assert fleet.values("one", owners) == fleet.values("two", owners) == ["public postgres"]
        finally:
            bouncer.close()
            for database in databases.values():
                with pg.admin(database.dbname) as c:
                    c.execute("REASSIGN OWNED BY left_there TO postgres")
            admin.execute("DROP ROLE left_there")


@pytest.mark.parametrize("stopped", [False, True], ids=["done", "stopped"])
def test_what_a_revisions_function_leaves_is_not_handed_on(
    stopped: bool, pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooler cleans nothing, so the next client would have the lock and the setting."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    database, stop = make_database("one"), Stop()
    code = 'op.execute("CREATE TABLE leaving AS SELECT leaves()")'
    history = HISTORY | {"shared/b": step("b", "a", code=code)} | ({"shared/c": step("c", "b")} if stopped else {})
    with PgBouncer(pg, "session", server_reset_query="") as bouncer, pg.connect(database.dbname) as holder:
        holder.execute(
            "CREATE FUNCTION leaves() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_advisory_xact_lock_shared(7), pg_advisory_lock(88), set_config('work_mem', '7MB', false);"
            " EXECUTE 'PREPARE left_there AS SELECT 1'; RETURN 1; END $$"
        )
        holder.execute("SELECT pg_advisory_lock(7)")

        def begun(event: Event) -> None:
            if event.kind is EventKind.STEP_STARTED and event.step == 2:
                if stopped:
                    stop.ask()
                holder.execute("SELECT pg_advisory_unlock(7)")

        fleet = make_fleet(pg, tmp_path, {"one": bouncer.address(database.dbname)}, history)
        (result,) = fleet.load().upgrade(watch=begun, stop=stop).results
        assert (result.status, result.heads_after) == (Status.CANCELLED if stopped else Status.SUCCEEDED, ("b",))
        with bouncer.connect(database.dbname) as c:
            assert c.execute("SHOW work_mem").fetchone() == ("4MB",)
            assert c.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
        assert fleet.lock_holders("one") == []


def test_what_making_our_tables_leaves_is_not_the_first_steps(
    pg: Cluster, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event trigger hears of them too: the second target, whose statements are known, is made like the first."""
    monkeypatch.setenv("EHG_TEST_PASSWORD", pg.password)
    history = {"shared/a": step("a", code='op.execute("CREATE TABLE second (n int)")', label="shared")}
    fleet = make_fleet(pg, tmp_path, {n: make_database(n) for n in ("one", "two")}, history)
    for target in fleet.addresses:
        with fleet.admin(target) as c:
            c.execute(
                "CREATE SCHEMA other AUTHORIZATION postgres;"
                " CREATE FUNCTION leads() RETURNS event_trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM set_config('search_path', 'other', false); END $$;"
                " CREATE EVENT TRIGGER leads ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION leads()"
            )
    assert fleet.load().upgrade(parallel=1).status is RunStatus.SUCCEEDED
    where = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename IN ('a', 'second') ORDER BY 1"
    assert fleet.values("one", where) == fleet.values("two", where) == ["other.second", "public.a"]


# --- what it is not for


@pytest.mark.parametrize(
    "code",
    [
        'op.execute("UPDATE b SET n = 1")',
        "op.execute(f\"COMMENT ON TABLE b IS '{'x' * 100_000}'\")",
        'op.execute("SET search_path = public")',
        "if True:\n    op.get_bind()",
        "op.execute(\"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET lock_timeout FROM CURRENT AS 'SELECT 1'\")",
    ],
)
def test_any_other_step_has_two_connections(line: Line, code: str) -> None:
    """Nothing of it was sent before that was found out."""
    line.fleet.write("shared/b", step("b", "a", code=code))
    assert line.upgrade().status is RunStatus.SUCCEEDED
    sent = [s for t in line.working("two") for s in t.statements if s.startswith("CREATE TABLE b")]
    assert len(sent) == 1
    assert line.fleet.runs_of("two")[-1][0] == "b"
    assert len(line.working("two")) >= 2


@pytest.mark.parametrize("when", ["in the step", "at its commit"])
def test_what_the_server_was_told_to_keep_and_has_not_kept_is_said_again(when: str, line: Line) -> None:
    """A function that a step calls may say DEALLOCATE ALL."""
    code = ""
    for target in line.fleet.addresses:
        with line.fleet.admin(target) as c:
            c.execute(
                "CREATE FUNCTION forgets() RETURNS int LANGUAGE plpgsql AS"
                " $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN 1; END $$"
            )
            if when == "at its commit":
                c.execute(
                    "CREATE FUNCTION hears() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN PERFORM public.forgets(); RETURN NULL; END $$;"
                    " CREATE CONSTRAINT TRIGGER hears AFTER INSERT ON ehg_migrate.migration_journal"
                    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.revision = 'e') EXECUTE FUNCTION hears()"
                )
            else:
                code = 'op.execute("CREATE TABLE forgot AS SELECT forgets()")'
    line.write(*"bcd")
    line.fleet.write("shared/e", step("e", "d", code=code))
    line.fleet.write("shared/f", step("f", "e"))
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert [len(line.working(target)) for target in ("one", "two")] == [2, 3]
    for target in ("one", "two"):
        assert line.fleet.heads(target) == ["f"]
        assert line.fleet.journal(target) == [("done", name) for name in "abcdef"]


def test_one_connection_is_tried_in_vain_only_once(line: Line) -> None:
    """By a process: each try is a login, and poolers count those."""
    line.fleet.write("shared/b", step("b", "a", code='op.execute("DELETE FROM b")'))
    (line.fleet.folder / ".ehg" / "ledger.sqlite").unlink()
    line.proxy.reset()
    assert line.fleet.load().upgrade(parallel=1).status is RunStatus.SUCCEEDED
    assert [len(line.working(t)) for t in ("one", "two")] == [1 + 2, 2]


def test_a_foreign_entry_in_the_journal_stops_it_between_two_steps(line: Line) -> None:
    """Somebody was here while the locks were free: the rest is done with two connections, from what is there then."""
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(1)))
    line.fleet.write("shared/c", step("c", "b"))
    with line.fleet.admin("two") as c:
        c.execute(_INTRUDER)
    run = line.upgrade()
    assert run.status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 3
    assert line.fleet.journal("two")[-4:] == [("done", "a"), ("done", "b"), ("normalized", "x"), ("done", "c")]


@pytest.mark.parametrize(
    ("left", "status", "code"), [("c", Status.SUCCEEDED, ""), ("x", Status.INDETERMINATE, "stale_plan")]
)
def test_a_step_that_another_runner_has_done_in_between_is_not_called_ours(
    left: str, status: Status, code: str, line: Line
) -> None:
    """It came while the locks were free; what this run has done itself is told, and by whom the rest. Where it has left
    what no plan led to, the target is not called untouched.
    """
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(1)))
    line.fleet.write("shared/c", step("c", "b"))
    with line.fleet.admin("two") as c:
        entry = _INTRUDER.replace("'{}', '{}'", f"'{{b}}', '{{{left}}}'").replace(
            "'normalized', 'x'", f"'done', '{left}'"
        )
        c.execute(entry.encode())
        c.execute(
            "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" UPDATE ehg_migrate.alembic_version SET version_num = '{left}'; RETURN NULL; END $$;"
            " CREATE CONSTRAINT TRIGGER move AFTER INSERT ON ehg_migrate.migration_journal"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.revision = 'b') EXECUTE FUNCTION move()".encode()
        )
    result = result_of(line.upgrade(), "two")
    assert (result.status, code_of(result)) == (status, code)
    assert ([s.revision for s in result.steps], result.heads_after) == (["b"], (left,))
    assert [n.code for n in result.notes] == ([] if code else ["done_by_another"])


_INTRUSION = """
    INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,
           heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)
    VALUES ('two', 'other', 'normalized', 'x', 'up', '', '', '{}', '{}', now(), 0, '', '', '', '');
"""
# an entry of another run comes with the step's own, as if somebody had been quick
_INTRUDER = f"""
CREATE FUNCTION intrude() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {_INTRUSION}
    RETURN NULL;
END $$;
CREATE TRIGGER intrude AFTER INSERT ON ehg_migrate.migration_journal
    FOR EACH ROW WHEN (NEW.revision = 'b') EXECUTE FUNCTION intrude();
"""


def test_a_role_that_may_not_read_the_journals_numbers(line: Line) -> None:
    """It needs no privilege on the sequence to write. One step is done on one connection; behind it nobody can tell."""
    line.fleet.limit_role()
    line.write("b")
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 1
    line.write("b", "c", "d")
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 3
    assert line.fleet.journal("two") == [("done", n) for n in "abcd"]


@pytest.mark.parametrize("major", sorted(majors()))
def test_nobody_is_overlooked_by_a_role_that_may_not_read_the_numbers(major: int, tmp_path: Path) -> None:
    """PostgreSQL 18 tells it that there is no number yet, not that it may not know: as if nobody had written."""
    with BareServer(majors()[major]) as server, server.connect("postgres") as admin:
        target = Target("two", Address(admin.info.host, 5432, "limited", "postgres", "disable"), ("shared",))
        admin.execute(layout(target))
        admin.execute(
            "CREATE ROLE limited LOGIN; GRANT USAGE ON SCHEMA ehg_migrate TO limited;"
            " GRANT ALL ON ALL TABLES IN SCHEMA ehg_migrate TO limited"
        )
        locks = "SELECT FROM pg_locks WHERE locktype = 'advisory'"
        for readable in (False, True):
            if readable:
                admin.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA ehg_migrate TO limited")
            for written in (True, False):
                with SingleSession(target, None, "run", find_origin(tmp_path)) as session:
                    with session.beside():
                        if written:
                            admin.execute(_INTRUSION)
                    believed = contextlib.nullcontext() if readable and not written else pytest.raises(NeedsPair)
                    with believed:
                        session.prepare_work()
                # it was left in a transaction, which the server ends when it comes to that
                wait_until(lambda: not admin.execute(locks).fetchall(), "its locks stay")


def test_entries_come_behind_the_newest_one_wherever_their_numbers_stand(line: Line) -> None:
    """Rows that logical replication brings come without their sequence; an entry would stand between older ones."""
    for number, revisions in ((8, "b"), (2, "bc")):
        for target in ("one", "two"):
            with line.fleet.admin(target) as c:
                c.execute(f"SELECT setval('ehg_migrate.migration_journal_seq_seq', {number})".encode())
        line.write(*revisions)
        assert line.upgrade().status is RunStatus.SUCCEEDED
    assert line.fleet.journal("one") == line.fleet.journal("two") == [("done", n) for n in "abc"]
    assert len(line.working("two")) == 3


@pytest.mark.parametrize("reset", ["TRUNCATE {} RESTART IDENTITY", "ALTER SEQUENCE {}_seq_seq RESTART WITH 1000"])
def test_numbers_that_begin_anew_between_two_steps(line: Line, reset: str) -> None:
    """Whoever did that was not this run: the rest is done with two connections."""
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(1)))
    line.fleet.write("shared/c", step("c", "b"))
    with line.fleet.admin("two") as c:
        change = reset.format("ehg_migrate.migration_journal")
        c.execute(
            f"CREATE FUNCTION reset() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NULL; END $$;"
            " CREATE CONSTRAINT TRIGGER reset AFTER UPDATE ON ehg_migrate.alembic_version"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.version_num = 'b') EXECUTE FUNCTION reset()"
        )
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 3


def test_where_a_transaction_keeps_its_first_snapshot_there_are_two_connections(line: Line) -> None:
    """What it reads after it has the locks would be older than they are."""
    line.write("b")
    with line.fleet.admin("two") as c:
        c.execute("ALTER ROLE postgres IN DATABASE " + line.fleet.addresses["two"].dbname
                  + " SET default_transaction_isolation = 'repeatable read'")  # fmt: skip
    assert line.upgrade().status is RunStatus.SUCCEEDED
    assert len(line.working("two")) == 3
    assert line.fleet.runs_of("two")[-1][0] == "b"


def test_a_step_that_was_cut_is_looked_at_with_two_connections(line: Line) -> None:
    """What it has left is named before anything is done again, although its file is a plain one by now."""
    build = 'with op.get_context().autocommit_block():\n    op.execute("CREATE UNIQUE INDEX CONCURRENTLY a_n ON a (n)")'
    line.fleet.write("shared/b", revision("b", "a", up_code=build))
    with line.fleet.admin("two") as c:
        c.execute("INSERT INTO a VALUES (1), (1)")
    assert result_of(line.upgrade("two"), "two").status is Status.INDETERMINATE
    line.write("b")
    result = result_of(line.upgrade(), "two")
    assert (result.status, code_of(result), result.heads_after) == (Status.REFUSED, "half_done", ("a",))
    assert line.fleet.tables("two") == ["a"]


@pytest.mark.parametrize("code", ["", 'op.execute("DELETE FROM b")'], ids=["one connection", "two"])
def test_rows_that_are_others_when_all_is_done(code: str, line: Line) -> None:
    """They were right when they were looked at before the COMMIT, and something has moved them behind that."""
    line.fleet.write("shared/b", step("b", "a", code=code))
    with line.fleet.admin("two") as c:
        c.execute(
            "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE ehg_migrate.alembic_version SET version_num = 'x'; RETURN NULL; END $$;"
            " CREATE CONSTRAINT TRIGGER move AFTER INSERT ON ehg_migrate.migration_journal"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.revision = 'b') EXECUTE FUNCTION move()"
        )
    result = result_of(line.upgrade(), "two")
    assert (result.status, code_of(result), result.heads_after) == (Status.INDETERMINATE, "wrong_heads", ("x",))


def test_limits_that_the_server_does_not_keep_are_noticed(line: Line) -> None:
    """Before each step, and whenever a target is entered: here a step has put another function in the place of
    PostgreSQL's. Nothing is done without limits.
    """
    false = (
        "CREATE FUNCTION set_config(n text, v text, l boolean) RETURNS text LANGUAGE sql AS "
        "$$SELECT pg_catalog.set_config(n, CASE n WHEN 'lock_timeout' THEN '0' ELSE v END, l)$$"
    )
    for target, address in line.fleet.addresses.items():
        with line.fleet.admin(target) as c:
            path = "SET search_path = public, pg_catalog"
            c.execute(f"ALTER ROLE postgres IN DATABASE {address.dbname} {path}".encode())
    line.fleet.write("shared/b", step("b", "a", code=f'op.execute("{false}")'))
    line.fleet.write("shared/c", step("c", "b"))
    for status in (Status.FAILED, Status.REFUSED):
        for result in line.fleet.load().upgrade(parallel=1).results:
            assert (result.status, code_of(result), result.heads_after) == (status, "settings_lost", ("b",))
    assert line.fleet.journal("two") == [("done", "a"), ("done", "b"), ("failed", "c")]
    assert line.fleet.tables("one") == line.fleet.tables("two") == ["a", "b"]
    for target in line.fleet.addresses:
        with line.fleet.admin(target) as c:
            c.execute("DROP FUNCTION public.set_config(text, text, boolean)")
    assert line.upgrade().status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("moves", "code"),
    [
        ("INSERT INTO ehg_migrate.alembic_version VALUES ('x') ON CONFLICT DO NOTHING", "moved_rows"),
        ("UPDATE ehg_migrate.alembic_version SET version_num = 'x'", "revision_raised"),
        ("DELETE FROM ehg_migrate.alembic_version", "revision_raised"),
    ],
    ids=["one more", "another", "none"],
)
def test_a_step_that_moves_version_rows_is_not_committed(moves: str, code: str, line: Line) -> None:
    """The server does not come to the COMMIT; with two connections it is told what it was."""
    line.write("b")
    with line.fleet.admin("two") as c:
        function = f"FUNCTION move() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN {moves}; END $$"
        c.execute(f"CREATE {function}".encode())
        c.execute("CREATE EVENT TRIGGER move ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION move()")
    result = failed(line.upgrade())
    assert code_of(result) == code
    assert line.fleet.heads("two") == ["a"]
    assert line.fleet.tables("two") == ["a"]


# --- when it goes wrong


def test_a_statement_that_fails_is_told_with_its_line_and_not_sent_twice(line: Line) -> None:
    """One connection is enough to say so: the step is not run again to find out."""
    line.write("b", "c")
    with line.fleet.admin("two") as c:
        c.execute("CREATE TABLE c (n int)")
    result = failed(line.upgrade())
    assert (code_of(result), result.heads_after) == ("exists_already", ("b",))
    assert result.problem
    assert result.problem.message == 'relation "c" already exists'
    assert result.problem.where == "versions/shared/c.py:12"
    assert [s.revision for s in result.steps] == ["b"]
    (only,) = line.working("two")
    assert len([s for s in only.statements if s.startswith("CREATE TABLE c")]) == 1
    assert line.fleet.journal("two")[-2:] == [("done", "b"), ("failed", "c")]


def test_what_the_driver_says_of_its_pipeline_is_not_in_the_output(line: Line) -> None:
    """The server's answer comes while the rest is still sent; the driver's pipeline then ends with an error, too."""
    many = "\n".join(f"op.execute('COMMENT ON TABLE b IS $${n}$$')" for n in range(400))
    line.fleet.write("shared/b", step("b", "a", code=many))
    with line.fleet.admin("two") as c:
        c.execute("CREATE TABLE b (n int)")
    result = failed(line.upgrade())
    assert (code_of(result), result.output) == ("exists_already", "")
    assert len(line.working("two")) == 1


def test_a_first_step_that_fails_on_a_new_target_is_not_sent_twice(line: Line) -> None:
    """Our tables went with its transaction, and its failure is to be told in them."""
    with line.fleet.admin("two") as c:
        c.execute("DROP SCHEMA ehg_migrate CASCADE")
    with line.fleet.admin("one") as c:
        c.execute("DROP SCHEMA ehg_migrate CASCADE; DROP TABLE a")
    result = failed(line.upgrade())
    assert (code_of(result), result.heads_after) == ("exists_already", ())
    (only,) = line.working("two")
    assert len([s for s in only.statements if s.startswith("CREATE TABLE a")]) == 1
    assert line.fleet.journal("two") == [("failed", "a")]
    assert line.fleet.notices("two") == []


_FOREIGN = "CREATE TABLE {0}.alembic_version (version_num text); INSERT INTO {0}.alembic_version VALUES ('x')"


@pytest.mark.parametrize("schema", ["public", "app"])
def test_a_history_that_came_since_the_plan(schema: str, line: Line) -> None:
    """Another Alembic's, where it is usual or where the role's path leads: nothing is made beside it."""
    for target, address in line.fleet.addresses.items():
        with line.fleet.admin(target) as c:
            c.execute("DROP SCHEMA ehg_migrate CASCADE; DROP TABLE a; CREATE SCHEMA app AUTHORIZATION postgres")
            c.execute(f"ALTER ROLE postgres IN DATABASE {address.dbname} SET search_path = app, public".encode())

    waiting = set(line.fleet.addresses)  # which one begins is a matter of what took longer before

    def hears(event: Event) -> None:
        if event.kind is EventKind.FINISHED and len(waiting) > 1:
            waiting.remove(event.target)
            with line.fleet.connect(min(waiting)) as c:
                c.execute(_FOREIGN.format(schema).encode())

    run = line.fleet.load().upgrade(parallel=1, watch=hears)
    (second,) = waiting
    refused = result_of(run, second)
    assert [r.status for r in run.results if r is not refused] == [Status.SUCCEEDED]
    assert (refused.status, code_of(refused)) == (Status.REFUSED, "not_adopted")
    assert line.fleet.values(second, "SELECT to_regnamespace('ehg_migrate') IS NULL") == [True]
    with line.fleet.admin(second) as c:
        c.execute(f"DROP TABLE {schema}.alembic_version".encode())
    assert line.upgrade().status is RunStatus.SUCCEEDED


def test_what_is_the_sessions_is_made_where_it_stays(line: Line) -> None:
    """A temporary table, and a step after it that has to wait for a lock: that is done in the same session."""
    line.fleet.write("shared/b", step("b", "a", code='op.execute("CREATE TEMP TABLE brief AS SELECT 1 AS n")'))
    use = 'op.execute("COMMENT ON TABLE a IS NULL")\nop.execute("CREATE TABLE public.kept AS SELECT * FROM brief")'
    line.fleet.write("shared/c", step("c", "b", code=use))
    with line.fleet.pg.connect(line.fleet.addresses["two"].dbname, autocommit=False) as other:
        other.execute("LOCK TABLE a")
        run = line.fleet.background(line.upgrade)
        wait_until(lambda: line.fleet.notices("two") != [], "nobody waited for the lock", 60)
        other.rollback()
        assert [(r.status, r.problem) for r in run.result(60).results] == [(Status.SUCCEEDED, None)] * 2
    assert line.fleet.values("two", "SELECT n FROM kept") == [1]
    assert line.fleet.runs_of("two")[-1][0] == "c"


def test_a_lock_is_waited_for_with_two_connections(line: Line) -> None:
    """One second with one; then it is told who has it."""
    line.fleet.write("shared/b", step("b", "a", code='op.execute("ALTER TABLE a ADD COLUMN m int")'))
    with line.fleet.connect("two") as c, c.transaction():
        c.execute("LOCK TABLE a")
        running = line.fleet.background(line.upgrade)
        wait_until(lambda: any("blocked by" in n for n in line.fleet.notices("two")), "the holder is told", 20)
    run = running.result(30)
    assert run.status is RunStatus.SUCCEEDED
    assert [s.attempts for s in result_of(run, "two").steps] == [2]
    assert line.fleet.notices("two")[0] == "step b: canceling statement due to lock timeout; again"


@pytest.mark.parametrize("lock", [0, 1], ids=["its lock", "that of its last statement"])
def test_another_runner_is_waited_for_with_two_connections(lock: int, line: Line) -> None:
    """As ever: whoever has the lock is told, and the queue limit holds. A dead one's last statement may go on."""
    line.write("b")
    with line.fleet.connect("two") as c:
        c.execute("SELECT pg_advisory_lock(%s)", (lock_key(line.fleet.load().fleet.by_name["two"]) + lock,))
        running = line.fleet.background(line.upgrade)
        wait_until(lambda: any("another runner" in n for n in line.fleet.notices("two")), "the holder is told", 20)
        assert line.fleet.heads("two") == ["a"]
    assert running.result(30).status is RunStatus.SUCCEEDED
    assert line.fleet.heads("two") == ["b"]


_DONE_BY_ANOTHER = """
INSERT INTO ehg_migrate.migration_journal (target_name, run, event, revision, direction, branch, checksum,
       heads_before, heads_after, started_at, seconds, actor, host, git_commit, tool_version)
VALUES ('two', 'other', 'done', 'b', 'up', 'shared', '', '{a}', '{b}', now(), 0, '', '', '', '');
CREATE TABLE b (n int);
UPDATE ehg_migrate.alembic_version SET version_num = 'b'
"""


@pytest.mark.parametrize(("revisions", "status", "code"), [("b", "up_to_date", ""), ("bc", "refused", "stale_plan")])
def test_what_another_runner_has_done_meanwhile_is_not_called_ours(
    line: Line, revisions: str, status: str, code: str
) -> None:
    """It had the lock when we came: the plan was made for what was there before, as on the first target."""
    line.write(*revisions)
    with line.fleet.connect("two") as c:
        c.execute("SELECT pg_advisory_lock(%s)", (lock_key(line.fleet.load().fleet.by_name["two"]),))
        running = line.fleet.background(line.upgrade)
        wait_until(lambda: any("another runner" in n for n in line.fleet.notices("two")), "the holder is told", 20)
        c.execute(_DONE_BY_ANOTHER)
    result = result_of(running.result(30), "two")
    assert (result.status, code_of(result), result.steps, result.heads_after) == (status, code, (), ("b",))
    assert line.fleet.runs_of("two")[-1] == ("b", "other")


def test_what_was_done_is_told_where_the_rest_cannot_be(line: Line, pg: Cluster) -> None:
    """Another runner takes the target between two steps: it is not what it was before the run."""
    make_fleet(pg, line.fleet.folder, line.fleet.addresses, HISTORY, {"two": {"queue_timeout": "0s"}})
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(2)))
    line.fleet.write("shared/c", step("c", "b"))
    with line.fleet.connect("two") as other:
        running = line.fleet.background(line.upgrade)
        wait_until(lambda: line.fleet.lock_holders("two"), "the first step runs", 20)
        other.execute("SELECT pg_advisory_lock(%s)", (lock_key(line.fleet.load().fleet.by_name["two"]),))
        result = result_of(running.result(30), "two")
    assert (result.status, code_of(result)) == (Status.INDETERMINATE, "locked")
    assert result.problem
    assert result.problem.message.endswith("; 1 of 2 steps were done before")
    assert (result.heads_after, [s.revision for s in result.steps], result.not_done) == ((), ["b"], ("c",))


def test_a_session_that_is_ended_in_a_step_is_no_loss(line: Line) -> None:
    """It is looked what the target holds, and the step is done once; that another run was told to leave is nothing."""
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(3)))
    with line.fleet.admin("two") as c:
        told = "INSERT INTO ehg_migrate.migration_lease VALUES (%s, 1, 'other', '', '', 0, '', now(), 'somebody')"
        c.execute(told, (lock_key(line.fleet.load().fleet.by_name["two"]),))
    running = line.fleet.background(line.upgrade)
    wait_until(lambda: line.fleet.heads("one") == ["b"] and line.fleet.lock_holders("two"), "the step runs", 20)
    line.fleet.terminate("two", line.fleet.lock_holders("two")[0])
    assert running.result(30).status is RunStatus.SUCCEEDED
    assert line.fleet.runs_of("two")[1:] == [("b", running.result().id)]


def test_a_lock_that_is_broken_stays_broken(line: Line) -> None:
    """`locks` names the run by its application's name, and the run does not come back."""
    line.fleet.write("shared/b", step("b", "a", code=SLOW.format(5)))
    running = line.fleet.background(line.upgrade)
    wait_until(lambda: line.fleet.lock_holders("one") == [] and line.fleet.lock_holders("two"), "the step runs", 20)
    project = line.fleet.load()
    (held,) = project.locks(("two",))
    assert held.run
    assert len(held.pids) == 1
    project.break_lock(held)
    run = running.result(30)
    assert run.id == held.run
    assert code_of(failed(run)) == "lock_broken"
    assert line.fleet.heads("two") == ["a"]


def test_a_deadline_ends_it(line: Line, pg: Cluster) -> None:
    """The client's own, while the one connection waits for the server; then it is looked what the target holds."""
    make_fleet(pg, line.fleet.folder, line.fleet.addresses, HISTORY, {"two": {"deadline": "3s"}})
    line.fleet.write("shared/b", step("b", "a"))
    with line.fleet.admin("two") as c:
        c.execute(
            "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); END';"
            " CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION slow()"
        )
    result = failed(line.upgrade())
    assert (code_of(result), result.heads_after) == ("deadline", ("a",))
    assert line.fleet.heads("two") == ["a"]
