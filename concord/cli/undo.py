"""`concord undo`."""

from __future__ import annotations

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command

MOST = 1000
"""Transactions that are undone at once."""


@click.command(
    "undo",
    cls=Command,
    examples=(
        "concord undo --dry-run",
        "concord undo",
        "concord undo --last 3",
        "concord undo --change 4711",
    ),
)
@click.option(
    "--last",
    type=click.IntRange(1, MOST),
    metavar="N",
    help="The N latest ones, newest first, all or none.  [default: 1]",
)
@click.option(
    "--change",
    type=click.IntRange(1),
    metavar="ID",
    help="The one that made this change; its id is in the history.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and change nothing.")
@pass_app
def undo(app: App, last: int | None, change: int | None, dry_run: bool) -> None:
    """Undo your latest operation; an undo as well.

    A bulk operation is undone as a whole. What somebody changed since is not: exit 4, and nothing
    is written. Nothing to undo: exit 8.
    """
    if last is not None and change is not None:
        raise click.UsageError("--last and --change exclude each other")
    from concord.sql import undo as operations

    undone = app.run(operations.run, last=last or 1, change=change, dry_run=dry_run)
    app.show(undone, many=True)
    if dry_run and app.render.draws:
        app.render.notice("dry_run", "nothing was changed: this is what would be")
