"""What is ready and what comes first, as the rules say it, without a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concord.vocabulary import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

OPEN = ("todo", "in_progress")


@dataclass
class Item:
    """A task as far as claims look at it.

    `holder` is who holds its claim, `lapsed` whether the lease has run out, `by_claim` whether it
    is for the claim alone that the holder is assigned. `due` is a number; smaller is sooner.
    """

    id: int
    status: Any = "todo"
    priority: Any = "none"
    due: int | None = None
    age: int = 0
    parent: int | None = None
    blockers: set[int] = field(default_factory=set[int])
    deleted: bool = False
    project: str | None = None
    assignees: set[str] = field(default_factory=set[str])
    holder: str | None = None
    lapsed: bool = False
    by_claim: bool = False
    epoch: int = 0
    auto_close: bool = False

    @property
    def is_open(self) -> bool:
        """Whether there is something left to do about it."""
        return self.status in OPEN and not self.deleted

    @property
    def order(self) -> tuple[Any, ...]:
        """By which ready tasks are claimed: priority, due date, age."""
        due = float("inf") if self.due is None else self.due
        return (-PRIORITIES.index(self.priority), due, self.age, self.id)


class Queue:
    """The tasks of a database. `limits` are those of projects, `archived` the closed projects."""

    def __init__(
        self,
        items: Iterable[Item],
        limits: dict[str, int | None] | None = None,
        archived: set[str] | None = None,
    ) -> None:
        self.items = {item.id: item for item in items}
        self.limits = limits or {}
        self.archived = archived or set()

    def is_blocked(self, item: Item) -> bool:
        """Whether an open task blocks it, or something that it is a part of."""
        if any(self.items[blocker].is_open for blocker in item.blockers):
            return True
        return item.parent is not None and self.is_blocked(self.items[item.parent])

    def open_parts(self, item: Item) -> list[int]:
        """Return its parts that are open."""
        return [part.id for part in self.items.values() if part.parent == item.id and part.is_open]

    def is_ready(self, item: Item) -> bool:
        """Whether it could be worked on now, whoever it is assigned to."""
        free = item.status == "todo" or (item.status == "in_progress" and item.lapsed)
        return free and not item.deleted and not self.is_blocked(item) and not self.open_parts(item)

    def in_progress(self, project: str | None) -> list[int]:
        """Return what counts against the limit of a project."""
        return [
            item.id
            for item in self.items.values()
            if item.project == project and item.status == "in_progress" and not item.deleted
        ]

    def is_full(self, project: str | None) -> bool:
        """Whether nothing more can be started in a project."""
        limit = self.limits.get(project or "")
        return limit is not None and len(self.in_progress(project)) >= limit

    def is_left_to_others(self, item: Item, by: str) -> bool:
        """Whether it is assigned, not only by a lease that has run out, and not to the claimer."""
        others = set(item.assignees)
        if item.holder and item.by_claim:
            others.discard(item.holder)
        return bool(others - {by}) and by not in item.assignees

    def is_claimable(self, item: Item, by: str = "ana") -> bool:
        """Whether somebody could get it now."""
        return (
            self.is_ready(item)
            and item.project not in self.archived
            and not (item.status == "todo" and self.is_full(item.project))
            and not self.is_left_to_others(item, by)
        )

    def claim(self, count: int, *, by: str = "ana") -> list[int]:
        """Take the best ones, one after the other, as each may fill its project."""
        taken: list[int] = []
        while len(taken) < count:
            ready = [item for item in self.items.values() if self.is_claimable(item, by)]
            if not ready:
                break
            best = min(ready, key=lambda item: item.order)
            if best.by_claim and best.holder is not None and best.holder != by:
                best.assignees.discard(best.holder)
                best.by_claim = False
            best.by_claim = by not in best.assignees or (best.by_claim and best.holder == by)
            best.assignees.add(by)
            best.status, best.holder, best.lapsed = "in_progress", by, False
            best.epoch += 1
            taken.append(best.id)
        return taken

    def set_status(self, item: Item, status: Any) -> None:
        """Give a task a status: its claim ends with its work, and its whole with its last part."""
        was_open = item.status in OPEN
        item.status = status
        if status != "in_progress":
            if status == "todo" and item.by_claim and item.holder is not None:
                item.assignees.discard(item.holder)
            self.end_claim(item)
        if was_open and status not in OPEN and item.parent is not None:
            whole = self.items[item.parent]
            if whole.auto_close and whole.is_open and not self.open_parts(whole):
                self.set_status(whole, "completed")

    def take_up(self, item: Item, by: str) -> None:
        """Start what is under a lease that has run out: what it had assigned to another goes."""
        if item.by_claim and item.holder is not None and item.holder != by:
            item.assignees.discard(item.holder)
        self.end_claim(item)

    def end_claim(self, item: Item) -> None:
        """Let nobody hold a task."""
        item.holder, item.lapsed, item.by_claim = None, False, False
