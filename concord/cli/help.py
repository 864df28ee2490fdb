"""`concord help`."""

from __future__ import annotations

import click

from concord.cli.lazy import Command


@click.command(
    "help", cls=Command, examples=("concord help", "concord help task", "concord help task edit")
)
@click.argument("path", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, path: tuple[str, ...]) -> None:
    """Show help for a command."""
    current = ctx.find_root()
    for name in path:
        if not isinstance(current.command, click.Group):
            raise click.UsageError(f"{current.command_path} has no subcommands", current)
        _, command, _ = current.command.resolve_command(current, [name])
        assert command is not None
        current = command.context_class(
            command, info_name=name, parent=current, **command.context_settings
        )
    click.echo(current.get_help())
