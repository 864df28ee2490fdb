"""Clients whose clock is wrong, or jumps: libfaketime comes between them and the system."""

from __future__ import annotations

from pathlib import Path

_FOUND = sorted(
    str(path)
    for root in ("/usr/lib", "/usr/local/lib")
    for path in Path(root).glob("**/faketime/libfaketimeMT.so.1")
)
LIBRARY = _FOUND[0] if _FOUND else None
"""Debian's package faketime has it; a process that is started with it is told another time."""

REASON = "libfaketime is not installed"

OFFSETS = ("+400d", "-400d", "+5h", "-50m")
"""How far off a clock may be."""

# A clock that is set wrong counts its seconds right: what only counts them is not to be misled.
_WALL_CLOCK_ONLY = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


def skewed(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is so far off."""
    assert LIBRARY is not None
    return {"LD_PRELOAD": LIBRARY, "FAKETIME": offset, **_WALL_CLOCK_ONLY}


def jumping(file: Path) -> dict[str, str]:
    """Return the environment of a process whose clock is as far off as a file says just now."""
    assert LIBRARY is not None
    return {
        "LD_PRELOAD": LIBRARY,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        **_WALL_CLOCK_ONLY,
    }
