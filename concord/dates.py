"""The dates people type for `--due`, `--due-before` and `--due-after`, and their short form.

Case and surrounding space do not matter. A phrase is one of

- a moment: `now`, `+4h`, `-30min`, `2026-12-24T17:00:00+01:00` (`Z` and offsets after a time);
- a day: `2026-12-24`, `today`, `tomorrow`, `yesterday`, `fri` or `friday` (the first one after
  today), `next tue` (the one in the following ISO week), `+3d`, `-2w`, `+1m`, `+1y` (clamped to
  the end of a shorter month), `eod`, `eow` (Sunday), `eom`, `eoq`, `eoy`;
- a day and a time: `fri 17:00`, `tomorrow at 9am`, `2026-12-24 17:00`;
- `none`, for no date at all.

Days and times are those of the user's zone, moments that come out are in UTC. Where clocks are
put forward, a time that they skip moves forward by as much; where they are put back, a time that
comes twice means the first. Hours and minutes count elapsed time; days and longer count on the
calendar. A day whose time is not said gets one from the function that reads it, except that
`eod`, `eow` and their like always mean the last second.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from concord.errors import Usage

_START_OF_DAY = time(0, 0, 0)
_END_OF_DAY = time(23, 59, 59)
_DAY = timedelta(days=1)
_NEARBY = {-1: "yesterday", 0: "today", 1: "tomorrow"}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ENDS = frozenset({"eod", "eow", "eom", "eoq", "eoy"})

# Left as text: `re` compiles and caches them on first use, and most commands read no date.
# Hours end at 23, because some versions of Python take 24:00 for the next midnight.
_STAMP = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[t ]"
    r"((?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r" ?(z|[+-][0-9]{2}:?[0-9]{2})?"
)
_ELAPSED = r"([+-][0-9]+)(h|min)"
_SHIFT = r"([+-][0-9]+)([dwmy])"
_ISO_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIMED_DAY = r"(.+?)(?: at)? ([0-9].*)"
_CLOCK = r"([0-9]{1,2})(?::([0-9]{2})(?::([0-9]{2}))?)? ?(am|pm)?"

_EXAMPLES = "`today`, `fri`, `next tue`, `+3d`, `2026-12-24 17:00`, `eow`"
_BOUND_HINT = f"Say it like one of {_EXAMPLES}."
_DUE_HINT = f"Say it like one of {_EXAMPLES}, or `none` for no date."


def parse_due(text: str, *, now: datetime) -> datetime | None:
    """Return the moment, in UTC, at which a task is due; `None` for `none`.

    A day without a time means its last second, 23:59:59. `now` is aware and in the user's zone
    (see `local_now`). Raises `Usage` for anything that is not a date of the years 1 to 9999.
    """
    if _normalise(text) == "none":
        return None
    return _parse(text, now, _END_OF_DAY, _DUE_HINT)


def parse_before(text: str, *, now: datetime) -> datetime:
    """Return the moment, in UTC, before which due dates match (`due < moment`).

    A day without a time means its first second, so that tasks due on that day do not match.
    `now` and errors are those of `parse_due`; `none` is refused as well.
    """
    return _parse_bound(text, now, _START_OF_DAY)


def parse_after(text: str, *, now: datetime) -> datetime:
    """Return the moment, in UTC, after which due dates match (`due > moment`).

    A day without a time means its last second, so that tasks due on that day do not match.
    `now` and errors are those of `parse_due`; `none` is refused as well.
    """
    return _parse_bound(text, now, _END_OF_DAY)


def format_local(moment: datetime, *, now: datetime) -> str:
    """Return an aware moment in short, as seen from `now` and in its zone.

    The day is `yesterday`, `today`, `tomorrow`, a weekday's first three letters within the next
    six days, or else an ISO date. The time follows to the minute, unless it is the day's last
    second, which stands for a day without a time.
    """
    try:
        local = moment.astimezone(now.tzinfo)
    except (OverflowError, ValueError):
        local = moment  # within hours of the calendar's ends: no local form exists
    days = (local.date() - now.date()).days
    if days in _NEARBY:
        day = _NEARBY[days]
    elif 0 < days < len(_WEEKDAYS):
        day = _WEEKDAYS[local.weekday()][:3]
    else:
        day = local.date().isoformat()
    if local.time().replace(microsecond=0) == _END_OF_DAY:
        return day
    return f"{day} {local:%H:%M}"


def local_now() -> datetime:
    """Return the present in the system's zone, whose rules then hold for other dates too."""
    return datetime.now(_SYSTEM_ZONE)


def _parse_bound(text: str, now: datetime, untimed: time) -> datetime:
    if _normalise(text) == "none":
        raise Usage(f"{text!r} is no date to compare with", hint=_BOUND_HINT, value=text)
    return _parse(text, now, untimed, _BOUND_HINT)


