"""Databases for tests, used again as long as they are as they were made.

To create and to drop one takes longer than most tests. Rows are taken out instead, and what the
template had is put back; a database whose definitions a test has changed, or which has grown, is
not used again.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, LiteralString, cast

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Self

    from conftest import Server

LARGE = 4 * 2**20
"""Bytes of a table that is not worth emptying."""

# Statistics and sizes change by themselves; everything here only if somebody changes it. Whatever
# PostgreSQL itself brings has a number below 16384.
DEFINITIONS: LiteralString = """
SELECT md5(string_agg(told, ',' ORDER BY told)) FROM (
    SELECT concat_ws(' ', 'class', oid, relname, relkind, relhastriggers, relacl) FROM pg_class
    WHERE oid >= 16384 AND relpersistence = 'p' AND relkind <> 't'
    UNION ALL
    SELECT concat_ws(' ', 'column', attrelid, attname, atttypid, attnotnull, attisdropped)
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
    WHERE attrelid >= 16384 AND attnum > 0 AND relpersistence = 'p' AND relkind <> 't'
    UNION ALL SELECT concat_ws(' ', 'function', oid, xmin, proacl) FROM pg_proc
    WHERE oid >= 16384
    UNION ALL SELECT concat_ws(' ', 'trigger', oid, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', 'rule', oid, convalidated) FROM pg_constraint
    UNION ALL SELECT concat_ws(' ', 'value', enumtypid, enumlabel) FROM pg_enum
    UNION ALL SELECT concat_ws(' ', 'schema', oid, nspname, nspacl) FROM pg_namespace
    WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT concat_ws(' ', 'extension', oid) FROM pg_extension
    UNION ALL SELECT concat_ws(' ', 'policy', oid) FROM pg_policy
    UNION ALL SELECT concat_ws(' ', 'setting', setrole, setconfig) FROM pg_db_role_setting s
    JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()
    UNION ALL SELECT concat_ws(' ', 'database', datallowconn, datconnlimit, datacl)
    FROM pg_database WHERE datname = current_database()
) AS everything(told)
"""

END_OTHERS: LiteralString = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

TABLES: LiteralString = """
SELECT relname::text, pg_relation_size(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""

RESTART: LiteralString = """
SELECT setval(oid::regclass, coalesce(last_value, start_value), last_value IS NOT NULL)
FROM pg_class c
JOIN pg_sequence ON seqrelid = c.oid
JOIN unnest(%(names)s::text[], %(values)s::bigint[]) AS before(name, last_value) ON name = relname
CROSS JOIN LATERAL (SELECT seqstart AS start_value) AS start
WHERE relnamespace = 'public'::regnamespace
"""

POSITIONS: LiteralString = """
SELECT sequencename::text, last_value FROM pg_sequences WHERE schemaname = 'public'
"""


@dataclass(frozen=True)
class Original:
    """What is in a database that is as it was made: definitions, rows as COPY tells them."""

    definitions: str
    rows: dict[str, bytes]
    positions: dict[str, int | None]

    @classmethod
    def read(cls, url: str) -> Self:
        """Return what is in a database."""
        with psycopg.connect(url) as connection:
            tables = [name for name, _ in connection.execute(TABLES).fetchall()]
            return cls(
                _definitions(connection),
                {name: _copied(connection, name) for name in tables},
                dict(connection.execute(POSITIONS).fetchall()),
            )

    def restore(self, url: str) -> bool:
        """Make a database so again; return whether that can be."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(END_OTHERS)
            if _definitions(connection) != self.definitions:
                return False
            sizes = dict(connection.execute(TABLES).fetchall())
            if any(size > LARGE for size in sizes.values()):
                return False
            with connection.transaction():
                # Without triggers: history is append-only.
                connection.execute("SET LOCAL session_replication_role = replica")
                for name in sizes:
                    if sizes[name]:
                        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
                for name, told in self.rows.items():
                    if told:
                        into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))
                        with connection.cursor().copy(into) as copy:
                            copy.write(told)
                given = {
                    "names": list(self.positions),
                    "values": list(self.positions.values()),
                }
                connection.execute(RESTART, given)
        return True


class Databases:
    """Databases like a template, each for one test at a time."""

    def __init__(self, server: Server, template: str) -> None:
        self._server = server
        self._template = template
        self._original = Original.read(server.url(template))
        self._numbers = count(1)
        self._free: list[str] = []
        self._used: dict[str, ExitStack] = {}

    def take(self) -> str:
        """Return the name of a database that nobody uses."""
        if self._free:
            return self._free.pop()
        janitor = self._server.janitor(f"{self._template}_{next(self._numbers)}", self._template)
        stack = self._used[janitor.dbname] = ExitStack()
        stack.enter_context(janitor)
        return janitor.dbname

    def give_back(self, name: str) -> None:
        """Let somebody else have a database, if it can be as it was."""
        try:
            restored = self._original.restore(self._server.url(name))
        except psycopg.Error:  # a test has made it so that nobody gets in, or is gone with it
            restored = False
        if restored:
            self._free.append(name)
        else:
            self._used.pop(name).close()

    @contextmanager
    def lent(self) -> Generator[str]:
        """Yield the connection string of a database that nobody else uses meanwhile."""
        name = self.take()
        try:
            yield self._server.url(name)
        finally:
            self.give_back(name)


def _definitions(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(DEFINITIONS).fetchone()
    assert row is not None
    return cast("str", row[0])


def _copied(connection: psycopg.Connection[Any], table: str) -> bytes:
    out = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))
    with connection.cursor().copy(out) as copy:
        return b"".join(bytes(part) for part in copy)
