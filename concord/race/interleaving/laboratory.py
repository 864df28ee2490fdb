"""Where specs are run: a scratch schema, a connection to watch from, and one for each session.

The scratch schema has Concord's tables, built by the real migrations, and is all that the search
path of the sessions holds: a spec that means no other schema by name reaches nothing of the user's.
Tables that a spec makes stand beside Concord's, so they need names of their own; those of the
built-in scenarios begin with `lab_`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from concord.connections import behind_pooler, open_connection
from concord.errors import Usage
from concord.race.interleaving.mvcc import Viewer
from concord.race.interleaving.scheduler import Scheduler
from concord.race.interleaving.session import Session
from concord.scratch import scratch_schema
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from concord.connections import Connection
    from concord.race.interleaving.events import StepEvent
    from concord.race.interleaving.session import Answer
    from concord.race.interleaving.spec import Block, Slot, Spec
    from concord.settings import Settings

# What the server, the role or the database may have set would decide how a run goes: a plain BEGIN
# begins at the level that was asked for, and a step waits as long as whoever looks at it likes to.
PREPARE: LiteralString = """
-- prepare_session: nothing but the scratch schema, the level asked for, and no time-outs
SELECT set_config('search_path', %(schema)s, false),
       set_config('default_transaction_isolation', %(isolation)s, false),
       set_config('default_transaction_deferrable', 'off', false),
       set_config('synchronous_commit', 'off', false),
       set_config('lock_timeout', '0', false),
       set_config('statement_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false)
"""

# One session looks for deadlocks much sooner than the others, so that it is the one that ends, and
# nobody waits a second for it. Only some roles may; for the others the server's own setting does.
LOOK_FOR_DEADLOCKS: LiteralString = """
-- look_for_deadlocks: soon
SELECT set_config('deadlock_timeout', '100ms', false)
"""

FORGET: LiteralString = """
-- forget: all that an earlier run has set, locked or prepared in this session
DISCARD ALL
"""

TABLES: LiteralString = """
-- lab_tables: tables that specs have made, Concord's own apart
SELECT c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind = 'r' AND NOT c.relname = ANY(%(known)s)
ORDER BY c.relname
"""

ROWS = sql.SQL("-- lab_rows: all of a table\nSELECT to_jsonb(t) FROM {} t ORDER BY t")

_TOLERATED = "25P02"
"""A teardown in a transaction that has failed: there is nothing left to tear down."""


class Laboratory:
    """Runs specs in a scratch schema, on connections that it keeps from run to run."""

    def __init__(self, settings: Settings, command: str, schema: str, stack: ExitStack) -> None:
        self._settings = settings
        self._command = command
        self._stack = stack
        self._sessions: list[Session] = []
        self.schema = schema
        self.control = Session("setup", self._connect())
        if behind_pooler(self.control.connection):
            raise Usage(
                "a pooler stands between us and the server, and a scenario needs whole sessions",
                hint="Give the server's own address in CONCORD_DATABASE_URL.",
            )
        self.observer = self._connect()
        self._known = self._tables([])

    @contextmanager
    def stage(self, spec: Spec, isolation: str) -> Generator[Stage]:
        """Set up a run of a spec at an isolation level; tear it down at the end.

        Raises `Usage` for SQL in a setup or teardown that fails, with its place in the spec.
        """
        sessions = {
            one.name: self._session(number, one.name) for number, one in enumerate(spec.sessions)
        }
        for number, session in enumerate((self.control, *sessions.values())):
            self._prepare(session, isolation, last=number == len(sessions))
        try:
            for block in spec.setups:
                _run(self.control, block, spec, "setup")
            for one in spec.sessions:
                if one.setup is not None:
                    _run(sessions[one.name], one.setup, spec, f"setup of session {one.name}")
            yield Stage(self, spec, sessions)
            for one in spec.sessions:
                session = sessions[one.name]
                if session.busy:
                    session.release()
                if one.teardown is not None and not session.lost:
                    _run(session, one.teardown, spec, f"teardown of session {one.name}")
        finally:
            for session in sessions.values():
                session.release()
        if spec.teardown is not None:
            _run(self.control, spec.teardown, spec, "teardown")

    def tables(self) -> list[str]:
        """Return the names of the tables that specs have made."""
        return self._tables(self._known)

    def _tables(self, known: Sequence[str]) -> list[str]:
        found = self.observer.execute(TABLES, {"schema": self.schema, "known": list(known)})
        return [name for (name,) in found.fetchall()]

    def _connect(self) -> Connection:
        connection = open_connection(self._settings, self._command)
        # No rollback first, as its own context would do: it may be in the middle of a statement.
        self._stack.callback(connection.close)
        return connection

    def _session(self, number: int, name: str) -> Session:
        if number == len(self._sessions):
            self._sessions.append(self._new_session(name))
        elif self._sessions[number].lost:
            self._sessions[number] = self._new_session(name)
        session = self._sessions[number]
        session.name = name
        session.notices.clear()
        return session

    def _new_session(self, name: str) -> Session:
        session = Session(name, open_connection(self._settings, self._command))
        self._stack.callback(session.close)
        return session

    def _prepare(self, session: Session, isolation: str, *, last: bool) -> None:
        connection = session.connection
        session.release()
        connection.execute(FORGET)
        connection.execute(PREPARE, {"schema": self.schema, "isolation": isolation})
        if last:
            with suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute(LOOK_FOR_DEADLOCKS)


class Stage:
    """A spec that is set up: its sessions, by name, are ready for a permutation."""

    def __init__(self, lab: Laboratory, spec: Spec, sessions: Mapping[str, Session]) -> None:
        self._lab = lab
        self._spec = spec
        self.sessions = sessions

    def play(self, permutation: Sequence[Slot]) -> Iterator[tuple[StepEvent, ...]]:
        """Run a permutation and yield what happens, step by step.

        Raises `Contention` and `Refused`.
        """
        patient = self._spec.sets_timeouts
        return Scheduler(self.sessions, self._lab.observer, patient).run(permutation)

    def viewer(self) -> Viewer:
        """Return what shows the row versions of the spec's tables."""
        return Viewer(self._lab.observer, self._lab.schema, self._lab.tables(), self.sessions)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return the committed rows of the spec's tables, by table, in order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name in self._lab.tables():
            query = ROWS.format(sql.Identifier(self._lab.schema, name))
            found[name] = [row for (row,) in self._lab.observer.execute(query).fetchall()]
        return found


@contextmanager
def laboratory(settings: Settings, command: str) -> Generator[Laboratory]:
    """Yield a laboratory in a scratch schema of its own, which is gone afterwards.

    Raises `ConcordError`; what the server refuses outside of steps is translated.
    """
    with scratch_schema(settings, command) as schema:
        try:
            with ExitStack() as stack:
                yield Laboratory(settings, command, schema, stack)
        except psycopg.Error as error:
            raise translate(error) from error


def _run(session: Session, block: Block, spec: Spec, what: str) -> None:
    answer = session.run(block.sql)
    if answer.sqlstate is not None and (what == "setup" or answer.sqlstate != _TOLERATED):
        raise _failed(answer, block, spec, what)


def _failed(answer: Answer, block: Block, spec: Spec, what: str) -> Usage:
    line, column = block.line, block.column
    if answer.position is not None:
        before = block.sql[: answer.position - 1]
        line += before.count("\n")
        column = len(before.rpartition("\n")[2]) + (column if "\n" not in before else 1)
    return Usage(
        f"{spec.name}:{line}:{column}: {what} failed: {answer.message} ({answer.sqlstate})",
        hint="A run begins in an empty scratch schema, beside Concord's own tables.",
        file=spec.name,
        line=line,
        column=column,
        sqlstate=answer.sqlstate,
    )
