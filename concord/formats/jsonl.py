"""Concord's own format: a task's JSON object a line. What is exported comes back the same."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from concord.models import BadRow, ImportedTask, Task
from concord.plain import dumps
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concord.models import ParsedRow


def dump(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield one line a task, without line ends."""
    for task in tasks:
        yield dumps(task)


def parse(data: bytes) -> Iterator[ParsedRow]:
    """Yield a task or a bad row for each line. Empty lines mean nothing. Raises nothing."""
    seen: dict[UUID, int] = {}
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
        assert row.uid is not None
        if row.uid in seen:
            yield BadRow(number, f"uid {row.uid} was already on line {seen[row.uid]}")
            continue
        seen[row.uid] = number
        yield row


def _task(document: Any, line: int) -> ImportedTask:
    """Return a line's task. Raises `ValueError` saying what is wrong with it."""
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    fields = cast("dict[str, Any]", document)
    uid = UUID(_text(fields, "uid"))
    return ImportedTask(
        ref=str(uid),
        uid=uid,
        line=line,
        title=_text(fields, "title"),
        status=_one_of(fields, "status", STATUSES),
        priority=_one_of(fields, "priority", PRIORITIES),
        owner=_text(fields, "owner"),
        tags=_texts(fields, "tags"),
        assignees=_texts(fields, "assignees"),
        id=_number(fields, "id"),
        parent=_number(fields, "parent"),
        version=_number(fields, "version"),
        project=_optional_text(fields, "project"),
        description=_optional_text(fields, "description"),
        external_ref=_optional_text(fields, "external_ref"),
        due=_moment(fields, "due"),
        created_at=_moment(fields, "created_at"),
        updated_at=_moment(fields, "updated_at"),
        completed_at=_moment(fields, "completed_at"),
        deleted_at=_moment(fields, "deleted_at"),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: not a text")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name}: holds a character that cannot be stored")
    return value


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _texts(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    values = fields.get(name, [])
    if not isinstance(values, list):
        raise ValueError(f"{name}: not a list")
    return tuple(_text({name: value}, name) for value in cast("list[Any]", values))


def _one_of(fields: dict[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = fields.get(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(choices)}")
    return value


def _number(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (type(value) is not int or not 0 < value < 2**63):
        raise ValueError(f"{name}: not a positive number")
    return value


def _moment(fields: dict[str, Any], name: str) -> datetime | None:
    if fields.get(name) is None:
        return None
    moment = datetime.fromisoformat(_text(fields, name))
    if moment.tzinfo is None:
        raise ValueError(f"{name}: a time without a zone")
    return moment
