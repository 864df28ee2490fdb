"""Taskwarrior's `task export` and `task import`: a JSON array, or an object a line.

- `uuid` identifies a task, `depends` names those that block it. `parent` is not what a task is a
  part of: it is the template that an instance of a recurring task was made from.
- `description` is the title. One of several lines, or too long for a title, is the description as
  well. Annotations are comments, which nobody is said to have written.
- `deleted` is canceled; `waiting` and `recurring` are to do, and so is `pending`, unless the task
  has a `start`: then it is in progress. H, M and L are high, medium and low.
- `entry`, `modified`, `start`, `due` are the times of a task, `end` is when it was completed or
  canceled.
- `recur` is the recurrence of a template, where it is one that Concord has: Taskwarrior counts `3m`
  in months, but `3mo` as 90 days, and so does the task here. An instance does not recur, because
  its template does.

All else is kept in `extra`: `wait`, `scheduled`, `until`, `mask`, `imask`, `rtype`, `parent`,
user-defined attributes, and what an attribute said that the task's field does not give back; not
`id` and `urgency`, which Taskwarrior works out anew whenever it exports. Of status, project and
priority it is the word and its meaning here: an export uses the word until the task is changed.

An export tells what Taskwarrior has no field for in attributes that it keeps as it keeps any that
it does not know: `concord_owner`, `concord_assignees`, `concord_priority` (`urgent`, beside H),
`concord_description`, `concord_parent`, `concord_auto_close`, `concord_authors` (of annotations,
where one is not the owner's), `concord_recurrence` and `concord_recurrence_zone`. A recurring task
does not become a template, because Taskwarrior would at once make an instance of it for each time
that is past. Versions, comments' own numbers, other trackers' numbers, claims, `previous`, the
trash, fractions of seconds, and blockers and parents that are not exported have no place.
"""

from __future__ import annotations

import codecs
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import UUID

from concord import recurrence
from concord.formats import json_stream, taskwarrior_fields, text
from concord.formats.outgoing import again
from concord.formats.taskwarrior_fields import ATTRIBUTES
from concord.formats.words import Words
from concord.models import BadRow
from concord.plain import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from concord.models import ExportedTask, ImportedTask, ParsedRow

NAME = "taskwarrior"

_WORDS = ("status", "project", "priority")
_DERIVED = frozenset({"id", "urgency"})
_EXPECTED = "expected what `task export` prints: a JSON array, or a JSON object a line"
_BLANK = b" \t\r\n\x00" + codecs.BOM_UTF8 + codecs.BOM_UTF16_LE
_PEEK = 4096


def parse(stream: BinaryIO, words: Words) -> Iterator[ParsedRow]:
    """Yield what each object means: an `ImportedTask`, or a `BadRow` that says why it is none.

    `line` is the object's number in an array, from 1, and otherwise its line. Nothing in a file
    raises, and nothing is held in memory but the object at hand. An array cannot be read beyond
    what is no JSON: a last `BadRow` tells where that is. Raises `Usage` where tasks recur and the
    system's time zone has no name.
    """
    first = _first_byte(stream)
    if first == b"[":
        rows = _array(stream)
    elif first == b"{":
        rows = _lines(stream)
    else:
        yield BadRow(1, _EXPECTED)
        return
    zone: str | None = None
    for number, found in rows:
        if isinstance(found, BadRow):
            yield found
            continue
        try:
            task = _task(found, words, number)
        except ValueError as error:
            yield BadRow(number, str(error))
            continue
        if task.recurrence and not task.recurrence_zone:
            zone = zone or recurrence.zone()
            task = replace(task, recurrence_zone=zone)
        yield task


def dump(tasks: Iterable[ExportedTask]) -> Iterator[str]:
    """Yield the lines, without line ends, of a JSON array that `task import` takes.

    A task that did not come from Taskwarrior is known there by its uid.
    """
    tasks = again(tasks)
    uuids = _uuids(tasks)
    before = "["
    for task in tasks:
        yield before if before == "[" else f"{before},"
        before = dumps(_record(task, uuids))
    yield before
    yield "]"


