"""A worker's connection, and the bare transactions that it makes: BEGIN, statements, COMMIT.

Not `concord.database`: the strategies are compared with each other and with pgbench, so they send
exactly the statements that their names say, prepared once, and leave retries to the worker.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import pq

from concord.connections import behind_pooler, open_connection
from concord.race import ledger
from concord.race.attempts import Entered
from concord.race.plan import READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from concord.race.attempts import Attempt
    from concord.race.clock import Clock
    from concord.race.effects import Touch
    from concord.settings import Settings

_BEGIN: Final[dict[str, LiteralString]] = {
    READ_COMMITTED: "BEGIN ISOLATION LEVEL READ COMMITTED",
    REPEATABLE_READ: "BEGIN ISOLATION LEVEL REPEATABLE READ",
    SERIALIZABLE: "BEGIN ISOLATION LEVEL SERIALIZABLE",
}

_SETTLE: LiteralString = """
SELECT set_config('search_path', %(schema)s, %(local)s),
       set_config('TimeZone', 'UTC', %(local)s),
       set_config('jit', 'off', %(local)s),
       set_config('random_page_cost', '1.1', %(local)s),
       set_config('concord.operation', %(operation)s, %(local)s),
       set_config('lock_timeout', %(lock_timeout)s, %(local)s),
       set_config('statement_timeout', %(statement_timeout)s, %(local)s),
       set_config('idle_in_transaction_session_timeout', %(idle_timeout)s, %(local)s)
"""

_SOON: LiteralString = "SELECT set_config('deadlock_timeout', '20ms', false)"


class Session:
    """A connection of a worker in the scratch schema. Raises `psycopg.OperationalError`.

    `deadlocks`: some are to be expected, and to be found soon.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        schema: str,
        operation: str,
        clock: Clock,
        *,
        deadlocks: bool = False,
    ) -> None:
        self.clock = clock
        self.connection = open_connection(settings, name)
        self._given = {
            "schema": schema,
            "operation": operation,
            "lock_timeout": str(settings.lock_timeout),
            "statement_timeout": str(settings.statement_timeout),
            "idle_timeout": str(settings.idle_in_transaction_session_timeout),
        }
        # Through a pooler nothing may be set, or prepared, for the session.
        self._pooled = behind_pooler(self.connection)
        if not self._pooled:
            self.connection.prepare_threshold = 0
            self.connection.execute(_SETTLE, {**self._given, "local": False})
            if deadlocks:
                # A second of waiting for each would be all there is to see. Elsewhere a check after
                # every long wait would slow down what is measured.
                with suppress(pg.InsufficientPrivilege):
                    self.connection.execute(_SOON)
        self._cursor = self.connection.cursor()

    @property
    def pid(self) -> int | None:
        """Of the backend, if it stays the same."""
        return None if self._pooled else self.connection.info.backend_pid

    def begin(self, isolation: str) -> None:
        """Begin a transaction."""
        self._cursor.execute(_BEGIN[isolation])
        if self._pooled:
            self._cursor.execute(_SETTLE, {**self._given, "local": True})

    def execute(
        self, query: LiteralString, params: Mapping[str, Any]
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run a statement; its rows can be fetched until the next one is run."""
        return self._cursor.execute(query, params)

    def commit(self) -> str | None:
        """Send COMMIT and return the tag of the answer, which is not always COMMIT."""
        return self._cursor.execute("COMMIT").statusmessage

    def roll_back(self) -> None:
        """End the transaction without a trace, if there is one."""
        if not self.connection.closed:
            # Past psycopg, which would forget all prepared statements with it: dropped tables
            # could be why. Here no table is ever dropped.
            self.connection.pgconn.exec_(b"ROLLBACK")

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self.connection.closed or self.connection.pgconn.status == pq.ConnStatus.BAD

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transaction:
    """The open transaction of an attempt, as a strategy sees it. Notes each statement's time."""

    def __init__(
        self, session: Session, attempt: Attempt, worker: int, pause: Callable[[], None]
    ) -> None:
        self._session = session
        self._now = session.clock
        self._attempt = attempt
        self._worker = worker
        self.think = pause

    def begin(self, isolation: str) -> None:
        """Begin."""
        started = self._now()
        self._session.begin(isolation)
        self._note("begin", started, -1)

    def execute(self, query: LiteralString, params: Mapping[str, Any]) -> int:
        """Run a statement and return the number of rows it touched."""
        return self._run(query, params).rowcount

    def row(self, query: LiteralString, params: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run a query and return its first row."""
        return self._run(query, params).fetchone()

    def column(self, query: LiteralString, params: Mapping[str, Any]) -> list[Any]:
        """Run a query and return its first column."""
        return [row[0] for row in self._run(query, params).fetchall()]

    def read(self, entries: list[int]) -> None:
        """Note the list that the strategy has read."""
        self._attempt.entries = entries

    def enter(self, touches: tuple[Touch, ...]) -> None:
        """Enter what was done into the ledger."""
        attempt = self._attempt
        attempt.touches = touches
        row = self.row(ledger.ENTER, entry(attempt.op_id, self._worker, touches))
        assert row is not None
        attempt.entered = Entered(*row)

    def commit(self) -> str | None:
        """Send COMMIT and return the tag of the answer."""
        started = self._now()
        try:
            return self._session.commit()
        finally:
            self._note("commit", started, -1)

    def _run(
        self, query: LiteralString, params: Mapping[str, Any]
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        started = self._now()
        rows = -1
        try:
            cursor = self._session.execute(query, params)
            rows = cursor.rowcount
        finally:
            self._note(name_of(query), started, rows)
        return cursor

    def _note(self, name: str, started: float, rows: int) -> None:
        self._attempt.statements.append((name, started, (self._now() - started) * 1000, rows))


def entry(op_id: int, worker: int, touches: tuple[Touch, ...]) -> dict[str, Any]:
    """Return a ledger row as the parameters of `ledger.ENTER`."""
    first = touches[0]
    other = touches[1] if len(touches) > 1 else None
    return {
        "op": op_id,
        "worker": worker,
        "task": first.task,
        "part": first.part,
        "before": first.before,
        "after": first.after,
        "other": other and other.task,
        "other_before": other and other.before,
        "other_after": other and other.after,
    }


@cache
def name_of(query: str) -> str:
    """Return what a statement calls itself: `-- name: purpose` on its first line."""
    return query.lstrip().partition("\n")[0].removeprefix("-- ").partition(":")[0]
