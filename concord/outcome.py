"""What became of a COMMIT whose answer was lost: history decides."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import errors as pg

from concord.connections import open_connection
from concord.errors import CommitUnknown, DatabaseUnavailable
from concord.transaction import SEARCH_PATH

if TYPE_CHECKING:
    from typing import Any

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
SELECT bool_or(at <= %(sent)s) FROM history WHERE xid = %(xid)s::xid8
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
        hint=f"Look for it before you try again: concord history --xid {record.xid}",
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
            found = _found(connection, schema, record, sent)
    except psycopg.Error:
        raise unknown from cause
    if found == (False,):
        raise unknown from cause
    if found != (True,):
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
) -> tuple[Any, ...] | None:
    assert record.begun_at is not None
    record.round_trips += 3 if schema is None else 4
    with connection.transaction():
        if schema is not None:
            connection.execute(SEARCH_PATH, {"schema": schema})
        at = record.begun_at + timedelta(seconds=sent - record.begun)
        return connection.execute(COMMITTED, {"xid": record.xid, "sent": at}).fetchone()
