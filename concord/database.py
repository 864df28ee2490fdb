"""The transaction runner: the one place that begins, commits and retries.

An operation is a function decorated with `@transaction(isolation=…)`. It receives an open
`Transaction`, never commits, and may be called again from the start. `Database.run` begins at
the operation's isolation level, calls it, commits, and counts it done only when the server
answered COMMIT with the tag `COMMIT`. Errors are translated and retries decided outside the
transaction block, because a serialization failure may come from COMMIT itself.
"""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    LiteralString,
    ParamSpec,
    TypeAlias,
    TypeVar,
)

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import args_row, scalar_row, tuple_row

from concord.connections import connect, open_connection
from concord.errors import (
    Bug,
    CommitUnknown,
    ConcordError,
    Contention,
    DatabaseUnavailable,
    NotFound,
    SchemaMismatch,
)
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Self

    from psycopg.rows import RowFactory

    from concord.connections import Connection
    from concord.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
Row = TypeVar("Row")
Params: TypeAlias = "Sequence[Any] | Mapping[str, Any]"
Query = LiteralString | sql.SQL | sql.Composed

SCHEMA_HEAD = "0003"
"""The Alembic revision this code is written for; a test holds it equal to the newest one."""

BACKOFF_FIRST = 0.005
BACKOFF_LONGEST = 0.5
"""Seconds: the range of the full-jitter exponential backoff between attempts."""


DECISION_PATIENCE = 5.0
"""Seconds to wait for a transaction to end whose COMMIT was lost: its backend may not know yet."""


class Isolation(StrEnum):
    """Transaction isolation levels, named as SQL names them."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


_BEGIN: dict[tuple[Isolation, bool], LiteralString] = {
    (Isolation.READ_COMMITTED, False): "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;",
    (Isolation.READ_COMMITTED, True): "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;",
    (Isolation.REPEATABLE_READ, False): "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE;",
    (Isolation.REPEATABLE_READ, True): "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;",
    (Isolation.SERIALIZABLE, False): "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;",
    (Isolation.SERIALIZABLE, True): "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;",
}

# Everything is local to the transaction, so a pooler that hands out connections by the
# transaction does not leak one user's identity or time-outs into another's. Reading the schema
# revision and the actor here saves each of them a round trip. Tasks in use are in memory, where a
# page costs the same wherever it lies: told so, the planner takes the index to a few rows instead
# of reading all older ones in order.
_SETTLE: LiteralString = """
SELECT set_config('concord.actor', %(actor)s, true),
       set_config('concord.operation', %(operation)s, true),
       set_config('TimeZone', 'UTC', true),
       set_config('jit', 'off', true),
       set_config('random_page_cost', '1.1', true),
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_timeout)s, true);
"""

_SEARCH_PATH: LiteralString = "SELECT set_config('search_path', %(schema)s, true);"

_WHOAMI: LiteralString = """
SELECT (SELECT version_num FROM alembic_version),
       (SELECT id FROM users WHERE lower(username) = lower(%(actor)s)),
       CASE WHEN %(writes)s THEN pg_current_xact_id()::text END,
       clock_timestamp()
"""

_ADD_ACTOR: LiteralString = """
-- add_actor: whoever uses the embedded server for the first time
INSERT INTO users (username) VALUES (%(username)s)
ON CONFLICT (lower(username)) DO UPDATE SET username = users.username
RETURNING id
"""

# After a crash the server gives out anew the ids of transactions that had left no trace on disk. So
# a row of that id from after our COMMIT was sent may be somebody else's.
_COMMITTED: LiteralString = """
-- was_committed: a history row is written in the transaction it tells of
SELECT bool_or(at <= %(sent)s) FROM history WHERE xid = %(xid)s::xid8
"""

_RETRYABLE = (pg.SerializationFailure, pg.DeadlockDetected)


@dataclass(frozen=True, slots=True)
class Operation(Generic[P, R]):
    """A unit of work on the database, with the guarantees it needs."""

    body: Callable[Concatenate[Transaction, P], R]
    isolation: Isolation
    read_only: bool

    @property
    def name(self) -> str:
        """`module.function`, as logs show it."""
        return f"{self.body.__module__.rpartition('.')[2]}.{self.body.__name__}"

    def __call__(self, tx: Transaction, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run as a part of an operation that has already begun."""
        return self.body(tx, *args, **kwargs)


