"""Tasks as CSV: a header, then a line a task; lists joined by commas."""

from __future__ import annotations

import csv
from dataclasses import fields
from io import StringIO
from typing import TYPE_CHECKING, Any

from concord.models import Task
from concord.plain import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def dump(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield the header and one record a task, without line ends."""
    names = [field.name for field in fields(Task)]
    yield record(names)
    for task in tasks:
        yield record([getattr(task, name) for name in names])


def record(values: Sequence[Any]) -> str:
    """Return values as one CSV record (RFC 4180 quoting), without a line end."""
    out = StringIO()
    # Only what could be taken for the line end given here makes the writer quote.
    csv.writer(out, lineterminator="\r\n").writerow([cell(value) for value in values])
    return out.getvalue().removesuffix("\r\n")
