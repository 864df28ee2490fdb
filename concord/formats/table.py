"""Tasks as CSV: a header, then a record a task; lists joined by commas, comments and extra as JSON.

Cells are what they are, so that programs read back what was written. A spreadsheet takes one that
begins with `=`, `+`, `-` or `@` for a formula: for it, such cells have an apostrophe in front. So
have those that begin with one, so that each can be taken off again.
"""

from __future__ import annotations

import csv
import re
from dataclasses import fields
from io import StringIO
from itertools import chain
from typing import TYPE_CHECKING, Any

from concord.models import ExportedTask
from concord.plain import cell, dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from concord.models import Task


# Spreadsheets overlook space in front, and take the wide signs of East Asian text for the others.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|['\t\r\n]")


def dump(tasks: Iterable[Task], *, spreadsheet: bool = False) -> Iterator[str]:
    """Yield the header and one record a task, without line ends.

    The columns are the fields of the first task, and of an `ExportedTask` where there is none. For
    a `spreadsheet`, no cell is a formula.
    """
    rest = iter(tasks)
    first = next(rest, None)
    names = [field.name for field in fields(ExportedTask if first is None else first)]
    yield record(names)
    for task in chain(() if first is None else (first,), rest):
        told = [_told(name, getattr(task, name)) for name in names]
        yield record([harmless(cell(value)) for value in told] if spreadsheet else told)


def harmless(text: str) -> str:
    """Return a cell's text as a spreadsheet shows it, and never calculates it."""
    return f"'{text}" if _FORMULA.match(text) else text


def record(values: Sequence[Any]) -> str:
    """Return values as one CSV record (RFC 4180 quoting), without a line end."""
    out = StringIO()
    # Only what could be taken for the line end given here makes the writer quote.
    csv.writer(out, lineterminator="\r\n").writerow([cell(value) for value in values])
    return out.getvalue().removesuffix("\r\n")


def _told(name: str, value: Any) -> Any:
    # Joined by commas, as names are, these would be no JSON.
    return dumps(value) if name == "comments" else value
