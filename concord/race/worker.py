"""A worker: a process of its own with one connection, who does operations until it is told to stop.

It logs each attempt before it begins the next, in a file of its own that survives its death: of a
worker that was killed, at most the operation after its last line is unknown.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

from concord.errors import ConcordError
from concord.race.attempts import Attempt, packed
from concord.race.effects import Again, Exhausted, Op, Touch
from concord.race.product import Product
from concord.race.session import Session, Transaction
from concord.race.workloads import workload

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from concord.race.clock import Clock
    from concord.race.values import Value
    from concord.race.workloads import Strategy
    from concord.settings import Settings

RETRYABLE: Final = frozenset({"40001", "40P01", "55P03", "23505"})
"""SQLSTATEs after which the same operation may succeed: it starts again from its reads."""

BACKOFF_FIRST: Final = 0.0005
BACKOFF_LONGEST: Final = 0.05
"""Seconds: the range of the full-jitter exponential backoff between attempts."""

RECONNECT_PATIENCE: Final = 30.0
"""Seconds to wait for a server that went away in the middle of a race."""

TOLD_EVERY: Final = 0.1
"""Seconds between two reports of progress."""

STATUS: LiteralString = """
-- transaction_status: of one whose COMMIT was not answered
SELECT pg_xact_status(%(xid)s::xid8)
"""

ENTERED: LiteralString = """
-- entered: what a transaction left in the ledger
SELECT task_id, part, before, after FROM race_ops WHERE op_id = %(op)s
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do. Times in seconds."""

    settings: Settings
    schema: str
    name: str
    """Of its session: the application_name after `concord`, by which the observer knows it."""
    operation: str
    scenario: str
    strategy: str
    isolation: str
    worker: int
    workers: int
    racer: str
    racer_id: int
    project: int
    key: str
    tasks: tuple[int, ...]
    limit: int | None
    value: Value
    ops: int | None
    duration: float | None
    think: float
    retries: int
    seed: str
    clock: Clock
    log: Path
    backoff: bool = True


def main(job: Job, pipe: Connection) -> None:
    """Work through a job: connect, say so, wait for the start, do the operations, say goodbye."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    started, stopped = threading.Event(), threading.Event()
    threading.Thread(target=_watch, args=(pipe, started, stopped), daemon=True).start()
    # Nobody is left to tell when whoever started us was killed.
    with contextlib.suppress(ConnectionError), job.log.open("ab", buffering=0) as log:
        try:
            with contextlib.closing(Worker(job, log.write, pipe.send, stopped.is_set)) as worker:
                pipe.send(("ready", worker.pid))
                started.wait()
                pipe.send(("done", worker.work()))
        except (psycopg.Error, ConcordError) as error:
            pipe.send(("died", " ".join(str(error).split())))


def _watch(pipe: Connection, started: threading.Event, stopped: threading.Event) -> None:
    """Wait for the start, and for a stop; end the process when whoever started it is gone."""
    try:
        while True:
            if pipe.recv() == "stop":
                stopped.set()
            started.set()
    except (EOFError, OSError):
        os._exit(1)


