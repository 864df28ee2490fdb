"""What a task is a part of, and how it comes back: the options, and what to say of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from concord.cli import completing
from concord.cli.options import TASK_ID, add_all
from concord.errors import ConcordError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from concord.cli.app import App
    from concord.models import Task

F = TypeVar("F", bound="Callable[..., Any]")


class _Parent(click.ParamType[Any]):
    """A task's id, or `none`."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the id as a number, or the word."""
        return value if value == "none" else TASK_ID.convert(value, param, ctx)


class _Recurrence(click.ParamType[str]):
    """How often a task comes back, in the form in which it is stored."""

    name = "often"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the rule, such as `every 2w`; `none` for no longer."""
        from concord.recurrence import parse

        try:
            return parse(str(value), self._kind)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_OPTIONS = (
    click.option(
        "--parent",
        type=_Parent(),
        metavar="TASK",
        shell_complete=completing.tasks,
        help="What it is a part of; none: of nothing.",
    ),
    click.option(
        "--auto-close/--no-auto-close",
        default=None,
        help="Whether it is completed when its last open part is closed.",
    ),
    click.option(
        "--every",
        type=_Recurrence("every"),
        help="It comes back when completed: 2w, month, mon,wed, … ; none: no longer.",
    ),
    click.option(
        "--every-after",
        type=_Recurrence("after"),
        help="As --every, so long after it was completed: 3d.",
    ),
)

STRUCTURE = ("parent", "auto_close", "every", "every_after")
"""Names of the options."""


def structure(command: F) -> F:
    """Add the options."""
    return add_all(command, _OPTIONS)


def structured(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a task that the options set, and only those.

    Raises `click.UsageError` if they contradict each other.
    """
    fields: dict[str, Any] = {}
    if given["parent"] is not None:
        fields["parent"] = None if given["parent"] == "none" else given["parent"]
    if given["auto_close"] is not None:
        fields["auto_close"] = given["auto_close"]
    if given["every"] is not None and given["every_after"] is not None:
        raise click.UsageError("--every and --every-after exclude each other")
    rule = given["every"] or given["every_after"]
    if rule == "none":
        fields |= {"recurrence": None, "recurrence_zone": None}
    elif rule is not None:
        from concord.recurrence import zone

        fields |= {"recurrence": rule, "recurrence_zone": zone()}
    return fields


def tell_next(app: App, completed: Sequence[Task]) -> None:
    """Say what comes next after tasks that were completed, if any of them recurs."""
    recurring = [task.id for task in completed if task.recurrence is not None]
    if not recurring:
        return
    from concord.dates import format_local, local_now
    from concord.sql.recurring import following

    # They are completed, and that was said: what comes now is a remark, and may fail in silence.
    with suppress(ConcordError):
        for task in app.run(following, recurring):
            due = f", due {format_local(task.due, now=local_now())}" if task.due else ""
            app.render.notice(
                "next", f"task {task.id} is next{due}", task=task.id, after=task.previous
            )
