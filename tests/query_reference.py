"""What queries mean, in plain Python over the rows of tasks: slow, and easy to agree with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, LiteralString

from concord.query import And, Comparison, Not, Or, Span, Text
from concord.vocabulary import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from concord.models import Task
    from concord.query import Query

OPEN = ("todo", "in_progress")

TRUTH: LiteralString = """
WITH asked AS MATERIALIZED (
    SELECT CASE %(how)s
        WHEN 'exact' THEN phraseto_tsquery('english', %(words)s)
        WHEN 'prefix' THEN to_tsquery('english', %(quoted)s)
        ELSE plainto_tsquery('english', %(words)s)
    END AS query
)
SELECT task_id, document @@ query, querytree(query) = '' FROM task_texts, asked
"""
"""Of one text: for each task, whether it holds, and whether there is nothing to hold."""


@dataclass
class World:
    """All tasks, those in the trash too, and what else the truth depends on."""

    tasks: Mapping[int, Task]
    actor: str
    now: datetime
    connection: psycopg.Connection[Any]
    _truths: dict[Text, dict[int, tuple[bool, bool]]] = field(
        default_factory=dict[Text, "dict[int, tuple[bool, bool]]"]
    )

    def find(self, query: Query) -> list[int]:
        """Return the ids of the tasks outside the trash of which a query is true, in order."""
        return [
            task.id
            for task in self.tasks.values()
            if task.deleted_at is None and self.holds(query, task, negated=False)
        ]

    def holds(self, query: Query, task: Task, *, negated: bool) -> bool:
        """Return whether a query is true of a task, itself being negated or not."""
        match query:
            case And(parts):
                return all(self.holds(part, task, negated=negated) for part in parts)
            case Or(parts):
                return any(self.holds(part, task, negated=negated) for part in parts)
            case Not(part):
                return not self.holds(part, task, negated=not negated)
            case Text():
                return self.tells(query, task, negated=negated)
            case Comparison():
                return self.compares(query, task)

    def tells(self, text: Text, task: Task, *, negated: bool) -> bool:
        if text not in self._truths:
            quoted = "'" + text.words.replace("\\", "\\\\").replace("'", "''") + "':*"
            how = "exact" if text.exact else "prefix" if text.prefix else "all"
            given = {"how": how, "words": text.words, "quoted": quoted}
            rows = self.connection.execute(TRUTH, given).fetchall()
            self._truths[text] = {task: (found, empty) for task, found, empty in rows}
        found, empty = self._truths[text][task.id]
        # Words that are in no index restrict nothing, negated or not.
        return found or (empty and not negated)

    def compares(self, asked: Comparison, task: Task) -> bool:
        if asked.operator != ":":
            (bound,) = asked.values
            return self.orders(asked, task, bound)
        return any(self.equals(asked.field, task, value) for value in asked.values)

    def orders(self, asked: Comparison, task: Task, bound: Any) -> bool:
        left: Any
        if asked.field == "priority":
            left, bound = PRIORITIES.index(task.priority), PRIORITIES.index(bound)
        else:
            left = DATES[asked.field](task)
            if left is None:
                return False
        match asked.operator:
            case "<":
                return left < bound
            case "<=":
                return left <= bound
            case ">":
                return left > bound
            case _:
                return left >= bound

    def equals(self, name: str, task: Task, value: Any) -> bool:
        if name in DATES:
            moment = DATES[name](task)
            if moment is None or value is None:
                return moment is value
            assert isinstance(value, Span)
            return value.first <= moment <= value.last
        if name in LISTS:
            have = [item.lower() for item in LISTS[name](task)]
            return have == [] if value is None else self.person(value) in have
        match name:
            case "title":
                return value.lower() in task.title.lower()
            case "owner":
                return self.person(value) == task.owner.lower()
            case "claimed":
                by = self.claimant(task)
                return (
                    (by is not None) is value
                    if isinstance(value, bool)
                    else (by is not None and by.lower() == self.person(value))
                )
            case "blocked":
                return (task.status in OPEN and self.waits(task)) is value
            case "ready":
                return self.ready(task) is value
            case "recurring":
                return (task.recurrence is not None) is value
            case _:
                return getattr(task, name) == value

    def person(self, name: str) -> str:
        return (self.actor if name == "me" else name).lower()

    def claimant(self, task: Task) -> str | None:
        claim = task.claim
        return claim.by if claim is not None and claim.expires_at > self.now else None

    def waits(self, task: Task) -> bool:
        """Return whether the task, or what it is part of, waits for an open one."""
        blockers = [self.tasks[id_] for id_ in task.blocked_by]
        if any(one.status in OPEN and one.deleted_at is None for one in blockers):
            return True
        return task.parent is not None and self.waits(self.tasks[task.parent])

    def ready(self, task: Task) -> bool:
        lapsed = task.claim is not None and task.claim.expires_at <= self.now
        startable = task.status == "todo" or (task.status == "in_progress" and lapsed)
        children = [one for one in self.tasks.values() if one.parent == task.id]
        parted = any(one.status in OPEN and one.deleted_at is None for one in children)
        return startable and not parted and not self.waits(task)


DATES: dict[str, Callable[[Task], datetime | None]] = {
    "due": lambda task: task.due,
    "created": lambda task: task.created_at,
    "updated": lambda task: task.updated_at,
    "started": lambda task: task.started_at,
    "completed": lambda task: task.completed_at,
}
LISTS: dict[str, Callable[[Task], Sequence[str]]] = {
    "tag": lambda task: task.tags,
    "assignee": lambda task: task.assignees,
}
