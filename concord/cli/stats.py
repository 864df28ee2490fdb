"""`concord stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.options import KEY

if TYPE_CHECKING:
    from datetime import date

    from concord.sql.stats import By

WEEKS, DAYS = 8, 14
"""How far back to look, unless told otherwise."""


@click.command(
    "stats",
    cls=Command,
    examples=(
        "concord stats",
        "concord stats daily --days 30 --chart",
        "concord stats weekly --project API --by person",
        "concord stats --json | jq '.burndown'",
    ),
)
@click.argument(
    "every", metavar="[weekly|daily]", type=click.Choice(["weekly", "daily"]), required=False
)
@click.option("--project", "projects", type=KEY, multiple=True, help="Of this project.")
@click.option(
    "--person",
    "people",
    metavar="NAME",
    multiple=True,
    shell_complete=completing.users,
    help="Assigned to NAME, me or none.",
)
@click.option("--tag", "tags", multiple=True, shell_complete=completing.tags, help="With this tag.")
@click.option(
    "--weeks", type=click.IntRange(1, 520), metavar="N", help="This week and the N-1 before it."
)
@click.option(
    "--days", type=click.IntRange(1, 3660), metavar="N", help="Today and the N-1 days before it."
)
@click.option(
    "--by", type=click.Choice(["project", "person", "tag"]), help="Tell these apart as well."
)
@click.option("--chart", is_flag=True, help="Draw it: bars, and the open tasks of each day.")
@pass_app
def stats(
    app: App,
    every: str | None,
    projects: tuple[str, ...],
    people: tuple[str, ...],
    tags: tuple[str, ...],
    weeks: int | None,
    days: int | None,
    by: By | None,
    chart: bool,
) -> None:
    """Show what was created, completed and canceled by week or day, and what is open.

    Of what was completed, lead is the time since it was created and cycle since it was started:
    half took at most p50, nine of ten at most p90. Days are those of your time zone, weeks begin
    on Monday. It is told from the tasks as they are now: one that was reopened counts as open all
    along, one in the trash not at all.
    """
    from concord import dates
    from concord.recurrence import zone
    from concord.render import charts
    from concord.sql import listing
    from concord.sql import stats as operations

    if weeks is not None and days is not None:
        raise click.UsageError("--weeks and --days exclude each other")
    daily = every == "daily" if every else days is not None
    last = dates.local_now().date()
    told = app.run(
        operations.flow,
        listing.Filters(projects=projects, assignees=people, tags=tags),
        first=_first(last, daily, weeks, days),
        last=last,
        zone=zone(),
        period="day" if daily else "week",
        by=by,
    )
    charts.show(app.render, told, chart=chart)


def _first(last: date, daily: bool, weeks: int | None, days: int | None) -> date:
    """Return the first day to look at: a Monday, where it is about weeks."""
    from datetime import timedelta

    monday = last - timedelta(days=last.weekday())
    if weeks is not None:
        return monday - timedelta(weeks=weeks - 1)
    if days is None and not daily:
        return monday - timedelta(weeks=WEEKS - 1)
    first = last - timedelta(days=(days or DAYS) - 1)
    return first if daily else first - timedelta(days=first.weekday())
