"""One connection that takes a step, and says later what became of it."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from concord.errors import Contention
from concord.race.interleaving.events import Result

if TYPE_CHECKING:
    from psycopg.errors import Diagnostic
    from psycopg.pq.abc import PGresult

    from concord.connections import Connection

PATIENCE_SECONDS = 30.0
"""How long a step may be neither done nor blocked by a session of the spec."""

CANCEL_SECONDS = 5.0
"""How long a statement may take to notice that it is cancelled."""

_CONNECTION_FAILURE = "08006"
_IDLE = pq.TransactionStatus.IDLE
_ERRORS = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step came to: results in order, then at most one error.

    `position` is the character of the SQL that the error is about, from 1.
    """

    results: tuple[Result, ...] = ()
    sqlstate: str | None = None
    message: str | None = None
    position: int | None = None


class Session:
    """A session of a spec. `pid` is its backend's, `notices` all it was told so far."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self.pid = connection.info.backend_pid
        self.notices: list[str] = []
        self.busy = False
        self.connection = connection
        self._results: list[Result] = []
        self._error: Answer | None = None
        connection.add_notice_handler(self._note)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self.connection.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open that can go on. False while a step is under way."""
        status = self.connection.pgconn.transaction_status
        return not self.busy and status == pq.TransactionStatus.INTRANS

    @property
    def failed(self) -> bool:
        """Whether a transaction is open that has failed: only ROLLBACK is left to it."""
        status = self.connection.pgconn.transaction_status
        return not self.busy and status == pq.TransactionStatus.INERROR

    def send(self, sql: str) -> None:
        """Send SQL, several statements if need be, and return at once."""
        self._results, self._error = [], None
        pgconn = self.connection.pgconn
        # The text is the author's own, sent as it stands: there is nothing to put into it.
        pgconn.send_query(sql.encode())
        while pgconn.flush():
            select.select([], [pgconn.socket], [])
        self.busy = True

    def answer(self, seconds: float) -> Answer | None:
        """Return what the step came to, `None` if it is not done within that time."""
        pgconn = self.connection.pgconn
        deadline = time.monotonic() + seconds
        while True:
            ready = select.select([pgconn.socket], [], [], max(0.0, deadline - time.monotonic()))[0]
            try:
                pgconn.consume_input()
                finished = self._take_results()
            except psycopg.OperationalError as error:
                self._take_last_words(error)
                finished = True
            if finished:
                self.busy = False
                failed = self._error or Answer()
                return Answer(
                    tuple(self._results), failed.sqlstate, failed.message, failed.position
                )
            if not ready:
                return None

    def run(self, sql: str) -> Answer:
        """Send SQL and wait for the answer. Raises `Contention` if it does not come in time."""
        self.send(sql)
        answer = self.answer(PATIENCE_SECONDS)
        if answer is None:
            self.release()
            raise Contention(
                f"session {self.name} waits for more than {PATIENCE_SECONDS:.0f} s: {sql}",
                hint="Only steps may wait for each other.",
            )
        return answer

    def release(self) -> None:
        """Cancel the step that is under way, if any, and end the transaction.

        Raises `Contention` if the server does not let go of it.
        """
        if self.busy and not self.lost:
            self.connection.cancel_safe(timeout=CANCEL_SECONDS)
            if self.answer(CANCEL_SECONDS) is None:
                raise Contention(f"session {self.name} did not end, although it was cancelled")
        if not self.lost and self.connection.pgconn.transaction_status != _IDLE:
            self.run("ROLLBACK")

    def close(self) -> None:
        """End the session, whatever it is doing."""
        if self.busy and not self.lost:
            # A backend that waits for a lock does not notice that its client is gone.
            self.connection.cancel_safe(timeout=CANCEL_SECONDS)
        self.connection.close()

    def _take_results(self) -> bool:
        pgconn = self.connection.pgconn
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                return True
            match result.status:
                case pq.ExecStatus.COPY_IN:
                    pgconn.put_copy_end(b"a step has no data to send")
                case pq.ExecStatus.COPY_OUT:
                    while pgconn.get_copy_data(0)[0] > 0:
                        pass
                case _:
                    self._take(result)
        return False

    def _take(self, result: PGresult) -> None:
        if result.status in _ERRORS:
            # The first says why; what may follow only says that the connection is gone.
            self._error = self._error or Answer(
                sqlstate=_field(result, pq.DiagnosticField.SQLSTATE) or _CONNECTION_FAILURE,
                message=_field(result, pq.DiagnosticField.MESSAGE_PRIMARY)
                or " ".join(result.error_message.decode(errors="replace").split()),
                position=int(_field(result, pq.DiagnosticField.STATEMENT_POSITION) or 0) or None,
            )
        elif tag := (result.command_status or b"").decode():
            columns = range(result.nfields)
            self._results.append(
                Result(
                    tag,
                    tuple((result.fname(column) or b"").decode() for column in columns),
                    tuple(
                        tuple(_text(result.get_value(row, column)) for column in columns)
                        for row in range(result.ntuples)
                    ),
                )
            )

    def _take_last_words(self, error: psycopg.OperationalError) -> None:
        while (result := self.connection.pgconn.get_result()) is not None:
            self._take(result)
        self.connection.close()
        self._error = self._error or Answer(
            sqlstate=_CONNECTION_FAILURE, message=" ".join(str(error).split())
        )

    def _note(self, notice: Diagnostic) -> None:
        self.notices.append(f"{notice.severity}: {notice.message_primary}")


def _field(result: PGresult, field: pq.DiagnosticField) -> str | None:
    return _text(result.error_field(field))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
