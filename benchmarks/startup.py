"""How long a command takes, start-up included, beside the least that could be done.

    python benchmarks/startup.py [--url URL] [--rounds N] [--imports]

The minimal script imports psycopg and runs the statement that Concord runs; psql does the same.
Aims: a piped list takes at most 1.5 times as long as the minimal script, and `--help` at most
5 times as long as a Python that does nothing. The exit status is 1 if an aim is missed.

Concord does more than the others: it tells the database who acts and with which time-outs, checks
the schema's revision, and commits explicitly. With `--url` it works in a database of its own on
that server, which it creates and drops.
"""

from __future__ import annotations

import re
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

import click
import psycopg
from common import ACTOR, concord, describe, interleaved, psql, report, server

from concord.database import Database
from concord.sql import listing, tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common import Server, Target

TASKS = 20
LIST_AIM = 1.5
HELP_AIM = 5.0

NOTHING = [sys.executable, "-c", "pass"]

MINIMAL = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None) as connection:
    for row in connection.execute(sys.argv[2]):
        print(*row, sep="\\t")
"""

ADD = "INSERT INTO tasks (title, owner_id) SELECT 'Measure it', id FROM users RETURNING id"


@click.command()
@click.option("--url", help="A server of your own; otherwise an embedded one.")
@click.option("--rounds", default=20, show_default=True, help="How often each command is run.")
@click.option("--imports", is_flag=True, help="Also print what imports cost.")
def main(url: str | None, rounds: int, imports: bool) -> None:
    """Measure how long commands take, and compare."""
    with server(url) as made, made.usual() as target:
        fill(target)
        describe(made)
        results = measure(made, target, rounds)
        if imports:
            print_imports(target)
    sys.exit(judge(results))


def fill(target: Target) -> None:
    """Add the tasks to be listed."""
    with Database(target.settings, "benchmark") as database:
        for number in range(TASKS):
            new = tasks.NewTask(f"Task number {number}", tags=["bench"], assignees=[ACTOR])
            database.run(tasks.add, new)


def list_query(target: Target) -> str:
    """Return the statement of `task list`, with its parameters filled in."""
    query, params = listing.compose(listing.asked(ACTOR, listing.Filters()), sort="id")
    with psycopg.connect(target.url) as connection:
        cursor = psycopg.ClientCursor(connection)
        return cursor.mogrify(query, params | {"limit": 101, "skip": 0})


def measure(made: Server, target: Target, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Run everything and print the times; return them by title and command."""
    listed = list_query(target)
    results: dict[str, dict[str, list[float]]] = {}
    for title, arguments, query in (
        ("concord --help", ["--help"], None),
        (f"concord task list (piped, {TASKS} tasks)", ["task", "list"], listed),
        ("concord task add", ["task", "add", "Measure it"], ADD),
    ):
        commands = {"concord": [concord(), *arguments], "python -c pass": NOTHING}
        if query is not None:
            commands |= beside(target, query)
        results[title] = interleaved(commands, target, made.home, rounds)
        report(title, results[title], "concord")
    return results


def beside(target: Target, query: str) -> dict[str, list[str]]:
    """Return the other ways to run a statement."""
    return {
        "minimal psycopg script": [sys.executable, "-c", MINIMAL, target.url, query],
        "psql -c": [psql(), "-X", "-A", "-t", "-d", target.url, "-c", query],
    }


def judge(results: Mapping[str, Mapping[str, Sequence[float]]]) -> int:
    """Compare with the aims and return the exit status."""
    help_samples, list_samples, _ = results.values()
    missed = False
    print()
    for what, samples, other, aim in (
        ("--help", help_samples, "python -c pass", HELP_AIM),
        ("task list", list_samples, "minimal psycopg script", LIST_AIM),
    ):
        pairs = zip(samples["concord"], samples[other], strict=True)
        ratio = median(mine / theirs for mine, theirs in pairs)
        missed = missed or ratio > aim
        verdict = "missed" if ratio > aim else "met"
        print(f"aim: {what} ≤ {aim:g} × {other}: {ratio:.2f}, {verdict}")
    return int(missed)


def print_imports(target: Target, longest: int = 20) -> None:
    """Print the modules that cost a piped list the most time, without what they import."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", concord(), "task", "list"],
        env=target.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = re.findall(r"^import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)", run.stderr, re.MULTILINE)
    print("\nimports of concord task list, in ms: alone, with what it imports")
    for alone, together, _, name in sorted(rows, key=lambda row: -int(row[0]))[:longest]:
        print(f"  {int(alone) / 1000:6.1f} {int(together) / 1000:6.1f}  {name}")


if __name__ == "__main__":
    main()
