"""The days that lines of a todo.txt name, and the moments that they are here."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache

from concord.dates import local_now

BEGINNING, END = time(0, 0, 0), time(23, 59, 59)


class Days:
    """Days of the system's time zone. The lines of a file share them, so each is made once."""

    def __init__(self) -> None:
        self._zone = local_now().tzinfo
        self._moment = lru_cache(maxsize=4096)(self._make_moment)
        self._day = lru_cache(maxsize=4096)(self._make_day)

    def moment(self, day: date | None, clock: time) -> datetime | None:
        """Return the moment, in UTC, at which it is that day and time."""
        return self._moment(day, clock) if day else None

    def day(self, moment: datetime | None) -> date | None:
        """Return the day that it is at a moment."""
        return self._day(moment) if moment else None

    def _make_moment(self, day: date, clock: time) -> datetime:
        try:
            return datetime.combine(day, clock, self._zone).astimezone(UTC)
        except (OverflowError, ValueError):  # of the first or the last day there is
            return datetime.combine(day, clock, UTC)

    def _make_day(self, moment: datetime) -> date:
        try:
            return moment.astimezone(self._zone).date()
        except (OverflowError, ValueError):  # of the first or the last day there is
            return moment.date()
