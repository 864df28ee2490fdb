"""How much of the server's speed a race reaches, beside pgbench and a bare psycopg loop.

    python benchmarks/race.py [--url URL] [--rounds N] [--seconds S] [--workers N]

All three send the same statements in the same round trips, prepared from the start, from the same
number of clients, with the same rule for retries (at once), on fresh tables, without an observer.
The figure is acknowledged operations per second, without the time to connect. Each round runs all
three one after the other, and the ratio is taken round by round.

pgbench retries serialization failures and deadlocks alone: it cannot express the version check
(no row is no error to it), NOWAIT (55P03 ends its client) or Concord's own operations; skipping
locked rows makes no sense for the counter. Those are n/a.

Aims: at least 0.65 of pgbench and 0.95 of the bare loop for every strategy. The exit status is 1
if an aim is missed.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from shutil import which
from statistics import median
from typing import TYPE_CHECKING, LiteralString

import click
import psycopg
from common import describe, server, spread
from psycopg import sql
from psycopg.conninfo import make_conninfo

from concord.race import ledger, plan, run
from concord.race.effects import Touch
from concord.race.session import entry
from concord.race.values import Value
from concord.race.worker import RETRYABLE
from concord.race.workloads import ADVISORY, FOR_UPDATE, NOWAIT
from concord.race.workloads.counter import PART, RAISE, READ, WRITE, WRITE_VERSION
from concord.scratch import scratch_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from typing import Any

    from concord.race.plan import Race
    from concord.settings import Settings

PGBENCH_AIM = 0.65
BARE_AIM = 0.95
TABLES = (1, 1000)

STRATEGIES = tuple(
    name for name in plan.sensible("counter") if name not in ("product", plan.CONTROL)
)
NOT_IN_PGBENCH = {"optimistic", "nowait"}

LOCKS: dict[str, LiteralString] = {"for-update": FOR_UPDATE, "nowait": NOWAIT}

SETTINGS = {"jit": "off", "random_page_cost": "1.1", "TimeZone": "UTC"}
"""What a race sets for its sessions, for the others too."""


@dataclass(frozen=True)
class Arena:
    """Fresh tables, and who may work on them how."""

    settings: Settings
    url: str
    schema: str
    field: ledger.Field
    workers: int
    seconds: float


@click.command()
@click.option("--url", help="A server of your own; otherwise an embedded one.")
@click.option("--rounds", default=5, show_default=True, help="How often each is run.")
@click.option("--seconds", default=2.0, show_default=True, help="How long each run is.")
@click.option("--workers", default=8, show_default=True, help="Clients at once.")
@click.option("--strategy", "only", multiple=True, type=click.Choice(STRATEGIES))
def main(url: str | None, rounds: int, seconds: float, workers: int, only: tuple[str, ...]) -> None:
    """Race the counter, and compare."""
    missed = False
    with server(url) as made, made.database() as target:
        describe(made)
        print(f"{workers} clients, {rounds} rounds of {seconds:g} s each, medians (middle half)\n")
        print(f"{'tasks':>5}  {'strategy':<16}{'ok/s':>8}{'÷ pgbench':>22}{'÷ bare psycopg':>22}")
        for tasks in TABLES:
            for strategy in only or STRATEGIES:
                race = plan.races(["counter"], [strategy])[-1]
                samples = measure(target.settings, race, tasks, workers, seconds, rounds)
                missed = told(tasks, strategy, samples) or missed
    sys.exit(int(missed))


def measure(
    settings: Settings,
    race: Race,
    tasks: int,
    workers: int,
    seconds: float,
    rounds: int,
) -> dict[str, list[float]]:
    """Return operations per second of each contender in each round."""
    contenders: dict[str, Callable[[], float]] = {
        "concord": lambda: concord_rate(settings, race, tasks, workers, seconds),
        "bare": lambda: on_fresh_tables(bare_rate, settings, race, tasks, workers, seconds),
    }
    if race.strategy not in NOT_IN_PGBENCH:
        contenders["pgbench"] = lambda: on_fresh_tables(
            pgbench_rate, settings, race, tasks, workers, seconds
        )
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].append(contenders[name]())
    return samples


def told(tasks: int, strategy: str, samples: Mapping[str, Sequence[float]]) -> bool:
    """Print a line; return whether an aim is missed."""
    cells: list[str] = []
    missed = False
    for other, aim in (("pgbench", PGBENCH_AIM), ("bare", BARE_AIM)):
        if other not in samples:
            cells.append(f"{'n/a':>22}")
            continue
        pairs = zip(samples["concord"], samples[other], strict=True)
        ratios = [ours / theirs for ours, theirs in pairs]
        low, high = spread(ratios)
        mark = "!" if median(ratios) < aim else " "
        missed = missed or median(ratios) < aim
        cells.append(f"{median(ratios):.2f} ({low:.2f}–{high:.2f}){mark}".rjust(22))
    rate = median(samples["concord"])
    print(f"{tasks:>5}  {strategy:<16}{rate:>8.0f}{''.join(cells)}", flush=True)
    return missed


def concord_rate(settings: Settings, race: Race, tasks: int, workers: int, seconds: float) -> float:
    """Run a race as `concord demo race --no-observer` does."""
    options = plan.Options(
        workers=workers, ops=None, duration=seconds, tasks=tasks, observe=False, backoff=False
    )
    (raced,) = run.run(settings, "demo race", [race], options, lambda _: None)
    assert raced.result.verdict != "VIOLATED", raced.result.witness
    assert raced.result.ok_per_s is not None
    return raced.result.ok_per_s


def on_fresh_tables(
    rate: Callable[[Arena, Race], float],
    settings: Settings,
    race: Race,
    tasks: int,
    workers: int,
    seconds: float,
) -> float:
    """Run one of the others as a race is run: in a scratch schema of its own."""
    with scratch_schema(settings, "benchmark") as schema, connected(settings, schema) as connection:
        ledger.prepare(connection, workers, as_list=False)
        field = ledger.seed(
            connection, 1, race.strategy, count=tasks, value=Value().initial, limit=None
        )
        url = settings.database_url or ""
        return rate(Arena(settings, url, schema, field, workers, seconds), race)


@contextmanager
def connected(settings: Settings, schema: str) -> Generator[psycopg.Connection[Any]]:
    """Yield a connection as a race's worker has it."""
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.prepare_threshold = 0
        for name, value in {**SETTINGS, "search_path": schema}.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        yield connection


