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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, Generic, Literal, ParamSpec, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from concord import outcome
from concord.connections import connect
from concord.errors import (
    Bug,
    CommitUnknown,
    ConcordError,
    Contention,
    Forbidden,
    SchemaMismatch,
)
from concord.records import Isolation, Record
from concord.transaction import (
    Entangled,
    Known,
    Opening,
    Outdated,
    Transaction,
    require_commit,
    unknown_actor,
)
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from concord.connections import Connection
    from concord.settings import Settings

__all__ = [
    "SCHEMA_HEAD",
    "Database",
    "Isolation",
    "Operation",
    "Record",
    "Transaction",
    "schema_mismatch",
    "transaction",
    "unknown_actor",
]

P = ParamSpec("P")
R = TypeVar("R")

SCHEMA_HEAD = "0005"
"""The Alembic revision this code is written for; a test holds it equal to the newest one."""

BACKOFF_FIRST = 0.005
BACKOFF_LONGEST = 0.5
"""Seconds: the range of the full-jitter exponential backoff between attempts."""

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


class Database:
    """A lazily opened connection and the rules by which operations run on it.

    `command` names the command for `application_name` and history. `observe` is called with the
    `Record` of each attempt. `schema` is a scratch schema to work in instead of the default.
    `newcomer` says what becomes of an actor whom the database does not know: in the embedded
    one they are added, in a shared one refused, unless told otherwise. With `standby` it is a
    standby that is read from: what it tells may be old, so no operation that writes runs on it.
    With `owner` it works as the owner of the tables, whom row-level security does not hold.
    """

    def __init__(
        self,
        settings: Settings,
        command: str,
        *,
        observe: Callable[[Record], None] | None = None,
        schema: str | None = None,
        newcomer: Literal["add", "refuse", "ignore"] | None = None,
        standby: bool = False,
        owner: bool = False,
    ) -> None:
        self._actor = settings.user
        self._owner = owner
        self._newcomer = newcomer or ("add" if settings.embedded else "refuse")
        self._standby = standby
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
        if self._standby and not operation.read_only:
            raise Bug(f"{operation.name} writes, and was to run on a standby")

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
            self._connection = connect(
                self._settings, self._command, standby=self._standby, owner=self._owner
            )
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
            record.outcome = _outcome(error)
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
        connection = self._connected(record)
        try:
            try:
                tx, result = self._work(connection, operation, record, work)
            except Outdated as old:
                _roll_back(connection, record)
                if not self._settings.embedded or self._standby or self._schema is not None:
                    raise schema_mismatch(old.found, standby=self._standby) from None
                # The embedded schema is Concord's own affair: bring it up to date and begin again.
                from concord.migrate import upgrade

                upgrade(self._settings)
                tx, result = self._work(connection, operation, record, work)
        except _RETRYABLE:
            _roll_back(connection, record)
            raise
        except Outdated as old:
            _roll_back(connection, record)
            raise schema_mismatch(old.found) from None
        except (psycopg.Error, UnicodeEncodeError) as error:
            _roll_back(connection, record)
            raise translate(error) from error
        except BaseException:
            _roll_back(connection, record)
            raise
        if tx.to_commit:
            self._commit(connection, operation, record)
        return result

    def _work(
        self,
        connection: Connection,
        operation: Operation[P, R],
        record: Record,
        work: Callable[[Transaction], R],
    ) -> tuple[Transaction, R]:
        """Run an operation up to its COMMIT. Raises `Outdated`."""
        together = True
        while True:
            opening = self._opening(operation)
            try:
                return _worked(Transaction(connection, opening, record, together=together), work)
            except Known as found:
                _roll_back(connection, record)
                self._be(found.actor)
            except Entangled:
                _roll_back(connection, record)
                # One by one, the first thing that is wrong is told, as if it had been looked for.
                together = False

    def _be(self, actor: str) -> None:
        """Act as the one whom the database knows by the login.

        Raises `Forbidden` if somebody else was named.
        """
        source = self._settings.provenance["user"]
        if self._actor != self._settings.user or source != "default":
            raise Forbidden(
                f"the database knows you as {actor}, and does not let you act as {self._actor}",
                hint=f"Do not name anybody else ({source}).",
                user=self._actor,
                known_as=actor,
            )
        self._actor = actor

    def _opening(self, operation: Operation[P, R]) -> Opening:
        settings = self._settings
        return Opening(
            operation.isolation,
            operation.read_only,
            {
                "actor": self._actor,
                "operation": self._command,
                "schema": self._schema,
                "held": self._schema is None and not self._owner,
                "writes": not operation.read_only,
                "lock_timeout": str(settings.lock_timeout),
                "statement_timeout": str(settings.statement_timeout),
                "idle_timeout": str(settings.idle_in_transaction_session_timeout),
            },
            self._newcomer,
            SCHEMA_HEAD,
        )

    def _connected(self, record: Record) -> Connection:
        before = self._connection
        connection = self.connection()
        record.connects += connection is not before
        return connection

    def _commit(self, connection: Connection, operation: Operation[P, R], record: Record) -> None:
        started = time.perf_counter()
        warned: list[str] = []
        try:
            with outcome.warnings(connection) as warned:
                tag = connection.execute("COMMIT").statusmessage
        except _RETRYABLE:
            raise
        except (pg.OperationalError, pg.InterfaceError) as error:
            if not connection.closed or operation.read_only:
                raise translate(error) from error
            outcome.decide(self._settings, self._command, self._schema, record, started, error)
        except psycopg.Error as error:
            raise translate(error) from error
        else:
            require_commit(operation.name, tag)
            if warned:
                raise outcome.doubtful(record, warned[0])
        finally:
            record.waited([("COMMIT", 0)], time.perf_counter() - started)


def _outcome(error: BaseException) -> str:
    if isinstance(error, _RETRYABLE):
        return "retry"
    # The log is asked for these later, by `concord doctor --unknown`.
    return "unknown" if isinstance(error, CommitUnknown) else "failed"


def schema_mismatch(found: str | None, *, standby: bool = False) -> SchemaMismatch:
    """Return the error for a database of another schema revision than this code's."""
    what = "standby" if standby else "database"
    return SchemaMismatch(
        f"the {what} is not initialised for Concord"
        if found is None
        else f"the {what} has schema {found}, this Concord needs {SCHEMA_HEAD}",
        hint="It follows the primary, and may not be so far yet: try again, or without --replica."
        if standby
        else "Run: concord init",
        found=found,
        expected=SCHEMA_HEAD,
    )


def _worked(tx: Transaction, work: Callable[[Transaction], R]) -> tuple[Transaction, R]:
    result = work(tx)
    tx.finish()
    return tx, result


def _roll_back(connection: Connection, record: Record) -> None:
    if connection.closed or connection.info.transaction_status is TransactionStatus.IDLE:
        return
    started = time.perf_counter()
    try:
        connection.execute("ROLLBACK")
    except psycopg.Error:
        # The connection is of no more use, and the server rolls back when it goes.
        connection.close()
    finally:
        record.waited([("ROLLBACK", 0)], time.perf_counter() - started)