def _first_byte(stream: BinaryIO) -> bytes:
    """Return the first byte that is not blank, and leave the stream where it stands."""
    start = stream.tell()
    head = b""
    while not head and (chunk := stream.read(_PEEK)):
        head = chunk.lstrip(_BLANK)
    stream.seek(start)
    return head[:1]


def _array(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    number = 1
    reader = json_stream.Reader(stream)
    try:
        events = iter(reader)
        next(events)
        for event in events:
            if event[0] == "end_array":
                break
            try:
                found = reader.value(event)
            except ValueError as error:
                found = BadRow(number, str(error))
            yield number, found
            number += 1
        if next(events, None):
            yield number, BadRow(number, "something follows the array")
    except json_stream.BrokenError as error:
        yield number, BadRow(number, str(error))


def _lines(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.lines(stream), start=1):
        # Old versions join the objects of an array by commas, and leave the brackets out.
        if told := line.strip().removesuffix(","):
            yield number, _value(told.encode("utf-8", "surrogateescape"), number)


def _value(line: bytes, number: int) -> Any:
    reader = json_stream.Reader(io.BytesIO(line))
    events = iter(reader)
    try:
        value = reader.value(next(events))
        return BadRow(number, "something follows the object") if next(events, None) else value
    except (json_stream.BrokenError, ValueError) as error:
        return BadRow(number, str(error))


def _task(found: object, words: Words, number: int) -> ImportedTask:
    """Return the task that an object tells. Raises ValueError."""
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    record = {
        key: value for key, value in cast("dict[str, Any]", found).items() if value is not None
    }
    for key, value in record.items():
        if why := json_stream.fault([key, value]):
            raise ValueError(f"{key} {why}")
    task = taskwarrior_fields.read(record, words, number)
    told = taskwarrior_fields.write(task, task.ref, parent=task.parent, blockers=task.blocked_by)
    extra = {
        key: value
        for key, value in record.items()
        if told.get(key) != value and key not in _DERIVED
    }
    for key in extra.keys() & set(_WORDS):
        extra[key] = [extra[key], getattr(task, key)]
    return replace(task, extra=extra)


def _uuids(tasks: Iterable[ExportedTask]) -> dict[int, str]:
    """Return what tasks are called, by their ids.

    That of two projects into which the same file was imported is one task's only.
    """
    uuids: dict[int, str] = {}
    taken: set[str] = set()
    for task in tasks:
        uuid = _given(task.external_ref)
        uuids[task.id] = uuid if uuid and uuid not in taken else str(task.uid)
        taken.add(uuids[task.id])
    return uuids


def _given(ref: str | None) -> str | None:
    try:
        return str(UUID(ref)) if ref else None
    except ValueError:
        return None


def _record(task: ExportedTask, uuids: Mapping[int, str]) -> dict[str, Any]:
    """Return the object of a task, with what it said when it was imported as far as it holds."""
    kept = task.extra.get(NAME, {})
    record = taskwarrior_fields.write(
        task,
        uuids[task.id],
        parent=uuids.get(task.parent) if task.parent else None,
        blockers=[uuids[blocker] for blocker in task.blocked_by if blocker in uuids],
        recurs="recur" in kept and "parent" not in kept,
    )
    for key, value in sorted(kept.items()):
        if key in _WORDS:
            word, meaning = value
            # Without a recurrence, which comes before, it is no template any more.
            if meaning == getattr(task, key) and (word != "recurring" or "recur" in record):
                record[key] = word
        elif key not in ATTRIBUTES or _meaning(record | {key: value}) == _meaning(record):
            record[key] = value
    return dict(sorted(record.items()))


def _meaning(record: Mapping[str, Any]) -> ImportedTask:
    # Which words the file's reader had been told is decided by now.
    return taskwarrior_fields.read(record, Words(), 0)
