"""`concord doctor --unknown`: what became of commits that were never answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.cli.app import App
    from concord.settings import Settings

LATEST = 100
"""How many transactions of the log are looked for at most: the latest ones."""


def tell(app: App, xids: Sequence[str]) -> None:
    """Print what became of transactions, by default of those that the log has as unknown."""
    from concord.sql import fates

    asked = xids or _logged(app.settings)
    found = app.run(fates.tell, asked) if asked else ()
    app.show(found, many=True)
    if not asked:
        app.render.notice("unknown", "the log knows of no commit that was not answered")
    elif any(fate.outcome == "not saved" for fate in found):
        app.render.notice("unknown", "what was not saved can be done again")


def _logged(settings: Settings) -> Sequence[str]:
    """Return the latest transactions of this database that the log has as unknown, oldest first."""
    found: dict[str, None] = {}
    try:
        with settings.log_path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"outcome": "unknown"' in line and (xid := _xid(line, settings.database_name)):
                    found.pop(xid, None)
                    found[xid] = None
    except FileNotFoundError:
        return ()
    return list(found)[-LATEST:]


def _xid(line: str, database: str) -> str | None:
    try:
        told = json.loads(line)
    except ValueError:  # cut off, as when the disk was full
        return None
    return told.get("xid") if told.get("database") == database else None
