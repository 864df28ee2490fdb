"""Whether the server does what Concord relies on, found out by doing it, in a scratch schema.

A server may say that it is PostgreSQL and behave otherwise. So nothing here goes by a version: each
probe does the thing itself, alone or in two sessions, and is taken back. What two sessions have to
see is committed to the scratch schema, which goes at the end. Nobody ever waits long: time-outs of
each transaction see to that.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString, NamedTuple

import psycopg

from concord.sql import scratch
from concord.sql.engine_scripts import SCRIPTS
from concord.sql.engine_steps import READ_COMMITTED, STEPS, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Self

    from concord.connections import Connection
    from concord.sql.engine_scripts import Script
    from concord.sql.engine_steps import Steps

SHARED: LiteralString = """
-- probe_shared: what two sessions contend for
CREATE TABLE probe_shared (
    id integer PRIMARY KEY, value integer CONSTRAINT probe_shared_positive CHECK (value > 0)
);
INSERT INTO probe_shared VALUES (1, 1), (2, 1);
"""

FORGET: LiteralString = """
-- probe_forget: so that the next probe begins anew
DROP TABLE IF EXISTS probe_shared
"""


class Fault(NamedTuple):
    """What is wrong with a thing that was tried. `denied`: this role may not try it."""

    reason: str
    denied: bool = False


OTHERWISE = Fault("it behaves otherwise than in PostgreSQL")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found: nothing wrong, unless there is a `fault`."""

    name: str
    needed_by: str
    optional: bool
    fault: Fault | None


def version(connection: Connection) -> str:
    """Return what the server says it is. Raises `psycopg.Error`."""
    (said,) = connection.execute("SELECT version()").fetchone() or ("unknown",)
    return said


def examine(connect: Callable[[], Connection]) -> Iterator[Finding]:
    """Yield what each probe finds, and leave nothing behind. Raises the errors of `connect`."""
    with connect() as owner:
        try:
            schema: str | None = scratch.create(owner)
            missing = None
        except psycopg.Error as error:
            schema, missing = None, _fault(error)
        yield Finding("scratch schema", "demo; most of what is looked into here", False, missing)
        with _Laboratory(connect, schema) as laboratory:
            for script in SCRIPTS:
                fault = missing if missing and not script.bare else laboratory.script(script)
                yield Finding(script.name, script.needed_by, script.optional, fault)
            for steps in STEPS:
                fault = missing or laboratory.steps(steps)
                yield Finding(steps.name, steps.needed_by, False, fault)


class _Laboratory:
    """Two connections, made anew when a probe breaks one. The scratch schema goes with them."""

    def __init__(self, connect: Callable[[], Connection], schema: str | None) -> None:
        self._connect = connect
        self._schema = schema
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._schema is not None:
                scratch.drop(self._sound()[0], self._schema)
        finally:
            for connection in self._connections:
                connection.close()

    def script(self, script: Script) -> Fault | None:
        """Return what is wrong with a script, run and taken back."""
        return self._tried(READ_COMMITTED, lambda one, _: one.run(script.text) is True)

    def steps(self, steps: Steps) -> Fault | None:
        """Return what is wrong with steps, run and taken back, on rows that both can see."""
        try:
            with self._shared():
                return self._tried(steps.begin, steps.run)
        except psycopg.Error as error:
            return _fault(error)

    @contextmanager
    def _shared(self) -> Generator[None]:
        try:
            self._alone(SHARED)
            yield
        finally:
            self._alone(FORGET)

    def _alone(self, statement: LiteralString) -> None:
        session = Session(self._sound()[0], self._schema)
        try:
            session.begin(READ_COMMITTED)
            session.run(statement)
            session.run("COMMIT")
        finally:
            session.end()

    def _tried(self, begin: LiteralString, run: Callable[[Session, Session], bool]) -> Fault | None:
        one, other = (Session(connection, self._schema) for connection in self._sound())
        try:
            one.begin(begin)
            other.begin(begin)
            return None if run(one, other) else OTHERWISE
        except psycopg.Error as error:
            return _fault(error)
        finally:
            one.end()
            other.end()

    def _sound(self) -> list[Connection]:
        """Return the two connections, both usable."""
        self._connections = [each for each in self._connections if not each.closed]
        while len(self._connections) < 2:
            self._connections.append(self._connect())
        return self._connections


def _fault(error: psycopg.Error) -> Fault:
    """Return what the server says, on one line."""
    said = " ".join((error.diag.message_primary or str(error)).split())
    reason = f"{said} ({error.sqlstate})" if error.sqlstate else said
    return Fault(reason, isinstance(error, psycopg.errors.InsufficientPrivilege))
