"""What takes two sessions to find out about a server: locks, snapshots, isolation, commits.

Nothing here waits for the other session, whose next step is up to the same thread: what would wait
is asked not to, or for a moment only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, LiteralString, NamedTuple

import psycopg
from psycopg import errors as pg
from psycopg import sql

from concord.transaction import SEARCH_PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from concord.connections import Connection

PATIENCE: LiteralString = """
-- probe_patience: how long a statement, and a wait for a lock, may take
SELECT set_config('statement_timeout', '10000', true), set_config('lock_timeout', '2000', true)
"""

READ_COMMITTED: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_REPEATABLE_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ"
_SERIALIZABLE: Final = "BEGIN ISOLATION LEVEL SERIALIZABLE"
_LOCK_FIRST: Final = "SELECT id FROM probe_shared WHERE id = 1 FOR NO KEY UPDATE"
_VALUE: Final = "SELECT value FROM probe_shared WHERE id = 1"
_SUM: Final = "SELECT sum(value) FROM probe_shared"


class Session:
    """A connection, and its transactions in the scratch schema."""

    def __init__(self, connection: Connection, schema: str | None) -> None:
        self._connection = connection
        self._schema = schema

    def begin(self, begin: LiteralString, snapshot: str | None = None) -> None:
        """Begin a transaction, whose waits are short, with the snapshot of another one or anew."""
        self._connection.execute(begin)
        if snapshot is not None:
            wanted = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot))
            self._connection.execute(wanted)
        self._connection.execute(PATIENCE)
        if self._schema is not None:
            self._connection.execute(SEARCH_PATH, {"schema": f"{self._schema}, public"})

    def run(self, statement: LiteralString, *given: Any) -> Any:
        """Return the first value of the last statement of a script, `None` without one."""
        cursor = self._connection.execute(statement, given or None)
        while cursor.nextset():
            pass
        row = cursor.fetchone() if cursor.description is not None else None
        return row[0] if row else None

    def fails(self, error: type[psycopg.Error], statement: LiteralString) -> bool:
        """Return whether a statement fails in this way. Raises any other `psycopg.Error`."""
        try:
            self.run(statement)
        except error:
            return True
        return False

    def copied(self, query: LiteralString, rows: list[tuple[int, int]]) -> None:
        """Send rows with COPY."""
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            for row in rows:
                copy.write_row(row)

    def read(self, query: LiteralString) -> list[bytes]:
        """Return the lines of a COPY to here."""
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            return [bytes(line) for line in copy]

    def end(self) -> None:
        """Take back what is open. Raises nothing: a probe that broke the connection has said so."""
        with suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")


def _skip_locked(one: Session, other: Session) -> bool:
    one.run(_LOCK_FIRST)
    return other.run("SELECT id FROM probe_shared ORDER BY id FOR NO KEY UPDATE SKIP LOCKED") == 2


def _nowait(one: Session, other: Session) -> bool:
    one.run(_LOCK_FIRST)
    return other.fails(
        pg.LockNotAvailable, "SELECT id FROM probe_shared WHERE id = 1 FOR NO KEY UPDATE NOWAIT"
    )


def _key_share(one: Session, other: Session) -> bool:
    one.run(_LOCK_FIRST)
    return other.run("SELECT id FROM probe_shared WHERE id = 1 FOR KEY SHARE NOWAIT") == 1


def _lock_timeout(one: Session, other: Session) -> bool:
    one.run(_LOCK_FIRST)
    other.run("SELECT set_config('lock_timeout', '1', true)")
    return other.fails(pg.LockNotAvailable, "UPDATE probe_shared SET value = 2 WHERE id = 1")


def _table_locks(one: Session, other: Session) -> bool:
    one.run("LOCK TABLE probe_shared IN SHARE ROW EXCLUSIVE MODE")
    return other.run(_VALUE) == 1 and other.fails(
        pg.LockNotAvailable, "LOCK TABLE probe_shared IN ROW EXCLUSIVE MODE NOWAIT"
    )


def _advisory_locks(one: Session, other: Session) -> bool:
    key = one.run("SELECT pg_backend_pid()")
    one.run("SELECT pg_advisory_xact_lock(%s)", key)
    held = other.run("SELECT pg_try_advisory_xact_lock(%s)", key) is False
    one.end()
    return held and other.run("SELECT pg_try_advisory_xact_lock(%s)", key) is True


def _read_committed(one: Session, other: Session) -> bool:
    before = other.run(_VALUE)
    one.run("UPDATE probe_shared SET value = 5 WHERE id = 1; COMMIT")
    return (before, other.run(_VALUE)) == (1, 5)


def _one_snapshot(one: Session, other: Session) -> bool:
    before = other.run(_VALUE)
    one.run("UPDATE probe_shared SET value = 5 WHERE id = 1; COMMIT")
    return (before, other.run(_VALUE)) == (1, 1) and other.fails(
        pg.SerializationFailure, "UPDATE probe_shared SET value = 6 WHERE id = 1"
    )


def _write_skew(one: Session, other: Session) -> bool:
    try:
        one.run(_SUM)
        other.run(_SUM)
        one.run("UPDATE probe_shared SET value = 5 WHERE id = 1")
        other.run("UPDATE probe_shared SET value = 5 WHERE id = 2")
        one.run("COMMIT")
        other.run("COMMIT")
    except pg.SerializationFailure:
        return True
    return False


def _outcome(one: Session, other: Session) -> bool:
    xid = one.run("SELECT pg_current_xact_id()::text")
    one.run("UPDATE probe_shared SET value = 5")
    ask: LiteralString = "SELECT pg_xact_status(%s::xid8)"
    before = other.run(ask, xid)
    one.run("COMMIT")
    return (before, other.run(ask, xid)) == ("in progress", "committed")


def _exported_snapshot(one: Session, other: Session) -> bool:
    name = one.run("SELECT pg_export_snapshot()")
    other.run("UPDATE probe_shared SET value = 5; COMMIT")
    other.begin(_REPEATABLE_READ, snapshot=name)
    return other.run(_VALUE) == 1


def _copy(one: Session, other: Session) -> bool:
    one.copied("COPY probe_shared (id, value) FROM STDIN", [(3, 7)])
    if other.run("SELECT count(*) FROM probe_shared") != 2:
        return False
    return one.read("COPY (SELECT id, value FROM probe_shared WHERE id = 3) TO STDOUT") == [
        b"3\t7\n"
    ]


def _ddl(one: Session, other: Session) -> bool:
    one.run("CREATE TABLE probe_made (id integer); ALTER TABLE probe_shared ADD extra text")
    one.run("INSERT INTO probe_made VALUES (1)")
    one.end()
    return other.run("SELECT to_regclass('probe_made') IS NULL") is True


def _local_settings(one: Session, _: Session) -> bool:
    inside = one.run("SELECT set_config('concord.probe', 'x', true)")
    one.run("COMMIT")
    after = one.run("SELECT current_setting('concord.probe', true)")
    return (inside, after or "") == ("x", "")


def _constraint_names(one: Session, _: Session) -> bool:
    try:
        one.run("UPDATE probe_shared SET value = 0")
    except pg.CheckViolation as error:
        return error.diag.constraint_name == "probe_shared_positive"
    return False


class Steps(NamedTuple):
    """A probe in two sessions, each in a transaction that begins so."""

    name: str
    needed_by: str
    run: Callable[[Session, Session], bool]
    begin: LiteralString = READ_COMMITTED


STEPS = (
    Steps("schema changes in a transaction", "init and its migrations", _ddl),
    Steps("names of broken constraints", "every refusal", _constraint_names),
    Steps("settings of a transaction", "who acts, in history; time-outs; poolers", _local_settings),
    Steps("COPY", "import, demo seed, db backup and restore", _copy),
    Steps("SKIP LOCKED", "task claim", _skip_locked),
    Steps("NOWAIT", "--nowait", _nowait),
    Steps("FOR NO KEY UPDATE", "comments and links on a task that is locked", _key_share),
    Steps("lock_timeout", "--lock-timeout", _lock_timeout),
    Steps("table locks", "work-in-progress limits, import, db restore", _table_locks),
    Steps("advisory locks", "migrations, of which one runs at a time", _advisory_locks),
    Steps("READ COMMITTED", "edits, claims, limits, gates", _read_committed),
    Steps("REPEATABLE READ", "board, next, stats, export", _one_snapshot, _REPEATABLE_READ),
    Steps("SERIALIZABLE", "import", _write_skew, _SERIALIZABLE),
    Steps("outcome of a transaction", "a COMMIT whose answer was lost", _outcome),
    Steps("exported snapshots", "db backup", _exported_snapshot, _REPEATABLE_READ),
)
