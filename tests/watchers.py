"""A `concord watch` that runs, and writers for it to see."""

from __future__ import annotations

import json
import subprocess
import sys
from threading import Timer
from typing import TYPE_CHECKING, Any, Self

from conftest import TIMEOUT, CommandLine, Result, finish

if TYPE_CHECKING:
    from collections.abc import Callable

WRITER = """
import random
import sys

import psycopg

url, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(number)
with psycopg.connect(url, autocommit=True) as connection:
    for round in range(rounds):
        with connection.transaction() as transaction:
            for _ in range(dice.randint(1, 4)):
                connection.execute(
                    "INSERT INTO tasks (title, owner_id) VALUES (%s, 1)", (f"{number}.{round}",)
                )
            connection.execute(
                "UPDATE tasks SET description = concat(description, 'x') WHERE id = %s",
                (dice.randint(1, 8),),
            )
            if dice.random() < 0.2:
                raise psycopg.Rollback(transaction)
"""
"""A program of many transactions of several changes each, some of which are rolled back."""


def writer(url: str, number: int, rounds: int) -> subprocess.Popen[bytes]:
    """Start a process that writes."""
    return subprocess.Popen([sys.executable, "-c", WRITER, url, str(number), str(rounds)])


class Watcher:
    """A watch that runs in a process of its own; its lines are JSON."""

    def __init__(self, concord: CommandLine, *options: str) -> None:
        self.process = concord.start(
            "watch", "--jsonl", "--interval", "20ms", *options, stdin=subprocess.DEVNULL
        )
        self.changes: list[dict[str, Any]] = []

    def until(self, enough: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Read changes up to one that will do, and return all that were read so far."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.changes.append(json.loads(line))
            if enough(self.changes[-1]):
                return self.changes
        raise AssertionError(f"it ended: {finish(self.process)}")

    def until_title(self, title: str) -> list[dict[str, Any]]:
        """Read changes until a task has got a title."""
        return self.until(lambda change: change["new"].get("title") == title)

    def end(self, number: int) -> Result:
        """Send a signal, and return what the process did then; its last changes are kept."""
        assert self.process.stdout is not None
        self.process.send_signal(number)
        too_late = Timer(TIMEOUT, self.process.kill)
        too_late.start()
        # By the reader that has read ahead: it may hold lines, and the beginning of one.
        lines = self.process.stdout.readlines()
        too_late.cancel()
        self.changes += [json.loads(line) for line in lines if line.endswith("\n")]
        return finish(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=TIMEOUT)