def transaction(
    *, isolation: Isolation, read_only: bool = False
) -> Callable[[Callable[Concatenate[Transaction, P], R]], Operation[P, R]]:
    """Declare a function to be an operation that runs at this isolation level."""
    return lambda body: Operation(body, isolation, read_only)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it ran: its SQL, how long it took in milliseconds, rows touched."""

    text: str
    ms: float
    rows: int

    @property
    def name(self) -> str:
        """What the statement calls itself: `-- name: purpose` on its first line."""
        first = self.text.strip().partition("\n")[0]
        return first.removeprefix("-- ").partition(":")[0] if first[:3] == "-- " else first[:60]


@dataclass(slots=True)
class Record:
    """One attempt at a transaction, for `-v` and the log."""

    operation: str
    isolation: Isolation
    read_only: bool
    attempt: int
    statements: list[Statement] = field(default_factory=list[Statement])
    xid: str | None = None
    outcome: str = "begun"
    sqlstate: str | None = None
    ms: float = 0.0
    begun: float = 0.0
    """When BEGIN was sent, by `time.perf_counter`."""
    begun_at: datetime | None = None
    """When the server began it, by its own clock."""


class Transaction:
    """An open transaction. Operations speak to the database through it and nothing else."""

    def __init__(self, connection: Connection, actor: str, actor_id: int | None, record: Record):
        self._connection = connection
        self._record = record
        self._actor_id = actor_id
        self.actor = actor

    @property
    def actor_id(self) -> int:
        """The id of the acting user.

        Raises `NotFound` for someone the embedded server has not met, in a read-only operation.
        """
        if self._actor_id is None:
            raise unknown_actor(self.actor)
        return self._actor_id

    @property
    def xid(self) -> str | None:
        """The transaction id (`xid8`) of an operation that writes."""
        return self._record.xid

    def execute(self, query: Query, params: Params | None = None) -> int:
        """Run a statement and return the number of rows it touched."""
        return self._run(query, params, tuple_row).rowcount

    def rows(
        self, query: Query, params: Params | None, shape: Callable[..., Row]
    ) -> tuple[Row, ...]:
        """Run a query and return each row as `shape(*columns)`."""
        return tuple(self._run(query, params, args_row(shape)).fetchall())

    def row(self, query: Query, params: Params | None, shape: Callable[..., Row]) -> Row | None:
        """Run a query and return its first row as `shape(*columns)`, `None` without one."""
        return self._run(query, params, args_row(shape)).fetchone()

    def scalars(self, query: Query, params: Params | None = None) -> tuple[Any, ...]:
        """Run a query and return the first column of all rows."""
        return tuple(self._run(query, params, scalar_row).fetchall())

    def scalar(self, query: Query, params: Params | None = None) -> Any:
        """Run a query and return the first column of its first row, `None` without one."""
        return self._run(query, params, scalar_row).fetchone()

    def copy(self, query: LiteralString, rows: Iterable[Sequence[Any]]) -> int:
        """Send rows with COPY … FROM STDIN and return how many there were."""
        started = time.perf_counter()
        with self._connection.cursor() as cursor:
            with cursor.copy(query) as copy:
                for row in rows:
                    copy.write_row(row)
            self._note(query, started, cursor.rowcount)
            return cursor.rowcount

    def _run(
        self, query: Query, params: Params | None, factory: RowFactory[Any]
    ) -> psycopg.Cursor[Any]:
        started = time.perf_counter()
        cursor = self._connection.cursor(row_factory=factory)
        try:
            cursor.execute(query, params)
        finally:
            text = query if isinstance(query, str) else query.as_string(self._connection)
            self._note(text, started, cursor.rowcount)
        return cursor

    def _note(self, text: str, started: float, rows: int) -> None:
        elapsed = (time.perf_counter() - started) * 1000
        self._record.statements.append(Statement(text, elapsed, rows))


class Database:
    """A lazily opened connection and the rules by which operations run on it.

    `command` names the command for `application_name` and history. `observe` is called with the
    `Record` of each attempt. `schema` is a scratch schema to work in instead of the default.
    `newcomer` says what becomes of an actor whom the database does not know: in the embedded
    one they are added, in a shared one refused, unless told otherwise.
    """

    def __init__(
        self,
        settings: Settings,
        command: str,
        *,
        observe: Callable[[Record], None] | None = None,
        schema: str | None = None,
        newcomer: Literal["add", "refuse", "ignore"] | None = None,
    ) -> None:
        self._newcomer = newcomer or ("add" if settings.embedded else "refuse")
        self._settings = settings
        self._command = command
        self._observe = observe
        self._schema = schema
        self._connection: Connection | None = None

    def run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation in a transaction of its own and return what it returns.

        A serialization failure or deadlock runs the whole operation again. Raises
        `ConcordError`; whatever it raises, nothing was written, except for `CommitUnknown`,
        which says that this cannot be told.
        """

        def work(tx: Transaction) -> R:
            return operation(tx, *args, **kwargs)

        for attempt in itertools.count(1):
            record = Record(operation.name, operation.isolation, operation.read_only, attempt)
            try:
                return self._observed(operation, record, work)
            except _RETRYABLE as error:
                if attempt > self._settings.retries:
                    raise Contention(
                        f"gave up after {attempt} attempts: others keep changing the same rows",
                        hint="Nothing was written; run it again, or raise CONCORD_RETRIES.",
                        attempts=attempt,
                        sqlstate=error.sqlstate,
                    ) from error
            longest = min(BACKOFF_LONGEST, BACKOFF_FIRST * 2**attempt)
            time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret
        raise AssertionError("counting never ends")

    def close(self) -> None:
        """Close the connection, if one was opened."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lost(self) -> bool:
        """Whether the connection that was opened is gone."""
        return self._connection is not None and self._connection.closed

    def connection(self) -> Connection:
        """Return the open connection, opening it (and starting the embedded server) if need be.

        Raises `DatabaseUnavailable`.
        """
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._settings, self._command)
        return self._connection

    def _observed(
        self, operation: Operation[P, R], record: Record, work: Callable[[Transaction], R]
    ) -> R:
        started = time.perf_counter()
        try:
            result = self._attempt(operation, record, work)
        except BaseException as error:
            if isinstance(error, psycopg.Error):
                record.sqlstate = error.sqlstate
            elif isinstance(error, ConcordError):
                record.sqlstate = error.details.get("sqlstate")
            record.outcome = "retry" if isinstance(error, _RETRYABLE) else "failed"
            raise
        else:
            record.outcome = "done"
            return result
        finally:
            record.ms = (time.perf_counter() - started) * 1000
            if self._observe is not None:
                self._observe(record)

    def _attempt(
        self, operation: Operation[P, R], record: Record, work: Callable[[Transaction], R]
    ) -> R:
        connection = self.connection()
        try:
            tx = self._begin(connection, operation, record)
            result = work(tx)
        except _RETRYABLE:
            _roll_back(connection)
            raise
        except (psycopg.Error, UnicodeEncodeError) as error:
            _roll_back(connection)
            raise translate(error) from error
        except BaseException:
            _roll_back(connection)
            raise
        self._commit(connection, operation, record)
        return result

    def _begin(
        self, connection: Connection, operation: Operation[P, R], record: Record
    ) -> Transaction:
        revision, actor_id = self._open(connection, operation, record)
        if revision != SCHEMA_HEAD:
            _roll_back(connection)
            if not self._settings.embedded or self._schema is not None:
                raise schema_mismatch(revision)
            # The embedded schema is Concord's own affair: bring it up to date and begin again.
            from concord.migrate import upgrade

            upgrade(self._settings)
            revision, actor_id = self._open(connection, operation, record)
        actor = self._settings.user
        if actor_id is None and self._newcomer == "refuse":
            raise unknown_actor(actor)
        tx = Transaction(connection, actor, actor_id, record)
        if actor_id is None and self._newcomer == "add" and not operation.read_only:
            # Two first commands at once: the later waits on the unique index, then finds it.
            actor_id = tx.scalar(_ADD_ACTOR, {"username": actor})
            tx = Transaction(connection, actor, actor_id, record)
        return tx

    def _open(
        self, connection: Connection, operation: Operation[P, R], record: Record
    ) -> tuple[str | None, int | None]:
        settings = self._settings
        started = record.begun = time.perf_counter()
        begin = _BEGIN[operation.isolation, operation.read_only]
        query = begin + _SETTLE + (_SEARCH_PATH if self._schema else "") + _WHOAMI
        # Parameters are bound by the client, because only the simple query protocol takes
        # several statements in one round trip.
        cursor = psycopg.ClientCursor(connection)
        try:
            cursor.execute(
                query,
                {
                    "actor": settings.user,
                    "operation": self._command,
                    "schema": self._schema,
                    "writes": not operation.read_only,
                    "lock_timeout": str(settings.lock_timeout),
                    "statement_timeout": str(settings.statement_timeout),
                    "idle_timeout": str(settings.idle_in_transaction_session_timeout),
                },
            )
        except (pg.UndefinedTable, pg.UndefinedColumn):
            return None, None
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        record.statements.append(
            Statement(query, (time.perf_counter() - started) * 1000, cursor.rowcount)
        )
        assert row is not None
        revision, actor_id, record.xid, record.begun_at = row
        return revision, actor_id

    def _commit(self, connection: Connection, operation: Operation[P, R], record: Record) -> None:
        started = time.perf_counter()
        try:
            tag = connection.execute("COMMIT").statusmessage
        except _RETRYABLE:
            raise
        except (pg.OperationalError, pg.InterfaceError) as error:
            if not connection.closed or operation.read_only:
                raise translate(error) from error
            self._decide(record, started, error)
        except psycopg.Error as error:
            raise translate(error) from error
        else:
            if tag != "COMMIT":
                # The server turns COMMIT of an aborted transaction into ROLLBACK, without error.
                raise Bug(
                    f"{operation.name}: the server answered COMMIT with {tag}; nothing was written",
                    hint="An error inside the operation was swallowed: please report this.",
                )
        finally:
            record.statements.append(Statement("COMMIT", (time.perf_counter() - started) * 1000, 0))

    def _decide(self, record: Record, sent: float, cause: psycopg.Error) -> None:
        """Find out whether a COMMIT whose answer was lost took place. `sent`: when it was sent.

        Returns if it did. Raises `DatabaseUnavailable` if it did not, `CommitUnknown` if nobody
        can tell now.
        """
        unknown = CommitUnknown(
            f"the connection was lost at COMMIT: transaction {record.xid} may or may not be saved",
            hint=f"Look for it before you try again: concord history --xid {record.xid}",
            xid=record.xid,
        )
        try:
            assert record.begun_at is not None
            # Never start a server here: a transaction in flight would be forgotten with it.
            with open_connection(self._settings, self._command) as connection:
                deadline = time.monotonic() + DECISION_PATIENCE
                while _still_running(connection, record.xid):
                    if time.monotonic() > deadline:
                        raise unknown from cause
                    time.sleep(BACKOFF_FIRST)
                with connection.transaction():
                    if self._schema is not None:
                        connection.execute(_SEARCH_PATH, {"schema": self._schema})
                    found = connection.execute(
                        _COMMITTED,
                        {
                            "xid": record.xid,
                            "sent": record.begun_at + timedelta(seconds=sent - record.begun),
                        },
                    ).fetchone()
        except psycopg.Error:
            raise unknown from cause
        if found == (False,):
            raise unknown from cause
        if found != (True,):
            raise DatabaseUnavailable(
                "the connection was lost before the commit; nothing was written",
                hint="Run it again.",
            ) from cause


def schema_mismatch(found: str | None) -> SchemaMismatch:
    """Return the error for a database of another schema revision than this code's."""
    return SchemaMismatch(
        "the database is not initialised for Concord"
        if found is None
        else f"the database has schema {found}, this Concord needs {SCHEMA_HEAD}",
        hint="Run: concord init",
        found=found,
        expected=SCHEMA_HEAD,
    )


def unknown_actor(name: str) -> NotFound:
    """Return the error for someone the database does not know."""
    return NotFound(
        f"you are {name!r}, and no such user exists",
        hint=f"Anyone who is a user already can add you: concord user add {name}; "
        "or say who you are with --as NAME.",
        user=name,
    )


def _still_running(connection: Connection, xid: str | None) -> bool:
    """Whether a transaction has not ended yet, as far as this server knows."""
    try:
        status = connection.execute("SELECT pg_xact_status(%s::xid8)", (xid,)).fetchone()
    except pg.InvalidParameterValue:
        return False  # an id from the future: this server was promoted and never saw it
    return status == ("in progress",)


def _roll_back(connection: Connection) -> None:
    if connection.closed:
        return
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        # The connection is of no more use, and the server rolls back when it goes.
        connection.close()
