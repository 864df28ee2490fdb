"""What the server says about itself, for `concord doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg.rows import args_row

if TYPE_CHECKING:
    from concord.connections import Connection

FACTS: LiteralString = """
-- server_facts: what does not depend on the schema
SELECT current_database(), current_setting('server_version'),
       extract(epoch FROM clock_timestamp())::float8, pg_is_in_recovery(),
       (SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float8
        FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid())
"""

REVISION: LiteralString = """
-- schema_revision: an error says that there is no schema
SELECT version_num FROM alembic_version
"""

TRIGRAMS: LiteralString = """
-- trigrams: whether the extension is there, and the index that needs it
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm'),
       to_regclass('tasks_title_trigrams_idx') IS NOT NULL
"""

SEPARATION: LiteralString = """
-- separation: whether people can be let in, and policies asked after indexes
SELECT CASE WHEN to_regrole('concord_user') IS NOT NULL AND to_regclass('tasks') IS NOT NULL
            THEN has_table_privilege('concord_user', 'tasks', 'SELECT') ELSE false END,
       (SELECT bool_and(proleakproof) FROM pg_proc
        WHERE oid IN ('enum_eq'::regproc, 'lower(text)'::regprocedure, 'ts_match_vq'::regproc))
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """The server's own account: times in seconds, `clock` since the epoch."""

    database: str
    server_version: str
    clock: float
    standby: bool
    oldest_transaction: float | None


def facts(connection: Connection) -> Facts:
    """Return what the server says of itself. Raises `psycopg.Error`."""
    with connection.cursor(row_factory=args_row(Facts)) as cursor:
        found = cursor.execute(FACTS).fetchone()
    assert found is not None
    return found


def revision(connection: Connection) -> str | None:
    """Return the schema's revision, `None` if there is no Concord schema."""
    try:
        row = connection.execute(REVISION).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return row[0] if row else None


def trigrams(connection: Connection) -> tuple[bool, bool]:
    """Return whether the extension pg_trgm is there, and the index of titles that needs it."""
    row = connection.execute(TRIGRAMS).fetchone()
    assert row is not None
    return row[0], row[1]


def separation(connection: Connection) -> tuple[bool, bool]:
    """Return whether the roles that people work as are there, and whether operators are trusted."""
    row = connection.execute(SEPARATION).fetchone()
    assert row is not None
    return row[0], row[1]
