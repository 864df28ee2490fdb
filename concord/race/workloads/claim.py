"""Claim: a queue of tasks is emptied by all, and each task is to go to one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString

from concord.race.effects import Again, Exhausted, Op, Touch
from concord.race.workloads import (
    ADVISORY,
    FOR_UPDATE,
    NOWAIT,
    Setting,
    Strategy,
    Workload,
)
from concord.sql import claims, listing
from concord.sql.listing import Filters

if TYPE_CHECKING:
    import random

    from concord.models import Task
    from concord.race.product import Product
    from concord.race.session import Transaction

NEXT: LiteralString = """
-- next_task: the first that is still to do
SELECT id, version FROM tasks
WHERE project_id = %(project)s AND status = 'todo' ORDER BY id LIMIT 1
"""

TAKE: LiteralString = """
-- take_task: whoever has it now
UPDATE tasks SET status = 'in_progress', owner_id = %(user)s WHERE id = %(task)s
"""

TAKE_VERSION: LiteralString = """
-- take_task_if_version: only if nobody changed it since
UPDATE tasks SET status = 'in_progress', owner_id = %(user)s
WHERE id = %(task)s AND version = %(version)s
"""

# MATERIALIZED is a fence: without it the planner may run the inner query once for each row.
CLAIM: LiteralString = """
-- claim_task: find, lock and take in one statement
WITH next AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE project_id = %(project)s AND status = 'todo' ORDER BY id LIMIT 1
    FOR UPDATE
)
UPDATE tasks SET status = 'in_progress', owner_id = %(user)s
FROM next WHERE tasks.id = next.id
RETURNING tasks.id
"""

CLAIM_FREE: LiteralString = """
-- claim_free_task: find one that nobody holds, lock and take it in one statement
WITH next AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE project_id = %(project)s AND status = 'todo' ORDER BY id LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE tasks SET status = 'in_progress', owner_id = %(user)s
FROM next WHERE tasks.id = next.id
RETURNING tasks.id
"""

LEFT: LiteralString = """
-- left: whether anything is still to do
SELECT EXISTS (SELECT FROM tasks WHERE project_id = %(project)s AND status = 'todo')
"""

PART = "status"

LEASE = timedelta(hours=1)
"""Longer than any race: that leases run out is not the question here."""


class _NothingReadyError(Exception):
    """A claim found nothing."""


class Scenario(Workload):
    """Claiming as one worker does it."""

    def __init__(self, setting: Setting) -> None:
        self._project = setting.project
        self._user = setting.racer_id
        self._filters = Filters(projects=(setting.key,))
        self.product = self._concord
        self.strategies = {
            "none": self._find_take(NEXT),
            "atomic": self._claim(CLAIM),
            "optimistic": self._find_take(NEXT, versioned=True),
            "for-update": self._find_take(NEXT + FOR_UPDATE),
            "nowait": self._find_take(NEXT + NOWAIT),
            "skip-locked": self._claim(CLAIM_FREE),
            "advisory": self._advised(self._find_take(NEXT)),
            "repeatable-read": self._find_take(NEXT),
            "serializable": self._find_take(NEXT),
        }

    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return no task: which one it becomes is the question."""
        return ()

    def _concord(self, concord: Product, op: Op) -> tuple[Touch, ...]:
        """`task claim --project KEY`."""

        def done(claimed: tuple[Task, ...]) -> tuple[Touch, ...]:
            if not claimed:
                raise _NothingReadyError
            return (Touch(claimed[0].id, PART, 0, 1),)

        try:
            return concord.race(op, claims.claim, done, self._filters, lease=LEASE)
        except _NothingReadyError:
            to_do = replace(self._filters, statuses=("todo",))
            if concord.look(listing.page, to_do, limit=1).items:
                raise Again("all that is left is held by others") from None
            raise Exhausted from None

    def _find_take(self, find: LiteralString, *, versioned: bool = False) -> Strategy:
        take = TAKE_VERSION if versioned else TAKE

        def body(tx: Transaction, _: Op) -> tuple[Touch, ...]:
            row = tx.row(find, {"project": self._project})
            if row is None:
                return self._nothing(tx)
            task, version = row
            tx.think()
            if not tx.execute(take, {"task": task, "user": self._user, "version": version}):
                raise Again("somebody else took it")
            return (Touch(task, PART, 0, 1),)

        return body

    def _claim(self, claim: LiteralString) -> Strategy:
        def body(tx: Transaction, _: Op) -> tuple[Touch, ...]:
            row = tx.row(claim, {"project": self._project, "user": self._user})
            if row is None:
                return self._nothing(tx)
            tx.think()
            return (Touch(row[0], PART, 0, 1),)

        return body

    def _advised(self, strategy: Strategy) -> Strategy:
        def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
            tx.execute(ADVISORY, {"key": self._project})
            return strategy(tx, op)

        return body

    def _nothing(self, tx: Transaction) -> tuple[Touch, ...]:
        # Those that were skipped, or lost to another, may come free again if their holder fails.
        row = tx.row(LEFT, {"project": self._project})
        if row == (True,):
            raise Again("all that is left is held by others")
        raise Exhausted
