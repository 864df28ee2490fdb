"""task-master's `tasks.json`: lists of tasks by tag, with subtasks.

A tag is a context, as a branch has one: a task is called `TAG/ID` after it, a subtask
`TAG/ID.NUMBER`, and has it as a tag here unless it is `master`. A file without tags holds what
task-master takes for `master`, and so do refs: they stay when it brings the file up to date.

`details`, `testStrategy` and `acceptanceCriteria` are sections of the description. A subtask's
dependency is the subtask of that number beside it, else the task of that number. `review` is in
progress; `deferred` and `blocked` are to do. All else is kept in `extra` (`complexity`,
`metadata`, `previousStatus` …), and so is a word that says more than its meaning here. What a tag
says of itself is no task's, and is left out.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard

from concord.formats import text
from concord.formats.foreign_fields import described, tags_of
from concord.formats.json_stream import (
    BrokenError,
    Reader,
    dict_at,
    fault,
    line_at,
    list_at,
    text_at,
    time_at,
)
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from concord.formats.json_stream import Event
    from concord.formats.words import Words
    from concord.models import ParsedRow
    from concord.vocabulary import Priority, Status

NAME = "task-master"
MASTER = "master"
"""The tag of tasks that are in none."""

_EXPECTED = "expected task-master's tasks.json, an object with tasks in it"
_STATUSES: dict[str, Status] = {
    "pending": "todo",
    "deferred": "todo",
    "blocked": "todo",
    "todo": "todo",
    "in-progress": "in_progress",
    "in_progress": "in_progress",
    "review": "in_progress",
    "done": "completed",
    "completed": "completed",
    "cancelled": "canceled",
    "canceled": "canceled",
}
_PRIORITIES: dict[str, Priority] = {
    "critical": "urgent",
    "high": "high",
    "medium": "medium",
    "low": "low",
}
_PLAIN: dict[Status, str] = {
    "todo": "pending",
    "in_progress": "in-progress",
    "completed": "done",
    "canceled": "cancelled",
}
_SECTIONS = {
    "details": "Details",
    "testStrategy": "Test strategy",
    "acceptanceCriteria": "Acceptance criteria",
}
_TAKEN = ("id", "title", "description", "subtasks", "dependencies", "createdAt", "updatedAt")


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each task and subtask means, or a `BadRow` that says why it means nothing.

    `line` is the number of the task or subtask in the file, from 1. Nothing in a file raises, and
    nothing is held in memory but the task at hand. Where the file is none of task-master's, or was
    cut off, a `BadRow` is the last.
    """
    line = 0
    reader = Reader(stream)
    try:
        for tag, task in _tasks(reader):
            for row in _rows(tag, task, words):
                line += 1
                yield replace(row, line=line)
    except BrokenError as error:
        yield BadRow(line + 1, str(error) if line else f"{_EXPECTED}: {error}")


def _tasks(reader: Reader) -> Iterator[tuple[str, Any]]:
    """Yield each task as it stands in the file, or why it cannot be read, with its tag."""
    found = False
    for start in reader:
        if start[0] != "start_map":
            _skip(reader, start)
            continue
        for tag, first in _members(reader):
            if tag == "tasks" and first[0] == "start_array":
                found = True
                yield from ((MASTER, task) for task in _items(reader))
            elif first[0] == "start_map":
                for key, event in _members(reader):
                    if key == "tasks" and event[0] == "start_array":
                        found = True
                        yield from ((tag, task) for task in _items(reader))
                    else:
                        _skip(reader, event)
            else:
                _skip(reader, first)
    if not found:
        raise BrokenError("it holds no tasks")


def _members(reader: Reader) -> Iterator[tuple[str, Event]]:
    """Yield the keys of the object that has begun, each with what its value begins with."""
    for event, key in reader:
        if event == "end_map":
            return
        yield key, next(iter(reader))


def _items(reader: Reader) -> Iterator[Any]:
    """Yield the values of the array that has begun, or why one cannot be read."""
    for event in reader:
        if event[0] == "end_array":
            return
        try:
            item = reader.value(event)
        except ValueError as error:
            item = error
        yield item


def _skip(reader: Reader, first: Event) -> None:
    with suppress(ValueError):
        reader.value(first)


def _rows(tag: str, told: Any, words: Words) -> Iterator[ImportedTask | BadRow]:
    """Yield the row of a task, and those of its subtasks. Their lines are not theirs yet."""
    if why := text.fault(tag):
        yield BadRow(1, f"the tag {why}")
        return
    try:
        record = _record(told)
        ref = f"{tag}/{_id(record)}"
    except ValueError as error:
        yield BadRow(1, str(error))
        return
    yield from _family(tag, ref, None, record, frozenset(), words)


