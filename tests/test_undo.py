"""Undo, kind by kind: what was done is as if it had not been, and done again when undone twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from undoing import Users, by_hand
from workers import psql

from concord.errors import Empty, Forbidden, NotFound, Refused
from concord.models import ImportedTask
from concord.sql import (
    assignments,
    claims,
    comments,
    history,
    imports,
    links,
    projects,
    tags,
    tasks,
    undo,
    views,
)
from concord.sql import users as people
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.crew

DUE = datetime(2030, 1, 1, 9, tzinfo=UTC)
RECURRING = {"recurrence": "every 2w", "recurrence_zone": "Asia/Tokyo"}
LEASE = timedelta(hours=1)


@pytest.fixture
def users(url: str) -> Iterator[Users]:
    with Users(url) as made:
        made.bo(tags.add, "old")
        made.ana(projects.add, "API")
        made.ana(projects.add, "WEB")
        yield made


def there_and_back(users: Users, operation: Any, *given: Any, **options: Any) -> None:
    """Do something, undo it, and undo that: the state follows."""
    before = users.state()
    users.ana(operation, *given, **options)
    after = users.state()
    assert after != before
    users.undo()
    assert users.state() == before
    users.undo()
    assert users.state() == after


# Tasks


EDITS: list[dict[str, Any]] = [
    {"title": "y"},
    {"description": "More."},
    {"description": None},
    {"priority": "urgent", "due": DUE},
    {"due": None},
    {"owner": "bo"},
    {"parent": 1},
    {"auto_close": True},
    RECURRING,
    {"status": "in_progress"},
    {"status": "completed"},
    {"status": "canceled", "title": "y"},
]


def test_an_edit_of_every_field(users: Users) -> None:
    users.add("whole")
    for fields in EDITS:
        task = users.add(description="Some.", due=DUE + timedelta(microseconds=1))
        there_and_back(users, tasks.edit, [task], fields)


def test_a_recurrence_comes_back_with_the_zone_that_it_had(users: Users) -> None:
    task = users.add(**RECURRING)
    there_and_back(users, tasks.edit, [task], {"recurrence": None, "recurrence_zone": None})
    users.undo()
    there_and_back(users, tasks.edit, [task], RECURRING | {"recurrence_zone": "UTC"})


def test_what_was_completed_is_completed_at_the_same_time_again(users: Users) -> None:
    task = users.add()
    (done,) = users.ana(tasks.set_status, [task], "completed")
    users.ana(tasks.set_status, [task], "todo")
    users.undo()
    assert users.task(task).completed_at == done.completed_at


BULK: list[tuple[Any, list[Any]]] = [
    (tags.tag, [["bug", "OLD"]]),
    (tags.untag, [["ui"]]),
    (assignments.assign, [["bo"]]),
    (assignments.unassign, [[]]),
    (links.block, [[1]]),
    (links.unblock, [[]]),
    (tasks.move, ["WEB"]),
    (tasks.move, [None]),
    (tasks.delete, []),
    (comments.add, ["Yes."]),
]


def test_what_is_done_to_several_tasks(users: Users) -> None:
    users.add()
    blocker = users.add()
    for operation, given in BULK:
        some = [
            users.add(project="API", tags=["ui"], assignees=["me"], blocked_by=[blocker])
            for _ in range(3)
        ]
        there_and_back(users, operation, some, *given)


def test_a_new_task_goes_to_the_trash_with_all_that_it_has(users: Users) -> None:
    blocker = users.add("first")
    before = users.state()
    task = users.add(tags=["old", "new"], assignees=["bo"], blocked_by=[blocker], project="API")
    after = users.state()
    told = users.undo()
    assert users.state() == before
    assert [(row.entity, sorted(row.new)) for row in told] == [
        ("task", ["deleted_at", "tags"]),
        ("tag", []),
    ]
    found = users.task(task)
    # A tag that came with it goes as well.
    assert (found.tags, found.assignees, found.blocked_by) == (("old",), ("bo",), (blocker,))
    users.undo()
    assert users.state() == after


def test_what_was_made_for_tasks_that_are_undone_as_well_goes(users: Users) -> None:
    before = users.state()
    users.ana(projects.add, "NEW")
    users.ana(people.add, "cy")
    users.ana(tags.add, "new")
    users.add(project="NEW", tags=["new", "newer"], assignees=["cy"])
    after = users.state()
    users.undo(last=4)
    assert users.state() == before
    users.undo()
    assert users.state() == after


def test_a_name_that_was_taken_again(users: Users) -> None:
    task = users.add(tags=["bug"])
    before = users.state()
    users.ana(tags.delete, "bug")
    users.ana(tags.tag, [task], ["bug", "ui"])
    users.ana(tags.rename, "ui", "x")
    after = users.state()
    users.undo(last=3)
    assert users.state() == before
    users.undo()
    assert users.state() == after


def test_what_was_restored_goes_back_to_the_trash(users: Users) -> None:
    task = users.add()
    (gone,) = users.ana(tasks.delete, [task])
    there_and_back(users, tasks.restore, [task])
    users.undo()
    assert users.task(task).deleted_at == gone.deleted_at


def test_the_next_of_a_recurring_task_goes_to_the_trash_and_comes_back(users: Users) -> None:
    task = users.add(due=DUE, tags=["ui"], assignees=["bo"], **RECURRING)
    there_and_back(users, tasks.set_status, [task], "completed")
    (following,) = [
        number for entity, number in users.state() if entity == "task" and number > task
    ]
    users.undo()
    assert users.task(following).deleted_at is not None
    users.undo()
    assert users.task(following).tags == ("ui",)


def test_a_parent_that_closed_with_its_last_part_opens_again(users: Users) -> None:
    whole = users.add(auto_close=True)
    part = users.add(parent=whole)
    there_and_back(users, tasks.set_status, [part], "completed")
    assert users.task(whole).status == "completed"


def test_an_undo_brings_about_nothing_that_was_not_so(users: Users) -> None:
    # Completing the part again would close the whole, and the task make its next one.
    whole = users.add(auto_close=True)
    part = users.add(parent=whole)
    task = users.add(due=DUE)
    users.ana(tasks.set_status, [part, task], "completed")
    users.ana(tasks.set_status, [whole], "todo")
    users.ana(tasks.edit, [task], RECURRING)
    before = users.state()
    there_and_back(users, tasks.set_status, [part, task], "todo")
    users.undo()
    assert users.state() == before
    users.undo(last=2)
    assert users.state() == before


def test_a_task_that_was_claimed_is_to_do_again(users: Users) -> None:
    task = users.add()
    for end in ("completed", "canceled"):
        users.ana(claims.claim, Filters(), lease=LEASE)
        users.ana(tasks.set_status, [task], end)
        users.undo()
        found = users.task(task)
        assert (found.status, found.claim, found.assignees) == ("todo", None, ("ana",))
    (again,) = users.ana(claims.claim, Filters(), lease=LEASE)
    users.ana(tasks.delete, [task])
    users.undo()
    assert (users.task(task).status, again.claim.epoch) == ("todo", 3)


def test_a_task_that_was_taken_up_without_a_claim_is_in_progress_again(users: Users) -> None:
    task = users.add(status="in_progress")
    there_and_back(users, tasks.set_status, [task], "completed")


# Users, projects, tags, views, comments


def test_a_project(users: Users) -> None:
    there_and_back(users, projects.add, "NEW", "A project", "About it.")
    there_and_back(users, projects.edit, "NEW", {"key": "NEWER", "owner": "bo", "name": "y"})
    there_and_back(users, projects.archive, "NEWER")
    there_and_back(users, projects.archive, "NEWER", archived=False)
    for limit in (3, 1, None):
        there_and_back(users, projects.edit, "NEWER", {"wip_limit": limit})
    there_and_back(users, projects.delete, "NEWER")


def test_a_user_with_what_went_with_them(users: Users, url: str) -> None:
    there_and_back(users, people.add, "cy", "cy@example.org")
    there_and_back(users, people.edit, "cy", {"username": "cyd", "email": None})
    some = [users.add(assignees=["bo", "cyd"]) for _ in range(2)]
    psql(url, "INSERT INTO views (owner_id, name, options) SELECT id, 'v', '{--trash}' FROM users")
    there_and_back(users, people.delete, "cyd")
    users.undo()
    assert users.task(some[0]).assignees == ("bo", "cyd")


def test_a_tag_with_the_tasks_that_carried_it(users: Users) -> None:
    there_and_back(users, tags.add, "bug")
    some = [users.add(tags=["bug", "ui"]) for _ in range(2)]
    there_and_back(users, tags.rename, "bug", "defect")
    there_and_back(users, tags.delete, "defect")
    users.undo()
    assert users.task(some[1]).tags == ("defect", "ui")


def test_a_view(users: Users) -> None:
    there_and_back(users, views.save, "mine", ["--assignee", "me"])
    there_and_back(users, views.save, "Mine", ["--trash"], replace=True)
    there_and_back(users, views.delete, "mine")


def test_a_comment_that_was_deleted_is_there_as_it_was(users: Users, url: str) -> None:
    task = users.add()
    users.bo(comments.add, [task], "His.")
    before = users.state()
    by_hand(url, "DELETE FROM comments")
    assert users.state() != before
    (row,) = users.undo()
    assert (row.entity, row.task, row.old, row.new["author"]) == ("comment", task, {}, "bo")
    assert users.state() == before


# Imports


def test_an_import(users: Users) -> None:
    old = ImportedTask("T1", "One", 1, tags=("ui",), assignees=("dee",))
    first = users.state()
    users.ana(imports.run, [old], format_name="spec-kit", project="IMP")
    before = users.state()
    rows = [
        ImportedTask("T1", "Uno", 1, priority="high", tags=("ui", "imported")),
        ImportedTask("T2", "Two", 2, assignees=("cy",), tags=("imported",)),
    ]
    users.ana(imports.run, rows, format_name="spec-kit", project="IMP")
    after = users.state()
    users.undo()
    assert users.state() == before
    report = users.ana(imports.run, rows, format_name="spec-kit", project="IMP", dry_run=True)
    assert (report.created, report.updated) == (0, 0), "what was undone is not brought back"
    users.undo()
    assert users.state() == after
    users.undo(last=4)
    assert users.state() == first


# Which


def test_the_last_ones_are_undone_together(users: Users) -> None:
    task = users.add()
    before = users.state()
    users.ana(tasks.edit, [task], {"title": "y"})
    users.ana(tags.tag, [task], ["bug"])
    users.ana(tags.rename, "bug", "defect")
    users.ana(tasks.edit, [task], {"title": "z"})
    version = users.task(task).version
    undone = users.undo(last=4)
    assert users.state() == before
    assert [row.new.get("title") for row in undone if "title" in row.new] == ["y", "x"]
    assert users.task(task).version == version + 1
    assert {users.newest().xid} == {
        change.xid for change in users.ana(history.page, history.Filters(), limit=4).items
    }


def test_only_ones_own_are_undone(users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers"})
    users.bo(tasks.edit, [task], {"priority": "high"})
    users.undo()
    assert (users.task(task).title, users.task(task).priority) == ("x", "high")


def test_a_change_names_its_transaction(users: Users) -> None:
    first, second = users.add(), users.add()
    users.ana(tags.tag, [first, second], ["bug"])
    changes = users.ana(history.page, history.Filters(), limit=3).items
    users.ana(tasks.edit, [second], {"title": "y"})
    assert {change.entity for change in changes} == {"task", "tag"}
    users.undo(change=changes[-1].id)
    assert [users.task(number).tags for number in (first, second)] == [(), ()]
    assert users.task(second).title == "y"


def test_a_change_of_somebody_else_and_one_that_never_was(users: Users) -> None:
    task = users.add()
    users.bo(tasks.edit, [task], {"title": "his"})
    change = users.newest()
    error = users.refused(Forbidden, change=change.id)
    assert error.details == {"change": change.id, "actor": "bo", "xid": change.xid}
    users.refused(NotFound, change=10**6)


def test_there_is_nothing_to_undo(url: str) -> None:
    with Users(url) as users:
        users.refused(Empty)
        task = users.add()
        users.undo()
        error = users.refused(Empty, last=3)
        assert error.details == {"found": 2}
        assert users.task(task).deleted_at is not None


def test_who_came_with_their_first_operation_stays(url: str) -> None:
    with Users(url) as users:
        users.bo(tags.add, "his")
        assert [
            change.entity for change in users.bo(history.page, history.Filters(), limit=2).items
        ] == ["tag", "user"]
        assert [row.entity for row in users.bo(undo.run)] == ["tag"]
        users.bo(undo.run)
        with pytest.raises(Empty):
            users.bo(undo.run, last=4)


# A dry run


def test_a_dry_run_tells_the_same_and_changes_nothing(users: Users) -> None:
    some = [users.add(due=DUE, **RECURRING) for _ in range(2)]
    users.ana(tasks.edit, some, {"status": "completed", "title": "y"})
    users.ana(tags.tag, some, ["bug"])
    before, told = users.state(), users.newest()
    tried = users.undo(last=2, dry_run=True)
    assert (users.state(), users.newest(), users.task(some[0]).version) == (before, told, 3)
    undone = users.undo(last=2)
    assert [row.entity_id for row in tried] == [row.entity_id for row in undone]
    (edited,) = [row for row in tried if row.entity_id == some[0] and "title" in row.new]
    assert (edited.old["title"], edited.new["title"]) == ("y", "x")


def test_a_dry_run_knows_what_a_rule_would_say(users: Users) -> None:
    users.ana(projects.edit, "API", {"wip_limit": 1})
    task = users.add(project="API", status="in_progress")
    users.ana(tasks.set_status, [task], "completed")
    users.bo(tasks.add, tasks.NewTask("his", project="API", status="in_progress"))
    users.refused(Refused, dry_run=True)
    users.refused(Refused)


def test_undone_is_told_in_the_words_of_history(users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"priority": "high"})
    change = users.newest()
    (row,) = users.undo()
    assert (row.xid, row.at, row.operation) == (change.xid, change.at, "by ana")
    assert (row.old, row.new) == (change.new, change.old)
    told = users.newest()
    assert (told.old, told.new, told.version) == (row.old, row.new, 3)
    assert undo.run.isolation == "READ COMMITTED"
