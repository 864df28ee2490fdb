"""One clock for all processes of a race: the time of day that never steps back or forth.

Python's monotonic clock is the same for all processes of a machine; the time of day is not steady,
and a correction in the middle of a race would put things in an order in which they did not happen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since the epoch, as they were when the clock was set."""

    offset: float

    @classmethod
    def set_now(cls) -> Clock:
        """Return a clock that shows the time of day now, and goes on evenly."""
        return cls(time.time() - time.monotonic())

    def __call__(self) -> float:
        """Return what it shows."""
        return self.offset + time.monotonic()
