"""What a database holds: all rows of all tables, and what tells whether two hold the same.

Beside the runner, on a connection in a transaction, because the schema may be of any revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.models import Contents, TableContents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from concord.connections import Connection

TABLES: dict[str, tuple[str, ...]] = {
    "users": ("id",),
    "projects": ("id",),
    "project_members": ("project_id", "user_id"),
    "tags": ("id",),
    "tasks": ("id",),
    "task_tags": ("task_id", "tag_id"),
    "assignments": ("task_id", "user_id"),
    "links": ("blocked_id", "blocker_id"),
    "claims": ("task_id",),
    "comments": ("id",),
    "import_bases": ("task_id", "format"),
    "views": ("id",),
    "history": ("id",),
}
"""A table with data → its primary key, each table after those to which its rows refer."""

DERIVED = ("task_texts", "gates")
"""Tables that follow from others, or mean nothing from one transaction to the next."""

VIEWS = ("open_links", "tasks_by_assignee", "tasks_by_tag")
"""Views of these tables."""

# Values have one text each, wherever they are. A copy takes as long as it takes; what waits for a
# lock still gives up in time. Row-level security is to fail rather than hide rows from a copy; it
# hides none from the owner of the tables.
SETTLE: LiteralString = """
-- settle_copying: for this transaction
SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, YMD', true),
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', '0', true),
       set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('row_security', CASE
           WHEN coalesce(pg_has_role(
               (SELECT relowner FROM pg_class WHERE oid = to_regclass('tasks')), 'USAGE'
           ), true)
           THEN 'on' ELSE 'off' END, true)
"""

SNAPSHOT: LiteralString = """
-- export_snapshot: for another connection to see the same, as long as this transaction lasts
SELECT pg_export_snapshot()
"""

PLACE: LiteralString = """
-- place_of_tables: the schema in which they are
SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('tasks')
"""

STRANGERS: LiteralString = """
-- strangers: what has rows or shows them in the same schema, and is none of Concord's
SELECT c.relname::text FROM pg_class c
WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('tasks'))
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname <> ALL(%(names)s)
ORDER BY c.relname
"""

COLUMNS: LiteralString = """
-- columns_of_tables: of those tables that there are
SELECT wanted.name, array_agg(a.attname::text ORDER BY a.attnum)
FROM unnest(%(names)s::text[]) AS wanted (name)
JOIN pg_attribute a ON a.attrelid = to_regclass(wanted.name)
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY wanted.name
"""

SEQUENCES: LiteralString = """
-- sequences_of_tables: what gives ids to their rows
SELECT wanted.name, n.nspname::text, s.relname::text
FROM unnest(%(names)s::text[]) AS wanted (name)
JOIN pg_depend d ON d.refobjid = to_regclass(wanted.name)
JOIN pg_class s ON s.oid = d.objid
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype = 'i' AND s.relkind = 'S'
"""

# Not by its position as the catalogs tell it, which is unknown until it has given out a number.
NEXT_ID = sql.SQL("""
-- next_id: of a sequence
SELECT last_value + is_called::integer FROM {}
""")

# A sum of hashes does not mind the order and takes no memory, whatever the size of the table. Not
# md5, which a server may be told to do without.
CHECKSUM = sql.SQL("""
-- checksum_rows: how many there are, and a sum of their hashes
SELECT count(*), coalesce(sum((
    'x' || encode(substr(sha256(convert_to(ROW({})::text, 'UTF8')), 1, 8), 'hex')
)::bit(64)::bigint), 0)::text
FROM {}
""")

LAST_CHANGE: LiteralString = """
-- last_change: the newest row of history
SELECT max(id) FROM history
"""

UNTOLD: LiteralString = """
-- count_untold: tasks whose version is not that of their newest row of history
SELECT count(*) FROM tasks t WHERE t.version IS DISTINCT FROM (
    SELECT h.version FROM history h
    WHERE h.entity = 'task' AND h.entity_id = t.id ORDER BY h.id DESC LIMIT 1
)
"""

ROWS = sql.SQL("""
-- rows_of_table: by their key, as JSON
COPY (SELECT row_to_json(told) FROM (SELECT {} FROM {} ORDER BY {}) AS told) TO STDOUT
""")


def settle(connection: Connection, lock_timeout: int) -> None:
    """Prepare a transaction for copying. `lock_timeout` is in milliseconds."""
    connection.execute(SETTLE, {"lock_timeout": str(lock_timeout)})


def export_snapshot(connection: Connection) -> str:
    """Return the name by which another connection can see what this transaction sees."""
    return value(connection, SNAPSHOT)


def place(connection: Connection) -> str:
    """Return the name of the schema that the tables are in."""
    return value(connection, PLACE)


def strangers(connection: Connection) -> list[str]:
    """Return the tables and views of that schema that are not Concord's."""
    names = [*TABLES, *DERIVED, *VIEWS, "alembic_version"]
    return [name for (name,) in connection.execute(STRANGERS, {"names": names})]


def present(connection: Connection, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the tables of these names that there are, in their order, with their columns."""
    wanted = list(names)
    found = dict(connection.execute(COLUMNS, {"names": wanted}).fetchall())
    return {name: tuple(found[name]) for name in wanted if name in found}


def describe(connection: Connection, schema: str, tables: Mapping[str, Sequence[str]]) -> Contents:
    """Return what is in these columns of these tables. `schema` is the revision to tell."""
    sequences = _sequences(connection, tables)
    told: dict[str, TableContents] = {}
    for name, columns in tables.items():
        row = connection.execute(CHECKSUM.format(listed(columns), sql.Identifier(name))).fetchone()
        assert row is not None
        sequence = sequences.get(name)
        following = None if sequence is None else value(connection, NEXT_ID.format(sequence))
        told[name] = TableContents(tuple(columns), row[0], _hex(int(row[1])), following)
    return Contents(schema, told, value(connection, LAST_CHANGE), value(connection, UNTOLD))


def rows(connection: Connection, table: str, columns: Sequence[str]) -> Iterator[str]:
    """Yield the rows of a table as JSON objects, by their key."""
    query = ROWS.format(listed(columns), sql.Identifier(table), listed(TABLES[table]))
    with connection.cursor().copy(query) as copy:
        copy.set_types(["text"])
        for (row,) in copy.rows():
            yield row


def value(connection: Connection, query: LiteralString | sql.Composed) -> Any:
    """Return the first column of the first row, `None` without one."""
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def listed(names: Iterable[str]) -> sql.Composed:
    """Return names as SQL has several of them."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _sequences(connection: Connection, tables: Iterable[str]) -> dict[str, sql.Identifier]:
    found = connection.execute(SEQUENCES, {"names": list(tables)}).fetchall()
    return {table: sql.Identifier(schema, name) for table, schema, name in found}


def _hex(total: int) -> str:
    return f"{total % 2**64:016x}"
