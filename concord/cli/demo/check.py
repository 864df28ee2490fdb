"""`concord demo check`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.errors import Refused, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from concord.race.judge import Result

LONGEST_LINE: Final = 2**26
"""Bytes: a file whose lines are longer is something else than a log."""

SHOWN: Final = 8
"""Objections in words; all of them are in the details."""


@dataclass(frozen=True, slots=True)
class LogState:
    """Whether the run came to its end, and whether all that it recorded is confirmed."""

    whole: bool
    agrees: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """A log that was judged anew, as JSON has it."""

    settings: Mapping[str, Any]
    results: tuple[Result, ...]
    log: LogState


@click.command(
    "check",
    cls=Command,
    examples=(
        "concord demo check race.jsonl",
        "zcat race.jsonl.gz | concord demo check - --json | jq -r '.results[].verdict'",
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@pass_app
def check(app: App, file: str) -> None:
    """Judge a race again, from its log alone.

    FILE is what `demo race --log` wrote, or - for stdin. No server is needed, and nothing that
    took part in the race: each operation, version and value is held against all others, so that a
    log in which one is missing, doubled, invented or altered does not pass.

    Exits with 0 if every guarded race is proved, the controls lost updates, and the verdicts are
    those that were recorded; with 1 if not; with 2 if FILE is no such log.
    """
    from concord.race import judge

    app.render.check(judge.Result)
    judgement = judge.judge_log(_lines(file), "stdin" if file == "-" else file)
    if app.render.output == "json" and app.fields is None:
        state = LogState(judgement.whole, judgement.agrees)
        app.show([Checked(judgement.settings, judgement.results, state)], many=False)
    else:
        app.show(judgement.results, many=True)
    if wrong := judgement.objections:
        more = len(wrong) - SHOWN
        raise Refused(
            "; ".join(wrong[:SHOWN]) + (f"; and {more} more" if more > 0 else ""),
            hint="This log is no proof. What each verdict rests on: --json",
            objections=wrong,
        )


def _lines(file: str) -> Iterator[bytes]:
    try:
        if file == "-":
            yield from _limited(sys.stdin.buffer)
        else:
            with Path(file).open("rb") as stream:
                yield from _limited(stream)
    except OSError as error:
        raise Usage(f"cannot read {file}: {error.strerror}", hint="Name a file, or -.") from None


def _limited(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(LONGEST_LINE):
        yield line
