"""`concord task`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concord.cli import completing
from concord.cli.app import App, pass_app
from concord.cli.history import show_history
from concord.cli.lazy import Command, Entry, Group
from concord.cli.listing import DEFAULT_LIMIT, asked, list_options
from concord.cli.options import (
    DUE,
    KEY,
    PRIORITY,
    STATUS,
    TASK_ID,
    Ids,
    ids_and_names,
    paging,
    task_ids,
    waiting,
)
from concord.cli.structure import STRUCTURE, structure, structured, tell_next

if TYPE_CHECKING:
    from datetime import datetime

    from concord.vocabulary import Priority, Status

ENTRIES = {
    "claim": Entry("claim:claim", "Take the best task that is ready."),
    "renew": Entry("claim:renew", "Go on holding a task."),
    "release": Entry("claim:release", "Give a task back."),
    "block": Entry("links:block", "Make tasks wait for others."),
    "unblock": Entry("links:unblock", "Let tasks no longer wait."),
    "tree": Entry("links:tree", "Show tasks with their parts."),
    "comment": Entry("comment:comment", "Say something about tasks."),
}

task = Group("task", entries=ENTRIES, help="Add, show, edit and finish tasks.")


@task.command(
    examples=(
        "concord task add 'Write the report' --project DOCS --due fri --priority high",
        "concord task add 'Call back' --tag phone --assign ana --description - < notes.md",
    )
)
@click.argument("title")
@click.option("--project", type=KEY, help="Its project; without one it goes to your inbox.")
@click.option("--description", metavar="TEXT", help="Markdown; - reads it from stdin.")
@click.option("--status", type=STATUS, default="todo", show_default=True, help="Where it starts.")
@click.option("--priority", type=PRIORITY, default="none", show_default=True, help="How urgent.")
@click.option("--due", type=DUE, help="When, such as fri, +3d, eow, 2026-12-24 17:00.")
@click.option("--tag", "tags", multiple=True, shell_complete=completing.tags, help="Label it.")
@click.option(
    "--assign", "assignees", multiple=True, shell_complete=completing.users, help="Assign it."
)
@click.option(
    "--blocked-by",
    type=TASK_ID,
    multiple=True,
    shell_complete=completing.tasks,
    help="It waits for this task.",
)
@structure
@pass_app
def add(
    app: App,
    title: str,
    project: str | None,
    description: str | None,
    status: Status,
    priority: Priority,
    due: datetime | str | None,
    tags: tuple[str, ...],
    assignees: tuple[str, ...],
    blocked_by: tuple[int, ...],
    **structure: Any,
) -> None:
    """Create a task."""
    from concord.sql import tasks

    new = tasks.NewTask(
        title=title,
        project=_project(project or app.settings.project),
        description=_text(app, description),
        status=status,
        priority=priority,
        due=_none(due),
        tags=tags,
        assignees=assignees,
        blocked_by=blocked_by,
        **structured(structure),
    )
    app.show([app.run(tasks.add, new)], many=False)


@task.command(
    "list",
    examples=(
        "concord task list --project API --status todo --sort due",
        "concord task list assignee:me 'due<=eow' -tag:later",
        "concord task list 'priority>=high or blocked:yes' --sort priority",
        "concord task list --view mine --sort priority",
        "concord task list --json | jq -r '.[].title'",
    ),
)
@list_options
@pass_app
def list_tasks(app: App, view: str | None, **given: Any) -> None:
    """List tasks. Repeated options are alternatives, different ones add up.

    QUERY is what --where takes, and adds up with the options.
    """
    from concord.sql import listing

    wanted = asked(app, view, given)
    app.page(app.run(listing.page, wanted.filters, **wanted.page), wanted.page["limit"] or 0)


@task.command(examples=("concord task show 12", "concord task show 12 13 --json"))
@task_ids
@pass_app
def show(app: App, ids: Ids) -> None:
    """Show everything about tasks."""
    from concord.sql import comments

    found = app.run(comments.show, ids)
    if ids.many:
        app.show(found, many=True)
    else:
        app.render.details(found[0])


@task.command(
    examples=(
        "concord task edit 12 --title 'Write the long report' --due none",
        "concord task edit 12 --priority high --if-version 3",
        "concord task edit 12 --append-description 'Spoke to them.'",
        "concord task edit 12        # in $EDITOR",
    )
)
@task_ids
@click.option("--title", metavar="TEXT", help="A new title.")
@click.option("--description", metavar="TEXT", help="A new description; - reads it from stdin.")
@click.option("--append-description", metavar="TEXT", help="Add a paragraph; - for stdin.")
@click.option("--priority", type=PRIORITY, help="A new priority.")
@click.option("--due", type=DUE, help="A new due date; none: no due date.")
@click.option("--status", type=STATUS, help="A new status.")
@click.option("--owner", metavar="NAME", shell_complete=completing.users, help="A new owner.")
@click.option(
    "--if-version", type=click.IntRange(1), metavar="N", help="Only if it is still at version N."
)
@structure
@pass_app
def edit(
    app: App,
    ids: Ids,
    append_description: str | None,
    if_version: int | None,
    **fields: Any,
) -> None:
    """Change fields of tasks; fields that are not named stay as they are."""
    from concord.sql import tasks

    structure = {name: fields.pop(name) for name in STRUCTURE}
    changes = {name: value for name, value in fields.items() if value is not None}
    changes |= structured(structure)
    if not changes and append_description is None:
        if ids.many:
            raise click.UsageError("name the fields to change; the editor takes one task")
        from concord.cli.editor import edit_task

        edit_task(app, ids[0], if_version)
        return
    if "description" in changes:
        if append_description is not None:
            raise click.UsageError("--description and --append-description exclude each other")
        changes["description"] = _text(app, changes["description"])
    if "due" in changes:
        changes["due"] = _none(changes["due"])
    if if_version is not None and len(ids) != 1:
        raise click.UsageError("--if-version goes with a single task")
    if not ids:
        app.show([], many=True)
        return
    edited = app.run(
        tasks.edit,
        ids,
        changes,
        append_description=_text(app, append_description),
        if_version=if_version,
    )
    app.show(edited, many=ids.many)


@task.command(examples=("concord task assign 12 --to ana", "concord task assign 12 13 --to me"))
@task_ids
@click.option(
    "--to",
    "names",
    metavar="NAME",
    multiple=True,
    shell_complete=completing.users,
    help="Whom; you if nobody is named.",
)
@waiting
@pass_app
def assign(app: App, ids: Ids, names: tuple[str, ...], nowait: bool) -> None:
    """Assign tasks to people."""
    _assign(app, ids, names, nowait)


@click.command(
    "assign",
    cls=Command,
    examples=("concord assign 12 ana", "concord assign 12 13", "concord assign - bo < ids.txt"),
)
@ids_and_names("USER")
@waiting
@pass_app
def assign_shortcut(app: App, ids_and_names: tuple[Ids, tuple[str, ...]], nowait: bool) -> None:
    """Assign tasks to people: to yourself if nobody is named."""
    _assign(app, *ids_and_names, nowait)


@task.command(examples=("concord task unassign 12 --from ana", "concord task unassign 12"))
@task_ids
@click.option(
    "--from",
    "names",
    metavar="NAME",
    multiple=True,
    shell_complete=completing.users,
    help="Whom; everybody if nobody is named.",
)
@waiting
@pass_app
def unassign(app: App, ids: Ids, names: tuple[str, ...], nowait: bool) -> None:
    """Take people off tasks."""
    from concord.sql import assignments

    app.show(app.run(assignments.unassign, ids, names, nowait=nowait), many=ids.many)


def _status_command(name: str, status: Status, about: str) -> None:
    @task.command(
        name, help=about, examples=(f"concord task {name} 12", f"... | concord task {name} -")
    )
    @task_ids
    @waiting
    @pass_app
    def command(app: App, ids: Ids, nowait: bool) -> None:
        from concord.sql import tasks

        app.show(app.run(tasks.set_status, ids, status, nowait=nowait), many=ids.many)

    del command


_status_command("start", "in_progress", "Take up work: the tasks are in progress.")


@task.command(
    examples=("concord task done 12", "... | concord task done -", "concord task done 12 --epoch 4")
)
@task_ids
@click.option(
    "--epoch",
    type=click.IntRange(1),
    metavar="N",
    help="Only if your claim of this epoch still holds.",
)
@waiting
@pass_app
def done(app: App, ids: Ids, epoch: int | None, nowait: bool) -> None:
    """Complete tasks."""
    from concord.sql import claims, tasks

    if epoch is None:
        completed = app.run(tasks.set_status, ids, "completed", nowait=nowait)
    elif len(ids) == 1:
        completed = (app.run(claims.complete, ids[0], epoch, nowait=nowait),)
    else:
        raise click.UsageError("--epoch goes with a single task")
    app.show(completed, many=ids.many)
    tell_next(app, completed)


_status_command("cancel", "canceled", "Cancel tasks: they will not be done.")
_status_command("reopen", "todo", "Make tasks to-do again.")


@task.command(
    examples=("concord task move 12 --project API", "concord task move 12 --project none")
)
@task_ids
@click.option("--project", type=KEY, required=True, help="Where to; none: to their owner's inbox.")
@waiting
@pass_app
def move(app: App, ids: Ids, project: str, nowait: bool) -> None:
    """Move tasks to another project."""
    from concord.sql import tasks

    moved = app.run(tasks.move, ids, _project(project), nowait=nowait)
    app.show(moved, many=ids.many)


@task.command("tag", examples=("concord task tag 12 bug ui", "concord task tag 12 13 bug"))
@ids_and_names("TAG")
@waiting
@pass_app
def tag_tasks(app: App, ids_and_names: tuple[Ids, tuple[str, ...]], nowait: bool) -> None:
    """Put tags on tasks; a tag that is new appears."""
    from concord.sql import tags

    ids, names = _named(ids_and_names)
    app.show(app.run(tags.tag, ids, names, nowait=nowait), many=ids.many)


@task.command("untag", examples=("concord task untag 12 bug",))
@ids_and_names("TAG")
@waiting
@pass_app
def untag_tasks(app: App, ids_and_names: tuple[Ids, tuple[str, ...]], nowait: bool) -> None:
    """Take tags off tasks."""
    from concord.sql import tags

    ids, names = _named(ids_and_names)
    app.show(app.run(tags.untag, ids, names, nowait=nowait), many=ids.many)


@task.command(examples=("concord task delete 12", "concord task list --trash"))
@task_ids
@waiting
@pass_app
def delete(app: App, ids: Ids, nowait: bool) -> None:
    """Move tasks to the trash, from where they can be restored."""
    from concord.sql import tasks

    app.show(app.run(tasks.delete, ids, nowait=nowait), many=ids.many)


@task.command(examples=("concord task restore 12",))
@task_ids
@pass_app
def restore(app: App, ids: Ids) -> None:
    """Bring tasks back from the trash."""
    from concord.sql import tasks

    app.show(app.run(tasks.restore, ids), many=ids.many)


@task.command(examples=("concord task purge 12 --yes",))
@task_ids
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def purge(app: App, ids: Ids, yes: bool) -> None:
    """Remove tasks in the trash for good. Their history stays."""
    from concord.sql import tasks

    app.confirm(f"Remove {len(ids)} task(s) for good?", yes=yes)
    app.show(app.run(tasks.purge, ids), many=ids.many)


@task.command(examples=("concord task log 12", "concord task log 12 --json"))
@click.argument("task_id", metavar="TASK", type=TASK_ID)
@paging(DEFAULT_LIMIT)
@pass_app
def log(app: App, task_id: int, limit: int, skip: int, after: str | None) -> None:
    """Show what happened to a task, newest first."""
    show_history(app, task_id, limit=limit, skip=skip, after=after)


def _assign(app: App, ids: Ids, names: tuple[str, ...], nowait: bool) -> None:
    from concord.sql import assignments

    assigned = app.run(assignments.assign, ids, names or ("me",), nowait=nowait)
    app.show(assigned, many=ids.many)


def _named(given: tuple[Ids, tuple[str, ...]]) -> tuple[Ids, tuple[str, ...]]:
    if not given[1]:
        raise click.UsageError("name a tag: TASK... TAG...")
    return given


def _project(key: str | None) -> str | None:
    return None if key is None or key == "none" else key.upper()


def _none(value: Any) -> Any:
    """Return the value that the word `none` on the command line stands for."""
    return None if value == "none" else value


def _text(app: App, value: str | None) -> str | None:
    return app.read_stdin() if value == "-" else value
