"""Where a race takes place: seed the tasks, let all go at a barrier, gather what happened.

What the workers noted, what the observer saw, and what the ledger and the tables hold become the
events of the log, which are all that the judge gets to see.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

from concord.connections import open_connection
from concord.race import attempts, ledger, observer, worker
from concord.race.clock import Clock
from concord.race.crew import Crew, Member
from concord.race.plan import task_count
from concord.race.values import Value
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from concord.connections import Connection
    from concord.race.plan import Options, Race
    from concord.settings import Settings

TICK: Final = 0.1
"""Seconds between two reports of progress."""

# Their clients are gone; one that waits for a lock would not notice before it gets it. Waits until
# they are gone too: what they did or did not commit is then settled.
END_SESSIONS: LiteralString = """
-- end_sessions: of workers that were stopped
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE starts_with(application_name, %(name)s) AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the races of a run take place."""

    settings: Settings
    schema: str
    directory: Path
    options: Options

    @property
    def name(self) -> str:
        """What the sessions of this run's workers call themselves, and no others."""
        return f"race {self.schema.removeprefix('concord_scratch_')}"

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Yield a connection within a transaction in the scratch schema."""
        # Local to the transaction: a pooler would hand a session's search_path on to others.
        with open_connection(self.settings, "demo race") as connection, connection.transaction():
            connection.execute(ledger.USE_SCHEMA, {"schema": self.schema})
            yield connection

    def race(
        self, number: int, race: Race, progress: Callable[[int, int | None], None]
    ) -> list[dict[str, Any]]:
        """Run one race and return its events. Raises `ConcordError`."""
        options, value = self.options, Value(self.options.as_list)
        limit = max(1, options.workers // 3) if race.scenario == "limit" else None
        clock = Clock.set_now()
        try:
            with self.transaction() as connection:
                field = ledger.seed(
                    connection,
                    number,
                    f"{race.scenario} {race.strategy}",
                    count=task_count(race.scenario, options),
                    value=value.initial,
                    # Other guards are to show what they keep by themselves.
                    limit=limit if race.strategy == "product" else None,
                )
                racers = ledger.racers(connection)
                before = _state(connection, race.scenario, field, racers, value)
            started = clock()
            jobs = self._jobs(number, race, field, racers, limit, clock)
            members, seen = self._hold(number, race, jobs, progress)
            with self.transaction() as connection:
                entered = list(ledger.rows(connection))
                after = _state(connection, race.scenario, field, racers, value)
        except psycopg.Error as error:
            raise translate(error) from error
        tried = [
            attempt
            for job, member in zip(jobs, members, strict=True)
            for attempt in _attempts(job, member)
        ]
        tried.sort(key=lambda attempt: attempt["begin"])
        named = {"scenario": race.scenario, "strategy": race.strategy}
        begun = {"isolation": race.isolation, "control": race.control}
        begun |= {"workers": options.workers, "limit": limit, "started": started}
        events = [
            {"type": "race", **named, **begun},
            *({"type": "state", "when": "before", **row} for row in before),
            *({"type": "attempt", **named, **attempt} for attempt in tried),
            *({**event, **named} if event["type"] == "wait" else event for event in seen),
            *({"type": "worker", **_ending(member)} for member in members),
            *({"type": "ledger", **row} for row in entered),
            *({"type": "state", "when": "after", **row} for row in after),
            {"type": "end", "ended": clock()},
        ]
        return [{"type": event["type"], "race": number, **event} for event in events]

    def _jobs(
        self,
        number: int,
        race: Race,
        field: ledger.Field,
        racers: dict[str, int],
        limit: int | None,
        clock: Clock,
    ) -> list[worker.Job]:
        """Return what each worker is to do."""
        options = self.options
        # A queue is emptied, however many operations that takes.
        endless = options.duration is not None or race.scenario == "claim"
        return [
            worker.Job(
                settings=self.settings,
                schema=self.schema,
                name=f"{self.name}/{index}",
                operation="demo race",
                scenario=race.scenario,
                strategy=race.strategy,
                isolation=race.isolation,
                worker=index,
                workers=options.workers,
                racer=(racer := f"racer{index + 1}"),
                racer_id=racers[racer],
                project=field.project,
                key=field.key,
                tasks=field.tasks,
                limit=limit,
                value=Value(options.as_list),
                ops=None if endless else options.ops,
                duration=options.duration,
                think=options.think,
                retries=options.retries,
                seed=f"{options.seed}/{race.scenario}",
                clock=clock,
                log=self.directory / f"{number}-{index}.pickle",
                backoff=options.backoff,
            )
            for index in range(options.workers)
        ]

    def _hold(
        self,
        number: int,
        race: Race,
        jobs: Sequence[worker.Job],
        progress: Callable[[int, int | None], None],
    ) -> tuple[list[Member], list[dict[str, Any]]]:
        """Start all at once and wait for their end."""
        options = self.options
        total = None if options.duration else options.workers * (options.ops or 0)
        if race.scenario == "claim":
            total = len(jobs[0].tasks)
        path = self.directory / f"{number}-observer.jsonl"
        watches = (
            [observer.Watch(self.settings, self.name, jobs[0].clock, path)]
            if options.observe
            else []
        )
        try:
            with Crew(observer.main, watches) as watching, Crew(worker.main, jobs) as crew:
                watching.gather()
                crew.gather()
                crew.tell("go")
                # Who died with a task in progress keeps the others from ever starting one.
                for done in crew.finish(TICK, stop_on_death=race.scenario == "limit"):
                    progress(done, total)
                watching.tell("stop")
                for _ in watching.finish(TICK):
                    pass
        except BaseException:
            with suppress(psycopg.Error):  # then they are gone anyway
                self._end_sessions()
            raise
        if any(member.ended == "died" for member in crew.members):
            self._end_sessions()
        seen = list(_lines(path))
        if watches and not any(event["type"] == "observer" for event in seen):
            nothing = {"samples": None, "interval_ms": None, "clock_offset_ms": None}
            seen.append({"type": "observer", **nothing, "complete": False})
        return crew.members, seen

    def _end_sessions(self) -> None:
        with open_connection(self.settings, "demo race") as connection:
            connection.execute(END_SESSIONS, {"name": f"concord {self.name}/"})


def _state(
    connection: Connection,
    scenario: str,
    field: ledger.Field,
    racers: dict[str, int],
    value: Value,
) -> list[dict[str, Any]]:
    """Return the value of every part of the raced tasks."""
    rows: list[dict[str, Any]] = []
    assigned: frozenset[tuple[int, str]] = frozenset()
    if scenario == "assign":
        assigned = ledger.assigned(connection, field)
    for task in ledger.tasks(connection, field):
        match scenario:
            case "edit":
                parts = {"title": int(task.title), "description": int(task.description)}
            case "assign":
                parts = {name: int((task.id, name) in assigned) for name in racers}
            case "claim" | "limit":
                parts = {"status": int(task.status == "in_progress")}
            case _:
                parts = {"value": value.measure(task.description)}
        rows += [
            {"task": task.id, "part": part, "value": number, "version": task.version}
            for part, number in parts.items()
        ]
    return rows


def _ending(member: Member) -> dict[str, Any]:
    """Return what became of a worker; `operations` are those it saw acknowledged."""
    return {
        "worker": member.number,
        "ended": member.ended,
        "why": member.why,
        "operations": member.done,
    }


def _attempts(job: worker.Job, member: Member) -> Iterator[dict[str, Any]]:
    """Yield what a worker logged, and the attempt that its death has left unknown."""
    last: dict[str, Any] | None = None
    for last in attempts.unpacked(job.log, job.worker):
        yield last
    if member.ended == "done":
        return
    if last is None:
        op_id, retry, begin = job.worker + 1, 0, job.clock()
    elif last["again"]:
        op_id, retry, begin = last["op_id"], last["retry"] + 1, last["end"]
    else:
        op_id, retry, begin = last["op_id"] + job.workers, 0, last["end"]
    yield attempts.event(job.worker, op_id, retry, "info", reason="the worker died", begin=begin)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log; one that its writer did not get to the end of is none."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
