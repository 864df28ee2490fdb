"""Transfer: everyone moves a point from one task to another, in whatever order they come.

Two workers who lock the same two tasks in opposite order wait for each other: the server ends one
of them with 40P01, and it tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.race.effects import Again, Op, Touch
from concord.race.workloads import Setting, Strategy, Workload, read_write
from concord.race.workloads.counter import READ, WRITE, WRITE_VERSION
from concord.sql import task_rows, tasks

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from concord.database import Transaction as ProductTransaction
    from concord.models import Task
    from concord.race.product import Product
    from concord.race.session import Transaction

ADD: LiteralString = """
-- add_points: read and write in one statement
UPDATE tasks SET description = (description::bigint + %(points)s)::text WHERE id = %(task)s
RETURNING description
"""

PART = "value"


class Scenario(Workload):
    """Moving points as one worker does it."""

    deadlocks = True

    def __init__(self, setting: Setting) -> None:
        self._tasks = setting.tasks
        self.product = self._concord
        self.strategies = read_write(self._read_write, READ, self._atomic)

    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return the task that gives and the one that takes."""
        return tuple(random.sample(self._tasks, 2))

    def _read_write(self, read: LiteralString, versioned: bool) -> Strategy:
        write = WRITE_VERSION if versioned else WRITE

        def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
            found: list[tuple[int, int, int, int]] = []
            for task, points in zip(op.tasks, (-1, 1), strict=True):
                row = tx.row(read, {"task": task})
                assert row is not None
                found.append((task, int(row[0]), int(row[0]) + points, row[1]))
            tx.think()
            for task, _, after, version in found:
                if not tx.execute(write, {"task": task, "value": str(after), "version": version}):
                    raise Again("the version is stale")
            return tuple(Touch(task, PART, before, after) for task, before, after, _ in found)

        return body

    def _atomic(self, tx: Transaction, op: Op) -> tuple[Touch, ...]:
        touches: list[Touch] = []
        for task, points in zip(op.tasks, (-1, 1), strict=True):
            row = tx.row(ADD, {"task": task, "points": points})
            assert row is not None
            touches.append(Touch(task, PART, int(row[0]) - points, int(row[0])))
            tx.think()
        return tuple(touches)

    def _concord(self, concord: Product, op: Op) -> tuple[Touch, ...]:
        """Lock them in the order of their ids, as every command of several tasks does."""
        before: list[Task] = []

        @transaction(isolation=Isolation.READ_COMMITTED)
        def move_point(tx: ProductTransaction, ids: Sequence[int]) -> tuple[Task, ...]:
            task_rows.lock(tx, ids)
            before[:] = task_rows.fetch(tx, ids)
            concord.think()
            return tuple(
                tasks.edit(tx, [task.id], {"description": str(_points(task) + points)})[0]
                for task, points in zip(before, (-1, 1), strict=True)
            )

        def done(after: tuple[Task, ...]) -> tuple[Touch, ...]:
            return tuple(
                Touch(old.id, PART, _points(old), _points(new))
                for old, new in zip(before, after, strict=True)
            )

        return concord.race(op, move_point, done, op.tasks)


def _points(task: Task) -> int:
    return int(task.description or "0")
