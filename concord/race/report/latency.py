"""How long operations took: from the begin of the first attempt to the acknowledgement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Latencies:
    """The times of acknowledged operations in milliseconds, ascending, and marks on them."""

    ms: tuple[float, ...]

    def rank(self, share: float) -> float:
        """Return a percentile by nearest rank: a time that some operation really took."""
        return self.ms[max(0, math.ceil(share * len(self.ms)) - 1)]

    def thinned(self, most: int) -> tuple[float, ...]:
        """Return at most so many of the times, evenly by rank, the fastest and slowest included."""
        count = len(self.ms)
        if count <= most:
            return self.ms
        return tuple(self.ms[index * (count - 1) // (most - 1)] for index in range(most))


def latencies(events: Sequence[Mapping[str, Any]]) -> Latencies:
    """Return how long each acknowledged operation of a race took, its retries included."""
    begun: dict[int, float] = {}
    times: list[float] = []
    attempts = [event for event in events if event["type"] == "attempt"]
    for attempt in sorted(attempts, key=lambda attempt: attempt["retry"]):
        first = begun.setdefault(attempt["op_id"], attempt["begin"])
        if attempt["outcome"] == "ok":
            times.append(round((attempt["end"] - first) * 1000, 3))
    return Latencies(tuple(sorted(times)))
