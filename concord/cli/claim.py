"""`concord task claim`, `renew` and `release`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.filtering import narrowing
from concord.cli.lazy import Command
from concord.cli.options import DURATION, TASK_ID
from concord.errors import Empty
from concord.waiting import await_any

if TYPE_CHECKING:
    from datetime import timedelta

    from concord.models import Task
    from concord.sql.listing import Filters

EXPLAINED = 10
"""How many tasks `--explain` speaks of."""

_task_id = click.argument("task_id", metavar="TASK", type=TASK_ID)
_epoch = click.option(
    "--epoch", type=click.IntRange(1), required=True, metavar="N", help="The claim's epoch."
)
_lease = click.option(
    "--lease", type=DURATION, default="15m", show_default=True, help="How long it is yours."
)


@click.command(
    "claim",
    cls=Command,
    examples=(
        "concord task claim --project API --lease 15m",
        "concord task claim --tag backend --wait 30s --json",
        "concord task claim --explain",
    ),
)
@narrowing
@_lease
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@click.option("--wait", "patience", type=DURATION, help="Wait so long for one to become ready.")
@click.option("--explain", is_flag=True, help="Take nothing; say why each is ready or is not.")
@pass_app
def claim(
    app: App,
    lease: timedelta,
    count: int,
    patience: timedelta | None,
    explain: bool,
    **filters: Any,
) -> None:
    """Take the best ready task: by priority, due date, age.

    It is in progress and yours until the lease ends; the claim's epoch is what renew, release and
    done are told. What is assigned to others is left to them. Nothing ready: exit 8.
    """
    from concord.sql import listing

    wanted = listing.Filters(**filters)
    if explain:
        _explain(app, wanted)
        return
    taken = take(app, wanted, lease=lease, count=count, patience=patience)
    app.show(taken, many=count > 1)


def _explain(app: App, wanted: Filters) -> None:
    from concord.models import Readiness
    from concord.sql import readiness

    app.render.check(Readiness)
    found = app.database.run(readiness.explain, wanted, limit=EXPLAINED + 1)
    app.show(found[:EXPLAINED], many=True)
    if len(found) > EXPLAINED:
        app.render.notice(
            "cut",
            f"the list is cut at {EXPLAINED}",
            "name a --project, --tag or --priority to see others",
            shown=EXPLAINED,
        )


def take(
    app: App,
    wanted: Filters,
    *,
    lease: timedelta,
    count: int = 1,
    patience: timedelta | None = None,
) -> tuple[Task, ...]:
    """Claim tasks, waiting for as long as `patience`. Raises `Empty` if nothing was ready."""
    from concord.sql import claims

    taken = await_any(
        lambda: app.run(claims.claim, wanted, lease=lease, count=count),
        patience=patience.total_seconds() if patience else 0,
    )
    if not taken:
        raise Empty(
            "nothing is ready", hint="See what stands against it: concord task claim --explain"
        )
    return tuple(taken)


@click.command("renew", cls=Command, examples=("concord task renew 12 --epoch 4 --lease 15m",))
@_task_id
@_epoch
@_lease
@pass_app
def renew(app: App, task_id: int, epoch: int, lease: timedelta) -> None:
    """Hold a claimed task for another lease from now on. A lost claim: exit 4."""
    from concord.sql import claims

    app.show([app.run(claims.renew, task_id, epoch, lease=lease)], many=False)


@click.command(
    "release",
    cls=Command,
    examples=("concord task release 12 --epoch 4 --comment 'The build is broken.'",),
)
@_task_id
@_epoch
@click.option("--comment", metavar="TEXT", help="Why; - reads it from stdin.")
@pass_app
def release(app: App, task_id: int, epoch: int, comment: str | None) -> None:
    """Give a claimed task back: it is to do again. A lost claim: exit 4."""
    from concord.sql import claims

    text = app.read_stdin().strip() if comment == "-" else comment
    app.show([app.run(claims.release, task_id, epoch, comment=text)], many=False)
