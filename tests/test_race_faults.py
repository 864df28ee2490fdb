"""Death and loss in a race: it ends by itself, and never says more than it knows."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, LiteralString

import psutil
import psycopg
import pytest
from conftest import TIMEOUT, CommandLine, Server, finish, open_directory, settings_for
from proxy import Cut, Proxy
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from races import SCHEMAS, SESSIONS, Ground, ground, left_behind, lines, of_type
from workers import psql

from concord import embedded, migrate
from concord.database import Isolation, Operation
from concord.database import Transaction as ProductTransaction
from concord.race import worker
from concord.race.clock import Clock
from concord.race.effects import Op, Touch
from concord.race.ledger import USE_SCHEMA
from concord.race.plan import READ_COMMITTED
from concord.race.product import Product
from concord.race.session import Session
from concord.race.worker import bare_attempt
from concord.sql import tasks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from concord.models import Task
    from concord.race.session import Transaction
    from concord.settings import Settings

BACKEND: LiteralString = """
SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'concord race %%/' || %s
"""

AT_COMMIT: LiteralString = """
SELECT pid FROM pg_stat_activity
WHERE application_name LIKE 'concord race %' AND query = 'COMMIT' AND wait_event = 'advisory'
"""

GATE: LiteralString = """
CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON race_ops DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait_at_gate()
"""

GUARDED = ("--strategy", "for-update", "--ops", "20", "--log", "race.jsonl", "--json")


def polled(connection: psycopg.Connection[Any], query: Any, *parameters: Any) -> list[Any]:
    """Return the first column of a query's rows as soon as it has any."""
    for _ in range(100_000):
        if rows := connection.execute(query, parameters or None).fetchall():
            return [row[0] for row in rows]
    raise AssertionError(f"never came true: {query}")


