"""Claims: who gets a task, for how long, and what is refused to those who lost it."""

from __future__ import annotations

import ast
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history, tables
from steps import PATIENCE
from together import all_at_once, expire, stopped_while_looking
from workers import Worker, Workers, psql

from concord.errors import Conflict
from concord.sql import (
    assignments,
    claims,
    comments,
    links,
    listing,
    projects,
    readiness,
    tags,
    tasks,
)
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Callable

    from concord.models import Task

    Intervention = Callable[[Worker, int, int], Any]

pytestmark = pytest.mark.crew

ANYTHING = Filters()
LEASE = timedelta(minutes=15)


def add(worker: Worker, title: str = "base", **fields: Any) -> int:
    return worker.database.run(tasks.add, tasks.NewTask(title, **fields)).id


def claim(worker: Worker, filters: Filters = ANYTHING, count: int = 1) -> list[Task]:
    return list(worker.database.run(claims.claim, filters, lease=LEASE, count=count))


def ids(found: list[Task]) -> list[int]:
    return [task.id for task in found]


# Many at once


@pytest.mark.parametrize("crowd", [2, 8, 64])
def test_of_many_claims_at_once_on_one_task_exactly_one_wins(url: str, crowd: int) -> None:
    """Every other round on a lease that has just run out."""
    psql(url, "INSERT INTO users (username) SELECT 'u' || n FROM generate_series(1, 64) AS n")
    with Workers(url) as workers, ThreadPoolExecutor(crowd) as pool:
        crew = [workers.patient(f"u{n + 1}") for n in range(crowd)]
        task = add(crew[0])
        for epoch in range(1, 21):
            with all_at_once(url, crowd):
                claiming = [pool.submit(claim, one) for one in crew]
            taken = [one.result(PATIENCE) for one in claiming]
            (winner,) = [n for n, found in enumerate(taken) if found]
            (won,) = taken[winner]
            assert won.claim is not None
            assert (won.id, won.claim.by, won.claim.epoch) == (task, f"u{winner + 1}", epoch)
            if epoch % 2:
                expire(url, task)
            else:
                crew[winner].database.run(claims.release, task, epoch)
    assert check_history(url) == 1


def test_of_two_claims_at_once_each_gets_one_of_two_ready_tasks(
    ana: Worker, bo: Worker, workers: Workers, url: str
) -> None:
    """One of them is new, the other one's lease has run out; neither is held without need."""
    abandoned, new = add(ana), add(ana)
    assert ids(claim(ana)) == [abandoned]
    expire(url, abandoned)
    gate = workers.gate()
    first = ana.run(gate.before_commit(claims.claim), ANYTHING, lease=LEASE)
    assert ids(claim(bo)) == [new]
    gate.open()
    assert ids(first.result(PATIENCE)) == [abandoned]


INTERVENTIONS: dict[str, Intervention] = {
    "assigns it to somebody": lambda bo, task, _: bo.database.run(
        assignments.assign, [task], ["bo"]
    ),
    "blocks it": lambda bo, task, other: bo.database.run(links.block, [task], [other]),
    "adds a part to it": lambda bo, task, _: add(bo, "part", parent=task),
    "starts it": lambda bo, task, _: bo.database.run(tasks.set_status, [task], "in_progress"),
    "completes it": lambda bo, task, _: bo.database.run(tasks.set_status, [task], "completed"),
    "deletes it": lambda bo, task, _: bo.database.run(tasks.delete, [task]),
    "moves it": lambda bo, task, _: bo.database.run(tasks.move, [task], None),
    "untags it": lambda bo, task, _: bo.database.run(tags.untag, [task], ["x"]),
    "archives its project": lambda bo, _, __: bo.database.run(projects.archive, "API"),
}
"""What somebody else may do between a claim's look at a task and its lock."""


@pytest.mark.parametrize("expired", [False, True], ids=["new", "expired"])
@pytest.mark.parametrize("intervene", INTERVENTIONS.values(), ids=INTERVENTIONS)
def test_what_is_not_ready_any_more_when_it_is_locked_is_not_claimed(
    workers: Workers, url: str, ana: Worker, bo: Worker, intervene: Intervention, expired: bool
) -> None:
    ana.database.run(projects.add, "API")
    task = add(ana, project="API", tags=["x"])
    other = add(ana, "other")
    if expired:
        claim(workers.patient("cy"), Filters(tags=["x"]))
        expire(url, task)
    with stopped_while_looking(url):
        claiming = ana.run(claims.claim, Filters(projects=["API"], tags=["x"]), lease=LEASE)
        assert not claiming.done()
        intervene(bo, task, other)
        before = tables(url)
    assert claiming.result(PATIENCE) == ()
    assert tables(url) == before


def test_a_claim_in_between_is_not_taken_over(url: str, ana: Worker, bo: Worker) -> None:
    task = add(ana)
    claim(ana)
    expire(url, task)
    with stopped_while_looking(url):
        claiming = ana.run(claims.claim, ANYTHING, lease=LEASE)
        psql(
            url,
            "UPDATE claims SET epoch = 2, user_id = (SELECT id FROM users WHERE username = 'bo'),"
            " expires_at = now() + interval '1 h'",
        )
    assert claiming.result(PATIENCE) == ()


