"""Limit: everyone starts and completes tasks of a project that may have only so many in progress.

Each worker has a task of its own: no two ever write the same row. The limit is a rule across rows,
and only what all of them share can keep it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.race.effects import Again, Op, Touch
from concord.race.workloads import ADVISORY, Setting, Strategy, Workload
from concord.sql import tasks

if TYPE_CHECKING:
    import random

    from concord.models import Task
    from concord.race.product import Product
    from concord.race.session import Transaction

# FOR NO KEY UPDATE excludes others who take it, and not those who insert tasks of the project,
# whose foreign key takes FOR KEY SHARE.
LOCK_PROJECT: LiteralString = """
-- lock_project: so that nobody else counts until we end
SELECT wip_limit FROM projects WHERE id = %(project)s FOR NO KEY UPDATE
"""

LOCK_PROJECT_NOWAIT: LiteralString = """
-- lock_project_nowait: so that nobody else counts until we end
SELECT wip_limit FROM projects WHERE id = %(project)s FOR NO KEY UPDATE NOWAIT
"""

# A statement of its own after the lock: at READ COMMITTED it sees what the last holder committed.
COUNT: LiteralString = """
-- count_in_progress: against the limit
SELECT count(*) FROM tasks WHERE project_id = %(project)s AND status = 'in_progress'
"""

START: LiteralString = """
-- start_task: it counts from now on
UPDATE tasks SET status = 'in_progress' WHERE id = %(task)s
"""

COMPLETE: LiteralString = """
-- complete_task: it counts no more
UPDATE tasks SET status = 'completed' WHERE id = %(task)s
"""

PART = "status"


class Scenario(Workload):
    """Working under a limit as one worker does it."""

    def __init__(self, setting: Setting) -> None:
        self._project = setting.project
        self._limit = setting.limit or 1
        self._tasks = (setting.tasks[setting.worker],)
        self._started = False
        self.product = self._concord
        self.strategies = {
            "none": self._toggle(),
            "for-update": self._toggle(LOCK_PROJECT),
            "nowait": self._toggle(LOCK_PROJECT_NOWAIT),
            "advisory": self._toggle(ADVISORY),
            "serializable": self._toggle(),
        }

    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return the worker's own task."""
        return self._tasks

    @property
    def unfinished(self) -> bool:
        """Whether the worker's task is still in progress: it would keep others from starting."""
        return self._started

    def settle(self, touches: tuple[Touch, ...]) -> None:
        """Remember what an acknowledged operation left behind."""
        self._started = touches[0].after == 1

    def _concord(self, concord: Product, op: Op) -> tuple[Touch, ...]:
        """`task start`, or `task done`; here the project has its limit, which keeps itself."""
        (task,) = op.tasks
        before, status = (1, "completed") if self._started else (0, "in_progress")

        def done(changed: tuple[Task, ...]) -> tuple[Touch, ...]:
            return (Touch(task, PART, before, int(changed[0].status == "in_progress")),)

        return concord.race(op, tasks.set_status, done, [task], status)

    def _toggle(self, guard: LiteralString | None = None) -> Strategy:
        def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
            (task,) = op.tasks
            if self._started:
                tx.execute(COMPLETE, {"task": task})
                return (Touch(task, PART, 1, 0),)
            if guard is not None:
                tx.execute(guard, {"project": self._project, "key": self._project})
            row = tx.row(COUNT, {"project": self._project})
            assert row is not None
            tx.think()
            if row[0] >= self._limit:
                raise Again("the limit is reached")
            tx.execute(START, {"task": task})
            return (Touch(task, PART, 0, 1),)

        return body
