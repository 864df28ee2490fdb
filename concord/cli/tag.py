"""`concord tag`."""

from __future__ import annotations

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Group

tag = Group("tag", help="Label tasks. To put a tag on a task: concord task tag.")

_name = click.argument("name", shell_complete=completing.tags)


@tag.command(examples=("concord tag add bug",))
@click.argument("name")
@pass_app
def add(app: App, name: str) -> None:
    """Create a tag."""
    from concord.sql import tags

    app.show([app.run(tags.add, name)], many=False)


@tag.command("list", examples=("concord tag list",))
@pass_app
def list_tags(app: App) -> None:
    """List tags by name, with the number of tasks that carry each."""
    from concord.sql import tags

    app.show(app.run(tags.list_all), many=True)


@tag.command(examples=("concord tag rename bug defect",))
@_name
@click.argument("new_name")
@pass_app
def rename(app: App, name: str, new_name: str) -> None:
    """Rename a tag on all its tasks."""
    from concord.sql import tags

    app.show([app.run(tags.rename, name, new_name)], many=False)


@tag.command(examples=("concord tag delete stale --yes",))
@_name
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def delete(app: App, name: str, yes: bool) -> None:
    """Remove a tag from all its tasks, and for good."""
    from concord.sql import tags

    app.confirm(f"Remove tag {name} from all its tasks?", yes=yes)
    app.show([app.run(tags.delete, name)], many=False)
