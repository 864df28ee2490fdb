"""A Taskwarrior task as a JSON object, read and written: what each attribute means here."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from concord.formats import taskwarrior_recur, text
from concord.formats.json_stream import objects_at, text_at, time_at
from concord.formats.jsonl import RECURRENCE, ZONE
from concord.formats.names import tag_name
from concord.models import ImportedComment, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from concord.formats.words import Words
    from concord.models import ExportedTask
    from concord.vocabulary import Priority, Status

ATTRIBUTES = frozenset(
    {
        *("uuid", "status", "description", "entry", "modified", "start", "end", "due", "recur"),
        *("project", "priority", "tags", "annotations", "depends"),
        *("concord_priority", "concord_owner", "concord_assignees", "concord_authors"),
        *("concord_parent", "concord_auto_close", "concord_description"),
        *("concord_recurrence", "concord_recurrence_zone"),
    }
)
"""What a task is read from and written to. All other attributes are Taskwarrior's affair."""

_STATUSES: dict[str, Status] = {
    "pending": "todo",
    "waiting": "todo",
    "recurring": "todo",
    "completed": "completed",
    "deleted": "canceled",
}
_PRIORITIES: dict[str, Priority] = {"h": "high", "m": "medium", "l": "low"}
_STATUS_WORDS: dict[Status, str] = {
    "todo": "pending",
    "in_progress": "pending",
    "completed": "completed",
    "canceled": "deleted",
}
_LETTERS: dict[Priority, str] = {"urgent": "H", "high": "H", "medium": "M", "low": "L"}


def read(record: Mapping[str, Any], words: Words, line: int) -> ImportedTask:
    """Return the task that an object tells, without `extra`. Raises ValueError."""
    status = words.status(text_at(record, "status") or "pending", _STATUSES)
    started_at = time_at(record, "start")
    if status == "todo" and started_at:
        status = "in_progress"
    created_at, updated_at = time_at(record, "entry"), time_at(record, "modified")
    closed_at = time_at(record, "end") or updated_at or created_at
    full_title = _required(record, "description")
    title = one_line(full_title)
    descriptions = [
        full_title if full_title.strip() != title else None,
        text_at(record, "concord_description"),
    ]
    recurrence, zone = _recurrence(record)
    parent = text_at(record, "concord_parent")
    owner = _users(record, "concord_owner", words)
    # Only Concord says who a task's owner is; and then it says of these what there is to say.
    told_by_concord = bool(owner)
    return ImportedTask(
        ref=_uuid(_required(record, "uuid"), "uuid"),
        title=title,
        line=line,
        description="\n\n".join(filter(None, descriptions)) or None,
        status=status,
        priority=_priority(record, words),
        due=time_at(record, "due"),
        tags=_tags(record),
        assignees=tuple(sorted(set(_users(record, "concord_assignees", words)))),
        owner=owner[0] if owner else None,
        created_at=created_at,
        updated_at=updated_at,
        completed_at=closed_at if status == "completed" else None,
        parent=_uuid(parent, "concord_parent") if parent else None,
        auto_close=text_at(record, "concord_auto_close") == "true",
        blocked_by=tuple(sorted({_uuid(ref, "depends") for ref in _list(record, "depends")})),
        comments=_comments(record, words),
        project=_project(record, words),
        started_at=started_at,
        canceled_at=closed_at if status == "canceled" else None,
        recurrence=recurrence,
        recurrence_zone=zone,
        partial=() if told_by_concord else ("parent", "auto_close"),
    )


def write(
    task: ImportedTask | ExportedTask,
    uuid: str,
    *,
    parent: str | None,
    blockers: Iterable[str],
    recurs: bool = False,
) -> dict[str, Any]:
    """Return the object that tells a task; `parent` and `blockers` are the uuids of others.

    It `recurs` where it is a template, of which Taskwarrior makes the instances.
    """
    description, body = _descriptions(task)
    recur = taskwarrior_recur.write(task.recurrence) if recurs and task.recurrence else None
    rule = None if recur else task.recurrence
    attributes = {
        "uuid": uuid,
        "status": _STATUS_WORDS[task.status],
        "description": description,
        "entry": _stamp(task.created_at),
        "modified": _stamp(task.updated_at),
        "start": None if task.status == "todo" else _stamp(task.started_at),
        "end": _stamp(task.completed_at or task.canceled_at),
        "due": _stamp(task.due),
        "recur": recur,
        "project": task.project,
        "priority": _LETTERS.get(task.priority),
        "tags": sorted(task.tags),
        "annotations": [
            {"entry": _stamp(each.created_at), "description": each.body}
            if each.created_at
            else {"description": each.body}
            for each in task.comments
        ],
        "depends": sorted(blockers),
        "concord_priority": "urgent" if task.priority == "urgent" else None,
        "concord_owner": task.owner,
        "concord_assignees": ",".join(sorted(task.assignees)),
        "concord_authors": _authors(task),
        "concord_parent": parent,
        "concord_auto_close": "true" if task.auto_close else None,
        "concord_description": body,
        "concord_recurrence": rule,
        "concord_recurrence_zone": task.recurrence_zone if rule else None,
    }
    return {name: value for name, value in attributes.items() if value}


