"""Undo while others write: whoever comes second waits, and then sees what the first one did."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from steps import PATIENCE
from undoing import Users
from workers import Worker, Workers, psql

from concord.database import Isolation, Operation
from concord.errors import Conflict, NotFound, Refused
from concord.sql import assignments, comments, links, projects, tags, tasks, undo

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.crew

DAY = "8h"
"""A time-out that no test reaches."""


class Two:
    """`ana`, who undoes, and `bo`. Whoever goes first stops before their COMMIT."""

    def __init__(self, url: str, users: Users) -> None:
        self.users = users
        self.workers = Workers(url)
        psql(url, "INSERT INTO users (username) VALUES ('bo') ON CONFLICT DO NOTHING")
        self.ana = self.workers.worker("ana", lock_timeout=DAY)
        self.bo = self.workers.worker("bo", lock_timeout=DAY)
        self._gate = self.workers.gate()

    def first_bo(self, *his: Any, undo: Any = undo.run) -> Any:
        """Undo while his operation has not committed; return what came of the undo."""
        return self._race(self.bo, his, self.ana, (undo,))

    def first_ana(self, *his: Any) -> Any:
        """Run his operation while the undo has not committed; return what came of his."""
        return self._race(self.ana, (undo.run,), self.bo, his)

    def _race(self, one: Worker, hers: Any, other: Worker, his: Any) -> Any:
        first = one.run(self._gate.before_commit(hers[0]), *hers[1:])
        second = other.run(his[0], *his[1:])
        assert other.waits_for(one), second
        self._gate.open()
        assert first.exception(PATIENCE) is None
        return second.exception(PATIENCE) or second.result()


@pytest.fixture
def users(url: str) -> Iterator[Users]:
    with Users(url) as made:
        yield made


@pytest.fixture
def two(url: str, users: Users) -> Iterator[Two]:
    made = Two(url, users)
    with made.workers:
        yield made


# Somebody is at it when the undo comes


def test_an_edit_of_another_field_is_awaited_and_kept(two: Two, users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers"})
    two.first_bo(tasks.set_status, [task], "canceled")
    assert (users.task(task).title, users.task(task).status) == ("x", "canceled")
    assert [record.attempt for record in two.ana.records] == [1]


def test_an_edit_of_the_same_field_is_awaited_and_told(two: Two, users: Users) -> None:
    task = users.add()
    users.ana(tasks.set_status, [task], "completed")
    error = two.first_bo(tasks.set_status, [task], "canceled")
    assert isinstance(error, Conflict)
    assert "bo changed" in error.message
    assert users.task(task).status == "canceled"


def test_a_tag_is_awaited(two: Two, users: Users) -> None:
    task = users.add()
    error = two.first_bo(tags.tag, [task], ["his"])
    assert isinstance(error, Conflict)
    assert users.task(task).tags == ("his",)


ATTACHING: list[Any] = [
    (comments.add, [2], "Why?"),
    (tasks.add, tasks.NewTask("part", parent=2)),
    (links.block, [1], [2]),
]
"""What refers to a task and leaves no mark on its row."""


@pytest.mark.parametrize("his", ATTACHING, ids=["comment", "child", "link"])
def test_what_is_being_attached_to_a_new_task_is_awaited(
    two: Two, users: Users, his: tuple[Any, ...]
) -> None:
    users.bo(tasks.add, tasks.NewTask("his"))
    task = users.add()
    assert isinstance(two.first_bo(*his), Conflict)
    assert users.task(task).deleted_at is None


def test_an_older_snapshot_would_not_show_what_was_attached(
    two: Two, users: Users, url: str
) -> None:
    # Which is why undo is not SERIALIZABLE: the comment is not seen, and no error says so.
    task = users.add()
    at_serializable = Operation(undo.run.body, Isolation.SERIALIZABLE, read_only=False)
    two.first_bo(comments.add, [task], "Why?", undo=at_serializable)
    assert users.task(task).deleted_at is not None
    assert psql(url, "SELECT body FROM comments") == [("Why?",)]


def test_a_purge_is_awaited(two: Two, users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers"})
    users.bo(tasks.delete, [task])
    error = two.first_bo(tasks.purge, [task])
    assert isinstance(error, Conflict)
    assert "is gone: bo removed it" in error.message


def test_a_new_name_is_awaited(two: Two, users: Users) -> None:
    task = users.add(tags=["bug"])
    users.ana(tags.untag, [task], ["bug"])
    two.first_bo(tags.rename, "bug", "defect")
    assert users.task(task).tags == ("defect",)


def test_archiving_is_awaited(two: Two, users: Users) -> None:
    users.ana(projects.add, "API")
    task = users.add(project="API")
    users.ana(tasks.move, [task], None)
    assert isinstance(two.first_bo(projects.archive, "API"), Refused)


def test_of_two_who_close_a_circle_one_is_refused(two: Two, users: Users) -> None:
    first, second = users.add(), users.add()
    users.ana(links.block, [first], [second])
    users.ana(links.unblock, [first], [second])
    assert isinstance(two.first_bo(links.block, [second], [first]), Refused)


def test_of_two_who_take_the_last_place_one_is_refused(two: Two, users: Users) -> None:
    users.ana(projects.add, "API")
    users.ana(projects.edit, "API", {"wip_limit": 1})
    task = users.add(project="API", status="in_progress")
    users.ana(tasks.set_status, [task], "completed")
    other = users.bo(tasks.add, tasks.NewTask("his", project="API")).id
    assert isinstance(two.first_bo(tasks.set_status, [other], "in_progress"), Refused)
    assert users.task(task).status == "completed"


def test_the_use_of_a_new_tag_is_awaited(two: Two, users: Users) -> None:
    task = users.bo(tasks.add, tasks.NewTask("his")).id
    users.ana(tags.add, "bug")
    error = two.first_bo(tags.tag, [task], ["bug"])
    assert isinstance(error, Conflict)
    assert "tag bug is in use by now: bo used it" in error.message


# The undo is at it when somebody comes


def test_an_edit_waits_and_nothing_is_lost(two: Two, users: Users) -> None:
    task = users.add()
    users.ana(tasks.edit, [task], {"title": "hers"})
    two.first_ana(tasks.set_status, [task], "completed")
    found = users.task(task)
    assert (found.title, found.status, found.version) == ("x", "completed", 4)


def test_who_would_write_to_a_task_that_is_undone_finds_it_in_the_trash(
    two: Two, users: Users
) -> None:
    task = users.add()
    assert isinstance(two.first_ana(assignments.assign, [task], ["me"]), NotFound)


@pytest.mark.parametrize("what", ["edit", "add", "tag"])
def test_of_two_undos_of_one_operation_one_is_told_of_the_other(
    two: Two, users: Users, what: str
) -> None:
    task = users.add()
    match what:
        case "edit":
            users.ana(tasks.edit, [task], {"title": "hers"})
        case "tag":
            users.ana(tags.add, "bug")
        case _:
            pass
    twin = two.workers.worker("ana", lock_timeout=DAY)
    gate = two.workers.gate()
    first = two.ana.run(gate.before_commit(undo.run))
    second = twin.run(undo.run)
    assert twin.waits_for(two.ana)
    gate.open()
    assert len(first.result(PATIENCE)) == 1
    error = second.exception(PATIENCE)
    assert isinstance(error, Conflict)
    assert "ana" in error.message


def test_two_who_bring_back_the_same_bring_it_back_once(two: Two, users: Users) -> None:
    task = users.add(tags=["bug"])
    users.ana(tags.delete, "bug")
    twin = two.workers.worker("ana", lock_timeout=DAY)
    gate = two.workers.gate()
    first = two.ana.run(gate.before_commit(undo.run))
    second = twin.run(undo.run)
    assert twin.waits_for(two.ana)
    gate.open()
    assert len(first.result(PATIENCE)) == 2
    assert isinstance(second.exception(PATIENCE), Conflict)
    assert users.task(task).tags == ("bug",)


# Many


def test_a_thousand_are_undone_while_others_write(users: Users, url: str) -> None:
    some = [
        row[0]
        for row in psql(
            url,
            "INSERT INTO tasks (title, owner_id) SELECT 'x', id FROM users,"
            " generate_series(1, 1000) WHERE username = 'ana' RETURNING id",
        )
    ]
    users.bo(tags.add, "his")
    users.ana(tasks.edit, some, {"title": "hers", "priority": "high"})
    written: dict[int, str] = {}
    done = threading.Event()

    def write(mine: list[int]) -> None:
        with Users(url) as others:
            for turn, task in enumerate(mine * 1000):
                if done.is_set() and turn:
                    return
                text = f"{task} {turn}"
                others.bo(tasks.edit, [task], {"description": text})
                written[task] = text

    writers = [threading.Thread(target=write, args=(some[n::200],)) for n in range(2)]
    for writer in writers:
        writer.start()
    undone = users.undo()
    done.set()
    for writer in writers:
        writer.join(PATIENCE)
    assert len(undone) == 1000
    assert psql(url, "SELECT DISTINCT title, priority FROM tasks") == [("x", "none")]
    told = dict(psql(url, "SELECT id, description FROM tasks WHERE description IS NOT NULL"))
    assert told == written
    assert written


def test_all_or_nothing_whoever_comes_first(users: Users, url: str) -> None:
    some = [users.add() for _ in range(30)]
    users.bo(tags.add, "his")
    for turn in range(6):
        users.ana(tasks.edit, some, {"priority": "high"})
        together = threading.Barrier(2)

        def write(task: int, together: threading.Barrier = together) -> None:
            with Users(url) as others:
                together.wait(PATIENCE)
                others.bo(tasks.edit, [task], {"priority": "low"})

        writer = threading.Thread(target=write, args=(some[turn],))
        writer.start()
        together.wait(PATIENCE)
        try:
            users.undo()
            left = "none"
        except Conflict:
            left = "high"
        writer.join(PATIENCE)
        found = [users.task(task).priority for task in some]
        assert found == ["low" if number == turn else left for number in range(30)]
        users.bo(tasks.edit, some, {"priority": "none"})
