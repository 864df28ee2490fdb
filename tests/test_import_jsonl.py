"""Concord's own format carries all that is between tasks, there and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from importing import NOTHING
from made_up_files import own_line
from workers import psql

if TYPE_CHECKING:
    import pytest
    from commands import Here


LATER = ("parent", "auto_close", "recurrence", "blocked_by", "comments")
"""What lines of an older Concord do not have."""


def counts(**given: int) -> dict[str, Any]:
    lists: dict[str, Any] = {"conflicts": [], "unlinked": [], "words": []}
    return NOTHING | lists | given


def export(here: Here) -> list[dict[str, Any]]:
    return [json.loads(line) for line in here("export", "jsonl").out.splitlines()]


def bring(here: Here, tasks: list[dict[str, Any]]) -> Any:
    return here.ok("import", "jsonl", "-", stdin="\n".join(map(json.dumps, tasks)))


def entwine(here: Here, url: str) -> None:
    """Make tasks that have to do with each other in all ways, and one that stands far off."""
    psql(url, "INSERT INTO tasks (id, title, owner_id) VALUES (1000000, 'Far', 1)")
    here.ok("task", "add", "Whole", "--auto-close")
    here.ok("task", "add", "Part", "--parent", "1", "--every", "2d", "--due", "2030-06-28")
    here.ok("task", "add", "Next", "--parent", "1", "--blocked-by", "2", "--blocked-by", "1000000")
    psql(url, "UPDATE tasks SET recurrence_zone = 'Europe/Berlin' WHERE id = 2")
    here.ok("task", "comment", "3", "Late and\n*long*, 日本")
    here.ok("task", "comment", "2", "Early")
    here.ok("task", "comment", "3", "Later")
    here.ok("task", "done", "2")
    here.ok("task", "add", "Dropped")
    here.ok("task", "cancel", "5")
    here.ok("task", "add", "Begun")
    here.ok("task", "start", "6")
    here.ok("task", "claim")


def carried(tasks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is to come back, by uid: all but claims, and the numbers of comments."""
    for task in tasks:
        task["claim"] = None
        for comment in task["comments"]:
            comment["id"] = None
    return {task["uid"]: task for task in tasks}


def renumbered(task: dict[str, Any], before: int, after: int) -> dict[str, Any]:
    """Return a task as it is where another one has another number."""

    def known(number: int | None) -> int | None:
        return after if number == before else number

    renamed = {name: known(task[name]) for name in ("id", "parent", "previous")}
    lists = {
        name: sorted(map(known, task[name]), key=lambda number: number or 0)
        for name in ("blocked_by", "blocks", "children")
    }
    comments = [comment | {"task": known(comment["task"])} for comment in task["comments"]]
    return task | renamed | lists | {"comments": comments}


def test_tasks_come_back_with_all_that_is_between_them(
    here: Here, url: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entwine(here, url)
    exported = export(here)
    told = carried(export(here))
    part, following = (
        next(task for task in exported if task["title"] == title) for title in ("Part", "Next")
    )
    assert following["blocked_by"] == [2, 1000000]
    assert part["recurrence_zone"] == "Europe/Berlin"
    assert any(task["previous"] == 2 for task in exported)
    assert any(task["claim"] for task in exported)
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    here.ok("init")
    here.ok("task", "add", "Was here first, as number 1")
    assert bring(here, exported) == counts(created=len(told))
    again = carried([task for task in export(here) if task["uid"] in told])
    (taken,) = {task["id"] for task in again.values()} - {task["id"] for task in told.values()}
    assert again == {uid: renumbered(task, 1, taken) for uid, task in told.items()}
    assert bring(here, exported) == counts(unchanged=len(told))


def test_a_claim_is_not_carried(
    here: Here, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.ok("task", "add", "x")
    here.ok("task", "claim")
    exported = export(here)
    assert exported[0]["claim"]["epoch"] == 1
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    here.ok("init")
    bring(here, exported)
    (task,) = export(here)
    assert (task["status"], task["assignees"], task["claim"]) == ("in_progress", ["ana"], None)


def test_what_a_line_does_not_tell_stays_as_it_is(here: Here) -> None:
    here.ok("task", "add", "Whole")
    here.ok("task", "add", "Blocker")
    ties = ("--parent", "1", "--blocked-by", "2", "--auto-close", "--every", "1d")
    here.ok("task", "add", "Do it", *ties)
    here.ok("task", "comment", "3", "Said")
    before = export(here)
    older = [{name: value for name, value in task.items() if name not in LATER} for task in before]
    assert bring(here, older) == counts(unchanged=3)
    assert export(here) == before
    older[2]["title"] = "Do it now"
    assert bring(here, older) == counts(updated=1, unchanged=2)
    assert {name: export(here)[2][name] for name in LATER} == {
        name: before[2][name] for name in LATER
    }


def test_an_older_file_is_remembered_beside_what_a_newer_one_told(here: Here) -> None:
    bring(here, [own_task(1), own_task(2, blocked_by=[1])])
    here.ok("task", "unblock", "2")
    bring(here, [own_task(1), own_task(2)])
    assert bring(here, [own_task(1), own_task(2, blocked_by=[1])]) == counts(unchanged=2)
    assert here.ok("task", "show", "2")["blocked_by"] == [], "removed here"


def own_task(number: int, **fields: Any) -> dict[str, Any]:
    return json.loads(own_line(number, id=number, **fields))


def test_what_changes_in_a_file_changes_here(here: Here) -> None:
    bring(here, [own_task(1), own_task(2), own_task(3, recurrence="every 1d", parent=1)])
    later = own_task(3, recurrence="every mon,wed", parent=2, auto_close=True, blocked_by=[1])
    assert bring(here, [own_task(1), own_task(2), later]) == counts(updated=1, unchanged=2)
    shown = export(here)[2]
    assert {name: shown[name] for name in ("parent", "auto_close", "blocked_by")} == {
        "parent": 2,
        "auto_close": True,
        "blocked_by": [1],
    }
    assert (shown["recurrence"], shown["recurrence_zone"]) == ("every mon,wed", "UTC")


def test_a_task_that_has_its_next_one_keeps_it(here: Here) -> None:
    bring(here, [own_task(1), own_task(2, previous=1)])
    assert bring(here, [own_task(1), own_task(3, previous=1)]) == counts(created=1, unchanged=1)
    assert [task["previous"] for task in export(here)] == [None, 1, None]


def test_what_recurs_has_one_next_one_when_its_file_completes_it(here: Here) -> None:
    recurring = {"recurrence": "every 1d", "due": "2030-01-01T00:00:00Z"}
    bring(here, [own_task(1, **recurring)])
    done = own_task(1, **recurring, status="completed")
    assert bring(here, [done, own_task(2, **recurring, previous=1)])["created"] == 1
    assert [task["previous"] for task in export(here)] == [None, 1]
