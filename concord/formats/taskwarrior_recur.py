"""How often a task comes back, as Taskwarrior counts it and as Concord says it."""

from __future__ import annotations

import re

_RECUR = {
    "daily": "every 1d",
    "weekly": "every 1w",
    "biweekly": "every 2w",
    "fortnight": "every 2w",
    "weekdays": "every mon,tue,wed,thu,fri",
    "monthly": "every 1m",
    "bimonthly": "every 2m",
    "quarterly": "every 3m",
    "semiannual": "every 6m",
    "annual": "every 1y",
    "yearly": "every 1y",
    "biannual": "every 2y",
    "biyearly": "every 2y",
    # The only spans of years that it counts on the calendar.
    "p1y": "every 1y",
    "p2y": "every 2y",
}
# As Taskwarrior counts them: only `m` and `q` are months of the calendar, the longer words mean so
# many days.
_SPANS = {
    "h|hrs?|hours?": (1, "h"),
    "d|days?": (1, "d"),
    "w|wks?|weeks?": (1, "w"),
    "m": (1, "m"),
    "q": (3, "m"),
    "mos?|mths?|mnths|months?": (30, "d"),
    "qtrs?|quarters?": (91, "d"),
    "y|yrs?|years?": (365, "d"),
}
_ISO_SPAN = re.compile(r"p(?:([0-9]+[dwmy])|t([0-9]+h))")
_SPAN = re.compile(r"([0-9]*)([a-z]+)")
_LONGEST = 9999


def read(recur: str) -> str | None:
    """Return the rule that a `recur` means, None where Concord has no such rule."""
    recur = recur.strip().lower()
    if recur in _RECUR:
        return _RECUR[recur]
    iso = _ISO_SPAN.fullmatch(recur)
    span = _SPAN.fullmatch((iso[1] or iso[2]) if iso else recur)
    if span is None:
        return None
    for names, (factor, unit) in _SPANS.items():
        if re.fullmatch(names, span[2]):
            # No number of more digits than that is a rule; and `int` refuses thousands of them.
            number = int((span[1] or "1")[:5]) * factor
            return f"every {number}{unit}" if 0 < number <= _LONGEST else None
    return None


def write(rule: str) -> str | None:
    """Return the `recur` that means a rule, None where Taskwarrior has none."""
    for word, meaning in _RECUR.items():
        if meaning == rule:
            return word
    span = re.fullmatch("every ([0-9]+)([hdwm])", rule)
    return f"{span[1]}{span[2]}" if span else None
