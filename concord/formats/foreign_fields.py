"""What the columns of other trackers' tables mean: titles, words, people, labels, times.

What a task's field does not give back stays in the record's `rest` as well. A time without a zone
is in UTC, because no such file tells one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from concord.formats import text
from concord.formats.names import tag_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from concord.formats.foreign_csv import Record
    from concord.formats.words import Words
    from concord.vocabulary import Priority, Status

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
"""Of the English months, what dates are written with."""

_NUMBERED = re.compile(r"([A-Za-z][A-Za-z0-9_]*)-[0-9]+")
_SHOWN = 60
_LAST_SECOND = time(23, 59, 59)


def title_of(record: Record, name: str) -> tuple[str, str | None]:
    """Return a title of one line, and the full text where it had to be cut.

    Raises ValueError where there is none.
    """
    told = record.require(name)
    title = " ".join(filter(None, map(str.strip, told.splitlines())))
    if title != told:
        record.keep(name)
    return text.fit_title(title)


def described(full_title: str | None, body: str | None) -> str | None:
    """Return a description that begins with the full title, where that had to be cut."""
    return "\n\n".join(filter(None, (full_title, body))) or None


def status_of(record: Record, words: Words, known: Mapping[str, Status]) -> Status:
    """Return the status, by the format's own words. Of several, the first is given back."""
    word = record.take("Status")
    if word is None:
        return "todo"
    status = words.status(word, known)
    if word.casefold() != next((told for told, each in known.items() if each == status), None):
        record.keep("Status")
    return status


def priority_of(record: Record, words: Words, known: Mapping[str, Priority]) -> Priority:
    """Return the priority, by the format's own words. Of several, the first is given back."""
    word = record.take("Priority")
    if word is None:
        return "none"
    priority = words.priority(word, known)
    if word.casefold() != next((told for told, each in known.items() if each == priority), None):
        record.keep("Priority")
    return priority


def user_of(record: Record, words: Words, name: str) -> str | None:
    """Return the username of the person in a column. Raises ValueError where none is left."""
    person = record.take(name)
    if person is None:
        return None
    try:
        username = words.user(person)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if username != person:
        record.keep(name)
    return username


def prefix_of(ref: str) -> str | None:
    """Return what a number like `ENG-12` begins with, which stands for where it was given."""
    match = _NUMBERED.fullmatch(ref)
    return match[1] if match else None


def tags_of(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels as tags, sorted: of two that differ in case only, the first."""
    tags: dict[str, str] = {}
    for label in labels:
        try:
            tag = tag_name(label)
        except ValueError:  # nothing to make a name of
            continue
        tags.setdefault(tag.lower(), tag)
    return tuple(sorted(tags.values()))


def time_of(record: Record, name: str, read: Callable[[str], datetime]) -> datetime | None:
    """Return the moment in a column, in UTC. Raises ValueError where it cannot be read."""
    cell = record.take(name)
    return None if cell is None else _utc(name, cell, _read(name, cell, read))


def due_of(record: Record, name: str, read: Callable[[str], datetime]) -> datetime | None:
    """Return when a task is due, in UTC: midnight means the day, and thus its last second."""
    cell = record.take(name)
    if cell is None:
        return None
    told = _read(name, cell, read)
    if told.time() == time.min:
        if told.utcoffset():
            record.keep(name)  # which day it was is not seen from the moment alone
        told = datetime.combine(told, _LAST_SECOND, told.tzinfo)
    return _utc(name, cell, told)


def in_utc(told: datetime) -> datetime:
    """Return a moment in UTC, which one without a zone is in. Raises OverflowError."""
    return told.replace(tzinfo=told.tzinfo or UTC).astimezone(UTC)


def _read(name: str, cell: str, read: Callable[[str], datetime]) -> datetime:
    try:
        return read(cell)
    except ValueError:
        raise ValueError(f"{name}: {cell[:_SHOWN]!r} is no date known here") from None


def _utc(name: str, cell: str, told: datetime) -> datetime:
    try:
        return in_utc(told)
    except OverflowError:
        raise ValueError(f"{name}: {cell!r} is not in the years 1 to 9999") from None
