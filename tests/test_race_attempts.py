"""Attempts of a worker: what counts as done, what is tried again, what is unknown."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import TIMEOUT, settings_for
from proxy import Cut, Proxy
from races import Ground, ground, polled

from concord.database import Isolation, Operation
from concord.database import Transaction as ProductTransaction
from concord.race import worker
from concord.race.clock import Clock
from concord.race.effects import Op, Touch
from concord.race.ledger import USE_SCHEMA
from concord.race.plan import READ_COMMITTED
from concord.race.product import Product
from concord.race.session import Session
from concord.race.worker import bare_attempt
from concord.sql import tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from concord.models import Task
    from concord.race.session import Transaction
    from concord.settings import Settings


# What is counted as done


class Careless(Session):
    """Swallows an error between the last statement and COMMIT."""

    def commit(self) -> str | None:
        """Let the transaction fail, tell nobody, and send COMMIT."""
        with suppress(psycopg.errors.DivisionByZero):
            self.execute("SELECT 1 / 0", {})
        return super().commit()


def increment(tx: Transaction, op: Op) -> tuple[Touch, ...]:
    """Raise a counter, as a strategy does."""
    (task,) = op.tasks
    tx.execute("UPDATE tasks SET description = '1' WHERE id = %(task)s", {"task": task})
    return (Touch(task, "value", 0, 1),)


def swallow(tx: Transaction, op: Op) -> tuple[Touch, ...]:
    """Raise a counter, and hide that the statement after it failed."""
    touches = increment(tx, op)
    with suppress(psycopg.errors.DivisionByZero):
        tx.execute("SELECT 1 / 0", {})
    return touches


@pytest.fixture
def counter(settings: Settings, tmp_path: Path) -> Iterator[Ground]:
    with ground(settings, tmp_path) as made:
        yield made


def test_an_error_swallowed_before_commit_is_never_done(counter: Ground) -> None:
    op = Op(1, counter.field.tasks)
    with Careless(
        counter.settings, "race test/0", counter.schema, "demo race", Clock.set_now()
    ) as session:
        told = bare_attempt(session, increment, op, 0, READ_COMMITTED, lambda: None)
    assert (told.outcome, told.sqlstate) == ("fail", None)
    assert told.reason == "COMMIT was answered with ROLLBACK: an error had been swallowed"
    assert counter.rows() == []
    assert counter.values() == ["0"]


def test_an_error_swallowed_by_a_strategy_is_never_done(counter: Ground) -> None:
    op = Op(1, counter.field.tasks)
    with counter.session() as session:
        told = bare_attempt(session, swallow, op, 0, READ_COMMITTED, lambda: None)
        assert (told.outcome, told.sqlstate) == ("fail", "25P02")
        assert counter.rows() == []
        again = bare_attempt(session, increment, op, 0, READ_COMMITTED, lambda: None)
        assert again.outcome == "ok", "the connection is as good as new"
    assert [row["op_id"] for row in counter.rows()] == [1]


@pytest.mark.parametrize("late", [False, True], ids=["in the operation", "after the ledger"])
def test_an_error_swallowed_in_a_product_operation_is_never_done(
    counter: Ground, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Concord's runner refuses the tag ROLLBACK, and so does the race."""
    enter = ProductTransaction.row

    def fail_unseen(tx: ProductTransaction) -> None:
        with suppress(psycopg.errors.DivisionByZero):
            tx.scalar("SELECT 1 / 0")

    def enter_carelessly(tx: ProductTransaction, *arguments: Any) -> Any:
        entered = enter(tx, *arguments)
        fail_unseen(tx)
        return entered

    def strategy(concord: Product, op: Op) -> tuple[Touch, ...]:
        (task,) = op.tasks

        def edit(tx: ProductTransaction) -> tuple[Task, ...]:
            edited = tasks.edit(tx, [task], {"description": "1"})
            if late:
                monkeypatch.setattr(ProductTransaction, "row", enter_carelessly)
            else:
                fail_unseen(tx)
            return edited

        operation = Operation(edit, Isolation.READ_COMMITTED, read_only=False)
        return concord.race(op, operation, lambda _: (Touch(task, "value", 0, 1),))

    racer = dataclasses.replace(counter.settings, user="racer1")
    product = Product(racer, "race test/0", counter.schema, 0, Clock.set_now(), lambda: None)
    with closing(product.database):
        told = product.attempt(strategy, Op(1, counter.field.tasks))
    assert told.outcome == "fail"
    assert ("answered COMMIT with ROLLBACK" in (told.reason or "")) is late
    assert counter.rows() == []
    assert counter.values() == ["0"]


# What is tried again


@pytest.mark.parametrize("at_commit", [False, True], ids=["at a statement", "at COMMIT"])
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_an_operation_that_may_succeed_is_tried_again_from_its_reads(
    counter: Ground, strategy: str, sqlstate: str, at_commit: bool
) -> None:
    counter.fail(2, sqlstate, at_commit=at_commit)
    with counter.racer(strategy) as racer:
        assert racer.worker.work() == 1
    assert racer.outcomes == [
        (1, 0, "fail", sqlstate),
        (1, 1, "fail", sqlstate),
        (1, 2, "ok", None),
    ]
    assert [attempt["again"] for attempt in racer.log] == [True, True, False]
    assert [(row["op_id"], row["before"], row["after"]) for row in counter.rows()] == [(1, 0, 1)]
    for attempt in racer.log:
        # Concord's runner repeats the operation; the version that it was given still tells.
        checks = "update_task_version" if strategy == "product" else "read_value"
        assert checks in [statement["name"] for statement in attempt["statements"]]


