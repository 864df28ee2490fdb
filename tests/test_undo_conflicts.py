"""What an undo does not do: what was changed since, what is for good, what a rule forbids."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from undoing import Users, clashes
from workers import psql

from concord.errors import Conflict, NotFound, Refused
from concord.sql import (
    assignments,
    claims,
    comments,
    history,
    links,
    projects,
    tags,
    tasks,
    views,
)
from concord.sql import users as people
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.crew

LEASE = timedelta(hours=1)


@pytest.fixture
def users(url: str) -> Iterator[Users]:
    with Users(url) as made:
        made.bo(tags.add, "old")
        yield made


# Changed since


def test_a_conflict_names_what_by_whom_when_and_the_version(users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers", "priority": "low"})
    hers = users.newest()
    users.bo(tasks.edit, [task], {"title": "his"})
    his = users.newest()
    users.bo(tasks.edit, [task], {"due": None, "description": "More."})
    error = users.refused(Conflict)
    assert error.message == (
        f"by ana of {hers.at:%Y-%m-%d %H:%M:%S} UTC cannot be undone: task {task} is at version 4:"
        f" bo changed title at {his.at:%Y-%m-%d %H:%M:%S} UTC (version 3)"
    )
    assert error.hint == f"Look at it and decide again: concord task show {task}"
    assert error.details == {
        "operation": "by ana",
        "xid": hers.xid,
        "conflicts": [
            {
                "entity": "task",
                "id": task,
                "version": 4,
                "fields": ("title",),
                "changes": [his],
            }
        ],
    }


def test_what_others_did_to_other_fields_stays(users: Users) -> None:
    blockers = [users.add(), users.add()]
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers"})
    users.ana(tags.tag, [task], ["hers"])
    users.ana(assignments.assign, [task], ["me"])
    users.ana(links.block, [task], blockers[:1])
    users.bo(tasks.edit, [task], {"priority": "high"})
    users.bo(tags.tag, [task], ["his"])
    users.bo(assignments.assign, [task], ["me"])
    users.bo(links.block, [task], blockers[1:])
    users.undo(last=4)
    found = users.task(task)
    assert (found.title, found.priority) == ("x", "high")
    assert (found.tags, found.assignees, found.blocked_by) == (("his",), ("bo",), (blockers[1],))


WRITES: list[tuple[Any, Any, str]] = [
    ((tags.tag, ["bug"]), (tags.untag, ["bug"]), "tags"),
    ((tags.untag, ["old"]), (tags.tag, ["old"]), "tags"),
    ((assignments.assign, ["me"]), (assignments.unassign, []), "assignees"),
    ((links.block, [1]), (links.unblock, [1]), "blocked_by"),
    ((tasks.set_status, "completed"), (tasks.set_status, "todo"), "status"),
    ((tasks.delete,), (tasks.restore,), "deleted_at"),
    ((tasks.edit, {"owner": "bo"}), (tasks.edit, {"owner": "ana"}), "owner"),
]
"""What she does to a task, what he does to it then, and the field that both write."""


@pytest.mark.parametrize(("hers", "his", "field"), WRITES)
def test_what_was_written_must_be_what_it_was_left_at(
    users: Users, hers: tuple[Any, ...], his: tuple[Any, ...], field: str
) -> None:
    users.add()
    task = users.add(tags=["old"])
    users.ana(hers[0], [task], *hers[1:])
    users.bo(his[0], [task], *his[1:])
    error = users.refused(Conflict)
    ((_, number, fields),) = clashes(error)
    assert number == task
    assert field in fields
    (change, *_) = error.details["conflicts"][0]["changes"]
    assert change.actor == "bo"


def test_a_status_that_was_set_again_is_not_what_it_was_left_at(users: Users) -> None:
    task = users.add()
    users.ana(tasks.set_status, [task], "completed")
    users.bo(tasks.set_status, [task], "todo")
    users.bo(tasks.set_status, [task], "completed")
    assert clashes(users.refused(Conflict)) == [("task", task, ("completed_at",))]


def test_a_value_that_was_put_back_by_hand_is_as_it_was_left(users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers"})
    users.bo(tasks.edit, [task], {"title": "his"})
    users.bo(tasks.edit, [task], {"title": "hers"})
    users.undo()
    assert users.task(task).title == "x"


def test_of_a_bulk_nothing_is_undone_if_one_was_changed(users: Users) -> None:
    some = [users.add() for _ in range(5)]
    users.ana(tasks.set_status, some, "canceled")
    users.bo(tasks.set_status, some[:4], "todo")
    error = users.refused(Conflict)
    assert [number for _, number, _ in clashes(error)] == some[:4]
    assert error.message.endswith("; and 1 more")
    users.bo(tasks.set_status, some[:4], "canceled")
    users.undo()
    assert {users.task(number).status for number in some} == {"todo"}


def test_of_several_nothing_is_undone_if_one_is_not(users: Users) -> None:
    first, second = users.add(), users.add()
    users.ana(tasks.edit, [first], {"title": "hers"})
    users.ana(tasks.edit, [second], {"title": "hers"})
    users.bo(tasks.edit, [first], {"title": "his"})
    users.refused(Conflict, last=2)
    users.undo(last=1)


@pytest.mark.parametrize("what", ["field", "tag", "comment", "child", "link", "claim", "trash"])
def test_a_new_task_that_others_have_touched_stays(users: Users, what: str) -> None:
    other = users.bo(tasks.add, tasks.NewTask("his")).id
    task = users.add(priority="urgent")
    match what:
        case "field":
            users.bo(tasks.edit, [task], {"description": "More."})
        case "tag":
            users.bo(tags.tag, [task], ["his"])
        case "comment":
            users.bo(comments.add, [task], "Why?")
        case "child":
            other = users.bo(tasks.add, tasks.NewTask("his part", parent=task)).id
        case "link":
            users.bo(links.block, [other], [task])
        case "claim":
            users.bo(claims.claim, Filters(), lease=LEASE)
        case _:
            users.bo(tasks.delete, [task])
    error = users.refused(Conflict)
    expected = {
        "field": ("description",),
        "tag": ("tags",),
        "comment": ("comments",),
        "child": ("children",),
        "link": ("blocks",),
        "claim": ("status", "assignees", "claim"),
        "trash": ("deleted_at",),
    }
    ((_, _, fields),) = clashes(error)
    assert set(fields) == set(expected[what])
    did = {
        "comment": "bo commented",
        "child": f"bo made {other} a part of it",
        "link": f"bo made {other} wait for it",
    }
    assert did.get(what, "bo changed") in error.message


def test_what_was_attached_to_a_new_task_and_is_gone_is_no_obstacle(users: Users) -> None:
    task = users.add()
    part = users.bo(tasks.add, tasks.NewTask("his part", parent=task)).id
    users.bo(tasks.delete, [part])
    users.bo(tags.tag, [task], ["his"])
    users.bo(tags.untag, [task], ["his"])
    users.undo()
    assert users.task(task).deleted_at is not None


def test_a_task_that_somebody_holds_is_not_taken_from_them(users: Users) -> None:
    task = users.add()
    users.ana(tasks.set_status, [task], "in_progress")
    users.bo(tasks.set_status, [task], "todo")
    users.bo(claims.claim, Filters(), lease=LEASE)
    assert clashes(users.refused(Conflict)) == [("task", task, ("claim",))]


def test_a_task_that_is_gone(users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "y"})
    users.bo(tasks.delete, [task])
    users.bo(tasks.purge, [task])
    error = users.refused(Conflict)
    assert clashes(error) == [("task", task, ())]
    assert f"task {task} is gone: bo removed it" in error.message


# Names that others have changed


def test_names_may_change_meanwhile(users: Users) -> None:
    users.ana(projects.add, "API")
    users.ana(people.add, "cy")
    task = users.add(project="API", tags=["bug"], assignees=["cy"])
    before = users.state()
    users.ana(tasks.move, [task], None)
    users.ana(tags.untag, [task], ["bug"])
    users.ana(assignments.unassign, [task], [])
    users.bo(tags.rename, "bug", "worm")
    users.bo(tags.rename, "worm", "defect")
    users.bo(tags.add, "bug")
    users.bo(projects.edit, "API", {"key": "WEB"})
    users.bo(people.edit, "cy", {"username": "dee"})
    users.undo(last=3)
    found = users.task(task)
    assert (found.project, found.tags, found.assignees) == ("WEB", ("defect",), ("dee",))
    assert users.state()["task", task]["title"] == before["task", task]["title"]


def test_a_name_that_is_another_ones_by_now_is_not_taken_for_it(users: Users) -> None:
    task = users.add()
    users.ana(tags.tag, [task], ["bug"])
    users.bo(tags.rename, "bug", "defect")
    users.bo(tags.tag, [task], ["bug"])
    users.undo()
    assert users.task(task).tags == ("bug",)


def test_what_is_gone_cannot_be_put_back(users: Users) -> None:
    users.ana(people.add, "cy")
    task = users.add(assignees=["cy"])
    users.ana(assignments.unassign, [task], [])
    users.bo(people.delete, "cy")
    error = users.refused(Conflict)
    assert error.details == {"users": ["cy"]}


def test_a_tag_that_is_gone_appears_again(users: Users) -> None:
    task = users.add(tags=["bug"])
    users.ana(tags.untag, [task], ["bug"])
    users.bo(tags.delete, "bug")
    users.undo()
    assert users.task(task).tags == ("bug",)


def test_a_project_that_is_gone_or_archived_takes_no_task_back(users: Users) -> None:
    users.ana(projects.add, "API")
    task = users.add(project="API")
    users.ana(tasks.move, [task], None)
    users.bo(projects.archive, "API")
    users.refused(Refused)
    users.bo(projects.delete, "API")
    users.refused(NotFound)


# Things in use


def test_what_is_in_use_is_not_removed(users: Users) -> None:
    users.ana(projects.add, "API")
    users.ana(people.add, "cy")
    users.ana(tags.add, "bug")
    task = users.bo(tasks.add, tasks.NewTask("his", project="API", tags=["bug"], assignees=["cy"]))
    for entity, name in (("tag", "bug"), ("user", "cy"), ("project", "API")):
        (change,) = [
            change
            for change in users.ana(history.page, history.Filters(actor="ana")).items
            if change.entity == entity
        ]
        error = users.refused(Conflict, change=change.id)
        assert f"{entity} {name} is in use by now: bo used it in task {task.id}" in error.message


def test_what_came_along_with_a_task_stays_for_others(users: Users) -> None:
    first, second = users.add(), users.add()
    users.ana(tags.tag, [first], ["bug", "ui"])
    users.bo(tags.tag, [second], ["bug"])
    users.undo()
    assert [users.task(number).tags for number in (first, second)] == [(), ("bug",)]
    assert {value["name"] for key, value in users.state().items() if key[0] == "tag"} == {
        "old",
        "bug",
    }


def test_what_came_along_and_was_renamed_stays(users: Users) -> None:
    task = users.add()
    users.ana(tags.tag, [task], ["bug"])
    users.bo(tags.rename, "bug", "defect")
    users.undo()
    assert users.task(task).tags == ()
    assert "defect" in [one.name for one in users.bo(tags.list_all)]


@pytest.mark.parametrize("entity", ["user", "project", "tag", "view", "comment"])
def test_things_that_were_changed_since(users: Users, url: str, entity: str) -> None:
    task = users.add()
    match entity:
        case "user":
            users.ana(people.add, "cy")
            users.bo(people.edit, "cy", {"email": "cy@example.org"})
        case "project":
            users.ana(projects.add, "API")
            users.bo(projects.archive, "API")
        case "tag":
            users.ana(tags.add, "bug")
            users.bo(tags.rename, "bug", "defect")
        case "view":
            users.ana(views.save, "mine", ["--trash"])
            psql(url, "UPDATE views SET options = '{--assigned}'")
        case _:
            users.ana(comments.add, [task], "Hers.")
            psql(url, "UPDATE comments SET body = 'His.'")
    ((told, _, (field,)),) = clashes(users.refused(Conflict))
    assert told == entity
    assert field in ("email", "archived_at", "name", "options", "body")


def test_things_that_are_gone_or_there_again(users: Users, url: str) -> None:
    task = users.add()
    users.ana(comments.add, [task], "Hers.")
    psql(url, "DELETE FROM comments")
    assert clashes(users.refused(Conflict))[0][2] == ()
    gone = users.ana(tags.add, "bug").id
    users.ana(tags.delete, "bug")
    users.bo(tags.add, "BUG")
    assert users.refused(Conflict).details["constraint"] == "tags_name_key"
    users.bo(tags.delete, "bug")
    psql(url, "INSERT INTO tags (id, name) VALUES (%s, 'another')", gone)
    assert users.refused(Conflict).details == {"entity": "tag", "ids": [gone]}
