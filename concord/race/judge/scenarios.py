"""The rules of one scenario: what a single operation may do, and what counts as lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from concord.race.judge.results import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.race.judge.chains import Change
    from concord.race.judge.evidence import Evidence

LOSSES: Final = frozenset({"lost-update", "double-claim", "limit"})
"""The rules that a race without a guard breaks, and nothing else does."""

EXPECTED: Final = {
    "counter": "one more",
    "edit": "one more",
    "transfer": "one less, and one more in another task",
    "assign": "0 to 1 or 1 to 0",
    "claim": "0 to 1",
    "limit": "0 to 1 or 1 to 0",
}
"""Scenario → what an operation does to a value."""


def check(evidence: Evidence) -> Iterator[Witness]:
    """Yield where an operation is none of its scenario, or goes beyond the limit."""
    scenario = evidence.header.scenario
    for row in evidence.rows:
        step, other = (row.before, row.after), row.other
        match scenario:
            case "counter" | "edit":
                right = other is None and row.after == row.before + 1
            case "transfer":
                right = (
                    other is not None
                    and other.task != row.task
                    and row.after == row.before - 1
                    and other.after == other.before + 1
                )
            case "claim":
                right = other is None and step == (0, 1)
            case _:
                right = other is None and step in ((0, 1), (1, 0))
        if not right:
            text = (
                f"op {row.op_id} went from {row.before} to {row.after};"
                f" an operation of {scenario} makes that {EXPECTED[scenario]}"
            )
            values = {"before": row.before, "after": row.after}
            if other is not None:
                values |= {"other_before": other.before, "other_after": other.after}
            yield Witness("step", (row.op_id,), row.task, values, text)
    if scenario == "limit":
        yield from _limit(evidence)


def _limit(evidence: Evidence) -> Iterator[Witness]:
    """Count what is in progress along the ledger's sequence.

    The sequence is an order to hold a guard to. A guarded start counts, starts and draws its
    number while it holds the guard, or at SERIALIZABLE fails if another one did the same: every
    start before it has been counted by it. A completion draws its number before it is committed,
    and only then does a start see that there is room: every completion that made room has a lower
    number. So the count along the numbers is never above the one that the start has seen.

    The other way round the rule is generous: a start that went unguarded past a completion not
    yet committed is not found here. One such start does not make a race pass that is unguarded
    throughout.
    """
    limit = evidence.header.limit
    assert limit is not None
    started: dict[int, int | None] = {
        state.task: None for state in evidence.before.values() if state.value == 1
    }
    for row in sorted(evidence.rows, key=lambda row: row.sequence):
        if row.after != 1:
            started.pop(row.task, None)
            continue
        started[row.task] = row.op_id
        if len(started) > limit:
            ops = [op_id for op_id in started.values() if op_id is not None]
            text = (
                f"op {row.op_id} started task {row.task} as number {len(started)} in progress,"
                f" where the limit is {limit}: {_listed(ops)} had all started one"
            )
            values = {"limit": limit, "in_progress": len(started), "sequence": row.sequence}
            yield Witness("limit", tuple(ops), row.task, values, text)
    left = sum(state.value == 1 for state in evidence.after.values())
    if left > limit:
        text = f"in the end {left} tasks are in progress, where the limit is {limit}"
        yield Witness("limit", (), None, {"limit": limit, "in_progress": left}, text)


def lost(
    evidence: Evidence,
    changes: Mapping[int, Sequence[Change]],
    over_limit: int,
    overwritten: int,
) -> int:
    """Return how many operations had no effect that lasts, or one too many.

    Where each adds one, what is missing in the end is exact; one that overwrites may undo many.
    Elsewhere those count that were found `over_limit` and `overwritten`.
    """
    match evidence.header.scenario:
        case "counter" | "edit":
            raised = Counter(
                (change.task, change.part) for made in changes.values() for change in made
            )
            deficit = 0
            for key, times in raised.items():
                if key in evidence.before and key in evidence.after:
                    kept = evidence.after[key].value - evidence.before[key].value
                    deficit += max(0, times - kept)
            return deficit
        case "claim":
            return sum(len(made) - 1 for made in changes.values())
        case "limit":
            return over_limit
        case _:
            return overwritten


def _listed(ops: Sequence[int]) -> str:
    told = ", ".join(str(op_id) for op_id in ops[:8])
    return f"ops {told}, …" if len(ops) > 8 else f"ops {told}"
