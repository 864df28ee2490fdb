"""Tasks: add, show, edit, move, change status, trash and purge.

Fields that are not named are never written: two people who edit different fields of one task
both keep what they wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import Conflict, Forbidden, Refused
from concord.models import Change
from concord.sql import assignments, links, projects, tags, users
from concord.sql.task_rows import (
    PRESENT,
    fetch,
    fetch_later,
    fetch_new,
    listed,
    lock,
    require,
    require_present,
)
from concord.translation import refused_as

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from concord.database import Transaction
    from concord.models import Task
    from concord.vocabulary import Priority, Status

INSERT: LiteralString = """
-- insert_task: its history row is the trigger's work
INSERT INTO tasks (project_id, title, description, status, priority, due, owner_id, parent_id,
                   auto_close, recurrence, recurrence_zone)
VALUES ((SELECT id FROM projects WHERE key = %(project)s::text),
        %(title)s, %(description)s, %(status)s, %(priority)s, %(due)s,
        current_actor_id(),
        %(parent)s, %(auto_close)s, %(recurrence)s, %(recurrence_zone)s)
RETURNING id
"""

LOCK_TRASH: LiteralString = """
-- lock_trash: tasks that are in the trash
SELECT id FROM tasks WHERE id = ANY(%(ids)s) AND deleted_at IS NOT NULL ORDER BY id FOR UPDATE
"""

CHANGES_SINCE: LiteralString = """
-- changes_since: what made a version stale
SELECT id, at, actor, operation, entity, entity_id, task_id, version, old, new, xid::text
FROM history
WHERE task_id = %(id)s AND version > %(version)s
ORDER BY id
"""

# One statement finds the row at its base version and changes it. A concurrent edit that commits
# first makes the WHERE be checked again on the new row, so exactly one of two equals succeeds.
UPDATE = sql.SQL(
    "-- update_tasks: only the fields that were named\n"
    "UPDATE tasks SET {fields} WHERE id = ANY(%(ids)s) AND deleted_at IS NULL RETURNING id"
)
UPDATE_VERSION = sql.SQL(
    "-- update_task_version: only if nobody changed it since\n"
    "UPDATE tasks SET {fields} WHERE id = ANY(%(ids)s) AND deleted_at IS NULL"
    " AND version = %(if_version)s RETURNING id"
)

OWNER = sql.SQL("owner_id = (SELECT id FROM users WHERE lower(username) = lower(%(owner)s))")

# Appending reads the row that it writes in the same statement, so no append overwrites another.
APPEND: dict[str, sql.SQL] = {
    "description": sql.SQL("coalesce(nullif(tasks.description, '') || E'\\n\\n', '') || %(append)s")
}

SET_STATUS: LiteralString = """
-- set_status: of tasks that are locked
UPDATE tasks SET status = %(status)s WHERE id = ANY(%(ids)s) AND status <> %(status)s
"""

# Whoever takes up a task whose lease has run out means to keep it: nobody is to claim it then.
# What such a claim of somebody else had assigned goes with it.
START: LiteralString = """
-- start_tasks: that are locked; their leases that have run out are over
WITH lapsed AS MATERIALIZED (
    SELECT task_id, user_id, assigned FROM claims
    WHERE task_id = ANY(%(ids)s) AND expires_at <= clock_timestamp()
), unassigned AS (
    DELETE FROM assignments x USING lapsed
    WHERE lapsed.assigned AND lapsed.user_id <> (SELECT current_actor_id())
      AND x.task_id = lapsed.task_id AND x.user_id = lapsed.user_id
), over AS (
    UPDATE claims c SET user_id = NULL, claimed_at = NULL, expires_at = NULL, assigned = false
    FROM lapsed WHERE c.task_id = lapsed.task_id
)
UPDATE tasks SET status = 'in_progress' WHERE id = ANY(%(ids)s) AND status <> 'in_progress'
"""

MOVE: LiteralString = """
-- move_tasks: to another project, or to the inbox
UPDATE tasks SET project_id = (SELECT id FROM projects WHERE key = %(project)s::text)
WHERE id = ANY(%(ids)s)
"""

TRASH: LiteralString = """
-- trash_tasks: they can be restored
UPDATE tasks SET deleted_at = now() WHERE id = ANY(%(ids)s)
"""

RESTORE: LiteralString = """
-- restore_tasks: from the trash
UPDATE tasks SET deleted_at = NULL WHERE id = ANY(%(ids)s) AND deleted_at IS NOT NULL
"""

PURGE: LiteralString = """
-- purge_tasks: for good; their history stays
DELETE FROM tasks WHERE id = ANY(%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a new task is to be. `project` is a key; without one it goes to the actor's inbox."""

    title: str
    project: str | None = None
    description: str | None = None
    status: Status = "todo"
    priority: Priority = "none"
    due: datetime | None = None
    tags: Sequence[str] = ()
    assignees: Sequence[str] = ()
    parent: int | None = None
    blocked_by: Sequence[int] = ()
    auto_close: bool = False
    recurrence: str | None = None
    recurrence_zone: str | None = None


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def show(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
    """Return tasks by id. Raises `NotFound`."""
    found = fetch(tx, ids)
    require(tx, ids, [row.id for row in found])
    return found


@transaction(isolation=Isolation.READ_COMMITTED)
def add(tx: Transaction, new: NewTask) -> Task:
    """Create a task and return it.

    Raises `NotFound` for its project, parent, blocker or an assignee, and `Refused` if its parent
    waits for a task that is to wait for it.
    """
    if new.parent is not None and new.blocked_by:
        # With a parent alone, or blockers alone, a task that is new closes no circle.
        links.enter(tx)
    if new.parent is not None:
        require_present(tx, [new.parent])
    if new.project:
        projects.share(tx, new.project)
    given = {
        "project": new.project or None,
        "title": new.title,
        "description": new.description,
        "status": new.status,
        "priority": new.priority,
        "due": new.due,
        "parent": new.parent,
        "auto_close": new.auto_close,
        "recurrence": new.recurrence,
        "recurrence_zone": new.recurrence_zone,
    }
    with refused_as(projects.closed(new.project or "none")):
        if not (new.tags or new.assignees or new.blocked_by):
            tx.execute(INSERT, given)
            return fetch_new(tx)
        (task_id,) = tx.scalars(INSERT, given)
    tags.attach(tx, [task_id], new.tags)
    assignments.attach(tx, [task_id], new.assignees)
    if new.blocked_by:
        links.attach(tx, [task_id], new.blocked_by)
    made = fetch_later(tx, [task_id])
    if new.blocked_by:
        links.refuse_circles(tx, [task_id])
    return made()[0]


@transaction(isolation=Isolation.READ_COMMITTED)
def edit(
    tx: Transaction,
    ids: Sequence[int],
    fields: Mapping[str, Any],
    *,
    append_description: str | None = None,
    if_version: int | None = None,
) -> tuple[Task, ...]:
    """Write the named fields.

    They are `title`, `description`, `status`, `priority`, `due`, `owner`, `parent`, `auto_close`,
    and `recurrence` with `recurrence_zone`. With `if_version`, for a single task, only if it still
    is at that version. Raises `NotFound`, `Conflict` naming what made the version stale, and
    `Refused` for a parent that waits for it or a project that has its limit in progress.
    """
    values = dict(fields)
    adopted = values.get("parent") is not None
    if adopted:
        links.enter(tx)
        require_present(tx, [values["parent"]])
    if "parent" in values:
        values["parent_id"] = values.pop("parent")
    if len(ids) > 1:
        lock(tx, ids)
    writes: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
        for name in values
        if name != "owner"
    ]
    if "owner" in values:
        (values["owner"],) = users.check(tx, [values["owner"]])
        writes.append(OWNER)
    if append_description is not None:
        writes.append(sql.SQL("description = {}").format(APPEND["description"]))
    query = (UPDATE if if_version is None else UPDATE_VERSION).format(
        fields=sql.SQL(", ").join(writes)
    )
    given = {"ids": list(ids), "if_version": if_version, "append": append_description}

    def look(found: Sequence[int]) -> None:
        if if_version is not None and not found:
            require(tx, ids, tx.scalars(PRESENT, {"ids": list(ids)}))
            raise stale(tx, ids[0], if_version)
        require(tx, ids, found)

    with refused_as(_lost(ids)):
        tx.check(query, values | given, look)
        edited = fetch_later(tx, ids)
        if adopted:
            links.refuse_circles(tx, ids)
        return edited()


@transaction(isolation=Isolation.READ_COMMITTED)
def merge(tx: Transaction, base: Task, mine: Mapping[str, Any]) -> Task:
    """Write what somebody made of a task that they read some time ago (three-way, by field).

    A field of `mine` that nobody else changed since `base` is written; fields not in `mine` keep
    what others made of them. Raises `NotFound`, and `Conflict` if a field was changed to
    different values on both sides; then nothing is written.
    """
    lock(tx, [base.id])
    (current,) = fetch(tx, [base.id])
    wanted = {name: value for name, value in mine.items() if getattr(current, name) != value}
    clashing = sorted(name for name in wanted if getattr(current, name) != getattr(base, name))
    if clashing:
        error = stale(tx, base.id, base.version)
        raise Conflict(
            f"task {base.id}: you and somebody else both changed {', '.join(clashing)}",
            hint=error.hint,
            **error.details | {"fields": clashing},
        )
    if wanted:
        (current,) = edit(tx, [base.id], wanted)
    return current


@transaction(isolation=Isolation.READ_COMMITTED)
def set_status(
    tx: Transaction, ids: Sequence[int], status: Status, *, nowait: bool = False
) -> tuple[Task, ...]:
    """Give tasks a status; one that has it already stays as it is.

    Raises `NotFound`, and `Refused` for a project that has its limit in progress.
    """
    lock(tx, ids, nowait=nowait)
    if status == "in_progress":
        tx.execute(START, {"ids": list(ids)})
    else:
        tx.execute(SET_STATUS, {"ids": list(ids), "status": status})
    return fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED)
