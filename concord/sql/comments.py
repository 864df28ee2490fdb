"""Comments: what people say about tasks. Nobody's edit is stale because somebody spoke."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.models import Comment, Task, TaskInFull
from concord.sql import task_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

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
SELECT id, %(author_id)s, %(body)s FROM tasks
WHERE id = ANY(%(tasks)s) AND deleted_at IS NULL ORDER BY id
RETURNING task_id
"""


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def show(tx: Transaction, ids: Sequence[int]) -> tuple[TaskInFull, ...]:
    """Return tasks by id, with all that was said about them. Raises `NotFound`."""
    found = task_rows.fetch(tx, ids)
    task_rows.require(tx, ids, [task.id for task in found])
    return in_full(tx, found)


@transaction(isolation=Isolation.READ_COMMITTED)
def add(tx: Transaction, ids: Sequence[int], body: str) -> tuple[TaskInFull, ...]:
    """Say something about tasks and return them with all that was said.

    Raises `NotFound`, and `Usage` for a comment that says nothing.
    """
    task_rows.require(tx, ids, write(tx, ids, body))
    return in_full(tx, task_rows.fetch(tx, ids))


def write(tx: Transaction, ids: Sequence[int], body: str) -> tuple[int, ...]:
    """Put a comment on those of the tasks that are not in the trash, and return these."""
    given = {"tasks": list(ids), "author_id": tx.actor_id, "body": body}
    return tx.scalars(INSERT, given)


def in_full(tx: Transaction, found: Sequence[Task]) -> tuple[TaskInFull, ...]:
    """Return tasks with what was said about them."""
    spoken: defaultdict[int, list[Comment]] = defaultdict(list)
    for comment in tx.rows(OF_TASKS, {"tasks": [task.id for task in found]}, Comment):
        spoken[comment.task].append(comment)
    return tuple(
        TaskInFull(
            **{field.name: getattr(task, field.name) for field in fields(task)},
            comments=tuple(spoken[task.id]),
        )
        for task in found
    )
