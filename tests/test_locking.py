"""Two commands at the same time: who waits, who loses, and that nothing acknowledged is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from steps import PATIENCE
from workers import Worker, Workers, psql

from concord.database import Operation
from concord.errors import Conflict, Contention, NotFound, Refused
from concord.models import ImportedTask, ImportReport, Task
from concord.sql import assignments, imports, projects, tags, tasks, users

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.crew

DAY = "8h"
"""A time-out that no test reaches."""


class Two:
    """Two users at work. `ana` stops before her COMMIT, then `bo` does something, then she goes on.

    `race` returns what each of them got: a result or an error.
    """

    def __init__(self, url: str) -> None:
        self.workers = Workers(url)
        psql(url, "INSERT INTO users (username) VALUES ('bo'), ('cy')")
        self.ana = self.workers.worker("ana", lock_timeout=DAY)
        self.bo = self.workers.worker("bo", lock_timeout=DAY)
        self.gate = self.workers.gate()

    def add(self, count: int = 1, **fields: Any) -> list[int]:
        """Return the ids of new tasks."""
        new = tasks.NewTask("base", **fields)
        return [self.ana.database.run(tasks.add, new).id for _ in range(count)]

    def race(self, hers: tuple[Any, ...], his: tuple[Any, ...]) -> tuple[Any, Any]:
        """Run her operation, and his while hers has not committed; he has to wait for her."""
        first = self.ana.run(self.gate.before_commit(hers[0]), *hers[1:])
        second = self.bo.run(his[0], *his[1:])
        assert self.bo.waits_for(self.ana), second
        self.gate.open()
        ended = [result.exception(PATIENCE) or result.result() for result in (first, second)]
        return ended[0], ended[1]


@pytest.fixture
def two(url: str) -> Iterator[Two]:
    made = Two(url)
    with made.workers:
        yield made


def editing(ids: list[int], fields: dict[str, Any], if_version: int | None = None) -> Any:
    """Return an edit for `Two.race`."""

    def body(tx: Any) -> tuple[Task, ...]:
        return tasks.edit(tx, ids, fields, if_version=if_version)

    return (Operation(body, tasks.edit.isolation, read_only=False),)


def read(worker: Worker, task_id: int) -> Task:
    return worker.database.run(tasks.show, [task_id])[0]


# Edits


def test_edits_of_different_fields_are_both_kept(two: Two) -> None:
    ids = two.add()
    (hers,), (his,) = two.race(editing(ids, {"title": "hers"}), editing(ids, {"priority": "high"}))
    assert (hers.version, his.version) == (2, 3)
    assert (his.title, his.priority) == ("hers", "high")
    assert his.updated_at > hers.updated_at
    assert read(two.ana, ids[0]) == his


def test_of_two_edits_from_one_version_exactly_one_is_made(two: Two) -> None:
    ids = two.add()
    (hers,), his = two.race(
        editing(ids, {"title": "hers"}, if_version=1), editing(ids, {"title": "his"}, if_version=1)
    )
    assert isinstance(his, Conflict)
    assert his.details["version"] == 2
    assert [change["actor"] for change in his.details["changes"]] == ["ana"]
    assert read(two.bo, ids[0]) == hers


def test_appends_are_both_kept(two: Two) -> None:
    ids = two.add(description="base")

    def appending(text: str) -> Any:
        def body(tx: Any) -> tuple[Task, ...]:
            return tasks.edit(tx, ids, {}, append_description=text)

        return (Operation(body, tasks.edit.isolation, read_only=False),)

    two.race(appending("hers"), appending("his"))
    assert read(two.ana, ids[0]).description == "base\n\nhers\n\nhis"


@pytest.mark.parametrize("field", ["priority", "title"])
def test_a_merge_waits_and_then_merges_with_what_was_committed(two: Two, field: str) -> None:
    ids = two.add()
    base = read(two.ana, ids[0])
    mine = {"priority": "high"} if field == "priority" else {"title": "his"}
    _, his = two.race(editing(ids, {"title": "hers"}), (tasks.merge, base, mine))
    if field == "priority":
        assert (his.title, his.priority, his.version) == ("hers", "high", 3)
    else:
        assert isinstance(his, Conflict)
        assert his.details["fields"] == ["title"]
    assert read(two.ana, ids[0]).title == "hers"


def test_an_edit_that_is_rolled_back_leaves_the_row_to_the_next(two: Two) -> None:
    ids = two.add()

    def body(tx: Any) -> None:
        tasks.edit(tx, ids, {"title": "hers"})
        two.gate.wait(tx)
        raise KeyboardInterrupt

    first = two.ana.run(Operation(body, tasks.edit.isolation, read_only=False))
    second = two.bo.run(tasks.edit, ids, {"priority": "low"}, if_version=1)
    assert two.bo.waits_for(two.ana)
    two.gate.open()
    assert isinstance(first.exception(PATIENCE), KeyboardInterrupt)
    (his,) = second.result(PATIENCE)
    assert (his.title, his.priority, his.version) == ("base", "low", 2)


# Locks


def test_an_assignment_waits_for_the_row_and_is_made(two: Two) -> None:
    ids = two.add()
    _, (his,) = two.race((tasks.set_status, ids, "in_progress"), (assignments.assign, ids, ["bo"]))
    assert (his.status, his.assignees, his.version) == ("in_progress", ("bo",), 3)


WITH_NOWAIT: dict[str, tuple[Operation[..., Any], tuple[Any, ...]]] = {
    "set_status": (tasks.set_status, ("completed",)),
    "move": (tasks.move, (None,)),
    "delete": (tasks.delete, ()),
    "assign": (assignments.assign, (["bo"],)),
    "unassign": (assignments.unassign, (["bo"],)),
    "tag": (tags.tag, (["bug"],)),
    "untag": (tags.untag, (["bug"],)),
}


def test_with_nowait_nothing_waits(two: Two, url: str) -> None:
    free, held = two.add(2, tags=["bug"])
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (held,))
        for operation, arguments in WITH_NOWAIT.values():
            refused = two.bo.run(operation, [free, held], *arguments, nowait=True)
            assert refused.done()
            assert isinstance(refused.exception(), Contention)
    assert [read(two.ana, task_id).version for task_id in (free, held)] == [1, 1]


def test_bulk_commands_lock_in_one_order_whatever_they_are_given(two: Two, url: str) -> None:
    low, high = two.add(2)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (low,))
        first = two.ana.run(tasks.set_status, [low, high], "in_progress")
        second = two.bo.run(tasks.edit, [high, low], {"priority": "high"})
        assert not first.done()
        assert not second.done()
        # Had one of them locked the high one before the low one, they could meet in a deadlock.
        free = holder.execute("SELECT id FROM tasks WHERE id = %s FOR UPDATE SKIP LOCKED", (high,))
        assert free.fetchall() == [(high,)]
    assert len(first.result(PATIENCE)) == len(second.result(PATIENCE)) == 2
    assert [record.outcome for record in two.ana.records[2:] + two.bo.records] == ["done", "done"]
    for task_id in (low, high):
        done = read(two.ana, task_id)
        assert (done.status, done.priority, done.version) == ("in_progress", "high", 3)


@pytest.mark.parametrize("operation", [tasks.restore, tasks.purge], ids=["restore", "purge"])
def test_a_task_that_is_purged_meanwhile_is_gone(two: Two, operation: Any) -> None:
    ids = two.add()
    two.ana.database.run(tasks.delete, ids)
    gone, his = two.race((tasks.purge, ids), (operation, ids))
    assert [task.id for task in gone] == ids
    assert isinstance(his, NotFound)
    assert his.message == f"no such task: {ids[0]}"


def test_a_task_that_is_deleted_meanwhile_is_in_the_trash(two: Two) -> None:
    ids = two.add()
    _, his = two.race((tasks.delete, ids), editing(ids, {"title": "his"}))
    assert isinstance(his, NotFound)
    assert his.message == f"in the trash: {ids[0]}"


# Projects


def test_archiving_waits_for_a_task_that_is_being_added(two: Two) -> None:
    two.ana.database.run(projects.add, "API")
    new = tasks.NewTask("hers", project="API")
    made, archived = two.race((tasks.add, new), (projects.archive, "API"))
    assert made.project == "API"
    assert archived.archived_at is not None
    with pytest.raises(Refused, match="archived and takes no tasks"):
        two.ana.database.run(tasks.add, new)


@pytest.mark.parametrize("how", ["add", "move"])
def test_a_task_waits_for_archiving_and_is_refused(two: Two, url: str, how: str) -> None:
    two.ana.database.run(projects.add, "API")
    ids = two.add()
    his: tuple[Any, ...] = (
        (tasks.add, tasks.NewTask("his", project="API"))
        if how == "add"
        else (tasks.move, ids, "API")
    )
    _, refused = two.race((projects.archive, "API"), his)
    assert isinstance(refused, Refused)
    assert psql(url, "SELECT count(*) FROM tasks WHERE project_id IS NOT NULL") == [(0,)]


def test_two_tasks_are_added_to_one_project_side_by_side(two: Two) -> None:
    two.ana.database.run(projects.add, "API")
    new = tasks.NewTask("x", project="API")
    hers = two.ana.run(two.gate.before_commit(tasks.add), new)
    his = two.bo.run(tasks.add, new)
    assert his.done()
    two.gate.open()
    assert hers.result(PATIENCE).id != his.result().id


# Users and tags that go


def test_deleting_a_user_takes_along_an_assignment_that_was_just_made(two: Two, url: str) -> None:
    ids = two.add()
    assigned, _ = two.race((assignments.assign, ids, ["cy"]), (users.delete, "cy"))
    assert assigned[0].assignees == ("cy",)
    assert read(two.ana, ids[0]).assignees == ()
    (change, *_) = psql(url, "SELECT old, new FROM history WHERE task_id = 1 ORDER BY id DESC")
    assert change == ({"assignees": ["cy"]}, {"assignees": []})


def test_assigning_to_a_user_who_is_just_being_deleted_is_refused(two: Two) -> None:
    ids = two.add()
    _, his = two.race((users.delete, "cy"), (assignments.assign, ids, ["cy"]))
    assert isinstance(his, NotFound)
    assert his.message == "no such user: cy"
    assert read(two.ana, ids[0]).assignees == ()


def test_who_is_just_being_deleted_can_assign_nobody(two: Two) -> None:
    ids = two.add()
    _, his = two.race((users.delete, "bo"), (assignments.assign, ids, ["cy"]))
    assert isinstance(his, NotFound)
    assert his.message == "you are gone"


def test_deleting_a_user_and_assigning_them_more_ends_well_after_a_deadlock(
    url: str, two: Two
) -> None:
    ids = two.add(2)
    two.ana.database.run(assignments.assign, ids[:1], ["cy"])

    def body(tx: Any) -> None:
        # A superuser's right.
        tx.execute("SET LOCAL ROLE NONE")
        tx.execute("SET LOCAL deadlock_timeout = '10ms'")
        tx.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", ids[:1])
        two.gate.wait(tx)
        assignments.attach(tx, ids, ["cy"])

    assigning = two.ana.run(Operation(body, assignments.assign.isolation, read_only=False))
    deleting = two.bo.run(users.delete, "cy")
    assert two.bo.waits_for(two.ana)
    two.gate.open()
    refused = assigning.exception(PATIENCE)
    assert deleting.result(PATIENCE).username == "cy"
    assert ("retry", "40P01") in two.ana.outcomes + two.bo.outcomes
    # Whichever came second found what the other had committed.
    assert refused is None or isinstance(refused, NotFound)
    assert psql(url, "SELECT count(*) FROM assignments") == [(0,)]


def test_deleting_a_tag_takes_it_off_a_task_that_just_got_it(two: Two, url: str) -> None:
    (tagged,), ids = two.add(tags=["bug"]), two.add()
    _, gone = two.race((tags.tag, ids, ["bug"]), (tags.delete, "bug"))
    assert gone.name == "bug"
    assert read(two.ana, tagged).tags == read(two.ana, ids[0]).tags == ()
    told = psql(url, "SELECT task_id FROM history WHERE new = '{\"tags\": []}' ORDER BY 1")
    assert told == [(tagged,), (ids[0],)]


def test_a_tag_that_is_just_being_deleted_is_made_anew_for_a_task(two: Two) -> None:
    two.ana.database.run(tags.add, "bug")
    ids = two.add()
    _, his = two.race((tags.delete, "bug"), (tags.tag, ids, ["bug"]))
    assert [task.tags for task in his] == [("bug",)]
    assert read(two.ana, ids[0]).tags == ("bug",)


def test_two_who_make_the_same_new_tag_make_one(two: Two, url: str) -> None:
    hers, his = two.race(
        (tasks.add, tasks.NewTask("hers", tags=["new", "bug"])),
        (tasks.add, tasks.NewTask("his", tags=["Bug", "NEW"])),
    )
    assert hers.tags == his.tags == ("bug", "new")
    assert psql(url, "SELECT name FROM tags ORDER BY name") == [("bug",), ("new",)]


# Imports


def rows(**titles: str) -> list[ImportedTask]:
    """Return the rows of a file: reference → title."""
    return [
        ImportedTask(ref, title, line, tags=("new",))
        for line, (ref, title) in enumerate(titles.items(), 1)
    ]


def importing(found: list[ImportedTask]) -> Any:
    """Return an import for `Two.race`."""

    def body(tx: Any) -> ImportReport:
        return imports.run(tx, found, format_name="csv", project="API")

    return (Operation(body, imports.run.isolation, read_only=False),)


def test_of_two_imports_of_one_file_the_later_finds_nothing_to_do(two: Two, url: str) -> None:
    file = rows(T1="one", T2="two")
    hers, his = two.race(importing(file), importing(file))
    assert (hers.created, hers.unchanged) == (2, 0)
    assert (his.created, his.unchanged) == (0, 2)
    assert two.bo.outcomes == [("retry", "40001"), ("done", None)]
    assert psql(url, "SELECT title, version FROM tasks ORDER BY id") == [("one", 1), ("two", 1)]


@pytest.mark.parametrize("field", ["priority", "title"])
def test_an_import_starts_again_when_a_task_was_edited_meanwhile(two: Two, field: str) -> None:
    two.ana.database.run(*importing(rows(T1="one")))
    edit = {"priority": "high"} if field == "priority" else {"title": "hers"}
    _, report = two.race(editing([1], edit), importing(rows(T1="uno")))
    assert two.bo.outcomes == [("retry", "40001"), ("done", None)]
    task = read(two.ana, 1)
    if field == "priority":
        assert (report.updated, report.conflicting) == (1, 0)
        assert (task.title, task.priority) == ("uno", "high")
    else:
        assert (report.updated, report.conflicting) == (0, 1)
        assert report.conflicts[0].fields == ("title",)
        assert task.title == "hers"


def test_an_edit_waits_for_an_import_and_is_kept(two: Two) -> None:
    two.ana.database.run(*importing(rows(T1="one")))
    report, (his,) = two.race(importing(rows(T1="uno")), editing([1], {"priority": "high"}))
    assert report.updated == 1
    assert (his.title, his.priority, his.version) == ("uno", "high", 3)


def test_a_task_that_an_import_does_not_know_of_does_not_disturb_it(two: Two) -> None:
    two.ana.database.run(*importing(rows(T1="one")))
    other = two.add()
    first = two.ana.run(two.gate.before_commit(*importing(rows(T1="uno"))))
    second = two.bo.run(tasks.edit, other, {"title": "his"})
    assert second.done()
    two.gate.open()
    assert first.result(PATIENCE).updated == 1
    assert read(two.ana, other[0]).title == "his"
