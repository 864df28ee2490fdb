"""Click groups whose commands are imported only when they run.

The short help stands in the map, so that `concord --help` imports no command at all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from concord.cli.app import App
from concord.cli.options import OUTPUT_SECTION, common_options
from concord.cli.querying import QueryWords

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from click.shell_completion import CompletionItem

CONTEXT: dict[str, Any] = {"max_content_width": 100}


class Entry(NamedTuple):
    """Where a command lives (`module:attribute` below `concord.cli`), and its short help."""

    target: str
    about: str


class Command(click.Command):
    """A command with the options that every command has, and examples ahead of its options."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params.extend(common_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a command line, in which a query may have terms that look like options."""
        for words in self._query_words():
            args = words.rewritten(self, ctx, args)
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what may begin with a dash: options, and negated terms of a query."""
        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("--") and incomplete != "-":
            for words in self._query_words():
                found += words.shell_complete(ctx, incomplete)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. Raises `Usage` for `--replica` where it does not belong."""
        App.of(ctx).check_replica()
        return super().invoke(ctx)

    def _query_words(self) -> list[QueryWords]:
        return [param for param in self.params if isinstance(param, QueryWords)]

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of the help option, in whatever context somebody asks."""
        return ["-h", "--help"]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, then examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(self.examples, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those that every command has."""
        _write_options(self, ctx, formatter)


class Group(click.Group):
    """A group that finds its commands in a map, imports them late and guesses at typing errors."""

    command_class = Command

    def __init__(
        self,
        *args: Any,
        entries: Mapping[str, Entry] | None = None,
        examples: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        kwargs.setdefault("invoke_without_command", True)
        kwargs.setdefault("callback", _show_help)
        super().__init__(*args, **kwargs)
        self.entries = dict(entries or {})
        self.examples = tuple(examples)
        self.params.extend(common_options())

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of the help option, in whatever context somebody asks."""
        return ["-h", "--help"]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands: those at hand, then those of the map."""
        return [*(name for name in self.commands if name not in self.entries), *self.entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its exact name, importing it."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = entry.target.partition(":")
        return getattr(import_module(f"concord.cli.{module}"), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with a suggestion that is never run by itself."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(name, self.candidates(ctx), n=3)
            raise click.UsageError(
                f"no such command: {ctx.command_path} {name}"
                + (f"; did you mean {' or '.join(near)}?" if near else ""),
                ctx,
            )
        return super().resolve_command(ctx, args)

    def candidates(self, ctx: click.Context) -> list[str]:
        """Return the words that somebody may have meant."""
        return self.list_commands(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their short help, importing none of those in the map."""
        rows = [(name, made.get_short_help_str(90)) for name, made in self.commands.items()]
        rows += [(name, entry.about) for name, entry in self.entries.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the group is for, then examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(self.examples, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands first: they are what one looks for in a group."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)


@click.pass_context
def _show_help(ctx: click.Context) -> None:
    """Answer a group's bare name."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _write_options(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    own: list[tuple[str, str]] = []
    output: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        # Arguments stand in the usage line; some releases of Click have a row for them as well.
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None:
            (output if param.name in OUTPUT_SECTION else own).append(record)
    for title, rows in (("Options", own), ("Output and identity", output)):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
