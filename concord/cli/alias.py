"""`concord alias`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Command

if TYPE_CHECKING:
    from concord.cli.root import Root


@click.command(
    "alias",
    cls=Command,
    examples=(
        "concord alias mine 'task list --assignee me --status todo'",
        "concord alias",
        "concord alias mine --delete",
    ),
)
@click.argument("name", required=False, shell_complete=completing.alias_names)
@click.argument("command", required=False)
@click.option("--replace", is_flag=True, help="Even if the name stands for something else.")
@click.option("--delete", is_flag=True, help="Remove it.")
@click.pass_context
@pass_app
def alias(
    app: App,
    ctx: click.Context,
    name: str | None,
    command: str | None,
    replace: bool,
    delete: bool,
) -> None:
    """Give a command line a name of your own; what you type after it is appended.

    Without a command, show what NAME stands for; without a name, list them all. They are kept in
    your config.toml. No alias stands in for a command of Concord.
    """
    from concord import aliases, settings

    app.render.check(aliases.Alias)
    root = cast("Root", ctx.find_root().command)
    if delete:
        if name is None or command is not None or replace:
            raise click.UsageError("--delete goes with a name, and nothing else")
        app.show([aliases.remove(name)], many=False)
    elif name is None:
        found = [aliases.Alias(*pair) for pair in sorted(settings.aliases().items())]
        app.show(found, many=True)
        for shadowed in (each.name for each in found if each.name in root.entries):
            app.render.notice(
                "shadowed", f"{shadowed} is a command of Concord: its alias has no effect"
            )
    elif command is None:
        known = settings.aliases()
        if name not in known:
            raise aliases.not_found(name)
        app.show([aliases.Alias(name, known[name])], many=False)
    else:
        _check(root, ctx.find_root(), name, command)
        app.show([aliases.save(name, command, replace=replace)], many=False)


def _check(root: Root, ctx: click.Context, name: str, command: str) -> None:
    """Raise `Usage` or `click.UsageError` for an alias that would not work."""
    from concord import aliases, settings

    if name in root.entries:
        raise click.UsageError(f"{name} is a command of Concord", click.get_current_context())
    if aliases.NAME.fullmatch(name) is None:
        raise click.UsageError(
            f"{name!r} is no name of an alias: letters, digits, dashes, dots", ctx
        )
    known = settings.aliases() | {name: command}
    root.follow(ctx, aliases.expand([name], known, root.entries))