def race_of(
    process: subprocess.Popen[str], connection: psycopg.Connection[Any], number: int
) -> str:
    """Return the scratch schema as soon as its race of this number is prepared."""
    while process.poll() is None:
        for (schema,) in connection.execute(SCHEMAS).fetchall():
            projects = sql.Identifier(schema, "projects")
            query = sql.SQL("SELECT FROM {} WHERE key = %s").format(projects)
            # It may not have been created yet.
            with suppress(psycopg.errors.UndefinedTable):
                if connection.execute(query, (f"RACE{number}",)).rowcount:
                    return schema
    raise AssertionError(f"it ended before race {number}: {finish(process)}")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that raced: those that a server process of the command forked."""
    forked = [
        child for helper in psutil.Process(process.pid).children() for child in helper.children()
    ]
    return sorted(forked, key=lambda child: (child.create_time(), child.pid))


@contextmanager
def gated(
    process: subprocess.Popen[str], url: str, *, at_commit: bool = False
) -> Generator[psycopg.Connection]:
    """Yield when the workers of the second race stand at a gate, which opens afterwards.

    They stand where they enter what they did into the ledger, or at COMMIT.
    """
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        schema = race_of(process, holder, 2)
        table = sql.Identifier(schema, "race_ops")
        with psycopg.connect(url) as gate:
            gate.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(table))
            if at_commit:
                gate.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
                gate.execute(GATE)
                gate.commit()
                polled(holder, AT_COMMIT)
            else:
                blocked = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
                polled(holder, blocked, gate.info.backend_pid)
            yield holder


def await_end_of_all(processes: list[psutil.Process]) -> None:
    """Return once processes are gone, or only wait for somebody to ask what became of them."""
    for _ in range(100_000):
        with suppress(psutil.NoSuchProcess):
            processes = [
                one
                for one in processes
                if one.is_running() and one.status() != psutil.STATUS_ZOMBIE
            ]
        if not processes:
            return
    raise AssertionError(f"still there: {processes}")


def results_of(home: Path) -> list[dict[str, Any]]:
    """Return the verdicts in a log."""
    return [event for event in lines(home / "race.jsonl") if event["type"] == "verdict"]


# What is counted as done


class Careless(Session):
    """Swallows an error between the last statement and COMMIT."""

    def commit(self) -> str | None:
        """Let the transaction fail, tell nobody, and send COMMIT."""
        with suppress(psycopg.errors.DivisionByZero):
            self.execute("SELECT 1 / 0", {})
        return super().commit()


def increment(tx: Transaction, op: Op) -> tuple[Touch, ...]:
    """Raise a counter, as a strategy does."""
    (task,) = op.tasks
    tx.execute("UPDATE tasks SET description = '1' WHERE id = %(task)s", {"task": task})
    return (Touch(task, "value", 0, 1),)


def swallow(tx: Transaction, op: Op) -> tuple[Touch, ...]:
    """Raise a counter, and hide that the statement after it failed."""
    touches = increment(tx, op)
    with suppress(psycopg.errors.DivisionByZero):
        tx.execute("SELECT 1 / 0", {})
    return touches


@pytest.fixture
def counter(settings: Settings, tmp_path: Path) -> Iterator[Ground]:
    with ground(settings, tmp_path) as made:
        yield made


def test_an_error_swallowed_before_commit_is_never_done(counter: Ground) -> None:
    op = Op(1, counter.field.tasks)
    with Careless(
        counter.settings, "race test/0", counter.schema, "demo race", Clock.set_now()
    ) as session:
        told = bare_attempt(session, increment, op, 0, READ_COMMITTED, lambda: None)
    assert (told.outcome, told.sqlstate) == ("fail", None)
    assert told.reason == "COMMIT was answered with ROLLBACK: an error had been swallowed"
    assert counter.rows() == []
    assert counter.values() == ["0"]


def test_an_error_swallowed_by_a_strategy_is_never_done(counter: Ground) -> None:
    op = Op(1, counter.field.tasks)
    with counter.session() as session:
        told = bare_attempt(session, swallow, op, 0, READ_COMMITTED, lambda: None)
        assert (told.outcome, told.sqlstate) == ("fail", "25P02")
        assert counter.rows() == []
        again = bare_attempt(session, increment, op, 0, READ_COMMITTED, lambda: None)
        assert again.outcome == "ok", "the connection is as good as new"
    assert [row["op_id"] for row in counter.rows()] == [1]


@pytest.mark.parametrize("late", [False, True], ids=["in the operation", "after the ledger"])
def test_an_error_swallowed_in_a_product_operation_is_never_done(
    counter: Ground, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Concord's runner refuses the tag ROLLBACK, and so does the race."""
    enter = ProductTransaction.row

    def fail_unseen(tx: ProductTransaction) -> None:
        with suppress(psycopg.errors.DivisionByZero):
            tx.execute("SELECT 1 / 0")

    def enter_carelessly(tx: ProductTransaction, *arguments: Any) -> Any:
        entered = enter(tx, *arguments)
        fail_unseen(tx)
        return entered

    def strategy(concord: Product, op: Op) -> tuple[Touch, ...]:
        (task,) = op.tasks

        def edit(tx: ProductTransaction) -> tuple[Task, ...]:
            edited = tasks.edit(tx, [task], {"description": "1"})
            if late:
                monkeypatch.setattr(ProductTransaction, "row", enter_carelessly)
            else:
                fail_unseen(tx)
            return edited

        operation = Operation(edit, Isolation.READ_COMMITTED, read_only=False)
        return concord.race(op, operation, lambda _: (Touch(task, "value", 0, 1),))

    racer = dataclasses.replace(counter.settings, user="racer1")
    product = Product(racer, "race test/0", counter.schema, 0, Clock.set_now(), lambda: None)
    with closing(product.database):
        told = product.attempt(strategy, Op(1, counter.field.tasks))
    assert told.outcome == "fail"
    assert ("answered COMMIT with ROLLBACK" in (told.reason or "")) is late
    assert counter.rows() == []
    assert counter.values() == ["0"]


# What is tried again


