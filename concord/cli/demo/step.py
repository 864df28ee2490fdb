"""`concord demo step`."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concord.cli.app import App, pass_app
from concord.cli.demo.choices import LEVEL, SCENARIO
from concord.cli.lazy import Command
from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from concord.race.interleaving.mvcc import View
    from concord.race.interleaving.spec import Spec
    from concord.race.interleaving.transcript import Moment


@click.command(
    "step",
    cls=Command,
    examples=(
        "concord demo step lost-update",
        "concord demo step write-skew --isolation serializable --interactive",
        "concord demo step --file my.spec",
    ),
)
@click.argument("name", type=SCENARIO, required=False)
@click.option(
    "--file",
    "file",
    metavar="SPEC",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="A scenario of your own, in the format of PostgreSQL's isolation tests.",
)
@click.option(
    "--isolation",
    type=LEVEL,
    default="read committed",
    show_default=True,
    help="The level at which a plain BEGIN begins.",
)
@click.option("--interactive", is_flag=True, help="Wait for a key before each step.")
@pass_app
def step(app: App, name: str | None, file: str | None, isolation: str, interactive: bool) -> None:
    """Follow one scenario step by step, with the row versions behind it.

    NAME is a scenario of `demo anomalies`. Each session has a column. After each step come the
    versions of the rows as they lie in the table: ctid, xmin, xmax and what it means, and which
    session sees which version, and why. Works in a scratch schema.
    """
    from concord.race.interleaving.laboratory import laboratory
    from concord.race.interleaving.transcript import Moment, moments, opening, passages
    from concord.render.transcript import show

    app.render.check(Moment)
    collected = app.fields is not None or app.render.output not in ("table", "tsv")
    if interactive and (collected or not sys.stdin.isatty()):
        raise Usage(
            "--interactive needs somebody at a terminal",
            hint="Leave it out where a program reads the result.",
        )
    spec = _spec(app, name, file)
    found: list[Moment] = []
    with (
        _keys() if interactive else nullcontext(lambda: True) as go_on,
        laboratory(app.settings, app.command) as lab,
    ):
        for number in range(1, len(spec.permutations) + 1):
            before: View | None = None
            left = len(spec.permutations[number - 1])
            with closing(moments(lab, spec, number, isolation)) as run:
                for group in run:
                    found += group
                    if not collected:
                        told = (
                            passages(spec, group, before)
                            if group
                            else opening(spec, number, isolation, name or spec.name)
                        )
                        show(app.render, len(spec.sessions), told)
                        before = group[-1].view if group else None
                    if left and not go_on():
                        return
                    left -= bool(left)
    if collected:
        app.show(found, many=True)


def _spec(app: App, name: str | None, file: str | None) -> Spec:
    """Return the spec to run. Raises `Usage`."""
    from concord.race.interleaving import catalogue
    from concord.race.interleaving.spec import parse

    if (name is None) == (file is None):
        raise Usage(
            "name a scenario, or a file with --file"
            if name is None
            else "name a scenario or a file, not both",
            hint=f"Scenarios: {', '.join(catalogue.names())}",
        )
    if name is not None:
        return catalogue.find(name).spec()
    assert file is not None
    if file == "-":
        return parse(app.read_stdin(), "stdin")
    try:
        return parse(Path(file).read_text(encoding="utf-8"), file)
    except OSError as error:
        raise Usage(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Usage(f"{file} is not valid Unicode", hint="Save it in UTF-8.") from None


@contextmanager
def _keys() -> Generator[Callable[[], bool]]:
    """Yield what waits for a key and says whether to go on. Ctrl-C interrupts, as anywhere."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    # Once for all steps: a key that is pressed before its step is not lost.
    tty.setcbreak(terminal, termios.TCSADRAIN)

    def go_on() -> bool:
        click.echo("— any key: the next step; q: leave —", err=True)
        return os.read(terminal, 1) not in (b"", b"q", b"Q")

    try:
        yield go_on
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
