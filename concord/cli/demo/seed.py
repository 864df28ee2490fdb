"""`concord demo seed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command

if TYPE_CHECKING:
    from concord.database import Database


@click.command(
    "seed",
    cls=Command,
    examples=(
        "concord demo seed --tasks 10000",
        "concord demo seed --tasks 1000000 --project-prefix BIG- --yes --json",
    ),
)
@click.option(
    "--tasks", type=click.IntRange(1, 10_000_000), required=True, help="How many to make."
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Of all choices: the same number makes the same tasks.",
)
@click.option(
    "--project-prefix",
    "prefix",
    default="",
    metavar="KEY",
    help="What comes before the names of the new projects.",
)
@click.option("--yes", is_flag=True, help="Do not ask, even where there are tasks already.")
@pass_app
def seed(app: App, tasks: int, seed: int, prefix: str, yes: bool) -> None:
    """Fill your database with made-up projects, people and tasks of two years.

    Adds to what is there and removes nothing, all of it in one transaction: when it is interrupted,
    nothing is left. It asks first; where there are tasks already, it wants --yes. Times count back
    from now; all else is the same for the same options.
    """
    from datetime import UTC, datetime

    from concord.database import Database
    from concord.seed import load
    from concord.seed.rows import Plan

    app.render.check(load.Seeded)
    plan = Plan(tasks, seed, datetime.now(UTC), prefix.upper())
    # What it makes is other people's too: only the owner of the tables may.
    with Database(app.settings, app.command, observe=app.observe, owner=True) as database:
        _require_empty(database, yes=yes)
        app.confirm(
            f"This adds {tasks:,} tasks to {_place(app)}, in {len(plan.projects)} projects,"
            f" with {len(plan.users)} users and {len(plan.tags)} tags. Go on?",
            yes=yes,
        )
        with app.render.meter() as show:
            made = database.run(load.fill, plan, lambda done: show("demo seed", done, tasks))
    app.show([made], many=False)


def _require_empty(database: Database, *, yes: bool) -> None:
    from concord.errors import Refused
    from concord.seed import load

    if not yes and database.run(load.has_tasks):
        raise Refused(
            "the database has tasks already, and made-up ones would mix with them",
            hint="Use a database of its own (CONCORD_DATA_DIR, CONCORD_DATABASE_URL),"
            " or add them all the same with --yes.",
        )


def _place(app: App) -> str:
    if app.settings.embedded:
        return f"your database in {app.settings.data_dir}"
    info = app.database.connection().info
    return f"the database {info.dbname} on {info.host or 'this machine'}"
