"""`concord help`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, cast

import click

from concord.cli.lazy import Command
from concord.plain import visible

if TYPE_CHECKING:
    from concord.cli.root import Root


@click.command(
    "help", cls=Command, examples=("concord help", "concord help task", "concord help task edit")
)
@click.argument("path", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, path: tuple[str, ...]) -> None:
    """Show help for a command, or what an alias stands for."""
    current = ctx.find_root()
    root = cast("Root", current.command)
    words = root.expanded(path)
    found = root.follow(current, words)
    if words != path:
        told = shlex.join(words[: len(words) - len(path) + 1])
        click.echo(visible(f"{path[0]} stands for: {told}\n"))
    elif len(found.command_path.split()) <= len(path):
        raise click.UsageError(f"{found.command_path} has no subcommands", found)
    click.echo(visible(found.get_help()))
