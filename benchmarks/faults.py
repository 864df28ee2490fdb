"""Writes while something goes wrong, as often as you like, and what is lost of them.

    python benchmarks/faults.py [--rounds N] [--seed N] [--only FAULT]

Each round runs a few commands at once, each in a process of its own, beside one fault, and then
looks at what is there. `tests/faulty.py` says what goes wrong and what must hold. It has an
embedded server of its own. A seed gives the same faults again, though not at the same moments. The
exit status is 1 if a write was lost, half done, or not told the truth about.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random

import click

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from conftest import open_directory
from faulty import FAULTS, Ground


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=1_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--only", type=click.Choice(list(FAULTS)), help="Only this fault.")
def main(rounds: int, seed: int, only: str | None) -> None:
    """Let things go wrong, and say what was lost."""
    directory = open_directory()
    ground = Ground(directory, seed)
    random = Random(seed)
    wrong: list[str] = []
    try:
        with click.progressbar(range(rounds), file=sys.stderr) as shown:
            for number in shown:
                name = only or random.choice(list(FAULTS))
                try:
                    ground.round(FAULTS[name])
                except AssertionError as error:
                    wrong.append(f"round {number}, {name}: {error}")
        tasks = ground.check()
    finally:
        ground.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{rounds} rounds of seed {seed}, {sum(ground.answers.values())} writes, {tasks} tasks")
    for kind, number in sorted(ground.answers.items()):
        print(f"  {kind:>8}: {number}")
    print(f"{len(wrong)} wrong")
    for told in wrong:
        print(f"- {told}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
