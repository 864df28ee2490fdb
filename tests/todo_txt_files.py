"""Lines of a todo.txt, and what is read from and written to them."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from format_tasks import exported

from concord.formats import todo_txt
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concord.models import ParsedRow


def parse(document: str | bytes, *rules: str) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(todo_txt.parse(io.BytesIO(data), Words(rules)))


def tasks(rows: Iterable[ParsedRow]) -> list[ImportedTask]:
    found = list(rows)
    assert all(isinstance(row, ImportedTask) for row in found), found
    return cast("list[ImportedTask]", found)


def parse_line(line: str | bytes, *rules: str) -> ImportedTask:
    (row,) = parse(line, *rules)
    assert isinstance(row, ImportedTask), row
    return row


def parse_bad(document: str | bytes) -> str:
    (row,) = parse(document)
    assert isinstance(row, BadRow), row
    assert row.line == 1
    return row.reason


def back(row: ImportedTask, **changes: Any) -> str:
    """Return the line that an export makes of an imported task that was changed since."""
    (line,) = todo_txt.dump([replace(exported(row, 1, todo_txt.NAME), **changes)])
    return line
