"""Tasks that come back: what follows one that was completed.

Completing makes the next one by a trigger, wherever the completion comes from; here it is only
looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.sql.task_rows import COLUMNS, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.database import Transaction
    from concord.models import Task

FOLLOWING: LiteralString = (
    "-- following_tasks: the open ones that completing others has made\n"
    + COLUMNS
    + """WHERE t.previous_id = ANY(%(ids)s) AND t.deleted_at IS NULL
  AND t.status IN ('todo', 'in_progress')
ORDER BY t.id
"""
)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def following(tx: Transaction, ids: Sequence[int]) -> tuple[Task, ...]:
    """Return the tasks that came of completing these, as far as they are still open, by id."""
    return tx.rows(FOLLOWING, {"ids": list(ids)}, task)
