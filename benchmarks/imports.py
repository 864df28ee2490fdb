r"""How long an import takes, beside psql's `\copy` of the same tasks.

    python benchmarks/imports.py [FILE] [--url URL] [--rounds N] [--rows N]

FILE is a beads JSON Lines file; without one, a file of the same shape is made up. `\copy` loads
the parsed fields into a table with the indexes and checks of `tasks`, but no triggers: no history,
no versions, no tags, nothing compared. It is the floor, not a rival. Every round has a database of
its own.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click
import psycopg
from common import concord, describe, psql, report, seconds, server

from concord.formats import beads
from concord.formats.words import Words
from concord.models import ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from common import Server

COLUMNS = "title, description, status, priority, due, owner_id, external_ref, completed_at"
COPIED = "CREATE TABLE copied (LIKE tasks INCLUDING ALL)"


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False
)
@click.option("--url", help="A server of your own; otherwise an embedded one.")
@click.option("--rounds", default=5, show_default=True, help="How often each is run.")
@click.option("--rows", default=2000, show_default=True, help="Issues in the made-up file.")
def main(file: Path | None, url: str | None, rounds: int, rows: int) -> None:
    """Measure how long the import of FILE takes, and compare."""
    with server(url) as made:
        if file is None:
            file = made.home / "issues.jsonl"
            file.write_text("".join(f"{line}\n" for line in made_up(rows)))
        measure(made, file.absolute(), rounds)


def made_up(rows: int) -> Iterator[str]:
    """Yield issues like those of a real tracker: most closed, some long, some related."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(rows):
        created = start + timedelta(minutes=7 * number)
        closed = number % 10 < 8
        issue: dict[str, Any] = {
            "id": f"bd-{number:04x}",
            "title": f"Issue number {number}: what has to be done",
            "description": "A sentence of fifty characters that says nothing. " * (number % 20),
            "status": "closed" if closed else "open",
            "priority": number % 5,
            "issue_type": ("task", "bug", "feature", "epic")[number % 4],
            "created_at": created.isoformat(),
            "updated_at": (created + timedelta(hours=5)).isoformat(),
            "closed_at": (created + timedelta(hours=5)).isoformat() if closed else None,
            "created_by": ("ana", "bo", "agent-1")[number % 3],
        }
        if number % 5 == 0:
            issue["labels"] = ["backend", f"sprint-{number % 7}"]
        if number % 3 == 1:
            issue["dependencies"] = [
                {
                    "issue_id": issue["id"],
                    "depends_on_id": f"bd-{number - 1:04x}",
                    "type": "blocks",
                }
            ]
        yield json.dumps(issue)


def measure(made: Server, file: Path, rounds: int) -> None:
    """Run the rounds and print the times."""
    rows = [
        row
        for row in beads.parse(BytesIO(file.read_bytes()), Words())
        if isinstance(row, ImportedTask)
    ]
    table = made.home / "tasks.csv"
    write_csv(table, rows)
    copy = f"\\copy copied ({COLUMNS}) FROM '{table}' WITH (FORMAT csv)"
    samples: dict[str, list[float]] = {}
    describe(made)
    for _ in range(rounds):
        with made.database() as target:
            with psycopg.connect(target.url) as connection:
                connection.execute(COPIED)
            importing = [
                concord(), "import", "beads", str(file), "--project", "BENCH", "--skip-bad",
            ]  # fmt: skip
            for name, command in (
                ("concord import", importing),
                ("the same once more", importing),
                ("psql \\copy", [psql(), "-X", "-q", "-d", target.url, "-c", copy]),
            ):
                taken = seconds(command, target.environment, made.home)
                samples.setdefault(name, []).append(taken)
    report(f"{file.name}: {len(rows)} tasks", samples, "concord import")
    print()
    for name, taken in samples.items():
        print(f"  {name:<24}{len(rows) / median(taken):8.0f} tasks/s")


def write_csv(path: Path, rows: Sequence[ImportedTask]) -> None:
    """Write the fields that are copied."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            (
                row.title,
                row.description,
                row.status,
                row.priority,
                row.due,
                1,
                row.ref,
                row.completed_at,
            )
            for row in rows
        )


if __name__ == "__main__":
    main()