def one_line(description: str) -> str:
    """Return the title that a description makes."""
    lines = map(str.strip, re.split("[\r\n]+", description))
    return text.fit_title(" ".join(filter(None, lines)))[0]


def _descriptions(task: ImportedTask | ExportedTask) -> tuple[str, str | None]:
    """Return the description in Taskwarrior, and what is left of the one here."""
    body = task.description
    if body and body.strip() != task.title and one_line(body) == task.title:
        return body, None  # the full text of which the title is what fits a line
    return task.title, body


def _authors(task: ImportedTask | ExportedTask) -> str | None:
    authors = [comment.author or "" for comment in task.comments]
    return ",".join(authors) if any(author not in ("", task.owner) for author in authors) else None


def _required(record: Mapping[str, Any], key: str) -> str:
    value = text_at(record, key)
    if value is None:
        raise ValueError(f"no {key}")
    return value


def _uuid(value: str, key: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError(f"{key}: {value!r} is no UUID") from None


def _stamp(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    stamp = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{stamp.replace('-', '').replace(':', '')}Z"


def _list(record: Mapping[str, Any], key: str) -> list[str]:
    """Return the texts at `key`, an array or, as older versions have it, joined by commas."""
    value = record.get(key)
    values = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(values, list):
        raise ValueError(f"{key} is neither an array nor a text")
    texts = cast("list[Any]", values)
    if not all(isinstance(each, str) for each in texts):
        raise ValueError(f"{key} holds something that is not a text")
    return [each.strip() for each in texts if each.strip()]


def _tags(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags, sorted; of two that differ in case only, the first."""
    tags: dict[str, str] = {}
    for label in _list(record, "tags"):
        try:
            tag = tag_name(label)
        except ValueError as error:
            raise ValueError(f"tags: {error}") from error
        tags.setdefault(tag.lower(), tag)
    return tuple(sorted(tags.values()))


def _priority(record: Mapping[str, Any], words: Words) -> Priority:
    letter = text_at(record, "priority")
    # Whoever changed the priority in Taskwarrior since knew nothing of the other word.
    if letter == _LETTERS["urgent"] and text_at(record, "concord_priority") == "urgent":
        return "urgent"
    return words.priority(letter, _PRIORITIES) if letter else "none"


def _project(record: Mapping[str, Any], words: Words) -> str | None:
    name = text_at(record, "project")
    try:
        return words.project(name) if name else None
    except ValueError as error:
        raise ValueError(f"project: {error}") from error


def _users(record: Mapping[str, Any], key: str, words: Words) -> list[str]:
    try:
        return [words.user(name) for name in _list(record, key)]
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _comments(record: Mapping[str, Any], words: Words) -> tuple[ImportedComment, ...]:
    """Return the annotations that say something, each once."""
    annotations = objects_at(record, "annotations")
    authors = _users(record, "concord_authors", words)
    if len(authors) != len(annotations):  # there are others by now: nobody knows whose
        authors = [*_users(record, "concord_owner", words), None][:1] * len(annotations)
    comments: dict[tuple[str, datetime | None], ImportedComment] = {}
    for annotation, author in zip(annotations, authors, strict=True):
        try:
            body, said_at = text_at(annotation, "description"), time_at(annotation, "entry")
        except ValueError as error:
            raise ValueError(f"annotations: {error}") from error
        if body:
            comments.setdefault((body, said_at), ImportedComment(body, author, said_at))
    return tuple(comments.values())


def _recurrence(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return how often a task comes back, and in which time zone.

    An instance does not: it is its template that does.
    """
    recur = None if "parent" in record else text_at(record, "recur")
    if recur:
        return taskwarrior_recur.read(recur), None
    rule = text_at(record, "concord_recurrence")
    if rule is None or not re.fullmatch(RECURRENCE, rule):
        return None, None
    zone = text_at(record, "concord_recurrence_zone")
    return rule, zone if zone and re.fullmatch(ZONE, zone) else None
