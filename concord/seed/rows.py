"""The tasks of a made-up tracker, one after the other, oldest first.

All of it follows from a number, the seed, and the time at which the two years end. What depends
on other tasks looks back at a few latest ones of the same project only, so that a million tasks
take no more memory than a thousand.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from concord.seed import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.vocabulary import Priority, Status

SPAN = timedelta(days=730)
"""How far the oldest task lies back."""

RECENT = 60
"""How many tasks of a project may become the parent or blocker of the next one."""

PRIORITIES: tuple[tuple[Priority, float, float], ...] = (
    ("urgent", 0.04, 2),
    ("high", 0.12, 6),
    ("medium", 0.27, 10),
    ("low", 0.12, 20),
    ("none", 0.45, 12),
)
"""Priority, how many have it, and for how many days such a task is open on average."""

NEVER_DONE = 0.04
"""How many tasks stay open for good."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made. `prefix` comes before the project keys; `now` is aware."""

    tasks: int
    seed: int
    now: datetime
    prefix: str = ""

    @property
    def users(self) -> list[str]:
        """The names of all users."""
        return words.numbered(words.ANIMALS, min(max(self.tasks // 2000, 5), 500))

    @property
    def projects(self) -> list[str]:
        """The keys of all projects."""
        count = min(max(self.tasks // 2500, 3), 400)
        return [self.prefix + key for key in words.numbered(words.AREAS, count)]

    @property
    def tags(self) -> list[str]:
        """The names of all tags."""
        return words.numbered(words.TAGS, min(max(self.tasks // 5000, 12), 200))


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment. `author` is an index into the users."""

    author: int
    body: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim. `user` is an index into the users."""

    user: int
    at: datetime
    expires: datetime


@dataclass(slots=True)
class MadeTask:
    """A task. `project`, `owner`, `tags` and `assignees` are indexes into those of the plan.

    `blockers` and `parent` are ids of older tasks.
    """

    id: int
    uid: UUID
    project: int | None
    title: str
    description: str | None
    priority: Priority
    owner: int
    created: datetime
    updated: datetime
    status: Status = "todo"
    due: datetime | None = None
    parent: int | None = None
    started: datetime | None = None
    completed: datetime | None = None
    canceled: datetime | None = None
    deleted: datetime | None = None
    tags: Sequence[int] = ()
    assignees: Sequence[int] = ()
    blockers: Sequence[int] = ()
    remarks: Sequence[Remark] = ()
    lease: Lease | None = None

    @property
    def closed(self) -> datetime | None:
        """When it was completed or canceled."""
        return self.completed or self.canceled


@dataclass(slots=True)
class _Former:
    """What is remembered of a task: what it is to those that come after it."""

    id: int
    part: bool
    created: datetime
    closed: datetime | None
    deleted: bool = field(default=False)


class Maker:
    """Makes the tasks of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = Random(f"{plan.seed}/{plan.prefix}")  # noqa: S311 - the same for everybody
        self._writer = words.Writer(self._random)
        self._users = range(len(plan.users))
        self._projects = range(len(plan.projects))
        self._project_weights = _zipf(len(plan.projects))
        self._tags = range(len(plan.tags))
        self._tag_weights = _zipf(len(plan.tags))
        self._recent = [deque[_Former](maxlen=RECENT) for _ in plan.projects]
        self._made = 0

    def task(self, number: int) -> MadeTask:
        """Return the next task, with this number as its id; it has to be greater than the last."""
        random, plan = self._random, self._plan
        # Ever more of them, as the tracker grows.
        created = plan.now - SPAN * (1 - ((self._made + random.random()) / plan.tasks) ** 0.75)
        self._made += 1
        ((priority, _, days),) = random.choices(PRIORITIES, [share for _, share, _ in PRIORITIES])
        task = MadeTask(
            id=number,
            uid=UUID(int=random.getrandbits(128), version=4),
            project=None if random.random() < 0.02 else self._project(),
            title=self._writer.title(),
            description=None if random.random() < 0.25 else self._writer.text(35, 600),
            priority=priority,
            owner=random.choice(self._users),
            created=created,
            updated=created,
        )
        parent = self._parent(task)
        self._decide(task, days, parent)
        self._describe(task)
        if task.project is not None:
            former = _Former(
                number, parent is not None, created, task.closed, task.deleted is not None
            )
            self._recent[task.project].append(former)
        return task

    def _project(self) -> int:
        (one,) = self._random.choices(self._projects, cum_weights=self._project_weights)
        return one

    def _parent(self, task: MadeTask) -> _Former | None:
        """Return the task that it is a part of: one that was open when the part was made."""
        if task.project is None or self._random.random() > 0.15:
            return None
        for former in reversed(self._recent[task.project]):
            if not former.part and not former.deleted and _open_at(former, task.created):
                task.parent = former.id
                return former
        return None

    def _decide(self, task: MadeTask, days: float, parent: _Former | None) -> None:
        """Say what became of a task. A part is closed before the task that it is part of."""
        random, now = self._random, self._plan.now
        begun = task.created + timedelta(days=random.expovariate(2 / days))
        closed = begun + timedelta(days=random.expovariate(2 / days))
        if random.random() < NEVER_DONE:
            begun = closed = now + SPAN
        if parent is not None and parent.closed is not None and closed > parent.closed:
            begun = task.created + (parent.closed - task.created) * random.random()
            closed = begun + (parent.closed - begun) * random.random()
        if task.project is not None and random.random() < 0.15:
            self._block(task, begun)
        if closed <= now and random.random() < 0.08:
            task.status, task.canceled = "canceled", closed
        elif closed <= now:
            task.status, task.started, task.completed = "completed", begun, closed
        elif begun <= now:
            task.status, task.started = "in_progress", begun
        task.updated = task.closed or task.started or task.created
        if random.random() < 0.005:
            task.deleted = task.updated = task.updated + (now - task.updated) * random.random()

    def _block(self, task: MadeTask, begun: datetime) -> None:
        """Let it wait for older ones: closed before it was begun, if it was."""
        assert task.project is not None
        fitting = [
            former.id
            for former in self._recent[task.project]
            if former.id != task.parent
            and (begun > self._plan.now or (former.closed is not None and former.closed <= begun))
        ]
        if fitting:
            task.blockers = sorted(
                {*self._random.choices(fitting, k=self._random.choice((1, 1, 2)))}
            )

    def _describe(self, task: MadeTask) -> None:
        """Add what people put on a task: date, tags, assignees, comments, a claim."""
        random, now = self._random, self._plan.now
        if random.random() < 0.35:
            date = (task.closed or task.created) + timedelta(days=random.gauss(4, 8))
            task.due = max(date, task.created).replace(hour=23, minute=59, second=59, microsecond=0)
        tags = random.choice((0, 0, 1, 1, 1, 2, 3))
        task.tags = sorted({*random.choices(self._tags, cum_weights=self._tag_weights, k=tags)})
        open_to_all = task.status == "todo" and random.random() < 0.5
        if not open_to_all:
            people = random.choice((0, 1, 1, 1, 1, 2))
            task.assignees = sorted({*random.choices(self._users, k=people)})
        if random.random() < 0.15:
            until = task.closed or now
            task.remarks = [
                Remark(
                    random.choice(self._users),
                    self._writer.text(18, 300),
                    task.created + (until - task.created) * random.random(),
                )
                for _ in range(random.choice((1, 1, 2, 4)))
            ]
        if task.status == "in_progress" and task.deleted is None and random.random() < 0.3:
            # For weeks, so that few of them run out while somebody looks around.
            lease = timedelta(days=random.uniform(1, 30))
            task.lease = Lease(random.choice(self._users), task.updated, now + lease)


def _open_at(former: _Former, moment: datetime) -> bool:
    return former.closed is None or former.closed > moment


def _zipf(count: int) -> list[float]:
    """Return weights, added up, of which few are large."""
    return list(accumulate(1 / (rank + 2) for rank in range(count)))
