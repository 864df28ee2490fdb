"""Users of one database at the same time: each with a connection and a thread of its own."""

from __future__ import annotations

from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, Self

import psycopg
from conftest import settings_for
from steps import Observer, Session

from concord.database import Database, Operation, Record

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Literal, LiteralString

    from concord.database import Transaction
    from concord.settings import Settings

    Newcomer = Literal["add", "refuse", "ignore"] | None


class Gate:
    """A lock at which an operation waits, seen by PostgreSQL, until the test opens it."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._key = {"key": self._connection.info.backend_pid}
        self._connection.execute("SELECT pg_advisory_lock(%(key)s)", self._key)

    def wait(self, tx: Transaction) -> None:
        """Make an operation wait here."""
        tx.scalar("SELECT pg_advisory_xact_lock(%(key)s)", self._key)

    def before_commit(self, operation: Operation[..., Any]) -> Operation[..., Any]:
        """Return an operation that waits here when all its work is done."""

        @wraps(operation.body)
        def body(tx: Transaction, *args: Any, **kwargs: Any) -> Any:
            result = operation(tx, *args, **kwargs)
            self.wait(tx)
            return result

        return Operation(body, operation.isolation, operation.read_only)

    def open(self) -> None:
        """Let everybody through, for good."""
        self._connection.execute("SELECT pg_advisory_unlock_all()")

    def close(self) -> None:
        """Open it and give back its connection."""
        self._connection.close()


class Worker:
    """A user of the database. `records` holds each attempt at a transaction."""

    def __init__(self, observer: Observer, settings: Settings, newcomer: Newcomer) -> None:
        self.records: list[Record] = []
        self.database = Database(settings, "test", observe=self.records.append, newcomer=newcomer)
        pid = self.database.connection().info.backend_pid
        self.session = Session(observer, pid, self.database.close)

    def run(self, operation: Operation[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Start an operation; return once it is done or blocked by another session."""
        return self.session.send(self.database.run, operation, *args, **kwargs)

    def waits_for(self, other: Worker) -> bool:
        """Whether a statement of this worker waits for the other one's transaction now."""
        return self.session.blocked_by(other.session)

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        """Outcome and SQLSTATE of each attempt so far."""
        return [(record.outcome, record.sqlstate) for record in self.records]


class Workers:
    """The workers and gates of one test; the gates open and everything closes at its end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._workers = ExitStack()
        self._gates = ExitStack()
        self._observer = self._workers.enter_context(Observer(url))

    def worker(self, user: str = "ana", newcomer: Newcomer = None, **flags: str) -> Worker:
        """Return a new worker; `flags` are settings."""
        made = Worker(self._observer, settings_for(self._url, user=user, **flags), newcomer)
        self._workers.callback(made.session.close)
        return made

    def patient(self, user: str) -> Worker:
        """Return a new worker with time-outs that no test reaches."""
        return self.worker(user, lock_timeout="8h", statement_timeout="8h", retries="999")

    def gate(self) -> Gate:
        """Return a new gate, shut."""
        made = Gate(self._url)
        self._gates.callback(made.close)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gates.close()
        self._workers.close()


def psql(url: str, query: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement as somebody would in psql, without Concord, and return its rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def await_end_of(observer: psycopg.Connection[Any], pid: int) -> None:
    """Return once a backend is gone, its transaction rolled back."""
    for _ in range(1_000_000):
        if not observer.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).rowcount:
            return
    raise AssertionError(f"backend {pid} is still there")
