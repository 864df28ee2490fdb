"""Lock waits as the observer sampled them: how many at a time, and how much it can have missed."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from concord.race.timeline import extent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Event = Mapping[str, Any]

LONG_MS: Final = 10.0
"""Statement time from which on a statement counts in the coverage."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the observer had to go by.

    `long`: statements that took `LONG_MS` or more by their client's clock; `caught`: those of them
    during which a sample saw their session wait for a lock.
    """

    samples: int | None
    interval_ms: float | None
    complete: bool
    long: int
    caught: int


@dataclass(frozen=True, slots=True)
class Slices:
    """How many sessions were seen waiting in each equal slice of a race, by kind of lock.

    A slice tells of its fullest moment. `starts`: seconds from its first attempt, `width`:
    seconds of a slice.
    """

    starts: tuple[float, ...]
    width: float
    waiting: Mapping[str, tuple[int, ...]]


def coverage(events: Sequence[Event]) -> Coverage | None:
    """Return how much the observer of a race can have seen; `None` if there was none."""
    told = next((event for event in events if event["type"] == "observer"), None)
    if told is None:
        return None
    seen: defaultdict[int | None, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event["type"] == "wait":
            seen[event["worker"]].append((event["since"], event["seen"]))
    for waits in seen.values():
        waits.sort()
    long = [
        (attempt["worker"], statement["at"], statement["at"] + statement["ms"] / 1000)
        for attempt in events
        if attempt["type"] == "attempt"
        for statement in attempt["statements"]
        if statement["ms"] >= LONG_MS
    ]
    caught = sum(_waited(seen[worker], begin, end) for worker, begin, end in long)
    return Coverage(told["samples"], told["interval_ms"], told["complete"], len(long), caught)


def _waited(waits: Sequence[tuple[float, float]], begin: float, end: float) -> bool:
    """Tell whether one of a session's waits, one after the other, falls into a time."""
    last = bisect_left(waits, (end,)) - 1
    return last >= 0 and waits[last][1] > begin


def slices(events: Sequence[Event], count: int) -> Slices:
    """Return who waited when, in so many equal slices of a race."""
    waits = [event for event in events if event["type"] == "wait"]
    whole = extent(events)
    length = (whole.end - whole.begin) / count or 1.0
    changes = sorted(
        change
        for wait in waits
        for change in (
            (wait["since"], 1, wait["locktype"]),
            (wait["seen"], -1, wait["locktype"]),
        )
        if wait["seen"] > wait["since"]
    )
    now: Counter[str] = Counter()
    fullest: list[Counter[str]] = []
    upcoming = iter([*changes, None])
    change = next(upcoming)
    for index in range(count):
        most = now.copy()
        while change is not None and (
            change[0] < whole.begin + (index + 1) * length or index == count - 1
        ):
            now[change[2]] += change[1]
            if now.total() > most.total():
                most = now.copy()
            change = next(upcoming)
        fullest.append(most)
    kinds = sorted({wait["locktype"] for wait in waits})
    return Slices(
        tuple(round(index * length, 6) for index in range(count)),
        round(length, 6),
        {kind: tuple(one[kind] for one in fullest) for kind in kinds},
    )
