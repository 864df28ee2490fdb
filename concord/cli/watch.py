"""`concord watch`."""

from __future__ import annotations

import math
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.options import DURATION, KEY, TASK_ID
from concord.waiting import outlast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from types import FrameType


@click.command(
    "watch",
    cls=Command,
    examples=(
        "concord watch --project API",
        "concord watch --jsonl --since beginning --for 1s",
        "concord watch --task 12 --count 1",
    ),
)
@click.option(
    "--since", metavar="CURSOR", help="Go on behind this cursor; beginning: everything. [now]"
)
@click.option("--project", "projects", type=KEY, multiple=True, help="Only of this project.")
@click.option(
    "--task",
    "tasks",
    type=TASK_ID,
    multiple=True,
    shell_complete=completing.tasks,
    help="Only of this task.",
)
@click.option(
    "--actor",
    "actors",
    metavar="NAME",
    multiple=True,
    shell_complete=completing.users,
    help="Only what NAME did.",
)
@click.option(
    "--interval",
    type=DURATION,
    default="500ms",
    show_default=True,
    help="How long to wait before the next look.",
)
@click.option("--for", "lasting", type=DURATION, help="End after so long.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N changes.")
@click.option(
    "--patience",
    type=DURATION,
    default="1m",
    show_default=True,
    help="How long to try to reach a database that went away.",
)
@pass_app
def watch(
    app: App,
    since: str | None,
    projects: Sequence[str],
    tasks: Sequence[int],
    actors: Sequence[str],
    interval: timedelta,
    lasting: timedelta | None,
    count: int | None,
    patience: timedelta,
) -> None:
    """Print changes as they are committed: each once, in commit order.

    Each line has a cursor. Whoever goes on from that of the last line they have seen misses
    nothing; they see changes again only of a transaction whose end they have not seen. Under
    --json, too, there is one object a line.
    """
    from concord.sql import watch as operations

    before = signal.signal(signal.SIGTERM, _end)
    filters = operations.Filters(projects=projects, tasks=tasks, actors=actors)
    start = None if since is None else operations.Cursor.parse(since)
    ends = math.inf if lasting is None else time.monotonic() + lasting.total_seconds()
    cursor = app.run(operations.begin, filters, start)
    show = app.render.stream()
    printed = 0
    try:
        while True:
            left = max(0, ends - time.monotonic())
            found = outlast(
                lambda at=cursor: app.run(operations.poll, filters, at),
                patience=min(left, patience.total_seconds()),
                pause=_pause,
            )
            changes = found.changes if count is None else found.changes[: count - printed]
            show(changes)
            printed += len(changes)
            cursor = found.cursor
            if printed == count or (left == 0 and not found.more):
                return
            if not found.more:
                _pause(min(interval.total_seconds(), max(0, ends - time.monotonic())))
    finally:
        signal.signal(signal.SIGTERM, before)
        if not printed:
            # Whoever wants to go on from here has no line to take the cursor from.
            hint = f"go on with --since {cursor}"
            app.render.notice("cursor", "nothing was seen", hint, cursor=str(cursor))


def _end(_number: int, _frame: FrameType | None) -> None:
    """Leave, and well: whoever sends SIGTERM has seen enough."""
    raise click.exceptions.Exit(0)


def _pause(seconds: float) -> None:
    """Wait, but no longer than somebody reads what is printed.

    Raises `BrokenPipeError` once the other end of stdout is closed.
    """
    poll = select.poll()
    poll.register(sys.stdout, 0)  # that the other end is closed is told unasked
    if poll.poll(math.ceil(seconds * 1000)):
        raise BrokenPipeError