# The bare loop: what psycopg itself can do, with nothing noted and nothing timed.


def bare_rate(arena: Arena, race: Race) -> float:
    """Return the rate of processes that do nothing but send the statements."""
    context = get_context("forkserver")
    pairs = [context.Pipe() for _ in range(arena.workers)]
    processes = [
        context.Process(target=bare_loop, args=(arena, race, number, theirs), daemon=True)
        for number, (_, theirs) in enumerate(pairs)
    ]
    for process in processes:
        process.start()
    for ours, _ in pairs:
        assert ours.recv() == "ready"
    for ours, _ in pairs:
        ours.send("go")
    done = [ours.recv() for ours, _ in pairs]
    for process in processes:
        process.join()
    begin = min(begin for _, begin, _ in done)
    end = max(end for _, _, end in done)
    return sum(count for count, _, _ in done) / (end - begin)


def bare_loop(arena: Arena, race: Race, worker: int, pipe: Connection) -> None:
    """Raise counters until the time is over, and tell how many, from when to when."""
    begin_text = f"BEGIN ISOLATION LEVEL {race.isolation.upper()}"
    begin = sql.SQL(begin_text)  # type: ignore[arg-type]  # one of three constants
    read = READ + LOCKS.get(race.strategy, "")
    write = WRITE_VERSION if race.strategy == "optimistic" else WRITE
    choose = random.Random(worker)
    with connected(arena.settings, arena.schema) as connection:
        cursor = connection.cursor()
        done = number = 0
        pipe.send("ready")
        pipe.recv()
        started = time.time()
        deadline = time.monotonic() + arena.seconds
        while time.monotonic() < deadline:
            task = choose.choice(arena.field.tasks)
            op = number * arena.workers + worker + 1
            number += 1
            while time.monotonic() < deadline:
                try:
                    cursor.execute(begin)
                    if race.strategy == "advisory":
                        cursor.execute(ADVISORY, {"key": task})
                    after = bare_raise(cursor, race.strategy, task, read, write)
                    if after is None:
                        connection.pgconn.exec_(b"ROLLBACK")
                        continue
                    touch = Touch(task, PART, after - 1, after)
                    cursor.execute(ledger.ENTER, entry(op, worker, (touch,))).fetchone()
                    cursor.execute("COMMIT")
                except psycopg.Error as error:
                    if error.sqlstate not in RETRYABLE:
                        raise
                    connection.pgconn.exec_(b"ROLLBACK")
                else:
                    done += 1
                    break
        pipe.send((done, started, time.time()))


