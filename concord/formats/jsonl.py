"""Concord's own format: a task's JSON object a line. What is exported comes back the same.

With its parent, blockers, recurrence and comments, which other tasks' ids stand for as far as they
are in the file. Claims are not carried: a lease means nothing elsewhere. `blocks` and `children`
follow from what other lines say, and a comment gets a number of its own.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import UUID

from concord.formats import text
from concord.models import BadRow, ImportedComment, ImportedTask, Task
from concord.plain import dumps
from concord.vocabulary import PRIORITIES, STATUSES, TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concord.formats.words import Words
    from concord.models import ParsedRow


LARGEST_ID = 2**53
"""Beyond it JSON readers lose digits; and new tasks need numbers behind the highest one."""

LARGEST_VERSION = 2**30

TAG = r"(?!-|[0-9]+\Z)[^\x00-\x20\x7f,]{1,64}"
USERNAME = rf"(?!(?i:me|none)\Z){TAG}"
PROJECT = "[A-Z][A-Z0-9_-]{0,31}"
RECURRENCE = (
    "(?:every|after) [1-9][0-9]{0,3}[hdwmy]"
    "|every (?:mon|tue|wed|thu|fri|sat|sun)(?:,(?:mon|tue|wed|thu|fri|sat|sun))*"
)
ZONE = "[A-Za-z0-9_+/-]{1,64}"
"""What the database surely refuses does not match. Here it can still be told by its line."""

LATER = ("parent", "auto_close", "recurrence", "blocked_by", "comments", "extra")
"""Keys that a line may be without, as those of older files are: then it says nothing of them."""


def dump(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield one line a task, without line ends."""
    for task in tasks:
        yield dumps(task)


def parse(stream: BinaryIO, _words: Words) -> Iterator[ParsedRow]:
    """Yield a task or a bad row for each line. Empty lines mean nothing. Raises nothing.

    Other tasks are named by their ids, as texts: which of them are in the file shows at its end.
    Its words are Concord's own.
    """
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            yield _task(json.loads(line.decode("utf-8-sig")), number)
        except RecursionError:
            yield BadRow(number, "too deeply nested")
        except ValueError as error:
            yield BadRow(number, str(error))


def _task(document: Any, line: int) -> ImportedTask:
    """Return a line's task. Raises `ValueError` saying what is wrong with it."""
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    fields = cast("dict[str, Any]", document)
    uid = _uid(fields)
    recurrence, zone = _recurrence(fields)
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
        version=_number(fields, "version", LARGEST_VERSION),
        project=_project(fields),
        description=_optional_text(fields, "description"),
        external_ref=_optional_text(fields, "external_ref"),
        due=_moment(fields, "due"),
        created_at=_moment(fields, "created_at"),
        updated_at=_moment(fields, "updated_at"),
        completed_at=_moment(fields, "completed_at"),
        deleted_at=_moment(fields, "deleted_at"),
        started_at=_moment(fields, "started_at"),
        canceled_at=_moment(fields, "canceled_at"),
        auto_close=_flag(fields, "auto_close"),
        comments=_comments(fields),
        partial=tuple(name for name in LATER if name not in fields),
        recurrence=recurrence,
        recurrence_zone=zone,
        extra=_extra(fields),
        parent=_other(fields, "parent"),
        previous=_other(fields, "previous"),
        blocked_by=tuple(_blockers(fields)),
    )
    for status in ("completed", "canceled"):
        if getattr(made, f"{status}_at") is not None and made.status != status:
            raise ValueError(f"{status}_at: only a {status} task has one")
    for name, others in (
        ("parent", (made.parent,)),
        ("previous", (made.previous,)),
        ("blocked_by", made.blocked_by),
    ):
        if made.id is not None and str(made.id) in others:
            raise ValueError(f"{name}: the task itself")
    return made


def _other(fields: dict[str, Any], name: str) -> str | None:
    number = _number(fields, name, LARGEST_ID)
    return None if number is None else str(number)


def _blockers(fields: dict[str, Any]) -> Iterator[str]:
    for value in _list(fields, "blocked_by"):
        number = _number({"blocked_by": value}, "blocked_by", LARGEST_ID)
        if number is None:
            raise ValueError("blocked_by: not a list of ids")
        yield str(number)


def _extra(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what foreign files said, by format."""
    extra = fields.get("extra", {})
    if not isinstance(extra, dict):
        raise ValueError("extra: not a JSON object")
    given = cast("dict[str, Any]", extra)
    for name, value in given.items():
        if not isinstance(value, dict):
            raise ValueError(f"extra: {name}: not a JSON object")
    return given


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
    if fault := text.fault(value):
        raise ValueError(f"{name}: {fault}")
    return value


def _title(fields: dict[str, Any]) -> str:
    title = _text(fields, "title")
    if not title.strip() or len(title) > TITLE_LIMIT or "\n" in title or "\r" in title:
        raise ValueError(f"title: not one line of 1 to {TITLE_LIMIT} characters")
    return title


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _names(fields: dict[str, Any], name: str, rule: str) -> tuple[str, ...]:
    texts = [_text({name: value}, name) for value in _list(fields, name)]
    return tuple(_name(text, name, rule) for text in texts)


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    values = fields.get(name, [])
    if not isinstance(values, list):
        raise ValueError(f"{name}: not a list")
    return cast("list[Any]", values)


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: neither true nor false")
    return value


def _recurrence(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the rule and its zone; a rule without one is in UTC."""
    rule = _optional_text(fields, "recurrence")
    if rule is None:
        return None, None
    if not re.fullmatch(RECURRENCE, rule):
        raise ValueError(f"recurrence: {rule!r} is none")
    zone = _optional_text(fields, "recurrence_zone") or "UTC"
    if not re.fullmatch(ZONE, zone):
        raise ValueError(f"recurrence_zone: {zone!r} is none")
    return rule, zone


def _comments(fields: dict[str, Any]) -> tuple[ImportedComment, ...]:
    try:
        comments = tuple(map(_comment, _list(fields, "comments")))
    except ValueError as error:
        raise ValueError(f"comments: {error}") from None
    refs = [comment.ref for comment in comments if comment.ref is not None]
    if len(refs) > len(set(refs)):
        raise ValueError("comments: two of one external_ref")
    return comments


def _comment(document: Any) -> ImportedComment:
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    fields = cast("dict[str, Any]", document)
    body = _text(fields, "body")
    if not body.strip():
        raise ValueError("body: says nothing")
    return ImportedComment(
        body,
        author=_name(_text(fields, "author"), "author", USERNAME),
        created_at=_moment(fields, "created_at"),
        ref=_optional_text(fields, "external_ref"),
    )


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
