"""Exports: all that it takes to make tasks anew, as they stood at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from concord.database import Isolation, transaction
from concord.models import ExportedTask
from concord.sql import comments, listing, task_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from concord.database import Transaction
    from concord.models import Task

BATCH = 1000
"""Tasks that are held at a time."""

CARRIED: LiteralString = """
-- carried: what a task is not shown with, but needs to be made anew
SELECT id, recurrence_zone, extra FROM tasks
WHERE id = ANY(%(ids)s) AND (recurrence_zone IS NOT NULL OR extra <> '{}')
"""

_NOTHING: tuple[str | None, Mapping[str, Any]] = (None, {})


class Snapshot:
    """The tasks of an export by id: read in batches, as often as they are gone through.

    Only within the transaction, to which all of them are as they stood when it began.
    """

    def __init__(self, tx: Transaction, filters: listing.Filters) -> None:
        self._tx = tx
        self._filters = filters

    def __iter__(self) -> Iterator[ExportedTask]:
        """Yield the tasks. Raises `NotFound` if a filter names what does not exist."""
        after = None
        while True:
            page = listing.page(self._tx, self._filters, limit=BATCH, after=after)
            yield from _in_full(self._tx, page.items)
            after = page.after
            if after is None:
                return


@transaction(isolation=Isolation.REPEATABLE_READ, read_only=True)
def write(
    tx: Transaction,
    filters: listing.Filters,
    use: Callable[[Iterable[ExportedTask]], None],
) -> None:
    """Hand all matching tasks to `use`, which may go through them more than once."""
    use(Snapshot(tx, filters))


def _in_full(tx: Transaction, tasks: Sequence[Task]) -> Iterator[ExportedTask]:
    told = comments.in_full(tx, tasks)
    ids = [task.id for task in tasks]
    carried = dict(tx.rows(CARRIED, {"ids": ids}, _carried))
    for task in told:
        zone, extra = carried.get(task.id, _NOTHING)
        yield task_rows.told_more(ExportedTask, task, recurrence_zone=zone, extra=extra)


def _carried(
    task: int, zone: str | None, extra: Mapping[str, Any]
) -> tuple[int, tuple[str | None, Mapping[str, Any]]]:
    return task, (zone, extra)
