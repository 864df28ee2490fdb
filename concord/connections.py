"""Connections: to whom, how, and what to say when nobody answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import Loader

from concord.errors import DatabaseUnavailable, Usage
from concord.settings import hide_password

if TYPE_CHECKING:
    from psycopg.abc import Buffer

    from concord.settings import Settings


class Moment(Loader):
    """Reads `timestamptz` as an aware datetime in UTC.

    The driver's own goes by the session's time zone, which a client hears of only when a message
    of several statements is over: by then the zone of the transaction is not in force any more.
    """

    def load(self, data: Buffer) -> datetime:
        """Return the moment. Raises `psycopg.DataError` for one that Python has no datetime for."""
        text = bytes(data).decode()
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            raise psycopg.DataError(f"not a moment between the years 1 and 9999: {text}") from None


Connection = psycopg.Connection[tuple[Any, ...]]


def connect(settings: Settings, command: str) -> Connection:
    """Return a new autocommit connection, starting the embedded server if it is down.

    Raises `DatabaseUnavailable`.
    """
    try:
        return open_connection(settings, command)
    except psycopg.OperationalError as error:
        if not settings.embedded:
            raise unreachable(settings, error) from error
    from concord import embedded

    embedded.start(settings.data_dir)
    try:
        return open_connection(settings, command)
    except psycopg.OperationalError as error:
        raise unreachable(settings, error) from error


def open_connection(settings: Settings, command: str) -> Connection:
    """Return a new autocommit connection to a server that is up.

    Raises `psycopg.OperationalError`, and `Usage` for a connection string that is none.
    """
    # Autocommit, because otherwise a stray SELECT would open a transaction that nobody ends.
    # No server-side prepared statements: a pooler in transaction mode may not carry them over,
    # and a command runs each statement once.
    try:
        connection = psycopg.connect(
            conninfo(settings),
            autocommit=True,
            prepare_threshold=None,
            application_name=f"concord {command}",
            client_encoding="utf8",
            connect_timeout=max(2, settings.connect_timeout // 1000),
        )
    except (psycopg.ProgrammingError, UnicodeEncodeError):
        # What libpq says of it may quote the password.
        source = settings.provenance["database_url"]
        raise Usage(
            f"database_url ({source}) cannot be understood",
            hint="It has the form postgresql://user:password@host:port/database, with %40 for @"
            " and the like in the password.",
            setting="database_url",
            source=source,
        ) from None
    connection.adapters.register_loader("timestamptz", Moment)
    return connection


def behind_pooler(connection: Connection) -> bool:
    """Return whether a pooler stands in between, to whom a session means nothing.

    It hands out another backend for each transaction, and the pid that it told the client is of its
    own making.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return row[0] != connection.info.backend_pid


def conninfo(settings: Settings) -> str:
    """Return the libpq connection string of the database in use."""
    if settings.database_url is not None:
        return settings.database_url
    from concord import embedded

    return embedded.conninfo(settings.data_dir)


def unreachable(settings: Settings, error: psycopg.Error) -> DatabaseUnavailable:
    """Return the error for a server that does not let us in."""
    where = settings.provenance["database_url"]
    reason = " ".join(hide_password(str(error)).split())
    return DatabaseUnavailable(
        f"cannot connect to the database: {reason}",
        hint="Is the server up? concord doctor looks into it."
        if settings.embedded
        else f"Is the server up, and the URL right ({where})? concord doctor looks into it.",
        source=where,
    )