@pytest.mark.parametrize("sqlstate", ["22012", "23514", "57014"])
@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_an_error_that_would_come_again_is_not(
    counter: Ground, strategy: str, sqlstate: str
) -> None:
    counter.fail(1, sqlstate)
    with counter.racer(strategy, ops=2) as racer:
        assert racer.worker.work() == 1
    assert [(op, retry, outcome) for op, retry, outcome, _ in racer.outcomes] == [
        (1, 0, "fail"),
        (3, 0, "ok"),
    ]


@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_an_operation_is_given_up_after_so_many_retries(counter: Ground, strategy: str) -> None:
    counter.fail(100, "40001")
    with counter.racer(strategy, retries=2) as racer:
        assert racer.worker.work() == 0
    assert racer.outcomes == [(1, retry, "fail", "40001") for retry in range(3)]
    assert [attempt["again"] for attempt in racer.log] == [True, True, False]
    assert counter.rows() == []


def test_a_retry_has_a_new_snapshot(counter: Ground, url: str) -> None:
    (task,) = counter.field.tasks
    with (
        counter.racer("repeatable-read") as racer,
        psycopg.connect(url) as other,
        psycopg.connect(url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(USE_SCHEMA, {"schema": counter.schema})
        other.execute("UPDATE tasks SET description = '7' WHERE id = %s", (task,))
        racing = pool.submit(racer.worker.work)
        # It has read, and its write waits: the snapshot is older than what is committed now.
        polled(
            observer,
            "SELECT 1 WHERE %s = ANY(pg_blocking_pids(%s))",
            other.info.backend_pid,
            racer.worker.pid,
        )
        other.commit()
        assert racing.result(TIMEOUT) == 1
    assert racer.outcomes == [(1, 0, "fail", "40001"), (1, 1, "ok", None)]
    assert [(row["before"], row["after"]) for row in counter.rows()] == [(7, 8)]


def test_who_does_not_wait_tries_until_the_lock_is_free(counter: Ground, url: str) -> None:
    (task,) = counter.field.tasks
    with (
        counter.racer("nowait") as racer,
        psycopg.connect(url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(USE_SCHEMA, {"schema": counter.schema})
        other.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task,))
        racing = pool.submit(racer.worker.work)
        for _ in range(1_000_000):
            if len(racer.outcomes) >= 3:
                break
        other.commit()
        assert racing.result(TIMEOUT) == 1
    *failed, done = racer.outcomes
    assert len(failed) >= 3
    assert failed == [(1, retry, "fail", "55P03") for retry in range(len(failed))]
    assert done == (1, len(failed), "ok", None)


# A connection that is lost


@pytest.mark.parametrize(("cut", "entered"), [(Cut.BEFORE, [3]), (Cut.AFTER, [1, 3])])
def test_a_commit_that_is_not_answered_is_unknown_and_the_worker_goes_on(
    counter: Ground, url: str, cut: Cut, entered: list[int]
) -> None:
    with (
        Proxy(url, cut) as proxy,
        counter.racer("for-update", settings=settings_for(proxy.url), ops=2) as racer,
    ):
        assert racer.worker.work() == 1
    assert [one[:3] for one in racer.outcomes] == [(1, 0, "info"), (3, 0, "ok")]
    unknown = racer.log[0]
    assert unknown["reason"] == "the connection was lost at COMMIT"
    assert unknown["xid"]
    assert unknown["begin"] < unknown["end"]
    assert [row["op_id"] for row in counter.rows()] == entered
    assert counter.values() == [str(len(entered))]


@pytest.mark.parametrize(
    ("cut", "outcomes"),
    [
        (Cut.BEFORE, [(1, 0, "fail"), (1, 1, "ok"), (3, 0, "ok")]),
        (Cut.AFTER, [(1, 0, "ok"), (3, 0, "ok")]),
    ],
)
def test_concords_own_runner_looks_into_history_and_knows(
    settings: Settings, url: str, tmp_path: Path, cut: Cut, outcomes: list[tuple[int, int, str]]
) -> None:
    with ground(settings, tmp_path, "assign") as assign, Proxy(url, cut) as proxy:
        with assign.racer("product", settings=settings_for(proxy.url), ops=2) as racer:
            assert racer.worker.work() == 2
        assert [one[:3] for one in racer.outcomes] == outcomes
        assert [(row["op_id"], row["before"], row["after"]) for row in assign.rows()] == [
            (1, 0, 1),
            (3, 1, 0),
        ]


@pytest.mark.parametrize(("cut", "on"), [(Cut.BEFORE, False), (Cut.AFTER, True)])
def test_a_worker_learns_from_the_ledger_what_became_of_it(
    settings: Settings, url: str, tmp_path: Path, cut: Cut, on: bool
) -> None:
    # Its next operation depends on it: to take the task, or to leave it.
    with ground(settings, tmp_path, "assign") as assign, Proxy(url, cut) as proxy:
        with assign.racer("atomic", settings=settings_for(proxy.url), ops=2) as racer:
            assert racer.worker.work() == 1
        assert [one[2] for one in racer.outcomes] == ["info", "ok"]
        last = assign.rows()[-1]
    assert (last["op_id"], last["before"], last["after"]) == (3, int(on), int(not on))


def test_a_server_that_stays_away_ends_a_worker_after_it_has_logged(
    counter: Ground, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RECONNECT_PATIENCE", 0.0)
    with (
        Proxy(url, Cut.AFTER, last=True) as proxy,
        counter.racer("for-update", settings=settings_for(proxy.url), ops=2) as racer,
        pytest.raises(psycopg.OperationalError),
    ):
        racer.worker.work()
    assert [one[:3] for one in racer.outcomes] == [(1, 0, "info")]
    assert [row["op_id"] for row in counter.rows()] == [1]