def test_a_claim_goes_on_to_what_is_next_when_the_best_is_lost(
    url: str, ana: Worker, bo: Worker
) -> None:
    best, second = add(ana, priority="urgent"), add(ana)
    with stopped_while_looking(url):
        claiming = ana.run(claims.claim, ANYTHING, lease=LEASE, count=2)
        bo.database.run(tasks.edit, [best], {"status": "canceled"})
    assert ids(claiming.result(PATIENCE)) == [second]


# Leases


def test_a_lease_that_ran_out_makes_the_task_ready_and_fences_off_its_holder(
    url: str, ana: Worker, bo: Worker
) -> None:
    task = add(ana)
    (held,) = claim(ana)
    assert held.claim is not None
    assert claim(bo) == []
    expire(url, task)
    for taken in (False, True):
        if taken:
            (his,) = claim(bo)
            assert his.claim is not None
            assert (his.assignees, his.claim.by, his.claim.epoch) == (("bo",), "bo", 2)
        before = tables(url)
        for late in LATE:
            with pytest.raises(Conflict) as caught:
                late(ana, task, 1)
            assert caught.value.details["epoch"] == 1 + taken
            assert caught.value.details["by"] == ("bo" if taken else "ana")
        assert tables(url) == before
    assert check_history(url) == 1


LATE: tuple[Callable[[Worker, int, int], Any], ...] = (
    lambda one, task, epoch: one.database.run(claims.renew, task, epoch, lease=LEASE),
    lambda one, task, epoch: one.database.run(claims.release, task, epoch, comment="why"),
    lambda one, task, epoch: one.database.run(claims.complete, task, epoch),
)
"""What the holder of a claim may do."""


@pytest.mark.parametrize("act", LATE, ids=["renew", "release", "done"])
def test_only_the_holder_at_its_epoch_may_write(
    url: str, ana: Worker, bo: Worker, act: Callable[..., Any]
) -> None:
    task, unclaimed = add(ana), add(ana, priority="none")
    claim(ana)
    before = tables(url)
    for worker, which, epoch, told in (
        (bo, task, 1, "is claimed by ana at epoch 1, not by you at 1"),
        (ana, task, 2, "is claimed by ana at epoch 1, not by you at 2"),
        (ana, unclaimed, 1, "is not claimed"),
    ):
        with pytest.raises(Conflict) as caught:
            act(worker, which, epoch)
        assert caught.value.message == f"task {which} {told}"
    assert tables(url) == before
    act(ana, task, 1)
    assert check_history(url) == 2


def test_a_claim_that_ended_is_not_claimed_any_more_and_epochs_go_on(url: str, ana: Worker) -> None:
    task = add(ana)
    for epoch in (1, 2, 3):
        (held,) = claim(ana)
        assert held.claim is not None
        assert held.claim.epoch == epoch
        ended = ana.database.run(tasks.set_status, [task], "todo" if epoch < 3 else "completed")
        assert ended[0].claim is None
        with pytest.raises(Conflict, match=f"task {task} is not claimed any more"):
            ana.database.run(claims.renew, task, epoch, lease=LEASE)
    assert check_history(url) == 1


def test_renewing_moves_the_end_of_the_lease_and_is_no_change_of_the_task(
    url: str, ana: Worker
) -> None:
    task = add(ana)
    (held,) = ana.database.run(claims.claim, ANYTHING, lease=timedelta(seconds=30))
    told = psql(url, "SELECT count(*) FROM history")
    renewed = ana.database.run(claims.renew, task, 1, lease=LEASE)
    assert held.claim is not None
    assert renewed.claim is not None
    assert renewed.claim.expires_at - held.claim.expires_at > timedelta(minutes=14)
    assert (renewed.version, renewed.claim.epoch) == (held.version, 1)
    assert psql(url, "SELECT count(*) FROM history") == told


def test_a_task_given_back_is_ready_and_nobodys(url: str, ana: Worker, bo: Worker) -> None:
    task = add(ana, assignees=["bo"])
    assert claim(ana) == []
    (his,) = claim(bo)
    assert his.claim is not None
    given = bo.database.run(claims.release, task, 1, comment="No time.")
    assert (given.status, given.assignees, given.claim) == ("todo", ("bo",), None)
    ana.database.run(assignments.unassign, [task], [])
    claim(ana)
    given = ana.database.run(claims.release, task, 2)
    assert (given.status, given.assignees, given.claim) == ("todo", (), None)
    (said,) = ana.database.run(comments.show, [task])[0].comments
    assert (said.author, said.body) == ("bo", "No time.")


