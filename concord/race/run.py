"""A run: races one after the other in a scratch schema, each judged from its events alone."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

from concord import __version__
from concord.errors import Usage
from concord.race import judge, ledger
from concord.race.stage import Stage
from concord.scratch import scratch_schema
from concord.translation import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from concord.race.judge import Result
    from concord.race.plan import Options, Race
    from concord.settings import Settings

FORMAT: Final = 1
"""Of the log."""

SPARE_CONNECTIONS: Final = 3
"""Beside the workers': the run's own two and the observer's."""

SETTINGS: LiteralString = """
-- server_settings: those that matter to a race
SELECT name, current_setting(name) FROM pg_settings
WHERE name IN ('server_version', 'max_connections', 'shared_buffers', 'fsync',
               'synchronous_commit', 'full_page_writes', 'wal_level', 'commit_delay',
               'deadlock_timeout', 'max_pred_locks_per_transaction', 'autovacuum',
               'default_transaction_isolation', 'transaction_timeout', 'data_checksums')
ORDER BY name
"""

ROOM: LiteralString = """
-- room: how many more sessions there may be
SELECT current_setting('max_connections')::integer
       - current_setting('superuser_reserved_connections')::integer
       - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""


@dataclass(frozen=True, slots=True)
class Raced:
    """A race that was run: its events, as the log has them, and what the judge made of them."""

    race: Race
    events: list[dict[str, Any]]
    result: Result


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: which race of how many, and operations done in it."""

    number: int
    races: int
    race: Race
    done: int
    of: int | None


def run_event(
    settings: Settings, command: str, races: Sequence[Race], options: Options
) -> dict[str, Any]:
    """Return the event that begins a log. Raises `ConcordError` when the server is not there."""
    from concord.connections import connect

    with connect(settings, command) as connection:
        server = dict(connection.execute(SETTINGS).fetchall())
        (room,) = connection.execute(ROOM).fetchone() or (0,)
    if room < options.workers + SPARE_CONNECTIONS:
        most = max(0, room - SPARE_CONNECTIONS)
        raise Usage(
            f"the server has room for {most} workers now, not for {options.workers}",
            hint="Take fewer --workers, or raise max_connections.",
            workers=options.workers,
            room=most,
        )
    return {
        "type": "run",
        "format": FORMAT,
        "concord": __version__,
        "started": time.time(),
        "settings": {
            "scenarios": list(dict.fromkeys(race.scenario for race in races)),
            "strategies": list(dict.fromkeys(race.strategy for race in races)),
            "isolation": options.isolation,
            "workers": options.workers,
            "ops": options.ops,
            "duration": options.duration,
            "tasks": options.tasks,
            "think_ms": options.think * 1000,
            "retries": options.retries,
            "seed": options.seed,
            "observer": options.observe,
            "elle": options.as_list,
        },
        "server": server,
    }


def run(
    settings: Settings,
    command: str,
    races: Sequence[Race],
    options: Options,
    progress: Callable[[Progress], None],
) -> Generator[Raced]:
    """Run races and yield each when it is over. Raises `ConcordError`."""
    with ExitStack() as stack:
        schema = stack.enter_context(scratch_schema(settings, command))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="concord-race-")))
        stage = Stage(settings, schema, directory, options)
        try:
            with stage.transaction() as connection:
                ledger.prepare(connection, options.workers, as_list=options.as_list)
        except psycopg.Error as error:
            raise translate(error) from error
        for number, race in enumerate(races, start=1):
            events = stage.race(
                number,
                race,
                lambda done, of, number=number, race=race: progress(
                    Progress(number, len(races), race, done, of)
                ),
            )
            yield Raced(race, events, judge.judge_race(events))


def new_seed() -> int:
    """Return a seed for a run that was given none."""
    return random.SystemRandom().randrange(1_000_000)
