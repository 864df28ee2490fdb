"""Jira's CSV export: an issue a record, its columns found by their names, some of which repeat.

`Issue key` identifies an issue, and the others that it names. It waits for those of `Inward issue
link (Blocks)`. It is part of the `Parent key`; else of the `Parent` or `Parent id`, which is an
`Issue id` that only another record can tell the key of; else of the `Epic Link`. `Project key` is
the project, else what the issue key begins with. `Reporter`, else `Creator`, is the owner. Labels
and the issue type become tags. A comment is `time;author;text`.

A status of somebody's own making means what its `Status Category` says, unless a rule says other.
What is done with a resolution such as `Duplicate` or `Won't Do` is canceled. Times are
`09/Jan/24 3:54 PM` or ISO 8601, in UTC: a file does not tell the zone they were shown in. A due
date at midnight means the day, until its last second. Texts stay in Jira's own markup.

All other columns are kept as they are, and so are the words, names and labels that a task's fields
do not give back.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from concord.formats import foreign_csv, foreign_fields
from concord.models import BadRow, ImportedComment, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from concord.formats.words import Words
    from concord.models import ParsedRow
    from concord.vocabulary import Priority, Status

_STATUSES: dict[str, Status] = {
    "to do": "todo",
    "open": "todo",
    "backlog": "todo",
    "new": "todo",
    "reopened": "todo",
    "selected for development": "todo",
    "in progress": "in_progress",
    "in review": "in_progress",
    "work in progress": "in_progress",
    "done": "completed",
    "resolved": "completed",
    "closed": "completed",
    "completed": "completed",
    "canceled": "canceled",
    "cancelled": "canceled",
    "declined": "canceled",
    "rejected": "canceled",
}
_CATEGORIES: dict[str, Status] = {
    "to do": "todo",
    "new": "todo",
    "in progress": "in_progress",
    "done": "completed",
    "complete": "completed",
}
# The older five, Blocker to Trivial, became Highest to Lowest; Major was the default.
_PRIORITIES: dict[str, Priority] = {
    "highest": "urgent",
    "blocker": "urgent",
    "high": "high",
    "critical": "high",
    "medium": "medium",
    "major": "medium",
    "low": "low",
    "minor": "low",
    "lowest": "low",
    "trivial": "low",
}
_NOT_DONE = {
    "won't do",
    "won't fix",
    "duplicate",
    "cannot reproduce",
    "declined",
    "incomplete",
    "invalid",
    "not a bug",
    "rejected",
    "canceled",
    "cancelled",
}
_BLOCKERS = "Inward issue link (Blocks)"
_EPICS = ("Custom field (Epic Link)", "Epic Link")
_IDS = ("Parent", "Parent id")
_REQUIRED = ("Issue key", "Summary")
_WHAT = "a Jira export"

_SHOWN = re.compile(
    r"([0-9]{1,2})/([a-z]{3})/([0-9]{4}|[0-9]{2})"
    r"(?: ([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?: ([AP]M))?)?",
    re.IGNORECASE,
)


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each record of an export means. Nothing in a file raises.

    `line` is where a record starts. A file without `Issue key` and `Summary` is one `BadRow`.
    Where parents are named by id alone, the file is read twice more before, for the keys of those
    that are named: these are all that is held.
    """
    keys = _keys(stream)
    yield from foreign_csv.rows(stream, _WHAT, _REQUIRED, lambda record: _task(record, words, keys))


def _keys(stream: BinaryIO) -> dict[str, str]:
    """Return the keys of the issues that others name as their parents by id."""
    named: set[str] = set()
    for record in foreign_csv.records(stream, _WHAT, _REQUIRED):
        if isinstance(record, BadRow):
            continue
        if not record.has(*_IDS):
            break
        if record.peek("Parent key") is None and (number := _parent_id(record)):
            named.add(number)
    keys: dict[str, str] = {}
    for record in foreign_csv.records(stream, _WHAT, _REQUIRED) if named else ():
        if not isinstance(record, BadRow):
            number, key = record.peek("Issue id"), record.peek("Issue key")
            if number in named and key:
                keys.setdefault(number, key)
    return keys


def _task(record: foreign_csv.Record, words: Words, keys: Mapping[str, str]) -> ImportedTask:
    title, full_title = foreign_fields.title_of(record, "Summary")
    status = _status(record, words)
    created_at = foreign_fields.time_of(record, "Created", _time)
    updated_at = foreign_fields.time_of(record, "Updated", _time)
    ended = status in ("completed", "canceled")
    resolved_at = foreign_fields.time_of(record, "Resolved", _time) if ended else None
    ended_at = resolved_at or updated_at or created_at
    ref = record.require("Issue key")
    assignee = foreign_fields.user_of(record, words, "Assignee")
    comments, authors = _comments(record, words)
    return ImportedTask(
        ref=ref,
        title=title,
        line=record.line,
        description=foreign_fields.described(full_title, record.take_body("Description")),
        status=status,
        priority=foreign_fields.priority_of(record, words, _PRIORITIES),
        due=foreign_fields.due_of(record, "Due date", _time),
        tags=_tags(record),
        assignees=(assignee,) if assignee else (),
        owner=_owner(record, words),
        created_at=created_at,
        updated_at=updated_at,
        completed_at=ended_at if status == "completed" else None,
        canceled_at=ended_at if status == "canceled" else None,
        parent=_parent(record, keys),
        blocked_by=tuple(dict.fromkeys(map(str.strip, record.take_all(_BLOCKERS)))),
        comments=comments,
        project=_project(record, words, ref),
        partial=tuple(
            field
            for field, names in (
                ("parent", ("Parent key", *_IDS, *_EPICS)),
                ("blocked_by", (_BLOCKERS,)),
                ("comments", ("Comment",)),
            )
            if not record.has(*names)
        ),
        extra=record.rest() | ({"Comment authors": authors} if authors else {}),
    )


