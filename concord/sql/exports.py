"""Exports: all that it takes to make tasks anew, as they stood at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.models import ExportedTask
from concord.sql import comments, listing, task_rows

if TYPE_CHECKING:
    from concord.database import Transaction

ZONES: LiteralString = """
-- recurrence_zones: in whose clock tasks recur
SELECT id, recurrence_zone FROM tasks WHERE id = ANY(%(ids)s) AND recurrence_zone IS NOT NULL
"""


@transaction(isolation=Isolation.REPEATABLE_READ, read_only=True)
def in_full(tx: Transaction, filters: listing.Filters) -> tuple[ExportedTask, ...]:
    """Return all matching tasks by id, with what was said about them. Raises `NotFound`."""
    found = comments.in_full(tx, listing.page(tx, filters).items)
    recurring = [task.id for task in found if task.recurrence is not None]
    zones = dict(tx.rows(ZONES, {"ids": recurring}, _zone))
    return tuple(
        task_rows.told_more(ExportedTask, task, recurrence_zone=zones.get(task.id))
        for task in found
    )


def _zone(task: int, zone: str) -> tuple[int, str]:
    return task, zone
