"""`concord demo workflow`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.models import Task

if TYPE_CHECKING:
    from concord.database import Operation, Record
    from concord.models import Change


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a demonstration and what its transaction did."""

    command: str
    operation: str
    isolation: str
    xid: str | None
    statements: tuple[str, ...]
    task: Task | None
    changes: tuple[Change, ...]


@click.command(
    "workflow",
    cls=Command,
    examples=("concord demo workflow", "concord demo workflow --json | jq '.[].isolation'"),
)
@pass_app
def workflow(app: App) -> None:
    """Create, assign, update and complete a task, step by step.

    Shows each transaction's isolation level and statements, the task's version and what history
    recorded. It works in a scratch schema that is dropped at the end: nothing stays behind.
    """
    from concord.scratch import scratch_database
    from concord.sql import assignments, history, projects, tasks, users

    app.render.check(Step)
    told_at_end = app.fields is not None or app.render.output not in ("table", "tsv")
    records: list[Record] = []
    steps: list[Step] = []

    with scratch_database(app.settings, app.command, records.append) as database:

        def step(command: str, operation: Operation[..., Any], *args: Any, **kwargs: Any) -> Any:
            records.clear()
            result = database.run(operation, *args, **kwargs)
            record = records[-1]
            told = database.run(history.page, history.Filters(xid=record.xid))
            steps.append(
                Step(
                    command,
                    record.operation,
                    str(record.isolation),
                    record.xid,
                    tuple(statement.text.strip() for statement in record.statements),
                    _task(result),
                    told.items[::-1],
                )
            )
            if not told_at_end:
                app.render.write(_told(steps[-1], len(steps)))
            return result

        database.run(users.enter)
        # You are a user already, and may have just that name.
        colleague = "bo" if app.settings.user.lower() == "ana" else "ana"
        step(f"user add {colleague}", users.add, colleague)
        step(
            "project add SCRATCH --name 'A scratch project'",
            projects.add,
            "SCRATCH",
            "A scratch project",
        )
        new = tasks.NewTask("Prove that nothing is lost", "SCRATCH", priority="high")
        made: Task = step("task add 'Prove that nothing is lost' --project SCRATCH", tasks.add, new)
        ids = [made.id]
        step(f"task assign {made.id} --to {colleague}", assignments.assign, ids, [colleague])
        step(f"task start {made.id}", tasks.set_status, ids, "in_progress")
        step(
            f"task edit {made.id} --append-description 'Read ARCHITECTURE.md.'",
            tasks.edit,
            ids,
            {},
            append_description="Read ARCHITECTURE.md.",
        )
        step(f"task done {made.id}", tasks.set_status, ids, "completed")
    if told_at_end:
        app.show(steps, many=True)
    else:
        app.render.write(f"{len(steps)} transactions committed; the scratch schema is gone again.")


def _task(result: Any) -> Task | None:
    """Return the task that an operation returned, alone or in a tuple of one."""
    match result:
        case Task():
            return result
        case (Task() as only,):
            return only
        case _:
            return None


def _told(step: Step, number: int) -> str:
    from concord.plain import cell

    lines = [
        f"{number}. concord {step.command}",
        f"   {step.isolation}, transaction {step.xid}",
        *(f"     {' '.join(line.split())}" for line in _shown(step)),
    ]
    if step.task is not None:
        lines.append(
            f"   task {step.task.id} is at version {step.task.version}: {step.task.status}, "
            f"assigned to {', '.join(step.task.assignees) or 'nobody'}"
        )
    for change in step.changes:
        fields = ", ".join(
            f"{name}: {cell(change.old.get(name)) or '–'} → {cell(change.new.get(name)) or '–'}"
            for name in sorted(change.old.keys() | change.new.keys())
        )
        lines.append(f"   history: {change.actor} · {change.entity} {change.entity_id} · {fields}")
    return "\n".join(lines) + "\n"


def _shown(step: Step) -> list[str]:
    """Return the statements as a reader wants them: without comments and preamble."""
    begin, *rest = step.statements
    plain = [
        " ".join(line for line in text.splitlines() if not line.startswith("--")) for text in rest
    ]
    return [begin.partition(";")[0], *(text for text in plain if "FROM tasks t JOIN" not in text)]
