"""Comments: what people say about tasks. Nobody's edit is stale because somebody spoke."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.models import Comment, Task, TaskInFull
from concord.sql import task_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.database import Transaction

COLUMNS: LiteralString = """
SELECT c.id, c.task_id AS task, a.username AS author, c.body, c.external_ref, c.created_at
FROM comments c JOIN users a ON a.id = c.author_id
"""
"""The columns of `models.Comment`, in its order."""

OF_TASKS: LiteralString = (
    "-- comments_of_tasks: oldest first\n"
    + COLUMNS
    + "WHERE c.task_id = ANY(%(tasks)s) ORDER BY c.created_at, c.id"
)

# The foreign key holds the task against being purged; one in the trash is none to speak about. No
# lock is taken: of two who speak at once, both are heard.
INSERT: LiteralString = """
-- insert_comments: the same on each of the tasks
INSERT INTO comments (task_id, author_id, body)
SELECT id,
       current_actor_id(),
       %(body)s
FROM tasks
WHERE id = ANY(%(tasks)s) AND deleted_at IS NULL ORDER BY tasks.id
RETURNING task_id
"""


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def show(tx: Transaction, ids: Sequence[int]) -> tuple[TaskInFull, ...]:
    """Return tasks by id, with all that was said about them. Raises `NotFound`."""
    comments = _spoken(tx, ids)
    found = task_rows.fetch(tx, ids)
    task_rows.require(tx, ids, [task.id for task in found])
    return _told(found, comments())


@transaction(isolation=Isolation.READ_COMMITTED)
def add(tx: Transaction, ids: Sequence[int], body: str) -> tuple[TaskInFull, ...]:
    """Say something about tasks and return them with all that was said.

    Raises `NotFound`, and `Usage` for a comment that says nothing.
    """
    write(tx, ids, body)
    comments = _spoken(tx, ids)
    return _told(task_rows.fetch(tx, ids), comments())


def write(tx: Transaction, ids: Sequence[int], body: str) -> None:
    """Put a comment on tasks. Raises `NotFound`, with the next answer."""
    tx.check(
        INSERT,
        {"tasks": list(ids), "body": body},
        lambda found: task_rows.require(tx, ids, found),
    )


def in_full(tx: Transaction, found: Sequence[Task]) -> tuple[TaskInFull, ...]:
    """Return tasks with what was said about them."""
    return _told(found, _spoken(tx, [task.id for task in found])())


def _spoken(tx: Transaction, ids: Sequence[int]) -> Callable[[], tuple[Comment, ...]]:
    return tx.later(OF_TASKS, {"tasks": list(ids)}, Comment)


def _told(found: Sequence[Task], comments: Sequence[Comment]) -> tuple[TaskInFull, ...]:
    spoken: defaultdict[int, list[Comment]] = defaultdict(list)
    for comment in comments:
        spoken[comment.task].append(comment)
    return tuple(
        TaskInFull(
            **{field.name: getattr(task, field.name) for field in fields(task)},
            comments=tuple(spoken[task.id]),
        )
        for task in found
    )
