"""The log of a run: JSON Lines that the judge can go over again, wherever the run took place.

Each event is written when its race is over, and the last line says that the run came to its end.
The format is described in ARCHITECTURE.md.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from concord.errors import Usage
from concord.plain import dumps, jsonable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from concord.race.run import Raced


class Logbook:
    """Writes a log; nothing without a path. Raises `Usage` if the file cannot be written."""

    def __init__(self, path: Path | None, run: Mapping[str, Any]) -> None:
        self._races = 0
        try:
            self._file = path.open("w", encoding="utf-8") if path is not None else None
        except OSError as error:
            raise Usage(
                f"the log cannot be written: {error}", hint="Choose another --log FILE."
            ) from error
        self._write(run)

    def add(self, raced: Raced) -> None:
        """Write all that is known about a race, and the verdict."""
        for event in raced.events:
            self._write(event)
        number = raced.events[0]["race"]
        self._write({"type": "verdict", "race": number, **jsonable(raced.result)})
        self._races = number
        if self._file is not None:
            self._file.flush()

    def finish(self, exit_code: int) -> None:
        """Write that the run came to its end."""
        end = {"ended": time.time(), "races": self._races, "exit": exit_code}
        self._write({"type": "finished", **end})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, event: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(dumps(dict(event)) + "\n")
