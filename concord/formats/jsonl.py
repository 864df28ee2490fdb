"""Concord's own format: a task's JSON object a line. What is exported comes back the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from concord.models import BadRow, ImportedTask, Task
from concord.plain import dumps
from concord.vocabulary import PRIORITIES, STATUSES, TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concord.models import ParsedRow


LARGEST_ID = 2**53
"""Beyond it JSON readers lose digits; and new tasks need numbers behind the highest one."""

LARGEST_VERSION = 2**30

TAG = r"(?!-|[0-9]+\Z)[^\x00-\x20\x7f,]{1,64}"
USERNAME = rf"(?!(?i:me|none)\Z){TAG}"
PROJECT = "[A-Z][A-Z0-9_-]{0,31}"
"""What the database surely refuses does not match. Here it can still be told by its line."""


def dump(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield one line a task, without line ends."""
    for task in tasks:
        yield dumps(task)


def parse(data: bytes) -> Iterator[ParsedRow]:
    """Yield a task or a bad row for each line. Empty lines mean nothing. Raises nothing."""
    seen: dict[tuple[str, UUID | int | None], int] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _task(json.loads(line.decode("utf-8-sig")), number)
        except RecursionError:
            yield BadRow(number, "too deeply nested")
            continue
        except ValueError as error:
            yield BadRow(number, str(error))
            continue
        # The id as well is for one task only, because parents are named by it.
        names = [("uid", row.uid), *([("id", row.id)] if row.id else [])]
        twins = [name for name in names if name in seen]
        if twins:
            kind, name = twins[0]
            yield BadRow(number, f"{kind} {name} was already on line {seen[kind, name]}")
            continue
        seen |= dict.fromkeys(names, number)
        yield row


def _task(document: Any, line: int) -> ImportedTask:
    """Return a line's task. Raises `ValueError` saying what is wrong with it."""
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    fields = cast("dict[str, Any]", document)
    uid = _uid(fields)
    made = ImportedTask(
        ref=str(uid),
        uid=uid,
        line=line,
        title=_title(fields),
        status=_one_of(fields, "status", STATUSES),
        priority=_one_of(fields, "priority", PRIORITIES),
        owner=_name(_text(fields, "owner"), "owner", USERNAME),
        tags=_names(fields, "tags", TAG),
        assignees=_names(fields, "assignees", USERNAME),
        id=_number(fields, "id", LARGEST_ID),
        parent=_number(fields, "parent", LARGEST_ID),
        version=_number(fields, "version", LARGEST_VERSION),
        project=_project(fields),
        description=_optional_text(fields, "description"),
        external_ref=_optional_text(fields, "external_ref"),
        due=_moment(fields, "due"),
        created_at=_moment(fields, "created_at"),
        updated_at=_moment(fields, "updated_at"),
        completed_at=_moment(fields, "completed_at"),
        deleted_at=_moment(fields, "deleted_at"),
    )
    if made.completed_at is not None and made.status != "completed":
        raise ValueError("completed_at: only a completed task has one")
    if made.parent is not None and made.parent == made.id:
        raise ValueError("parent: the task itself")
    return made


def _uid(fields: dict[str, Any]) -> UUID:
    text = _text(fields, "uid")
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"uid: {text!r} is no UUID") from None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: not a text")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name}: holds a character that cannot be stored")
    return value


def _title(fields: dict[str, Any]) -> str:
    title = _text(fields, "title")
    if not title.strip() or len(title) > TITLE_LIMIT or "\n" in title or "\r" in title:
        raise ValueError(f"title: not one line of 1 to {TITLE_LIMIT} characters")
    return title


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _names(fields: dict[str, Any], name: str, rule: str) -> tuple[str, ...]:
    values = fields.get(name, [])
    if not isinstance(values, list):
        raise ValueError(f"{name}: not a list")
    texts = [_text({name: value}, name) for value in cast("list[Any]", values)]
    return tuple(_name(text, name, rule) for text in texts)


def _name(text: str, field: str, rule: str) -> str:
    if not re.fullmatch(rule, text):
        raise ValueError(f"{field}: {text!r} is no name that Concord takes")
    return text


def _project(fields: dict[str, Any]) -> str | None:
    key = _optional_text(fields, "project")
    return None if key is None else _name(key, "project", PROJECT)


def _one_of(fields: dict[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = fields.get(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(choices)}")
    return value


def _number(fields: dict[str, Any], name: str, largest: int) -> int | None:
    value = fields.get(name)
    if value is not None and (type(value) is not int or not 0 < value <= largest):
        raise ValueError(f"{name}: not a whole number from 1 to {largest}")
    return value


def _moment(fields: dict[str, Any], name: str) -> datetime | None:
    if fields.get(name) is None:
        return None
    text = _text(fields, name)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is no time") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name}: {text!r} has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # Once stored, it would fail whoever lists it.
        raise ValueError(f"{name}: {text!r} is not in the years 1 to 9999") from None