@pytest.mark.parametrize("at_commit", [False, True], ids=["at a statement", "at COMMIT"])
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_an_operation_that_may_succeed_is_tried_again_from_its_reads(
    counter: Ground, strategy: str, sqlstate: str, at_commit: bool
) -> None:
    counter.fail(2, sqlstate, at_commit=at_commit)
    with counter.racer(strategy) as racer:
        assert racer.worker.work() == 1
    assert racer.outcomes == [
        (1, 0, "fail", sqlstate),
        (1, 1, "fail", sqlstate),
        (1, 2, "ok", None),
    ]
    assert [attempt["again"] for attempt in racer.log] == [True, True, False]
    assert [(row["op_id"], row["before"], row["after"]) for row in counter.rows()] == [(1, 0, 1)]
    for attempt in racer.log:
        # Concord's runner repeats the operation; the version that it was given still tells.
        checks = "update_task_version" if strategy == "product" else "read_value"
        assert checks in [statement["name"] for statement in attempt["statements"]]


@pytest.mark.parametrize("sqlstate", ["22012", "23514", "57014"])
@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_an_error_that_would_come_again_is_not(
    counter: Ground, strategy: str, sqlstate: str
) -> None:
    counter.fail(1, sqlstate)
    with counter.racer(strategy, ops=2) as racer:
        assert racer.worker.work() == 1
    assert [(op, retry, outcome) for op, retry, outcome, _ in racer.outcomes] == [
        (1, 0, "fail"),
        (3, 0, "ok"),
    ]


@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_an_operation_is_given_up_after_so_many_retries(counter: Ground, strategy: str) -> None:
    counter.fail(100, "40001")
    with counter.racer(strategy, retries=2) as racer:
        assert racer.worker.work() == 0
    assert racer.outcomes == [(1, retry, "fail", "40001") for retry in range(3)]
    assert [attempt["again"] for attempt in racer.log] == [True, True, False]
    assert counter.rows() == []


