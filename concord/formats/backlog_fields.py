"""What the fields of a Backlog.md file are called, in which order, and how a task says them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, cast

from concord.formats import text
from concord.formats.backlog_file import Comment

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from concord.formats.backlog_file import Document
    from concord.models import ImportedComment, ImportedTask
    from concord.vocabulary import Priority, Status

NAME = "backlog-md"
REF = re.compile(r"[A-Z]{1,20}-[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}")
"""What a task is called here: `TASK-12`, its subtask `TASK-12.1`."""

STATUSES: dict[str, Status] = {
    "to do": "todo",
    "todo": "todo",
    "draft": "todo",
    "backlog": "todo",
    "open": "todo",
    "in progress": "in_progress",
    "in review": "in_progress",
    "review": "in_progress",
    "done": "completed",
    "completed": "completed",
    "closed": "completed",
    "canceled": "canceled",
    "cancelled": "canceled",
}
PRIORITIES: dict[str, Priority] = {
    "critical": "urgent",
    "urgent": "urgent",
    "high": "high",
    "medium": "medium",
    "low": "low",
}
OWN_STATUS, OWN_PRIORITY = "concord_status", "concord_priority"
"""Fields for what Backlog.md has no word for: canceled (written as Done), urgent (as high)."""

ORDER = (
    "id", "title", "status", "assignee", "reporter", "created_date", "updated_date", "due_date",
    "labels", "milestone", "dependencies", "references", "documentation", "modified_files",
    "parent_task_id", "subtasks", "priority", "type", "ordinal",
)  # fmt: skip
"""The fields as Backlog.md writes them. Any other follows."""

_WORDS: dict[Status, str] = {
    "todo": "To Do",
    "in_progress": "In Progress",
    "completed": "Done",
    "canceled": "Done",
}
_UNASKED = ("created_date", "updated_date", "reporter")
"""What every task here has: where the file did not tell it, it is not told."""

_TIES = ("dependencies", "parent_task_id")
_LAST_SECOND = time(23, 59, 59)
_ID = re.compile(r"(?:([A-Za-z]{1,20})-)?([0-9]{1,9}(?:\.[0-9]{1,9}){0,9})")
_TIMES = ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
_DATES = ("%Y-%m-%d", "%d-%m-%y", "%d/%m/%y", "%d.%m.%y")


def ref_of(told: str) -> str:
    """Return the ref for an id, however it is spelled: `task-012` is TASK-12.

    Raises ValueError for what is no id.
    """
    found = _ID.fullmatch(told.strip())
    if found is None:
        raise ValueError(f"{told[:60]!r} is no id of a task")
    number = ".".join(str(int(part)) for part in found[2].split("."))
    return f"{(found[1] or 'TASK').upper()}-{number}"


def moment_of(told: str, *, due: bool = False) -> datetime:
    """Return a time as Backlog.md writes it, in UTC; `due` on a day means its last second.

    Raises ValueError for what is no such time.
    """
    for form in (*_TIMES, *_DATES):
        try:
            time = datetime.strptime(told.strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return datetime.combine(time, _LAST_SECOND, UTC) if due and form in _DATES else time
    try:
        time = datetime.fromisoformat(told.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{told[:60]!r} is no date") from None


def fields_of(
    row: ImportedTask, extra: Mapping[str, Any], known: Container[str] = frozenset()
) -> dict[str, Any]:
    """Return the front matter for a task, with what the file said where that still is so.

    `extra` is what `rest` returned when it was imported. `known` are the refs of the tasks that
    are written with it: of others, the file is right.
    """
    said: Mapping[str, Any] = extra.get("fields", {})
    was: Mapping[str, Any] = extra.get("was", {})
    plain = _plain(row)
    plain["dependencies"] = _ties(row.blocked_by, said.get("dependencies"), known)
    plain["parent_task_id"] = _ties(_listed(row.parent), said.get("parent_task_id"), known)
    fields = {key: value for key, value in said.items() if key not in plain}
    for key, value in plain.items():
        told = value
        if key in was and (was[key] == value or (was[key] is None and key in _UNASKED)):
            told = said.get(key)
        elif key == "parent_task_id":
            told = value[-1] if value else None
        if told is not None:
            fields[key] = told
    return {key: fields[key] for key in (*ORDER, *fields) if key in fields}


def description_of(row: ImportedTask, extra: Mapping[str, Any]) -> str | None:
    """Return a task's description without the title, which comes first where it was too long."""
    title = extra.get("fields", {}).get("title")
    cut, full_title = text.fit_title(" ".join(str(title or "").split()))
    if full_title is None or cut != row.title or row.description is None:
        return row.description
    return row.description.removeprefix(full_title).removeprefix("\n\n") or None


