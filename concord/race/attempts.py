"""Attempts: what a worker notes of each try of an operation, and how it keeps it.

A worker's own log is written between two transactions of a race and read when the race is over. It
is a series of pickled tuples because that costs a tenth of what JSON would, and a race is to
measure the server.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from concord.race.effects import Op, Touch


class Entered(NamedTuple):
    """What the server said when a row was entered into the ledger."""

    xid: str
    snapshot: str
    pid: int
    sequence: int
    version: int
    other_version: int | None


@dataclass(slots=True)
class Attempt:
    """One try of an operation as its worker saw it. Times: seconds since the epoch."""

    op_id: int
    retry: int
    begin: float
    outcome: str = "fail"
    sqlstate: str | None = None
    reason: str | None = None
    touches: tuple[Touch, ...] = ()
    entries: list[int] | None = None
    """What the operation read, where the value is a list."""
    entered: Entered | None = None
    xid: str | None = None
    pid: int | None = None
    """Of the transaction and of its backend, where they are known without the ledger's help."""
    statements: list[tuple[str, float, float, int]] = field(
        default_factory=list[tuple[str, float, float, int]]
    )
    """(name, when it was sent, milliseconds, rows)"""
    end: float | None = 0.0


def packed(attempt: Attempt, op: Op, *, again: bool) -> bytes:
    """Return an attempt as the worker's log keeps it. `again`: another one is to follow."""
    return pickle.dumps(
        (
            attempt.op_id,
            attempt.retry,
            attempt.outcome,
            attempt.sqlstate,
            attempt.reason,
            [(touch.task, touch.part, touch.before, touch.after) for touch in attempt.touches],
            op.tasks,
            attempt.entered and tuple(attempt.entered),
            attempt.xid,
            attempt.pid,
            attempt.entries,
            attempt.begin,
            attempt.statements,
            attempt.end,
            again,
        ),
        pickle.HIGHEST_PROTOCOL,
    )


def unpacked(path: Path, worker: int) -> Iterator[dict[str, Any]]:
    """Yield a worker's attempts as events of the log, as far as it got to write them."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while True:
            try:
                yield event(worker, *pickle.load(file))  # noqa: S301 - our own process wrote it
            except (EOFError, pickle.UnpicklingError):
                return  # the end, or where the worker was killed


def event(
    worker: int,
    op_id: int,
    retry: int,
    outcome: str,
    sqlstate: str | None = None,
    reason: str | None = None,
    touches: list[tuple[int, str, int, int]] | None = None,
    tasks: tuple[int, ...] = (),
    entered: tuple[str, str, int, int, int, int | None] | None = None,
    xid: str | None = None,
    pid: int | None = None,
    entries: list[int] | None = None,
    begin: float = 0.0,
    statements: list[tuple[str, float, float, int]] | None = None,
    end: float | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """Return an attempt as an event of the log."""
    first, other = [*(touches or []), None, None][:2]
    row = entered and Entered(*entered)
    told: dict[str, Any] = {
        "op_id": op_id,
        "worker": worker,
        "retry": retry,
        "outcome": outcome,
        "sqlstate": sqlstate,
        "reason": reason,
        "task": first[0] if first else next(iter(tasks), None),
        "part": first and first[1],
        "before": first and first[2],
        "after": first and first[3],
        "version": row and row.version,
        "other": other
        and {
            "task": other[0],
            "before": other[2],
            "after": other[3],
            "version": row and row.other_version,
        },
        "sequence": row and row.sequence,
        "xid": row.xid if row else xid,
        "pid": row.pid if row else pid,
        "snapshot": row and row.snapshot,
        "begin": round(begin, 6),
        "statements": [
            {"name": name, "at": round(at, 6), "ms": round(ms, 3), "rows": rows}
            for name, at, ms, rows in statements or []
        ],
        "end": end and round(end, 6),
        "again": again,
    }
    if entries is not None:
        told["entries"] = entries
    return told
