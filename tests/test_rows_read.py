"""What commands read of 100,000 tasks, triggers and functions included: rows, not milliseconds.

The server counts itself what it reads: a sequential scan of a table that grows is a failure, and so
is an index that is read from one end to the other to find a few rows.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import pytest
from crowd import COUNT, END, LARGE, START

from concord.database import Isolation, transaction
from concord.errors import Empty
from concord.sql import (
    assignments,
    board,
    claims,
    comments,
    completion,
    due,
    history,
    links,
    listing,
    projects,
    readiness,
    tags,
    tasks,
    undo,
    urgency,
    users,
    views,
)
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Callable

    from concord.database import Database, Transaction

ENOUGH = COUNT // 4
"""Rows that a command may read of one table. What fills a page of a hundred with one task in two
hundred reads 20,000, however many there are; what reads all that is to do is far below it."""

LEASE = timedelta(minutes=15)
NOW = datetime.now(UTC)

COUNTERS: LiteralString = """
SELECT relname, seq_scan, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
FROM pg_stat_user_tables
"""

Command: TypeAlias = "Callable[[Database], object]"


def read_by(database: Database, command: Command) -> dict[str, tuple[int, int]]:
    """Return the sequential scans and rows read of each table that grows, where there are any."""

    def counters() -> dict[str, tuple[int, int]]:
        connection = database.connection()
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT pg_stat_clear_snapshot()")
        return {name: (scans, rows) for name, scans, rows in connection.execute(COUNTERS)}

    before = counters()
    command(database)
    return {
        table: (scans - before[table][0], rows - before[table][1])
        for table, (scans, rows) in counters().items()
        if table in LARGE and (scans, rows) != before[table]
    }


def run(operation: Any, *given: Any, **named: Any) -> Command:
    return lambda database: database.run(operation, *given, **named)


def listed(sort: str = "id", **filters: Any) -> Command:
    return run(listing.page, Filters(**filters), sort=sort, limit=100)


def after_the_middle(sort: str) -> Command:
    def page(database: Database) -> None:
        (task,) = database.run(tasks.show, [COUNT // 2])
        after = listing.cursor(sort, task)
        assert database.run(listing.page, Filters(), sort=sort, limit=100, after=after).items

    return page


def offered(query: LiteralString) -> Command:
    @transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
    def offer(tx: Transaction) -> None:
        tx.rows(query, {"prefix": "1%", "actor": "ana"}, lambda *row: row)

    return run(offer)


def held(operation: Any, **named: Any) -> Command:
    def work(database: Database) -> None:
        (task,) = database.run(claims.claim, Filters(), lease=LEASE)
        assert task.claim is not None
        database.run(operation, task.id, task.claim.epoch, **named)

    return work


def undone(database: Database) -> None:
    database.run(tasks.edit, [99_001], {"title": "To be undone"})
    with suppress(Empty):
        database.run(undo.run)


WEIGHTS = urgency.Weights(*[Decimal(1)] * 5)
SORTS = [sign + name for name in listing.SORTS for sign in ("", "-")]

COMMANDS: dict[str, Command] = {
    "show": run(comments.show, [50_000]),
    "add": run(tasks.add, tasks.NewTask("x")),
    "add, with all": run(tasks.add, tasks.NewTask("x", "P7", tags=["tag8"], assignees=["user9"])),
    "add, blocked": run(tasks.add, tasks.NewTask("x", blocked_by=[99_002], parent=99_003)),
    "edit": run(tasks.edit, [99_004], {"title": "y", "description": "z"}),
    "edit --if-version": run(tasks.edit, [99_005], {"title": "y"}, if_version=1),
    "edit --parent": run(tasks.edit, [99_006], {"parent": 99_018}),
    "assign": run(assignments.assign, [99_008], ["user9"]),
    "tag": run(tags.tag, [99_009], ["tag9"]),
    "start": run(tasks.set_status, [99_010, 99_011], "in_progress"),
    "done": run(tasks.set_status, [99_012], "completed"),
    "move": run(tasks.move, [99_013], "P7"),
    "delete": run(tasks.delete, [99_014]),
    "comment": run(comments.add, [99_015], "Yes."),
    "block": run(links.block, [99_016], [99_017]),
    "undo": undone,
    "renew": held(claims.renew, lease=LEASE),
    "release": held(claims.release),
    "claim": run(claims.claim, Filters(), lease=LEASE),
    "claim --project": run(claims.claim, Filters(projects=["P7"]), lease=LEASE),
    "claim --tag": run(claims.claim, Filters(tags=["tag99"]), lease=LEASE),
    "claim --priority": run(claims.claim, Filters(priorities=["none"]), lease=LEASE),
    "claim --assignee": run(claims.claim, Filters(assignees=["user99"]), lease=LEASE),
    "claim --owner": run(claims.claim, Filters(owners=["user99"]), lease=LEASE),
    "claim --due-before": run(claims.claim, Filters(due_before=END), lease=LEASE),
    "claim --explain": run(readiness.explain, Filters()),
    "list": listed(),
    **{f"list --sort {sort}": listed(sort) for sort in SORTS},
    **{f"list --sort {sort} --after": after_the_middle(sort) for sort in SORTS},
    "list --project": listed(projects=["P7"]),
    "list --project --project": listed(projects=["P7", "P8"]),
    "list --project none": listed(projects=["none"]),
    "list --project --project none": listed(projects=["P7", "none"]),
    "list --status": listed(statuses=["todo"]),
    "list --status --status": listed(statuses=["in_progress", "canceled"]),
    "list --status --project": listed(statuses=["completed"], projects=["P7"]),
    "list --tag": listed(tags=["tag7"]),
    "list --assignee": listed(assignees=["user9"]),
    "list --assignee none": listed(assignees=["none"]),
    "list --assigned": listed(assigned=True),
    "list --unassigned": listed(assigned=False),
    "list --owner": listed(owners=["user9"]),
    "list --priority": listed(priorities=["urgent"]),
    "list --due-before": listed(due_before=START + timedelta(days=3)),
    "list --due-after": listed(due_after=END - timedelta(days=3)),
    "list --title": listed(titles=["4238a0b9"]),
    "list --parent": listed(parents=[1000]),
    "list --trash": listed(trash=True),
    "list --ready": listed(ready=True),
    "list --ready --sort priority": listed("priority", ready=True),
    "list --status --sort priority": listed("priority", statuses=["todo"]),
    "list --blocked": listed(blocked=True),
    "next": run(urgency.suggest, Filters(), weights=WEIGHTS, now=NOW, limit=6),
    "due": run(due.within, Filters(), timedelta(days=1), limit=100),
    "board --project": run(board.show, Filters(projects=["P7"])),
    "history": run(history.page, history.Filters(), limit=100),
    "history --task": run(history.page, history.Filters(task=50_000), limit=100),
    "history --actor": run(history.page, history.Filters(actor="user9"), limit=100),
    "user list": run(users.list_all),
    "project list": run(projects.list_all),
    "view list": run(views.list_all),
    "completion of tasks": offered(completion.TASKS),
    "completion of projects": offered(completion.PROJECTS),
    "completion of users": offered(completion.USERS),
    "completion of tags": offered(completion.TAGS),
}
"""A command → what asks the database for it."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reads_little_of_what_there_is(crowded: Database, name: str) -> None:
    read = read_by(crowded, COMMANDS[name])
    if name == "next":
        # What waits for what is asked of all that is open: where it costs less, of all links.
        read.pop("links")
    assert {table: scans for table, (scans, _) in read.items() if scans} == {}
    assert {table: rows for table, (_, rows) in read.items() if rows > ENOUGH} == {}


def test_what_is_read_is_counted(crowded: Database) -> None:
    @transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
    def count(tx: Transaction) -> None:
        tx.scalar("SELECT count(*) FROM comments WHERE body = 'No.'")

    ((table, (scans, rows)),) = read_by(crowded, run(count)).items()
    assert table == "comments"
    assert scans > 0
    assert rows >= COUNT
