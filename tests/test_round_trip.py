"""Foreign files into Concord and out again, through the command line and the database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import make_crew

if TYPE_CHECKING:
    from commands import Here

pytestmark = pytest.mark.crew


ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

TASKWARRIOR = [
    {
        "id": 1,
        "description": "Water the plants 🌱",
        "entry": "20240108T155400Z",
        "modified": "20240109T080000Z",
        "status": "waiting",
        "wait": "20300101T000000Z",
        "due": "20300102T120000Z",
        "project": "home.garden",
        "priority": "H",
        "tags": ["outside", "weekly"],
        "depends": [TWO],
        "uuid": ONE,
        "estimate": 3,
        "annotations": [{"entry": "20240108T160000Z", "description": "With rain water"}],
    },
    {
        "id": 2,
        "description": "مرحبا, buy a can",
        "entry": "20240108T155500Z",
        "modified": "20240109T080000Z",
        "status": "pending",
        "uuid": TWO,
    },
]

TODO_TXT = """\
(A) 2024-01-08 Water the plants +garden @outside due:2030-01-02
x 2024-01-09 2024-01-08 Buy a can @shop pri:B
Call (Bo) about +garden and +house tomorrow key:value
"""

GITHUB = [
    {
        "number": 12,
        "title": "Nothing is lost",
        "body": "Not even\r\nlines.",
        "state": "CLOSED",
        "stateReason": "NOT_PLANNED",
        "labels": [{"id": "L1", "name": "bug", "description": "broken", "color": "d73a4a"}],
        "assignees": [{"id": "U1", "login": "ana", "name": "Ana"}],
        "author": {"id": "U2", "is_bot": False, "login": "bo", "name": ""},
        "createdAt": "2024-01-08T15:54:00Z",
        "closedAt": "2024-01-09T15:54:00Z",
        "updatedAt": "2024-01-09T15:54:00Z",
        "milestone": None,
        "url": "https://github.example/acme/site/issues/12",
    }
]

BACKLOG = """\
---
id: task-1
title: 'Nothing: is lost'
status: In Progress
assignee:
  - '@ana'
created_date: '2024-01-08 15:54'
labels:
  - bug
dependencies: []
priority: high
ordinal: 1000
---

## Description

<!-- SECTION:DESCRIPTION:BEGIN -->
Not even lines.
<!-- SECTION:DESCRIPTION:END -->

