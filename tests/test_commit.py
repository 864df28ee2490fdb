"""COMMIT: acknowledged only when it is known to have happened, whatever is lost on the way."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import settings_for
from proxy import Cut, Proxy
from psycopg import errors as pg
from workers import Workers, await_end_of, psql

from concord import migrate
from concord.database import Database, Isolation, Operation, Record, transaction
from concord.errors import Bug, CommitUnknown, DatabaseUnavailable, ExitCode, Refused
from concord.sql import history, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concord.database import Transaction

pytestmark = pytest.mark.crew

NEW = tasks.NewTask("written")


@pytest.fixture
def other(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def writing(body: Callable[[Transaction], Any]) -> Operation[[], Any]:
    """Make an operation of a function, at READ COMMITTED."""
    return Operation(body, Isolation.READ_COMMITTED, read_only=False)


def titles(url: str) -> list[str]:
    return [title for (title,) in psql(url, "SELECT title FROM tasks ORDER BY id")]


def add_by_way_of(proxy: Proxy, records: list[Record], schema: str | None = None) -> Any:
    settings = settings_for(proxy.url)
    with Database(settings, "test", observe=records.append, schema=schema) as database:
        return database.run(tasks.add, NEW)


# The answer of the server


def test_an_operation_that_swallows_an_error_is_not_acknowledged(
    url: str, database: Database
) -> None:
    def body(tx: Transaction) -> str:
        tasks.add(tx, NEW)
        with suppress(pg.DivisionByZero):
            tx.scalar("SELECT 1 / 0")
        return "done"

    with pytest.raises(Bug, match="ROLLBACK; nothing was written") as raised:
        database.run(writing(body))
    assert raised.value.exit_code == ExitCode.BUG
    assert titles(url) == []
    database.run(tasks.add, NEW)


def test_a_constraint_that_only_the_commit_checks_becomes_its_domain_error(
    url: str, database: Database
) -> None:
    psql(
        url,
        "ALTER TABLE tasks ALTER CONSTRAINT tasks_owner_id_fkey DEFERRABLE INITIALLY DEFERRED",
    )

    def body(tx: Transaction) -> None:
        tasks.add(tx, NEW)
        tx.execute("UPDATE tasks SET owner_id = 99")

    with pytest.raises(Refused, match="a task needs its owner"):
        database.run(writing(body))
    assert titles(url) == []


@transaction(isolation=Isolation.SERIALIZABLE)
def start_if_nobody_works(
    tx: Transaction, task_id: int, meanwhile: list[Callable[[], Any]] | None = None
) -> int:
    """Start a task unless another one is in progress, and return how many are now."""
    working = tx.scalar("SELECT count(*) FROM tasks WHERE status = 'in_progress'")
    if working == 0:
        tx.changed("UPDATE tasks SET status = 'in_progress' WHERE id = %s", [task_id])
        working = 1
    if meanwhile:
        meanwhile.pop()()
    return working


def test_write_skew_that_only_the_commit_finds_runs_the_operation_again(url: str) -> None:
    with Workers(url) as workers:
        ana, bo = workers.worker(), workers.worker()
        first, second = (ana.database.run(tasks.add, NEW).id for _ in "12")
        ana.records.clear()
        meanwhile = [lambda: bo.database.run(start_if_nobody_works, second)]
        assert ana.database.run(start_if_nobody_works, first, meanwhile) == 1
        assert ana.outcomes == [("retry", "40001"), ("done", None)]
        assert ana.records[0].statements[-1].text == "COMMIT"
    assert psql(url, "SELECT id FROM tasks WHERE status = 'in_progress'") == [(second,)]


# A backend that goes


@pytest.mark.parametrize("then", ["statement", "commit"])
def test_a_backend_that_ends_in_mid_operation_writes_nothing(
    url: str, database: Database, other: psycopg.Connection[Any], then: str
) -> None:
    def body(tx: Transaction) -> None:
        tasks.add(tx, NEW)
        # With a time-out it returns when the backend is gone and its transaction rolled back.
        end = "SELECT pg_terminate_backend(%s, 30000)"
        pid = tx.scalar("SELECT pg_backend_pid()")
        assert other.execute(end, (pid,)).fetchone() == (True,)
        if then == "statement":
            tx.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailable) as raised:
        database.run(writing(body))
    assert raised.value.exit_code == ExitCode.DATABASE == 7
    assert "othing was written" in f"{raised.value.message} {raised.value.hint}"
    assert titles(url) == []
    database.run(tasks.add, NEW)


@pytest.mark.parametrize("then", ["statement", "commit"])
def test_silence_inside_a_transaction_ends_it(
    url: str, other: psycopg.Connection[Any], then: str
) -> None:
    def body(tx: Transaction) -> None:
        tasks.add(tx, NEW)
        pid = tx.scalar("SELECT pg_backend_pid()")
        await_end_of(other, pid)  # the server ends it by itself
        if then == "statement":
            tx.execute("SELECT 1")

    settings = settings_for(url, idle_in_transaction_session_timeout="20ms")
    with Database(settings, "test") as database, pytest.raises(DatabaseUnavailable) as raised:
        database.run(writing(body))
    assert "idle-in-transaction timeout" in raised.value.message
    assert "Nothing was written" in (raised.value.hint or "")
    assert titles(url) == []


# A connection that is lost


def test_every_round_trip_is_on_record(url: str) -> None:
    records: list[Record] = []
    with Proxy(url) as proxy:
        add_by_way_of(proxy, records)
        assert proxy.round_trips == records[0].round_trips == 2


def test_a_commit_that_never_arrived_wrote_nothing(url: str) -> None:
    records: list[Record] = []
    with Proxy(url, Cut.BEFORE) as proxy, pytest.raises(DatabaseUnavailable) as raised:
        add_by_way_of(proxy, records)
    assert not isinstance(raised.value, CommitUnknown)
    assert "nothing was written" in raised.value.message
    assert titles(url) == []
    assert [record.outcome for record in records] == ["failed"]


def test_a_commit_whose_answer_was_lost_is_found_in_history(url: str) -> None:
    records: list[Record] = []
    with Proxy(url, Cut.AFTER) as proxy:
        made = add_by_way_of(proxy, records)
    assert titles(url) == [made.title]
    assert [(record.attempt, record.outcome) for record in records] == [(1, "done")]


def test_a_commit_in_a_scratch_schema_is_found_in_its_history(url: str) -> None:
    psql(url, "CREATE SCHEMA elsewhere")
    migrate.upgrade(settings_for(url), schema="elsewhere")
    psql(url, "INSERT INTO elsewhere.users (username) VALUES ('ana')")
    with Proxy(url, Cut.AFTER) as proxy:
        add_by_way_of(proxy, [], schema="elsewhere")
    assert psql(url, "SELECT title FROM elsewhere.tasks") == [("written",)]
    assert titles(url) == []


@pytest.mark.parametrize(
    ("cut", "last", "kept"),
    [
        (Cut.BEFORE, True, []),
        (Cut.AFTER, True, ["written"]),
        (Cut.UNNOTICED, False, []),
    ],
)
def test_when_nobody_can_tell_the_commit_is_unknown_and_not_tried_again(
    url: str, monkeypatch: pytest.MonkeyPatch, cut: Cut, last: bool, kept: list[str]
) -> None:
    monkeypatch.setattr("concord.outcome.DECISION_PATIENCE", 0)
    records: list[Record] = []
    with Proxy(url, cut, last=last) as proxy, pytest.raises(CommitUnknown) as raised:
        add_by_way_of(proxy, records)
    (record,) = records
    assert record.outcome == "unknown"
    assert raised.value.exit_code == ExitCode.CONTENTION == 5
    assert raised.value.details == {"xid": record.xid}
    assert f"transaction {record.xid} may or may not be saved" in raised.value.message
    assert raised.value.hint is not None
    assert raised.value.hint.endswith(f"concord doctor --unknown {record.xid}")
    assert titles(url) == kept


def test_a_later_transaction_with_the_same_id_is_not_taken_for_ours(
    url: str, other: psycopg.Connection[Any]
) -> None:
    # After a crash the server gives out anew the ids of transactions that left no trace on disk.
    def body(tx: Transaction) -> None:
        tasks.add(tx, NEW)
        other.execute(
            "INSERT INTO history (at, entity, entity_id, old, new, xid)"
            " VALUES (clock_timestamp() + interval '1 minute', 'tag', 1, '{}', '{}', %s)",
            (tx.xid,),
        )

    with (
        Proxy(url, Cut.BEFORE) as proxy,
        Database(settings_for(proxy.url), "test") as database,
        pytest.raises(CommitUnknown),
    ):
        database.run(writing(body))
    assert titles(url) == []


def test_a_lost_answer_to_a_read_is_no_unknown_commit(url: str) -> None:
    with (
        Proxy(url, Cut.AFTER, last=True) as proxy,
        Database(settings_for(proxy.url), "test") as database,
        pytest.raises(DatabaseUnavailable) as raised,
    ):
        database.run(history.page, history.Filters())
    assert not isinstance(raised.value, CommitUnknown)
