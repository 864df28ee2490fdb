"""Whether there was a race at all: nobody loses what nobody else is after."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.race.judge.events import Attempt
    from concord.race.judge.evidence import Evidence

SHARED: Final = frozenset({"claim", "limit"})
"""Scenarios in which all are after the same thing, whichever task an attempt is about."""


def overlaps(evidence: Evidence) -> int:
    """Return how many attempts began while another worker was after the same thing."""
    groups: defaultdict[int, list[Attempt]] = defaultdict(list)
    shared = evidence.header.scenario in SHARED
    for attempt in evidence.attempts:
        if shared:
            groups[0].append(attempt)
            continue
        if attempt.task is not None:
            groups[attempt.task].append(attempt)
        if attempt.other is not None:
            groups[attempt.other.task].append(attempt)
    return sum(_overlapping(attempts) for attempts in groups.values())


def _overlapping(attempts: Sequence[Attempt]) -> int:
    count = 0
    # The latest end so far, and the latest of any other worker than that one's.
    first: tuple[float, int] | None = None
    second = float("-inf")
    for attempt in sorted(attempts, key=lambda attempt: attempt.begin):
        end = attempt.begin if attempt.end is None else attempt.end
        if first is None:
            first = end, attempt.worker
            continue
        latest = second if first[1] == attempt.worker else first[0]
        count += attempt.begin < latest
        if first[1] == attempt.worker:
            first = max(first, (end, attempt.worker))
        elif end > first[0]:
            first, second = (end, attempt.worker), first[0]
        else:
            second = max(second, end)
    return count
