"""What is wrong with a query, and where."""

from __future__ import annotations

import difflib
import unicodedata
from typing import TYPE_CHECKING

from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

_AROUND = 60
"""How many characters of a long query are shown on either side of a fault."""


def fault(text: str, start: int, message: str, hint: str | None = None) -> Usage:
    """Return the error for what stands at `start` (from 0), with that place in the query shown."""
    column = start + 1
    return Usage(
        f"{message} (column {column})\n{_shown(text, start)}", hint=hint, query=text, column=column
    )


def near(word: str, known: Iterable[str]) -> str:
    """Return the question whether one of some known words was meant, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=3)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _shown(text: str, start: int) -> str:
    """Return the query, or what is around the place in a long one, and a caret below the place."""
    begin = max(0, start - _AROUND)
    before = "…" * (begin > 0) + text[begin:start]
    after = text[start : start + _AROUND] + "…" * (start + _AROUND < len(text))
    return f"  {_on_one_line(before + after)}\n  {' ' * _width(_on_one_line(before))}^"


def _on_one_line(text: str) -> str:
    # What a terminal would obey, or show in no cell or several, would put the caret elsewhere.
    return "".join(char if unicodedata.category(char)[0] not in "CZ" else " " for char in text)


def _width(text: str) -> int:
    """Return how many cells of a terminal a text fills."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )
