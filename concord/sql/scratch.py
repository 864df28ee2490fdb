"""Scratch schemas: a place for demonstrations, apart from the user's own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from concord.connections import behind_pooler

if TYPE_CHECKING:
    from concord.connections import Connection

# The name tells which backend owns the schema. Once that backend is gone, so is its owner, and
# whoever comes next may clear up.
OWN_NAME: LiteralString = """
-- scratch_name: of this backend
SELECT format('concord_scratch_%s_%s', pid, (extract(epoch FROM backend_start) * 1e6)::bigint)
FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""

# A pooler's backend is everybody's: it comes and goes, and no end of it tells of an owner's.
POOLED_NAME: LiteralString = """
-- pooled_scratch_name: nobody else's, until it may be taken for left over tomorrow
SELECT format('concord_scratch_until_%s_%s',
              (extract(epoch FROM clock_timestamp() + interval '1 day') * 1e6)::bigint,
              pg_backend_pid())
"""

LEFT_OVER: LiteralString = """
-- left_over: scratch schemas of ours whose backend is gone, or whose time is over
SELECT nspname FROM pg_namespace
WHERE nspname LIKE 'concord\\_scratch\\_%' AND pg_has_role(nspowner, 'USAGE')
  AND nspname NOT IN (
      SELECT format('concord_scratch_%s_%s', pid, (extract(epoch FROM backend_start) * 1e6)::bigint)
      FROM pg_stat_activity WHERE backend_start IS NOT NULL
  )
  AND coalesce(substring(nspname FROM '_until_([0-9]{1,18})_')::bigint, 0)
      < extract(epoch FROM clock_timestamp()) * 1e6
"""

CREATE = sql.SQL("-- create_scratch: empty\nCREATE SCHEMA {}")
DROP = sql.SQL("-- drop_scratch: with all that is in it\nDROP SCHEMA IF EXISTS {} CASCADE")


def create(connection: Connection) -> str:
    """Create a scratch schema for this connection, clearing up after dead ones; return its name."""
    for (name,) in connection.execute(LEFT_OVER).fetchall():
        drop(connection, name)
    row = connection.execute(POOLED_NAME if behind_pooler(connection) else OWN_NAME).fetchone()
    assert row is not None
    connection.execute(CREATE.format(sql.Identifier(row[0])))
    return row[0]


def drop(connection: Connection, name: str) -> None:
    """Remove a scratch schema."""
    connection.execute(DROP.format(sql.Identifier(name)))
