"""`concord agent`."""

from __future__ import annotations

import math
import shlex
import shutil
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.filtering import narrowing
from concord.cli.lazy import CONTEXT, Group
from concord.cli.options import DURATION

if TYPE_CHECKING:
    from collections.abc import Sequence

agent = Group("agent", help="Work through tasks with a command of your own.")

SHORTEST_LEASE = timedelta(seconds=1)


@agent.command(
    context_settings={**CONTEXT, "allow_interspersed_args": False},  # the rest is COMMAND's
    examples=(
        "concord agent run --project API --lease 15m --wait 5m -- ./work.sh",
        "concord agent run --claim-filter '--tag backend --priority high' --once -- make check",
    ),
)
@narrowing
@click.option(
    "--claim-filter",
    "more",
    metavar="OPTIONS",
    multiple=True,
    help="Such options in one word, as in '--project API --tag backend'.",
)
@click.option(
    "--lease",
    type=DURATION,
    default="15m",
    show_default=True,
    help="How long a task is held without a sign of life; at least 1s.",
)
@click.option("--wait", type=DURATION, help="Wait so long for a task, and not end at once.")
@click.option("--max-tasks", type=click.IntRange(1), metavar="N", help="End after N tasks.")
@click.option("--once", is_flag=True, help="End after one task.")
@click.option(
    "--grace",
    type=DURATION,
    default="10s",
    show_default=True,
    help="How long a command that is asked to end may take.",
)
@click.option(
    "--patience",
    type=DURATION,
    default="1m",
    show_default=True,
    help="How long to try to reach a database that went away.",
)
@click.argument("command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_app
def run(
    app: App,
    more: Sequence[str],
    lease: timedelta,
    wait: timedelta | None,
    max_tasks: int | None,
    once: bool,
    grace: timedelta,
    patience: timedelta,
    command: Sequence[str],
    **filters: Any,
) -> None:
    """Claim one ready task after the other, and run COMMAND for each.

    COMMAND gets the task as JSON on stdin and in CONCORD_TASK, and CONCORD_TASK_ID, _UID, _TITLE,
    _PROJECT, CONCORD_CLAIM_EPOCH and _EXPIRES_AT. Its output goes to stderr. The claim is renewed
    while it runs. Exit 0 completes the task; anything else gives it back with a comment, and this
    agent does not take it again. Ends when nothing is ready.
    """
    if lease < SHORTEST_LEASE:
        raise click.UsageError("--lease: a lease is at least 1s")
    if shutil.which(command[0]) is None:
        raise click.UsageError(f"{command[0]!r} is no command: nothing of that name can be run")
    wanted = _merged(filters, more)
    from concord.agent.worker import Agent, Orders
    from concord.database import Database
    from concord.models import TaskRun
    from concord.sql import listing

    app.render.check(TaskRun)
    stream = app.render.stream()
    worker = Agent(
        Orders(
            command,
            listing.Filters(**wanted),
            lease=lease,
            wait=wait.total_seconds() if wait else 0,
            most=1 if once else max_tasks or math.inf,
            grace=grace.total_seconds(),
            patience=patience.total_seconds(),
        ),
        user=app.settings.user,
        database=app.database,
        another=lambda: Database(app.settings, app.command, observe=app.observe),
        show=lambda run: stream([run]),
        tell=app.render.notice,
    )
    told = worker.work()
    done = worker.outcomes
    if app.render.draws or not done:
        summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.items()))
        app.render.notice("summary", summary or "nothing was ready", outcomes=done)
    if told is signal.SIGINT:
        raise KeyboardInterrupt


@click.command(add_help_option=False)
@narrowing
def _filter(**filters: Any) -> None:
    """Exist for its options: those of a claim filter."""


def _merged(filters: dict[str, Any], more: Sequence[str]) -> dict[str, Any]:
    """Return filters with those of `--claim-filter` added."""
    from concord.query import all_of

    merged = dict(filters)
    for text in more:
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise click.UsageError(f"--claim-filter: {text!r}: {error}") from None
        with _filter.make_context("--claim-filter", words) as context:
            for name, value in context.params.items():
                if isinstance(value, tuple):
                    merged[name] = (*merged[name], *value)
                elif name == "query" and value is not None and merged[name] is not None:
                    merged[name] = all_of([merged[name], value])
                elif value is not None:
                    merged[name] = value
    return merged
