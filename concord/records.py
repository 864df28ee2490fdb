"""What the runner notes of each attempt at a transaction, for `-v` and the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Isolation(StrEnum):
    """Transaction isolation levels, named as SQL names them."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it ran: its SQL and the rows it touched.

    `ms` is how long its round trip took, of which `trip` is the number within the attempt.
    Statements of one trip share it: the client waits once, for all their answers.
    """

    text: str
    ms: float
    rows: int
    trip: int

    @property
    def name(self) -> str:
        """What the statement calls itself: `-- name: purpose` on its first line."""
        first = self.text.strip().partition("\n")[0]
        return first.removeprefix("-- ").partition(":")[0] if first[:3] == "-- " else first[:60]


@dataclass(slots=True)
class Record:
    """One attempt at a transaction.

    `round_trips` is how often the client waited for the server, `connects` how many connections
    were opened for it, each of which costs round trips of its own. The statements that open a
    transaction count as one.
    """

    operation: str
    isolation: Isolation
    read_only: bool
    attempt: int
    statements: list[Statement] = field(default_factory=list[Statement])
    connects: int = 0
    round_trips: int = 0
    xid: str | None = None
    outcome: str = "begun"
    sqlstate: str | None = None
    ms: float = 0.0
    begun: float = 0.0
    """When BEGIN was sent, by `time.perf_counter`."""
    begun_at: datetime | None = None
    """When the server began it, by its own clock."""

    @property
    def trips(self) -> list[list[Statement]]:
        """The statements by round trip, in order."""
        return [list(some) for _, some in groupby(self.statements, lambda one: one.trip)]

    def waited(self, statements: list[tuple[str, int]], seconds: float) -> None:
        """Note a round trip with its statements, as (SQL, rows)."""
        self.round_trips += 1
        self.statements += [
            Statement(text, seconds * 1000, rows, self.round_trips) for text, rows in statements
        ]


@dataclass(slots=True)
class Cost:
    """What the transactions of a command cost, attempts that failed included."""

    connects: int = 0
    round_trips: int = 0
    statements: int = 0

    def add(self, record: Record) -> None:
        """Count an attempt in."""
        self.connects += record.connects
        self.round_trips += record.round_trips
        self.statements += len(record.statements)
