"""Why a task is ready to be claimed, or is not.

A task is ready when it is to do, or in progress under a lease that has expired, and waits for
nothing: no open task blocks it or a task that it is part of, and no part of it is still open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from concord.database import Isolation, transaction
from concord.models import Readiness
from concord.sql import listing, task_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from concord.database import Transaction

# What is to do comes in the order of its index; of what is in progress there is little.
CONSIDER = sql.SQL("""
-- consider_next: the open tasks that come first, with all that may stand against each
SELECT t.id, t.status, t.priority, t.due, t.title,
       ARRAY(SELECT l.blocker_id FROM links l JOIN tasks b ON b.id = l.blocker_id
             WHERE l.blocked_id = t.id AND b.status IN ('todo', 'in_progress')
               AND b.deleted_at IS NULL
             ORDER BY 1) AS blockers,
       CASE WHEN is_blocked(t.parent_id) THEN t.parent_id END AS waiting_parent,
       ARRAY(SELECT part.id FROM tasks part
             WHERE part.parent_id = t.id AND part.status IN ('todo', 'in_progress')
               AND part.deleted_at IS NULL
             ORDER BY 1) AS open_parts,
       h.username AS holder, c.expires_at, c.expires_at <= statement_timestamp() AS expired,
       ARRAY(SELECT a.username FROM assignments x JOIN users a ON a.id = x.user_id
             WHERE x.task_id = t.id AND (x.user_id <> c.user_id OR c.assigned IS NOT TRUE
                                         OR lower(a.username) = lower(%(actor)s))
             ORDER BY 1) AS assignees,
       p.key AS project, p.archived_at IS NOT NULL AS archived, p.wip_limit,
       CASE WHEN p.wip_limit IS NOT NULL THEN ARRAY(
           SELECT w.id FROM tasks w
           WHERE w.project_id = p.id AND w.status = 'in_progress' AND w.deleted_at IS NULL
           ORDER BY 1 LIMIT p.wip_limit
       ) ELSE '{{}}' END AS working
FROM (
    (SELECT t.id FROM tasks t WHERE t.status = 'todo' AND {conditions}
     ORDER BY {best_first} LIMIT %(limit)s)
    UNION ALL
    (SELECT t.id FROM tasks t WHERE t.status = 'in_progress' AND {conditions}
     ORDER BY {best_first} LIMIT %(limit)s)
) AS first
JOIN tasks t ON t.id = first.id
LEFT JOIN claims c ON c.task_id = t.id
LEFT JOIN users h ON h.id = c.user_id
LEFT JOIN projects p ON p.id = t.project_id
ORDER BY {best_first}
LIMIT %(limit)s
""")


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def explain(tx: Transaction, filters: listing.Filters, *, limit: int = 10) -> tuple[Readiness, ...]:
    """Return the open tasks that would be claimed first, and what stands against each.

    Raises `NotFound` if nothing matches and a filter names what does not exist.
    """
    conditions, params = listing.conditions_of(tx, filters)
    query = CONSIDER.format(
        conditions=sql.SQL("\n  AND ").join(conditions), best_first=sql.SQL(task_rows.BEST_FIRST)
    )
    free = bool(filters.assignees) or filters.assigned is not None

    def considered(*columns: Any) -> Readiness:
        task, status, priority, due, title, *facts = columns
        reasons = tuple(_reasons(tx.actor, status, *facts, anybody=free))
        return Readiness(task, not reasons, status, priority, due, title, reasons)

    found = tx.rows(query, params | {"limit": limit, "actor": tx.actor}, considered)
    if not found:
        listing.check_names(tx, filters)
    return found


def _reasons(
    actor: str,
    status: str,
    blockers: Sequence[int],
    waiting_parent: int | None,
    open_parts: Sequence[int],
    holder: str | None,
    expires_at: datetime | None,
    expired: bool | None,
    assignees: Sequence[str],
    project: str | None,
    archived: bool,
    limit: int | None,
    working: Sequence[int],
    *,
    anybody: bool,
) -> Iterator[str]:
    """Yield what stands against claiming a task."""
    if status == "in_progress" and holder is None:
        yield "in progress, without a lease that could expire"
    elif status == "in_progress" and not expired:
        yield f"claimed by {holder} until {expires_at:%Y-%m-%d %H:%M:%S} UTC"
    if blockers:
        yield f"waits for {_listed(blockers)}"
    if waiting_parent is not None:
        yield f"its parent {waiting_parent} waits"
    if open_parts:
        yield f"parts are open: {_listed(open_parts)}"
    if assignees and not anybody and actor.lower() not in map(str.lower, assignees):
        yield f"assigned to {', '.join(assignees)}"
    if archived:
        yield f"project {project} is archived"
    elif limit is not None and len(working) >= limit and status == "todo":
        yield f"project {project} has its {limit} in progress: {_listed(working)}"


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids))