def test_a_retry_has_a_new_snapshot(counter: Ground, url: str) -> None:
    (task,) = counter.field.tasks
    with (
        counter.racer("repeatable-read") as racer,
        psycopg.connect(url) as other,
        psycopg.connect(url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(USE_SCHEMA, {"schema": counter.schema})
        other.execute("UPDATE tasks SET description = '7' WHERE id = %s", (task,))
        racing = pool.submit(racer.worker.work)
        # It has read, and its write waits: the snapshot is older than what is committed now.
        polled(
            observer,
            "SELECT 1 WHERE %s = ANY(pg_blocking_pids(%s))",
            other.info.backend_pid,
            racer.worker.pid,
        )
        other.commit()
        assert racing.result(TIMEOUT) == 1
    assert racer.outcomes == [(1, 0, "fail", "40001"), (1, 1, "ok", None)]
    assert [(row["before"], row["after"]) for row in counter.rows()] == [(7, 8)]


def test_who_does_not_wait_tries_until_the_lock_is_free(counter: Ground, url: str) -> None:
    (task,) = counter.field.tasks
    with (
        counter.racer("nowait") as racer,
        psycopg.connect(url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(USE_SCHEMA, {"schema": counter.schema})
        other.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task,))
        racing = pool.submit(racer.worker.work)
        for _ in range(1_000_000):
            if len(racer.outcomes) >= 3:
                break
        other.commit()
        assert racing.result(TIMEOUT) == 1
    *failed, done = racer.outcomes
    assert len(failed) >= 3
    assert failed == [(1, retry, "fail", "55P03") for retry in range(len(failed))]
    assert done == (1, len(failed), "ok", None)


# A connection that is lost


@pytest.mark.parametrize(("cut", "entered"), [(Cut.BEFORE, [3]), (Cut.AFTER, [1, 3])])
def test_a_commit_that_is_not_answered_is_unknown_and_the_worker_goes_on(
    counter: Ground, url: str, cut: Cut, entered: list[int]
) -> None:
    with (
        Proxy(url, cut) as proxy,
        counter.racer("for-update", settings=settings_for(proxy.url), ops=2) as racer,
    ):
        assert racer.worker.work() == 1
    assert [one[:3] for one in racer.outcomes] == [(1, 0, "info"), (3, 0, "ok")]
    unknown = racer.log[0]
    assert unknown["reason"] == "the connection was lost at COMMIT"
    assert unknown["xid"]
    assert unknown["begin"] < unknown["end"]
    assert [row["op_id"] for row in counter.rows()] == entered
    assert counter.values() == [str(len(entered))]


@pytest.mark.parametrize(
    ("cut", "outcomes"),
    [
        (Cut.BEFORE, [(1, 0, "fail"), (1, 1, "ok"), (3, 0, "ok")]),
        (Cut.AFTER, [(1, 0, "ok"), (3, 0, "ok")]),
    ],
)
def test_concords_own_runner_looks_into_history_and_knows(
    settings: Settings, url: str, tmp_path: Path, cut: Cut, outcomes: list[tuple[int, int, str]]
) -> None:
    with ground(settings, tmp_path, "assign") as assign, Proxy(url, cut) as proxy:
        with assign.racer("product", settings=settings_for(proxy.url), ops=2) as racer:
            assert racer.worker.work() == 2
        assert [one[:3] for one in racer.outcomes] == outcomes
        assert [(row["op_id"], row["before"], row["after"]) for row in assign.rows()] == [
            (1, 0, 1),
            (3, 1, 0),
        ]


@pytest.mark.parametrize(("cut", "on"), [(Cut.BEFORE, False), (Cut.AFTER, True)])
def test_a_worker_learns_from_the_ledger_what_became_of_it(
    settings: Settings, url: str, tmp_path: Path, cut: Cut, on: bool
) -> None:
    # Its next operation depends on it: to take the task, or to leave it.
    with ground(settings, tmp_path, "assign") as assign, Proxy(url, cut) as proxy:
        with assign.racer("atomic", settings=settings_for(proxy.url), ops=2) as racer:
            assert racer.worker.work() == 1
        assert [one[2] for one in racer.outcomes] == ["info", "ok"]
        last = assign.rows()[-1]
    assert (last["op_id"], last["before"], last["after"]) == (3, int(on), int(not on))


def test_a_server_that_stays_away_ends_a_worker_after_it_has_logged(
    counter: Ground, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RECONNECT_PATIENCE", 0.0)
    with (
        Proxy(url, Cut.AFTER, last=True) as proxy,
        counter.racer("for-update", settings=settings_for(proxy.url), ops=2) as racer,
        pytest.raises(psycopg.OperationalError),
    ):
        racer.worker.work()
    assert [one[:3] for one in racer.outcomes] == [(1, 0, "info")]
    assert [row["op_id"] for row in counter.rows()] == [1]


# Processes and sessions that are killed in the middle of a run


@pytest.fixture
def home(concord: CommandLine) -> Path:
    return concord.home


def test_a_worker_killed_in_its_transaction_fails_the_run_and_not_the_verdict(
    concord: CommandLine, url: str, home: Path
) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "4", "--no-observer")
    with gated(process, url):
        victim = workers_of(process)[2]
        victim.kill()
        await_end_of_all([victim])
    result = finish(process)
    assert result.code == 1, result
    assert "Traceback" not in result.err
    assert "PROVED, but a worker died" in result.error["message"]
    log = lines(home / "race.jsonl")
    ends = {one["worker"]: (one["ended"], one["why"]) for one in of_type(log, "worker", 2)}
    assert ends == {**dict.fromkeys(range(4), ("done", None)), 2: ("died", "killed by SIGKILL")}
    (unknown,) = [one for one in of_type(log, "attempt", 2) if one["outcome"] == "info"]
    assert (unknown["worker"], unknown["op_id"], unknown["end"]) == (2, 3, None)
    assert 3 not in {row["op_id"] for row in of_type(log, "ledger", 2)}
    _, guarded = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("PROVED", 60, 1)
    assert left_behind(url) == []
    assert concord("demo", "check", "race.jsonl").code == 1


def test_a_worker_killed_at_commit_may_have_done_it(
    concord: CommandLine, url: str, home: Path
) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "2", "--no-observer")
    with gated(process, url, at_commit=True) as holder:
        victims = workers_of(process)
        for victim in victims:
            victim.kill()
        await_end_of_all(victims)
        # The transaction is done to the last statement; its client will not hear of it.
        holder.execute("SELECT pg_advisory_unlock(1)")
    result = finish(process)
    assert result.code == 1, result
    log = lines(home / "race.jsonl")
    assert {one["why"] for one in of_type(log, "worker", 2)} == {"killed by SIGKILL"}
    unknown = {one["op_id"] for one in of_type(log, "attempt", 2)}
    assert unknown == {1, 2}
    entered = {row["op_id"] for row in of_type(log, "ledger", 2)}
    assert entered <= unknown
    (state,) = [one for one in of_type(log, "state", 2) if one["when"] == "after"]
    assert state["value"] == len(entered)
    _, guarded = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("INCONCLUSIVE", 0, 2)


def test_without_its_observer_a_run_goes_on(concord: CommandLine, url: str, home: Path) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "3")
    with gated(process, url):
        observer, *workers = workers_of(process)
        assert len(workers) == 3
        observer.kill()
        await_end_of_all([observer])
    result = finish(process)
    assert (result.code, result.err) == (0, ""), result
    log = lines(home / "race.jsonl")
    assert [one["complete"] for one in log if one["type"] == "observer"] == [True, False]
    assert {one["ended"] for one in of_type(log, "worker", 2)} == {"done"}
    assert results_of(home)[1]["verdict"] == "PROVED"


