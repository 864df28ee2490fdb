"""Claims, circles, limits and comments by many processes of the real command line at once."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history
from conftest import finish
from together import PATIENT, all_at_once, circle, everything_but_gates, expire
from workers import psql

from concord.sql import comments, projects, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from commands import Here
    from conftest import CommandLine, Result
    from forking import Forked, Nursery

    from concord.database import Database

    AtOnce = Callable[..., list[Result]]

pytestmark = pytest.mark.crew


def add(database: Database, count: int = 1, **fields: Any) -> list[int]:
    return [database.run(tasks.add, tasks.NewTask("x", **fields)).id for _ in range(count)]


@pytest.fixture
def at_once(url: str, concord: CommandLine, nursery: Nursery) -> AtOnce:
    """What runs commands that all begin their work at the same moment."""

    def run(*commands: tuple[str, ...]) -> list[Result]:
        started: list[Forked] = []
        try:
            with all_at_once(url, len(commands)):
                started += (nursery.start(concord, *each, "--json", **PATIENT) for each in commands)
        finally:
            results = [process.finish() for process in started]
        return results

    return run


@pytest.mark.parametrize("crowd", [2, 8, 64])
def test_of_many_processes_that_claim_one_task_exactly_one_wins(
    url: str, database: Database, at_once: AtOnce, crowd: int
) -> None:
    psql(url, "INSERT INTO users (username) SELECT 'u' || n FROM generate_series(1, 64) AS n")
    (task,) = add(database)
    for epoch in (1, 2) if crowd < 64 else (1,):
        results = at_once(*[("task", "claim", "--as", f"u{n + 1}") for n in range(crowd)])
        assert sorted(result.code for result in results) == [0] + [8] * (crowd - 1)
        (winner,) = [n for n, result in enumerate(results) if result.code == 0]
        won = results[winner].json
        assert (won["id"], won["claim"]["epoch"]) == (task, epoch)
        assert won["claim"]["by"] == f"u{winner + 1}"
        assert all(result.error["code"] == "empty" for result in results if result.code)
        expire(url, task)
    assert check_history(url) == 1


def test_eight_processes_get_eight_different_tasks(
    url: str, database: Database, at_once: AtOnce
) -> None:
    ids = add(database, 8)
    results = at_once(*[("task", "claim")] * 8)
    assert sorted(result.json["id"] for result in results) == ids


def test_a_holder_who_was_killed_loses_the_task_and_may_not_write(
    url: str, database: Database, concord: CommandLine, here: Here
) -> None:
    """The work of an agent: claim, work, done. Here it is killed at work, and wakes too late."""
    psql(url, "INSERT INTO users (username) VALUES ('bo')")
    (task,) = add(database)
    agent = concord.start("task", "claim", "--lease", "1h", "--json")
    claimed = json.loads(finish(agent).out)
    assert agent.poll() is not None
    agent.send_signal(signal.SIGKILL)
    assert here("task", "claim", "--as", "bo").code == 8
    expire(url, task)
    for taken in (False, True):
        if taken:
            assert here.ok("task", "claim", "--as", "bo")["claim"]["epoch"] == 2
        before = everything_but_gates(url)
        for verb in ("renew", "release", "done"):
            late = here("task", verb, str(task), "--epoch", str(claimed["claim"]["epoch"]))
            assert (late.code, late.out) == (4, "")
            assert "concord task claim" in late.err
        assert everything_but_gates(url) == before
    assert here.ok("task", "done", str(task), "--epoch", "2", "--as", "bo")["claim"] is None
    assert check_history(url) == 1


@pytest.mark.parametrize("kind", ["links", "parts"])
def test_of_two_processes_that_each_close_half_a_circle_one_is_refused(
    url: str, database: Database, at_once: AtOnce, kind: str
) -> None:
    one, two = map(str, add(database, 2))
    results = at_once(
        ("task", "block", one, "--by", two),
        ("task", "block", two, "--by", one)
        if kind == "links"
        else ("task", "edit", one, "--parent", two),
    )
    assert sorted(result.code for result in results) == [0, 1]
    (refused,) = [result.error for result in results if result.code]
    assert refused["code"] == "refused"
    assert sorted(map(str, refused["details"]["tasks"])) in ([one, two], [one], [two])
    blocking = psql(url, "SELECT blocked_id, blocker_id FROM links")
    parts = psql(url, "SELECT id, parent_id FROM tasks WHERE parent_id IS NOT NULL")
    assert circle([(a, b) for a, b in blocking], [(a, b) for a, b in parts]) is None
    assert len(blocking) + len(parts) == 1


def test_of_eight_processes_that_start_tasks_as_many_succeed_as_the_limit_allows(
    url: str, database: Database, at_once: AtOnce
) -> None:
    database.run(projects.add, "API")
    database.run(projects.edit, "API", {"wip_limit": 3})
    ids = add(database, 8, project="API")
    commands = [
        ("task", "claim", "--project", "API") if n % 2 else ("task", "start", str(ids[7 - n]))
        for n in range(8)
    ]
    results = at_once(*commands)
    codes = [result.code for result in results]
    assert codes.count(0) == 3
    assert {code for n, code in enumerate(codes) if n % 2} <= {0, 8}
    assert {code for n, code in enumerate(codes) if n % 2 == 0} <= {0, 1}
    started = psql(url, "SELECT id FROM tasks WHERE status = 'in_progress' ORDER BY id")
    named = ", ".join(str(task) for (task,) in started)
    refusals = [result.error["message"] for result in results if result.code == 1]
    assert all(f"in progress: {named}" in refusal for refusal in refusals)


def test_sixteen_processes_that_speak_at_once_are_all_heard(
    url: str, database: Database, at_once: AtOnce
) -> None:
    (task,) = add(database)
    said = [f"comment {n}" for n in range(16)]
    results = at_once(*[("task", "comment", str(task), text) for text in said])
    assert [result.code for result in results] == [0] * 16
    (shown,) = database.run(comments.show, [task])
    assert sorted(comment.body for comment in shown.comments) == sorted(said)
