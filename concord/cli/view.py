"""`concord view`."""

from __future__ import annotations

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Group
from concord.cli.querying import query_words
from concord.cli.task import list_tasks
from concord.cli.viewing import as_typed, kept, words

view = Group(
    "view",
    help="Keep the options of `task list` under a name. Views are your own.",
    examples=(
        "concord view save mine --assignee me --status todo --due-before eow --sort due",
        "concord task list --view mine --priority high",
    ),
)

_OPTIONS = [as_typed(option) for option in kept(list_tasks)]

_name = click.argument("name", shell_complete=completing.views)


@view.command(
    params=[*_OPTIONS],
    examples=(
        "concord view save mine --assignee me --due-before eow --sort due",
        "concord view save mine 'assignee:me due<eow -tag:later' --replace",
        "CONCORD_VIEW=mine concord task list",
    ),
)
@_name
@query_words
@click.option("--replace", is_flag=True, help="Even if the name stands for something else.")
@pass_app
def save(app: App, name: str, replace: bool, **_: object) -> None:
    """Keep options of `task list`, or a query, under a name.

    They are kept as you type them: eow is the end of the week in which the view is used. The
    setting `view` makes one the default.
    """
    from concord.sql import listing, views

    ctx = click.get_current_context()
    options = words(ctx, _OPTIONS)
    if not options:
        raise click.UsageError("give the options that the view is to hold, as for task list")
    listing.order_of(ctx.params["sort"])
    app.show([app.run(views.save, name, options, replace=replace)], many=False)


@view.command("list", examples=("concord view list",))
@pass_app
def list_views(app: App) -> None:
    """List your views by name."""
    from concord.sql import views

    app.show(app.run(views.list_all), many=True)


@view.command(examples=("concord view show mine",))
@_name
@pass_app
def show(app: App, name: str) -> None:
    """Show a view."""
    from concord.sql import views

    app.render.details(app.run(views.show, name))


@view.command(examples=("concord view delete mine",))
@_name
@pass_app
def delete(app: App, name: str) -> None:
    """Remove a view; the tasks stay."""
    from concord.sql import views

    app.show([app.run(views.delete, name)], many=False)
