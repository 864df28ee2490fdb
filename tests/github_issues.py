"""GitHub's issues as `gh` prints them, and what becomes of them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from concord.formats import github
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask

if TYPE_CHECKING:
    from concord.models import ExportedTask, ParsedRow

FULL: dict[str, Any] = {
    "number": 12,
    "title": "Crash on start",
    "body": "Steps:\r\n\r\n1. Start\r\n",
    "state": "CLOSED",
    "stateReason": "DUPLICATE",
    "closed": True,
    "labels": [
        {"id": "LA_2", "name": "good first issue", "description": "", "color": "7057ff"},
        {"id": "LA_1", "name": "bug", "description": "Broken", "color": "d73a4a"},
    ],
    "assignees": [{"id": "U_2", "login": "bo", "name": "Bo"}, {"id": "U_1", "login": "Ana"}],
    "author": {"id": "U_3", "is_bot": False, "login": "cy", "name": ""},
    "createdAt": "2026-01-02T03:04:05Z",
    "updatedAt": "2026-01-04T00:00:00Z",
    "closedAt": "2026-01-03T00:00:00Z",
    "comments": [
        {
            "id": "IC_1",
            "author": {"login": "ana"},
            "authorAssociation": "MEMBER",
            "body": "Same as #3 🙂",
            "createdAt": "2026-01-02T10:00:00Z",
            "url": "https://github.com/octo/app/issues/12#issuecomment-1",
            "reactionGroups": [],
        },
        {
            "id": "IC_2",
            "author": {"login": "bo"},
            "body": "Yes",
            "createdAt": "2026-01-03T00:00:00Z",
        },
    ],
    "milestone": {"number": 1, "title": "v1", "description": "", "dueOn": "2026-02-01T00:00:00Z"},
    "url": "https://github.com/octo/app/issues/12",
    "parent": {"id": "I_9", "number": 9, "title": "Epic", "url": "https://github.com/octo/app/issues/9"},
    "subIssues": {"nodes": [{"number": 13, "title": "Part"}], "totalCount": 1},
    "blockedBy": {
        "nodes": [
            {"number": 3, "title": "First", "url": "https://github.com/octo/app/issues/3"},
            {"number": 3, "title": "Else", "url": "https://github.com/octo/lib/issues/3"},
        ],
        "totalCount": 2,
    },
    "isPinned": False,
    "issueType": {"name": "Bug"},
}  # fmt: skip


def parse(document: str | bytes, *rules: str) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(github.parse(io.BytesIO(data), Words(rules)))


def task_of(issue: Any, *rules: str) -> ImportedTask:
    (row,) = parse(json.dumps([issue]), *rules)
    assert isinstance(row, ImportedTask), row
    return row


def reason_of(document: str | bytes) -> str:
    (row,) = parse(document)
    assert isinstance(row, BadRow), row
    assert row.line == 1
    return row.reason


def issue(**fields: Any) -> dict[str, Any]:
    return {"number": 1, "title": "Do it", "state": "OPEN"} | fields


def dumped(*tasks: ExportedTask) -> list[dict[str, Any]]:
    return json.loads("\n".join(github.dump(iter(tasks))))
