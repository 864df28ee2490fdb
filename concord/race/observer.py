"""The observer: a process that samples who waits for a lock, on what, and blocked by whom.

What it tells is a lower bound. It sees a wait only if a sample falls into it, and until the last
sample that did; `pg_locks` and `pg_stat_activity` are not one snapshot; `pg_blocking_pids` names
those ahead in the queue as well as the holder. It therefore counts its samples, so that its
coverage can be stated. An SSI conflict is no wait, and a benchmark is never sampled.
"""

from __future__ import annotations

import itertools
import json
import signal
import statistics
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

from concord.connections import open_connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from concord.race.clock import Clock
    from concord.settings import Settings

INTERVAL: Final = 0.01
"""Seconds between two samples."""

WAITS: LiteralString = """
-- lock_waits: of the sessions whose name begins like this
SELECT waiting.pid, waiting.locktype, waiting.mode, waiting.relation::regclass::text,
       extract(epoch FROM waiting.waitstart)::float8,
       pg_blocking_pids(waiting.pid),
       substring(session.application_name FROM '/([0-9]+)$')::integer
FROM pg_locks AS waiting
JOIN pg_stat_activity AS session ON session.pid = waiting.pid
WHERE NOT waiting.granted AND starts_with(session.application_name, %(name)s)
"""

SESSIONS: LiteralString = """
-- raced_sessions: which backend is which worker's
SELECT pid, substring(application_name FROM '/([0-9]+)$')::integer FROM pg_stat_activity
WHERE starts_with(application_name, %(name)s)
"""

CLOCK: LiteralString = "SELECT extract(epoch FROM clock_timestamp())::float8"


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch: sessions whose application_name begins with `name`."""

    settings: Settings
    name: str
    clock: Clock
    log: Path


@dataclass(slots=True)
class _Wait:
    pid: int
    worker: int | None
    locktype: str
    mode: str
    relation: str | None
    since: float
    seen: float
    samples: int = 1
    blocked_by: dict[int, str] = field(default_factory=dict[int, str])


def main(watch: Watch, pipe: Connection) -> None:
    """Sample until told to stop; write each wait when it is over, and a summary at the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nobody is left to tell when whoever started us was killed.
    with suppress(ConnectionError), watch.log.open("ab", buffering=0) as log:

        def write(told: dict[str, Any]) -> None:
            log.write(json.dumps(told, separators=(",", ":")).encode() + b"\n")

        try:
            with open_connection(watch.settings, "demo race observer") as connection:
                pipe.send(("ready", connection.info.backend_pid))
                _sample(connection, watch, pipe, write)
        except psycopg.Error as error:
            pipe.send(("died", " ".join(str(error).split())))
        else:
            pipe.send(("done", 0))


def _sample(
    connection: psycopg.Connection[Any],
    watch: Watch,
    pipe: Connection,
    write: Callable[[dict[str, Any]], None],
) -> None:
    offset = clock_offset(connection, watch.clock)
    name = watch.name
    open_waits: dict[tuple[int, float | None], _Wait] = {}
    workers: dict[int, int | None] = {}
    times: list[float] = []
    stop = False
    while not stop:
        try:
            stop = pipe.poll(INTERVAL) and pipe.recv() == "stop"
        except (EOFError, OSError):
            return
        now = watch.clock()
        times.append(now)
        rows = connection.execute(WAITS, {"name": f"concord {name}"}).fetchall()
        waiting = {row[0] for row in rows}
        if waiting - workers.keys():
            found = connection.execute(SESSIONS, {"name": f"concord {name}"})
            workers |= dict(found.fetchall())
        current: set[tuple[int, float | None]] = set()
        for pid, locktype, mode, relation, since, blockers, worker in rows:
            key = (pid, since)
            current.add(key)
            start = now if since is None else since - offset
            wait = open_waits.setdefault(
                key, _Wait(pid, worker, locktype, mode, relation, start, now, 0)
            )
            wait.seen, wait.samples = max(now, wait.since), wait.samples + 1
            wait.blocked_by |= {
                blocker: "queue" if blocker in waiting else "holder" for blocker in blockers
            }
        for key in open_waits.keys() - current:
            write(_told(open_waits.pop(key), workers))
    for wait in open_waits.values():
        write(_told(wait, workers))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    write(
        {
            "type": "observer",
            "samples": len(times),
            "interval_ms": round(statistics.mean(gaps) * 1000, 3) if gaps else None,
            "clock_offset_ms": round(offset * 1000, 3),
            "complete": True,
        }
    )


def clock_offset(connection: psycopg.Connection[Any], clock: Clock) -> float:
    """Return by how many seconds the server's clock is ahead of ours, from the quickest answer."""
    found: list[tuple[float, float]] = []
    for _ in range(5):
        sent = clock()
        row = connection.execute(CLOCK).fetchone()
        assert row is not None
        answered = clock()
        found.append((answered - sent, row[0] - (sent + answered) / 2))
    return min(found)[1]


def _told(wait: _Wait, workers: dict[int, int | None]) -> dict[str, Any]:
    return {
        "type": "wait",
        "pid": wait.pid,
        "worker": wait.worker,
        "locktype": wait.locktype,
        "mode": wait.mode,
        "relation": wait.relation,
        "since": round(wait.since, 6),
        "seen": round(wait.seen, 6),
        "ms": round((wait.seen - wait.since) * 1000, 3),
        "samples": wait.samples,
        "blocked_by": [
            {"pid": pid, "worker": workers.get(pid), "how": how}
            for pid, how in sorted(wait.blocked_by.items())
        ],
    }