@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_a_session_that_is_ended_while_it_waits_is_replaced(
    concord: CommandLine, url: str, home: Path, strategy: str
) -> None:
    process = concord.start(
        "demo", "race", *GUARDED[2:], "--strategy", strategy, "--workers", "3", "--no-observer"
    )
    with gated(process, url) as holder:
        (pid,) = polled(holder, BACKEND, "1")
        holder.execute("SELECT pg_terminate_backend(%s, 60000)", (pid,))
    result = finish(process)
    assert (result.code, result.err) == (0, ""), result
    log = lines(home / "race.jsonl")
    ended = next(one for one in of_type(log, "attempt", 2) if one["worker"] == 1)
    assert (ended["outcome"], ended["retry"], ended["again"]) == ("fail", 0, True)
    assert ended["sqlstate"] == "57P01"
    (_, guarded) = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("PROVED", 60, 0)
    pids = {
        one["pid"]
        for one in of_type(log, "attempt", 2)
        if one["worker"] == 1 and one["outcome"] == "ok"
    }
    assert len(pids) == 1
    assert pid not in pids


def test_a_session_that_is_ended_at_commit_leaves_an_unknown(
    concord: CommandLine, url: str, home: Path
) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "3", "--no-observer")
    with gated(process, url, at_commit=True) as holder:
        (pid,) = polled(holder, AT_COMMIT)
        holder.execute("SELECT pg_terminate_backend(%s, 60000)", (pid,))
        holder.execute("SELECT pg_advisory_unlock(1)")
    result = finish(process)
    assert (result.code, result.err) == (0, ""), result
    log = lines(home / "race.jsonl")
    (unknown,) = [one for one in of_type(log, "attempt", 2) if one["outcome"] == "info"]
    assert (unknown["pid"], unknown["sqlstate"]) == (pid, "57P01")
    assert unknown["op_id"] not in {row["op_id"] for row in of_type(log, "ledger", 2)}
    _, guarded = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("PROVED", 59, 1)


