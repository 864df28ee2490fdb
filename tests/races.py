"""Races: what they leave behind, and the ground for a race that a test runs itself."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql
from workers import psql

from concord.connections import open_connection
from concord.race import attempts, ledger
from concord.race.clock import Clock
from concord.race.ledger import USE_SCHEMA
from concord.race.plan import FIXED_ISOLATION, READ_COMMITTED
from concord.race.session import Session
from concord.race.values import Value
from concord.race.worker import Job, Worker
from concord.scratch import scratch_schema

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import psycopg

    from concord.settings import Settings

SCHEMAS: LiteralString = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'concord%'"

SESSIONS: LiteralString = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'concord race %'"
)

FAIL: LiteralString = """
CREATE SEQUENCE failures;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A sequence remembers what is rolled back.
    IF nextval('failures') <= TG_ARGV[0]::integer THEN
        RAISE EXCEPTION 'the test says no' USING ERRCODE = TG_ARGV[1];
    END IF;
    RETURN NEW;
END $$
"""

AT_ONCE: LiteralString = """
CREATE TRIGGER fail BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION fail({}, {})
"""

AT_COMMIT: LiteralString = """
CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION fail({}, {})
"""


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of_type(events: list[dict[str, Any]], kind: str, race: int) -> list[dict[str, Any]]:
    """Return the events of one type and race."""
    return [event for event in events if event["type"] == kind and event["race"] == race]


def left_behind(url: str) -> list[tuple[Any, ...]]:
    """Return the scratch schemas that there are."""
    return psql(url, SCHEMAS)


def polled(connection: psycopg.Connection[Any], query: Any, *parameters: Any) -> list[Any]:
    """Return the first column of a query's rows as soon as it has any."""
    for _ in range(100_000):
        if rows := connection.execute(query, parameters or None).fetchall():
            return [row[0] for row in rows]
    raise AssertionError(f"never came true: {query}")


@dataclass
class Racer:
    """A worker in this very process, and what it has logged."""

    worker: Worker
    number: int
    path: Path
    told: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    @property
    def log(self) -> list[dict[str, Any]]:
        return list(attempts.unpacked(self.path, self.number))

    @property
    def outcomes(self) -> list[tuple[int, int, str, str | None]]:
        """Operation, retry, outcome and SQLSTATE of each attempt so far."""
        return [(one["op_id"], one["retry"], one["outcome"], one["sqlstate"]) for one in self.log]


@dataclass(frozen=True)
class Ground:
    """A scratch schema with tasks to race for."""

    settings: Settings
    schema: str
    scenario: str
    field: ledger.Field
    racers: dict[str, int]
    workers: int
    value: Value
    home: Path

    def job(
        self, strategy: str, worker: int = 0, settings: Settings | None = None, **changes: Any
    ) -> Job:
        """Return what a worker is to do: one operation, unless told otherwise."""
        racer = f"racer{worker + 1}"
        job = Job(
            settings or self.settings,
            self.schema,
            f"race {self.schema}/{worker}",
            "demo race",
            self.scenario,
            strategy,
            FIXED_ISOLATION.get(strategy, READ_COMMITTED),
            worker,
            self.workers,
            racer,
            self.racers[racer],
            self.field.project,
            self.field.key,
            self.field.tasks,
            1,
            self.value,
            ops=1,
            duration=None,
            think=0.0,
            retries=1000,
            seed="1",
            clock=Clock.set_now(),
            log=self.home / f"{strategy}-{worker}.pickle",
        )
        return replace(job, **changes)

    @contextmanager
    def racer(
        self, strategy: str, worker: int = 0, settings: Settings | None = None, **changes: Any
    ) -> Generator[Racer]:
        """Yield a worker of this process, connected."""
        job = self.job(strategy, worker, settings, **changes)
        told: list[tuple[str, Any]] = []
        with job.log.open("ab", buffering=0) as file:
            made = Worker(job, file.write, told.append)
            try:
                yield Racer(made, worker, job.log, told)
            finally:
                made.close()

    def session(self, settings: Settings | None = None, *, deadlocks: bool = False) -> Session:
        """Return a worker's connection."""
        return Session(
            settings or self.settings,
            "race test/0",
            self.schema,
            "demo race",
            Clock.set_now(),
            deadlocks=deadlocks,
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the ledger."""
        with self._connection() as connection:
            return list(ledger.rows(connection))

    def values(self) -> list[str]:
        """Return what the tasks hold."""
        with self._connection() as connection:
            return [task.description for task in ledger.tasks(connection, self.field)]

    def execute(self, *statements: LiteralString) -> None:
        """Run statements in the schema, as somebody else."""
        with self._connection() as connection:
            for statement in statements:
                connection.execute(statement)

    def fail(self, times: int, sqlstate: str, *, at_commit: bool = False) -> None:
        """Let the next changes of tasks fail, so many times."""
        query = AT_COMMIT if at_commit else AT_ONCE
        arguments = sql.Literal(str(times)), sql.Literal(sqlstate)
        with self._connection() as connection:
            connection.execute(FAIL)
            connection.execute(sql.SQL(query).format(*arguments))

    @contextmanager
    def _connection(self) -> Generator[Any]:
        with open_connection(self.settings, "test") as connection, connection.transaction():
            connection.execute(USE_SCHEMA, {"schema": self.schema})
            yield connection


@contextmanager
def ground(
    settings: Settings,
    home: Path,
    scenario: str = "counter",
    *,
    tasks: int = 1,
    workers: int = 2,
    as_list: bool = False,
) -> Generator[Ground]:
    """Yield the ground of a race."""
    value = Value(as_list)
    with scratch_schema(settings, "demo race") as schema:
        with open_connection(settings, "test") as connection, connection.transaction():
            connection.execute(USE_SCHEMA, {"schema": schema})
            ledger.prepare(connection, workers, as_list=as_list)
            made = ledger.seed(
                connection, 1, scenario, count=tasks, value=value.initial, limit=None
            )
            racers = ledger.racers(connection)
        yield Ground(settings, schema, scenario, made, racers, workers, value, home)
