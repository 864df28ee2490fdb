"""The language in which tasks are asked for: `status:todo -tag:wontfix due<friday "exact words"`.

`syntax` says what queries are, `fields` of what they speak, `parser` reads them, `printer` writes
them. None of it knows the database: `concord.sql.queries` finds the tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concord.query.syntax import (
    And,
    Comparison,
    Not,
    Or,
    Query,
    Span,
    Text,
    all_of,
    any_of,
    comparisons,
    texts,
    without_texts,
)

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "And",
    "Comparison",
    "Not",
    "Or",
    "Query",
    "Span",
    "Text",
    "all_of",
    "any_of",
    "comparisons",
    "parse",
    "texts",
    "without_texts",
]


def parse(text: str, *, now: datetime) -> Query:
    """Return the query that a text stands for.

    Dates are those of the user: `now` is aware and in their zone (see `dates.local_now`). Raises
    `Usage`, with the `column` from 1 in its details, for anything that is no query.
    """
    from concord.query.parser import read  # its library is loaded for a query only

    return read(text, now=now)
