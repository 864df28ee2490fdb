"""`concord db`: the database behind the tasks."""

from __future__ import annotations

from concord.cli.lazy import Entry, Group

ENTRIES = {
    "start": Entry("db.server:start", "Start the embedded server, if it does not run."),
    "stop": Entry("db.server:stop", "Stop the embedded server, if it runs."),
    "status": Entry("db.server:status", "Tell whether the server runs, and what it has."),
    "url": Entry("db.server:url", "Print the database's URL, for other programs."),
    "psql": Entry("db.psql:psql", "Become psql on the database in use."),
    "backup": Entry("db.backup:backup", "Write all of Concord to a file."),
    "restore": Entry("db.restore:restore", "Put back what `db backup` wrote."),
    "upgrade": Entry("db.upgrade:upgrade", "Carry the data over to a newer PostgreSQL."),
    "explain": Entry("db.explain:explain", "Show the plan of what `task list` would list."),
}

db = Group("db", entries=ENTRIES, help="Run, reach and copy the database behind the tasks.")
