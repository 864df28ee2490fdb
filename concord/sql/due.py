"""What is due soon, or should have been done already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from concord.database import Isolation, transaction
from concord.models import DueTask
from concord.sql import listing, task_rows

if TYPE_CHECKING:
    from datetime import timedelta

    from concord.database import Transaction
    from concord.sql.listing import Filters

# By the index of what is open in the order of its due dates: in that of all due dates, those of
# tasks that were done long since come first.
DUE = sql.SQL("""
-- pick_due: what is open and due within a time, and whether it is overdue
SELECT t.id, t.due <= statement_timestamp() FROM tasks t
WHERE t.status IN ('todo', 'in_progress') AND {conditions}
  AND CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END
      <= statement_timestamp() + %(within)s
ORDER BY CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END, t.id
LIMIT %(limit)s
""")


@transaction(isolation=Isolation.REPEATABLE_READ, read_only=True)
def within(
    tx: Transaction, filters: Filters, span: timedelta, *, limit: int | None = None
) -> tuple[DueTask, ...]:
    """Return open tasks that are overdue, or due within a time from now; the earliest first.

    The clock is the database's; `limit` is the most tasks, `None` for all. Raises `NotFound` if
    nothing matches and a filter names what does not exist.
    """
    conditions, given = listing.conditions_of(tx, filters)
    query = DUE.format(conditions=sql.SQL("\n  AND ").join(conditions))
    picked = dict(tx.rows(query, given | {"within": span, "limit": limit}, lambda *row: tuple(row)))
    if not picked:
        listing.check_names(tx, filters)
    tx.last()
    return tuple(
        task_rows.told_more(DueTask, task, overdue=picked[task.id])
        for task in task_rows.fetch(tx, list(picked))
    )
