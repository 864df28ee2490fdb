"""Programs named `concord-NAME` on PATH: commands of others, run as `concord NAME`."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from concord import executables
from concord.cli.app import App
from concord.cli.lazy import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import NoReturn

PREFIX = "concord-"

_NAME = re.compile(r"\w[\w.-]*")
"""What a program's name may go on with: never a path."""


class Takeover(click.Command):
    """A command that becomes a program, whose all the words after its name are."""

    def __init__(self, name: str) -> None:
        super().__init__(name, context_settings=CONTEXT, add_help_option=False)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words alone: they are the program's, even `--help`."""
        ctx.args = list(args)
        return ctx.args


class External(Takeover):
    """A program that takes over this process."""

    def __init__(self, name: str, program: Path) -> None:
        super().__init__(name)
        self.program = program

    def get_help(self, ctx: click.Context) -> str:
        """Say whom to ask."""
        return f"{ctx.command_path} runs {self.program}; ask it: {ctx.command_path} --help"

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Become the program: its exit status, streams and signals are its own.

        Raises `Usage` if the system does not run it.
        """
        app = App.of(ctx)
        app.check_replica()
        executables.become(self.program, ctx.args, _environment(app))


def find(name: str) -> External | None:
    """Return the program of a name, the first on PATH."""
    if _NAME.fullmatch(name) is None:
        return None
    program = executables.find(f"{PREFIX}{name}")
    return None if program is None else External(name, program)


def names() -> Iterator[str]:
    """Yield the names of all such programs."""
    for folder in executables.folders():
        with suppress(OSError):
            for program in folder.glob(f"{PREFIX}*"):
                if executables.can_run(program):
                    yield program.name.removeprefix(PREFIX)


def _environment(app: App) -> dict[str, str]:
    """Return the environment in which a program acts as the flags before its name say."""
    from concord.settings import variable

    told = {variable(name): str(getattr(app.settings, name)) for name in app.flags}
    if app.output is not None:
        told[variable("output")] = app.output
    if app.no_color:
        told["NO_COLOR"] = "1"
    return {**os.environ, **told}
