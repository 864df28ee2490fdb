"""How often a task comes back: the rule as people type it, and as it is stored.

When the next one is due is the database's to say (`next_due`): completing a task makes the next
one there, wherever the completion comes from.
"""

from __future__ import annotations

import re

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"hour": "h", "day": "d", "week": "w", "month": "m", "year": "y"}
_WORDS = {"daily": "1d", "weekly": "1w", "monthly": "1m", "yearly": "1y"} | {
    name: f"1{unit}" for name, unit in _UNITS.items()
}
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
    names = [name.strip()[:3] for name in phrase.split(",") if re.fullmatch(r"\s*[a-z]+\s*", name)]
    if kind == "every" and names and len(names) == phrase.count(",") + 1 and {*names} <= {*DAYS}:
        return f"every {','.join(day for day in DAYS if day in names)}"
    example = "2w, 3d, month or mon,wed" if kind == "every" else "3d, 2w or month"
    raise ValueError(f"{text!r} is not how often: {example}")


def zone() -> str:
    """Return the name of the time zone in which days begin here, UTC if it has none."""
    import tzlocal

    return tzlocal.get_localzone_name() or "UTC"
