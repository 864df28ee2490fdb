"""`concord db`: the database behind the tasks."""

from __future__ import annotations

from concord.cli.lazy import Entry, Group

ENTRIES = {
    "explain": Entry("db.explain:explain", "Show the plan of what `task list` would list."),
}

db = Group("db", entries=ENTRIES, help="Look at the database behind the tasks.")
