"""Claims, links, parts, limits and closing wholes against a plain model, in any order."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history
from conftest import settings_for
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from queue_model import Item, Queue
from together import circle, expire

from concord.database import Database
from concord.errors import ConcordError, Conflict, NotFound, Refused
from concord.sql import assignments, claims, comments, links, listing, projects, readiness, tasks
from concord.sql import users as people
from concord.vocabulary import STATUSES

if TYPE_CHECKING:
    from databases import Databases

LEASE = timedelta(minutes=15)
PROJECT = "API"
WHO = st.sampled_from(["ana", "bo"])
MOST = 6
WHICH = st.sampled_from([*range(MOST)] * 4 + [MOST])
"""A task by the order in which they were made; the highest is one that never was."""

SELDOM = st.sampled_from([False, False, False, True])


class Work(RuleBasedStateMachine):
    """Runs each command on the database and on the model, and compares the two."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.queue = Queue([], {PROJECT: None})
        self.said: dict[int, int] = {}
        self.made: list[int] = []
        self._opened = ExitStack()
        self.url = self._opened.enter_context(databases.lent())
        self.databases = {
            name: self._opened.enter_context(Database(settings_for(self.url, user=name), "test"))
            for name in ("ana", "bo")
        }
        self.databases["ana"].run(people.add, "bo")
        self.databases["ana"].run(projects.add, PROJECT)

    def teardown(self) -> None:
        """Compare the history as well, once a run."""
        with self._opened:
            assert check_history(self.url) == len(self.made)

    def run(
        self, who: str, expected: type[ConcordError] | None, operation: Any, *args: Any, **more: Any
    ) -> bool:
        """Run an operation that has to succeed, or to raise what was expected; whether it did."""
        if expected is None:
            self.databases[who].run(operation, *args, **more)
        else:
            with pytest.raises(expected):
                self.databases[who].run(operation, *args, **more)
        return expected is None

    def id(self, which: int) -> int:
        """Return the id of a task that exists, is in the trash or never was."""
        return 1_000_000 if which == MOST else self.made[which % len(self.made)]

    def missing(self, *ids: int) -> type[ConcordError] | None:
        """Return the error if one of the tasks is not there."""
        there = {item.id for item in self.queue.items.values() if not item.deleted}
        return None if there >= set(ids) else NotFound

    def circular(self, task: int, *, parent: int | None = None, blocker: int | None = None) -> bool:
        """Whether a new parent or blocker would close a circle."""
        items = self.queue.items.values()
        blocking = [(item.id, other) for item in items for other in item.blockers]
        parts = {item.id: item.parent for item in items if item.parent is not None}
        if parent is not None:
            parts[task] = parent
        if blocker is not None:
            blocking.append((task, blocker))
        return circle(blocking, list(parts.items())) is not None

    def too_many(self, item: Item) -> type[ConcordError] | None:
        """Return the error if a task that is not in progress may not be."""
        counted = item.status == "in_progress" and not item.deleted
        return Refused if not counted and self.queue.is_full(item.project) else None

    @initialize()
    def begin(self) -> None:
        for number in range(4):
            self.make(project=PROJECT if number % 2 else None, auto_close=number == 0)

    def make(self, **fields: Any) -> None:
        """Add a task on both sides."""
        added = self.databases["ana"].run(tasks.add, tasks.NewTask("x", **fields))
        fields["blockers"] = set(fields.pop("blocked_by", ()))
        self.queue.items[added.id] = Item(added.id, age=added.id, **fields)
        self.made.append(added.id)
        self.said[added.id] = 0

    @precondition(lambda self: len(self.made) < MOST)
    @rule(
        parent=st.one_of(st.none(), WHICH),
        blocker=st.one_of(st.none(), WHICH),
        closes=st.booleans(),
        project=st.sampled_from([None, PROJECT]),
        priority=st.sampled_from(["none", "high"]),
    )
    def add(
        self, parent: int | None, blocker: int | None, closes: bool, project: Any, priority: Any
    ) -> None:
        whole = None if parent is None else self.id(parent)
        other = None if blocker is None else self.id(blocker)
        named = [task for task in (whole, other) if task is not None]
        error = self.missing(*named) or (
            Refused if self.circular(-1, parent=whole, blocker=other) else None
        )
        fields: dict[str, Any] = {
            "parent": whole,
            "blocked_by": [] if other is None else [other],
            "auto_close": closes,
            "project": project,
            "priority": priority,
        }
        if error is None:
            self.make(**fields)
        else:
            self.run("ana", error, tasks.add, tasks.NewTask("x", **fields))

    @rule(which=WHICH, other=WHICH, how=st.sampled_from(["blocker", "parent"]))
    def tie(self, which: int, other: int, how: str) -> None:
        task, target = self.id(which), self.id(other)
        error = self.missing(task, target)
        if error is None and (task == target or self.circular(task, **{how: target})):
            error = Refused
        if how == "blocker":
            if self.run("ana", error, links.block, [task], [target]):
                self.queue.items[task].blockers.add(target)
        elif self.run("ana", error, tasks.edit, [task], {"parent": target}):
            self.queue.items[task].parent = target

    @rule(which=WHICH, by=st.one_of(st.none(), WHICH))
    def untie(self, which: int, by: int | None) -> None:
        task, blockers = self.id(which), [] if by is None else [self.id(by)]
        if self.run("ana", self.missing(task), links.unblock, [task], blockers):
            item = self.queue.items[task]
            item.blockers -= set(blockers) or set(item.blockers)
            self.run("ana", None, tasks.edit, [task], {"parent": None})
            item.parent = None

    @rule(who=WHO, count=st.integers(1, 3))
    def claim(self, who: str, count: int) -> None:
        taken = self.databases[who].run(claims.claim, listing.Filters(), lease=LEASE, count=count)
        assert [task.id for task in taken] == self.queue.claim(count, by=who)

    @rule(
        which=WHICH,
        stranger=SELDOM,
        ahead=st.sampled_from([0, 0, 0, 1, -1]),
        act=st.sampled_from(["renew", "release", "release with a word", "complete"]),
    )
    def act_on_a_claim(self, which: int, stranger: bool, ahead: int, act: str) -> None:
        """Mostly as its holder, and at its epoch."""
        if not any(item.holder for item in self.queue.items.values()):
            self.claim("bo", 1)
        ever = [item for item in self.queue.items.values() if item.epoch]
        if not ever:
            return
        item = max(ever, key=lambda item: (item.holder is not None, item.id == self.id(which)))
        who = "bo" if (item.holder == "bo") != stranger else "ana"
        epoch = max(1, item.epoch + ahead)
        holds = item.holder == who and not item.lapsed and epoch == item.epoch
        error = self.missing(item.id) or (None if holds else Conflict)
        match act:
            case "renew":
                self.run(who, error, claims.renew, item.id, epoch, lease=LEASE)
            case "complete":
                if self.run(who, error, claims.complete, item.id, epoch):
                    self.queue.set_status(item, "completed")
            case _:
                word = "why" if "word" in act else None
                if self.run(who, error, claims.release, item.id, epoch, comment=word):
                    if item.by_claim:
                        item.assignees.discard(who)
                    self.queue.set_status(item, "todo")
                    self.said[item.id] += word is not None

    @rule(which=WHICH, status=st.sampled_from(STATUSES))
    def set_status(self, which: int, status: Any) -> None:
        task = self.id(which)
        error = self.missing(task)
        if error is None and status == "in_progress":
            error = self.too_many(self.queue.items[task])
        if self.run("bo", error, tasks.set_status, [task], status):
            item = self.queue.items[task]
            if status == item.status == "in_progress" and item.lapsed:
                self.queue.take_up(item, "bo")
            self.queue.set_status(item, status)

    @rule(which=WHICH, really=SELDOM)
    def delete_or_restore(self, which: int, really: bool) -> None:
        task = self.id(which)
        item = self.queue.items.get(task)
        if item is None:
            self.run("ana", NotFound, tasks.restore, [task])
        elif item.deleted:
            error = self.too_many(item) if item.status == "in_progress" else None
            if self.run("ana", error, tasks.restore, [task]):
                item.deleted = False
            else:
                self.run("ana", NotFound, tasks.delete, [task])
        elif really:
            self.run("ana", None, tasks.delete, [task])
            item.deleted = True
            self.queue.end_claim(item)

    @rule(which=WHICH, names=st.lists(WHO, unique=True), off=st.booleans())
    def assign(self, which: int, names: list[str], off: bool) -> None:
        task = self.id(which)
        operation = assignments.unassign if off else assignments.assign
        if self.run("ana", self.missing(task), operation, [task], names):
            item = self.queue.items[task]
            if off:
                item.assignees -= set(names) or set(item.assignees)
            else:
                item.assignees |= set(names)

    @rule(which=WHICH)
    def comment(self, which: int) -> None:
        task = self.id(which)
        if self.run("bo", self.missing(task), comments.add, [task], "Hm."):
            self.said[task] += 1

    @rule(limit=st.sampled_from([None, 1, 2]))
    def limit(self, limit: int | None) -> None:
        error = (
            Refused if limit is not None and len(self.queue.in_progress(PROJECT)) > limit else None
        )
        if self.run("ana", error, projects.edit, PROJECT, {"wip_limit": limit}):
            self.queue.limits[PROJECT] = limit

    @rule(which=WHICH)
    def time_passes(self, which: int) -> None:
        held = [item for item in self.queue.items.values() if item.holder]
        if held:
            item = held[which % len(held)]
            expire(self.url, item.id)
            item.lapsed = True

    @invariant()
    def the_tasks_are_those_of_the_model(self) -> None:
        database = self.databases["ana"]
        found = database.run(comments.show, self.made)
        assert [
            (
                task.status, task.deleted_at is not None, task.parent, set(task.blocked_by),
                set(task.assignees), task.claim and (task.claim.by, task.claim.epoch),
                len(task.comments),
            )
            for task in found
        ] == [
            (
                item.status, item.deleted, item.parent, item.blockers, item.assignees,
                (item.holder, item.epoch) if item.holder else None, self.said[item.id],
            )
            for item in self.queue.items.values()
        ]  # fmt: skip
        explained = database.run(readiness.explain, listing.Filters(), limit=MOST)
        assert {row.id for row in explained if row.ready} == {
            item.id for item in self.queue.items.values() if self.queue.is_claimable(item)
        }


def test_the_commands_do_what_the_model_says(crew_databases: Databases) -> None:
    class OnThisServer(Work):
        def __init__(self) -> None:
            super().__init__(crew_databases)

    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=20,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