def test_whoever_starts_a_task_whose_lease_ran_out_keeps_it(
    url: str, ana: Worker, bo: Worker
) -> None:
    task = add(ana)
    claim(ana)
    expire(url, task)
    (started,) = bo.database.run(tasks.set_status, [task], "in_progress")
    assert started.claim is None
    assert claim(ana) == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_the_client_changes_nothing(
    url: str, ana: Worker, bo: Worker, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Time is the database's alone: here, Python's and the zone are an hour off."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
    monkeypatch.setattr(time, "monotonic", lambda: 3600.0 * hours)
    monkeypatch.setenv("TZ", f"XXX{-hours}")
    time.tzset()
    task = add(ana)
    try:
        (held,) = ana.database.run(claims.claim, ANYTHING, lease=timedelta(minutes=30))
        assert held.claim is not None
        assert claim(bo) == []
        assert psql(
            url,
            "SELECT expires_at = %s, expires_at - claimed_at BETWEEN interval '30 m' AND '31 m',"
            " claimed_at > now() - interval '1 m' FROM claims",
            held.claim.expires_at,
        ) == [(True, True, True)]
        ana.database.run(claims.renew, task, 1, lease=LEASE)
        expire(url, task)
        with pytest.raises(Conflict, match="ran out"):
            ana.database.run(claims.renew, task, 1, lease=LEASE)
        assert ids(claim(bo)) == [task]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_rule_about_leases_asks_the_clients_clock() -> None:
    imported = {
        name
        for module in (claims, tasks, readiness, listing)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Import)
        for name in (alias.name for alias in node.names)
    }
    assert imported & {"time", "datetime"} == set()


# Steps


def test_the_holder_and_a_taker_at_once(
    url: str, ana: Worker, bo: Worker, workers: Workers
) -> None:
    """Both orders of a renewal and a takeover at the moment at which the lease ends."""
    task = add(ana)
    claim(ana)
    gate = workers.gate()
    renewing = ana.run(gate.before_commit(claims.renew), task, 1, lease=LEASE)
    expire_later = workers.patient("cy")
    assert claim(bo) == [], "who is about to renew is passed over"
    gate.open()
    renewing.result(PATIENCE)
    assert claim(expire_later) == []

    expire(url, task)
    gate = workers.gate()
    taking = bo.run(gate.before_commit(claims.claim), ANYTHING, lease=LEASE)
    renewing = ana.run(claims.renew, task, 1, lease=LEASE)
    assert ana.waits_for(bo)
    gate.open()
    assert ids(list(taking.result(PATIENCE))) == [task]
    assert isinstance(renewing.exception(PATIENCE), Conflict)
    assert check_history(url) == 1


def test_of_done_and_a_takeover_at_once_the_first_one_counts(
    url: str, ana: Worker, bo: Worker, workers: Workers
) -> None:
    task = add(ana)
    claim(ana)
    gate = workers.gate()
    ending = ana.run(gate.before_commit(claims.complete), task, 1)
    expire_now = "UPDATE claims SET expires_at = now() - interval '1 s' WHERE user_id IS NOT NULL"
    assert claim(bo) == []
    gate.open()
    assert ending.result(PATIENCE).status == "completed"
    psql(url, expire_now)
    assert claim(bo) == []
    assert check_history(url) == 1


def test_a_comment_that_is_being_written_hides_no_task(
    url: str, ana: Worker, bo: Worker, workers: Workers
) -> None:
    task = add(ana)
    gate = workers.gate()
    speaking = ana.run(gate.before_commit(comments.add), [task], "Hm.")
    assert ids(claim(bo)) == [task]
    gate.open()
    assert speaking.result(PATIENCE)


def test_claims_in_several_limited_projects_do_not_deadlock(
    url: str, ana: Worker, bo: Worker, workers: Workers
) -> None:
    """Whoever waits at the gate of a project goes on when the one before has ended."""
    for key in ("AB", "CD"):
        ana.database.run(projects.add, key)
        ana.database.run(projects.edit, key, {"wip_limit": 2})
        for _ in range(3):
            add(ana, project=key)
    gate = workers.gate()
    hers = ana.run(gate.before_commit(claims.claim), ANYTHING, lease=LEASE, count=2)
    his = bo.run(claims.claim, ANYTHING, lease=LEASE, count=3)
    assert bo.waits_for(ana)
    gate.open()
    assert len(hers.result(PATIENCE)) == 2
    assert [task.project for task in his.result(PATIENCE)] == ["CD", "CD"]
    assert {outcome for outcome, _ in ana.outcomes + bo.outcomes} == {"done"}
    assert check_history(url) == 6


@pytest.mark.parametrize("status", ["todo", "in_progress"])
def test_what_a_lapsed_claim_had_assigned_goes_with_it_whoever_ends_it(
    url: str, ana: Worker, bo: Worker, status: Any
) -> None:
    task = add(ana)
    claim(ana)
    expire(url, task)
    (now,) = bo.database.run(tasks.set_status, [task], status)
    assert (now.status, now.assignees, now.claim) == (status, (), None)
    assert check_history(url) == 1


def test_a_holder_who_starts_a_lapsed_task_again_stays_assigned(url: str, ana: Worker) -> None:
    task = add(ana)
    claim(ana)
    expire(url, task)
    (now,) = ana.database.run(tasks.set_status, [task], "in_progress")
    assert (now.assignees, now.claim) == (("ana",), None)
