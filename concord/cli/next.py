"""`concord next`."""

from __future__ import annotations

from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any

import click

from concord.cli.app import App, pass_app
from concord.cli.filtering import narrowing
from concord.cli.lazy import Command
from concord.cli.options import COUNT
from concord.errors import Empty

FIRST = 5
"""How many to show, unless told otherwise."""


@click.command(
    "next",
    cls=Command,
    examples=(
        "concord next",
        "concord next --project API --explain",
        "concord next --limit 1 --quiet | concord task start -",
    ),
)
@narrowing
@click.option(
    "--limit",
    type=COUNT,
    metavar="N",
    help=f"At most N, 0 for all; unless told otherwise the first {FIRST}.",
)
@click.option("--explain", is_flag=True, help="Show what the urgency of each is the sum of.")
@pass_app
def next_tasks(app: App, limit: int | None, explain: bool, **filters: Any) -> None:
    """Say what to do now, and why: the most urgent first.

    Only what is ready and yours to do: in progress by you, assigned to you, or to nobody. Urgency
    comes from priority, due date, age and how many tasks wait for it, by the weights of the
    settings urgency_... Nothing to do: exit 8.
    """
    from concord import dates
    from concord.sql import listing, urgency

    weights = urgency.Weights(
        *(
            Decimal(str(getattr(app.settings, f"urgency_{field.name}")))
            for field in fields(urgency.Weights)
        )
    )
    wanted = FIRST if limit is None else limit
    # One more than wanted tells whether the list is cut.
    found = app.run(
        urgency.suggest,
        listing.Filters(**filters),
        weights=weights,
        now=dates.local_now(),
        limit=wanted + 1 if wanted else None,
    )
    if not found:
        raise Empty(
            "nothing to do", hint="See what stands against it: concord task claim --explain"
        )
    shown = found[:wanted] if wanted else found
    if app.render.draws and app.fields is None:
        from concord.render import suggestions

        worth = {name: float(weight) for name, weight in asdict(weights).items()}
        suggestions.draw(app.render, shown, worth if explain else None)
    else:
        app.show(shown, many=True)
    # Who asks for the first one wants no more.
    if limit is None:
        app.cut(len(shown), len(found))
