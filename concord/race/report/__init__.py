"""The report of a run: one HTML file with tables and pictures, which needs nothing but a browser.

latency.py     how long operations took
waiting.py     lock waits over time, and how much of them the observer can have seen
wait_graph.py  who waited for whom at the worst moment
figures.py     the pictures, as plotly figures
markup.py      elements that escape their text
verdicts.py    the tables of results, and what each verdict rests on
races.py       the pictures of one scenario and of one race
page.py        the whole page; page.css and page.js are part of it
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def require(path: Path) -> None:
    """Raise `Usage`, before anything is raced, if no report can be written to this path."""
    if find_spec("plotly") is None:
        raise Usage(
            "a report needs plotly, which is not installed",
            hint="pip install 'concord-tasks[report]'",
        )
    if path.is_dir():
        raise _unwritable(path, "it is a directory")
    try:
        _temporary(path).unlink()
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def write(
    path: Path,
    run: Mapping[str, Any],
    races: Sequence[tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]],
) -> None:
    """Write the report of a run: the event that begins its log, and each race with its result.

    The file appears whole or not at all. Raises `Usage` if it cannot be written.
    """
    from concord.race.report.page import page

    text = page(run, races)
    try:
        temporary = _temporary(path)
        try:
            # A reason may quote what no encoding has: it is shown, and is no reason to fail.
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


def _temporary(path: Path) -> Path:
    """Return a new file beside `path`, with the rights that a file made there would have."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)
    finally:
        os.close(handle)
    return Path(name)


def _unwritable(path: Path, why: str | None) -> Usage:
    return Usage(
        f"the report cannot be written to {path}: {why or 'unknown error'}",
        hint="Choose another --report FILE.",
    )
