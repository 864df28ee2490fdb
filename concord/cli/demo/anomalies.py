"""`concord demo anomalies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from concord.cli.app import App, pass_app
from concord.cli.demo.choices import LEVEL, SCENARIO
from concord.cli.lazy import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.race.interleaving.matrix import Finding


@click.command(
    "anomalies",
    cls=Command,
    examples=(
        "concord demo anomalies",
        "concord demo anomalies --scenario lost-update --scenario g2-item",
        "concord demo anomalies --isolation serializable --json | jq '.[] | .detail'",
    ),
)
@click.option(
    "--scenario", "scenarios", type=SCENARIO, multiple=True, help="Only this one; repeatable."
)
@click.option(
    "--isolation",
    "levels",
    type=LEVEL,
    multiple=True,
    help="Only this level, such as serializable; repeatable.",
)
@pass_app
def anomalies(app: App, scenarios: tuple[str, ...], levels: tuple[str, ...]) -> None:
    """Show which anomalies each isolation level of this server lets happen.

    Runs each scenario step by step, in an order that is the same every time, and compares what
    is known of PostgreSQL with what came about: an anomaly, one that was prevented, or a
    transaction that was aborted instead, with its SQLSTATE. Works in a scratch schema.

    Exit status 1 if the server does anything else than is known of it.
    """
    from concord.race.interleaving import catalogue, matrix
    from concord.race.interleaving.events import LEVELS
    from concord.race.interleaving.laboratory import laboratory

    app.render.check(matrix.Finding)
    cells = [
        (scenario, level)
        for scenario in catalogue.SCENARIOS
        if scenario.name in (scenarios or catalogue.names())
        for level in LEVELS
        if level in (levels or LEVELS)
    ]
    with (
        laboratory(app.settings, app.command) as lab,
        app.render.progress("demo anomalies") as watch,
    ):
        found = [matrix.finding(lab, scenario, level) for scenario, level in watch(cells)]
    if app.render.output == "table" and app.fields is None:
        _draw(app, found, told=bool(scenarios))
    else:
        app.show(found, many=True)
    error = matrix.disagreement(found)
    if error is not None:
        raise error


def _draw(app: App, found: Sequence[Finding], *, told: bool) -> None:
    from concord.render.transcript import Outcome, draw_matrix

    levels = list(dict.fromkeys(one.isolation for one in found))
    rows: dict[str, dict[str, Outcome]] = {}
    for one in found:
        wanted = " ".join(filter(None, (one.expected, one.expected_sqlstate)))
        rows.setdefault(one.scenario, {})[one.isolation] = Outcome(
            one.observed, one.sqlstate, None if one.agrees else wanted
        )
    draw_matrix(app.render, levels, rows)
    app.render.write("")
    for one in found:
        if told or not one.agrees:
            app.render.write(f"{one.scenario}, {one.isolation}: {one.detail}")
    agreed = sum(one.agrees for one in found)
    app.render.write(f"{agreed} of {len(found)} as PostgreSQL is known to do")
