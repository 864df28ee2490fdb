"""Putting a copy in the place of what a database holds: all of it or nothing.

One transaction keeps everybody else out, empties the tables, brings the schema to the revision of
the copy, fills the tables, compares them with what the copy says of itself, and brings the schema
back to this code's. Whatever ends it before its COMMIT leaves the database as it was.

The schema is made by the migrations alone and never by what is in a file: a copy brings rows, and
no code that would run with the rights of the owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

import psycopg
from psycopg import errors as pg

from concord import migrate
from concord.connections import connect
from concord.database import SCHEMA_HEAD, schema_mismatch
from concord.errors import CommitUnknown, DatabaseUnavailable, Refused, Usage
from concord.sql import contents as reading
from concord.sql import refill
from concord.transaction import require_commit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.connections import Connection
    from concord.models import Contents
    from concord.settings import Settings


class Copy(Protocol):
    """What can be put back."""

    @property
    def contents(self) -> Contents:
        """What it holds."""
        ...

    def load(self, connection: Connection, table: str, columns: Sequence[str]) -> None:
        """Add its rows of a table to the table of that name."""
        ...


@dataclass(frozen=True, slots=True)
class Replaced:
    """What was put back, and among whom.

    `others` counts the other sessions of Concord that the database has. `renumbered` says that the
    transactions of history have other ids, because the server is far from having given them out.
    """

    contents: Contents
    others: int
    renumbered: bool


def replace(settings: Settings, command: str, copy: Copy, *, over: bool) -> Replaced:
    """Put a copy in the place of what is in the database.

    Raises `Refused` if there are tasks in it, unless the copy may go `over` them, `Usage` for a
    copy that does not fit, and other `ConcordError`; whichever it is, the database is as it was,
    except after `CommitUnknown`, which says that this cannot be told.
    """
    contents, known = copy.contents, migrate.known()
    if contents.schema not in known:
        raise Usage(
            f"this is of schema {contents.schema}, which this Concord does not know",
            hint="Upgrade Concord: pip install --upgrade concord-tasks",
            schema=contents.schema,
        )
    with migrate.movable(settings, command) as target:
        connection = target.driver
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        reading.settle(connection, settings.lock_timeout)
        if (found := target.revision()) is not None:
            if found not in known:
                raise schema_mismatch(found)
            _clear(connection, settings.retries, over=over)
        target.move(contents.schema)
        _fill(connection, copy)
        renumbered = _pass_transactions(settings, command, connection)
        refill.triggers(connection, contents.tables, on=True)
        target.move(SCHEMA_HEAD)
        refill.finish(connection)
        others = refill.company(connection)
        _commit(connection, command)
    return Replaced(contents, others, renumbered)


def _clear(connection: Connection, retries: int, *, over: bool) -> None:
    """Lock the tables and take everything out of them."""
    tables = reading.present(connection, reading.TABLES)
    everything = reading.present(connection, [*reading.TABLES, *reading.DERIVED])
    for attempt in count(1):
        try:
            with connection.transaction():
                refill.lock(connection, everything)
            break
        except pg.DeadlockDetected:  # with somebody who went through the tables in another order
            if attempt > retries:
                raise
    if refill.any_tasks(connection) and not over:
        raise Refused(
            "there are tasks in the database, and they are left as they are",
            hint="Use a database of its own: CONCORD_DATA_DIR or CONCORD_DATABASE_URL.",
        )
    refill.triggers(connection, tables, on=False)
    try:
        refill.empty(connection, everything)
    except pg.FeatureNotSupported as error:
        raise Refused(
            f"Concord's tables cannot be emptied: {error.diag.message_primary}",
            hint="Somebody's own table refers to them; use another database.",
        ) from error


def _fill(connection: Connection, copy: Copy) -> None:
    """Fill the tables, whose triggers stay off, and look whether they hold what they should."""
    contents = copy.contents
    columns = {name: table.columns for name, table in contents.tables.items()}
    tables = reading.present(connection, reading.TABLES)
    if {name: set(some) for name, some in columns.items()} != {
        name: set(some) for name, some in tables.items()
    }:
        raise Usage(
            f"this has not the tables and columns of schema {contents.schema}",
            hint="It was not written by Concord, or by a changed one.",
        )
    refill.triggers(connection, tables, on=False)
    for name in tables:
        try:
            copy.load(connection, name, columns[name])
        except (pg.IntegrityError, pg.DataError) as error:
            raise Usage(
                f"its {name} break a rule of the database: {error.diag.message_primary}",
                hint="It was not written by Concord, or by a changed one.",
            ) from error
        following = contents.tables[name].next_id
        if following is not None:
            refill.restart_ids(connection, name, following)
    refill.analyze(connection, tables)
    found = reading.describe(connection, contents.schema, columns)
    if found != contents:
        differing = [name for name in tables if found.tables[name] != contents.tables[name]]
        raise DatabaseUnavailable(
            f"what came in is not what was saved: {', '.join(differing) or 'history'};"
            " the database is left as it was",
            hint="concord doctor looks into the database.",
            tables=differing,
        )


def _pass_transactions(settings: Settings, command: str, connection: Connection) -> bool:
    """Make sure that no transaction to come has an id that history knows; return if it has others.

    Another server may have counted much farther than this one.
    """
    newest, behind = refill.unreached(connection)
    if renumbered := behind > refill.REACH:
        refill.renumber(connection)
        newest, behind = refill.unreached(connection)
    if behind:
        with connect(settings, command, owner=True) as another:
            refill.skip(another, newest)
    return renumbered


def _commit(connection: Connection, command: str) -> None:
    try:
        tag = connection.execute("COMMIT").statusmessage
    except (pg.OperationalError, pg.InterfaceError) as error:
        if not connection.closed:
            raise
        raise CommitUnknown(
            "the connection was lost at COMMIT: either all was put back, or nothing changed",
            hint="Look at what is there now: concord stats",
        ) from error
    require_commit(command, tag)
