"""The beginning of a file that has to be known as a whole before its first row is told.

What is read of it waits in memory, which is faster than to read it again, but a file may be larger
than memory.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = 1 << 26
"""Bytes of memory for what waits."""

_ROW = 1000
"""Bytes that a line becomes, besides its text."""

Numbered = tuple[int, str]
"""A line with its number."""


def beginning(lines: Iterator[Numbered]) -> Iterator[Numbered]:
    """Yield lines until there is no room for what they become, and leave the others."""
    room = ROOM
    while room > 0 and (each := next(lines, None)):
        room -= _ROW + sys.getsizeof(each[1])
        yield each
