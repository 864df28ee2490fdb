"""The rows of tasks: how every operation reads, locks and misses them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from concord.errors import Forbidden, NotFound
from concord.models import Claim, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.database import Transaction

More = TypeVar("More", bound=Task)

# A tag's name is a subquery, because a join with so small a table reads all of it for each task.
FACTS: LiteralString = """
SELECT t.id, t.uid, p.key AS project, t.title, t.description, t.status, t.priority, t.due,
       ARRAY(SELECT (SELECT name FROM tags WHERE id = x.tag_id) FROM task_tags x
             WHERE x.task_id = t.id ORDER BY 1) AS tags,
       ARRAY(SELECT a.username FROM assignments x JOIN users a ON a.id = x.user_id
             WHERE x.task_id = t.id ORDER BY a.username) AS assignees,
       o.username AS owner, t.external_ref, t.parent_id AS parent, t.version,
       t.created_at, t.updated_at, t.completed_at, t.deleted_at, t.started_at, t.canceled_at,
       t.auto_close, t.recurrence, t.previous_id AS previous,
       ARRAY(SELECT l.blocker_id FROM links l WHERE l.blocked_id = t.id ORDER BY 1) AS blocked_by,
       ARRAY(SELECT l.blocked_id FROM links l WHERE l.blocker_id = t.id ORDER BY 1) AS blocks,
       ARRAY(SELECT c.id FROM tasks c
             WHERE c.parent_id = t.id AND c.deleted_at IS NULL ORDER BY 1) AS children,
       h.username AS claim_by, k.epoch AS claim_epoch, k.expires_at AS claim_expires_at
"""
"""The columns of `models.Task`, in its order; the last three are its claim."""

JOINS: LiteralString = """
JOIN users o ON o.id = t.owner_id
LEFT JOIN projects p ON p.id = t.project_id
LEFT JOIN claims k ON k.task_id = t.id
LEFT JOIN users h ON h.id = k.user_id
"""
"""What `FACTS` of tasks `t` are taken from besides."""

COLUMNS: LiteralString = FACTS + "FROM tasks t" + JOINS
"""All tasks, for a condition to follow."""

BEST_FIRST: LiteralString = (
    "t.priority, CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END,"
    " t.created_at, t.id"
)
"""The order in which open tasks `t` are taken: that of the indexes of what is to do.

What has no due date comes last. It is no `coalesce`, because the planner would ask a condition on
that only after row-level security, without an index.
"""

_LISTS = (8, 9, 23, 24, 25)
"""Which of the columns are arrays."""

SHOW: LiteralString = (
    """-- show_tasks: by id, in the trash or not
"""
    + COLUMNS
    + "WHERE t.id = ANY(%(ids)s) ORDER BY t.id"
)

SHOW_NEW: LiteralString = (
    """-- show_new_task: that was made last, whose id nobody knows yet
"""
    + COLUMNS
    # As a subquery it is asked once; `currval`, which may change, would be asked of every task.
    + "WHERE t.id = (SELECT currval(pg_get_serial_sequence('tasks', 'id')))"
)

# In id order, so that two bulk commands queue up behind each other instead of deadlocking. A row
# that another transaction trashed while we waited is checked again, and then is not among ours.
LOCK: LiteralString = """
-- lock_tasks: until the end of the transaction
SELECT id FROM tasks WHERE id = ANY(%(ids)s) AND deleted_at IS NULL ORDER BY id FOR UPDATE
"""

LOCK_NOWAIT: LiteralString = """
-- lock_tasks_nowait: or fail at once
SELECT id FROM tasks WHERE id = ANY(%(ids)s) AND deleted_at IS NULL ORDER BY id FOR UPDATE NOWAIT
"""

PRESENT: LiteralString = """
-- present: which of these tasks are not in the trash
SELECT id FROM tasks WHERE id = ANY(%(ids)s) AND deleted_at IS NULL
"""

SEEN: LiteralString = """
-- seen: those of these tasks that the actor may see, and whether they are in the trash
SELECT id, deleted_at IS NOT NULL FROM tasks WHERE id = ANY(%(ids)s) ORDER BY id
"""


def task(*columns: Any) -> Task:
    """Return a row of `FACTS` as a task."""
    *values, by, epoch, expires_at = columns
    for place in _LISTS:
        values[place] = tuple(values[place])
    return Task(*values, claim=None if by is None else Claim(by, epoch, expires_at))


def told_more(model: Callable[..., More], task: Task, **more: Any) -> More:
    """Return a task as a model that adds fields to it."""
    return model(**{field.name: getattr(task, field.name) for field in fields(task)}, **more)


def lock(tx: Transaction, ids: Sequence[int], *, nowait: bool = False) -> None:
    """Lock tasks until the end of the transaction, before any statement that comes after.

    Raises `NotFound` naming those that do not exist; with `nowait`, an error of SQLSTATE 55P03
    for a row that somebody holds: with the next answer, as `Transaction.check` does.
    """
    tx.check(
        LOCK_NOWAIT if nowait else LOCK,
        {"ids": list(ids)},
        lambda found: require(tx, ids, found),
    )


def require_present(tx: Transaction, ids: Sequence[int]) -> None:
    """Raise `NotFound`, with the next answer, unless all tasks exist outside the trash."""
    tx.check(PRESENT, {"ids": list(ids)}, lambda found: require(tx, ids, found))


def require(tx: Transaction, ids: Sequence[int], found: Sequence[int]) -> None:
    """Raise `NotFound` unless all wanted tasks were found, `Forbidden` for those only seen."""
    missing = sorted(set(ids) - set(found))
    if not missing:
        return
    seen: tuple[tuple[int, bool], ...] = tx.rows(SEEN, {"ids": missing}, lambda *row: row)
    trashed = [task for task, is_trashed in seen if is_trashed]
    if trashed:
        raise NotFound(
            f"in the trash: {listed(trashed)}",
            hint=f"Bring it back: concord task restore {' '.join(map(str, trashed))}",
            tasks=trashed,
        )
    if seen:
        # A row that is seen and cannot be locked.
        kept = [task for task, _ in seen]
        raise Forbidden(
            f"not yours to change: {listed(kept)}",
            hint="You may look on in its project. An owner of the project can let you in:"
            " concord project member add KEY NAME",
            tasks=kept,
        )
    raise NotFound(
        f"no such task: {listed(missing)}",
        hint="See what there is: concord task list",
        tasks=missing,
    )


def fetch(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
    """Return tasks in the order asked for, those in the trash too."""
    return fetch_later(tx, ids)()


def fetch_later(tx: Transaction, ids: Sequence[int]) -> Callable[[], tuple[Task, ...]]:
    """Return what gives the tasks as they are at this point, with the answers to what follows."""
    rows = tx.later(SHOW, {"ids": list(ids)}, task)

    def fetched() -> tuple[Task, ...]:
        found = {row.id: row for row in rows()}
        return tuple(found[i] for i in dict.fromkeys(ids) if i in found)

    return fetched


def fetch_new(tx: Transaction) -> Task:
    """Return the task that the transaction has made last."""
    (made,) = tx.rows(SHOW_NEW, None, task)
    return made


def listed(ids: Sequence[int]) -> str:
    """Return task ids as a sentence names them."""
    return ", ".join(map(str, ids))
