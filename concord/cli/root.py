"""The group `concord` itself: its own commands, then the user's aliases, then programs on PATH."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from concord.cli.lazy import Group
from concord.errors import ConcordError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem


class Root(Group):
    """A group whose first word may be of the user's own making.

    Their file, and PATH, are looked at only for a word that is no command.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that words begin with, whatever they call it."""
        try:
            args = [*self.expanded(args)]
        except ConcordError:
            if not ctx.resilient_parsing:  # completion has nobody to tell
                raise
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its exact name: our own, else a program."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        from concord.cli.external import find

        return find(cmd_name)

    def expanded(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return words with the alias that they begin with replaced. Raises `Usage`."""
        if not words or words[0] in self.entries:
            return tuple(words)
        from concord.aliases import expand
        from concord.settings import aliases

        return expand(words, aliases(), self.entries)

    def follow(self, ctx: click.Context, words: Sequence[str]) -> click.Context:
        """Return the context of the command that words lead to, up to its arguments.

        Raises `click.UsageError` where a group has no such command.
        """
        for word in words:
            if not isinstance(ctx.command, click.Group) or word.startswith("-"):
                break
            _, command, _ = ctx.command.resolve_command(ctx, [word])
            assert command is not None
            ctx = command.context_class(
                command, info_name=word, parent=ctx, **command.context_settings
            )
        return ctx

    def candidates(self, ctx: click.Context) -> list[str]:
        """Return all words that would have been understood, aliases and programs too."""
        from concord.cli.external import names
        from concord.settings import aliases

        found = super().candidates(ctx)
        with suppress(ConcordError):
            found += aliases()
        return list(dict.fromkeys([*found, *names()]))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands, options and aliases."""
        from concord.cli.completing import aliases

        return super().shell_complete(ctx, incomplete) + aliases(incomplete)
