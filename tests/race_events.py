"""The events of a race, as a log has them, put together by hand: times in seconds after `START`."""

from __future__ import annotations

from typing import Any

START = 1_700_000_000.0

Event = dict[str, Any]
Statement = tuple[str, float, float]
"""A name, when it was sent, and how many milliseconds it took."""


def race(
    *events: Event, workers: int = 3, strategy: str = "for-update", **more: Any
) -> list[Event]:
    """Return a race of these events, observed every 10 ms."""
    named = {"scenario": "counter", "strategy": strategy, "isolation": "read committed"}
    head = {"control": strategy == "none", "workers": workers, "limit": None, "started": START - 1}
    lines: list[Event] = [
        {"type": "race", **named, **head, **more},
        *events,
        *({"type": "worker", "worker": one, "ended": "done"} for one in range(workers)),
        {"type": "end", "ended": START + 9},
    ]
    return [{"race": 1, **named, **line} for line in lines]


def attempt(
    worker: int,
    begin: float,
    *statements: Statement,
    end: float | None,
    outcome: str = "ok",
    op_id: int | None = None,
    **more: Any,
) -> Event:
    """Return an attempt; its statements' times count from the start of the race, too."""
    told = {"retry": 0, "sqlstate": None, "reason": None, "pid": 100 + worker}
    return {
        "type": "attempt",
        "worker": worker,
        "op_id": worker + 1 if op_id is None else op_id,
        "outcome": outcome,
        "begin": START + begin,
        "end": None if end is None else START + end,
        "statements": [
            {"name": name, "at": START + at, "ms": ms, "rows": 1} for name, at, ms in statements
        ],
        **told,
        **more,
    }


def wait(worker: int, since: float, seen: float, *blockers: tuple[int, str], **more: Any) -> Event:
    """Return a lock wait, blocked by these workers: (worker, how)."""
    told = {"locktype": "tuple", "mode": "ExclusiveLock", "relation": "scratch.tasks", "samples": 1}
    return {
        "type": "wait",
        "pid": 100 + worker,
        "worker": worker,
        "since": START + since,
        "seen": START + seen,
        "ms": round((seen - since) * 1000, 3),
        "blocked_by": [{"pid": 100 + one, "worker": one, "how": how} for one, how in blockers],
        **told,
        **more,
    }


def observer(samples: int | None = 9, interval_ms: float | None = 10.0, **more: Any) -> Event:
    """Return what an observer says of itself."""
    told = {"clock_offset_ms": 0.1, "complete": True}
    return {"type": "observer", "samples": samples, "interval_ms": interval_ms, **told, **more}


def result(strategy: str = "for-update", verdict: str = "PROVED", **more: Any) -> Event:
    """Return what a judge said of a race."""
    counts = {"ok": 1234, "failed": 1, "retries": 7, "unknown": 2, "lost": 0, "waits": 3}
    times = {"longest_wait_ms": 48.5, "p50_ms": 1.5, "p95_ms": 20.25, "p99_ms": 30.125}
    told = {"scenario": "counter", "strategy": strategy, "isolation": "read committed"}
    rest = {"ok_per_s": 812.3, "witness": None, "control": strategy == "none", "reason": "it holds"}
    return {**told, "verdict": verdict, **counts, **times, **rest, "died": 0, **more}


def raced(strategy: str = "for-update") -> list[Event]:
    """Return a race in which 1 holds what 0 and 2 wait for, for 28 and 20 ms."""
    return race(
        attempt(0, 0.00, ("read", 0.0, 1.0), end=0.010, outcome="fail", sqlstate="40001", op_id=1),
        attempt(
            0, 0.02, ("write", 0.021, 30.0), ("commit", 0.055, 2.0), end=0.06, op_id=1, retry=1
        ),
        attempt(1, 0.00, ("write", 0.001, 50.0), end=0.052, op_id=2),
        attempt(2, 0.00, ("write", 0.001, 3.0), end=0.005, op_id=3),
        wait(0, 0.022, 0.050, (1, "holder")),
        wait(2, 0.030, 0.050, (0, "queue"), (1, "holder"), locktype="transactionid", relation=None),
        observer(samples=12, interval_ms=10.5),
        strategy=strategy,
    )
