"""Imported rows as what an export is given, without a database; and files made while read."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from concord.models import Comment, ExportedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from concord.models import ImportedTask

IMPORTER = "importer"
"""Whose the tasks are that nobody is said to own, and what nobody is said to have written."""

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
"""When a task was imported of which the file tells no times."""


def exported(
    row: ImportedTask, number: int, format_name: str, numbers: Mapping[str, int] | None = None
) -> ExportedTask:
    """Return a row as the task of that number; `numbers` are those of the tasks it may name."""
    known = numbers or {}
    updated_at = row.updated_at or row.created_at or NOW
    return ExportedTask(
        id=number,
        uid=row.uid or UUID(int=number),
        project=row.project,
        title=row.title,
        description=row.description,
        status=row.status,
        priority=row.priority,
        due=row.due,
        tags=row.tags,
        assignees=row.assignees,
        owner=row.owner or IMPORTER,
        external_ref=row.external_ref if row.uid else row.ref,
        parent=known.get(row.parent) if row.parent else None,
        version=row.version or 1,
        created_at=row.created_at or NOW,
        updated_at=updated_at,
        completed_at=(row.completed_at or updated_at) if row.status == "completed" else None,
        deleted_at=row.deleted_at,
        started_at=(row.started_at or updated_at)
        if row.status == "in_progress"
        else row.started_at,
        canceled_at=(row.canceled_at or updated_at) if row.status == "canceled" else None,
        auto_close=row.auto_close,
        recurrence=row.recurrence,
        blocked_by=tuple(sorted(known[ref] for ref in row.blocked_by if ref in known)),
        comments=tuple(
            Comment(
                id=index,
                task=number,
                author=each.author or IMPORTER,
                body=each.body,
                external_ref=each.ref,
                created_at=each.created_at or NOW,
            )
            for index, each in enumerate(row.comments, start=1)
        ),
        recurrence_zone=row.recurrence_zone,
        extra={format_name: dict(row.extra)} if row.extra else {},
    )


def all_exported(rows: Iterable[ImportedTask], format_name: str) -> list[ExportedTask]:
    """Return rows as tasks numbered from 1 that name each other."""
    rows = list(rows)
    numbers = {row.ref: number for number, row in enumerate(rows, start=1)}
    return [exported(row, numbers[row.ref], format_name, numbers) for row in rows]


class MadeFile(io.RawIOBase):
    """A file whose parts are made while it is read, and again when it is read again."""

    def __init__(self, make: Callable[[], Iterable[bytes]]) -> None:
        self._make = make
        self._restart()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + (self._at if whence == io.SEEK_CUR else 0)
        assert whence != io.SEEK_END
        if target < self._at:
            self._restart()
        while self._at < target and self.read(target - self._at):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._parts, b"")
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        self._at += len(taken)
        return len(taken)

    def _restart(self) -> None:
        self._parts: Iterator[bytes] = iter(self._make())
        self._rest = b""
        self._at = 0
