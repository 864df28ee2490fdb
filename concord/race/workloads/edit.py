"""Edit: everyone changes one of two fields of the same tasks.

Half of the workers raise the number in the title, half the one in the description. Whoever writes
the whole task back, as it was read, overwrites the other half's field too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.race.effects import Again, Op, Touch
from concord.race.workloads import Setting, Strategy, Workload, read_write
from concord.sql import tasks

if TYPE_CHECKING:
    import random

    from concord.models import Task
    from concord.race.product import Product
    from concord.race.session import Transaction

READ: LiteralString = """
-- read_task: the whole of it
SELECT title, description, version FROM tasks WHERE id = %(task)s
"""

WRITE: LiteralString = """
-- write_task: the whole of it
UPDATE tasks SET title = %(title)s, description = %(description)s WHERE id = %(task)s
"""

WRITE_VERSION: LiteralString = """
-- write_task_if_version: only over what was read
UPDATE tasks SET title = %(title)s, description = %(description)s
WHERE id = %(task)s AND version = %(version)s
"""

RAISE: dict[str, LiteralString] = {
    "title": """
-- raise_title: read and write one field in one statement
UPDATE tasks SET title = (title::bigint + 1)::text WHERE id = %(task)s RETURNING title
""",
    "description": """
-- raise_description: read and write one field in one statement
UPDATE tasks SET description = (description::bigint + 1)::text WHERE id = %(task)s
RETURNING description
""",
}


class Scenario(Workload):
    """Editing as one worker does it."""

    def __init__(self, setting: Setting) -> None:
        self._tasks = setting.tasks
        self._part = ("title", "description")[setting.worker % 2]
        self.product = self._concord
        self.strategies = read_write(self._read_write, READ, self._atomic)

    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return a task to edit."""
        return (random.choice(self._tasks),)

    def _read_write(self, read: LiteralString, versioned: bool) -> Strategy:
        write = WRITE_VERSION if versioned else WRITE

        def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
            (task,) = op.tasks
            row = tx.row(read, {"task": task})
            assert row is not None
            title, description, version = row
            whole = {"title": title, "description": description}
            tx.think()
            before = int(whole[self._part])
            whole[self._part] = str(before + 1)
            if not tx.execute(write, {"task": task, "version": version, **whole}):
                raise Again("the version is stale")
            return (Touch(task, self._part, before, before + 1),)

        return body

    def _atomic(self, tx: Transaction, op: Op) -> tuple[Touch, ...]:
        (task,) = op.tasks
        row = tx.row(RAISE[self._part], {"task": task})
        assert row is not None
        return (Touch(task, self._part, int(row[0]) - 1, int(row[0])),)

    def _concord(self, concord: Product, op: Op) -> tuple[Touch, ...]:
        """`task show`, then `task edit --title …` (or `--description`) `--if-version N`."""
        (task,) = op.tasks
        (shown,) = concord.look(tasks.show, [task])
        concord.think()
        before = int(getattr(shown, self._part))

        def done(edited: tuple[Task, ...]) -> tuple[Touch, ...]:
            return (Touch(task, self._part, before, int(getattr(edited[0], self._part))),)

        return concord.race(
            op, tasks.edit, done, [task], {self._part: str(before + 1)}, if_version=shown.version
        )
