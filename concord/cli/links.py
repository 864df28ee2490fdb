"""`concord task block`, `unblock` and `tree`."""

from __future__ import annotations

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.options import KEY, TASK_ID, Ids, task_ids, waiting


@click.command(
    "block",
    cls=Command,
    examples=("concord task block 12 --by 7", "concord task block 12 13 --by 7 --by 8"),
)
@task_ids
@click.option(
    "--by",
    "blockers",
    type=TASK_ID,
    multiple=True,
    required=True,
    shell_complete=completing.tasks,
    help="What they wait for.",
)
@waiting
@pass_app
def block(app: App, ids: Ids, blockers: tuple[int, ...], nowait: bool) -> None:
    """Make tasks wait for others: they are ready when those are completed or canceled."""
    from concord.sql import links

    app.show(app.run(links.block, ids, blockers, nowait=nowait), many=ids.many)


@click.command(
    "unblock", cls=Command, examples=("concord task unblock 12 --by 7", "concord task unblock 12")
)
@task_ids
@click.option(
    "--by",
    "blockers",
    type=TASK_ID,
    multiple=True,
    shell_complete=completing.tasks,
    help="What they need not wait for; nothing at all if nothing is named.",
)
@waiting
@pass_app
def unblock(app: App, ids: Ids, blockers: tuple[int, ...], nowait: bool) -> None:
    """Let tasks no longer wait for others."""
    from concord.sql import links

    app.show(app.run(links.unblock, ids, blockers, nowait=nowait), many=ids.many)


@click.command(
    "tree", cls=Command, examples=("concord task tree 12", "concord task tree --project API")
)
@click.argument("ids", metavar="[TASK]...", nargs=-1, type=TASK_ID, shell_complete=completing.tasks)
@click.option("--project", type=KEY, help="All of this project that have parts.")
@pass_app
def tree(app: App, ids: tuple[int, ...], project: str | None) -> None:
    """Show tasks with all their parts, and what each waits for."""
    from concord.sql import links

    if ids and project is not None:
        raise click.UsageError("name tasks or a project, not both")
    app.show(app.run(links.tree, ids, project=project), many=True)
