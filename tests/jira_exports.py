"""Jira's exports, made of cells, and what they are read as."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from foreign_tables import table

from concord.formats import jira
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.models import ParsedRow

HEADER = [
    "Summary", "Issue key", "Issue id", "Issue Type", "Status", "Project key", "Project name",
    "Priority", "Resolution", "Assignee", "Assignee Id", "Reporter", "Creator", "Created",
    "Updated", "Last Viewed", "Resolved", "Fix Version/s", "Fix Version/s", "Component/s",
    "Due date", "Labels", "Labels", "Description", "Watchers", "Watchers",
    "Inward issue link (Blocks)", "Inward issue link (Blocks)", "Outward issue link (Blocks)",
    "Custom field (Story Points)", "Sprint", "Comment", "Comment", "Parent", "Parent key",
    "Status Category",
]  # fmt: skip


def parse(document: str | bytes, words: Words | None = None) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(jira.parse(io.BytesIO(data), words or Words()))


def parse_row(cells: Sequence[tuple[str, str]], words: Words | None = None) -> ParsedRow:
    named = [("Issue key", "API-1"), ("Summary", "Do it"), *cells]
    (row,) = parse(table([name for name, _ in named], [cell for _, cell in named]), words)
    return row


def task(*cells: tuple[str, str], words: Words | None = None) -> ImportedTask:
    row = parse_row(cells, words)
    assert isinstance(row, ImportedTask), row
    return row


def reason(*cells: tuple[str, str]) -> str:
    row = parse_row(cells)
    assert isinstance(row, BadRow), row
    assert row.line == 2
    return row.reason


def tasks(document: str) -> list[ImportedTask]:
    rows = parse(document)
    assert all(isinstance(row, ImportedTask) for row in rows), rows
    return [row for row in rows if isinstance(row, ImportedTask)]
