"""The number that everybody raises, and the list that stands in for it.

A task's description holds it. As a number it costs the same however long a race goes on. As a
list of all attempts that ever wrote it, it lets a checker such as Elle infer the order in which
transactions took effect (the list-append model: https://github.com/jepsen-io/elle).
"""

from __future__ import annotations

from dataclasses import dataclass

ENTRIES_PER_OP = 1024
"""Distinct entries of one operation: one for each attempt, because Elle needs unique values."""


@dataclass(frozen=True, slots=True)
class Value:
    """How a task's description stands for a number."""

    as_list: bool = False

    @property
    def initial(self) -> str:
        """The text that stands for nothing yet."""
        return "" if self.as_list else "0"

    def measure(self, text: str) -> int:
        """Return the number that a text stands for."""
        return len(self.entries(text)) if self.as_list else int(text)

    def raised(self, text: str, entry: int) -> str:
        """Return the text that stands for one more, written by the attempt `entry`."""
        if not self.as_list:
            return str(int(text) + 1)
        return f"{text},{entry}" if text else str(entry)

    def lowered(self, text: str) -> str:
        """Return the text that stands for one less."""
        return str(int(text) - 1)

    def entries(self, text: str) -> list[int]:
        """Return the attempts that a list names, oldest first."""
        return [int(entry) for entry in text.split(",") if entry]


def entry(op_id: int, retry: int) -> int:
    """Return what an attempt writes into a list: a number that no other attempt writes."""
    return op_id * ENTRIES_PER_OP + retry
