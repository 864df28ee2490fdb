"""`concord init`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command


@dataclass(frozen=True, slots=True)
class Preparation:
    """What `init` did: the schema revision before and now, and you, if you are a user."""

    before: str | None
    schema: str
    user: str | None


@click.command(
    "init",
    cls=Command,
    examples=(
        "concord init",
        "CONCORD_DATABASE_URL=postgresql://ana@db.example.org/concord concord init",
    ),
)
@pass_app
def init(app: App) -> None:
    """Prepare the database, or bring it up to date. Safe to run again.

    Creates the schema, or migrates it to this version. Whoever does it first becomes the first
    user, who can add the others.
    """
    from concord import migrate
    from concord.database import Database
    from concord.sql import users

    app.render.check(Preparation)
    before, now = migrate.upgrade(app.settings)
    with Database(app.settings, app.command, observe=app.observe, newcomer="ignore") as database:
        you = database.run(users.enter)
    done = "is up to date" if before == now else ("created" if before is None else "migrated")
    name = app.settings.user
    app.render.report(
        Preparation(before, now, name if you else None),
        f"schema {now} {done}\n"
        + (f"you are {name}" if you else f"you are {name}, whom nobody has added yet"),
    )
