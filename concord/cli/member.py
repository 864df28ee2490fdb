"""`concord project member`."""

from __future__ import annotations

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Group
from concord.cli.options import KEY
from concord.vocabulary import ROLES

member = Group("member", help="Say who sees a project, and who changes it.")

_key = click.argument("key", type=KEY)
_name = click.argument("name", shell_complete=completing.users)


@member.command(
    examples=(
        "concord project member add API bo",
        "concord project member add API cy --role viewer",
    )
)
@_key
@_name
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="member",
    help="viewer: looks on; member: changes tasks; owner: changes the project too.",
)
@pass_app
def add(app: App, key: str, name: str, role: str) -> None:
    """Give somebody a role in a project, or another one.

    For its owners. A shared project is open to everybody as to a member; a viewer is held to
    looking on even there.
    """
    from concord.sql import members

    app.show([app.run(members.add, key, name, role)], many=False)


@member.command(
    examples=("concord project member remove API bo", "concord project member remove API me")
)
@_key
@_name
@pass_app
def remove(app: App, key: str, name: str) -> None:
    """Take somebody's role in a project away; me: leave it.

    For its owners, and for whoever leaves. Tasks stay assigned, and who owns a task or has it
    assigned still sees it. In a shared project they are as everybody else again.
    """
    from concord.sql import members

    app.show([app.run(members.remove, key, name)], many=False)


@member.command("list", examples=("concord project member list API",))
@_key
@pass_app
def list_members(app: App, key: str) -> None:
    """List those with a role in a project, owners first."""
    from concord.sql import members

    app.show(app.run(members.list_all, key), many=True)
