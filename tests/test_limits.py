"""Work-in-progress limits: never more than allowed, whoever comes from wherever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from audit import check_history
from steps import PATIENCE
from together import everything_but_gates, expire
from workers import Worker, Workers, psql

from concord.database import Isolation, Operation
from concord.errors import Refused
from concord.models import ImportedTask
from concord.sql import claims, imports, listing, projects, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from commands import Here

    from concord.database import Database

pytestmark = pytest.mark.crew

LEASE = timedelta(minutes=15)
API = listing.Filters(projects=["API"])


def limited(
    database: Database, limit: int | None, *, count: int = 4, key: str = "API"
) -> list[int]:
    """Return new tasks in a new project with a limit."""
    database.run(projects.add, key)
    database.run(projects.edit, key, {"wip_limit": limit})
    return [database.run(tasks.add, tasks.NewTask("x", project=key)).id for _ in range(count)]


def start(database: Database, *ids: int) -> None:
    database.run(tasks.set_status, ids, "in_progress")


def working(url: str) -> list[int]:
    return [i for (i,) in psql(url, "SELECT id FROM tasks WHERE status = 'in_progress' ORDER BY 1")]


def bringing(status: Any) -> tuple[Any, ...]:
    rows = [ImportedTask(ref="r", title="imported", line=1, status=status)]
    return imports.run, rows


WAYS: dict[str, Callable[[Database, int], Any]] = {
    "start": lambda db, task: db.run(tasks.set_status, [task], "in_progress"),
    "edit": lambda db, task: db.run(tasks.edit, [task], {"status": "in_progress"}),
    "add": lambda db, _: db.run(
        tasks.add, tasks.NewTask("new", project="API", status="in_progress")
    ),
    "move": lambda db, _: db.run(
        tasks.move,
        [db.run(tasks.add, tasks.NewTask("elsewhere", status="in_progress")).id],
        "API",
    ),
    "import": lambda db, _: db.run(*bringing("in_progress"), format_name="csv", project="API"),
}
"""Ways by which one more task comes to be in progress in a project."""


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_into_a_full_project_is_refused_naming_what_is_in_progress(
    url: str, database: Database, way: Callable[..., Any]
) -> None:
    one, two, three, *_ = limited(database, 2)
    start(database, one, two)
    with pytest.raises(Refused) as caught:
        way(database, three)
    assert f"project API may have 2 in progress; in progress: {one}, {two}" in caught.value.message
    assert psql(url, "SELECT id FROM tasks WHERE status = 'in_progress' AND project_id = 1") == [
        (one,), (two,)
    ]  # fmt: skip
    database.run(tasks.set_status, [one], "completed")
    way(database, three)


def test_a_task_from_the_trash_counts_when_it_comes_back(url: str, database: Database) -> None:
    one, two, *_ = limited(database, 1)
    start(database, one)
    database.run(tasks.delete, [one])
    start(database, two)
    before = everything_but_gates(url)
    with pytest.raises(Refused, match=f"in progress: {two}"):
        database.run(tasks.restore, [one])
    assert everything_but_gates(url) == before
    database.run(tasks.set_status, [two], "todo")
    database.run(tasks.restore, [one])
    with pytest.raises(Refused, match=f"in progress: {one}"):
        start(database, two)


def test_more_at_once_than_the_limit_are_refused_together(url: str, database: Database) -> None:
    ids = limited(database, 2)
    before = everything_but_gates(url)
    with pytest.raises(Refused, match="none yet, and these are more"):
        start(database, *ids)
    assert everything_but_gates(url) == before
    start(database, *ids[:2])


def test_a_claim_takes_as_many_as_the_limits_allow(url: str, database: Database) -> None:
    """Of a project that is full nothing, of the other ones what is next."""
    limited(database, 2)
    limited(database, 1, key="WEB")
    inbox = database.run(tasks.add, tasks.NewTask("inbox", priority="none")).id
    taken = database.run(claims.claim, listing.Filters(), lease=LEASE, count=50)
    assert sorted(str(task.project) for task in taken) == ["API", "API", "None", "WEB"]
    assert inbox in [task.id for task in taken]
    assert database.run(claims.claim, listing.Filters(), lease=LEASE, count=5) == ()
    expire(url, taken[0].id)
    again = database.run(claims.claim, listing.Filters(), lease=LEASE, count=5)
    assert [task.id for task in again] == [taken[0].id], "it is in progress already"
    assert check_history(url) == 9


def test_the_highest_limit_there_is_limits_nothing(database: Database) -> None:
    ids = limited(database, 2**31 - 1)
    start(database, *ids)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_below_what_is_in_progress_is_refused(
    url: str, database: Database, limit: int
) -> None:
    one, two, three, four = limited(database, None)
    start(database, one, two, three)
    database.run(tasks.delete, [three])
    if limit == 2:
        database.run(projects.edit, "API", {"wip_limit": limit})
        with pytest.raises(Refused):
            start(database, four)
        return
    before = everything_but_gates(url)
    with pytest.raises(Refused, match=f"project API has 2 in progress: {one}, {two}"):
        database.run(projects.edit, "API", {"wip_limit": limit, "name": "other"})
    assert everything_but_gates(url) == before


# At once


@pytest.mark.parametrize("limit", [None, 2], ids=["unlimited", "lower"])
def test_a_limit_is_not_set_while_somebody_starts_one_too_many(
    url: str, ana: Worker, bo: Worker, workers: Workers, limit: int | None
) -> None:
    one, two, *_ = limited(ana.database, limit)
    start(ana.database, one)
    gate = workers.gate()
    starting = ana.run(gate.before_commit(tasks.set_status), [two], "in_progress")
    setting = bo.run(projects.edit, "API", {"wip_limit": 1})
    assert bo.waits_for(ana)
    gate.open()
    assert starting.result(PATIENCE)
    with pytest.raises(Refused, match=f"has 2 in progress: {one}, {two}"):
        setting.result(PATIENCE)


def test_nobody_starts_one_too_many_while_a_limit_is_set(
    ana: Worker, bo: Worker, workers: Workers
) -> None:
    one, two, *_ = limited(ana.database, None)
    start(ana.database, one)
    gate = workers.gate()
    setting = ana.run(gate.before_commit(projects.edit), "API", {"wip_limit": 1})
    starting = bo.run(tasks.set_status, [two], "in_progress")
    assert bo.waits_for(ana)
    gate.open()
    assert setting.result(PATIENCE).wip_limit == 1
    with pytest.raises(Refused, match=f"in progress: {one}"):
        starting.result(PATIENCE)


def declared(operation: Operation[..., Any], isolation: Isolation) -> Operation[..., Any]:
    return Operation(operation.body, isolation, operation.read_only)


@pytest.mark.parametrize("hers", list(Isolation))
@pytest.mark.parametrize("his", list(Isolation))
def test_two_who_start_the_last_one_at_once_at_any_isolation(
    url: str, ana: Worker, bo: Worker, workers: Workers, hers: Isolation, his: Isolation
) -> None:
    """Whoever waited with an older snapshot starts again and is then refused by the rule."""
    one, two, *_ = limited(ana.database, 1)
    gate = workers.gate()
    first = ana.run(gate.before_commit(declared(tasks.set_status, hers)), [one], "in_progress")
    second = bo.run(declared(tasks.set_status, his), [two], "in_progress")
    assert bo.waits_for(ana)
    gate.open()
    assert first.result(PATIENCE)
    with pytest.raises(Refused, match=f"in progress: {one}"):
        second.result(PATIENCE)
    retried = [("retry", "40001")] if his != Isolation.READ_COMMITTED else []
    assert bo.outcomes[:-1] == retried
    assert working(url) == [one]


@pytest.mark.parametrize("isolation", [Isolation.REPEATABLE_READ, Isolation.SERIALIZABLE])
def test_a_start_with_a_snapshot_from_before_the_limit_begins_again(
    url: str, ana: Worker, bo: Worker, workers: Workers, isolation: Isolation
) -> None:
    one, two, *_ = limited(ana.database, None)
    start(ana.database, one)
    gate = workers.gate()

    def body(tx: Any) -> Any:
        tasks.fetch(tx, [one])  # its snapshot
        gate.wait(tx)
        return tasks.set_status(tx, [two], "in_progress")

    starting = bo.run(Operation(body, isolation, read_only=False))
    ana.database.run(projects.edit, "API", {"wip_limit": 1})
    gate.open()
    with pytest.raises(Refused, match=f"in progress: {one}"):
        starting.result(PATIENCE)
    assert bo.outcomes[0] == ("retry", "40001")
    assert working(url) == [one]


def test_eight_at_work_never_exceed_the_limit(url: str, workers: Workers) -> None:
    """They claim, start, complete, give back, delete and restore, until all is done."""
    psql(url, "INSERT INTO users (username) SELECT 'u' || n FROM generate_series(1, 8) AS n")
    crew = [workers.patient(f"u{n}") for n in range(1, 9)]
    ids = limited(crew[0].database, 3, count=40)
    seen: list[int] = []
    done = Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not done.is_set():
                row = connection.execute(
                    "SELECT count(*) FROM tasks WHERE status = 'in_progress' AND deleted_at IS NULL"
                ).fetchone()
                assert row is not None
                seen.append(row[0])

    def work(number: int) -> int:
        database, finished = crew[number].database, 0
        for turn in range(400):
            try:
                if number % 2:
                    taken = database.run(claims.claim, API, lease=LEASE)
                else:
                    todo = database.run(
                        listing.page, listing.Filters(statuses=["todo"]), limit=8
                    ).items
                    taken = (
                        database.run(tasks.set_status, [todo[number % len(todo)].id], "in_progress")
                        if todo
                        else ()
                    )
            except Refused:
                continue
            for task in taken:
                if turn % 5 == 0:
                    database.run(tasks.set_status, [task.id], "todo")
                else:
                    database.run(tasks.set_status, [task.id], "completed")
                    finished += 1
            if not taken and not psql(url, "SELECT FROM tasks WHERE status = 'todo' LIMIT 1"):
                break
        return finished

    with ThreadPoolExecutor(9) as pool:
        watching = pool.submit(watch)
        working_on = [pool.submit(work, number) for number in range(8)]
        try:
            finished = [one.result(PATIENCE * 2) for one in working_on]
        finally:
            done.set()
        watching.result(PATIENCE)
    assert max(seen) <= 3
    assert sum(finished) >= len(ids)
    assert check_history(url) == len(ids)


# The option


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "", "²", str(2**31)])
def test_what_is_no_limit_is_told_what_one_is(here: Here, text: str) -> None:
    here.ok("project", "add", "API")
    told = here.refused("project", "edit", "API", f"--wip-limit={text}", code=2)
    assert f"{text!r} is not a limit: a number from 1 on, or none" in told


def test_a_limit_is_set_and_lifted(here: Here) -> None:
    here.ok("project", "add", "API")
    assert here.ok("project", "edit", "API", "--wip-limit", "3")["wip_limit"] == 3
    assert here.ok("project", "edit", "API", "--wip-limit", "none")["wip_limit"] is None
