"""All rows of all tables put back as they were, in one transaction that keeps everybody else out.

Beside the runner, because the schema may move within that transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from concord.sql.contents import listed, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from concord.connections import Connection

REACH = 1_000_000
"""How many transaction ids a server is made to skip, which takes seconds."""

LOCK = sql.SQL("""
-- lock_tables: from readers too, who would see some of them empty
LOCK TABLE {} IN ACCESS EXCLUSIVE MODE
""")

ANY_TASKS: LiteralString = """
-- any_tasks: in the trash or not
SELECT EXISTS (SELECT FROM tasks)
"""

COMPANY: LiteralString = """
-- other_sessions: of Concord, in this database
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND application_name LIKE 'concord %'
"""

# The owner's right, and for this transaction's eyes only: nobody else gets at the tables before it
# ends. Constraints stay on, those on references too.
TRIGGERS_OFF = sql.SQL(
    "-- triggers_off: rows come as they were, and may be anybody's\n"
    "ALTER TABLE {} DISABLE TRIGGER USER, NO FORCE ROW LEVEL SECURITY"
)
TRIGGERS_ON = sql.SQL(
    "-- triggers_on: as they were\nALTER TABLE {} ENABLE TRIGGER USER, FORCE ROW LEVEL SECURITY"
)
EMPTY = sql.SQL("-- empty_tables: at once, as they refer to each other\nTRUNCATE {}")
FILL = sql.SQL("-- fill_table: from the text of COPY\nCOPY {} ({}) FROM STDIN")

STAGE: LiteralString = """
-- create_archive_rows: private to this connection, gone with the transaction
CREATE TEMPORARY TABLE IF NOT EXISTS archive_rows (line json) ON COMMIT DROP
"""

UNPACK = sql.SQL("""
-- unpack_rows: all at once, as rows of a table refer to later ones
INSERT INTO {} ({})
SELECT {} FROM archive_rows CROSS JOIN json_populate_record(NULL::{}, line -> 'row') AS told
""")

# Unlike setval, it is undone with the transaction.
RESTART = sql.SQL(
    "-- restart_ids: go on where the copy was\nALTER TABLE {} ALTER id RESTART WITH {}"
)

# What history calls a transaction must not be what another one is called: undo, and whoever asks
# after a lost COMMIT, would take them for one.
TRANSACTIONS: LiteralString = """
-- newest_transactions: in history, and on this server
SELECT coalesce((SELECT xid FROM history ORDER BY xid DESC LIMIT 1)::text, '0'),
       pg_current_xact_id()::text
"""

RENUMBER: LiteralString = """
-- renumber_transactions: in the same order, from the first that a server ever gives
UPDATE history SET xid = renumbered.after
FROM (
    SELECT xid AS before, (2 + row_number() OVER (ORDER BY xid))::text::xid8 AS after
    FROM (SELECT DISTINCT xid FROM history) AS transactions
) AS renumbered
WHERE history.xid = renumbered.before
"""

SKIP = sql.SQL("""
-- skip_transactions: give out each id, so that none is given out again
DO $$ BEGIN WHILE pg_current_xact_id() <= {}::xid8 LOOP COMMIT; END LOOP; END $$
""")

INDEX_TEXTS: LiteralString = """
-- index_texts: of tasks that have no search document yet
INSERT INTO task_texts (task_id, document)
SELECT id, text_document(title, description, task_comments(id)) FROM tasks
WHERE NOT EXISTS (SELECT FROM task_texts WHERE task_texts.task_id = tasks.id) ORDER BY id
"""

ADD_TRIGRAMS: LiteralString = """
-- add_trigrams: the index of titles, where the extension is to be had
SELECT add_trigrams()
"""

ANALYZE = sql.SQL("-- analyze_tables: the planner knows nothing yet of so many rows\nANALYZE {}")


def lock(connection: Connection, tables: Iterable[str]) -> None:
    """Keep everybody else out of these tables until the end."""
    connection.execute(LOCK.format(listed(tables)))


def any_tasks(connection: Connection) -> bool:
    """Return whether there are tasks, in the trash or not."""
    return value(connection, ANY_TASKS)


def company(connection: Connection) -> int:
    """Return how many other sessions of Concord this database has."""
    return value(connection, COMPANY)


def triggers(connection: Connection, tables: Iterable[str], *, on: bool) -> None:
    """Switch Concord's triggers of these tables on or off; only their owner may."""
    for name in tables:
        connection.execute((TRIGGERS_ON if on else TRIGGERS_OFF).format(sql.Identifier(name)))


def empty(connection: Connection, tables: Iterable[str]) -> None:
    """Take all rows out of these tables."""
    connection.execute(EMPTY.format(listed(tables)))


def fill(
    connection: Connection, table: str, columns: Sequence[str], lines: Iterable[bytes]
) -> None:
    """Add rows to a table: lines as COPY has them, with their ends, in UTF-8."""
    query = FILL.format(sql.Identifier(table), listed(columns))
    with connection.cursor().copy(query) as copy:
        for line in lines:
            copy.write(line)


def unpack(
    connection: Connection, table: str, columns: Sequence[str], lines: Iterable[str]
) -> None:
    """Add rows to a table: JSON objects with the row under `row`."""
    staging = sql.Identifier("archive_rows")
    connection.execute(STAGE)
    connection.execute(EMPTY.format(staging))
    with connection.cursor().copy(FILL.format(staging, sql.Identifier("line"))) as copy:
        for line in lines:
            copy.write_row((line,))
    name = sql.Identifier(table)
    told = sql.SQL(", ").join(sql.Identifier("told", column) for column in columns)
    connection.execute(UNPACK.format(name, listed(columns), told, name))


def restart_ids(connection: Connection, table: str, following: int) -> None:
    """Let the next row of a table have this id."""
    connection.execute(RESTART.format(sql.Identifier(table), sql.Literal(following)))


def finish(connection: Connection) -> None:
    """Add what follows from the rows. Only at the newest revision."""
    connection.execute(INDEX_TEXTS)
    connection.execute(ADD_TRIGRAMS)


def analyze(connection: Connection, tables: Iterable[str]) -> None:
    """Tell the planner what there is."""
    connection.execute(ANALYZE.format(listed(tables)))


def unreached(connection: Connection) -> tuple[int, int]:
    """Return the newest transaction of history, and how many ids the server is behind it."""
    row = connection.execute(TRANSACTIONS).fetchone()
    assert row is not None
    newest, current = map(int, row)
    return newest, max(0, newest - current + 1)


def renumber(connection: Connection) -> None:
    """Give the transactions of history other ids. Its triggers have to be off."""
    connection.execute(RENUMBER)


def skip(connection: Connection, newest: int) -> None:
    """Let the server's next transaction come after this one. Outside of any transaction."""
    connection.execute(SKIP.format(sql.Literal(str(newest))))
