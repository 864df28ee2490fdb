"""The board: tasks by status, with what matters first, all from one snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.models import Board, BoardColumn, Card
from concord.sql import listing, task_rows
from concord.vocabulary import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.database import Transaction
    from concord.sql.listing import Filters
    from concord.vocabulary import Status

SHOWN: tuple[Status, ...] = ("todo", "in_progress", "completed")
"""The columns, unless others are asked for."""

MEMBERS: dict[Status, LiteralString] = {
    "todo": "t.status = 'todo'",
    "in_progress": "t.status = 'in_progress'",
    # A constraint says so too, but the planner asks for it before it takes the partial index.
    "completed": "t.status = 'completed' AND t.completed_at IS NOT NULL",
    "canceled": "t.status = 'canceled'",
}
"""Column → what is in it."""

ORDERS: dict[Status, LiteralString] = {
    "todo": task_rows.BEST_FIRST,
    "in_progress": task_rows.BEST_FIRST,
    "completed": "t.completed_at DESC, t.id DESC",
    "canceled": "t.canceled_at DESC, t.id DESC",
}
"""Column → its order: of what is open the most urgent first, of what is closed the latest."""

COUNT = sql.SQL("""
-- count_columns: how many tasks each has
SELECT t.status, count(*) FROM tasks t
WHERE t.status = ANY(%(columns)s::task_status[]) AND {conditions}
GROUP BY t.status
""")

PICK = sql.SQL("""
-- pick_cards: the first of a column
SELECT t.id FROM tasks t
WHERE {members} AND {conditions}
ORDER BY {order}
LIMIT %(limit)s
""")

BLOCKED: LiteralString = """
-- blocked_cards: of those that are shown
SELECT t.id FROM tasks t
WHERE t.id = ANY(%(ids)s) AND t.status IN ('todo', 'in_progress') AND is_blocked(t.id)
"""

WIP_LIMIT: LiteralString = """
-- show_limit: how many a project may have in progress
SELECT wip_limit FROM projects WHERE key = %(key)s
"""


@transaction(isolation=Isolation.REPEATABLE_READ, read_only=True)
def show(tx: Transaction, filters: Filters, *, limit: int | None = 10) -> Board:
    """Return the columns of the statuses that the filters name, or of `SHOWN`.

    `limit` is the most tasks of a column, `None` for all; how many there are is counted anyhow.
    Raises `NotFound` if nothing matches and a filter names what does not exist.
    """
    wanted = filters.statuses or SHOWN
    columns: list[Status] = [status for status in STATUSES if status in wanted]
    filters = replace(filters, statuses=())
    conditions, given = listing.conditions_of(tx, filters)
    within = sql.SQL("\n  AND ").join(conditions)
    counted = tx.later(
        COUNT.format(conditions=within), given | {"columns": columns}, lambda *row: tuple(row)
    )
    picking: dict[Status, Callable[[], Sequence[int]]] = {
        status: tx.later(_pick(status, within), given | {"limit": limit}, int) for status in columns
    }
    room = _limit(tx, filters)
    counts = dict(counted())
    if not counts:
        listing.check_names(tx, filters)
    picked: dict[Status, Sequence[int]] = {status: pick() for status, pick in picking.items()}
    shown = [task for some in picked.values() for task in some]
    blocking = tx.later(BLOCKED, {"ids": shown}, int)
    tx.last()
    found = task_rows.fetch(tx, shown)
    blocked = {*blocking()}
    cards = {task.id: task_rows.told_more(Card, task, blocked=task.id in blocked) for task in found}
    (wip_limit,) = room() or (None,)
    return Board(
        tuple(
            BoardColumn(
                status,
                counts.get(status, 0),
                wip_limit if status == "in_progress" else None,
                tuple(cards[task] for task in some),
            )
            for status, some in picked.items()
        )
    )


def _pick(status: Status, within: sql.Composable) -> sql.Composed:
    return PICK.format(
        members=sql.SQL(MEMBERS[status]), conditions=within, order=sql.SQL(ORDERS[status])
    )


def _limit(tx: Transaction, filters: Filters) -> Callable[[], Sequence[int | None]]:
    """Return what gives the limit that holds for just the tasks that are shown, if there is one."""
    if len(filters.projects) != 1 or filters != listing.Filters(projects=filters.projects):
        return tuple
    return tx.later(WIP_LIMIT, {"key": filters.projects[0]}, _as_it_is)


def _as_it_is(limit: int | None) -> int | None:
    return limit
