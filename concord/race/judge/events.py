"""The lines of a log as records: only what a verdict rests on, and every type checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

SCENARIOS: Final = ("counter", "assign", "edit", "claim", "limit", "transfer")
"""What this judge knows the rules of."""

UNGUARDED: Final = ("none", "read committed")
"""The strategy and the isolation level at which nothing guards a race: the control."""


class Malformed(ValueError):
    """A line that no run writes: it says what is wrong with it."""


class Header(NamedTuple):
    """What was raced. `limit` is given in scenario `limit` alone."""

    number: int
    scenario: str
    strategy: str
    isolation: str
    control: bool
    workers: int
    limit: int | None


class State(NamedTuple):
    """A part of a task at rest, before or after the race."""

    when: str
    task: int
    part: str
    value: int
    version: int


class Touch(NamedTuple):
    """What a transaction did to the second of its tasks. `version`: in the ledger alone."""

    task: int
    before: int
    after: int
    version: int | None


class Attempt(NamedTuple):
    """A try at an operation, as its worker tells it. Times: seconds since the epoch."""

    op_id: int
    worker: int
    retry: int
    outcome: str
    task: int | None
    part: str | None
    before: int | None
    after: int | None
    other: Touch | None
    xid: str | None
    version: int | None
    sequence: int | None
    begin: float
    end: float | None
    again: bool
    """Whether the worker meant to try again; if it did not get to it, there was nothing left."""


class Row(NamedTuple):
    """A row of the ledger: what a committed transaction says that it did."""

    op_id: int
    worker: int
    task: int
    part: str
    before: int
    after: int
    other: Touch | None
    xid: str
    version: int
    sequence: int


class Worker(NamedTuple):
    """How a worker ended, and how many operations it counted as acknowledged."""

    number: int
    died: bool
    operations: int | None


def kind(event: Mapping[str, Any]) -> str:
    """Return the type of a line. Raises `Malformed`."""
    return _text(event, "type")


def race_number(event: Mapping[str, Any]) -> int:
    """Return the number of the race that a line belongs to. Raises `Malformed`."""
    return _whole(event, "race")


def header(event: Mapping[str, Any]) -> Header:
    """Return the first line of a race. Raises `Malformed`."""
    scenario, control = _text(event, "scenario"), event.get("control")
    read = Header(
        _whole(event, "race"),
        scenario,
        _text(event, "strategy"),
        _text(event, "isolation"),
        control is True,
        _whole(event, "workers"),
        _whole(event, "limit") if scenario == "limit" else None,
    )
    if scenario not in SCENARIOS:
        raise Malformed(f"the scenario {scenario!r} has no rules here")
    if control is not ((read.strategy, read.isolation) == UNGUARDED):
        raise Malformed(f"control is {control!r} for {read.strategy} at {read.isolation}")
    return read


def state(event: Mapping[str, Any]) -> State:
    """Return a state line. Raises `Malformed`."""
    when = _text(event, "when")
    if when not in ("before", "after"):
        raise Malformed(f"when is {when!r}, neither before nor after")
    return State(
        when,
        _whole(event, "task"),
        _text(event, "part"),
        _whole(event, "value"),
        _whole(event, "version"),
    )


def attempt(event: Mapping[str, Any]) -> Attempt:
    """Return an attempt line. Raises `Malformed`."""
    outcome = _text(event, "outcome")
    if outcome not in ("ok", "fail", "info"):
        raise Malformed(f"the outcome is {outcome!r}, none of ok, fail and info")
    end = event.get("end")
    if end is None and outcome != "info":
        raise Malformed(f"an attempt with the outcome {outcome} has no end")
    return Attempt(
        _whole(event, "op_id"),
        _whole(event, "worker"),
        _whole(event, "retry"),
        outcome,
        _whole_or_none(event, "task"),
        _text_or_none(event, "part"),
        _whole_or_none(event, "before"),
        _whole_or_none(event, "after"),
        _touch(event),
        _text_or_none(event, "xid"),
        _whole_or_none(event, "version"),
        _whole_or_none(event, "sequence"),
        _number(event, "begin"),
        None if end is None else _number(event, "end"),
        event.get("again") is True,
    )


def row(event: Mapping[str, Any]) -> Row:
    """Return a ledger line. Raises `Malformed`."""
    return Row(
        _whole(event, "op_id"),
        _whole(event, "worker"),
        _whole(event, "task"),
        _text(event, "part"),
        _whole(event, "before"),
        _whole(event, "after"),
        _touch(event),
        _text(event, "xid"),
        _whole(event, "version"),
        _whole(event, "sequence"),
    )


def worker(event: Mapping[str, Any]) -> Worker:
    """Return a worker line. Raises `Malformed`."""
    ended = _text(event, "ended")
    if ended not in ("done", "died"):
        raise Malformed(f"ended is {ended!r}, neither done nor died")
    return Worker(_whole(event, "worker"), ended == "died", _whole_or_none(event, "operations"))


def waited(event: Mapping[str, Any]) -> float:
    """Return the milliseconds of a lock wait. Raises `Malformed`."""
    return _number(event, "ms")


def _touch(event: Mapping[str, Any]) -> Touch | None:
    other = event.get("other")
    if other is None:
        return None
    if not isinstance(other, dict):
        raise Malformed(f"other is {other!r}, no object")
    told = cast("dict[str, Any]", other)
    return Touch(
        _whole(told, "task"),
        _whole(told, "before"),
        _whole(told, "after"),
        _whole_or_none(told, "version"),
    )


def _whole(event: Mapping[str, Any], key: str) -> int:
    value = event.get(key)
    if type(value) is not int:  # a bool is no number here
        raise Malformed(f"{key} is {value!r}, no whole number")
    return value


def _whole_or_none(event: Mapping[str, Any], key: str) -> int | None:
    return None if event.get(key) is None else _whole(event, key)


def _text(event: Mapping[str, Any], key: str) -> str:
    value = event.get(key)
    if not isinstance(value, str):
        raise Malformed(f"{key} is {value!r}, no text")
    return value


def _text_or_none(event: Mapping[str, Any], key: str) -> str | None:
    return None if event.get(key) is None else _text(event, key)


def _number(event: Mapping[str, Any], key: str) -> float:
    value = event.get(key)
    try:
        if isinstance(value, int | float) and type(value) is not bool and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise Malformed(f"{key} is {value!r}, no number")
