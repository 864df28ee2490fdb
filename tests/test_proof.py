"""No acknowledged write is ever lost: the trials that other task tools fail.

Processes of the command line, on one server, each trial as often as it takes to see a loss.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history
from conftest import settings_for

from concord.database import Database
from concord.sql import history, tasks, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import CommandLine, Result
    from forking import Forked, Nursery

    Race = Callable[..., list[Result]]

TRIALS = 12
OFFSETS = [0.0, 0.004, 0.02]
"""Seconds between the starts of two processes."""


@pytest.fixture
def race(concord: CommandLine, nursery: Nursery) -> Race:
    """What starts processes so many seconds apart and returns what they did."""

    def run(offset: float, *commands: list[str]) -> list[Result]:
        begin = time.monotonic()
        processes: list[Forked] = []
        for number, command in enumerate(commands):
            # Not a wait for something to happen: how far apart they start is what a trial varies.
            while (left := begin + number * offset - time.monotonic()) > 0:
                time.sleep(left)
            processes.append(nursery.start(concord, *command))
        return [process.finish() for process in processes]

    return run


def make(database: Database, number: int) -> list[int]:
    return [database.run(tasks.add, tasks.NewTask(f"{n}")).id for n in range(number)]


def changes(database: Database, task: int) -> list[Any]:
    """Return the changes of a task since it was made, oldest first."""
    return list(database.run(history.page, history.Filters(task=task)).items)[::-1][1:]


@pytest.mark.parametrize("offset", OFFSETS)
def test_two_edits_of_different_fields_are_both_kept(
    offset: float, race: Race, database: Database, url: str
) -> None:
    for task in make(database, TRIALS):
        title = ["task", "edit", str(task), "--title", "Later"]
        priority = ["task", "edit", str(task), "--priority", "high"]
        results = race(offset, title, priority)
        assert [result.code for result in results] == [0, 0], results
        (edited,) = database.run(tasks.show, [task])
        assert (edited.title, edited.priority, edited.version) == ("Later", "high", 3)
    assert check_history(url) == TRIALS


@pytest.mark.parametrize("offset", OFFSETS)
def test_of_two_edits_at_one_version_exactly_one_succeeds(
    offset: float, race: Race, database: Database, url: str
) -> None:
    for task in make(database, TRIALS):
        edits = [
            ["task", "edit", str(task), "--title", title, "--if-version", "1", "--json"]
            for title in ("One", "Two")
        ]
        results = race(offset, *edits)
        assert sorted(result.code for result in results) == [0, 4], results
        winner, loser = sorted(results, key=lambda result: result.code)
        (edited,) = database.run(tasks.show, [task])
        assert winner.json["title"] == edited.title
        assert winner.json["version"] == edited.version == 2
        assert loser.out == ""
        (change,) = loser.error["details"]["changes"]
        assert change["new"] == {"title": edited.title}
    assert check_history(url) == TRIALS


@pytest.mark.parametrize("offset", OFFSETS)
def test_of_two_edits_of_one_field_history_shows_both(
    offset: float, race: Race, database: Database, url: str
) -> None:
    for task in make(database, 4):
        edits = [["task", "edit", str(task), "--title", title] for title in ("One", "Two")]
        results = race(offset, *edits)
        assert [result.code for result in results] == [0, 0], results
        first, second = changes(database, task)
        assert {first.new["title"], second.new["title"]} == {"One", "Two"}
        assert second.old == first.new
        assert database.run(tasks.show, [task])[0].title == second.new["title"]
    assert check_history(url) == 4


def test_sixteen_paragraphs_appended_at_once_are_all_kept(
    race: Race, database: Database, url: str
) -> None:
    (task,) = make(database, 1)
    paragraphs = [f"Paragraph {n}." for n in range(16)]
    command = ["task", "edit", str(task), "--append-description"]
    results = race(0, *([*command, paragraph] for paragraph in paragraphs))
    assert [result.code for result in results] == [0] * 16, results
    (edited,) = database.run(tasks.show, [task])
    assert edited.description is not None
    assert sorted(edited.description.split("\n\n")) == sorted(paragraphs)
    assert edited.version == 17
    assert check_history(url) == 1


def test_sixty_four_assignments_to_one_task_at_once_are_all_there(
    race: Race, database: Database, url: str
) -> None:
    (task,) = make(database, 1)
    people = [f"user{n}" for n in range(64)]
    for name in people:
        database.run(users.add, name)
    # Each also assigns one whom all the others assign: that must not make a duplicate.
    results = race(0, *(["assign", str(task), name, "ana"] for name in people))
    assert [result.code for result in results] == [0] * 64, results
    (assigned,) = database.run(tasks.show, [task])
    assert list(assigned.assignees) == sorted([*people, "ana"])
    assert check_history(url) == 1


def test_readers_beside_writers_see_whole_tasks_and_no_error(
    race: Race, database: Database, url: str
) -> None:
    ids = [str(task) for task in make(database, 8)]
    writers = [
        ["task", "edit", *ids, "--title", f"Title {n}", "--description", f"Title {n}"]
        for n in range(8)
    ]
    readers = [["task", "list", "--jsonl"], ["task", "show", *ids, "--jsonl"], ["export", "jsonl"]]
    commands = [command for writer in writers for command in (writer, *readers)]
    results = race(0, *commands)
    assert [result.code for result in results] == [0] * len(commands), results
    for command, result in zip(commands, results, strict=True):
        if command in writers:
            continue
        seen: list[Any] = [json.loads(line) for line in result.out.splitlines()]
        assert len(seen) == 8
        # Each writer changes all tasks in one transaction.
        assert len({task["version"] for task in seen}) == 1
        assert all(task["description"] in (None, task["title"]) for task in seen)
    assert check_history(url) == 8


def test_two_writers_of_different_fields_lose_nothing_in_a_hundred_rounds(
    url: str, database: Database
) -> None:
    (task,) = make(database, 1)
    rounds = 100
    together = threading.Barrier(2, timeout=30)
    errors: list[BaseException] = []

    def write(field: str) -> None:
        try:
            with Database(settings_for(url), "test") as own:
                for n in range(rounds):
                    together.wait()
                    own.run(tasks.edit, [task], {field: f"{field} {n}"})
                    together.wait()
                    (seen,) = own.run(tasks.show, [task])
                    assert (seen.title, seen.description) == (f"title {n}", f"description {n}")
        except BaseException as error:
            errors.append(error)
            together.abort()
            raise

    writers = [threading.Thread(target=write, args=(field,)) for field in ("title", "description")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    assert database.run(tasks.show, [task])[0].version == 1 + 2 * rounds
    assert len(changes(database, task)) == 2 * rounds
    assert check_history(url) == 1
