"""What became of a COMMIT whose answer was lost, or came with a warning: history decides.

A primary may be told to wait for a standby before it acknowledges a COMMIT. Whoever ends that wait
does not end the transaction: it stands, on the primary alone. So what has become visible is not yet
safe, and counts as done only when it is as safe as it was to be.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import errors as pg

from concord.connections import open_connection
from concord.errors import CommitUnknown, DatabaseUnavailable
from concord.transaction import SEARCH_PATH

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.errors import Diagnostic

    from concord.connections import Connection
    from concord.records import Record
    from concord.settings import Settings

DECISION_PATIENCE = 5.0
"""Seconds to wait for a transaction to end whose COMMIT was lost: its backend may not know yet."""

PAUSE = 0.005
"""Seconds between two looks whether it has ended."""

STATUS: LiteralString = """
-- xact_status: whether a transaction has ended, as far as this server knows
SELECT pg_xact_status(%(xid)s::xid8)
"""

# After a crash the server gives out anew the ids of transactions that had left no trace on disk. So
# a row of that id from after our COMMIT was sent may be somebody else's.
COMMITTED: LiteralString = """
-- was_committed: a history row is written in the transaction it tells of
SELECT history_knows(%(xid)s::xid8, %(sent)s), pg_is_in_recovery(),
       current_setting('synchronous_standby_names', true) <> ''
"""

# A standby that has this has all before it.
FOLLOW: LiteralString = """
-- follow_commit: a commit that waits for the standby as the one before it was to
SELECT pg_logical_emit_message(true, 'concord', '')
"""


def decide(
    settings: Settings,
    command: str,
    schema: str | None,
    record: Record,
    sent: float,
    cause: psycopg.Error,
) -> None:
    """Find out whether a COMMIT whose answer was lost took place. `sent`: when it was sent.

    Returns if it did. Raises `DatabaseUnavailable` if it did not, `CommitUnknown` if nobody
    can tell now.
    """
    unknown = CommitUnknown(
        f"the connection was lost at COMMIT: transaction {record.xid} may or may not be saved",
        hint=f"Ask before you try again: concord doctor --unknown {record.xid}",
        xid=record.xid,
    )
    try:
        # Never start a server here: a transaction in flight would be forgotten with it.
        with open_connection(settings, command) as connection:
            record.connects += 1
            deadline = time.monotonic() + DECISION_PATIENCE
            while _still_running(connection, record):
                if time.monotonic() > deadline:
                    raise unknown from cause
                time.sleep(PAUSE)
            ours, standby, followed = _found(connection, schema, record, sent)
            if ours and followed and not standby and not _follows(connection, record, deadline):
                raise unknown from cause
    except psycopg.Error:
        raise unknown from cause
    # A standby may yet have to be told of it.
    if ours is False or (standby and not ours):
        raise unknown from cause
    if not ours:
        raise DatabaseUnavailable(
            "the connection was lost before the commit; nothing was written",
            hint="Run it again.",
        ) from cause


def _still_running(connection: Connection, record: Record) -> bool:
    record.round_trips += 1
    try:
        status = connection.execute(STATUS, {"xid": record.xid}).fetchone()
    except pg.InvalidParameterValue:
        return False  # an id from the future: this server was promoted and never saw it
    return status == ("in progress",)


def _found(
    connection: Connection, schema: str | None, record: Record, sent: float
) -> tuple[bool | None, bool, bool]:
    """Return whether there is a row of ours (`False`: it may be another's).

    Then, whether a standby says so, and whether a standby is to have it too.
    """
    assert record.begun_at is not None
    record.round_trips += 3 if schema is None else 4
    with connection.transaction():
        if schema is not None:
            connection.execute(SEARCH_PATH, {"schema": schema})
        at = record.begun_at + timedelta(seconds=sent - record.begun)
        row = connection.execute(COMMITTED, {"xid": record.xid, "sent": at}).fetchone()
    assert row is not None
    return row[0], row[1], bool(row[2])


def _follows(connection: Connection, record: Record, deadline: float) -> bool:
    """Whether a standby has all that is committed by now, or has it in good time."""
    record.round_trips += 1
    left = max(PAUSE, deadline - time.monotonic())
    impatience = threading.Timer(left, connection.cancel_safe)
    impatience.start()
    try:
        with warnings(connection) as warned:
            connection.execute(FOLLOW)
    finally:
        impatience.cancel()
        impatience.join()
    return not warned


@contextmanager
def warnings(connection: Connection) -> Generator[list[str]]:
    """Yield a list, to which is added what the server warns of meanwhile."""
    told: list[str] = []

    def note(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            told.append(notice.message_primary or "")

    connection.add_notice_handler(note)
    try:
        yield told
    finally:
        connection.remove_notice_handler(note)


def doubtful(record: Record, warning: str) -> CommitUnknown:
    """Return the error for a COMMIT that the server has done, but not as it was to."""
    return CommitUnknown(
        f"transaction {record.xid} is saved on this server, which warns: {warning}",
        hint="It may not outlive this server. After a failover, look for it: "
        f"concord history --xid {record.xid}",
        xid=record.xid,
    )
