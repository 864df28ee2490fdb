"""An open transaction, and how its statements share round trips.

What costs a command its time is waiting for the server, so statements are sent together where
nobody has to look at one's answer before the next can be written. `Transaction.execute` and
`Transaction.check` put a statement in a queue; the next one whose answer is needed takes the queue
along, in one message, and the first of all takes BEGIN. The server runs them one after the other
and stops at the first that fails; answers are looked at in the same order.

A transaction that only reads at READ COMMITTED promises nothing from one statement to the next,
because each has a snapshot of its own. So its COMMIT goes along as well, and what is asked after
that begins another one. COMMIT of one that writes always goes alone: if its answer is lost, only
the transaction's id, which has been learned by then, can tell what became of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias, TypeVar, cast

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import args_row, scalar_row, tuple_row

from concord.errors import Bug, NotFound
from concord.records import Isolation
from concord.translation import takes_no_writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from psycopg.rows import RowFactory

    from concord.connections import Connection
    from concord.records import Record

Row = TypeVar("Row")
Params: TypeAlias = "Sequence[Any] | Mapping[str, Any]"
Query = LiteralString | sql.SQL | sql.Composed

_BEGIN: dict[tuple[Isolation, bool], LiteralString] = {
    (Isolation.READ_COMMITTED, False): "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;",
    (Isolation.READ_COMMITTED, True): "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;",
    (Isolation.REPEATABLE_READ, False): "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE;",
    (Isolation.REPEATABLE_READ, True): "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;",
    (Isolation.SERIALIZABLE, False): "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE;",
    (Isolation.SERIALIZABLE, True): "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;",
}

# Everything is local to the transaction, so a pooler that hands out connections by the
# transaction does not leak one user's identity or time-outs into another's. Tasks in use are in
# memory, where a page costs the same wherever it lies: told so, the planner takes the index to a
# few rows instead of reading all older ones in order. A session that could pass over row-level
# security, such as the owner's, works as a role that cannot.
_SETTLE: LiteralString = """
SELECT set_config('concord.actor', %(actor)s, true),
       set_config('concord.operation', %(operation)s, true),
       set_config('TimeZone', 'UTC', true),
       set_config('jit', 'off', true),
       set_config('random_page_cost', '1.1', true),
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_timeout)s, true),
       set_config('role', CASE
           WHEN %(held)s AND to_regproc('may_name_actor') IS NOT NULL
               AND pg_has_role(to_regrole('concord_service'), 'MEMBER')
           THEN 'concord_service' ELSE current_setting('role') END, true);
"""

SEARCH_PATH: LiteralString = "SELECT set_config('search_path', %(schema)s, true);"

_WHOAMI: LiteralString = """
SELECT (SELECT version_num FROM alembic_version),
       current_actor(),
       (SELECT id FROM users WHERE lower(username) = lower(current_actor())),
       CASE WHEN %(writes)s THEN pg_current_xact_id()::text END,
       clock_timestamp();
"""

# Before anything else of the transaction, so that what follows need not be done twice. Two first
# commands at once: the later waits on the unique index, then finds the user.
_ADD_ACTOR: LiteralString = """
-- add_actor: whoever uses the embedded server for the first time
INSERT INTO users (username)
SELECT %(actor)s WHERE NOT EXISTS (SELECT FROM users WHERE lower(username) = lower(%(actor)s))
ON CONFLICT (lower(username)) DO NOTHING;
"""


_UNKNOWN = (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction)
"""What the opening meets where there is no schema."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a transaction begins. `params` are those of the statements above.

    `newcomer` says what becomes of an actor whom the database does not know.
    """

    isolation: Isolation
    read_only: bool
    params: Mapping[str, Any]
    newcomer: str
    head: str

    @property
    def scoped(self) -> bool:
        """Whether it works in a schema of its own."""
        return self.params["schema"] is not None


class Outdated(Exception):
    """The schema has another revision than this code's: nothing was done yet."""

    def __init__(self, found: str | None) -> None:
        super().__init__(found)
        self.found = found