def bare_raise(
    cursor: psycopg.Cursor[Any],
    strategy: str,
    task: int,
    read: LiteralString,
    write: LiteralString,
) -> int | None:
    """Raise a counter and return what it is now; `None` for a stale version."""
    if strategy == "atomic":
        row = cursor.execute(RAISE, {"task": task, "entry": 0}).fetchone()
        assert row is not None
        return int(row[0])
    row = cursor.execute(read, {"task": task}).fetchone()
    assert row is not None
    value = int(row[0]) + 1
    cursor.execute(write, {"task": task, "value": str(value), "version": row[1]})
    return value if cursor.rowcount else None


# pgbench: the same statements from a program in C.


def pgbench_rate(arena: Arena, race: Race) -> float:
    """Return pgbench's transactions per second, without the time to connect."""
    script = Path(f"/tmp/concord-benchmark-{os.getpid()}.sql")
    script.write_text(pgbench_script(arena, race), encoding="utf-8")
    options = {**SETTINGS, "search_path": arena.schema}
    try:
        done = subprocess.run(
            [
                pgbench(),
                *("--no-vacuum", "--protocol=prepared", f"--file={script}", "--max-tries=10000"),
                f"--client={arena.workers}",
                f"--jobs={min(arena.workers, os.cpu_count() or 1)}",
                f"--time={max(1, round(arena.seconds))}",
                "--define=n=-1",
                make_conninfo(
                    arena.url,
                    options=" ".join(f"-c {name}={value}" for name, value in options.items()),
                ),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        script.unlink()
    match = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", done.stdout)
    assert match is not None, done.stdout + done.stderr
    return float(match[1])


def pgbench_script(arena: Arena, race: Race) -> str:
    """Return the strategy as pgbench's language has it."""
    first, last = arena.field.tasks[0], arena.field.tasks[-1]
    lines = [
        f"\\set task random({first}, {last})",
        "\\set n :n + 1",
        f"\\set op :n * {arena.workers} + :client_id + 1",
        f"BEGIN ISOLATION LEVEL {race.isolation.upper()};",
    ]
    if race.strategy == "advisory":
        lines.append(as_pgbench(ADVISORY, key=":task") + ";")
    if race.strategy == "atomic":
        lines += [as_pgbench(RAISE, entry="0") + " \\gset", "\\set after :description"]
    else:
        lines += [
            as_pgbench(READ + LOCKS.get(race.strategy, "")) + " \\gset",
            "\\set after :description + 1",
            as_pgbench(WRITE, value=":after") + ";",
        ]
    lines += ["\\set before :after - 1", as_pgbench(ledger.ENTER, **PGBENCH_ENTRY) + ";", "COMMIT;"]
    return "\n".join(lines) + "\n"


PGBENCH_ENTRY = {
    "worker": ":client_id",
    "part": f"'{PART}'",
    "other": "NULL",
    "other_before": "NULL",
    "other_after": "NULL",
}


def as_pgbench(query: str, **values: str) -> str:
    """Return a statement with pgbench's variables for psycopg's parameters, in one line."""
    body = "\n".join(line for line in query.strip().splitlines() if not line.startswith("--"))
    filled = re.sub(r"%\((\w+)\)s", lambda match: values.get(match[1], f":{match[1]}"), body)
    return " ".join(filled.split())


def pgbench() -> str:
    """Return the path of pgbench: the system's, else the one beside psql."""
    found = which("pgbench")
    if found is None:
        from common import psql

        found = str(Path(psql()).with_name("pgbench"))
    return found


if __name__ == "__main__":
    main()