def _family(
    tag: str,
    ref: str,
    parent: str | None,
    record: dict[str, Any],
    siblings: frozenset[str],
    words: Words,
) -> Iterator[ImportedTask | BadRow]:
    """Yield the row of a task and of all that is part of it; `siblings` are the refs beside it."""
    subtasks: list[Any] = []
    try:
        subtasks = list_at(record, "subtasks")
        yield _task(tag, ref, parent, record, siblings, words)
    except ValueError as error:
        yield BadRow(1, f"{ref}: {error}")
    named: list[tuple[str, dict[str, Any]] | str] = []
    for each in subtasks:
        try:
            subtask = _record(each)
            number = _id(subtask)
            own = number.removeprefix(ref.removeprefix(f"{tag}/") + ".")
            named.append((f"{ref}.{own}", subtask))
        except ValueError as error:
            named.append(f"{ref}: a subtask: {error}")
    refs = frozenset(each[0] for each in named if not isinstance(each, str))
    for each in named:
        if isinstance(each, str):
            yield BadRow(1, each)
        else:
            yield from _family(tag, each[0], ref, each[1], refs, words)


def _task(
    tag: str,
    ref: str,
    parent: str | None,
    record: dict[str, Any],
    siblings: frozenset[str],
    words: Words,
) -> ImportedTask:
    title, full_title = text.fit_title(line_at(record, "title"))
    sections = {key: content for key in _SECTIONS if (content := _section(record, key))}
    body = [text_at(record, "description"), *sections.values()]
    status, status_word = _status(record, words)
    priority, priority_word = _priority(record, words)
    created_at, updated_at = time_at(record, "createdAt"), time_at(record, "updatedAt")
    closed_at = updated_at or created_at
    labels = list_at(record, "tags")
    tags = tags_of([*([] if tag == MASTER else [tag]), *filter(_is_text, labels)])
    assignee = text_at(record, "assignee")
    username = words.user(assignee) if assignee else None
    extra = {
        key: value
        for key, value in record.items()
        if key not in _TAKEN and key not in sections and value not in (None, "", [])
    }
    told = {"status": status_word, "priority": priority_word, "assignee": username, "tags": labels}
    for key, value in told.items():
        if key in extra and extra[key] == value and (key != "tags" or set(labels) <= set(tags)):
            del extra[key]
    if why := fault(extra):
        raise ValueError(f"a field {why}")
    return ImportedTask(
        ref=ref,
        title=title,
        line=1,
        description=described(full_title, "\n\n".join(filter(None, body)) or None),
        status=status,
        priority=priority,
        tags=tags,
        assignees=(username,) if username else (),
        created_at=created_at,
        updated_at=updated_at,
        completed_at=closed_at if status == "completed" else None,
        canceled_at=closed_at if status == "canceled" else None,
        parent=parent,
        blocked_by=_blockers(tag, ref, record, siblings),
        extra=extra,
    )


def _record(told: Any) -> dict[str, Any]:
    if isinstance(told, ValueError):
        raise told
    return dict_at({"a task": told}, "a task") if told is not None else {}


def _id(record: Mapping[str, Any]) -> str:
    told = record.get("id")
    if isinstance(told, bool) or not isinstance(told, int | float | str) or not str(told).strip():
        raise ValueError("no id")
    if why := fault(told):
        raise ValueError(f"id {why}")
    return str(told).strip()


def _section(record: Mapping[str, Any], key: str) -> str | None:
    """Return a section of the description, None where the file has something else than a text."""
    if not isinstance(record.get(key), str):
        return None
    content = text_at(record, key)
    return f"## {_SECTIONS[key]}\n\n" + content.strip("\n") if content else None


def _status(record: Mapping[str, Any], words: Words) -> tuple[Status, str]:
    """Return the status, and the word that alone says as much."""
    status = words.status(text_at(record, "status") or "pending", _STATUSES)
    return status, _PLAIN[status]


def _priority(record: Mapping[str, Any], words: Words) -> tuple[Priority, str | None]:
    """Return the priority, and the word that alone says as much."""
    word = text_at(record, "priority")
    priority = words.priority(word, _PRIORITIES) if word else "none"
    return priority, next((word for word, each in _PRIORITIES.items() if each == priority), None)


def _blockers(
    tag: str, ref: str, record: Mapping[str, Any], siblings: frozenset[str]
) -> tuple[str, ...]:
    parent = ref.rpartition(".")[0]
    blockers: dict[str, None] = {}
    for told in list_at(record, "dependencies"):
        number = _id({"id": told})
        beside = f"{parent}.{number}"
        blockers[beside if beside in siblings and beside != ref else f"{tag}/{number}"] = None
    return tuple(blockers)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)
