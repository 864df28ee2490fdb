"""The rules about tasks: each version made once, each change begun from what the last one left.

A task's row is locked from the update that raises its version until the end of the transaction.
So versions are the order in which changes took effect, whatever guard was or was not in use, and
walking along them finds every update that was written over.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from concord.race.judge.accounting import CLOCK_SLACK
from concord.race.judge.results import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.race.judge.events import Attempt, Row, State
    from concord.race.judge.evidence import Evidence


class Change(NamedTuple):
    """A change of one part of one task; in this order, that in which changes took effect."""

    version: int
    sequence: int
    op_id: int
    task: int
    part: str
    before: int
    after: int


def changes_of(rows: Sequence[Row]) -> dict[int, list[Change]]:
    """Return each task's changes in the order in which they took effect."""
    changes: defaultdict[int, list[Change]] = defaultdict(list)
    for row in rows:
        first = row.version, row.sequence, row.op_id, row.task, row.part, row.before, row.after
        changes[row.task].append(Change(*first))
        if (other := row.other) is not None:
            # Without a version it comes first, and its place in the chain is found missing.
            second = Change(
                -1 if other.version is None else other.version,
                row.sequence,
                row.op_id,
                other.task,
                row.part,
                other.before,
                other.after,
            )
            changes[other.task].append(second)
    for made in changes.values():
        made.sort()
    return changes


def check(
    evidence: Evidence,
    changes: Mapping[int, Sequence[Change]],
    operations: Mapping[int, Sequence[Attempt]],
) -> Iterator[Witness]:
    """Yield where a chain is broken. `operations`: attempts by id, by retry."""
    yield from _states(evidence)
    parts: defaultdict[int, list[State]] = defaultdict(list)
    for state in evidence.before.values():
        parts[state.task].append(state)
    rule = "double-claim" if evidence.header.scenario == "claim" else "lost-update"
    for task, states in parts.items():
        made = changes.get(task, ())
        last = evidence.after.get((task, states[0].part))
        yield from _versions(task, states[0].version, last and last.version, made)
        yield from _values(rule, states, evidence.after, made, operations)
    for made in changes.values():
        for change in made:
            if (change.task, change.part) not in evidence.before:
                text = (
                    f"op {change.op_id} changed {change.part} of task {change.task},"
                    " which was not there before the race"
                )
                values = {"part": change.part, "version": change.version}
                yield Witness("state", (change.op_id,), change.task, values, text)
    yield from _order(evidence, changes, operations)


def _states(evidence: Evidence) -> Iterator[Witness]:
    for task, part in evidence.before.keys() ^ evidence.after.keys():
        there, not_there = ("before", "after")[:: 1 if (task, part) in evidence.before else -1]
        text = f"{part} of task {task} is told {there} the race, but not {not_there} it"
        yield Witness("state", (), task, {"part": part}, text)
    for when, states in (("before", evidence.before), ("after", evidence.after)):
        versions: dict[int, int] = {}
        for state in states.values():
            version = versions.setdefault(state.task, state.version)
            if version != state.version:
                text = (
                    f"task {state.task} is told to be at version {version}"
                    f" and at version {state.version} {when} the race"
                )
                values = {"when": when, "versions": [version, state.version]}
                yield Witness("state", (), state.task, values, text)


def _versions(task: int, start: int, end: int | None, made: Sequence[Change]) -> Iterator[Witness]:
    """Check that the versions count from the one before the race to the one after it.

    A version that is told twice is a rule of its own: an update that writes what is already there
    makes no version, and that happens only to whom another one's update was lost.
    """
    at, by = start, None
    for change in made:
        ops = (change.op_id,) if by is None else (by, change.op_id)
        if change.version == at and by is not None:
            text = f"op {change.op_id} made no version of task {task}: it was at {at} already"
            yield Witness("same-version", ops, task, {"version": at}, text)
        elif change.version != at + 1:
            text = (
                f"op {change.op_id} made version {change.version} of task {task},"
                f" but the one before it is {at}"
            )
            values = {"version": change.version, "previous": at}
            yield Witness("version", ops, task, values, text)
        at, by = change.version, change.op_id
    if end is not None and at != end:
        text = f"the last version of task {task} in the ledger is {at}, but it ended at {end}"
        yield Witness("version", () if by is None else (by,), task, {"last": at, "end": end}, text)