def move(
    tx: Transaction, ids: Sequence[int], project: str | None, *, nowait: bool = False
) -> tuple[Task, ...]:
    """Move tasks to a project, or to their owner's inbox (`None`). Raises `NotFound`."""
    # The project first, as everywhere: one order of locks for all commands.
    if project:
        projects.share(tx, project)
    lock(tx, ids, nowait=nowait)
    with refused_as(projects.closed(project) if project else _lost(ids)):
        tx.execute(MOVE, {"ids": list(ids), "project": project or None})
        return fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED)
def delete(tx: Transaction, ids: Sequence[int], *, nowait: bool = False) -> tuple[Task, ...]:
    """Move tasks to the trash. Raises `NotFound`."""
    lock(tx, ids, nowait=nowait)
    tx.execute(TRASH, {"ids": list(ids)})
    return fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED)
def restore(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
    """Bring tasks back from the trash; one that is not there stays as it is.

    Raises `NotFound`.
    """
    trashed = tx.later(LOCK_TRASH, {"ids": list(ids)}, int)
    present = tx.later(PRESENT, {"ids": list(ids)}, int)
    tx.execute(RESTORE, {"ids": list(ids)})
    restored = fetch(tx, ids)
    require(tx, ids, trashed() + present())
    return restored


@transaction(isolation=Isolation.READ_COMMITTED)
def purge(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
    """Remove tasks for good and return what they were. Their history stays.

    Raises `NotFound`, and `Refused` for a task that is not in the trash.
    """
    trashed = tx.later(LOCK_TRASH, {"ids": list(ids)}, int)

    def look(found: Sequence[int]) -> None:
        present = sorted(set(found) - set(trashed()))
        if present:
            raise Refused(
                f"not in the trash: {listed(present)}",
                hint="Only what is in the trash can be purged; see: concord task list --trash",
                tasks=present,
            )
        require(tx, ids, trashed())

    tx.check(PRESENT, {"ids": list(ids)}, look)
    gone = fetch_later(tx, ids)
    # Explicitly, before the rows go: history then tells which tags, people and blockers they had.
    tags.detach_all(tx, ids)
    assignments.detach_all(tx, ids)
    links.detach_all(tx, ids)
    tx.execute(PURGE, {"ids": list(ids)})
    return gone()


def _lost(ids: Sequence[int]) -> Forbidden:
    """Return the error for tasks that the actor would not see any more."""
    return Forbidden(
        f"you would not see it any more: {listed(ids)}",
        hint="Take a part in it first: concord task assign "
        + " ".join(map(str, ids))
        + "; or leave it in a project that you see.",
        tasks=list(ids),
    )


def stale(tx: Transaction, task_id: int, version: int) -> Conflict:
    """Return the conflict that says what happened to a task since a version."""
    (current,) = fetch(tx, [task_id])
    changes = tx.rows(CHANGES_SINCE, {"id": task_id, "version": version}, Change)
    told = "; ".join(
        f"{change.actor} changed {', '.join(sorted(change.old.keys() | change.new.keys()))}"
        f" at {change.at:%Y-%m-%d %H:%M:%S} UTC (version {change.version})"
        for change in changes
    )
    return Conflict(
        f"task {task_id} is at version {current.version}, not {version}"
        + (f": {told}" if told else ""),
        hint=f"Look at it and decide again: concord task show {task_id}",
        task=task_id,
        version=current.version,
        expected=version,
        changes=[
            {
                "actor": change.actor,
                "at": change.at,
                "operation": change.operation,
                "version": change.version,
                "old": change.old,
                "new": change.new,
            }
            for change in changes
        ],
    )
