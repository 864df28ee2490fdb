"""`concord board`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.filtering import narrowing
from concord.cli.lazy import Command
from concord.cli.options import COUNT, STATUS

if TYPE_CHECKING:
    from concord.vocabulary import Status


@click.command(
    "board",
    cls=Command,
    examples=(
        "concord board --project API",
        "concord board --assignee me --limit 5",
        "concord board --status todo --status canceled --json",
    ),
)
@click.option(
    "--status",
    "statuses",
    type=STATUS,
    multiple=True,
    help="These columns; unless told otherwise all but canceled.",
)
@narrowing
@click.option(
    "--limit",
    type=COUNT,
    metavar="N",
    default=10,
    show_default=True,
    help="At most N tasks a column; 0 shows all.",
)
@pass_app
def board(app: App, statuses: tuple[Status, ...], limit: int, **filters: Any) -> None:
    """Show tasks in columns, one for each status.

    What is open comes with the most urgent first (priority, due date, age), what is closed with the
    latest first.
    """
    from concord.render import board as drawing
    from concord.sql import board as operations
    from concord.sql import listing

    wanted = listing.Filters(statuses=statuses, **filters)
    drawing.show(app.render, app.run(operations.show, wanted, limit=limit or None))