def test_a_worker_that_cannot_connect_ends_the_run(concord: CommandLine, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF current_setting('application_name') LIKE 'concord race %/2' THEN
                    RAISE EXCEPTION 'no room for you';
                END IF;
            END $$
        """)
        connection.execute("CREATE EVENT TRIGGER refuse ON login EXECUTE FUNCTION refuse()")
    result = concord("demo", "race", *GUARDED[:4], "--workers", "4", "--json")
    assert result.code not in (0, 1), result
    assert result.error["code"] == "database"
    assert "process 2 did not reach the start" in result.error["message"]
    assert "no room for you" in result.error["message"]
    assert result.out == ""
    assert psql(url, SESSIONS) == []
    assert left_behind(url) == []


# The command itself is ended


def test_ctrl_c_leaves_nothing(concord: CommandLine, url: str) -> None:
    process = concord.start("demo", "race", "--duration", "600", start_new_session=True)
    with psycopg.connect(url, autocommit=True) as connection:
        race_of(process, connection, 1)
        polled(connection, BACKEND, "7")
        workers = workers_of(process)
        assert len(workers) == 9, "eight, and the observer"
        os.killpg(process.pid, signal.SIGINT)
    result = finish(process)
    assert (result.code, result.out) == (130, ""), result
    assert "Traceback" not in result.err
    assert not any(one.is_running() for one in workers)
    assert left_behind(url) == []
    assert psql(url, SESSIONS) == []


def test_what_a_killed_run_leaves_the_next_one_clears(concord: CommandLine, url: str) -> None:
    process = concord.start("demo", "race", *GUARDED[:4], "--workers", "4")
    with gated(process, url):
        workers = workers_of(process)
        assert len(workers) == 5, "four, and the observer"
        process.kill()
        # They end by themselves, though they are in the middle of a transaction.
        await_end_of_all(workers)
    result = finish(process)
    assert (result.code, result.err) == (-signal.SIGKILL, ""), result
    assert len(left_behind(url)) == 1
    concord.ok("demo", "race", "--strategy", "none", "--ops", "20")
    assert left_behind(url) == []


# The server is ended


@pytest.fixture(scope="module")
def own_server() -> Iterator[Path]:
    """The directory of a server that a test may stop."""
    directory = open_directory()
    try:
        embedded.start(directory)
        settings = settings_for(embedded.conninfo(directory))
        migrate.upgrade(settings)
        with psycopg.connect(embedded.conninfo(directory)) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('ana')")
        yield directory
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


def crash(directory: Path, pid: int) -> None:
    """Kill a process of the server, which then ends all others and recovers."""
    del directory
    os.kill(pid, signal.SIGKILL)


def restart(directory: Path, pid: int) -> None:
    """Stop the server and start it again."""
    del pid
    embedded.stop(directory)
    embedded.start(directory)


@pytest.fixture
def own_url(own_server: Path) -> Iterator[str]:
    """A database of this test's own, on the server that it may stop."""
    server = Server(conninfo_to_dict(embedded.conninfo(own_server)))
    with server.janitor("race", "concord") as janitor:
        yield server.url(janitor.dbname)


@pytest.mark.parametrize("end", [crash, restart])
@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_a_server_that_ends_at_commit_and_comes_back(
    own_server: Path, own_url: str, tmp_path: Path, end: Any, strategy: str
) -> None:
    url = own_url
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=url, CONCORD_USER="ana")
    process = concord.start("demo", "race", *GUARDED[2:], "--strategy", strategy, "--workers", "3")
    with suppress(psycopg.OperationalError), gated(process, url, at_commit=True) as holder:
        (pid,) = polled(holder, AT_COMMIT)
        end(own_server, pid)
    result = finish(process)
    assert "Traceback" not in result.err, result
    log = lines(tmp_path / "race.jsonl")
    _, guarded = results_of(tmp_path)
    assert guarded["verdict"] == "PROVED", guarded["witness"] or guarded["reason"]
    assert guarded["ok"] + guarded["unknown"] == 60
    assert result.code == 0, result
    assert [one["complete"] for one in log if one["type"] == "observer"] == [True, False]
    assert {one["ended"] for one in of_type(log, "worker", 2)} == {"done"}
    entered = {row["op_id"] for row in of_type(log, "ledger", 2)}
    unknown = {one["op_id"] for one in of_type(log, "attempt", 2) if one["outcome"] == "info"}
    assert len(entered - unknown) == guarded["ok"]