class Known(Exception):
    """The database knows by the login who acts: nothing was done yet in anybody's name."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor)
        self.actor = actor


class Entangled(Exception):
    """Something is wrong, and what it is cannot be asked, because a later statement failed too."""


@dataclass(slots=True)
class _Asked:
    """A statement on its way: what to do with its answer, and whether it is told by itself."""

    query: Query
    params: Params | None = None
    factory: RowFactory[Any] = tuple_row
    look: Callable[[psycopg.Cursor[Any]], object] | None = None
    told: str | None = None
    cursor: psycopg.Cursor[Any] | None = None

    @property
    def answer(self) -> psycopg.Cursor[Any] | None:
        """The cursor with its answer; `None` if there is none."""
        return self.cursor if self.cursor is not None and self.cursor.pgresult else None


class Transaction:
    """A transaction. Operations speak to the database through it and nothing else.

    Unless `together`, each statement goes alone.
    """

    def __init__(
        self,
        connection: Connection,
        opening: Opening,
        record: Record,
        *,
        together: bool = True,
    ) -> None:
        self._connection = connection
        self._opening = opening
        self._record = record
        self._together = together
        self._queue: list[_Asked] = []
        self._actor_id: int | None = None
        self._open = self._seen = self._last = False
        # What is read at READ COMMITTED is committed with the statements that read it.
        self._trip_by_trip = opening.read_only and opening.isolation is Isolation.READ_COMMITTED
        self.actor: str = opening.params["actor"]

    @property
    def actor_id(self) -> int:
        """The id of the acting user. A statement that looks for them itself saves a round trip.

        Raises `NotFound` for someone the embedded server has not met, in a read-only operation.
        """
        self._begin()
        if self._actor_id is None:
            raise unknown_actor(self.actor)
        return self._actor_id

    @property
    def xid(self) -> str | None:
        """The transaction id (`xid8`) of an operation that writes."""
        self._begin()
        return self._record.xid

    @property
    def to_commit(self) -> bool:
        """Whether COMMIT is still to be sent."""
        return self._open

    def execute(self, query: Query, params: Params | None = None) -> None:
        """Run a statement no later than the next one whose answer is needed, before that one.

        If it fails, that one raises its error; at the latest, the end of the operation does.
        """
        self._put(_Asked(query, params))

    def check(
        self,
        query: Query,
        params: Params | None,
        look: Callable[[tuple[Any, ...]], object],
        *,
        shape: Callable[..., Any] | None = None,
    ) -> None:
        """Run a query as `execute` does, and pass its rows to `look`.

        They are the first column alone, unless there is a `shape` for all columns. `look` raises
        if what it sees forbids to go on. Statements that were to come after it may have run by
        then; none of them is committed.
        """

        def looked(cursor: psycopg.Cursor[Any]) -> None:
            look(tuple(cursor.fetchall()))

        factory = scalar_row if shape is None else args_row(shape)
        self._put(_Asked(query, params, factory, looked))

    def changed(self, query: Query, params: Params | None = None) -> int:
        """Run a statement and return the number of rows it touched."""
        return self._ask(query, params, tuple_row).rowcount

    def rows(
        self, query: Query, params: Params | None, shape: Callable[..., Row]
    ) -> tuple[Row, ...]:
        """Run a query and return each row as `shape(*columns)`."""
        return tuple(self._ask(query, params, args_row(shape)).fetchall())

    def row(self, query: Query, params: Params | None, shape: Callable[..., Row]) -> Row | None:
        """Run a query and return its first row as `shape(*columns)`, `None` without one."""
        return self._ask(query, params, args_row(shape)).fetchone()

    def scalars(self, query: Query, params: Params | None = None) -> tuple[Any, ...]:
        """Run a query and return the first column of all rows."""
        return tuple(self._ask(query, params, scalar_row).fetchall())

    def scalar(self, query: Query, params: Params | None = None) -> Any:
        """Run a query and return the first column of its first row, `None` without one."""
        return self._ask(query, params, scalar_row).fetchone()

    def later(
        self, query: Query, params: Params | None, shape: Callable[..., Row]
    ) -> Callable[[], tuple[Row, ...]]:
        """Run a query as `execute` does; what is returned gives its rows when it is called."""
        asked = _Asked(query, params, args_row(shape))
        self._put(asked)

        found: list[tuple[Row, ...]] = []

        def rows() -> tuple[Row, ...]:
            if not found:
                if asked in self._queue:
                    self.flush()
                assert asked.cursor is not None
                found.append(tuple(asked.cursor.fetchall()))
            return found[0]

        return rows

    def last(self) -> None:
        """Say that what an operation that only reads has to see at one moment ends here.

        COMMIT goes along with the next round trip. What is asked after that sees a later moment.
        """
        assert self._opening.read_only, "COMMIT of what writes goes alone"
        self._last = True

    def copy(self, query: LiteralString, rows: Iterable[Sequence[Any]]) -> int:
        """Send rows with COPY … FROM STDIN and return how many there were."""
        self._begin()
        self.flush()
        started = time.perf_counter()
        with self._connection.cursor() as cursor:
            with cursor.copy(query) as copy:
                for row in rows:
                    copy.write_row(row)
            count = cursor.rowcount
        # The server says that it is ready for the rows, and that it has them.
        self._record.round_trips += 1
        self._record.waited([(query, count)], time.perf_counter() - started)
        return count

    def flush(self) -> None:
        """Send what is in the queue, if anything, and look at the answers.

        Raises what those who look raise, and `psycopg.Error` of the first statement that failed.
        """
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        if not self._open:
            queue = [*self._opened_by(), *queue]
        if self._trip_by_trip or self._last:
            queue.append(_Asked("COMMIT", look=self._committed))
        self._exchange(queue)

    def finish(self) -> None:
        """Send what is left to send before COMMIT; nothing at all was asked if it opens now."""
        self.flush()
        if not self._seen:
            self._begin()

    def _put(self, asked: _Asked) -> None:
        self._queue.append(asked)
        if not self._together:
            self.flush()

    def _begin(self) -> None:
        """Open the transaction, if nothing has done so yet."""
        if not self._seen and not self._queue:
            queue = self._opened_by()
            if self._trip_by_trip:
                queue.append(_Asked("COMMIT", look=self._committed))
            self._exchange(queue)
        elif not self._seen:
            self.flush()

    def _ask(
        self, query: Query, params: Params | None, factory: RowFactory[Any]
    ) -> psycopg.Cursor[Any]:
        asked = _Asked(query, params, factory)
        self._queue.append(asked)
        self.flush()
        assert asked.cursor is not None
        return asked.cursor

    def _opened_by(self) -> list[_Asked]:
        params, told = self._opening.params, self._told_opening()
        begin = _BEGIN[self._opening.isolation, self._opening.read_only]
        parts = [_Asked(begin, told=told), _Asked(_SETTLE, params, told="")]
        if self._opening.scoped:
            parts.append(_Asked(SEARCH_PATH, params, told=""))
        if self._adds:
            parts.append(_Asked(_ADD_ACTOR, params, told=""))
        parts.append(_Asked(_WHOAMI, params, look=self._met, told=""))
        self._record.begun = time.perf_counter()
        self._open = True
        return parts

    def _told_opening(self) -> str:
        """Return as one what opens a transaction."""
        begin = _BEGIN[self._opening.isolation, self._opening.read_only]
        path = SEARCH_PATH if self._opening.scoped else ""
        return begin + _SETTLE + path + (_ADD_ACTOR if self._adds else "") + _WHOAMI

    @property
    def _adds(self) -> bool:
        return self._opening.newcomer == "add" and not self._opening.read_only

    def _exchange(self, queue: list[_Asked]) -> None:
        started = time.perf_counter()
        try:
            error = _send(self._connection, queue)
        finally:
            self._note(queue, time.perf_counter() - started)
        for asked in queue:
            if (answer := asked.answer) is None:
                assert error is not None, "a statement without an answer or an error"
                # What a standby answers to a BEGIN that says READ WRITE or SERIALIZABLE.
                if asked.query in _BEGIN.values() and isinstance(error, pg.FeatureNotSupported):
                    raise takes_no_writes(error) from error
                # Not a statement of the operation, but one that opens the transaction.
                if asked.told == "" and isinstance(error, _UNKNOWN):
                    raise Outdated(None) from error
                raise error
            if asked.look is not None:
                try:
                    asked.look(answer)
                except pg.InFailedSqlTransaction:
                    raise Entangled from error
        if error is not None:
            raise error

    def _note(self, queue: list[_Asked], seconds: float) -> None:
        told: list[tuple[str, int]] = []
        failed = False
        for asked in queue:
            if failed:  # the server passed over the rest
                break
            failed = asked.answer is None
            if asked.told != "":
                text = asked.told or _text(asked.query, self._connection)
                told.append((text, asked.cursor.rowcount if asked.cursor is not None else -1))
        self._record.waited(told, seconds)

    def _met(self, cursor: psycopg.Cursor[Any]) -> None:
        """Look at the answer to `_WHOAMI`."""
        row = cast("tuple[str, str, int | None, str | None, datetime] | None", cursor.fetchone())
        assert row is not None
        self._seen = True
        revision, actor, self._actor_id, self._record.xid, self._record.begun_at = row
        if revision != self._opening.head:
            raise Outdated(revision)
        if actor.lower() != self.actor.lower():
            raise Known(actor)
        if self._actor_id is None and self._opening.newcomer == "refuse":
            raise unknown_actor(self.actor)

    def _committed(self, cursor: psycopg.Cursor[Any]) -> None:
        require_commit(self._record.operation, cursor.statusmessage)
        self._open = False


def require_commit(operation: str, tag: str | None) -> None:
    """Raise `Bug` unless the server answered COMMIT with the tag `COMMIT`."""
    if tag != "COMMIT":
        # The server turns COMMIT of an aborted transaction into ROLLBACK, without error.
        raise Bug(
            f"{operation}: the server answered COMMIT with {tag}; nothing was written",
            hint="An error inside the operation was swallowed: please report this.",
        )


def unknown_actor(name: str) -> NotFound:
    """Return the error for someone the database does not know."""
    return NotFound(
        f"you are {name!r}, and no such user exists",
        hint=f"Anyone who is a user already can add you: concord user add {name}; "
        "or say who you are with --as NAME.",
        user=name,
    )


def _send(
    connection: Connection, queue: Sequence[_Asked]
) -> psycopg.Error | UnicodeEncodeError | None:
    """Send statements in one message and wait for all answers; return the first error."""
    for asked in queue:
        asked.cursor = connection.cursor(row_factory=asked.factory)
    if len(queue) == 1:
        return _execute(queue[0])
    failure = interrupted = None
    try:
        with connection.pipeline():
            # Caught here, or the pipeline's end would complain of what it could not do.
            try:
                for asked in queue:
                    if failure := _execute(asked):
                        break
            except KeyboardInterrupt as error:
                # The end waits for all answers, as long as others hold what a statement waits for.
                interrupted = error
                connection.cancel_safe()
    except Exception as error:
        # What was interrupted in the midst of a message may be out of step with the server, and the
        # driver then complains of that instead.
        interrupted = interrupted or _interruption(error)
        if interrupted is None:
            if not isinstance(error, psycopg.Error):
                raise
            failure = failure or error
    if interrupted is not None:
        connection.close()
        raise interrupted
    return failure


def _interruption(error: BaseException) -> KeyboardInterrupt | None:
    """Return the Ctrl-C during whose handling an error came up, if there was one."""
    before = error.__context__
    while before is not None and not isinstance(before, KeyboardInterrupt):
        before = before.__context__
    return before


def _execute(asked: _Asked) -> psycopg.Error | UnicodeEncodeError | None:
    assert asked.cursor is not None
    try:
        asked.cursor.execute(asked.query, asked.params)
    except (psycopg.Error, UnicodeEncodeError) as error:
        return error
    return None


def _text(query: Query, connection: Connection) -> str:
    return query if isinstance(query, str) else query.as_string(connection)
