"""Databases that cannot be reached for a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Generator

CUT: LiteralString = """
SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
WHERE datname = %s AND application_name = %s
"""

CONNECTIONS: LiteralString = """
SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name = %s
"""


def cut(url: str, command: str) -> int:
    """End the connections of a command, and return how many there were."""
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        return connection.execute(CUT, (_name(url), f"concord {command}")).rowcount


def connections(url: str, command: str) -> int:
    """Return how many connections a command has to a database, even to one that is closed."""
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        return connection.execute(CONNECTIONS, (_name(url), f"concord {command}")).rowcount


@contextmanager
def closed(url: str) -> Generator[None]:
    """Let nobody connect to a database until the end of the block."""
    _allow(url, connections=False)
    try:
        yield
    finally:
        _allow(url, connections=True)


def _allow(url: str, *, connections: bool) -> None:
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                sql.Identifier(_name(url)), sql.Literal(connections)
            )
        )


def _name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])
