"""Connections: to whom, how, and what to say when nobody answers."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

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

_ATTEMPT = re.compile(
    r"^- host: '?(.*?)'?, port: \S*, hostaddr: \S*: (?=\S)",
    re.MULTILINE,
)
"""What the driver puts before the words of one of several servers."""


def connect(
    settings: Settings, command: str, *, standby: bool = False, owner: bool = False
) -> Connection:
    """Return a new autocommit connection, starting the embedded server if it is down.

    With `standby` it is one to read from, and to nothing that is started here; with `owner`, in
    the embedded server, one of the role that owns the tables. Raises `DatabaseUnavailable`.
    """
    try:
        return open_connection(settings, command, standby=standby, owner=owner)
    except psycopg.OperationalError as error:
        if standby or not settings.embedded:
            raise unreachable(settings, error, standby=standby) from error
    from concord import embedded

    embedded.start(settings.data_dir)
    try:
        return open_connection(settings, command, owner=owner)
    except psycopg.OperationalError as error:
        raise unreachable(settings, error) from error


def open_connection(
    settings: Settings, command: str, *, standby: bool = False, owner: bool = False
) -> Connection:
    """Return a new autocommit connection to a server that is up, or to a standby of it.

    Raises `psycopg.OperationalError`, and `Usage` for a connection string that is none.
    """
    # Autocommit, because otherwise a stray SELECT would open a transaction that nobody ends.
    # No server-side prepared statements: a pooler in transaction mode may not carry them over,
    # and a command runs each statement once.
    try:
        connection = psycopg.connect(
            conninfo(settings, standby=standby, owner=owner),
            autocommit=True,
            prepare_threshold=None,
            application_name=f"concord {command}",
            client_encoding="utf8",
            connect_timeout=max(2, settings.connect_timeout // 1000),
        )
    except (psycopg.ProgrammingError, UnicodeEncodeError):
        raise misread(settings, _setting(standby)) from None
    connection.adapters.register_loader("timestamptz", Moment)
    return connection


def misread(settings: Settings, setting: str = "database_url") -> Usage:
    """Return the error for a connection string that is none.

    It does not repeat what libpq says of it, which may quote the password.
    """
    source = settings.provenance[setting]
    return Usage(
        f"{setting} ({source}) cannot be understood",
        hint="It has the form postgresql://user:password@host:port/database, with %40 for @"
        " and the like in the password.",
        setting=setting,
        source=source,
    )


def behind_pooler(connection: Connection) -> bool:
    """Return whether a pooler stands in between, to whom a session means nothing.

    It hands out another backend for each transaction, and the pid that it told the client is of its
    own making.
    """
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return row[0] != connection.info.backend_pid


def conninfo(settings: Settings, *, standby: bool = False, owner: bool = False) -> str:
    """Return the libpq connection string of the database in use, or of a standby of it.

    Of several servers the one that accepts writes is used, and for reading alone a standby sooner
    than that one, unless the string says which. Raises `psycopg.ProgrammingError` for one that
    cannot be understood.
    """
    url = settings.replica_url if standby else settings.database_url
    if url is None:
        from concord import embedded

        return embedded.conninfo(settings.data_dir, owner=owner)
    if not standby and "," not in url:
        return url
    given = conninfo_to_dict(url)
    if "target_session_attrs" in given:
        return url
    several = any("," in str(given.get(name)) for name in ("host", "hostaddr"))
    if standby:
        wanted = "prefer-standby" if several else "any"
    elif several and "PGTARGETSESSIONATTRS" not in os.environ:
        # Otherwise the first one that answers would do, and a standby tells of an earlier moment.
        wanted = "read-write"
    else:
        return url
    return make_conninfo(url, target_session_attrs=wanted)


def unreachable(
    settings: Settings, error: psycopg.Error, *, standby: bool = False
) -> DatabaseUnavailable:
    """Return the error for a server that does not let us in, or for all of several."""
    where = settings.provenance[_setting(standby)]
    # Of several servers the driver tells what each of them said, behind what the last one did.
    said = [" ".join(words.split()) for words in _ATTEMPT.split(hide_password(str(error)))]
    each = [f"{host}: {words}" for host, words in zip(said[1::2], said[2::2], strict=True)]
    reason = "; ".join(each) or said[0]
    if standby:
        hint = f"Is it up, and the URL right ({where})? Without --replica the primary is asked."
    elif settings.embedded:
        hint = "Is the server up? concord doctor looks into it."
    else:
        wanted = "one of them up that accepts writes" if each else "the server up"
        hint = f"Is {wanted}, and the URL right ({where})? concord doctor looks into it."
    return DatabaseUnavailable(
        f"cannot connect to the {'standby' if standby else 'database'}: {reason}",
        hint=hint,
        source=where,
    )


def _setting(standby: bool) -> str:
    return "replica_url" if standby else "database_url"
