"""How fast tasks are claimed, and whether that depends on how many there are.

    python benchmarks/claim.py [--url URL] [--rounds N] [--seconds S] [--workers N]

1. Claims per second of warm workers, a process each, beside pgbench with the same statements in the
   same round trips: what the runner sends is noted from a real claim. Each round runs both, on
   fresh tables, and the ratio is taken round by round. Aim: at least 0.65.
2. `concord task claim` as a command, one process a claim.
3. A claim and a page of `task list --ready` with 1,000 tasks and 2,000 links, and with 100,000 and
   200,000; and as a bad case, where half of all tasks come first by priority and are all blocked.
   Aim, but for the bad case: at most 3 times as long.

The exit status is 1 if an aim is missed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, LiteralString

import click
import psycopg
from common import concord, describe, seconds, server, spread
from race import pgbench

from concord.database import Database
from concord.sql import claims, listing

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from common import Server, Target

    from concord.database import Record
    from concord.settings import Settings

PGBENCH_AIM = 0.65
GROWTH_AIM = 3.0
LEASE = timedelta(minutes=15)
QUEUE = 30_000
"""Tasks to claim in one run: more than can be claimed in it."""
SMALL, LARGE = 1_000, 100_000
SAMPLES = 40
"""How often a single claim or page is timed."""

TASKS: LiteralString = """
INSERT INTO tasks (title, status, completed_at, priority, created_at, owner_id)
SELECT 'task ' || n,
       CASE WHEN n <= %(done)s THEN 'completed' ELSE 'todo' END::task_status,
       CASE WHEN n <= %(done)s THEN now() END,
       (enum_range(NULL::task_priority))[1 + n %% 5],
       now() - (%(count)s - n) * interval '1 minute',
       (SELECT min(id) FROM users)
FROM generate_series(1, %(count)s) AS n
"""

LINKS: LiteralString = """
INSERT INTO links (blocked_id, blocker_id)
SELECT id, 1 + (hashint8(id * 7 + which) & 2147483647) % (id - 1)
FROM tasks, generate_series(1, 2) AS which WHERE id > 1
ON CONFLICT DO NOTHING
"""

# The first ones by priority all wait for a task that nobody has done.
BAD_CASE: LiteralString = """
WITH first AS (
    SELECT id FROM tasks WHERE status = 'todo' ORDER BY priority, created_at LIMIT %(count)s / 5
), last AS (
    SELECT max(id) AS id FROM tasks WHERE status = 'todo' AND priority = 'none'
)
INSERT INTO links (blocked_id, blocker_id)
SELECT first.id, last.id FROM first, last WHERE first.id <> last.id ON CONFLICT DO NOTHING
"""


@click.command()
@click.option("--url", help="A server of your own; otherwise an embedded one.")
@click.option("--rounds", default=5, show_default=True, help="How often each is run.")
@click.option("--seconds", "length", default=3.0, show_default=True, help="How long each run is.")
@click.option("--workers", default=8, show_default=True, help="Clients at once.")
def main(url: str | None, rounds: int, length: float, workers: int) -> None:
    """Claim, and compare."""
    with server(url) as made:
        describe(made)
        missed = [
            beside_pgbench(made, rounds, length, workers),
            as_a_command(made),
            by_size(made),
        ]
    sys.exit(int(any(missed)))


def beside_pgbench(made: Server, rounds: int, length: float, workers: int) -> bool:
    """Compare claims per second; return whether the aim is missed."""
    samples: dict[str, list[float]] = {"concord": [], "pgbench": []}
    for number in range(rounds):
        names = list(samples) if number % 2 else list(reversed(samples))
        for name in names:
            with made.database() as target:
                seed(target, QUEUE, done=0, linked=False)
                rate = concord_rate if name == "concord" else pgbench_rate
                samples[name].append(rate(target, length, workers))
    ratios = [
        ours / theirs for ours, theirs in zip(samples["concord"], samples["pgbench"], strict=True)
    ]
    low, high = spread(ratios)
    print(f"\nclaims per second, {workers} workers, {rounds} rounds of {length:g} s")
    for name, rates in samples.items():
        print(f"  {name:<12}{median(rates):8.0f}")
    print(f"  ratio       {median(ratios):8.2f}  ({low:.2f}–{high:.2f}), aim {PGBENCH_AIM}")
    return median(ratios) < PGBENCH_AIM


def as_a_command(made: Server) -> bool:
    """Time the command itself. There is no aim: most of it is the interpreter's start."""
    with made.database() as target:
        seed(target, SMALL, done=0, linked=False)
        command = [concord(), "task", "claim", "--quiet"]
        taken = [seconds(command, target.environment, made.home) for _ in range(SAMPLES)]
    print(f"\nconcord task claim, a process each: {median(taken) * 1000:.0f} ms")
    return False


