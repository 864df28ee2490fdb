"""History: every change that was ever committed, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import NotFound
from concord.models import Change, Page

if TYPE_CHECKING:
    from concord.database import Transaction

COLUMNS: LiteralString = """
SELECT id, at, actor, operation, entity, entity_id, task_id AS task, version, old, new,
       xid::text AS xid
FROM history
"""
"""The columns of `models.Change`, in its order."""

CONDITIONS: dict[str, LiteralString] = {
    "task": "task_id = %(task)s",
    "actor": "lower(actor) = lower(%(actor)s)",
    "xid": "xid = %(xid)s::xid8",
    "after": "id < %(after)s",
}

PAGE = sql.SQL(
    "-- list_history: newest first\n"
    + COLUMNS
    + "WHERE {conditions} ORDER BY id DESC LIMIT %(limit)s OFFSET %(skip)s"
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which changes: of one task, by one actor, of one transaction."""

    task: int | None = None
    actor: str | None = None
    xid: str | None = None


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def page(
    tx: Transaction,
    filters: Filters,
    *,
    limit: int | None = None,
    skip: int = 0,
    after: int | None = None,
) -> Page[Change]:
    """Return a page of changes. `after` is the id of the last change of the page before.

    Raises `NotFound` for a task that never was.
    """
    actor = tx.actor if filters.actor == "me" else filters.actor
    given = {"task": filters.task, "actor": actor, "xid": filters.xid, "after": after}
    named = [sql.SQL(CONDITIONS[name]) for name, value in given.items() if value is not None]
    query = PAGE.format(conditions=sql.SQL(" AND ").join(named or [sql.SQL("true")]))
    params = given | {"limit": None if limit is None else limit + 1, "skip": skip}
    found = tx.rows(query, params, Change)
    if not found and filters.task and filters == Filters(filters.task) and not (after or skip):
        raise NotFound(
            f"no such task, now or ever: {filters.task}",
            hint="See what there is: concord task list",
            tasks=[filters.task],
        )
    if limit is None or len(found) <= limit:
        return Page(found, None)
    shown = found[:limit]
    return Page(shown, str(shown[-1].id) if shown else None)
