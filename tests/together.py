"""Many at one queue: how they meet at one moment, and what they should find there."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from audit import tables
from steps import PATIENCE
from workers import psql

if TYPE_CHECKING:
    from collections.abc import Generator

PATIENT = {"CONCORD_LOCK_TIMEOUT": "8h", "CONCORD_STATEMENT_TIMEOUT": "8h"}
"""Time-outs that no test reaches."""

QUEUING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""

# The real function, after a lock that the test holds: an operation stops there in the middle of a
# statement, with its snapshot taken and no row locked.
STOP_IN_IS_BLOCKED = """
ALTER FUNCTION is_blocked(bigint) RENAME TO is_blocked_at_once;
CREATE FUNCTION is_blocked(task bigint) RETURNS boolean LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
    RETURN is_blocked_at_once(task);
END $$
"""


@contextmanager
def all_at_once(url: str, count: int) -> Generator[None]:
    """Stop everybody who looks at tasks; when so many have come, let them go all at once."""
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as observer:
        holder.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        yield
        never = threading.Event()
        for _ in range(PATIENCE * 400):
            if observer.execute(QUEUING).fetchone() == (count,):
                return
            never.wait(0.01)
        raise AssertionError(f"{count} never came")


@contextmanager
def stopped_while_looking(url: str) -> Generator[None]:
    """Stop claims while they look for what is ready, until the end of the block."""
    psql(url, STOP_IN_IS_BLOCKED)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(4711)")
        yield


def expire(url: str, *tasks: int) -> None:
    """Let the time pass after which the leases of tasks have run out."""
    psql(
        url,
        "UPDATE claims SET expires_at = now() - interval '1 s' WHERE task_id = ANY(%s)",
        list(tasks),
    )


def everything_but_gates(url: str) -> dict[str, list[Any]]:
    """Return all rows of all tables, but for the locks in the form of rows."""
    return {name: rows for name, rows in tables(url).items() if name != "gates"}


def circle(links: list[tuple[int, int]], parts: list[tuple[int, int]]) -> list[str] | None:
    """Return tasks' beginnings and ends that wait for each other in a circle, if there is one.

    `links` are (blocked, blocker), `parts` (part, whole). A task begins after its blockers have
    ended and its whole has begun, and ends after it has begun and its parts have ended.
    """
    tasks = {task for pair in (*links, *parts) for task in pair}
    after: defaultdict[str, list[str]] = defaultdict(list)
    for task in tasks:
        after[f"{task} begins"].append(f"{task} ends")
    for blocked, blocker in links:
        after[f"{blocker} ends"].append(f"{blocked} begins")
    for part, whole in parts:
        after[f"{whole} begins"].append(f"{part} begins")
        after[f"{part} ends"].append(f"{whole} ends")
    path: list[str] = []
    done: set[str] = set()

    def visit(moment: str) -> list[str] | None:
        if moment in path:
            return path[path.index(moment) :]
        if moment in done:
            return None
        path.append(moment)
        found = next((found for later in after[moment] if (found := visit(later))), None)
        if found is None:
            path.pop()
            done.add(moment)
        return found

    return next((found for moment in list(after) if (found := visit(moment))), None)
