"""Linear's CSV export: an issue a record, its columns found by their names.

`ID` identifies an issue, `Parent issue` and `Blocked by` name others by it. What it begins with
stands for the team, and that is the project: an issue that goes to another team gets another ID,
but may go from one of Linear's own projects to the next, which become tags, with the labels.
`Creator` is the owner. Times are JavaScript's (`Mon Jan 08 2024 15:54:00 GMT+0200 (…)`) or ISO
8601. A due date at midnight means the day, until its last second. An issue that is `Duplicate` is
canceled; what is `Archived` stays what its status says.

All other columns are kept as they are, and so are the words, names and labels that a task's fields
do not give back. An export has no comments.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, BinaryIO

from concord.formats import foreign_csv, foreign_fields
from concord.models import ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concord.formats.words import Words
    from concord.models import ParsedRow
    from concord.vocabulary import Priority, Status

_STATUSES: dict[str, Status] = {
    "todo": "todo",
    "backlog": "todo",
    "triage": "todo",
    "in progress": "in_progress",
    "in review": "in_progress",
    "done": "completed",
    "canceled": "canceled",
    "cancelled": "canceled",
    "duplicate": "canceled",
}
_PRIORITIES: dict[str, Priority] = {
    "urgent": "urgent",
    "high": "high",
    "medium": "medium",
    "low": "low",
    "no priority": "none",
}
_JAVASCRIPT = re.compile(
    r"[a-z]{3} ([a-z]{3}) ([0-9]{1,2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r" GMT([+-])([0-9]{2})([0-9]{2})(?: \(.*\))?",
    re.IGNORECASE,
)


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each record of an export means. Nothing in a file raises.

    `line` is where a record starts. A file without `ID` and `Title` is one `BadRow`.
    """
    return foreign_csv.rows(
        stream, "a Linear export", ("ID", "Title"), lambda record: _task(record, words)
    )


def _task(record: foreign_csv.Record, words: Words) -> ImportedTask:
    title, full_title = foreign_fields.title_of(record, "Title")
    status = foreign_fields.status_of(record, words, _STATUSES)
    created_at = foreign_fields.time_of(record, "Created", _time)
    updated_at = foreign_fields.time_of(record, "Updated", _time)
    last = updated_at or created_at
    assignee = foreign_fields.user_of(record, words, "Assignee")
    ref = record.require("ID")
    team = foreign_fields.prefix_of(ref)
    return ImportedTask(
        ref=ref,
        title=title,
        line=record.line,
        description=foreign_fields.described(full_title, record.take_body("Description")),
        status=status,
        priority=foreign_fields.priority_of(record, words, _PRIORITIES),
        due=foreign_fields.due_of(record, "Due Date", _time),
        tags=_tags(record),
        assignees=(assignee,) if assignee else (),
        owner=foreign_fields.user_of(record, words, "Creator"),
        created_at=created_at,
        updated_at=updated_at,
        started_at=_reached(record, "Started", held=status != "todo"),
        completed_at=(_reached(record, "Completed", held=True) or last)
        if status == "completed"
        else None,
        canceled_at=(_reached(record, "Canceled", held=True) or last)
        if status == "canceled"
        else None,
        parent=record.take("Parent issue"),
        blocked_by=tuple(dict.fromkeys(_listed(record.take("Blocked by")))),
        project=words.project(team) if team else None,
        partial=tuple(
            field
            for field, name in (("parent", "Parent issue"), ("blocked_by", "Blocked by"))
            if not record.has(name)
        ),
        extra=record.rest(),
    )


def _reached(record: foreign_csv.Record, name: str, *, held: bool) -> datetime | None:
    """Return when a state was reached, if it is one of those that still hold."""
    return foreign_fields.time_of(record, name, _time) if held else None


def _tags(record: foreign_csv.Record) -> tuple[str, ...]:
    """Return labels and Linear's project; the project stays known as such."""
    labels = _listed(record.take("Labels"))
    if list(foreign_fields.tags_of(labels)) != labels:
        record.keep("Labels")
    project = record.peek("Project")
    return foreign_fields.tags_of([*labels, project] if project else labels)


def _listed(cell: str | None) -> list[str]:
    return [each for each in map(str.strip, (cell or "").split(",")) if each]


def _time(text: str) -> datetime:
    match = _JAVASCRIPT.fullmatch(text)
    if match is None:
        return datetime.fromisoformat(text)
    name, day, year, hour, minute, second, sign, hours, minutes = match.groups()
    month = foreign_fields.MONTHS.index(name.lower()) + 1
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return datetime(
        int(year),
        month,
        int(day),
        int(hour),
        int(minute),
        int(second),
        tzinfo=timezone(-offset if sign == "-" else offset),
    )