## Acceptance Criteria
<!-- AC:BEGIN -->
- [ ] #1 It holds
<!-- AC:END -->
"""

JIRA = """\
\ufeffSummary,Issue key,Issue id,Issue Type,Status,Priority,Assignee,Labels,Labels,Sprint,Comment\r
Nothing is lost,OPS-1,10001,Bug,In Progress,High,ana,a,b,Sprint 7,"09/Jan/24 3:54 PM;bo;One; two\r
lines"\r
"""

LINEAR = """\
ID,Team,Title,Description,Status,Priority,Creator,Assignee,Labels,Cycle Number,Created,UUID
ENG-1,Eng,Nothing is lost,"Not even
lines",In Progress,Urgent,ana@example.org,,"Bug, UI",7,\
Mon Jan 08 2024 15:54:00 GMT+0200 (Central European Summer Time),
"""

TASK_MASTER: dict[str, Any] = {
    "master": {
        "tasks": [
            {
                "id": 1,
                "title": "Nothing is lost",
                "description": "Not even lines",
                "details": "At all",
                "testStrategy": "By races",
                "status": "in-progress",
                "priority": "high",
                "dependencies": [],
                "subtasks": [{"id": 1, "title": "Part", "status": "done", "dependencies": []}],
            }
        ],
        "metadata": {"created": "2024-01-08T15:54:00Z"},
    }
}

FILES: dict[str, str] = {
    "taskwarrior": json.dumps(TASKWARRIOR),
    "todo-txt": TODO_TXT,
    "github": json.dumps(GITHUB),
    "backlog-md": BACKLOG,
    "jira": JIRA,
    "linear": LINEAR,
    "task-master": json.dumps(TASK_MASTER),
}
BOTH_WAYS = ("taskwarrior", "todo-txt", "github", "backlog-md")


def put(here: Here, name: str) -> str:
    """Write a file of a format, or a directory, and return its name."""
    if name == "backlog-md":
        folder = here.home / "backlog" / "tasks"
        folder.mkdir(parents=True)
        (folder / "task-1 - Nothing-is-lost.md").write_text(FILES[name], encoding="utf-8")
        return "backlog"
    (here.home / "file").write_text(FILES[name], encoding="utf-8", newline="")
    return "file"


def bring(here: Here, name: str) -> Any:
    return here.ok("import", name, put(here, name), "--project", "API")


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_brought_once(here: Here, name: str) -> None:
    first = bring(here, name)
    assert first["created"] > 0
    assert first["skipped"] == first["conflicting"] == 0, first
    before = here("export", "jsonl").out
    file = "backlog" if name == "backlog-md" else "file"
    again = here.ok("import", name, file, "--project", "API")
    assert (again["created"], again["updated"]) == (0, 0)
    assert again["unchanged"] == first["created"]
    assert here("export", "jsonl").out == before


@pytest.mark.parametrize("name", FILES)
def test_concords_own_format_carries_all_of_it(
    here: Here, name: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(here, name)
    told = here("export", "jsonl").out
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    here.ok("init")
    make_crew(empty_url)
    here.ok("import", "jsonl", "-", stdin=told)
    again = [json.loads(line) for line in here("export", "jsonl").out.splitlines()]
    before = [json.loads(line) for line in told.splitlines()]
    for task in (*again, *before):
        for comment in task["comments"]:
            del comment["id"]
    assert again == before


def test_taskwarrior_gets_its_own_back(here: Here) -> None:
    bring(here, "taskwarrior")
    garden = here.ok("task", "list", "--project", "HOME-GARDEN")
    assert [task["title"] for task in garden] == ["Water the plants 🌱"]
    told = {task["uuid"]: task for task in json.loads(here("export", "taskwarrior").out)}
    for task in TASKWARRIOR:
        given = {key: task[key] for key in task if key != "id"}  # a number in a list of that moment
        assert {key: told[task["uuid"]].get(key) for key in given} == given


def test_todo_txt_gets_its_own_back(here: Here) -> None:
    bring(here, "todo-txt")
    told = here("export", "todo-txt").out.splitlines()
    with_project = [line for line in TODO_TXT.splitlines() if "+" in line]
    assert [line for line in told if "+API" not in line] == with_project
    (put_there,) = (line for line in told if "+API" in line)
    assert put_there.startswith("x 2024-01-09 2024-01-08 Buy a can +API @shop pri:B")


def test_github_gets_its_own_back(here: Here) -> None:
    bring(here, "github")
    (told,) = json.loads(here("export", "github").out)
    (given,) = GITHUB
    assert {key: told[key] for key in given} == given


def test_backlog_md_gets_its_own_back_byte_for_byte(here: Here) -> None:
    bring(here, "backlog-md")
    here.ok("export", "backlog-md", "out")
    (file,) = (here.home / "out").iterdir()
    assert file.name == "task-1 - Nothing-is-lost.md"
    assert file.read_text(encoding="utf-8") == BACKLOG
    told = here.refused("export", "backlog-md", "out", code=2)
    assert "out is no empty directory" in told


@pytest.mark.parametrize("name", ["markdown", "ics", "csv"])
def test_other_formats_show_it(here: Here, name: str) -> None:
    bring(here, "taskwarrior")
    assert "Water the plants 🌱" in here("export", name).out


def test_jira_and_linear_keep_what_has_no_field(here: Here) -> None:
    bring(here, "jira")
    (task,) = (json.loads(line) for line in here("export", "jsonl").out.splitlines())
    assert (task["status"], task["priority"]) == ("in_progress", "high")
    assert task["tags"] == ["Bug", "a", "b"]
    assert [comment["body"] for comment in task["comments"]] == ["One; two\nlines"]
    assert "Sprint 7" in json.dumps(task["extra"]["jira"])
