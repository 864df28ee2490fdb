"""`concord demo`: the only part of the command line that shows what happens inside."""

from __future__ import annotations

from concord.cli.lazy import Entry, Group

ENTRIES = {
    "check": Entry("demo.check:check", "Judge a race again, from its log alone."),
    "workflow": Entry("demo.workflow:workflow", "Create, assign, update and complete a task."),
}

demo = Group("demo", entries=ENTRIES, help="See on your own server what Concord promises.")
