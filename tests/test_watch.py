"""What a poll finds: every change that was committed since a cursor, once, in commit order."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from conftest import open_directory, settings_for
from hypothesis import given
from hypothesis import strategies as st
from workers import Workers, psql

from concord import embedded, migrate
from concord.database import Database
from concord.errors import DatabaseUnavailable, NotFound, Usage
from concord.sql import comments, projects, tasks, users, watch
from concord.sql.watch import Cursor, Filters, Snapshot

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from concord.models import WatchedChange

pytestmark = pytest.mark.crew

EVERYTHING = Filters()
BEGINNING = Cursor.parse("beginning")


def seen(
    database: Database, since: Cursor, filters: Filters = EVERYTHING, limit: int = watch.PAGE
) -> tuple[WatchedChange, ...]:
    """Return all that there is behind a cursor, read in pages."""
    changes: list[WatchedChange] = []
    more = True
    while more:
        found = database.run(watch.poll, filters, since, limit=limit)
        changes += found.changes
        since, more = found.cursor, found.more
    return tuple(changes)


def titles(changes: tuple[WatchedChange, ...]) -> list[str]:
    return [change.new["title"] for change in changes if "title" in change.new]


def transactions(changes: tuple[WatchedChange, ...]) -> list[list[int]]:
    """Return the ids of changes, transaction by transaction."""
    return [[one.id for one in group] for _, group in groupby(changes, attrgetter("xid"))]


# Cursors


xids = st.integers(1, 40)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    end = draw(xids)
    return Snapshot(end, tuple(sorted(draw(st.sets(xids.filter(lambda xid: xid < end))))))


@given(snapshots(), snapshots(), st.integers(0, 10**17))
def test_a_cursor_is_its_text(first: Snapshot, second: Snapshot, after: int) -> None:
    for cursor in (Cursor(first), Cursor(first, second, after)):
        assert Cursor.parse(str(cursor)) == cursor


def test_a_snapshot_means_to_the_server_what_it_means_to_us(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:

        @given(snapshots())
        def agrees(snapshot: Snapshot) -> None:
            told = connection.execute(
                "SELECT n FROM generate_series(1, 45) AS n"
                " WHERE pg_visible_in_snapshot(n::text::xid8, %s::pg_snapshot)",
                (str(snapshot),),
            )
            shown = {n for n in range(1, snapshot.end) if n not in snapshot.running}
            assert {n for (n,) in told.fetchall()} == shown

        agrees()


NO_CURSORS = (
    *("", "1", "now", "1:1", "1:1: ", "5:3:", "0:3:", "3:5:7", "3:5:2", "3:9:7,5", "3:5:5"),
    *("1:٣:", "1:1:,x", f"{9**30}:1:", "1:1:/1:1:", "1:1:/1:1:/x", "1:1:/1:1:/-1", "1:1:/1:1:/1/1"),
)


@pytest.mark.parametrize("text", NO_CURSORS)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="is not a cursor that watch printed"):
        Cursor.parse(text)


def test_a_cursor_of_another_database_is_refused(database: Database) -> None:
    ahead = Cursor(Snapshot(10**9))
    for cursor in (ahead, Cursor(Snapshot(1), Snapshot(10**9), 1)):
        with pytest.raises(Usage, match="ahead of this database"):
            database.run(watch.begin, EVERYTHING, cursor)
        with pytest.raises(Usage, match="ahead of this database"):
            database.run(watch.poll, EVERYTHING, cursor)


def test_ids_of_a_server_that_was_ahead_tell_nothing(database: Database, url: str) -> None:
    now = database.run(watch.begin, EVERYTHING)
    psql(
        url,
        "INSERT INTO history (entity, entity_id, old, new, xid)"
        " VALUES ('task', 1, '{}', '{}', '999999999')",
    )
    with pytest.raises(DatabaseUnavailable, match="history knows transactions up to 999999999"):
        database.run(watch.begin, EVERYTHING)
    with pytest.raises(DatabaseUnavailable, match="history knows transactions up to 999999999"):
        database.run(watch.poll, EVERYTHING, now)


# Each change once


def test_from_now_on_means_nothing_that_was_before(database: Database) -> None:
    database.run(tasks.add, tasks.NewTask("before"))
    now = database.run(watch.begin, EVERYTHING)
    assert seen(database, now) == ()
    database.run(tasks.add, tasks.NewTask("after"))
    assert titles(seen(database, now)) == ["after"]
    assert titles(seen(database, BEGINNING)) == ["before", "after"]


def test_what_did_not_change_anything_is_not_seen_and_moves_nothing(database: Database) -> None:
    database.run(tasks.add, tasks.NewTask("one"))
    now = database.run(watch.begin, EVERYTHING)
    database.run(tasks.edit, [1], {"title": "one"})
    with pytest.raises(NotFound):
        database.run(tasks.set_status, [1, 99], "completed")
    found = database.run(watch.poll, EVERYTHING, now)
    assert (found.changes, found.cursor, found.more) == ((), now, False)


def test_a_slow_transaction_is_seen_though_its_ids_are_behind(url: str, database: Database) -> None:
    now = database.run(watch.begin, EVERYTHING)
    with Workers(url) as workers:
        gate = workers.gate()
        slow, fast = workers.worker(), workers.worker()
        added = slow.run(gate.before_commit(tasks.add), tasks.NewTask("slow"))
        fast.run(tasks.add, tasks.NewTask("fast")).result()
        first = database.run(watch.poll, EVERYTHING, now)
        gate.open()
        added.result()
    second = database.run(watch.poll, EVERYTHING, first.cursor)
    assert titles(first.changes) == ["fast"]
    assert titles(second.changes) == ["slow"]
    assert second.changes[-1].id < first.changes[0].id, "a reader by id would have missed it"
    assert seen(database, second.cursor) == ()


def test_a_transaction_that_goes_on_for_long_is_seen_when_it_ends(
    url: str, database: Database
) -> None:
    now = database.run(watch.begin, EVERYTHING)
    with psycopg.connect(url) as slow:
        slow.execute("INSERT INTO tasks (title, owner_id) VALUES ('slow', 1)")
        for number in range(5):
            database.run(tasks.add, tasks.NewTask(f"{number}"))
            found = database.run(watch.poll, EVERYTHING, now)
            assert titles(found.changes) == [f"{number}"]
            now = found.cursor
    assert titles(seen(database, now)) == ["slow"]


@pytest.mark.parametrize("end", ["rollback", "savepoint"])
def test_what_was_rolled_back_is_never_seen(url: str, database: Database, end: str) -> None:
    now = database.run(watch.begin, EVERYTHING)
    with psycopg.connect(url) as other:
        other.execute("INSERT INTO tasks (title, owner_id) VALUES ('kept', 1)")
        with other.transaction():
            other.execute("INSERT INTO tasks (title, owner_id) VALUES ('gone', 1)")
            raise psycopg.Rollback
        with other.transaction():  # a savepoint, with an id of its own
            other.execute("INSERT INTO tasks (title, owner_id) VALUES ('kept too', 1)")
        assert seen(database, now) == ()
        if end == "rollback":
            other.rollback()
    assert titles(seen(database, now)) == (["kept", "kept too"] if end == "savepoint" else [])


# Order


def test_whoever_saw_a_change_comes_behind_it(url: str, database: Database) -> None:
    # The one that depends on the other began before it, and drew its first ids before it.
    for title in ("one", "two"):
        database.run(tasks.add, tasks.NewTask(title))
    now = database.run(watch.begin, EVERYTHING)
    with psycopg.connect(url) as other:
        other.execute("UPDATE tasks SET title = 'one, later' WHERE id = 1")
        database.run(tasks.edit, [2], {"title": "two, first"})
        other.execute("UPDATE tasks SET title = title || ', seen' WHERE id = 2")
    changes = seen(database, now)
    assert titles(changes) == ["two, first", "one, later", "two, first, seen"]
    assert [len(ids) for ids in transactions(changes)] == [1, 2]


@pytest.fixture
def many(database: Database) -> Database:
    """A database after transactions of one change, and of several."""
    for number in range(1, 5):
        database.run(tasks.add, tasks.NewTask("one"))
        database.run(tasks.add, tasks.NewTask("two", tags=[f"new{number}"], assignees=["me"]))
        database.run(tasks.set_status, range(1, 2 * number + 1), "canceled")
        database.run(tasks.set_status, range(1, 2 * number + 1), "todo")
    return database


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 1000])
def test_pages_hold_whole_transactions_and_all_of_them(many: Database, limit: int) -> None:
    whole = seen(many, BEGINNING)
    assert {len(ids) for ids in transactions(whole)} >= {1, 4, 8}
    assert [one.id for one in seen(many, BEGINNING, limit=limit)] == [one.id for one in whole]
    page = many.run(watch.poll, EVERYTHING, BEGINNING, limit=limit)
    ids = transactions(page.changes)
    assert ids == transactions(whole)[: len(ids)]
    assert page.more == (limit < 1000)
    assert len(page.changes) - len(ids[-1]) < limit


def check_cursors(database: Database, filters: Filters, limit: int) -> None:
    """Assert that from the cursor of any line the rest follows: all of a transaction whose end has
    not been seen, and all transactions behind it.
    """
    whole = [*seen(database, BEGINNING, filters, limit)]
    done = 0
    for block in transactions(tuple(whole)):
        for change in whole[done : done + len(block)]:
            begin = done + len(block) if change.id == block[-1] else done
            rest = seen(database, Cursor.parse(change.cursor), filters)
            assert [one.id for one in rest] == [one.id for one in whole[begin:]]
        done += len(block)


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_from_the_cursor_of_any_line_the_rest_follows(many: Database, limit: int) -> None:
    check_cursors(many, EVERYTHING, limit)


def test_what_comes_while_a_page_is_read_comes_behind_it(many: Database) -> None:
    page = many.run(watch.poll, EVERYTHING, BEGINNING, limit=1)
    before = seen(many, page.cursor)
    many.run(tasks.add, tasks.NewTask("later"))
    after = seen(many, page.cursor)
    assert [one.id for one in after[:-1]] == [one.id for one in before]
    assert titles(after)[-1] == "later"


# Filters


@pytest.fixture
def filtered(database: Database, url: str) -> Database:
    """A database with changes in several projects, by several people."""
    for key in ("API", "WEB"):
        database.run(projects.add, key)
    database.run(users.add, "bo")
    for project in ("API", "WEB", None):
        database.run(tasks.add, tasks.NewTask(str(project), project=project))
    database.run(comments.add, [1], "Yes.")
    database.run(tasks.move, [2], "API")
    database.run(tasks.move, [2], None)
    database.run(projects.edit, "WEB", {"name": "The web"})
    with Database(settings_for(url, user="bo"), "test") as other:
        other.run(tasks.edit, [1, 3], {"priority": "high"})
        other.run(tasks.edit, [2], {"priority": "low"})
    return database


FILTERED: dict[str, tuple[Filters, list[str]]] = {
    "api": (Filters(["API"]), ["project 1", "task 1", "comment 1", "task 2", "task 2", "task 1"]),
    "web": (Filters(["WEB"]), ["project 2", "task 2", "task 2", "project 2"]),
    "inbox": (Filters(["none"]), ["task 2", "task 3", "task 2", "task 2", "task 3", "task 2"]),
    "both": (Filters(["API", "WEB"], [2]), ["task 2", "task 2", "task 2"]),
    "task": (Filters(tasks=[3, 1]), ["task 1", "task 3", "comment 1", "task 1", "task 3"]),
    "actor": (Filters(actors=["BO"]), ["task 1", "task 3", "task 2"]),
    "all": (Filters(["API"], [1, 2], ["me"]), ["task 1", "comment 1", "task 2", "task 2"]),
    "none": (Filters(["API"], [3]), []),
}


@pytest.mark.parametrize("name", FILTERED)
def test_a_filter_leaves_out_changes_and_moves_no_cursor(filtered: Database, name: str) -> None:
    filters, expected = FILTERED[name]
    chosen = seen(filtered, BEGINNING, filters)
    assert [f"{one.entity} {one.entity_id}" for one in chosen] == expected
    for limit in (1, 2, 1000):
        check_cursors(filtered, filters, limit)
    last = filtered.run(watch.poll, EVERYTHING, BEGINNING).cursor
    assert filtered.run(watch.poll, filters, BEGINNING).cursor == last


def test_a_filter_of_what_never_was_is_refused(filtered: Database) -> None:
    with pytest.raises(NotFound, match="no such project: NOPE"):
        filtered.run(watch.begin, Filters(["NOPE"]))
    with pytest.raises(NotFound, match="no such task, now or ever: 98, 99"):
        filtered.run(watch.begin, Filters(tasks=[99, 1, 98]))
    filtered.run(tasks.delete, [1])
    filtered.run(tasks.purge, [1])
    filtered.run(watch.begin, Filters(["none"], [1]))


# Crashes


@contextmanager
def own_server() -> Generator[Path]:
    """Start a server that this test may kill."""
    directory = open_directory()
    try:
        embedded.start(directory)
        yield directory
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


PROCESSES: LiteralString = """
SELECT pid FROM pg_stat_activity WHERE backend_type IN ('walwriter', 'checkpointer')
"""


def test_ids_that_a_crash_gives_out_anew_hide_nothing() -> None:
    with own_server() as directory:
        url = embedded.conninfo(directory, owner=True)
        migrate.upgrade(settings_for(url))
        psql(url, "INSERT INTO users (username) VALUES ('ana')")
        helpers = [pid for (pid,) in psql(url, PROCESSES)]
        with Database(settings_for(url), "test") as database:
            database.run(tasks.add, tasks.NewTask("before"))
            # Nobody writes to disk now what need not be there.
            for pid in helpers:
                os.kill(pid, signal.SIGSTOP)
            for _ in range(20):
                with pytest.raises(NotFound):
                    database.run(tasks.set_status, [99], "completed")
            (((highest,),), now) = (
                psql(url, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
                database.run(watch.begin, EVERYTHING),
            )
            postmaster = int((next(directory.glob("*/postmaster.pid"))).read_text().split()[0])
            for pid in (postmaster, *helpers):
                os.kill(pid, signal.SIGKILL)
        embedded.start(directory)
        with Database(settings_for(url), "test") as database:
            database.run(tasks.add, tasks.NewTask("after"))
            (change,) = seen(database, now)
    assert change.new["title"] == "after"
    assert int(change.xid) < highest, "the id was given out before the crash"
