"""The work of an agent: claim, run, look after, settle; then the next one."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Literal

from concord import plain
from concord.agent.child import LONGEST_VARIABLE, Child, environment_of
from concord.agent.lease import Keeper, Lease
from concord.agent.signals import Signals
from concord.errors import (
    CommitUnknown,
    Conflict,
    Contention,
    DatabaseUnavailable,
    NotFound,
    Usage,
)
from concord.models import TaskRun
from concord.sql import agents, claims
from concord.waiting import await_any, outlast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from signal import Signals as Signal

    from concord.database import Database
    from concord.models import Task
    from concord.sql.listing import Filters

Reason = Literal["lost", "stopped"]
Outcome = Literal["completed", "released", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class Orders:
    """What an agent is to do. Times are in seconds."""

    command: Sequence[str]
    filters: Filters
    lease: timedelta
    wait: float
    """How long to wait for a task that is ready before it ends."""
    most: float
    """How many tasks to take, at most."""
    grace: float
    """How long a command that is asked to end may take."""
    patience: float
    """How long to try to reach a database that went away."""


class _Told(Exception):
    """A signal to stop came while nothing was claimed."""


class Agent:
    """Claims tasks and runs a command for each of them.

    A task whose command fails is given back, and not taken by this agent again: it would be the
    best one that is ready once more. `tell` takes remarks, `show` what became of each task.
    """

    def __init__(
        self,
        orders: Orders,
        *,
        user: str,
        database: Database,
        another: Callable[[], Database],
        show: Callable[[TaskRun], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._orders = orders
        self._user = user
        self._database = database
        self._another = another
        self._show = show
        self._tell = tell
        self._signals = Signals()
        self._failed: list[int] = []
        self._sent = 0.0

    def work(self) -> Signal | None:
        """Work until nothing is ready, or enough is done; return the signal that ended it sooner.

        Raises `DatabaseUnavailable` after the patience with a database that is away, `NotFound`
        for a filter that names what does not exist, `Usage` for a command that cannot be run,
        and `KeyboardInterrupt` for a second signal: then the command is killed, and its task left
        to the end of its lease.
        """
        with self._signals:
            while self._signals.told is None and self.outcomes.total() < self._orders.most:
                task = self._take()
                if task is None:
                    break
                run = self._run(task)
                self.outcomes[run.outcome] += 1
                self._show(run)
            return self._signals.told

    def _take(self) -> Task | None:
        """Claim a task; `None` if nothing was ready for long enough, or a signal came."""
        orders = self._orders

        def claim() -> Sequence[Task]:
            self._sent = time.monotonic()
            filters = replace(orders.filters, excluded=tuple(self._failed))
            # A claim whose commit nobody knows of may have been made: then it lapses.
            return self._database.run(claims.claim, filters, lease=orders.lease)

        try:
            found = await_any(
                lambda: outlast(claim, patience=orders.patience, pause=self._pause),
                patience=orders.wait,
                pause=self._pause,
            )
        except _Told:
            return None
        return found[0] if found else None

    def _pause(self, seconds: float) -> None:
        self._signals.wait(time.monotonic() + seconds)
        if self._signals.told is not None:
            raise _Told

    def _run(self, task: Task) -> TaskRun:
        """Run the command for a task and settle what becomes of it."""
        assert task.claim is not None
        lease = Lease(self._orders.lease, self._sent)
        epoch = task.claim.epoch
        if self._signals.told is not None:  # while it was claimed
            return TaskRun(task.id, epoch, self._settle(task, lease, "stopped"), None, None, 0)
        environment = environment_of(task, self._user)
        if "CONCORD_TASK" not in environment:
            self._tell(
                "large",
                f"task {task.id} is larger than {LONGEST_VARIABLE // 1024} KiB: CONCORD_TASK is"
                " not set, and the whole of it is on stdin",
            )
        try:
            child = Child(self._orders.command, environment, plain.dumps(task))
        except OSError as error:
            self._settle(task, lease, "released", f"The command cannot be run: {error.strerror}")
            raise Usage(
                f"cannot run {self._orders.command[0]!r}: {error.strerror}",
                hint="Name a program and its arguments; no shell is asked.",
            ) from None
        # The thread begins after the fork: a process with threads is none to fork.
        with (
            child,
            Keeper(self._another(), task.id, task.claim, lease, self._signals.wake) as keeper,
        ):
            reason = self._look_after(child, lease, keeper)
            child.reap()
            outcome = self._outcome(task, lease, child, reason, keeper)
        seconds = round(child.seconds, 3)
        return TaskRun(task.id, epoch, outcome, child.exit, child.signal_name, seconds)

    def _look_after(self, child: Child, lease: Lease, keeper: Keeper) -> Reason | None:
        """Wait for the end of a command; return why it was made to end, if it was."""
        reason: Reason | None = None
        kill_at = math.inf
        while not child.ended:
            now = time.monotonic()
            if reason is None:
                if keeper.lost is not None or now >= lease.warn_at:
                    reason = "lost"
                elif self._signals.told is not None:
                    reason = "stopped"
                if reason is not None:
                    child.signal(SIGTERM)
                    kill_at = now + self._orders.grace
            if reason is not None and now >= min(kill_at, lease.end_at):
                child.signal(SIGKILL)
                until = math.inf
            else:
                until = lease.warn_at if reason is None else min(kill_at, lease.end_at)
            # A renewal that comes meanwhile only makes us look once too often.
            self._signals.wait(min(until, now + 3600), child.stderr if child.speaks else None)
            if child.speaks:
                child.pass_on()
        if reason is not None:
            child.signal(SIGKILL)  # what it has started goes with it
        return reason

    def _outcome(
        self, task: Task, lease: Lease, child: Child, reason: Reason | None, keeper: Keeper
    ) -> Outcome:
        match reason:
            case "lost":
                return self._lost(task, keeper.lost or "it could not be renewed in time")
            case "stopped":
                assert self._signals.told is not None
                why = f"The agent was stopped ({self._signals.told.name})"
                return self._settle(task, lease, "stopped", child.account(why))
            case _ if child.exit == 0:
                return self._settle(task, lease, "completed")
            case _:
                self._failed.append(task.id)
                status = f"exit status {child.exit}" if child.exit else child.signal_name
                return self._settle(
                    task, lease, "released", child.account(f"The command ended with {status}")
                )

    def _settle(
        self,
        task: Task,
        lease: Lease,
        outcome: Literal["completed", "released", "stopped"],
        comment: str | None = None,
    ) -> Outcome:
        """Complete a task or give it back, and return what came of that.

        The claim's epoch makes it safe to try again whatever became of the attempt before: the
        claim ends once. If it has ended after an attempt that nobody knows of, history tells
        whether it was that attempt.
        """
        assert task.claim is not None
        epoch = task.claim.epoch
        tried = False
        give_up = lease.end_at
        while True:
            try:
                if outcome == "completed":
                    self._database.run(claims.complete, task.id, epoch)
                else:
                    self._database.run(claims.release, task.id, epoch, comment=comment)
            except CommitUnknown as error:
                tried, why = True, error
                give_up = max(give_up, time.monotonic() + self._orders.patience)
            except (DatabaseUnavailable, Contention) as error:
                why = error
            except (Conflict, NotFound) as error:
                if tried and self._ended_as(task, epoch) == _STATUS[outcome]:
                    return outcome
                return self._lost(task, error)
            else:
                return outcome
            if time.monotonic() >= give_up:
                return self._lost(task, why)
            self._signals.wait(time.monotonic() + lease.retry_after)

    def _lost(self, task: Task, why: object) -> Literal["lost"]:
        self._tell("lost", f"the claim of task {task.id} was lost: {why}")
        return "lost"

    def _ended_as(self, task: Task, epoch: int) -> str | None:
        return outlast(
            lambda: self._database.run(agents.ended_as, task.id, epoch),
            patience=self._orders.patience,
        )


_STATUS = {"completed": "completed", "released": "todo", "stopped": "todo"}
"""Outcome → the status that a task has then."""
