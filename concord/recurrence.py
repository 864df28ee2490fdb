"""How often a task comes back: the rule as people type it, and as it is stored.

When the next one is due is the database's to say (`next_due`): completing a task makes the next
one there, wherever the completion comes from.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import cast

from concord.errors import Usage

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORTEST = 3
"""Letters of a day's name that are enough."""
_UNITS = {"hour": "h", "day": "d", "week": "w", "month": "m", "year": "y"}
_WORDS = {"daily": "1d", "weekly": "1w", "monthly": "1m", "yearly": "1y"} | {
    name: f"1{unit}" for name, unit in _UNITS.items()
}
_NOWHERE = {"localtime", "Factory"}
"""Files beside the zones that name none: what they are is another computer's own affair."""

_SPAN = re.compile(r"([1-9][0-9]{0,3})\s*(?:([hdwmy])|(hour|day|week|month|year)s?)")


def parse(text: str, kind: str) -> str:
    """Return a rule of a kind, `every` or `after`, as it is stored: `every 2w`, `every mon,wed`.

    `none` stays what it is. Raises `ValueError` saying what a rule looks like.
    """
    phrase = text.strip().lower()
    if phrase == "none":
        return phrase
    phrase = _WORDS.get(phrase, phrase)
    if match := _SPAN.fullmatch(phrase):
        return f"{kind} {match[1]}{match[2] or _UNITS[match[3]]}"
    names = [name.strip() for name in phrase.split(",")]
    if kind == "every" and all(any(_is(name, day) for day in DAYS) for name in names):
        days = [day for day in DAYS if any(_is(name, day) for name in names)]
        return f"every {','.join(day[:SHORTEST] for day in days)}"
    example = "2w, 3d, month or mon,wed" if kind == "every" else "3d, 2w or month"
    raise ValueError(f"{text!r} is not how often: {example}")


def zone() -> str:
    """Return the name of the time zone in which days begin here.

    Raises `Usage` where days begin in one that has no name: a rule such as `CET-1CEST` or a file
    of one's own means nothing to the server, nor to the next computer.
    """
    setting = os.environ.get("TZ")
    name = _of_system() if setting is None else _of_setting(setting.removeprefix(":"))
    if name is None:
        told = "this system's time zone" if setting is None else f"TZ={setting}"
        raise Usage(
            f"a task recurs in a time zone, and {told} is none that has a name",
            hint="Name it: TZ=Europe/Berlin concord ...",
        )
    return name


def _is(name: str, day: str) -> bool:
    return len(name) >= SHORTEST and day.startswith(name)


def _of_setting(setting: str) -> str | None:
    """Return the zone that a value of TZ names, as the C library reads it."""
    if not setting:
        return "UTC"
    if setting.startswith("/"):
        setting = str(Path(setting).resolve()).rpartition("/zoneinfo/")[2]
    from zoneinfo import available_timezones

    if setting == "UTC":  # known even where no zones are installed
        return setting
    return setting if setting in available_timezones() - _NOWHERE else None


def _of_system() -> str | None:
    """Return the zone that the system is set to, UTC if it is set to none."""
    from zoneinfo import ZoneInfoNotFoundError

    import tzlocal

    try:
        name = cast("str | None", tzlocal.get_localzone_name())
    except ZoneInfoNotFoundError:  # its files contradict each other
        return None
    if name is None and time.tzname[0] == "UTC":
        return "UTC"
    return name
