"""iCalendar (RFC 5545), for the task lists of calendars: a to-do (`VTODO`) a task.

Status, priority (1, 3, 5, 7, none is 0), times, tags (`CATEGORIES`) and comments go where calendars
look for them; a part names what it is a part of by `RELATED-TO`, and what it waits for with
`RELTYPE=DEPENDS-ON` (RFC 9253). What calendars know nothing of, or of tasks that are not in the
export, has the names `X-CONCORD-…`. Times are in seconds.

A task that recurs has an `RRULE` where that says the same: by the calendar, from its due date. One
that counts from its completion, or is not due, has none, nor has one that is over: the next one is
a task of its own. An `RRULE` counts from a start, which has to lie before the due date: a second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from icalendar import Timezone, Todo, vDatetime, vText

from concord.formats.outgoing import again
from concord.plain import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from uuid import UUID

    from concord.models import Comment, ExportedTask
    from concord.vocabulary import Priority, Status

LINE_END = "\r\n"
"""What ends each line of the file."""

_STATUSES: dict[Status, str] = {
    "todo": "NEEDS-ACTION",
    "in_progress": "IN-PROCESS",
    "completed": "COMPLETED",
    "canceled": "CANCELLED",
}
_PRIORITIES: dict[Priority, int] = {"urgent": 1, "high": 3, "medium": 5, "low": 7, "none": 0}
_FREQUENCIES = {"h": "HOURLY", "d": "DAILY", "w": "WEEKLY", "m": "MONTHLY", "y": "YEARLY"}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_UTC_NAMES = {"UTC", "Etc/UTC"}
_ESCAPES = str.maketrans(
    {chr(code): visible(chr(code)).replace("\\", r"\\") for code in (*range(32), 127)}
    | {"\t": "\t", "\n": r"\n", "\\": r"\\", ";": r"\;", ",": r"\,"}
)
"""What a text must not hold as it is. Control characters cannot be told at all: they are shown."""
_WIDTH = 75
_BEFORE = timedelta(seconds=1)
_SURE_DAY = 28
"""The last day of the month that every month has."""


def dump(tasks: Iterable[ExportedTask]) -> Iterator[str]:
    """Yield the lines of a calendar, folded, without their ends, which have to be `LINE_END`.

    Tasks are gone through twice, because one may name another that comes later: the uid of each is
    what is held.
    """
    tasks = again(tasks)
    uids = {task.id: task.uid for task in tasks}
    zones: set[str] = set()
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Concord//Concord//EN")
    for task in tasks:
        yield from _lines(task, uids, zones)
    yield "END:VCALENDAR"


class _Text(vText):
    r"""A text, escaped as the standard has it: the library takes `C:\New` for a line break."""

    __slots__ = ()

    def to_ical(self) -> bytes:
        return re.sub("\r\n?", "\n", self).translate(_ESCAPES).encode()


def _lines(task: ExportedTask, uids: Mapping[int, UUID], zones: set[str]) -> Iterator[str]:
    """Yield the lines of a to-do, after those of its time zone where that is new."""
    todo = _todo(task, uids)
    recurring = _recurring(task)
    if recurring is not None:
        due, rule = recurring
        _add(todo, "DTSTART", due - _BEFORE)
        _add(todo, "DUE", due)
        _add(todo, "RRULE", rule)
        if isinstance(due.tzinfo, ZoneInfo) and due.tzinfo.key not in zones:
            zones.add(due.tzinfo.key)
            yield from _serialized(Timezone.from_tzinfo(due.tzinfo))
    elif task.due is not None:
        _add(todo, "DUE", task.due)
    yield from _serialized(todo)


def _serialized(component: Todo | Timezone) -> Iterator[str]:
    for line in component.content_lines():
        if line:
            yield from _folded(line)


def _folded(line: str) -> Iterator[str]:
    """Yield a line in pieces of at most 75 bytes. The library folds character by character."""
    data = line.encode()
    start, indent = 0, ""
    while start < len(data):
        end = start + _WIDTH - len(indent)
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        if end < len(data) and data[end - 1] in b"\\^":  # inside an escape: some readers mind
            end -= 1
        yield indent + data[start:end].decode()
        start, indent = end, " "


def _todo(task: ExportedTask, uids: Mapping[int, UUID]) -> Todo:
    todo = Todo()
    _add(todo, "UID", str(task.uid))
    # Without a scheduling method, a stamp says when a task was last changed.
    _add(todo, "DTSTAMP", task.updated_at)
    _add(todo, "CREATED", task.created_at)
    _add(todo, "LAST-MODIFIED", task.updated_at)
    _add(todo, "SEQUENCE", task.version - 1)
    _add(todo, "SUMMARY", _Text(task.title))
    if task.description is not None:
        _add(todo, "DESCRIPTION", _Text(task.description))
    _add(todo, "STATUS", _STATUSES[task.status])
    _add(todo, "PRIORITY", _PRIORITIES[task.priority])
    if task.completed_at is not None:
        _add(todo, "COMPLETED", task.completed_at)
    if task.tags:
        _add(todo, "CATEGORIES", [_Text(tag) for tag in task.tags])
    for comment in task.comments:
        _add(todo, "COMMENT", _said(comment))
    if task.parent is not None and task.parent in uids:
        _add(todo, "RELATED-TO", _Text(str(uids[task.parent])))
    for blocker in task.blocked_by:
        if blocker in uids:
            depends = {"RELTYPE": "DEPENDS-ON"}
            _add(todo, "RELATED-TO", _Text(str(uids[blocker]), params=depends))
    for name, values in _more(task, uids).items():
        for value in values:
            _add(todo, f"X-CONCORD-{name}", _Text(_plain(value)))
    return todo


def _add(todo: Todo, name: str, value: object) -> None:
    todo.add(name, value)  # pyright: ignore[reportUnknownMemberType] - takes what it can encode


def _said(comment: Comment) -> _Text:
    params = {"X-CONCORD-AUTHOR": comment.author, "X-CONCORD-AT": _plain(comment.created_at)}
    if comment.external_ref is not None:
        params["X-CONCORD-REF"] = visible(comment.external_ref)
    return _Text(comment.body, params=params)


def _more(task: ExportedTask, uids: Mapping[int, UUID]) -> dict[str, list[Any]]:
    """Return what calendars have no property for: name → values."""
    single = {
        "ID": task.id,
        "PROJECT": task.project,
        "OWNER": task.owner,
        "EXTERNAL-REF": task.external_ref,
        "PARENT": None if task.parent in uids else task.parent,
        "PREVIOUS": task.previous,
        "AUTO-CLOSE": "TRUE" if task.auto_close else None,
        "RECURRENCE": task.recurrence,
        "RECURRENCE-ZONE": task.recurrence_zone,
        "STARTED": task.started_at,
        "CANCELED": task.canceled_at,
        "DELETED": task.deleted_at,
    }
    several = {
        "ASSIGNEE": task.assignees,
        "BLOCKED-BY": [blocker for blocker in task.blocked_by if blocker not in uids],
    }
    return {name: [value] for name, value in single.items() if value is not None} | {
        name: list(values) for name, values in several.items()
    }


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return vDatetime(value).to_ical().decode()
    return str(value)


def _recurring(task: ExportedTask) -> tuple[datetime, dict[str, Any]] | None:
    """Return when a task is due by the clock in which it recurs, and its `RRULE`."""
    if task.recurrence is None or task.due is None or task.status in ("completed", "canceled"):
        return None
    kind, step = task.recurrence.split()
    zone = UTC if step.endswith("h") and step[0].isdigit() else _zone(task.recurrence_zone)
    if kind != "every" or zone is None:
        return None
    try:
        due = task.due.astimezone(zone).replace(microsecond=0)
        begun = due - _BEFORE
    except OverflowError:  # at the end of the calendar there
        return None
    rule = _rule(step, due)
    if rule is None or (begun.date() != due.date() and rule["FREQ"] != "HOURLY"):
        return None
    return due, rule


def _rule(step: str, due: datetime) -> dict[str, Any] | None:
    """Return an `RRULE` that goes on from a due date as Concord does."""
    if not step[0].isdigit():
        days = [
            day for day in _WEEKDAYS if day[:2].lower() in {name[:2] for name in step.split(",")}
        ]
        return {"FREQ": "WEEKLY", "BYDAY": days} if _WEEKDAYS[due.weekday()] in days else None
    rule: dict[str, Any] = {"FREQ": _FREQUENCIES[step[-1]], "INTERVAL": int(step[:-1])}
    if due.day > _SURE_DAY and (step[-1] == "m" or (step[-1] == "y" and due.month == 2)):
        # In a shorter month its last day, where a calendar by itself would leave the month out.
        rule |= {"BYMONTHDAY": list(range(_SURE_DAY, due.day + 1)), "BYSETPOS": -1}
        if step[-1] == "y":
            rule["BYMONTH"] = due.month
    return rule


def _zone(name: str | None) -> tzinfo | None:
    if name is None or name in _UTC_NAMES:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # known to the server, but not here
        return None
