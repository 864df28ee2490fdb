"""A task that comes back: made once, with all that belongs to it, and told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history
from commands import Here, zone
from together import PATIENT, all_at_once
from workers import Workers, psql

from concord.database import Isolation, Operation
from concord.errors import NotFound
from concord.sql import claims, links, projects, recurring, tasks, users
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandLine
    from forking import Nursery

    from concord.database import Database
    from concord.models import Task

pytestmark = pytest.mark.crew

DUE = datetime(2030, 6, 28, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Here]:
    with zone("UTC"):
        yield Here(url, tmp_path, monkeypatch, capsys)


@pytest.fixture(autouse=True)
def sound(url: str) -> Iterator[None]:
    """Hold history against the tasks after each test."""
    yield
    check_history(url)


def add(database: Database, **fields: Any) -> int:
    given: dict[str, Any] = {
        "due": DUE,
        "recurrence": "every 1w",
        "recurrence_zone": "UTC",
    } | fields
    return database.run(tasks.add, tasks.NewTask("Water", **given)).id


def complete(database: Database, *ids: int) -> tuple[Task, ...]:
    return database.run(tasks.set_status, ids, "completed")


def reopen(database: Database, *ids: int) -> None:
    database.run(tasks.set_status, ids, "todo")


def following(database: Database, *ids: int) -> list[int]:
    return [task.id for task in database.run(recurring.following, ids)]


def total(url: str) -> int:
    ((count,),) = psql(url, "SELECT count(*) FROM tasks")
    return count


def test_all_that_belongs_to_it_comes_back(database: Database) -> None:
    database.run(users.add, "bo")
    database.run(projects.add, "API")
    whole = add(database, recurrence=None, recurrence_zone=None)
    blocker = add(database, recurrence=None, recurrence_zone=None)
    first = add(
        database,
        project="API",
        description="All of them",
        priority="high",
        tags=["home", "garden"],
        assignees=["ana", "bo"],
        parent=whole,
        auto_close=True,
        blocked_by=[blocker],
    )
    database.run(tasks.edit, [first], {"owner": "bo"})
    (completed,) = complete(database, first)
    (made,) = database.run(recurring.following, [first])
    assert made.due == DUE + WEEK
    assert (made.previous, made.version, made.status) == (first, 1, "todo")
    assert (made.started_at, made.completed_at, made.claim, made.blocked_by) == (
        None, None, None, (),
    )  # fmt: skip
    carried = (
        *("project", "title", "description", "priority", "tags", "assignees", "owner"),
        *("parent", "auto_close", "recurrence"),
    )
    assert {name: getattr(made, name) for name in carried} == {
        name: getattr(completed, name) for name in carried
    }
    assert made.uid != completed.uid


def test_whom_a_claim_had_assigned_is_not_assigned_again(database: Database) -> None:
    database.run(users.add, "bo")
    claimed, own = add(database), add(database, assignees=["ana"])
    for task in database.run(claims.claim, Filters(), lease=timedelta(hours=1), count=2):
        assert task.claim is not None
        database.run(claims.complete, task.id, task.claim.epoch)
    one, other = database.run(recurring.following, [claimed, own])
    assert (one.previous, one.assignees) == (claimed, ())
    assert (other.previous, other.assignees) == (own, ("ana",)), "it was ana's before the claim"


def test_it_goes_on_and_on(database: Database) -> None:
    task = add(database)
    for times in range(1, 5):
        complete(database, task)
        (made,) = database.run(recurring.following, [task])
        assert made.due == DUE + times * WEEK
        task = made.id


@pytest.mark.parametrize("due", [DUE, None])
def test_without_a_recurrence_or_by_another_end_nothing_comes(
    database: Database, url: str, due: datetime | None
) -> None:
    plain = add(database, recurrence=None, recurrence_zone=None, due=due)
    canceled, ended, trashed = (add(database, due=due) for _ in range(3))
    complete(database, plain)
    database.run(tasks.set_status, [canceled], "canceled")
    none = {"status": "completed", "recurrence": None, "recurrence_zone": None}
    database.run(tasks.edit, [ended], none)
    database.run(tasks.delete, [trashed])
    assert total(url) == 4


def test_a_task_that_is_completed_and_told_to_recur_at_once_does(database: Database) -> None:
    plain = add(database, recurrence=None, recurrence_zone=None)
    rule = {"status": "completed", "recurrence": "after 2h", "recurrence_zone": "UTC"}
    (edited,) = database.run(tasks.edit, [plain], rule)
    (made,) = database.run(recurring.following, [plain])
    assert edited.completed_at is not None
    assert made.due == edited.completed_at + timedelta(hours=2)


def test_completed_again_it_makes_no_second_one(database: Database, url: str) -> None:
    task = add(database)
    complete(database, task)
    (made,) = following(database, task)
    complete(database, task)
    for _ in range(2):
        reopen(database, task)
        complete(database, task)
    assert following(database, task) == [made]
    complete(database, made)
    reopen(database, task)
    complete(database, task)
    assert following(database, task) == [], "it was done meanwhile, and stays so"
    assert total(url) == 3


def test_from_the_trash_it_comes_back_and_purged_it_is_made_anew(
    database: Database, url: str
) -> None:
    task = add(database, tags=["home"])
    complete(database, task)
    (made,) = following(database, task)
    database.run(tasks.delete, [made])
    assert following(database, task) == []
    reopen(database, task)
    complete(database, task)
    assert following(database, task) == [made]
    database.run(tasks.delete, [made])
    database.run(tasks.purge, [made])
    reopen(database, task)
    complete(database, task)
    (another,) = database.run(recurring.following, [task])
    assert another.id > made
    assert another.tags == ("home",)
    assert total(url) == 2


def test_it_outlives_the_one_before(database: Database) -> None:
    task = add(database)
    complete(database, task)
    (made,) = following(database, task)
    database.run(tasks.delete, [task])
    database.run(tasks.purge, [task])
    (left,) = database.run(tasks.show, [made])
    assert left.previous is None
    complete(database, made)
    assert len(following(database, made)) == 1


def test_both_of_a_line_at_once(database: Database, url: str) -> None:
    task, other = add(database), add(database)
    complete(database, task)
    (made,) = following(database, task)
    complete(database, made, task, other)
    assert len(following(database, made, task, other)) == 2
    assert total(url) == 5


def test_an_archived_project_gets_nothing_new(database: Database, url: str) -> None:
    database.run(projects.add, "API")
    task = add(database, project="API")
    database.run(projects.archive, "API", archived=True)
    assert complete(database, task)[0].status == "completed"
    assert total(url) == 1
    database.run(projects.archive, "API", archived=False)
    reopen(database, task)
    complete(database, task)
    assert len(following(database, task)) == 1


def test_a_project_that_is_full_takes_it(database: Database) -> None:
    database.run(projects.add, "API")
    database.run(projects.edit, "API", {"wip_limit": 1})
    task, other = add(database, project="API"), add(database, project="API")
    database.run(tasks.set_status, [other], "in_progress")
    complete(database, task)
    (made,) = database.run(recurring.following, [task])
    assert (made.project, made.status) == ("API", "todo")


def test_at_the_end_of_the_calendar_it_ends(database: Database, url: str) -> None:
    task = add(database, due=datetime(9999, 12, 28, tzinfo=UTC))
    complete(database, task)
    assert total(url) == 1


def test_a_part_that_recurs_keeps_the_whole_open(database: Database) -> None:
    whole = add(database, recurrence=None, recurrence_zone=None, auto_close=True)
    part = add(database, parent=whole)
    complete(database, part)
    (open_whole,) = database.run(tasks.show, [whole])
    assert open_whole.status == "todo"
    database.run(tasks.set_status, following(database, part), "canceled")
    (closed,) = database.run(tasks.show, [whole])
    assert closed.status == "completed"


def test_a_whole_that_is_closed_by_its_last_part_recurs(database: Database) -> None:
    whole = add(database, auto_close=True)
    part = add(database, parent=whole, recurrence=None, recurrence_zone=None)
    complete(database, part)
    (made,) = database.run(recurring.following, [whole])
    assert (made.auto_close, made.children) == (True, ())


def test_what_waits_for_it_waits_no_longer(database: Database) -> None:
    task = add(database)
    waiting = add(database, recurrence=None, recurrence_zone=None)
    database.run(links.block, [waiting], [task])
    complete(database, task)
    found = database.run(tasks.show, [waiting])[0]
    assert found.blocked_by == (task,), "the next one blocks nothing"


# Two at once


def test_of_two_who_complete_it_at_once_one_makes_the_next(database: Database, url: str) -> None:
    done = {"status": "completed"}
    with Workers(url) as workers:
        one, other = workers.worker(), workers.worker()
        for turn in range(20):
            gate, task = workers.gate(), add(database, tags=["home"])
            if turn % 2:
                first = one.run(gate.before_commit(tasks.set_status), [task], "completed")
                second = other.run(tasks.edit, [task], done)
            else:
                first = one.run(gate.before_commit(tasks.edit), [task], done)
                second = other.run(tasks.set_status, [task], "completed")
            assert not first.done()
            assert other.waits_for(one)
            gate.open()
            assert [future.result()[0].status for future in (first, second)] == ["completed"] * 2
            assert len(following(database, task)) == 1
    assert total(url) == 40


def test_the_next_one_goes_to_the_trash_while_it_is_completed_again(
    database: Database, url: str
) -> None:
    task = add(database)
    complete(database, task)
    (made,) = following(database, task)
    reopen(database, task)
    with Workers(url) as workers:
        gate, one, other = workers.gate(), workers.worker(), workers.worker()
        trashing = one.run(gate.before_commit(tasks.delete), [made])
        completing = other.run(tasks.set_status, [task], "completed")
        assert other.waits_for(one)
        gate.open()
        trashing.result()
        completing.result()
    assert following(database, task) == [made]


def test_the_project_is_archived_while_it_is_completed(database: Database, url: str) -> None:
    database.run(projects.add, "API")
    task = add(database, project="API")
    with Workers(url) as workers:
        gate, one, other = workers.gate(), workers.worker(), workers.worker()
        completing = one.run(gate.before_commit(tasks.set_status), [task], "completed")
        other.run(projects.archive, "API", archived=True).result()
        gate.open()
        completing.result()
    assert len(following(database, task)) == 1, "as if it had been completed before"


def test_of_two_processes_at_once_one_makes_the_next(
    concord: CommandLine, nursery: Nursery, database: Database, url: str
) -> None:
    for turn in range(10):
        task = add(database)
        one = str(task)
        commands = [["done", one], ["edit", one, "--status", "completed"]]
        with all_at_once(url, len(commands)):
            both = [
                nursery.start(concord, "task", *words, "--quiet", **PATIENT) for words in commands
            ]
        results = [process.finish() for process in both]
        assert [(result.code, result.out) for result in results] == [(0, f"{task}\n")] * 2
        assert total(url) == 2 * (turn + 1)


# What is told


def test_done_tells_what_is_next(here: Here) -> None:
    here.ok("task", "add", "Water", "--every", "1w", "--due", "2030-06-28")
    here.ok("task", "add", "Once")
    told = here("task", "done", "1", "2")
    assert told.err == "task 3 is next, due 2030-07-05\n"
    assert [line.split("\t")[0] for line in told.out.splitlines()] == ["1", "2"]
    told = here("task", "done", "3", "--json")
    assert json.loads(told.out)["id"] == 3
    assert json.loads(told.err)["notice"] == {
        "code": "next",
        "message": "task 4 is next, due 2030-07-12",
        "hint": None,
        "details": {"task": 4, "after": 3},
    }
    assert here("task", "done", "4", "--quiet").err == ""
    assert here("task", "done", "3").err == "", "the one after it is done as well"


def test_done_with_an_epoch_tells_it_too(here: Here) -> None:
    here.ok("task", "add", "Water", "--every-after", "1d")
    epoch = here.ok("task", "claim")["claim"]["epoch"]
    assert here("task", "done", "1", "--epoch", str(epoch)).err.startswith("task 2 is next, due ")


def test_only_a_task_that_recurs_costs_a_look(here: Here) -> None:
    here.ok("task", "add", "Once")
    here.ok("task", "add", "Water", "--every", "1w")
    assert here("task", "done", "1", "-v").err.count("attempt") == 1
    assert here("task", "done", "2", "-v").err.count("attempt") == 2


def test_a_look_that_fails_is_no_failure(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotFound("gone")

    here.ok("task", "add", "Water", "--every", "1w")
    failing = Operation(fail, Isolation.READ_COMMITTED, read_only=True)
    monkeypatch.setattr(recurring, "following", failing)
    told = here("task", "done", "1", "--fields", "status")
    assert (told.code, told.out, told.err) == (0, "completed\n", "")
