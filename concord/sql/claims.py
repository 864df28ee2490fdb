"""Claims: who works on which task, for how long, and what fences off those who lost theirs.

A claim is a lease: it ends at a time of the database's clock unless its holder renews it. Every
claim of a task has an epoch, greater than all before it. A write that names an epoch is refused
when another claim was made since, or the lease has run out: whoever was stopped for longer than
the lease cannot write over the work of the next one.

Every change of a claim is made under the lock of its task's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import Conflict
from concord.sql import comments, listing, task_rows, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from concord.database import Transaction
    from concord.models import Task
    from concord.sql.listing import Filters

# Of a `coalesce` beside a column the planner does not know that it tells nothing of hidden rows: it
# would ask the policies first, row by row, instead of an index.
ME: LiteralString = "(SELECT coalesce(current_actor_id(), 0))"
"""The actor's id, or one that nobody has: whom nobody knows has nothing yet."""

# What is assigned to others is theirs, unless the assignment came with a claim that has expired.
# OFFSET keeps the planner from reading all assignments there are, to look up a few tasks in them.
MINE = sql.SQL("""(NOT EXISTS (
        SELECT FROM assignments x LEFT JOIN claims c
            ON c.task_id = x.task_id AND c.user_id = x.user_id AND c.assigned
        WHERE x.task_id = t.id AND x.user_id <> {me} AND c.task_id IS NULL OFFSET 0
    ) OR EXISTS (
        SELECT FROM assignments x WHERE x.task_id = t.id AND x.user_id = {me} OFFSET 0
    ))""").format(me=sql.SQL(ME))

# What is in progress is counted where there is a limit, and no further than to it.
CLOSED: LiteralString = """p.archived_at IS NOT NULL OR p.wip_limit IS NOT NULL AND p.wip_limit <= (
        SELECT count(*) FROM (
            SELECT FROM tasks w
            WHERE w.project_id = p.id AND w.status = 'in_progress' AND w.deleted_at IS NULL
            LIMIT p.wip_limit
        ) AS working
    )"""
"""Of a project `p`: nothing in it can be started now."""

NOT_ARCHIVED: LiteralString = """NOT EXISTS (
        SELECT FROM projects p WHERE p.id = t.project_id AND p.archived_at IS NOT NULL
    )"""
"""Of a task `t`."""

# The planner takes two bitmaps of the same tasks, of what is open and what is to do, for different
# ones. It then sees a handful where there are thousands, and would look at each of them and sort,
# instead of stopping at the first ready one, or looking up those of a tag or a person one by one.
# A part of a title, and a query, need bitmaps.
IN_ORDER: LiteralString = """
-- in_order: read by indexes in their order, for the rest of the transaction
SELECT set_config('enable_bitmapscan', 'off', true)
"""

# MATERIALIZED is a fence: were an inner query run again for each row, more would be locked than
# asked for. SKIP LOCKED passes over what others are just taking; FOR NO KEY UPDATE does not pass
# over a task that somebody is writing a comment about. No more is locked than is taken, or others
# would pass over what is left to them: what is to do only as far as it comes before the first
# lapsed one, and of those one at a time. The readiness of a task is a function for the planner's
# sake: joined to the links, it would read all of them to find the first few.
PICK = sql.SQL("""
-- pick_ready: the best ones that nobody holds; locked, so that they are ours to look at
WITH closed AS MATERIALIZED (
    SELECT p.id FROM projects p
    WHERE p.id = ANY(%(full)s) OR {closed}
), lapsed AS MATERIALIZED (
    SELECT t.id, t.priority,
           CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END AS due,
           t.created_at
    FROM claims c JOIN tasks t ON t.id = c.task_id
    WHERE c.expires_at <= statement_timestamp() AND t.status = 'in_progress' AND {conditions}
      AND {not_archived} AND NOT is_blocked(t.id) AND NOT has_open_child(t.id)
    ORDER BY {best_first}
), first_lapsed AS MATERIALIZED (
    SELECT priority, due, created_at, id FROM lapsed WHERE NOT %(any_order)s LIMIT 1
), to_do AS MATERIALIZED (
    SELECT t.id FROM tasks t
    WHERE t.status = 'todo' AND {conditions}
      AND ({best_first})
        < (coalesce((SELECT priority FROM first_lapsed), 'none'),
           coalesce((SELECT due FROM first_lapsed), 'infinity'),
           coalesce((SELECT created_at FROM first_lapsed), 'infinity'),
           coalesce((SELECT id FROM first_lapsed), 9223372036854775807))
      AND (t.project_id IS NULL OR t.project_id NOT IN (SELECT id FROM closed))
      AND NOT is_blocked(t.id) AND NOT has_open_child(t.id)
    ORDER BY {best_first}
    LIMIT %(count)s FOR NO KEY UPDATE OF t SKIP LOCKED
), expired AS MATERIALIZED (
    SELECT t.id FROM lapsed JOIN tasks t ON t.id = lapsed.id
    ORDER BY lapsed.priority, lapsed.due, lapsed.created_at, lapsed.id
    LIMIT (SELECT least(1, %(count)s - count(*)) FROM to_do) FOR NO KEY UPDATE OF t SKIP LOCKED
)
SELECT t.id AS task, t.status, p.id AS project, p.wip_limit
FROM (SELECT id FROM to_do UNION ALL SELECT id FROM expired) AS picked
JOIN tasks t ON t.id = picked.id
LEFT JOIN projects p ON p.id = t.project_id
ORDER BY {best_first}
""")

