"""Queries as text, in the one form that means the same at any time and in any zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from concord.query.fields import FIELDS, Field
from concord.query.syntax import And, Comparison, Not, Or, Span, Text

if TYPE_CHECKING:
    from concord.query.syntax import Query, Value

_BARE_VALUE = re.compile(r'[^\s",()]+')
# Behind other terms, a comma would go on with their values, and an operator make them a field.
_BARE_WORD = re.compile(r'[^\s"(),:<>=!-][^\s"()]*')
_KEYWORD = re.compile(r"and|or|not", re.IGNORECASE)
_FIELD = re.compile(r"[^\W\d][\w-]*[:<>=!]")


def text_of(query: Query) -> str:
    """Return a query as the text that is read as just this query."""
    match query:
        case Or():
            return " or ".join(text_of(part) for part in query.parts)
        case And():
            return " ".join(
                f"({text_of(part)})" if isinstance(part, Or) else text_of(part)
                for part in query.parts
            )
        case Not():
            inner = text_of(query.part)
            return f"-({inner})" if isinstance(query.part, And | Or) else f"-{inner}"
        case Comparison():
            field = FIELDS[query.field]
            values = ",".join(_value(field, value) for value in query.values)
            return f"{query.field}{query.operator}{values}"
        case Text():
            return _text(query)


def _text(text: Text) -> str:
    if text.exact:
        return _quoted(text.words)
    bare = _BARE_WORD.fullmatch(text.words) and not _FIELD.match(text.words)
    if text.prefix:
        return f"{text.words if bare else _quoted(text.words)}*"
    if bare and not _KEYWORD.fullmatch(text.words) and not re.fullmatch(r".+\*", text.words):
        return text.words
    return f"text:{_quoted(text.words)}"


def _value(field: Field, value: Value) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case datetime():
            return _moment(value)
        case Span():
            first, last = _moment(value.first), _moment(value.last)
            return first if first == last else f"{first}..{last}"
        case str():
            return value if _is_bare(field, value) else _quoted(value)


def _is_bare(field: Field, value: str) -> bool:
    """Return whether a name needs no quotes: it is not cut, and not taken for another word."""
    special = value.lower().replace("-", "_") in field.words
    ours = field.kind == "word" or value == "me"
    return _BARE_VALUE.fullmatch(value) is not None and (ours or not special)


def _quoted(text: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