def _values(
    rule: str,
    states: Sequence[State],
    after: Mapping[tuple[int, str], State],
    made: Sequence[Change],
    operations: Mapping[int, Sequence[Attempt]],
) -> Iterator[Witness]:
    """Walk along the changes of a task and compare each with what the one before it left."""
    left = {state.part: state.value for state in states}
    last: dict[str, int] = {}  # part → index of its last change
    for index, change in enumerate(made):
        part = change.part
        if part not in left:
            continue
        if change.before != left[part]:
            found = {"started_from": change.before, "version": change.version}
            if part in last:
                one = made[last[part]]
                by = _overwriter(one, made[last[part] + 1 : index], change, operations)
                yield _lost(rule, one, change, by, found)
            else:
                text = (
                    f"op {change.op_id} started from {change.before} in {part} of task"
                    f" {change.task}, where {left[part]} was before the race"
                )
                values = {"part": part, "left": left[part], **found}
                yield Witness("state", (change.op_id,), change.task, values, text)
        left[part], last[part] = change.after, index
    for state in states:
        end = after.get((state.task, state.part))
        if end is None or end.value == left[state.part]:
            continue
        found = {"end": end.value, "version": end.version}
        if state.part in last:
            one = made[last[state.part]]
            by = _overwriter(one, made[last[state.part] + 1 :], None, operations)
            yield _lost(rule, one, None, by, found)
        else:
            text = (
                f"{state.part} of task {state.task} went from {state.value} to {end.value},"
                " and no operation says that it changed it"
            )
            values = {"part": state.part, "left": state.value, **found}
            yield Witness("state", (), state.task, values, text)


def _overwriter(
    one: Change,
    between: Sequence[Change],
    other: Change | None,
    operations: Mapping[int, Sequence[Attempt]],
) -> Change | None:
    """Return who wrote back what it had read before `one` was done, in an update of another part.

    Whoever writes the whole of a task back overwrites parts that it did not mean to change. Where
    `other`, which found that `one` was lost, may have read before `one` was done, it is none else.
    """

    def began(change: Change) -> float | None:
        attempts = operations.get(change.op_id)
        return attempts[-1].begin if attempts else None

    ended = operations[one.op_id][-1].end if one.op_id in operations else None
    if ended is None or (other is not None and (began(other) or 0) <= ended):
        return None
    return next((one for one in between if (begun := began(one)) and begun <= ended), None)


def _lost(
    rule: str, one: Change, other: Change | None, by: Change | None, found: Mapping[str, Any]
) -> Witness:
    values = {"part": one.part, "left": one.after, "left_version": one.version, **found}
    text = f"op {one.op_id} left {one.after} in {one.part} of task {one.task} at version"
    text += f" {one.version}; "
    between = ""
    if by is not None:
        values |= {"overwritten_by": by.op_id, "overwritten_version": by.version}
        between = f"op {by.op_id} wrote over it at version {by.version}: "
    if other is None:
        text += f"{between}in the end it is {found['end']}"
    elif by is not None:
        text += f"{between}op {other.op_id} found {other.before} at version {other.version}"
    elif other.version == one.version:
        text += f"op {other.op_id} started from {other.before} and wrote what was there already"
    elif rule == "double-claim":
        text += f"op {other.op_id} claimed it once more at version {other.version}"
    else:
        text += (
            f"op {other.op_id} started from {other.before}, not from there,"
            f" and wrote over it at version {other.version}"
        )
    ops = [change.op_id for change in (one, by, other) if change is not None]
    return Witness(rule, tuple(ops), one.task, values, text)


def _order(
    evidence: Evidence,
    changes: Mapping[int, Sequence[Change]],
    operations: Mapping[int, Sequence[Attempt]],
) -> Iterator[Witness]:
    """Check that the ledger's sequence is an order in which all can have happened.

    A number is drawn while the task is locked, so it grows with the versions of a task; and it is
    drawn between the begin and the end of an attempt, so an operation that was acknowledged before
    another began has the lower number.
    """
    for made in changes.values():
        highest: Change | None = None
        for change in made:
            if highest is not None and change.sequence <= highest.sequence:
                text = (
                    f"op {change.op_id} made a later version of task {change.task} than"
                    f" op {highest.op_id}, but was entered before it"
                )
                values = {"sequences": [highest.sequence, change.sequence]}
                yield Witness("order", (highest.op_id, change.op_id), change.task, values, text)
            else:
                highest = change
    latest: Attempt | None = None
    number = None
    for row in sorted(evidence.rows, key=lambda row: row.sequence):
        if row.sequence == number:
            text = f"op {row.op_id} has a sequence number that another one has, {number}"
            yield Witness("order", (row.op_id,), row.task, {"sequence": number}, text)
        number = row.sequence
        attempts = operations.get(row.op_id)
        if not attempts or attempts[-1].outcome != "ok":
            continue
        told = attempts[-1]
        if latest is not None and told.end is not None and told.end < latest.begin - CLOCK_SLACK:
            text = (
                f"op {told.op_id} was acknowledged before op {latest.op_id} began,"
                " but was entered after it"
            )
            values = {"end": told.end, "begin": latest.begin}
            yield Witness("order", (latest.op_id, told.op_id), row.task, values, text)
        if latest is None or told.begin > latest.begin:
            latest = told