ENTER_LIMIT: LiteralString = """
-- enter_limit: until the end of the transaction nobody else starts anything in the project
SELECT pass_gate('limit:' || %(project)s::bigint)
"""

# A statement of its own after the gate: it sees what those before us have started.
ROOM: LiteralString = """
-- room: how many more the project may have in progress
SELECT p.wip_limit - count(w.id) FROM projects p
LEFT JOIN tasks w ON w.project_id = p.id AND w.status = 'in_progress' AND w.deleted_at IS NULL
WHERE p.id = %(project)s GROUP BY p.id
"""

# Between the snapshot of the pick and its locks, somebody may have linked, assigned, started or
# renewed one of them. Now that they are locked nobody can, and a later statement sees what is so.
STILL_READY = sql.SQL("""WITH still AS MATERIALIZED (
    SELECT t.id, t.status FROM tasks t LEFT JOIN claims k ON k.task_id = t.id
    WHERE t.id = ANY(%(ids)s) AND {conditions}
      AND (t.status = 'todo' OR t.status = 'in_progress' AND k.expires_at <= clock_timestamp())
      AND {not_archived} AND NOT is_blocked(t.id) AND NOT has_open_child(t.id)
)""")

# A statement of its own before the next one is assigned: history tells the two in this order.
UNASSIGN_LAPSED = sql.SQL("""
-- unassign_lapsed: whom nothing but a lease that has run out had assigned
{still}
DELETE FROM assignments x USING claims c, still
WHERE c.task_id = still.id AND c.assigned AND c.user_id <> {me}
  AND x.task_id = c.task_id AND x.user_id = c.user_id
""")

# A task that is taken over is not updated: it is in progress already.
TAKE = sql.SQL("""
-- take_picked: those that are still ready
{still}, started AS (
    UPDATE tasks SET status = 'in_progress' FROM still
    WHERE tasks.id = still.id AND still.status = 'todo'
), assigned AS (
    INSERT INTO assignments (task_id, user_id, assigned_by)
    SELECT id, {me}, {me} FROM still
    ON CONFLICT DO NOTHING RETURNING task_id
)
INSERT INTO claims (task_id, user_id, claimed_at, expires_at, assigned)
SELECT id, {me}, clock_timestamp(), clock_timestamp() + %(lease)s,
       id IN (SELECT task_id FROM assigned)
FROM still
ON CONFLICT (task_id) DO UPDATE
    SET epoch = claims.epoch + 1, user_id = excluded.user_id, claimed_at = excluded.claimed_at,
        expires_at = excluded.expires_at,
        assigned = excluded.assigned OR claims.assigned AND claims.user_id = excluded.user_id
RETURNING task_id
""")

HOLDER: LiteralString = """
-- show_holder: of a task's claim, and whether its lease has run out by now
SELECT h.username, c.epoch, c.expires_at, c.expires_at <= clock_timestamp()
FROM claims c LEFT JOIN users h ON h.id = c.user_id WHERE c.task_id = %(task)s
"""

RENEW: LiteralString = """
-- renew_claim: from now on
UPDATE claims SET expires_at = clock_timestamp() + %(lease)s WHERE task_id = %(task)s
"""


@transaction(isolation=Isolation.READ_COMMITTED)
def claim(
    tx: Transaction, filters: Filters, *, lease: timedelta, count: int = 1
) -> tuple[Task, ...]:
    """Take the best ready tasks, at most `count`, and return them; none if there is none.

    They are then in progress, assigned to the actor, and theirs for as long as the lease. What is
    assigned to others only is left to them, unless the filters speak of assignees. Raises
    `NotFound` if nothing matches and a filter names what does not exist.
    """
    parts, given = _claimable(tx, filters)
    given["lease"] = lease
    still, me = STILL_READY.format(**parts), sql.SQL(ME)
    taken: list[int] = []
    shown: dict[int, Task] = {}
    full: list[int] = []
    any_order = False
    if not filters.titles and filters.query is None:
        tx.execute(IN_ORDER)
    while len(taken) < count:
        asked = {"count": count - len(taken), "full": full, "any_order": any_order}
        pick = PICK.format(
            closed=sql.SQL(CLOSED), best_first=sql.SQL(task_rows.BEST_FIRST), **parts
        )
        picked = tx.rows(pick, given | asked, lambda *columns: columns)
        if not picked and any_order:
            break
        # Where others are just taking all that is lapsed, what comes after it is next.
        any_order = not picked
        if allowed := _within_limits(tx, picked, full):
            of = given | {"ids": [task for task, _ in allowed]}
            if any(status == "in_progress" for _, status in allowed):
                tx.execute(UNASSIGN_LAPSED.format(still=still, me=me), of)
            taking = tx.later(TAKE.format(still=still, me=me), of, int)
            shown |= {task.id: task for task in task_rows.fetch(tx, of["ids"])}
            got = frozenset(taking())
            taken += [task for task, _ in allowed if task in got]
    if not taken:
        listing.check_names(tx, filters)
    return tuple(shown[task] for task in taken)


