"""Assign: everyone takes themselves on and off the same tasks.

Whoever reads the list of assignees and writes the whole of it back overwrites what others did to
it meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.race.effects import Again, Op, Touch
from concord.race.workloads import Setting, Strategy, Workload, read_write
from concord.sql import assignments

if TYPE_CHECKING:
    import random

    from concord.models import Task
    from concord.race.product import Product
    from concord.race.session import Transaction

LOCK: LiteralString = """
-- lock_task: and read its version
SELECT version FROM tasks WHERE id = %(task)s
"""

LOCK_VERSION: LiteralString = """
-- lock_task_at_version: nobody changed it since it was read, and nobody will until we end
SELECT id FROM tasks WHERE id = %(task)s AND version = %(version)s FOR UPDATE
"""

READ: LiteralString = """
-- read_assignees: the whole list
SELECT user_id FROM assignments WHERE task_id = %(task)s ORDER BY user_id
"""

CLEAR: LiteralString = """
-- clear_assignees: the first half of writing the list
DELETE FROM assignments WHERE task_id = %(task)s
"""

WRITE: LiteralString = """
-- write_assignees: the second half
INSERT INTO assignments (task_id, user_id)
SELECT %(task)s, user_id FROM unnest(%(users)s::bigint[]) AS user_id
ON CONFLICT DO NOTHING
"""

ADD: LiteralString = """
-- add_assignee: nobody else's row is touched
INSERT INTO assignments (task_id, user_id) VALUES (%(task)s, %(user)s) ON CONFLICT DO NOTHING
"""

REMOVE: LiteralString = """
-- remove_assignee: nobody else's row is touched
DELETE FROM assignments WHERE task_id = %(task)s AND user_id = %(user)s
"""


class Scenario(Workload):
    """Assigning as one worker does it. It knows what it was told last: on the task, or off it."""

    deadlocks = True

    def __init__(self, setting: Setting) -> None:
        self._tasks = setting.tasks
        self._racer = setting.racer
        self._user = setting.racer_id
        self._on = dict.fromkeys(setting.tasks, False)
        self.product = self._concord
        self.strategies = read_write(self._read_write, LOCK, self._atomic)

    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return a task to take or leave."""
        return (random.choice(self._tasks),)

    def settle(self, touches: tuple[Touch, ...]) -> None:
        """Remember what an acknowledged operation left behind."""
        self._on[touches[0].task] = touches[0].after == 1

    def _read_write(self, lock: LiteralString, versioned: bool) -> Strategy:
        def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
            (task,) = op.tasks
            row = tx.row(lock, {"task": task})
            assert row is not None
            users = tx.column(READ, {"task": task})
            before = self._user in users
            tx.think()
            if versioned and not tx.execute(LOCK_VERSION, {"task": task, "version": row[0]}):
                raise Again("the version is stale")
            others = [user for user in users if user != self._user]
            tx.execute(CLEAR, {"task": task})
            tx.execute(WRITE, {"task": task, "users": others if before else [*others, self._user]})
            return (Touch(task, self._racer, int(before), int(not before)),)

        return body

    def _atomic(self, tx: Transaction, op: Op) -> tuple[Touch, ...]:
        (task,) = op.tasks
        on = self._on[task]
        changed = tx.execute(REMOVE if on else ADD, {"task": task, "user": self._user})
        tx.think()
        # Nothing to change means that what we were told last is not what is there.
        return (Touch(task, self._racer, int(on if changed else not on), int(not on)),)

    def _concord(self, concord: Product, op: Op) -> tuple[Touch, ...]:
        """`task assign`, or `task unassign`."""
        (task,) = op.tasks
        on = self._on[task]

        def done(changed: tuple[Task, ...]) -> tuple[Touch, ...]:
            after = self._racer in changed[0].assignees
            return (Touch(task, self._racer, int(on), int(after)),)

        operation = assignments.unassign if on else assignments.assign
        return concord.race(op, operation, done, [task], [self._racer])
