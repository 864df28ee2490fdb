"""`concord history`."""

from __future__ import annotations

import re

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.options import TASK_ID, paging


@click.command(
    "history",
    cls=Command,
    examples=(
        "concord history --limit 20",
        "concord history 12 --json",
        "concord history --actor ana",
    ),
)
@click.argument("task_id", metavar="[TASK]", type=TASK_ID, required=False)
@click.option("--actor", metavar="NAME", shell_complete=completing.users, help="What NAME did.")
@click.option("--xid", metavar="ID", help="The changes of one transaction.")
@paging(100)
@pass_app
def history(
    app: App,
    task_id: int | None,
    actor: str | None,
    xid: str | None,
    limit: int,
    skip: int,
    after: str | None,
) -> None:
    """Show who changed what, newest first. It outlives what it tells of."""
    show_history(app, task_id, actor=actor, xid=xid, limit=limit, skip=skip, after=after)


def show_history(
    app: App,
    task_id: int | None,
    *,
    actor: str | None = None,
    xid: str | None = None,
    limit: int,
    skip: int,
    after: str | None,
) -> None:
    """Print a page of history."""
    for name, value in (("--after", after), ("--xid", xid)):
        if value is not None and not re.fullmatch(r"[0-9]{1,18}", value):
            raise click.UsageError(f"{name}: {value!r} is not a number that history printed")
    from concord.sql import history as operations

    found = app.run(
        operations.page,
        operations.Filters(task=task_id, actor=actor, xid=xid),
        limit=limit or None,
        skip=skip,
        after=None if after is None else int(after),
    )
    app.page(found, limit)
