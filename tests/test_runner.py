"""The transaction runner: what is in force inside an operation, and what comes of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from commands import await_waiting, locked
from conftest import settings_for
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from steps import PATIENCE
from workers import Workers, psql

from concord.database import Database, Isolation, Operation, Record, Transaction, transaction
from concord.errors import (
    Bug,
    ConcordError,
    Contention,
    DatabaseUnavailable,
    ExitCode,
    Forbidden,
    NotFound,
    SchemaMismatch,
    Usage,
)
from concord.sql import tasks, users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concord.settings import Settings

HOURS = "8h"
"""A time-out that no test reaches."""


@pytest.fixture
def workers(url: str) -> Iterator[Workers]:
    with Workers(url) as made:
        yield made


@pytest.fixture
def observed(settings: Settings) -> Iterator[tuple[Database, list[Record]]]:
    """This test's database, and the records of what runs on it."""
    records: list[Record] = []
    with Database(settings, "test", observe=records.append) as made:
        yield made, records


@pytest.fixture
def other(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def writing(body: Callable[[Transaction], Any]) -> Operation[[], Any]:
    """Make an operation of a function, at READ COMMITTED."""
    return Operation(body, Isolation.READ_COMMITTED, read_only=False)


def add_task(tx: Transaction) -> None:
    tasks.add(tx, tasks.NewTask("written"))


def nothing_was_written(url: str) -> bool:
    return psql(url, "SELECT count(*) FROM tasks") == [(0,)]


# What is in force


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize("read_only", [False, True])
def test_an_operation_runs_as_it_declares(
    database: Database, isolation: Isolation, read_only: bool
) -> None:
    def body(tx: Transaction) -> tuple[str, str]:
        return tx.scalar("SHOW transaction_isolation"), tx.scalar("SHOW transaction_read_only")

    level, reads = database.run(Operation(body, isolation, read_only))
    assert (level.upper(), reads) == (isolation, "on" if read_only else "off")


def test_settings_are_in_force_inside_and_gone_afterwards(url: str) -> None:
    flags = {
        "lock_timeout": "1234ms",
        "statement_timeout": "2345ms",
        "idle_in_transaction_session_timeout": "3456ms",
    }
    names = ("concord.actor", "concord.operation", "TimeZone", "jit", *flags)

    def shown(tx: Transaction) -> list[str]:
        return [tx.scalar("SELECT current_setting(%s, true)", [name]) for name in names]

    with Database(settings_for(url, **flags), "task list") as database:
        connection = database.connection()

        def session() -> list[str | None]:
            found = [
                connection.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
                for name in names
            ]
            return [row[0] or None for row in found if row is not None]

        before = session()
        inside = database.run(writing(shown))
        assert inside == ["ana", "task list", "UTC", "off", "1234ms", "2345ms", "3456ms"]
        assert session() == before
        assert before[:2] == [None, None]


def test_the_search_path_of_a_scratch_schema_stays_inside(url: str, settings: Settings) -> None:
    psql(url, "CREATE SCHEMA elsewhere")
    psql(url, "CREATE TABLE elsewhere.alembic_version AS TABLE alembic_version")
    psql(url, "CREATE TABLE elsewhere.users AS TABLE users")
    psql(url, "CREATE FUNCTION elsewhere.current_actor() RETURNS text LANGUAGE sql RETURN 'ana'")
    with Database(settings, "test", schema="elsewhere") as database:
        before = database.connection().execute("SHOW search_path").fetchall()
        inside = database.run(writing(lambda tx: tx.scalar("SELECT current_schema()")))
        assert inside == "elsewhere"
        assert database.connection().execute("SHOW search_path").fetchall() == before


def test_a_session_is_named_for_its_command(settings: Settings) -> None:
    with Database(settings, "task assign") as database:
        name = database.run(writing(lambda tx: tx.scalar("SHOW application_name")))
    assert name == "concord task assign"


def test_history_tells_who_with_what_in_which_transaction(
    url: str, observed: tuple[Database, list[Record]]
) -> None:
    database, records = observed
    made = database.run(tasks.add, tasks.NewTask("written"))
    (row,) = psql(
        url, "SELECT actor, operation, entity_id, xid::text FROM history WHERE entity = 'task'"
    )
    assert row == ("ana", "test", made.id, records[-1].xid)


# Records


def test_a_record_counts_every_round_trip(observed: tuple[Database, list[Record]]) -> None:
    database, records = observed
    made = database.run(tasks.add, tasks.NewTask("written"))
    database.run(tasks.show, [made.id])
    added, shown = records
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ "
    assert [statement.name for statement in added.statements] == [
        begin + "WRITE;",
        "insert_task",
        "show_new_task",
        "COMMIT",
    ]
    assert [statement.name for statement in shown.statements] == [
        begin + "ONLY;",
        "show_tasks",
        "COMMIT",
    ]
    assert [statement.rows for statement in added.statements[1:3]] == [1, 1]
    assert (added.operation, added.attempt, added.outcome) == ("tasks.add", 1, "done")
    assert added.xid is not None
    assert shown.xid is None
    assert [[statement.name for statement in trip] for trip in added.trips][1:] == [["COMMIT"]]
    assert (added.connects, added.round_trips) == (1, 2)
    assert (shown.connects, shown.round_trips) == (0, 1)
    assert added.ms >= sum(trip[0].ms for trip in added.trips)


def test_a_failed_statement_is_on_record(observed: tuple[Database, list[Record]]) -> None:
    database, records = observed
    with pytest.raises(Usage):
        database.run(writing(lambda tx: tx.scalar("-- divide: by zero\nSELECT 1 / 0")))
    (record,) = records
    assert (record.outcome, record.sqlstate) == ("failed", "22012")
    assert [statement.name for statement in record.statements][1:] == ["divide", "ROLLBACK"]


# Retries


def rival_edits(other: psycopg.Connection[Any], *, times: int) -> Operation[[], str]:
    """Append to a title what was read in it, while somebody else does it first `times` times."""
    left = iter(range(times))

    def body(tx: Transaction) -> str:
        title = tx.scalar("SELECT title FROM tasks")
        if next(left, None) is not None:
            other.execute("UPDATE tasks SET title = title || '!'")
        return tx.scalar("UPDATE tasks SET title = %s RETURNING title", [title + "?"])

    return Operation(body, Isolation.REPEATABLE_READ, read_only=False)


def test_a_serialization_failure_runs_the_operation_again_with_its_reads(
    other: psycopg.Connection[Any], observed: tuple[Database, list[Record]]
) -> None:
    database, records = observed
    database.run(tasks.add, tasks.NewTask("written"))
    records.clear()
    assert database.run(rival_edits(other, times=2)) == "written!!?"
    assert [(record.attempt, record.outcome, record.sqlstate) for record in records] == [
        (1, "retry", "40001"),
        (2, "retry", "40001"),
        (3, "done", None),
    ]
    assert len({record.xid for record in records}) == 3


def test_retries_come_to_an_end_and_nothing_is_written(
    url: str, other: psycopg.Connection[Any]
) -> None:
    with Database(settings_for(url, retries="2"), "test") as database:
        database.run(tasks.add, tasks.NewTask("written"))
        with pytest.raises(Contention) as raised:
            database.run(rival_edits(other, times=99))
    assert raised.value.exit_code == ExitCode.CONTENTION == 5
    assert raised.value.details == {"attempts": 3, "sqlstate": "40001"}
    assert psql(url, "SELECT title FROM tasks") == [("written!!!",)]


def test_a_deadlock_runs_one_of_the_two_again(url: str, workers: Workers) -> None:
    ana, gate = workers.worker(lock_timeout=HOURS), workers.gate()
    bo = workers.worker(lock_timeout=HOURS)
    first, second = (
        ana.database.run(tasks.add, tasks.NewTask("written", description="")).id for _ in "12"
    )

    @transaction(isolation=Isolation.READ_COMMITTED)
    def in_order(tx: Transaction, name: str, *ids: int) -> None:
        # A superuser's right.
        tx.execute("SET LOCAL ROLE NONE")
        tx.execute("SET LOCAL deadlock_timeout = '10ms'")
        tasks.edit(tx, [ids[0]], {}, append_description=name)
        gate.wait(tx)
        tasks.edit(tx, [ids[1]], {}, append_description=name)

    results = [
        ana.run(in_order, "ana", first, second),
        bo.run(in_order, "bo", second, first),
    ]
    gate.open()
    for result in results:
        result.result(PATIENCE)
    edits = sorted(outcome for outcome in ana.outcomes[2:] + bo.outcomes)
    assert edits == [("done", None), ("done", None), ("retry", "40P01")]
    for (text,) in psql(url, "SELECT description FROM tasks"):
        assert sorted(text.split()) == ["ana", "bo"]


# Errors


def test_a_rule_of_the_database_that_concord_does_not_know_is_a_bug(
    url: str, database: Database
) -> None:
    psql(url, "ALTER TABLE tasks ADD CONSTRAINT shouting CHECK (title <> lower(title))")
    with pytest.raises(Bug, match="shouting") as raised:
        database.run(writing(add_task))
    assert raised.value.exit_code == ExitCode.BUG
    assert raised.value.details == {"sqlstate": "23514"}


@pytest.mark.parametrize("flag", ["lock_timeout", "statement_timeout"])
def test_waiting_too_long_for_a_row_is_contention(
    url: str, other: psycopg.Connection[Any], flag: str
) -> None:
    flags = {"lock_timeout": HOURS, "statement_timeout": HOURS, flag: "200ms"}
    with Database(settings_for(url, **flags), "test") as database:
        made = database.run(tasks.add, tasks.NewTask("written"))
        with other.transaction():
            other.execute("SELECT FROM tasks FOR UPDATE")
            with pytest.raises(Contention) as raised:
                database.run(tasks.set_status, [made.id], "completed")
    assert raised.value.exit_code == ExitCode.CONTENTION
    assert raised.value.details["sqlstate"] == {
        "lock_timeout": pg.LockNotAvailable.sqlstate,
        "statement_timeout": pg.QueryCanceled.sqlstate,
    }.get(flag)
    assert psql(url, "SELECT status FROM tasks") == [("todo",)]


def test_nowait_is_contention_at_once(
    workers: Workers, database: Database, other: psycopg.Connection[Any]
) -> None:
    made = database.run(tasks.add, tasks.NewTask("written"))
    worker = workers.worker(lock_timeout=HOURS)
    with other.transaction():
        other.execute("SELECT FROM tasks FOR UPDATE")
        refused = worker.run(tasks.set_status, [made.id], "completed", nowait=True)
        assert refused.done()
        with pytest.raises(Contention, match="somebody else holds the lock"):
            refused.result()
    assert worker.outcomes == [("failed", "55P03")]


@pytest.mark.parametrize("isolation", list(Isolation))
def test_an_operation_that_only_reads_cannot_write(
    url: str, database: Database, isolation: Isolation
) -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
        database.run(Operation(add_task, isolation, read_only=True))
    assert nothing_was_written(url)


MISTAKES: dict[str, tuple[Callable[[Transaction], Any], type[ConcordError]]] = {
    "NUL": (lambda tx: tasks.add(tx, tasks.NewTask("a\0b")), Usage),
    "lone surrogate": (lambda tx: tasks.add(tx, tasks.NewTask("\ud800")), Usage),
    "undecodable byte": (lambda tx: tasks.add(tx, tasks.NewTask("x", description="\udcff")), Usage),
    "NUL in COPY": (
        lambda tx: (
            tx.execute("CREATE TEMPORARY TABLE copied (name text) ON COMMIT DROP"),
            tx.copy("COPY copied (name) FROM STDIN", [["a\0b"]]),
        ),
        Usage,
    ),
    "not in the enum": (lambda tx: tx.scalar("SELECT %s::task_status", ["bogus"]), Usage),
    "typing error": (lambda tx: tx.execute("SELECT nonsense"), Bug),
    "no right": (lambda tx: tx.execute("SET LOCAL ROLE pg_monitor; DELETE FROM tasks"), Forbidden),
}


@pytest.mark.parametrize(("body", "error"), MISTAKES.values(), ids=MISTAKES)
def test_an_error_is_told_in_domain_terms_and_the_connection_lives_on(
    url: str, database: Database, body: Callable[[Transaction], Any], error: type[ConcordError]
) -> None:
    def after_a_write(tx: Transaction) -> None:
        add_task(tx)
        body(tx)

    connection = database.connection()
    with pytest.raises(error) as raised:
        database.run(writing(after_a_write))
    assert type(raised.value) is error
    assert nothing_was_written(url)
    database.run(writing(add_task))
    assert database.connection() is connection


def test_text_is_sent_in_utf_8_whatever_the_environment_says(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    parameters = conninfo_to_dict(url)
    del parameters["client_encoding"]
    with Database(settings_for(make_conninfo("", **parameters)), "test") as database:
        assert database.run(tasks.add, tasks.NewTask("→")).title == "→"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_an_interruption_writes_nothing(
    url: str,
    observed: tuple[Database, list[Record]],
    interruption: type[BaseException],
) -> None:
    database, records = observed

    def body(tx: Transaction) -> None:
        add_task(tx)
        raise interruption

    with pytest.raises(interruption):
        database.run(writing(body))
    assert [record.outcome for record in records] == ["failed"]
    assert nothing_was_written(url)
    database.run(writing(add_task))


def test_an_interruption_does_not_wait_for_what_is_on_its_way(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Ctrl-C while statements are still being sent, one of which waits for a lock by now.
    psql(url, "INSERT INTO tasks (title, owner_id) SELECT 'one', min(id) FROM users")

    class Pressed(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            await_waiting(url, "test", holder)
            raise KeyboardInterrupt

    def body(tx: Transaction) -> None:
        tx.execute("UPDATE tasks SET title = 'two'")
        tx.execute("SELECT %(pressed)s", Pressed(pressed=None))
        tx.flush()

    with locked(url, 1) as holder:
        with (
            Database(settings_for(url, lock_timeout=HOURS), "test") as database,
            pytest.raises(KeyboardInterrupt),
        ):
            database.run(writing(body))
        assert psql(url, "SELECT title FROM tasks") == [("one",)]
    assert not caplog.records


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    settings = settings_for("postgresql://ana:hunter2@127.0.0.1:1/concord")
    with Database(settings, "test") as database, pytest.raises(DatabaseUnavailable) as raised:
        database.run(users.list_all)
    assert "hunter2" not in str(raised.value.as_json())
    assert raised.value.details == {"source": "command line"}


# Who acts


def test_a_stranger_is_refused_on_a_shared_server(url: str) -> None:
    with (
        Database(settings_for(url, user="bo"), "test") as database,
        pytest.raises(NotFound, match="you are 'bo'") as raised,
    ):
        database.run(users.list_all)
    assert "concord user add bo" in (raised.value.hint or "")
    assert raised.value.details == {"user": "bo"}


def test_an_actor_is_known_in_any_case(url: str) -> None:
    with Database(settings_for(url, user="ANA"), "test") as database:
        assert database.run(tasks.add, tasks.NewTask("written")).owner == "ana"


def test_a_newcomer_is_added_by_the_first_operation_that_writes(url: str) -> None:
    with Database(settings_for(url, user="bo"), "test", newcomer="add") as database:
        everybody = database.run(users.list_all)
        assert everybody == (), "who is not known sees nobody"
        with pytest.raises(NotFound, match="you are 'bo'"):
            database.run(Operation(lambda tx: tx.actor_id, Isolation.READ_COMMITTED, True))
        assert database.run(tasks.add, tasks.NewTask("written")).owner == "bo"
        database.run(tasks.add, tasks.NewTask("written"))
        everybody = database.run(users.list_all)
    assert [user.username for user in everybody] == ["ana", "bo"]
    assert psql(url, "SELECT actor, operation FROM history WHERE new ->> 'username' = 'bo'") == [
        ("bo", "test")
    ]


def test_two_first_commands_of_a_newcomer_add_one_user(url: str, workers: Workers) -> None:
    one, two = (workers.worker("bo", newcomer="add") for _ in "12")
    gate = workers.gate()
    added = one.run(gate.before_commit(tasks.add), tasks.NewTask("first"))
    waiting = two.run(tasks.add, tasks.NewTask("second"))
    assert two.waits_for(one)
    gate.open()
    assert added.result(PATIENCE).owner == waiting.result(PATIENCE).owner == "bo"
    assert psql(url, "SELECT count(*) FROM users WHERE username = 'bo'") == [(1,)]


def test_who_enters_first_is_a_user_and_who_comes_later_is_not(url: str) -> None:
    psql(url, "DELETE FROM users")

    def enter(name: str) -> str | None:
        with Database(settings_for(url, user=name), "init", newcomer="ignore") as database:
            entered = database.run(users.enter)
        return entered and entered.username

    assert [enter("bo"), enter("ana"), enter("bo")] == ["bo", None, "bo"]


@pytest.mark.parametrize("second", ["bo", "cy"])
def test_of_two_who_enter_at_once_one_is_first(url: str, workers: Workers, second: str) -> None:
    psql(url, "DELETE FROM users")
    one, two = (workers.worker(name, newcomer="ignore") for name in ("bo", second))
    gate = workers.gate()
    results = [one.run(gate.before_commit(users.enter)), two.run(users.enter)]
    gate.open()
    known = {user.username for result in results if (user := result.result(PATIENCE))}
    assert {(name,) for name in known} == set(psql(url, "SELECT username FROM users"))
    assert len(known) == 1
    assert ("retry", "40001") in one.outcomes + two.outcomes


# The schema


@pytest.mark.parametrize("found", ["0000", "9999"])
def test_another_schema_is_refused_with_the_way_out(
    url: str, database: Database, found: str
) -> None:
    psql(url, "UPDATE alembic_version SET version_num = %s", found)
    with pytest.raises(SchemaMismatch, match=f"the database has schema {found}") as raised:
        database.run(writing(add_task))
    assert raised.value.hint == "Run: concord init"
    assert raised.value.exit_code == ExitCode.DATABASE
    assert raised.value.found == found
    assert nothing_was_written(url)


def test_a_database_without_a_schema_is_refused_with_the_way_out(empty_url: str) -> None:
    with (
        Database(settings_for(empty_url), "test") as database,
        pytest.raises(SchemaMismatch, match="not initialised") as raised,
    ):
        database.run(users.list_all)
    assert raised.value.hint == "Run: concord init"
    assert raised.value.found is None
