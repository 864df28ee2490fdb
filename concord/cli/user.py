"""`concord user`."""

from __future__ import annotations

from typing import Any

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Group

user = Group("user", help="Add and list the people, scripts and agents who act.")

_name = click.argument("name", shell_complete=completing.users)


@user.command(examples=("concord user add ana --email ana@example.org",))
@click.argument("name")
@click.option("--email", metavar="ADDRESS", help="An e-mail address.")
@pass_app
def add(app: App, name: str, email: str | None) -> None:
    """Add a user."""
    from concord.sql import users

    app.show([app.run(users.add, name, email)], many=False)


@user.command("list", examples=("concord user list --quiet",))
@pass_app
def list_users(app: App) -> None:
    """List all users by name."""
    from concord.sql import users

    app.show(app.run(users.list_all), many=True)


@user.command(examples=("concord user show me",))
@_name
@pass_app
def show(app: App, name: str) -> None:
    """Show a user; me is you."""
    from concord.sql import users

    app.render.details(app.run(users.show, name))


@user.command(examples=("concord user edit ana --email none", "concord user edit ana --name anna"))
@_name
@click.option("--name", "username", metavar="NAME", help="A new name.")
@click.option("--email", metavar="ADDRESS", help="A new e-mail address; none: no address.")
@pass_app
def edit(app: App, name: str, username: str | None, email: str | None) -> None:
    """Change a user's name or e-mail address."""
    from concord.sql import users

    fields: dict[str, Any] = {}
    if username is not None:
        fields["username"] = username
    if email is not None:
        fields["email"] = None if email == "none" else email
    if not fields:
        raise click.UsageError("name what to change: --name or --email")
    app.show([app.run(users.edit, name, fields)], many=False)


@user.command(examples=("concord user delete bo --yes",))
@_name
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, name: str, yes: bool) -> None:
    """Remove a user who owns nothing; their assignments go too, their history stays."""
    from concord.sql import users

    app.confirm(f"Remove user {name} and all their assignments?", yes=yes)
    app.show([app.run(users.delete, name)], many=False)
