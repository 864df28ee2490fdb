"""`concord due`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.filtering import narrowing
from concord.cli.lazy import Command
from concord.cli.options import COUNT, DURATION
from concord.errors import Empty

if TYPE_CHECKING:
    from datetime import timedelta


@click.command(
    "due",
    cls=Command,
    examples=(
        "concord due",
        "concord due --within 2d --assignee me",
        "concord due --quiet > /dev/null && echo 'something is due'",
    ),
)
@click.option(
    "--within",
    type=DURATION,
    default="1d",
    show_default=True,
    help="How far ahead to look, from now on.",
)
@narrowing
@click.option(
    "--limit",
    type=COUNT,
    metavar="N",
    default=100,
    show_default=True,
    help="Show at most N; 0 shows all.",
)
@pass_app
def due(app: App, within: timedelta, limit: int, **filters: Any) -> None:
    """List open tasks that are due soon or overdue, the earliest first.

    Everybody's, unless --assignee says whose. Nothing due: exit 8, with nothing on stdout.
    """
    from concord.sql import due as operations
    from concord.sql import listing

    wanted = listing.Filters(**filters)
    # One more than wanted tells whether the list is cut.
    found = app.run(operations.within, wanted, within, limit=limit + 1 if limit else None)
    if not found and app.render.output == "quiet":
        raise click.exceptions.Exit(Empty.exit_code)
    if not found:
        raise Empty("nothing is due", hint="Look further ahead with --within, such as 7d.")
    shown = found[:limit] if limit else found
    app.show(shown, many=True)
    app.cut(len(shown), len(found))
