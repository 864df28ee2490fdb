"""Assignments: who is to do a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.sql import task_rows, users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.database import Transaction
    from concord.models import Task

INSERT: LiteralString = """
-- insert_assignments: one that exists stays as it is
INSERT INTO assignments (task_id, user_id, assigned_by)
SELECT task_id, u.id,
       current_actor_id()
FROM unnest(%(tasks)s::bigint[]) AS task_id, users u
WHERE lower(u.username) = ANY(SELECT lower(name) FROM unnest(%(names)s::text[]) AS name)
ON CONFLICT DO NOTHING
"""

DELETE: LiteralString = """
-- delete_assignments: one that does not exist is nothing to do
DELETE FROM assignments x USING users u
WHERE x.task_id = ANY(%(tasks)s) AND u.id = x.user_id
  AND lower(u.username) = ANY(SELECT lower(name) FROM unnest(%(names)s::text[]) AS name)
"""

DELETE_ALL: LiteralString = """
-- delete_all_assignments: of tasks that go
DELETE FROM assignments WHERE task_id = ANY(%(tasks)s)
"""


@transaction(isolation=Isolation.READ_COMMITTED)
def assign(
    tx: Transaction, ids: Sequence[int], names: Sequence[str], *, nowait: bool = False
) -> tuple[Task, ...]:
    """Assign every task to every user and return the tasks. Raises `NotFound`."""
    task_rows.lock(tx, ids, nowait=nowait)
    attach(tx, ids, names)
    return task_rows.fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED)
def unassign(
    tx: Transaction, ids: Sequence[int], names: Sequence[str], *, nowait: bool = False
) -> tuple[Task, ...]:
    """Take users off tasks, all of them without names. Raises `NotFound`."""
    task_rows.lock(tx, ids, nowait=nowait)
    if names:
        tx.execute(DELETE, {"tasks": list(ids), "names": users.check(tx, names)})
    else:
        detach_all(tx, ids)
    return task_rows.fetch(tx, ids)


def attach(tx: Transaction, ids: Sequence[int], names: Sequence[str]) -> None:
    """Assign tasks that the transaction holds locked, or has made. Raises `NotFound`."""
    if names:
        tx.execute(INSERT, {"tasks": list(ids), "names": users.check(tx, names)})


def detach_all(tx: Transaction, ids: Sequence[int]) -> None:
    """Take everybody off tasks that the transaction holds locked."""
    tx.execute(DELETE_ALL, {"tasks": list(ids)})
