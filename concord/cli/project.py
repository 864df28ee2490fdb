"""`concord project`."""

from __future__ import annotations

import re
from typing import Any

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Entry, Group
from concord.cli.options import KEY
from concord.vocabulary import VISIBILITIES

project = Group(
    "project",
    entries={"member": Entry("member:member", "Say who sees a project, and who changes it.")},
    help="Group tasks.",
)


class _Limit(click.ParamType[Any]):
    """A number from 1 on, or `none`."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or the word."""
        text = str(value)
        if text == "none":
            return text
        if re.fullmatch("[0-9]{1,10}", text) is None or not 0 < int(text) < 2**31:
            self.fail(f"{text!r} is not a limit: a number from 1 on, or none")
        return int(text)


LIMIT = _Limit()

_key = click.argument("key", type=KEY)


@project.command(
    examples=(
        "concord project add API --name 'Public interface'",
        "concord project add HR --visibility private",
    )
)
@_key
@click.option("--name", metavar="TEXT", help="A name; the key if not given.")
@click.option("--description", metavar="TEXT", help="What it is about.")
@click.option(
    "--visibility",
    type=click.Choice(VISIBILITIES),
    default="shared",
    help="shared: for everybody; private: for those with a role in it.",
)
@pass_app
def add(app: App, key: str, name: str | None, description: str | None, visibility: str) -> None:
    """Create a project. A key is short and in capitals, such as API."""
    from concord.sql import projects

    app.show([app.run(projects.add, key, name, description, visibility)], many=False)


@project.command("list", examples=("concord project list --archived",))
@click.option("--archived", is_flag=True, help="Archived ones too.")
@pass_app
def list_projects(app: App, archived: bool) -> None:
    """List projects by key."""
    from concord.sql import projects

    app.show(app.run(projects.list_all, archived=archived), many=True)


@project.command(examples=("concord project show API",))
@_key
@pass_app
def show(app: App, key: str) -> None:
    """Show a project."""
    from concord.sql import projects

    app.render.details(app.run(projects.show, key))


@project.command(
    examples=(
        "concord project edit API --name 'Interface' --owner ana",
        "concord project edit API --wip-limit 3",
        "concord project edit API --visibility private",
    )
)
@_key
@click.option("--key", "new_key", type=KEY, help="A new key.")
@click.option("--name", metavar="TEXT", help="A new name.")
@click.option("--description", metavar="TEXT", help="A new description; none: no description.")
@click.option("--owner", metavar="NAME", shell_complete=completing.users, help="A new owner.")
@click.option(
    "--visibility",
    type=click.Choice(VISIBILITIES),
    help="shared: for everybody; private: for those with a role in it.",
)
@click.option(
    "--wip-limit", type=LIMIT, help="How many tasks may be in progress at once; none: any number."
)
@pass_app
def edit(app: App, key: str, new_key: str | None, **given: Any) -> None:
    """Change a project."""
    from concord.sql import projects

    fields = {name: value for name, value in given.items() if value is not None}
    fields |= {name: None for name in ("description", "wip_limit") if fields.get(name) == "none"}
    if new_key is not None:
        fields["key"] = new_key
    if not fields:
        raise click.UsageError(
            "name what to change: --key, --name, --description, --owner, --visibility or"
            " --wip-limit"
        )
    app.show([app.run(projects.edit, key, fields)], many=False)


@project.command(examples=("concord project archive API", "concord project archive API --undo"))
@_key
@click.option("--undo", is_flag=True, help="Open it again.")
@pass_app
def archive(app: App, key: str, undo: bool) -> None:
    """Archive a project: its tasks stay, new ones are refused."""
    from concord.sql import projects

    app.show([app.run(projects.archive, key, archived=not undo)], many=False)


@project.command(examples=("concord project delete API --yes",))
@_key
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, key: str, yes: bool) -> None:
    """Remove a project that has no tasks."""
    from concord.sql import projects

    app.confirm(f"Remove project {key}?", yes=yes)
    app.show([app.run(projects.delete, key)], many=False)