def _status(record: foreign_csv.Record, words: Words) -> Status:
    known = dict(_STATUSES)
    category = (record.peek("Status Category") or "").casefold()
    word = (record.peek("Status") or "").casefold()
    if category in _CATEGORIES:
        known.setdefault(word, _CATEGORIES[category])
    status = foreign_fields.status_of(record, words, known)
    resolution = (record.peek("Resolution") or "").casefold().replace("’", "'")
    if status == "completed" and resolution in _NOT_DONE:
        record.keep("Status")
        return "canceled"
    if _CATEGORIES.get(category) == status:
        record.take("Status Category")
    return status


def _owner(record: foreign_csv.Record, words: Words) -> str | None:
    if record.peek("Reporter") is None:
        return foreign_fields.user_of(record, words, "Creator")
    if record.peek("Creator") == record.peek("Reporter"):
        record.take("Creator")
    return foreign_fields.user_of(record, words, "Reporter")


def _tags(record: foreign_csv.Record) -> tuple[str, ...]:
    """Return labels and issue type; the type stays known as such."""
    # A label holds no space. Spreadsheets and older exports put several into one cell.
    labels = [
        label for cell in record.take_all("Labels") for label in re.split(r"[\s,]+", cell) if label
    ]
    if list(foreign_fields.tags_of(labels)) != labels:
        record.keep("Labels")
    kind = record.peek("Issue Type")
    return foreign_fields.tags_of([*labels, kind] if kind else labels)


def _project(record: foreign_csv.Record, words: Words, ref: str) -> str | None:
    name = record.take("Project key") or foreign_fields.prefix_of(ref)
    if name is None:
        return None
    key = words.project(name)
    if key != name:
        record.keep("Project key")
    return key


def _parent_id(record: foreign_csv.Record) -> str | None:
    return next((told for name in _IDS if (told := record.peek(name)) and told.isdecimal()), None)


def _parent(record: foreign_csv.Record, keys: Mapping[str, str]) -> str | None:
    for name in ("Parent key", *_IDS, *_EPICS):
        told = record.peek(name)
        if told is None:
            continue
        if told in keys or not told.isdecimal():  # else it stays known that it is no key
            record.take(name)
        return keys.get(told, told)
    return None


def _comments(
    record: foreign_csv.Record, words: Words
) -> tuple[tuple[ImportedComment, ...], dict[str, str]]:
    """Return what was said, and the authors whose usernames are not what the file calls them."""
    comments: list[ImportedComment] = []
    authors: dict[str, str] = {}
    for cell in record.take_all("Comment"):
        comment, author = _comment(cell, words)
        if not comment.body:
            continue
        comments.append(comment)
        if comment.author and comment.author != author:
            authors[comment.author] = author
    return tuple(comments), authors


def _comment(cell: str, words: Words) -> tuple[ImportedComment, str]:
    """Return a comment, and what the file calls its author; all of it where it has no such parts.

    Raises ValueError where no username is left of the author.
    """
    when, _, rest = cell.strip().partition(";")
    author, parted, body = rest.partition(";")
    try:
        created_at = foreign_fields.in_utc(_time(when.strip())) if parted else None
    except (ValueError, OverflowError):
        created_at = None
    if created_at is None:
        return ImportedComment(cell.strip()), ""
    author = author.strip()
    try:
        username = words.user(author) if author else None
    except ValueError as error:
        raise ValueError(f"Comment: {error}") from None
    return ImportedComment(body.strip("\n").rstrip(), username, created_at), author


def _time(text: str) -> datetime:
    match = _SHOWN.fullmatch(text)
    if match is None:
        return datetime.fromisoformat(text)
    day, name, year, hour, minute, second, half = match.groups()
    hours = int(hour or 0)
    if half:
        if not 1 <= hours <= 12:
            raise ValueError(f"no hour of a half day: {hours}")
        hours = hours % 12 + (12 if half.upper() == "PM" else 0)
    return datetime(  # noqa: DTZ001 - a file tells no zone
        int(year) + (2000 if len(year) == 2 else 0),
        foreign_fields.MONTHS.index(name.lower()) + 1,
        int(day),
        hours,
        int(minute or 0),
        int(second or 0),
    )
