"""The options by which commands choose tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from concord.cli import completing
from concord.cli.options import AFTER, BEFORE, KEY, PRIORITY, STATUS, TASK_ID, add_all
from concord.cli.querying import where

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_WHICH = (
    click.option(
        "--project",
        "projects",
        type=KEY,
        multiple=True,
        help="In this project; none: in nobody's project, but an inbox.",
    ),
    click.option(
        "--tag", "tags", multiple=True, shell_complete=completing.tags, help="With this tag."
    ),
    click.option(
        "--assignee",
        "assignees",
        metavar="NAME",
        multiple=True,
        shell_complete=completing.users,
        help="Assigned to NAME, me or none.",
    ),
    click.option(
        "--owner",
        "owners",
        metavar="NAME",
        multiple=True,
        shell_complete=completing.users,
        help="Owned by NAME or me.",
    ),
    click.option(
        "--priority", "priorities", type=PRIORITY, multiple=True, help="Of this priority."
    ),
    click.option("--due-before", type=BEFORE, help="Due before this day or time."),
    click.option("--due-after", type=AFTER, help="Due after this day or time."),
    click.option(
        "--title", "titles", metavar="TEXT", multiple=True, help="With TEXT anywhere in the title."
    ),
    click.option("--assigned/--unassigned", default=None, help="With or without any assignee."),
    click.option("--parent", "parents", type=TASK_ID, multiple=True, help="Part of this task."),
    where,
)

_STATE = (
    click.option("--status", "statuses", type=STATUS, multiple=True, help="With this status."),
    click.option("--ready", is_flag=True, help="What could be worked on now."),
    click.option("--blocked", is_flag=True, help="What waits for another task."),
)


def narrowing(command: F) -> F:
    """Add the options that say which tasks, but not in which state: claims know that."""
    return add_all(command, _WHICH)


def filtering(command: F) -> F:
    """Add all options that choose tasks; their names are those of `listing.Filters`."""
    return add_all(command, (*_WHICH[:1], *_STATE[:1], *_WHICH[1:], *_STATE[1:]))
