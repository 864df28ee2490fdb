"""The order that dependencies and hierarchy ask for, among tasks that are known by name.

A task begins after its blockers have ended and after the task that it is part of has begun; it
ends after all its parts have ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Field = Literal["blocked_by", "parent"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What one task says of another, and what cannot hold together with the rest.

    `circle` names the tasks of which each would wait for the next one, and the last for the first.
    """

    name: str
    field: Field
    other: str
    circle: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """An order of events. `begins` and `ends` are the places of each task's first and last one."""

    begins: dict[str, int]
    ends: dict[str, int]
    left_out: tuple[LeftOut, ...]

    def is_over(self, name: str, other: str) -> bool:
        """Whether a task has ended when another one begins."""
        return self.ends[name] < self.begins[other]


def arrange(
    names: Sequence[str], parents: Mapping[str, str], blockers: Mapping[str, Iterable[str]]
) -> Arrangement:
    """Return an order that keeps to parents and blockers, and otherwise to that of `names`.

    Who is not among `names` does not count. Of each circle the last dependency is left out, or
    the last parent if there is none.
    """
    return _Arranging(names, parents, blockers).run()


class _Arranging:
    """Events are numbers: the place of a name times two is its beginning, one more its end."""

    def __init__(
        self,
        names: Sequence[str],
        parents: Mapping[str, str],
        blockers: Mapping[str, Iterable[str]],
    ) -> None:
        self._names = names
        places = {name: place for place, name in enumerate(names)}
        self._later: list[list[int]] = [[] for _ in range(2 * len(names))]
        self._unmet: list[set[int]] = [set() for _ in range(2 * len(names))]
        for place, name in enumerate(names):
            self._add(2 * place, 2 * place + 1)
            parent = places.get(parents.get(name, ""))
            if parent is not None:
                self._add(2 * parent, 2 * place)
                self._add(2 * place + 1, 2 * parent + 1)
            for blocker in blockers.get(name, ()):
                if blocker in places:
                    self._add(2 * places[blocker] + 1, 2 * place)

    def run(self) -> Arrangement:
        ready = [event for event, unmet in enumerate(self._unmet) if not unmet]
        heapify(ready)
        order: dict[int, int] = {}
        left_out: list[LeftOut] = []
        circle: list[int] = []
        first = 0
        while len(order) < len(self._unmet):
            if not ready:
                # Whatever is left waits for something that is left. The next circle is most likely
                # where the last one was.
                while not self._unmet[first]:
                    first += 1
                near = next((event for event in circle if self._unmet[event]), first)
                circle = self._circle(near)
                left_out.append(self._break(circle, ready))
                continue
            event = heappop(ready)
            order[event] = len(order)
            for later in self._later[event]:
                self._meet(event, later, ready)
        return Arrangement(
            {name: order[2 * place] for place, name in enumerate(self._names)},
            {name: order[2 * place + 1] for place, name in enumerate(self._names)},
            tuple(left_out),
        )

    def _add(self, event: int, later: int) -> None:
        self._later[event].append(later)
        self._unmet[later].add(event)

    def _meet(self, event: int, later: int, ready: list[int]) -> None:
        if event in self._unmet[later]:
            self._unmet[later].remove(event)
            if not self._unmet[later]:
                heappush(ready, later)

    def _circle(self, start: int) -> list[int]:
        """Go back from an event that waits until one comes again; each waits for the next."""
        path: dict[int, int] = {}
        event = start
        while event not in path:
            path[event] = len(path)
            event = min(self._unmet[event])
        return list(path)[path[event] :]

    def _break(self, circle: list[int], ready: list[int]) -> LeftOut:
        """Take one relation out of a circle."""
        pairs = list(zip([*circle[1:], circle[0]], circle, strict=True))
        # An end before a beginning is a dependency; what is left, but for a task's own beginning
        # before its end, is hierarchy.
        links = [(later // 2, earlier // 2) for earlier, later in pairs if earlier % 2 > later % 2]
        names = tuple(dict.fromkeys(self._names[event // 2] for event in circle))
        if links:
            blocked, blocker = max(links)
            self._meet(2 * blocker + 1, 2 * blocked, ready)
            return LeftOut(self._names[blocked], "blocked_by", self._names[blocker], names)
        child, parent = max(
            (later // 2, earlier // 2) if earlier % 2 == 0 else (earlier // 2, later // 2)
            for earlier, later in pairs
            if earlier % 2 == later % 2
        )
        self._meet(2 * parent, 2 * child, ready)
        self._meet(2 * child + 1, 2 * parent + 1, ready)
        return LeftOut(self._names[child], "parent", self._names[parent], names)
