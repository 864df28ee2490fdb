"""Counter: everyone reads a number in the same tasks and writes it back, one higher."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.race.effects import Again, Op, Touch
from concord.race.values import entry
from concord.race.workloads import Setting, Strategy, Workload, read_write
from concord.sql import tasks

if TYPE_CHECKING:
    import random

    from concord.models import Task
    from concord.race.product import Product
    from concord.race.session import Transaction

READ: LiteralString = """
-- read_value: what the new one is computed from
SELECT description, version FROM tasks WHERE id = %(task)s
"""

WRITE: LiteralString = """
-- write_value: over whatever is there
UPDATE tasks SET description = %(value)s WHERE id = %(task)s
"""

WRITE_VERSION: LiteralString = """
-- write_value_if_version: only over what was read
UPDATE tasks SET description = %(value)s WHERE id = %(task)s AND version = %(version)s
"""

RAISE: LiteralString = """
-- raise_value: read and write in one statement
UPDATE tasks SET description = race_raise(description, %(entry)s) WHERE id = %(task)s
RETURNING description
"""

PART = "value"


class Scenario(Workload):
    """The counter as one worker runs it."""

    def __init__(self, setting: Setting) -> None:
        self._tasks = setting.tasks
        self._value = setting.value
        self.product = self._concord
        self.strategies = read_write(self._read_write, READ, self._atomic)

    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return a task to raise."""
        return (random.choice(self._tasks),)

    def _read_write(self, read: LiteralString, versioned: bool) -> Strategy:
        write = WRITE_VERSION if versioned else WRITE

        def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
            (task,) = op.tasks
            row = tx.row(read, {"task": task})
            assert row is not None
            text, version = row
            self._read(tx, text)
            tx.think()
            value = self._value.raised(text, entry(op.id, op.retry))
            if not tx.execute(write, {"task": task, "value": value, "version": version}):
                raise Again("the version is stale")
            return self._touch(task, value)

        return body

    def _atomic(self, tx: Transaction, op: Op) -> tuple[Touch, ...]:
        (task,) = op.tasks
        row = tx.row(RAISE, {"task": task, "entry": entry(op.id, op.retry)})
        assert row is not None
        if self._value.as_list:
            tx.read(self._value.entries(row[0])[:-1])
        return self._touch(task, row[0])

    def _concord(self, concord: Product, op: Op) -> tuple[Touch, ...]:
        """`task show`, then `task edit --description … --if-version N`."""
        (task,) = op.tasks
        (shown,) = concord.look(tasks.show, [task])
        text = shown.description or ""
        if self._value.as_list:
            concord.read(self._value.entries(text))
        concord.think()
        value = self._value.raised(text, entry(op.id, op.retry))

        def done(_: tuple[Task, ...]) -> tuple[Touch, ...]:
            return self._touch(task, value)

        return concord.race(
            op, tasks.edit, done, [task], {"description": value}, if_version=shown.version
        )

    def _read(self, tx: Transaction, text: str) -> None:
        if self._value.as_list:
            tx.read(self._value.entries(text))

    def _touch(self, task: int, value: str) -> tuple[Touch, ...]:
        after = self._value.measure(value)
        return (Touch(task, PART, after - 1, after),)