def by_size(made: Server) -> bool:
    """Time a claim and a page of what is ready by the number of tasks."""
    print(f"\n{'':<26}{SMALL:>12,} tasks{LARGE:>12,} tasks      ratio")
    missed = False
    for bad in (False, True):
        taken: dict[str, list[float]] = {"claim": [], "list --ready": []}
        for count in (SMALL, LARGE):
            with made.database() as target:
                seed(target, count, done=count * 3 // 5, linked=True, bad=bad)
                for name, value in timed(target.settings).items():
                    taken[name].append(value)
        for name, (small, large) in taken.items():
            ratio = large / small
            told = f"{name}, blocked ones first" if bad else name
            print(f"  {told:<24}{small:>12.2f} ms   {large:>12.2f} ms   {ratio:>8.2f}")
            missed = missed or (not bad and ratio > GROWTH_AIM)
    print(f"  aim: at most {GROWTH_AIM:g}")
    return missed


def seed(target: Target, count: int, *, done: int, linked: bool, bad: bool = False) -> None:
    """Fill a database: `done` of the tasks are completed, the older ones."""
    given = {"count": count, "done": done}
    with psycopg.connect(target.url) as connection:
        # Without triggers: a row of history for each would take minutes, and is not measured.
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(TASKS, given)
        if linked:
            connection.execute(LINKS)
        if bad:
            connection.execute(BAD_CASE, given)
    with psycopg.connect(target.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def timed(settings: Settings) -> dict[str, float]:
    """Return the median milliseconds of an operation on a warm connection."""
    records: list[Record] = []
    with Database(settings, "benchmark", observe=records.append) as database:
        medians: dict[str, float] = {}
        for name in ("claim", "list --ready"):
            records.clear()
            for _ in range(SAMPLES):
                if name == "claim":
                    assert database.run(claims.claim, listing.Filters(), lease=LEASE)
                else:
                    database.run(listing.page, listing.Filters(ready=True), limit=100)
            # The first few prepare their statements.
            medians[name] = median(record.ms for record in records[8:])
    return medians


def concord_rate(target: Target, length: float, workers: int) -> float:
    """Return the claims per second of workers that are connected and warm."""
    context = get_context("forkserver")
    pairs = [context.Pipe() for _ in range(workers)]
    processes = [
        context.Process(target=work, args=(target.settings, length, theirs), daemon=True)
        for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    for ours, _ in pairs:
        assert ours.recv() == "ready"
    for ours, _ in pairs:
        ours.send("go")
    told = [ours.recv() for ours, _ in pairs]
    for process in processes:
        process.join()
    return sum(done for done, _, _ in told) / (
        max(end for _, _, end in told) - min(begin for _, begin, _ in told)
    )


def work(settings: Settings, length: float, pipe: Connection) -> None:
    """Claim until the time is over, and tell how many, from when to when."""
    done = 0
    with Database(settings, "task claim") as database:
        for _ in range(8):
            database.run(claims.claim, listing.Filters(), lease=LEASE)
        pipe.send("ready")
        pipe.recv()
        begin = time.time()
        deadline = time.monotonic() + length
        while time.monotonic() < deadline:
            done += len(database.run(claims.claim, listing.Filters(), lease=LEASE))
        pipe.send((done, begin, time.time()))


def pgbench_rate(target: Target, length: float, workers: int) -> float:
    """Return pgbench's transactions per second, without the time to connect."""
    script = Path(f"/tmp/concord-benchmark-claim-{os.getpid()}.sql")
    script.write_text(pgbench_script(target.settings), encoding="utf-8")
    try:
        done = subprocess.run(
            [
                pgbench(),
                *("--no-vacuum", "--protocol=prepared", f"--file={script}"),
                f"--client={workers}",
                f"--jobs={min(workers, os.cpu_count() or 1)}",
                f"--time={max(1, round(length))}",
                target.url,
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


def pgbench_script(settings: Settings) -> str:
    """Return what a claim sends, as pgbench's language has it."""
    records: list[Record] = []
    with Database(settings, "task claim", observe=records.append) as database:
        database.run(claims.claim, listing.Filters(), lease=LEASE)
        row = database.connection().execute("SELECT min(id) FROM users").fetchone()
    assert row is not None
    prologue, *body, commit = [statement.text for statement in records[0].statements]
    given = {
        "count": "1",
        "full": "'{}'",
        "me": str(row[0]),
        "lease": "interval '15 minutes'",
        "ids": "ARRAY[:task::bigint]",
        "actor": f"'{settings.user}'",
        "operation": "'task claim'",
        "writes": "true",
        "lock_timeout": f"'{settings.lock_timeout}'",
        "statement_timeout": f"'{settings.statement_timeout}'",
        "idle_timeout": f"'{settings.idle_in_transaction_session_timeout}'",
    }

    def filled(text: str) -> str:
        return re.sub(r"%\((\w+)\)s", lambda match: given[match[1]], one_line(text))

    # The runner sends its prologue as one message: for pgbench, one pipeline.
    prologues = [f"{filled(part)};" for part in prologue.split(";") if part.strip()]
    lines = ["\\startpipeline", *prologues, "\\endpipeline"]
    lines += [
        f"{filled(text)} \\gset" if "pick_ready" in text else f"{filled(text)};" for text in body
    ]
    return "\n".join([*lines, f"{commit};"]) + "\n"


def one_line(text: str) -> str:
    """Return a statement without its comments in one line."""
    body = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return " ".join(" ".join(body).split())


if __name__ == "__main__":
    main()
