"""`concord demo`: the only part of the command line that shows what happens inside."""

from __future__ import annotations

from concord.cli.lazy import Entry, Group

ENTRIES = {
    "race": Entry("demo.race:race", "Race for the same tasks, and get a verdict that is a proof."),
    "check": Entry("demo.check:check", "Judge a race again, from its log alone."),
    "workflow": Entry("demo.workflow:workflow", "Create, assign, update and complete a task."),
    "anomalies": Entry(
        "demo.anomalies:anomalies", "Show which anomalies each isolation level lets happen."
    ),
    "step": Entry("demo.step:step", "Follow one scenario step by step, with its row versions."),
    "seed": Entry("demo.seed:seed", "Fill your database with made-up tasks, up to millions."),
}

demo = Group("demo", entries=ENTRIES, help="See on your own server what Concord promises.")
