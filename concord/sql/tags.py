"""Tags: labels that tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.errors import NotFound
from concord.models import Tag
from concord.sql import task_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.database import Transaction
    from concord.models import Task

COLUMNS: LiteralString = """
SELECT g.id, g.name,
       (SELECT count(*) FROM task_tags x JOIN tasks t ON t.id = x.task_id
        WHERE x.tag_id = g.id AND t.deleted_at IS NULL) AS tasks
FROM tags g
"""
"""The columns of `models.Tag`, in its order."""

LIST: LiteralString = """
-- list_tags: by name, with how many tasks carry each
SELECT g.id, g.name, coalesce(used.tasks, 0) AS tasks
FROM tags g LEFT JOIN (
    SELECT tag_id, count(*) AS tasks FROM tasks_by_tag WHERE deleted_at IS NULL GROUP BY tag_id
) AS used ON used.tag_id = g.id
ORDER BY lower(g.name)
"""

SHOW: LiteralString = (
    "-- show_tag: without regard to case\n" + COLUMNS + "WHERE lower(g.name) = lower(%(name)s)"
)

# The lock keeps a tag from being renamed or removed before the statement that looks for it by name.
NAMES: LiteralString = """
-- tag_names: those that exist, as they were given; they stay until the end of the transaction
SELECT given.name
FROM unnest(%(names)s::text[]) AS given(name) JOIN tags g ON lower(g.name) = lower(given.name)
FOR SHARE OF g
"""

ADD: LiteralString = """
-- add_tag: for everybody; a name that is taken is a conflict
SELECT add_tag(%(name)s)
"""

ATTACH: LiteralString = """
-- attach_tags: pair by pair; one that is there stays, and tags that do not exist yet appear
SELECT put_tags(%(tasks)s::bigint[], %(names)s::text[])
"""

DETACH: LiteralString = """
-- detach_tags: one that is not there is nothing to do
DELETE FROM task_tags x USING tags g
WHERE x.task_id = ANY(%(tasks)s) AND g.id = x.tag_id
  AND lower(g.name) = ANY(SELECT lower(name) FROM unnest(%(names)s::text[]) AS name)
"""

DETACH_ALL: LiteralString = """
-- detach_all_tags: of tasks that go
DELETE FROM task_tags WHERE task_id = ANY(%(tasks)s)
"""

RENAME: LiteralString = """
-- rename_tag: on every task at once
UPDATE tags SET name = %(new)s WHERE lower(name) = lower(%(name)s) RETURNING id
"""

# The tag's row lock keeps new tasks from getting it, because their foreign key waits for it.
LOCK: LiteralString = """
-- lock_tag: against being attached anew
SELECT id FROM tags WHERE lower(name) = lower(%(name)s) FOR UPDATE
"""

# Tasks before their tags, as every command that tags does: one order of locks for all.
LOCK_TASKS: LiteralString = """
-- lock_tagged_tasks: in id order
SELECT t.id FROM tasks t
WHERE t.id IN (SELECT x.task_id FROM task_tags x JOIN tags g ON g.id = x.tag_id
               WHERE lower(g.name) = lower(%(name)s))
ORDER BY t.id FOR UPDATE
"""

DETACH_TAG: LiteralString = """
-- detach_tag: from all tasks
DELETE FROM task_tags WHERE tag_id IN (SELECT id FROM tags WHERE lower(name) = lower(%(name)s))
"""

DELETE: LiteralString = """
-- delete_tag: once no task carries it
DELETE FROM tags WHERE lower(name) = lower(%(name)s) RETURNING id
"""


def attach(tx: Transaction, ids: Sequence[int], names: Sequence[str]) -> None:
    """Put tags on tasks that the transaction holds locked, or has made; unknown tags appear."""
    put(tx, [(task, name) for task in ids for name in names])


def put(tx: Transaction, pairs: Sequence[tuple[int, str]]) -> None:
    """Put on each task, as `attach` does, the tag beside it."""
    if pairs:
        tasks, names = zip(*pairs, strict=True)
        tx.execute(ATTACH, {"tasks": list(tasks), "names": list(names)})


def detach_all(tx: Transaction, ids: Sequence[int]) -> None:
    """Take all tags off tasks that the transaction holds locked."""
    tx.execute(DETACH_ALL, {"tasks": list(ids)})


@transaction(isolation=Isolation.READ_COMMITTED)
def tag(
    tx: Transaction, ids: Sequence[int], names: Sequence[str], *, nowait: bool = False
) -> tuple[Task, ...]:
    """Put every tag on every task and return the tasks. Raises `NotFound` for a task."""
    task_rows.lock(tx, ids, nowait=nowait)
    attach(tx, ids, names)
    return task_rows.fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED)
def untag(
    tx: Transaction, ids: Sequence[int], names: Sequence[str], *, nowait: bool = False
) -> tuple[Task, ...]:
    """Take tags off tasks and return the tasks. Raises `NotFound` for a task or a tag."""
    task_rows.lock(tx, ids, nowait=nowait)
    _check(tx, names)
    tx.execute(DETACH, {"tasks": list(ids), "names": list(names)})
    return task_rows.fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def list_all(tx: Transaction) -> tuple[Tag, ...]:
    """Return all tags by name."""
    return tx.rows(LIST, None, Tag)


@transaction(isolation=Isolation.READ_COMMITTED)
def add(tx: Transaction, name: str) -> Tag:
    """Create a tag. Raises `Conflict` if the name is taken, `Usage` if it is none."""
    tx.execute(ADD, {"name": name})
    return fetch(tx, name)


@transaction(isolation=Isolation.READ_COMMITTED)
def rename(tx: Transaction, name: str, new: str) -> Tag:
    """Rename a tag on all its tasks. Raises `NotFound`, `Conflict`, `Usage`."""

    def look(found: Sequence[int]) -> None:
        if not found:
            raise not_found([name])

    tx.check(RENAME, {"name": name, "new": new}, look)
    return fetch(tx, new)


@transaction(isolation=Isolation.READ_COMMITTED)
def delete(tx: Transaction, name: str) -> Tag:
    """Remove a tag from all its tasks and for good. Raises `NotFound`."""
    gone = tx.later(SHOW, {"name": name}, Tag)
    tx.execute(LOCK_TASKS, {"name": name})
    tx.execute(LOCK, {"name": name})
    tx.execute(DETACH_TAG, {"name": name})
    if tx.scalar(DELETE, {"name": name}) is None:
        raise not_found([name])
    return gone()[0]


def fetch(tx: Transaction, name: str) -> Tag:
    """Return a tag by name. Raises `NotFound`."""
    found = tx.row(SHOW, {"name": name}, Tag)
    if found is None:
        raise not_found([name])
    return found


def not_found(names: Sequence[str]) -> NotFound:
    """Return the error for tags that do not exist."""
    return NotFound(
        f"no such tag: {', '.join(names)}", hint="See: concord tag list", tags=list(names)
    )


def _check(tx: Transaction, names: Sequence[str]) -> None:
    """Raise `NotFound`, with the next answer, unless all tags exist; keep them as they are."""

    def look(found: Sequence[str]) -> None:
        missing = [name for name in names if name not in found]
        if missing:
            raise not_found(missing)

    tx.check(NAMES, {"names": list(names)}, look)
