"""Who waited for whom at the worst moment of a race: as a graph that can be drawn."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from concord.race.timeline import Blocker, blockers_of, ended, extent, lock_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Event = Mapping[str, Any]

CLOCK_SLACK: Final = 0.001
"""Seconds by which the server's clock, put on ours, may be off."""


class Edge(NamedTuple):
    """An arrow from who waits (a pid) to whom it waits for. `how`: holder or queue."""

    waiter: int
    blocker: int
    how: str


@dataclass(frozen=True, slots=True)
class Waiter:
    """A session that waits at the moment. `ms`: for how long already, at least."""

    pid: int
    worker: int | None
    lock: str
    ms: float
    blockers: tuple[Blocker, ...]


@dataclass(frozen=True, slots=True)
class WaitGraph:
    """All waits at one moment, `at_ms` milliseconds after the first attempt of the race.

    `workers`: pid → worker, of all sessions concerned. `circles`: the pids of those who wait for
    each other, which is a deadlock. `levels`: the pids, those who wait for nobody first, then each
    below all it waits for; a circle shares a level. `drawn`: the arrows that do not follow from
    others (who waits behind B waits for whom B waits for, too).
    """

    at_ms: float
    waiters: tuple[Waiter, ...]
    workers: Mapping[int, int | None]
    circles: tuple[tuple[int, ...], ...]
    levels: tuple[tuple[int, ...], ...]
    drawn: tuple[Edge, ...]


def worst_moment(events: Sequence[Event]) -> WaitGraph | None:
    """Return the graph at the sample that saw the most sessions wait; `None` if none saw any.

    With equals, the one at which they had waited longest together.
    """
    waits = [event for event in events if event["type"] == "wait"]
    if not waits:
        return None
    moment = _fullest_moment(waits)
    began = _in_progress(events, moment)
    current = [wait for wait in waits if wait["since"] <= moment <= wait["seen"]]
    waiting = {wait["pid"] for wait in current}
    waiters = tuple(
        Waiter(
            wait["pid"],
            wait["worker"],
            lock_of(wait),
            round((moment - wait["since"]) * 1000, 3),
            tuple(
                one._replace(how="queue" if one.pid in waiting else "holder")
                for one in blockers_of(wait)
                if _still(one, wait, began)
            ),
        )
        for wait in sorted(current, key=lambda wait: (wait["since"], wait["pid"]))
    )
    workers = {one.pid: one.worker for waiter in waiters for one in waiter.blockers}
    workers |= {waiter.pid: waiter.worker for waiter in waiters}
    edges = {Edge(waiter.pid, one.pid, one.how) for waiter in waiters for one in waiter.blockers}
    ahead = {pid: {edge.blocker for edge in edges if edge.waiter == pid} for pid in workers}
    levels, drawn = _levels(ahead), _necessary(edges, ahead)
    circles = _circles(ahead)
    return WaitGraph(
        (moment - extent(events).begin) * 1000, waiters, workers, circles, levels, drawn
    )


def _fullest_moment(waits: Sequence[Event]) -> float:
    """Return the sample that saw the most sessions wait, and among equals the longest waits."""
    zero = min(wait["since"] for wait in waits)
    begins = sorted(wait["since"] - zero for wait in waits)
    over = sorted((wait["seen"] - zero, wait["since"] - zero) for wait in waits)
    begun = [0.0, *accumulate(begins)]
    gone = [0.0, *accumulate(begin for _, begin in over)]

    def weight(moment: float) -> tuple[int, float]:
        come, left = bisect_right(begins, moment), bisect_left(over, (moment,))
        return come - left, (come - left) * moment - (begun[come] - gone[left])

    return zero + max((seen for seen, _ in over), key=weight)


def _in_progress(events: Iterable[Event], moment: float) -> dict[int, float]:
    """Return when the attempt began that each worker is at."""
    return {
        event["worker"]: event["begin"]
        for event in events
        if event["type"] == "attempt"
        if event["begin"] - CLOCK_SLACK <= moment <= ended(event) + CLOCK_SLACK
    }


def _still(blocker: Blocker, wait: Event, began: Mapping[int, float]) -> bool:
    """Tell whether somebody who was in the way of a wait at some sample can still be.

    A wait lists everyone who was in its way at any of its samples. Whoever is at an attempt that
    began after the wait was in the way with an earlier one.
    """
    if wait["samples"] == 1 or blocker.worker is None:
        return True
    return began.get(blocker.worker, wait["seen"]) <= wait["since"] + CLOCK_SLACK


def _circles(ahead: Mapping[int, set[int]]) -> tuple[tuple[int, ...], ...]:
    """Return the sessions that wait for each other."""
    reached = {pid: _reached(pid, ahead) for pid in ahead}
    circles = {
        tuple(sorted(other for other in reached[pid] if pid in reached[other]))
        for pid in ahead
        if pid in reached[pid]
    }
    return tuple(sorted(circles))


def _levels(ahead: Mapping[int, set[int]]) -> tuple[tuple[int, ...], ...]:
    """Return the sessions in levels, each below all that it waits for, circles apart."""
    behind = {pid: _reached(pid, ahead) for pid in ahead}
    depth: dict[int, int] = {}

    def place(pid: int) -> int:
        if pid not in depth:
            beyond = [other for other in behind[pid] if pid not in behind[other]]
            depth[pid] = max((place(other) + 1 for other in beyond), default=0)
        return depth[pid]

    # The nearest first: then no call goes deeper than one level.
    for pid in sorted(ahead, key=lambda pid: len(behind[pid])):
        place(pid)
    return tuple(
        tuple(sorted(pid for pid in ahead if depth[pid] == level))
        for level in range(max(depth.values()) + 1)
    )


def _necessary(edges: Iterable[Edge], ahead: Mapping[int, set[int]]) -> tuple[Edge, ...]:
    """Return the arrows that do not follow from others; those within a circle are all kept."""
    reached = {pid: _reached(pid, ahead) for pid in ahead}

    def beyond(further: int, pid: int) -> bool:
        return further in reached[pid] and pid not in reached[further]

    def follows(edge: Edge) -> bool:
        return beyond(edge.blocker, edge.waiter) and any(
            beyond(other, edge.waiter) and beyond(edge.blocker, other)
            for other in ahead[edge.waiter]
        )

    return tuple(sorted(edge for edge in edges if not follows(edge)))


def _reached(pid: int, ahead: Mapping[int, set[int]]) -> set[int]:
    """Return all whom a session waits for, directly or through others."""
    reached: set[int] = set()
    todo = [*ahead[pid]]
    while todo:
        other = todo.pop()
        if other not in reached:
            reached.add(other)
            todo += ahead[other]
    return reached
