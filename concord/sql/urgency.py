"""What to do next: the tasks that are ready and the actor's to do, by urgency.

Urgency is a sum of terms, each a weight of the user's times a factor in 0..1:

- priority: urgent 1, high 0.75, medium 0.5, low 0.25;
- due: 0.2 from two weeks ahead, rising evenly to 1 a week past the date; nothing without a date;
- age, of a task without a due date (one that has a date says when it presses): 1 after a year;
- blocking: n / (n + 1) for n open tasks that wait for it;
- in progress: 1 if the actor is at it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord import dates
from concord.database import Isolation, transaction
from concord.models import Suggestion
from concord.sql import claims, listing, task_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from decimal import Decimal

    from concord.database import Transaction
    from concord.models import Task
    from concord.sql.listing import Filters

# The best ones without a look at all of them. Of the tasks of one priority that have a due date and
# block nothing, an earlier date is never less urgent; of those without a date, an older one. Both
# orders are that of the index of what is to do. So the first n of all are among the first n of each
# such class, those that others wait for, and those that are in progress; and as rounding keeps the
# order too, ties are no exception. Whether a task is blocked costs most: it is asked after all
# else, in order of urgency, until enough are found that are not.
RANK = sql.SQL("""
-- rank_tasks: the most urgent of what is ready and the actor's
WITH closed AS MATERIALIZED (
    SELECT p.id FROM projects p WHERE {closed}
), waited_for AS MATERIALIZED (
    SELECT blocker_id AS id, count(*) AS others FROM open_links GROUP BY blocker_id
), best AS (
    SELECT first.id FROM unnest(enum_range(NULL::task_priority)) AS class (priority)
    CROSS JOIN LATERAL (
        (SELECT t.id FROM tasks t
         WHERE t.status = 'todo' AND {conditions} AND {startable}
           AND t.priority = class.priority
           AND CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END < 'infinity'
           AND CASE WHEN {mine} THEN NOT is_blocked(t.id) AND NOT has_open_child(t.id) END
         ORDER BY CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END,
                  t.created_at, t.id
         LIMIT %(limit)s)
        UNION ALL
        (SELECT t.id FROM tasks t
         WHERE t.status = 'todo' AND {conditions} AND {startable}
           AND t.priority = class.priority
           AND CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END = 'infinity'
           AND CASE WHEN {mine} THEN NOT is_blocked(t.id) AND NOT has_open_child(t.id) END
         ORDER BY t.created_at, t.id
         LIMIT %(limit)s)
    ) AS first
    UNION
    SELECT t.id FROM tasks t JOIN waited_for ON waited_for.id = t.id
    WHERE t.status = 'todo' AND {conditions} AND {startable}
      -- Always true; it makes the planner ask what costs more of those alone that others wait for.
      AND CASE WHEN waited_for.others > 0 THEN {mine} END
), working AS (
    SELECT t.id, coalesce(c.user_id, {me}) = {me} AS by_me
    FROM tasks t LEFT JOIN LATERAL (
        SELECT user_id, expires_at FROM claims WHERE task_id = t.id OFFSET 0
    ) AS c ON true
    -- Whatever the rest can be true of, as indexes find it.
    WHERE t.id IN (
        SELECT task_id FROM claims WHERE user_id = {me}
        UNION SELECT task_id FROM claims WHERE expires_at <= statement_timestamp()
        UNION SELECT task_id FROM assignments WHERE user_id = {me}
        UNION SELECT id FROM tasks
        WHERE owner_id = {me} AND status = 'in_progress' AND deleted_at IS NULL
    ) AND t.status = 'in_progress' AND {conditions}
      AND (c.user_id = {me} OR c.expires_at <= statement_timestamp() AND {not_archived} AND {mine}
           OR c.user_id IS NULL AND CASE
               WHEN EXISTS (SELECT FROM assignments x WHERE x.task_id = t.id)
               THEN EXISTS (SELECT FROM assignments x
                            WHERE x.task_id = t.id AND x.user_id = {me})
               ELSE t.owner_id = {me} END)
), terms AS (
    SELECT t.id, t.priority AS class,
           CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END AS until,
           t.created_at, candidate.by_me, coalesce(waited_for.others, 0) AS others,
           round(CASE t.priority
               WHEN 'urgent' THEN 1 WHEN 'high' THEN 0.75 WHEN 'medium' THEN 0.5
               WHEN 'low' THEN 0.25 ELSE 0 END * %(urgency_priority)s, 2) AS priority,
           CASE WHEN t.due IS NULL THEN 0 ELSE round(least(1, greatest(0.2,
               0.2 + (14 - extract(epoch FROM t.due - %(now)s) / 86400) * 0.8 / 21
           )) * %(urgency_due)s, 2) END AS due,
           CASE WHEN t.due IS NOT NULL THEN 0 ELSE round(least(1, greatest(0,
               extract(epoch FROM %(now)s - t.created_at) / 86400 / 365
           )) * %(urgency_age)s, 2) END AS age,
           round(coalesce(waited_for.others, 0) * %(urgency_blocking)s
               / (coalesce(waited_for.others, 0) + 1), 2) AS blocking,
           CASE WHEN candidate.by_me THEN round(%(urgency_in_progress)s, 2) ELSE 0 END
               AS in_progress
    FROM (SELECT id, false AS by_me FROM best UNION ALL SELECT id, by_me FROM working) AS candidate
    JOIN tasks t ON t.id = candidate.id
    LEFT JOIN waited_for ON waited_for.id = t.id
), ranked AS (
    SELECT id, class, until, created_at, by_me, others, priority, due, age, blocking, in_progress,
           priority + due + age + blocking + in_progress AS urgency
    FROM terms ORDER BY urgency DESC, class, until, created_at, id
    OFFSET 0
)
SELECT id, by_me, others, urgency, priority, due, age, blocking, in_progress
FROM ranked
WHERE NOT is_blocked(id) AND NOT has_open_child(id)
ORDER BY urgency DESC, class, until, created_at, id
LIMIT %(limit)s
""")


STARTABLE: LiteralString = "(t.project_id IS NULL OR t.project_id NOT IN (SELECT id FROM closed))"


@dataclass(frozen=True, slots=True)
class Weights:
    """What each term of an urgency is worth at most."""

    priority: Decimal
    due: Decimal
    age: Decimal
    blocking: Decimal
    in_progress: Decimal


@transaction(isolation=Isolation.REPEATABLE_READ, read_only=True)
def suggest(
    tx: Transaction,
    filters: Filters,
    *,
    weights: Weights,
    now: datetime,
    limit: int | None = None,
) -> tuple[Suggestion, ...]:
    """Return what is ready and the actor's to do, the most urgent first.

    That is what a claim could take (what nobody else is assigned to, unless the filters speak of
    assignees), and what is in progress by the actor. `now` is aware and in the user's zone;
    `limit` is the most tasks, `None` for all. Raises `NotFound` if nothing matches and a filter
    names what does not exist.
    """
    wanted = listing.asked(tx.actor, filters)
    query, given = compose(wanted, filters, weights)
    listing.look_up(tx, wanted)
    ranked = tx.rows(query, given | {"now": now, "limit": limit}, _Ranked)
    if not ranked:
        listing.check_names(tx, filters)
    tx.last()
    found = {task.id: task for task in task_rows.fetch(tx, [row.id for row in ranked])}
    return tuple(
        Suggestion(
            found[row.id],
            float(row.urgency),
            {name: float(getattr(row, name)) for name in asdict(weights)},
            ", ".join(_reasons(found[row.id], row, now)) or "ready",
        )
        for row in ranked
    )


def compose(
    wanted: listing.Asked, filters: Filters, weights: Weights
) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the query of a ranking and its parameters, but for `now` and `limit`."""
    anybody = bool(filters.assignees) or filters.assigned is not None
    query = RANK.format(
        closed=sql.SQL(claims.CLOSED),
        not_archived=sql.SQL(claims.NOT_ARCHIVED),
        startable=sql.SQL(STARTABLE),
        conditions=sql.SQL("\n      AND ").join(wanted.conditions),
        mine=sql.SQL("true") if anybody else claims.MINE,
        me=sql.SQL(claims.ME),
    )
    return query, wanted.params | {
        f"urgency_{name}": value for name, value in asdict(weights).items()
    }


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A row of `RANK`."""

    id: int
    by_me: bool
    others: int
    urgency: Decimal
    priority: Decimal
    due: Decimal
    age: Decimal
    blocking: Decimal
    in_progress: Decimal


def _reasons(task: Task, row: _Ranked, now: datetime) -> Iterator[str]:
    """Yield, in a few words each, what makes a task urgent."""
    if row.by_me:
        yield "in progress"
    elif task.claim is not None:
        yield f"the lease of {task.claim.by} ran out"
    if task.due is not None:
        word = "due" if task.due > now else "overdue since"
        yield f"{word} {dates.format_local(task.due, now=now)}"
    if task.priority != "none":
        yield task.priority
    if row.others:
        yield f"blocks {row.others} {'other' if row.others == 1 else 'others'}"
    if row.age and task.due is None:
        yield f"{(now - task.created_at).days} days old"
