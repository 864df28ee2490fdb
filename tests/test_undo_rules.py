"""Rules that hold for an undo as for anything else, and which rows of history are one operation."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from undoing import Users, by_hand, clashes

from concord.errors import Conflict, Refused
from concord.models import ImportedTask
from concord.sql import claims, comments, history, imports, links, projects, tags, tasks
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


# Rules


def test_a_purge_is_for_good(users: Users) -> None:
    task = users.add(tags=["bug"], assignees=["bo"])
    users.ana(tasks.delete, [task])
    users.ana(tasks.purge, [task])
    error = users.refused(Refused)
    assert error.details == {"tasks": [task]}
    assert f"concord history --xid {users.newest().xid}" in (error.hint or "")
    users.refused(Refused, last=2)
    made = users.ana(history.page, history.Filters(task=task)).items[-1]
    assert clashes(users.refused(Conflict, change=made.id)) == [("task", task, ())]


def test_a_claim_is_given_back_and_not_undone(users: Users) -> None:
    task = users.add()
    (claimed,) = users.ana(claims.claim, Filters(), lease=LEASE)
    error = users.refused(Refused)
    assert error.hint == f"Give it back: concord task release {task} --epoch 1"
    users.ana(claims.renew, task, claimed.claim.epoch, lease=LEASE)
    users.refused(Refused)
    users.ana(claims.release, task, claimed.claim.epoch, comment="No.")
    error = users.refused(Refused)
    assert error.hint == "Take it anew, or another one: concord task claim"


def test_limits_hold(users: Users) -> None:
    users.ana(projects.add, "API")
    task = users.add(project="API", status="in_progress")
    users.ana(tasks.set_status, [task], "todo")
    users.bo(projects.edit, "API", {"wip_limit": 1})
    users.bo(tasks.add, tasks.NewTask("his", project="API", status="in_progress"))
    assert users.refused(Refused).details["constraint"] == "tasks_wip_limit"
    users.ana(projects.edit, "API", {"wip_limit": None})
    users.bo(tasks.add, tasks.NewTask("his", project="API", status="in_progress"))
    assert users.refused(Refused).details["constraint"] == "projects_wip_limit_exceeded"


def test_nobody_loses_a_claim_because_a_trigger_closes_their_task(users: Users) -> None:
    whole = users.add(auto_close=True)
    part = users.add(parent=whole)
    users.ana(tasks.set_status, [part], "completed")
    users.bo(tasks.set_status, [whole], "todo")
    users.bo(claims.claim, Filters(), lease=LEASE)
    users.ana(tasks.set_status, [part], "todo")
    assert users.refused(Refused).details == {"tasks": [whole]}
    assert users.task(whole).claim is not None


def test_circles_are_refused(users: Users) -> None:
    first, second = users.add(), users.add()
    users.ana(links.block, [first], [second])
    users.ana(links.unblock, [first], [])
    users.bo(links.block, [second], [first])
    assert users.refused(Refused).details == {"tasks": [first, second]}
    users.bo(links.unblock, [second], [])
    users.ana(tasks.edit, [first], {"parent": second})
    users.ana(tasks.edit, [first], {"parent": None})
    users.bo(tasks.edit, [second], {"parent": first})
    assert set(users.refused(Refused).details["tasks"]) == {first, second}


def test_an_import_whose_task_was_changed(users: Users) -> None:
    rows = [ImportedTask(f"T{n}", "x", n, tags=("ui",)) for n in (1, 2)]
    users.ana(imports.run, rows, format_name="spec-kit", project="IMP")
    users.bo(comments.add, [2], "Why?")
    assert clashes(users.refused(Conflict)) == [("task", 2, ("comments",))]


# Which rows are one transaction


def test_a_transaction_id_that_was_used_before(users: Users, url: str) -> None:
    first, second = users.add(), users.add()
    users.ana(tags.tag, [first, second], ["bug"])
    # As if restored from another server, whose transaction happened to have the same id.
    by_hand(
        url,
        "ALTER TABLE history DISABLE TRIGGER USER",
        "UPDATE history SET xid = (SELECT max(xid::text::bigint) FROM history)::text::xid8,"
        " at = at - interval '1 day' WHERE entity = 'task' AND entity_id = 2 AND old = '{}'",
        "ALTER TABLE history ENABLE TRIGGER USER",
    )
    undone = users.undo()
    assert {row.entity for row in undone} == {"tag", "task"}
    assert [users.task(number).deleted_at for number in (first, second)] == [None, None]
    made = users.ana(history.page, history.Filters(task=second)).items[-1]
    assert [row.entity_id for row in users.undo(change=made.id)] == [second]


def test_what_was_done_in_psql_is_undone_as_well(users: Users, url: str) -> None:
    task = users.add(tags=["bug"])
    before = users.state()
    by_hand(
        url,
        "UPDATE tasks SET title = 'y'",
        "DELETE FROM task_tags",
        "UPDATE tasks SET title = 'z', priority = 'low'",
        "INSERT INTO tags (name) VALUES ('other')",
        "INSERT INTO task_tags (task_id, tag_id) SELECT t.id, g.id FROM tasks t, tags g",
    )
    assert users.task(task).tags == ("bug", "old", "other")
    users.undo()
    assert users.state() == before