def _parse(text: str, now: datetime, untimed: time, hint: str) -> datetime:
    """Return the moment that a phrase names, in UTC; a day without a time gets `untimed`."""
    phrase = _normalise(text)
    try:
        moment = _moment(phrase, now) or _day_and_time(phrase, now, untimed)
    except (OverflowError, ValueError):
        raise Usage(
            f"{text!r} is not on the calendar or the clock, in the years 1 to 9999",
            hint=hint,
            value=text,
        ) from None
    if moment is None:
        raise Usage(f"cannot read {text!r} as a date", hint=hint, value=text)
    return moment


def _normalise(text: str) -> str:
    return " ".join(text.lower().split())


def _moment(phrase: str, now: datetime) -> datetime | None:
    if phrase == "now":
        return now.astimezone(UTC).replace(microsecond=0)
    if elapsed := re.fullmatch(_ELAPSED, phrase):
        unit = "hours" if elapsed[2] == "h" else "minutes"
        return now.astimezone(UTC).replace(microsecond=0) + timedelta(**{unit: int(elapsed[1])})
    if stamp := re.fullmatch(_STAMP, phrase):
        day, clock, zone = stamp.groups(default="")
        written = datetime.fromisoformat(f"{day}T{clock}{zone.upper()}")
        return (written if zone else written.replace(tzinfo=now.tzinfo)).astimezone(UTC)
    return None


def _day_and_time(phrase: str, now: datetime, untimed: time) -> datetime | None:
    if timed := re.fullmatch(_TIMED_DAY, phrase):
        day, clock = _day(timed[1], now.date()), _clock(timed[2])
    else:
        day, clock = _day(phrase, now.date()), _END_OF_DAY if phrase in _ENDS else untimed
    if day is None or clock is None:
        return None
    return datetime.combine(day, clock, tzinfo=now.tzinfo).astimezone(UTC)


def _day(phrase: str, today: date) -> date | None:
    if re.fullmatch(_ISO_DAY, phrase):
        return date.fromisoformat(phrase)
    if shift := re.fullmatch(_SHIFT, phrase):
        return _shifted(today, int(shift[1]), shift[2])
    for weekday, name in enumerate(_WEEKDAYS):
        ahead = weekday - today.weekday()
        if phrase in {name, name[:3]}:
            return today + (ahead if ahead > 0 else ahead + 7) * _DAY
        if phrase in {f"next {name}", f"next {name[:3]}"}:
            return today + (ahead + 7) * _DAY
    return _named_day(phrase, today)


def _named_day(word: str, today: date) -> date | None:
    match word:
        case "yesterday":
            return today - _DAY
        case "today" | "eod":
            return today
        case "tomorrow":
            return today + _DAY
        case "eow":
            return today + (6 - today.weekday()) * _DAY
        case "eom":
            return _clamped(today.year, today.month, 31)
        case "eoq":
            return _clamped(today.year, (today.month + 2) // 3 * 3, 31)
        case "eoy":
            return date(today.year, 12, 31)
        case _:
            return None


def _shifted(day: date, count: int, unit: str) -> date:
    if unit == "d":
        return day + timedelta(days=count)
    if unit == "w":
        return day + timedelta(weeks=count)
    months = count if unit == "m" else 12 * count
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return _clamped(year, month + 1, day.day)


def _clamped(year: int, month: int, day: int) -> date:
    """Return that day of the month, or the month's last if it is shorter."""
    from calendar import monthrange  # few phrases count months, every command starts up

    return date(year, month, min(day, monthrange(year, month)[1]))


def _clock(phrase: str) -> time | None:
    match = re.fullmatch(_CLOCK, phrase)
    if match is None:
        return None
    hour, minute, second, half = match.groups()
    if half is None:
        # A bare number could be an hour of either half of the day, or a slip.
        return time(int(hour), int(minute), int(second or 0)) if minute else None
    if not 1 <= int(hour) <= 12:
        return None
    return time(int(hour) % 12 + 12 * (half == "pm"), int(minute or 0), int(second or 0))


class _SystemZone(tzinfo):
    """The zone of the operating system (`TZ`, else its setting), by the rules of each date.

    `datetime.astimezone()` would attach no more than the offset of one moment, and in some
    versions of Python it sends a naive time that clocks skip backwards (python/cpython#83861);
    `timestamp()` obeys PEP 495.
    """

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        if dt is None:
            return None
        # Whole seconds: as a float a far-off timestamp would lose microseconds.
        wall = dt.replace(microsecond=0, tzinfo=None)
        return wall.replace(tzinfo=UTC) - datetime.fromtimestamp(wall.timestamp(), UTC)

    def fromutc(self, dt: datetime, /) -> datetime:
        seconds = dt.replace(microsecond=0, tzinfo=UTC).timestamp()
        wall = datetime.fromtimestamp(seconds)  # noqa: DTZ006  (the system's zone is meant)
        return wall.replace(microsecond=dt.microsecond, tzinfo=self)

    def dst(self, _dt: datetime | None, /) -> timedelta | None:
        return None

    def tzname(self, _dt: datetime | None, /) -> str | None:
        return "local"


_SYSTEM_ZONE = _SystemZone()
