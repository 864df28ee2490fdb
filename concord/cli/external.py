"""Programs named `concord-NAME` on PATH: commands of others, run as `concord NAME`."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concord.cli.app import App
from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

PREFIX = "concord-"

_NAME = re.compile(r"\w[\w.-]*")
"""What a program's name may go on with: never a path."""


class External(click.Command):
    """A program that takes over this process, with all the words after its name."""

    def __init__(self, name: str, program: Path) -> None:
        super().__init__(name, add_help_option=False)
        self.program = program

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words alone: they are the program's, even `--help`."""
        ctx.args = list(args)
        return ctx.args

    def get_help(self, ctx: click.Context) -> str:
        """Say whom to ask."""
        return f"{ctx.command_path} runs {self.program}; ask it: {ctx.command_path} --help"

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Become the program: its exit status, streams and signals are its own.

        Raises `Usage` if the system does not run it.
        """
        environment = _environment(App.of(ctx))
        # Python ignores these two, and what it becomes would go on doing so.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execve(self.program, [self.program.name, *ctx.args], environment)  # noqa: S606
        except OSError as error:
            raise Usage(
                f"cannot run {self.program}: {error.strerror}",
                hint="A script's first line names what runs it, such as #!/bin/sh.",
            ) from None


def find(name: str) -> External | None:
    """Return the program of a name, the first on PATH."""
    if _NAME.fullmatch(name) is None:
        return None
    for folder in _folders():
        program = folder / f"{PREFIX}{name}"
        if _can_run(program):
            return External(name, program)
    return None


def names() -> Iterator[str]:
    """Yield the names of all such programs."""
    for folder in _folders():
        with suppress(OSError):
            for program in folder.glob(f"{PREFIX}*"):
                if _can_run(program):
                    yield program.name.removeprefix(PREFIX)


def _can_run(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)


def _folders() -> Iterator[Path]:
    """Yield the folders of PATH, but for those that depend on where we are."""
    yield from (Path(folder) for folder in os.get_exec_path() if Path(folder).is_absolute())


def _environment(app: App) -> dict[str, str]:
    """Return the environment in which a program acts as the flags before its name say."""
    from concord.settings import variable

    told = {variable(name): str(getattr(app.settings, name)) for name in app.flags}
    if app.output is not None:
        told[variable("output")] = app.output
    if app.no_color:
        told["NO_COLOR"] = "1"
    return {**os.environ, **told}
