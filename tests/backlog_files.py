"""Files of Backlog.md, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from format_tasks import all_exported

from concord.formats import backlog_md
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from pathlib import Path

    from concord.models import ParsedRow

FULL = """\
---
id: TASK-2
title: 'Everything / all: "options" & more?'
status: In Progress
assignee:
  - '@ana'
  - bo
reporter: '@cy'
created_date: '2026-01-02 03:04'
updated_date: '2026-01-03 00:00'
due_date: '2026-02-01'
labels:
  - bug
  - front end
milestone: MVP
dependencies:
  - TASK-7
  - TASK-1
references:
  - 'https://example.org/x'
parent_task_id: TASK-1
priority: high
type: bug
ordinal: 1000
---

## Description

<!-- SECTION:DESCRIPTION:BEGIN -->
What it is.

## Not a section
- x
<!-- SECTION:DESCRIPTION:END -->

## Acceptance Criteria
<!-- AC:BEGIN -->
- [x] #1 Works
<!-- AC:END -->

## Implementation Notes

<!-- SECTION:NOTES:BEGIN -->
Some 🙂 notes
<!-- SECTION:NOTES:END -->

## Comments

<!-- COMMENTS:BEGIN -->
author: @ana
created: 2026-01-02 10:00
---
Looks good
---

created: 2026-01-02 11:00
---
Second.

Two lines
---
<!-- COMMENTS:END -->

## Final Summary

<!-- SECTION:FINAL_SUMMARY:BEGIN -->
Done well
<!-- SECTION:FINAL_SUMMARY:END -->
"""


def task_file(front: str = "", body: str = "\n\n", **fields: str) -> str:
    told = {"id": "TASK-1", "title": "Do it", "status": "To Do"} | fields
    lines = "".join(f"{name}: {value}\n" for name, value in told.items())
    return f"---\n{lines}{front}---\n{body}"


def backlog(root: Path, **files: str | bytes) -> Path:
    """Write files of `tasks`, by their ids with `_` for `-`, and return the project."""
    for name, content in files.items():
        path = root / "backlog" / "tasks" / f"{name.replace('_', '-')} - x.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def parse(directory: Path, *rules: str) -> list[ParsedRow]:
    return list(backlog_md.parse(directory, Words(rules)))


def row_of(root: Path, content: str | bytes, *rules: str) -> ImportedTask:
    (row,) = parse(backlog(root, task_1=content), *rules)
    assert isinstance(row, ImportedTask), row
    return row


def reason_of(root: Path, content: str | bytes) -> str:
    (row,) = parse(backlog(root, task_1=content))
    assert isinstance(row, BadRow), row
    return row.reason


def dumped(*rows: ImportedTask) -> list[str]:
    return [content for _, content in backlog_md.dump(iter(all_exported(rows, "backlog-md")))]
