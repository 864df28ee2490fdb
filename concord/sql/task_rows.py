"""The rows of tasks: how every operation reads, locks and misses them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from concord.errors import NotFound
from concord.models import Claim, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.database import Transaction

More = TypeVar("More", bound=Task)

COLUMNS: LiteralString = """
SELECT t.id, t.uid, p.key AS project, t.title, t.description, t.status, t.priority, t.due,
       ARRAY(SELECT g.name FROM task_tags x JOIN tags g ON g.id = x.tag_id
             WHERE x.task_id = t.id ORDER BY g.name) AS tags,
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
FROM tasks t
JOIN users o ON o.id = t.owner_id
LEFT JOIN projects p ON p.id = t.project_id
LEFT JOIN claims k ON k.task_id = t.id
LEFT JOIN users h ON h.id = k.user_id
"""
"""The columns of `models.Task`, in its order; the last three are its claim."""

_LISTS = (8, 9, 23, 24, 25)
"""Which of the columns are arrays."""

SHOW: LiteralString = (
    """-- show_tasks: by id, in the trash or not
"""
    + COLUMNS
    + "WHERE t.id = ANY(%(ids)s) ORDER BY t.id"
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

IN_TRASH: LiteralString = """
-- in_trash: which of these tasks are in the trash
SELECT id FROM tasks WHERE id = ANY(%(ids)s) AND deleted_at IS NOT NULL
"""


def task(*columns: Any) -> Task:
    """Return a row of `COLUMNS` as a task."""
    *values, by, epoch, expires_at = columns
    for place in _LISTS:
        values[place] = tuple(values[place])
    return Task(*values, claim=None if by is None else Claim(by, epoch, expires_at))


def told_more(model: Callable[..., More], task: Task, **more: Any) -> More:
    """Return a task as a model that adds fields to it."""
    return model(**{field.name: getattr(task, field.name) for field in fields(task)}, **more)


def lock(tx: Transaction, ids: Sequence[int], *, nowait: bool = False) -> None:
    """Lock tasks until the end of the transaction.

    Raises `NotFound` naming those that do not exist; with `nowait`, an error of SQLSTATE 55P03
    for a row that somebody holds.
    """
    require(tx, ids, tx.scalars(LOCK_NOWAIT if nowait else LOCK, {"ids": list(ids)}))


def require_present(tx: Transaction, ids: Sequence[int]) -> None:
    """Raise `NotFound` unless all tasks exist outside the trash."""
    require(tx, ids, tx.scalars(PRESENT, {"ids": list(ids)}))


def require(tx: Transaction, ids: Sequence[int], found: Sequence[int]) -> None:
    """Raise `NotFound` unless all wanted tasks were found."""
    missing = sorted(set(ids) - set(found))
    if not missing:
        return
    trashed = tx.scalars(IN_TRASH, {"ids": missing})
    if trashed:
        raise NotFound(
            f"in the trash: {listed(trashed)}",
            hint=f"Bring it back: concord task restore {' '.join(map(str, trashed))}",
            tasks=list(trashed),
        )
    raise NotFound(
        f"no such task: {listed(missing)}",
        hint="See what there is: concord task list",
        tasks=missing,
    )


def fetch(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
    """Return tasks in the order asked for, those in the trash too."""
    found = {row.id: row for row in tx.rows(SHOW, {"ids": list(ids)}, task)}
    return tuple(found[i] for i in dict.fromkeys(ids) if i in found)


def listed(ids: Sequence[int]) -> str:
    """Return task ids as a sentence names them."""
    return ", ".join(map(str, ids))
