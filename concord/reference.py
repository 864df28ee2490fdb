"""Generated documents: the reference in README.md and the completion scripts.

    python -m concord.reference            bring them up to date
    python -m concord.reference --check    exit 1 and name those that are stale

All of it is taken from what the command line itself uses, so that it cannot say anything else.
This is a tool for a checkout: nothing else imports it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concord.cli import root
from concord.cli.completion import SHELLS, script
from concord.cli.lazy import CONTEXT
from concord.errors import EXIT_CODES
from concord.settings import SETTINGS, variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).parents[1]

WIDTH = 100
"""Columns of the help texts, whatever terminal this runs in."""

COMMON_SECTION = "\nOutput and identity:\n"
"""Where the options begin that every command has: they are shown with the first one only."""


def documents(checkout: Path) -> dict[str, str]:
    """Return what the generated files of a checkout should hold, by relative path.

    Raises `click.ClickException` where README.md, or a marker in it, is missing.
    """
    try:
        readme = (checkout / "README.md").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise click.ClickException(f"{checkout} is no checkout: it has no README.md") from None
    for name, body in (
        ("exit codes", exit_codes()),
        ("settings", settings()),
        ("commands", commands()),
    ):
        readme = filled(readme, name, body)
    return {"README.md": readme} | {
        f"completions/concord.{shell}": script(shell) for shell in SHELLS
    }


def filled(text: str, name: str, body: str) -> str:
    """Return a text with new content between the markers of this name."""
    begin, end = f"<!-- begin {name}: generated -->", f"<!-- end {name} -->"
    made, count = re.subn(
        f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)}\n)",
        lambda _: body + "\n",
        text,
        flags=re.DOTALL,
    )
    if count != 1:
        raise click.ClickException(f"README.md needs one line {begin} and one line {end}")
    return made


def exit_codes() -> str:
    """Return the table of exit codes."""
    return table(
        ("code", "slug", "when"),
        [
            (str(int(code)), slug if slug == "–" else f"`{slug}`", when)
            for code, (slug, when) in EXIT_CODES.items()
        ],
    )


def settings() -> str:
    """Return the table of settings."""
    return table(
        ("setting", "environment variable", "default", "`.concord.toml`", "meaning"),
        [
            (
                f"`{name}`",
                f"`{variable(name)}`",
                "–" if setting.default is None else f"`{setting.default}`",
                "yes" if setting.project_file else "–",
                setting.about,
            )
            for name, setting in SETTINGS.items()
        ],
    )


def commands() -> str:
    """Return the help of every command, in the order in which the command line lists them."""
    sections: list[str] = []
    for ctx in contexts():
        text = ctx.get_help()
        if ctx.parent is not None:
            text = text.partition(COMMON_SECTION)[0].rstrip()
        sections.append(f"### {ctx.command_path}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


def contexts(ctx: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a context for a command and all below it, by default for `concord` itself."""
    if ctx is None:
        ctx = click.Context(root, info_name="concord", terminal_width=WIDTH, **CONTEXT)
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            assert command is not None
            yield from contexts(click.Context(command, info_name=name, parent=ctx))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, without a final line end."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a file is stale.")
def main(check: bool) -> None:
    """Bring the generated documents of this checkout up to date."""
    stale: list[str] = []
    for name, text in documents(CHECKOUT).items():
        path = CHECKOUT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for name in stale:
        click.echo(f"stale: {name}" if check else f"written: {name}", err=check)
    if check and stale:
        raise click.ClickException("run python -m concord.reference, and commit what it wrote")


if __name__ == "__main__":
    main(prog_name="python -m concord.reference")