def comments_of(row: ImportedTask, extra: Mapping[str, Any]) -> tuple[Comment, ...]:
    """Return a task's comments as a file has them."""
    authors: Mapping[str, str | None] = extra.get("authors", {})
    plain = map(_comment, row.comments)
    return tuple(replace(each, author=authors.get(_key(each), each.author)) for each in plain)


def rest(document: Document, row: ImportedTask) -> dict[str, Any]:
    """Return what a file says that the task made of it does not give back.

    `fields` are as they stand in the front matter, and `was` is what the task said instead of them
    then; `authors` are those of comments whom the file names otherwise, or not at all.
    """
    plain = _plain(row)
    told = document.fields
    said = {key: value for key, value in told.items() if value is not None}
    odd = [key for key, value in plain.items() if said.get(key) != value]
    odd += [key for key in _UNASKED if key not in said and key not in odd]
    kept = {*odd, *(key for key in _TIES if said.get(key))}
    authors = {
        _key(each): there.author
        for each, there in zip(map(_comment, row.comments), document.comments, strict=True)
        if there.author is None or each.author != there.author
    }
    extra: dict[str, Any] = {
        "fields": {key: value for key, value in told.items() if key not in plain or key in kept},
        "was": {key: plain[key] for key in odd if not (key in _TIES and said.get(key))},
        "authors": authors,
    }
    return {name: value for name, value in extra.items() if value}


def _ties(refs: Iterable[str], said: Any, known: Container[str]) -> list[str]:
    """Return tasks as the file names them, and those which are not written as it says."""
    missing = dict.fromkeys(refs)
    told: list[str] = []
    for each in _listed(said):
        ref = ref_of(str(each))
        if ref in missing or ref not in known:
            told.append(str(each))
            missing.pop(ref, None)
    return [*told, *missing]


def _listed(value: Any) -> list[Any]:
    return [] if value is None else cast("list[Any]", value) if isinstance(value, list) else [value]


def _comment(comment: ImportedComment) -> Comment:
    return Comment(comment.body.strip("\n"), _person(comment.author), _moment(comment.created_at))


def _key(comment: Comment) -> str:
    return hashlib.sha256(f"{comment.created}\n{comment.body}".encode()).hexdigest()[:16]


def _plain(row: ImportedTask) -> dict[str, Any]:
    """Return what a task has fields for, None for what it does not say."""
    told_twice = row.updated_at is None or row.updated_at == row.created_at
    priority = "high" if row.priority == "urgent" else row.priority
    return {
        "id": row.ref,
        "title": row.title,
        "status": _WORDS[row.status],
        "assignee": [f"@{name}" for name in row.assignees],
        "reporter": _person(row.owner),
        "created_date": _moment(row.created_at),
        "updated_date": None if told_twice else _moment(row.updated_at),
        "due_date": _due(row.due),
        "labels": list(row.tags),
        "dependencies": list(row.blocked_by),
        "parent_task_id": row.parent,
        "priority": None if priority == "none" else priority,
        OWN_STATUS: "canceled" if row.status == "canceled" else None,
        OWN_PRIORITY: "urgent" if row.priority == "urgent" else None,
    }


def _person(name: str | None) -> str | None:
    return None if name is None else f"@{name}"


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M").zfill(16)


def _due(time: datetime | None) -> str | None:
    if time is None:
        return None
    day = time.astimezone(UTC)
    return day.strftime("%Y-%m-%d").zfill(10) if day.time() == _LAST_SECOND else _moment(time)
