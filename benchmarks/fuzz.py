"""Command lines that nobody would type, as many as you like.

    python benchmarks/fuzz.py [--cases N] [--seed N] [--url URL]

Words, options, values, files and stdin are made up from the command tree, half of them at a
terminal. None may end in a traceback or by an exit code that is not documented, send a terminal
what it would obey, tell the password, or fail and leave the database other than it was.
`tests/fuzz_cases.py` says what is tried and what is left out, `tests/fuzzing.py` what must hold. A
seed gives the same cases again. The exit status is 1 if anything was found.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from common import server

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from fuzzing import PASSWORD, Ground, Tally, made

SHOWN = 20
"""Faults that are told in full."""


@click.command()
@click.option("--cases", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--url", help="PostgreSQL to use, by a role that may create databases.")
def main(cases: int, seed: int, url: str | None) -> None:
    """Try command lines, and say what was wrong with the answers."""
    told = Tally()
    with (
        server(url) as there,
        there.database() as target,
        tempfile.TemporaryDirectory() as home,
        Ground(target.url, Path(home)) as ground,
        click.progressbar(made(ground, seed, cases), cases, file=sys.stderr) as shown,
    ):
        for case in shown:
            told.add(case, ground.run(case))
        if PASSWORD in ground.logged():
            told.faults.append("the password is in the log")
    print(f"{cases} cases of seed {seed}, {len(told.commands)} commands")
    for code, number in sorted(told.codes.items()):
        print(f"  exit code {code:3}: {number}")
    print(f"{len(told.faults)} faults")
    for fault in told.faults[:SHOWN]:
        print(f"- {fault}")
    sys.exit(1 if told.faults else 0)


if __name__ == "__main__":
    main()
