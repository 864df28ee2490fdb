"""`concord task comment`."""

from __future__ import annotations

import click

from concord.cli.app import App, pass_app
from concord.cli.lazy import Command
from concord.cli.options import TASK_ID


@click.command(
    "comment",
    cls=Command,
    examples=(
        "concord task comment 12 'Waiting for their answer.'",
        "concord task comment 12 - < notes.md",
        "concord task comment 12 --edit",
    ),
)
@click.argument("task_id", metavar="TASK", type=TASK_ID)
@click.argument("text", required=False)
@click.option("--edit", is_flag=True, help="Write it in $EDITOR.")
@pass_app
def comment(app: App, task_id: int, text: str | None, edit: bool) -> None:
    """Say something about a task, in Markdown; - reads it from stdin."""
    if edit == (text is not None):
        raise click.UsageError("give the comment as TEXT, as - for stdin, or write it with --edit")
    if text is None:
        from concord.cli.editor import write_comment

        write_comment(app, task_id)
        return
    from concord.sql import comments

    body = app.read_stdin() if text == "-" else text
    app.show(app.run(comments.add, [task_id], body.strip()), many=False)
