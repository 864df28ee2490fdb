"""What a command works with: settings, the database and the way out, each made on first use."""

from __future__ import annotations

import sys
import time
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.database import Database, Operation, Record
    from concord.models import Page
    from concord.records import Cost
    from concord.render import Renderer
    from concord.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

MODELS = {
    "task": "Task",
    "assign": "Task",
    "project": "Project",
    "project member add": "Member",
    "project member remove": "Member",
    "project member list": "Member",
    "tag": "Tag",
    "view": "View",
    "user": "User",
    "history": "Change",
    "undo": "Undone",
    "watch": "WatchedChange",
    "agent": "TaskRun",
    "task show": "TaskInFull",
    "task comment": "TaskInFull",
    "task tree": "TreeNode",
    "board": "Card",
    "next": "Suggestion",
    "stats": "Flow",
    "due": "DueTask",
    "db explain": "ListPlan",
    "search": "Found",
}
"""A command, or its first word → the model it prints, by whose fields `--fields` goes."""

SHORTCUTS = {"assign": "task assign", "task log": "history"}
"""Commands that are another one by a shorter name: history and logs know them by one."""


class App:
    """The state of one invocation, found on the click context."""

    def __init__(self) -> None:
        self.flags: dict[str, str] = {}
        self.output: str | None = None
        self.fields: tuple[str, ...] | None = None
        self.no_color = False
        self.verbose = False
        self.replica = False
        self.command = ""
        self._began = time.perf_counter()
        self._complained = False
        self._stdin_read = False
        self._told_age = False

    @staticmethod
    def of(ctx: click.Context) -> App:
        """Return the invocation's app."""
        app = ctx.find_root().ensure_object(App)
        path = ctx.command_path.split()[1:]
        app.command = SHORTCUTS.get(" ".join(path), " ".join(path))
        return app

    @cached_property
    def settings(self) -> Settings:
        """The settings, with the flags of the command line on top. Raises `Usage`."""
        from concord.settings import load

        loaded = self.__dict__["settings"] = load(self.flags)
        if loaded.dotenv is not None:
            from concord.cli import foreign

            foreign.tell(self)
        return loaded

    @cached_property
    def database(self) -> Database:
        """The database, not connected yet."""
        from concord.database import Database

        return Database(self.settings, self.command, observe=self.observe, standby=self.replica)

    @cached_property
    def _cost(self) -> Cost:
        from concord.records import Cost

        return Cost()

    @cached_property
    def render(self) -> Renderer:
        """The way results are printed."""
        from concord.render import Renderer

        return Renderer(
            output=self.output or self.settings.output, fields=self.fields, no_color=self.no_color
        )

    def run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation in a transaction of its own. Raises `ConcordError`."""
        model = MODELS.get(self.command) or MODELS.get(self.command.partition(" ")[0])
        if self.fields is not None and model is not None:
            from concord import models

            self.render.check(getattr(models, model))
        if self.replica and not self._told_age:
            from concord.cli import replica

            self._told_age = True
            replica.tell_age(self)
        return self.database.run(operation, *args, **kwargs)

    def check_replica(self) -> None:
        """Raise `Usage` if `--replica` was given and does not belong."""
        if self.replica:
            from concord.cli import replica

            replica.require(self)

    def show(self, items: Sequence[Any], *, many: bool) -> None:
        """Print changed or found things: one, or with `many` a list."""
        self.render.items(items, many=many)

    def page(self, page: Page[Any], limit: int) -> None:
        """Print a page of a list, and say so if it was cut."""
        self.render.items(page.items, many=True)
        if page.after is not None:
            self.render.notice(
                "cut",
                f"the list is cut at {limit}",
                f"next page: --after {page.after}; all: --limit 0",
                shown=len(page.items),
                after=page.after,
            )

    def cut(self, shown: int, of: int) -> None:
        """Say so if fewer are shown than there are."""
        if shown < of:
            self.render.notice("cut", f"the list is cut at {shown}", "all: --limit 0", shown=shown)

    def observe(self, record: Record) -> None:
        """Report one attempt at a transaction: to the log, and with -v to stderr."""
        if self.verbose:
            from concord.logs import line

            self._cost.add(record)
            click.echo(line(record), err=True)
        level = "info" if record.outcome == "done" else "warning"
        if level == "warning" or self.settings.log_level in ("debug", "info"):
            from concord.logs import log_transaction

            try:
                log_transaction(self.settings, self.command, record, level)
            except OSError as error:
                self._complain(error)

    def read_stdin(self) -> str:
        """Return all of stdin. Raises `Usage` if it was read before, or is no text."""
        from concord.errors import Usage

        if self._stdin_read:
            raise Usage("- stands for stdin twice", hint="Give one of the two on the command line.")
        self._stdin_read = True
        try:
            return sys.stdin.read()
        except UnicodeDecodeError:
            raise Usage("stdin is not valid Unicode", hint="Pass it in UTF-8.") from None

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be taken back.

        Raises `Usage` if there is nobody to ask, and `click.Abort` on a no.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            from concord.errors import Usage

            raise Usage(f"{question} Nobody is there to confirm it.", hint="Say so with --yes.")
        from concord.plain import visible

        click.confirm(visible(question), abort=True, err=True)

    def _complain(self, error: OSError) -> None:
        """Say that the log cannot be written, once, to whoever asked for a log."""
        source = self.settings.provenance
        if self._complained or source["log_level"] == source["log_file"] == "default":
            return
        self._complained = True
        self.render.notice("log", f"the log cannot be written: {error}")

    def close(self) -> None:
        """Give back what was opened, and with -v say what it cost."""
        if "database" in self.__dict__:
            self.database.close()
        if self.verbose and self._cost.round_trips:
            from concord.logs import total

            click.echo(total(self._cost, time.perf_counter() - self._began), err=True)


def pass_app(command: Callable[Concatenate[App, P], R]) -> Callable[P, R]:
    """Pass the invocation's app to a command as its first argument."""

    def invoke(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(App.of(click.get_current_context()), *args, **kwargs)

    return update_wrapper(invoke, command)