class Worker:
    """One worker of a race. Raises `psycopg.OperationalError` if there is no server."""

    def __init__(
        self,
        job: Job,
        log: Callable[[bytes], Any],
        tell: Callable[[tuple[str, Any]], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._job = job
        self._log = log
        self._tell = tell
        self._stopped = stopped
        self._random = random.Random(f"{job.seed}/{job.worker}")  # noqa: S311 - to be repeatable
        self._workload = workload(job.scenario, job)
        self._isolation = job.isolation
        self._product: Product | None = None
        self._session: Session | None = None
        if job.strategy == "product":
            settings = replace(job.settings, user=job.racer, retries=min(job.retries, 999))
            self._product = Product(
                settings, job.name, job.schema, job.worker, job.clock, self._pause
            )
            self.pid = self._product.database.connection().info.backend_pid
        else:
            self._session = self._open()
            self.pid = self._session.connection.info.backend_pid

    def work(self) -> int:
        """Do operations until there is no more to do; return how many were acknowledged."""
        job = self._job
        deadline = None if job.duration is None else time.monotonic() + job.duration
        told = time.monotonic()
        done = 0
        for number in itertools.count():
            over = number == job.ops or self._stopped() or _past(deadline)
            if over and not self._workload.unfinished:
                break
            op = Op(number * job.workers + job.worker + 1, self._workload.choose(self._random))
            try:
                done += self.operate(op, None if over else deadline)
            except Exhausted:
                break
            if over:
                break
            if (now := time.monotonic()) - told > TOLD_EVERY:
                self._tell(("progress", done))
                told = now
        return done

    def operate(self, op: Op, deadline: float | None = None) -> bool:
        """Try an operation until it is acknowledged or given up; return whether it was.

        Raises `Exhausted` if there is nothing left to do.
        """
        first = True
        while True:
            attempt = self.attempt(op)
            again = (
                attempt.outcome == "fail"
                and attempt.retry < self._job.retries
                and (attempt.sqlstate is None or attempt.sqlstate in RETRYABLE or self._lost)
                and not _past(deadline)
                and not self._stopped()
            )
            self._note(attempt, op, again=again)
            if self._lost:
                self._reconnect()
            if attempt.outcome == "ok":
                self._workload.settle(attempt.touches)
                return True
            if attempt.outcome == "info":
                self._settle_unknown(attempt)
                return False
            if not again:
                return False
            op = replace(op, retry=attempt.retry + 1)
            if self._job.backoff and not first:
                longest = min(BACKOFF_LONGEST, BACKOFF_FIRST * 2 ** min(op.retry, 10))
                time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret
            first = False

    def attempt(self, op: Op) -> Attempt:
        """Try an operation once. Raises `Exhausted` if there is nothing left to do."""
        if self._product is not None:
            strategy = self._workload.product
            assert strategy is not None
            attempt = self._product.attempt(strategy, op)
            for earlier in self._product.attempts:
                self._note(earlier, op, again=True)
            return attempt
        assert self._session is not None
        strategy = self._workload.strategies[self._job.strategy]
        return bare_attempt(
            self._session, strategy, op, self._job.worker, self._isolation, self._pause
        )

    def close(self) -> None:
        """Give the connection back."""
        if self._session is not None:
            self._session.close()
        if self._product is not None:
            self._product.database.close()

    @property
    def _lost(self) -> bool:
        if self._session is not None:
            return self._session.lost
        assert self._product is not None
        return self._product.database.lost

    def _pause(self) -> None:
        if self._job.think:
            time.sleep(self._job.think)

    def _open(self) -> Session:
        job = self._job
        return Session(
            job.settings,
            job.name,
            job.schema,
            job.operation,
            job.clock,
            deadlocks=self._workload.deadlocks,
        )

    def _reconnect(self) -> None:
        """Connect anew. Raises the error of the last try when patience is at its end."""
        deadline = time.monotonic() + RECONNECT_PATIENCE
        while True:
            try:
                if self._product is not None:
                    self._product.database.connection()
                else:
                    self._session = self._open()
            except (psycopg.OperationalError, ConcordError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0, BACKOFF_LONGEST))  # noqa: S311 - jitter
            else:
                return

    def _settle_unknown(self, attempt: Attempt) -> None:
        """Learn from the ledger what became of a COMMIT that was not answered."""
        with self._open() as session:
            deadline = time.monotonic() + RECONNECT_PATIENCE
            while (
                _in_progress(session, attempt.entered.xid if attempt.entered else None)
                and time.monotonic() < deadline
            ):
                time.sleep(random.uniform(0, BACKOFF_LONGEST))  # noqa: S311 - jitter
            session.begin(self._isolation)
            row = session.execute(ENTERED, {"op": attempt.op_id}).fetchone()
            session.roll_back()
            if row is not None:
                self._workload.settle((Touch(*row),))

    def _note(self, attempt: Attempt, op: Op, *, again: bool) -> None:
        self._log(packed(attempt, op, again=again))


def _past(deadline: float | None) -> bool:
    """Whether it is later than this, by the monotonic clock; never without one."""
    return deadline is not None and time.monotonic() > deadline


def bare_attempt(
    session: Session,
    strategy: Strategy,
    op: Op,
    worker: int,
    isolation: str,
    pause: Callable[[], None],
) -> Attempt:
    """Run a strategy once, in a transaction of its own.

    It counts as done only on the tag COMMIT: the server answers COMMIT of a transaction whose
    error was swallowed with ROLLBACK, and no error. Raises `Exhausted`.
    """
    attempt = Attempt(op.id, op.retry, session.clock(), pid=session.pid)
    tx = Transaction(session, attempt, worker, pause)
    committing = False
    try:
        tx.begin(isolation)
        touches = strategy(tx, op)
        tx.enter(touches)
        committing = True
        tag = tx.commit()
    except Again as why:
        session.roll_back()
        attempt.reason = str(why)
    except Exhausted:
        session.roll_back()
        raise
    except psycopg.Error as error:
        attempt.sqlstate = error.sqlstate
        if session.lost:
            attempt.outcome = "info" if committing else "fail"
            attempt.reason = "the connection was lost" + (" at COMMIT" if committing else "")
        else:
            session.roll_back()
            attempt.reason = error.diag.message_primary
    else:
        if tag == "COMMIT":
            attempt.outcome = "ok"
        else:
            attempt.reason = f"COMMIT was answered with {tag}: an error had been swallowed"
    attempt.end = session.clock()
    return attempt


def _in_progress(session: Session, xid: str | None) -> bool:
    if xid is None:
        return False
    try:
        row = session.execute(STATUS, {"xid": xid}).fetchone()
    except psycopg.errors.InvalidParameterValue:
        return False  # an id from the future: this server never saw it
    return row == ("in progress",)
