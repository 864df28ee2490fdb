"""Queries as trees: what they say, whatever way they were written.

A query is true or false of a task. A comparison with a value that the task does not have (a due
date, say) is false, and its negation true.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_TEXT = 255
"""The most characters of a text: PostgreSQL takes words of 2,046 bytes."""

Operator = Literal[":", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Span:
    """The time from a moment up to and with another one, both in UTC. A moment is one as well."""

    first: datetime
    last: datetime


Value: TypeAlias = str | int | bool | datetime | Span | None
"""What a field is compared with: `None` is the word `none`, a truth value `yes` or `no`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """That a field has one of some values, or compares with the only one.

    `field` is the name of one of `fields.FIELDS`. Dates are compared with `Span` or `None` by the
    operator `:`, with a moment in UTC by any other one.
    """

    field: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """That the texts of a task hold words: all of them, wherever they stand.

    With `exact` one behind the other, with `prefix` as the beginnings of words.
    """

    words: str
    exact: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """That something does not hold."""

    part: Query


@dataclass(frozen=True, slots=True)
class And:
    """That all parts hold: at least two, none of which is an `And` (see `all_of`)."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """That any part holds: at least two, none of which is an `Or` (see `any_of`)."""

    parts: tuple[Query, ...]


Query: TypeAlias = And | Or | Not | Comparison | Text


def all_of(queries: Iterable[Query]) -> Query | None:
    """Return the query that asks for all of some; `None` for none."""
    parts = [
        part for query in queries for part in (query.parts if isinstance(query, And) else (query,))
    ]
    return And(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


def any_of(queries: Iterable[Query]) -> Query | None:
    """Return the query that asks for any of some; `None` for none."""
    parts = [
        part for query in queries for part in (query.parts if isinstance(query, Or) else (query,))
    ]
    return Or(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


def texts(query: Query) -> tuple[Text, ...]:
    """Return the texts that every task must hold which the query finds: those to rank it by."""
    return tuple(part for part in _demands(query) if isinstance(part, Text))


def without_texts(query: Query) -> Query | None:
    """Return what a query asks for besides `texts`; `None` if that is nothing."""
    return all_of(part for part in _demands(query) if not isinstance(part, Text))


def comparisons(query: Query) -> Iterator[Comparison]:
    """Yield all comparisons within a query, negated or not."""
    match query:
        case And() | Or():
            for part in query.parts:
                yield from comparisons(part)
        case Not():
            yield from comparisons(query.part)
        case Comparison():
            yield query
        case Text():
            pass


def _demands(query: Query) -> tuple[Query, ...]:
    return query.parts if isinstance(query, And) else (query,)