@transaction(isolation=Isolation.READ_COMMITTED)
def renew(tx: Transaction, task: int, epoch: int, *, lease: timedelta) -> Task:
    """Hold a task for another lease from now on. Raises `NotFound`, `Conflict` if it was lost."""
    task_rows.lock(tx, [task])
    require_held(tx, task, epoch)
    tx.execute(RENEW, {"task": task, "lease": lease})
    return task_rows.fetch(tx, [task])[0]


@transaction(isolation=Isolation.READ_COMMITTED)
def release(tx: Transaction, task: int, epoch: int, *, comment: str | None = None) -> Task:
    """Give a task back: it is to do again, and no longer the actor's.

    Raises `NotFound`, `Conflict` if the claim was lost.
    """
    task_rows.lock(tx, [task])
    require_held(tx, task, epoch)
    if comment is not None:
        comments.write(tx, [task], comment)
    return tasks.set_status(tx, [task], "todo")[0]


@transaction(isolation=Isolation.READ_COMMITTED)
def complete(tx: Transaction, task: int, epoch: int, *, nowait: bool = False) -> Task:
    """Complete a task that the actor holds. Raises `NotFound`, `Conflict` if it was lost."""
    task_rows.lock(tx, [task], nowait=nowait)
    require_held(tx, task, epoch)
    return tasks.set_status(tx, [task], "completed")[0]


def require_held(tx: Transaction, task: int, epoch: int) -> None:
    """Raise `Conflict`, with the next answer, unless the actor holds a task at this epoch.

    The task is locked.
    """
    tx.check(
        HOLDER,
        {"task": task},
        lambda found: _require_held(tx, task, epoch, *(found or (None,))),
        shape=_holder,
    )


def _require_held(
    tx: Transaction,
    task: int,
    epoch: int,
    found: tuple[str | None, int, datetime | None, bool | None] | None,
) -> None:
    holder, current, expires_at, expired = found or (None, None, None, None)
    facts = {
        "task": task,
        "expected": epoch,
        "epoch": current,
        "by": holder,
        "expires_at": expires_at,
    }
    hint = "Take it anew, or another one: concord task claim"
    if holder is None:
        since = " any more" if found else ""
        raise Conflict(f"task {task} is not claimed{since}", hint=hint, **facts)
    if (holder.lower(), current) != (tx.actor.lower(), epoch):
        raise Conflict(
            f"task {task} is claimed by {holder} at epoch {current}, not by you at {epoch}",
            hint=hint,
            **facts,
        )
    if expired:
        raise Conflict(f"your lease of task {task} ran out at {expires_at}", hint=hint, **facts)


def _claimable(
    tx: Transaction, filters: Filters
) -> tuple[dict[str, sql.Composable], dict[str, Any]]:
    """Return the conditions on tasks `t` that a claim goes by, and their parameters."""
    conditions, given = listing.conditions_of(tx, filters)
    if not filters.assignees and filters.assigned is None:
        conditions.append(MINE)
    together = sql.SQL("\n    AND ").join(conditions)
    return {"conditions": together, "not_archived": sql.SQL(NOT_ARCHIVED)}, given


def _within_limits(
    tx: Transaction,
    picked: Sequence[tuple[int, str, int | None, int | None]],
    full: list[int],
) -> list[tuple[int, str]]:
    """Return those that the limits of their projects allow, with their status.

    Adds to `full` what turns out to be so.
    """
    allowed: list[tuple[int, str]] = []
    rooms: dict[int, int] = {}
    # In the order in which everybody passes the gates; a task comes before its project's gate, as
    # in every command that starts one.
    limited = {
        project
        for _, status, project, limit in picked
        if project is not None and limit is not None and status == "todo"
    }
    for project in sorted(limited):
        tx.execute(ENTER_LIMIT, {"project": project})
        rooms[project] = tx.scalar(ROOM, {"project": project})
    for task, status, project, _ in picked:
        if status == "todo" and project in rooms:
            if rooms[project] <= 0:
                full.append(project)
                continue
            rooms[project] -= 1
        allowed.append((task, status))
    return allowed


def _holder(
    by: str | None, epoch: int, expires_at: datetime | None, expired: bool | None
) -> tuple[str | None, int, datetime | None, bool | None]:
    return by, epoch, expires_at, expired
