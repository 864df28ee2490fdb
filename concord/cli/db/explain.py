"""`concord db explain`."""

from __future__ import annotations

from typing import Any

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.listing import asked, list_options


@click.command(
    "explain",
    cls=Command,
    examples=(
        "concord db explain --project API --sort due",
        "concord db explain --assignee me --status todo --analyze",
        "concord db explain --ready --json | jq '.plan'",
    ),
)
@list_options
@click.option("--analyze", is_flag=True, help="Run it, and tell what each step took.")
@pass_app
def explain(app: App, view: str | None, analyze: bool, **given: Any) -> None:
    """Show the plan by which the server finds what `task list` would list.

    It takes the options of `task list`, and explains the very statement that they stand for, under
    the settings that every transaction has. With --json: the plan, its SQL and its parameters.
    """
    from concord.sql import plans

    wanted = asked(app, view, given)
    if app.render.output in ("table", "tsv") and app.fields is None:
        for line in app.run(plans.explain_text, wanted.filters, analyze=analyze, **wanted.page):
            app.render.write(line)
    else:
        found = app.run(plans.explain, wanted.filters, analyze=analyze, **wanted.page)
        app.show([found], many=False)
