"""What fields are compared with: words as they are typed, and what they stand for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from concord import dates
from concord.errors import Usage
from concord.query.faults import near
from concord.query.syntax import Span

if TYPE_CHECKING:
    from datetime import datetime

    from concord.query.fields import Field
    from concord.query.syntax import Operator, Value

LARGEST_ID = 2**63 - 1

_TO = ".."
"""Between the first and the last day, or moment, of a range."""

_REST_OF_SECOND = timedelta(microseconds=999_999)


class Unreadable(Exception):
    """A word is no value of a field."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def read_value(
    field: Field, operator: Operator, word: str, *, quoted: bool, now: datetime
) -> Value:
    """Return the value of a field that a word stands for. Raises `Unreadable`.

    What is `quoted` is a name, even if it reads like a word of the language.
    """
    folded = word.lower().replace("-", "_")
    special = folded if folded in field.words and not quoted else None
    if special == "none" and field.kind != "word":
        if operator != ":":
            raise Unreadable(f"nothing is {operator} none", f"Write {field.name}:none")
        return None
    match field.kind:
        case "word":
            if folded not in field.words:
                raise Unreadable(
                    f"no {field.name} {word!r}{near(folded, field.words)}",
                    f"There are {', '.join(field.words)}.",
                )
            return folded
        case "flag":
            return _flag(field, word, special)
        case "id":
            return _id(field, word)
        case "date":
            return _date(operator, word, now)
        case "key":
            return word.upper()
        case _:
            return special or word


def _flag(field: Field, word: str, special: str | None) -> Value:
    if special in ("yes", "no"):
        return special == "yes"
    if field.names is None:
        raise Unreadable(f"{field.name} is yes or no, not {word!r}")
    return special or word


def _id(field: Field, word: str) -> int:
    match = re.fullmatch(r"#?([0-9]{1,19})", word)
    if match is None or not 0 < int(match[1]) <= LARGEST_ID:
        also = " or none" if "none" in field.words else ""
        raise Unreadable(f"{word!r} is not a task id{also}: a number such as 12")
    return int(match[1])


def _date(operator: Operator, word: str, now: datetime) -> Value:
    first, is_range, last = word.partition(_TO)
    if is_range:
        if operator != ":":
            raise Unreadable(f"{operator} takes a day or a moment, not a range")
        if not (first and last):
            raise Unreadable(f"a range has two ends, {word!r} has not", 'Write due:"fri..next tue"')
        begin, end = _span(first, now), _span(last, now)
        if end.last < begin.first:
            raise Unreadable(f"{word!r} ends before it begins")
        return Span(begin.first, end.last)
    begin = _span(word, now)
    match operator:
        case ":":
            return begin
        case "<" | ">=":
            return begin.first
        case _:
            return begin.last


def _span(phrase: str, now: datetime) -> Span:
    """Return the time that a phrase names: a day up to its last microsecond, or a moment."""
    try:
        first, last = dates.parse_before(phrase, now=now), dates.parse_after(phrase, now=now)
    except Usage as error:
        raise Unreadable(error.message, error.hint) from None
    return Span(first, last if first == last else last + _REST_OF_SECOND)
