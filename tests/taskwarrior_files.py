"""Taskwarrior's exports, as short as can be, and what is read from and written to them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from format_tasks import exported

from concord.formats import taskwarrior
from concord.formats.words import Words
from concord.models import BadRow, ExportedTask, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concord.models import ParsedRow

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
THREE = "33333333-3333-4333-8333-333333333333"
OLD = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = "20260101T000000Z"


def parse(document: str | bytes, *rules: str) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(taskwarrior.parse(io.BytesIO(data), Words(rules)))


def entry(**attributes: Any) -> dict[str, Any]:
    return {"uuid": ONE, "description": "Do it", "status": "pending"} | attributes


def parse_entry(*rules: str, **attributes: Any) -> ImportedTask:
    (row,) = parse(json.dumps([entry(**attributes)]), *rules)
    assert isinstance(row, ImportedTask), row
    return row


def tasks(rows: Iterable[ParsedRow]) -> list[ImportedTask]:
    found = list(rows)
    assert all(isinstance(row, ImportedTask) for row in found), found
    return cast("list[ImportedTask]", found)


def parse_bad(document: str | bytes) -> str:
    (row,) = parse(document)
    assert isinstance(row, BadRow), row
    assert row.line == 1
    return row.reason


def dumped(found: Iterable[ExportedTask]) -> list[dict[str, Any]]:
    return json.loads("\n".join(taskwarrior.dump(found)))


def back(row: ImportedTask, **changes: Any) -> dict[str, Any]:
    """Return what an export says of an imported task that was changed since."""
    (record,) = dumped([replace(exported(row, 1, taskwarrior.NAME), **changes)])
    return record
