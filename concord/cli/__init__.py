"""The command line: parse, call, render. No rule of the domain lives here."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

import click

from concord import __version__
from concord.cli.app import App
from concord.cli.lazy import Entry
from concord.cli.root import Root
from concord.errors import Bug, ConcordError, ExitCode, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLETE = "_CONCORD_COMPLETE"
"""The variable by which a shell asks for completion."""

ENTRIES = {
    "init": Entry("init:init", "Prepare the database, or bring it up to date."),
    "doctor": Entry("doctor:doctor", "Check the database and the settings."),
    "config": Entry("config:config", "Show the settings and where each came from."),
    "completion": Entry("completion:completion", "Print the completion script of a shell."),
    "alias": Entry("alias:alias", "Give a command line a name of your own."),
    "help": Entry("help:help_command", "Show help for a command."),
    "task": Entry("task:task", "Add, show, edit and finish tasks."),
    "assign": Entry("task:assign_shortcut", "Assign tasks: assign TASK... [USER]..."),
    "search": Entry("search:search", "Find tasks by words, the best first."),
    "board": Entry("board:board", "Show tasks in columns, one for each status."),
    "next": Entry("next:next_tasks", "Say what to do now, and why."),
    "due": Entry("due:due", "List what is due soon or overdue."),
    "stats": Entry("stats:stats", "Show what was created and completed, and what is open."),
    "project": Entry("project:project", "Group tasks."),
    "tag": Entry("tag:tag", "Label tasks."),
    "view": Entry("view:view", "Keep the options of a list under a name."),
    "user": Entry("user:user", "Add and list the people, scripts and agents who act."),
    "history": Entry("history:history", "Show who changed what, newest first."),
    "undo": Entry("undo:undo", "Undo your latest operation; an undo as well."),
    "watch": Entry("watch:watch", "Print changes as they are committed."),
    "agent": Entry("agent:agent", "Work through tasks with a command of your own."),
    "import": Entry("importing:import_command", "Bring in tasks from a file."),
    "export": Entry("exporting:export", "Write tasks to a file."),
    "db": Entry("db:db", "Run, reach and copy the database behind the tasks."),
    "demo": Entry("demo:demo", "See on your own server what Concord promises."),
}

root = Root(
    "concord",
    entries=ENTRIES,
    help="A task tracker for the terminal that many hands use at once.",
    examples=(
        "concord task add 'Write the report' --due fri --priority high",
        "concord task list --assignee me --status todo",
        "concord task done 12",
        "concord task list --quiet --tag stale | concord task cancel -",
    ),
    epilog="Exit codes, settings and recipes: see the README.",
)
root = click.version_option(__version__, "--version", prog_name="concord")(root)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status. Prints errors; raises nothing."""
    arguments = sys.argv[1:] if arguments is None else arguments
    app = App()
    try:
        try:
            status = _invoke(arguments, app)
            sys.stdout.flush()
        finally:
            app.close()
    except (KeyboardInterrupt, click.Abort):
        _say("\ninterrupted; nothing half-done")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader has had enough
        _discard(sys.stdout)
        return ExitCode.OK
    except click.ClickException as error:
        return _report(app, arguments, _usage(error))
    except OSError as error:
        _discard(sys.stdout)
        return _report(app, arguments, _failure(error))
    except Exception as error:  # noqa: BLE001 - the last resort: never a traceback
        if isinstance(error, ConcordError) and not isinstance(error, Bug):
            return _report(app, arguments, error)
        return _report(app, arguments, _bug(app, error))
    else:
        return status


def _invoke(arguments: Sequence[str], app: App) -> int:
    # What `root.main` does, except that a closed pipe is no failure.
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import add_completion_class, shell_complete

        from concord.cli.bash import WholeWords

        add_completion_class(WholeWords)
        return shell_complete(root, {}, "concord", COMPLETE, instruction)
    try:
        with root.make_context("concord", list(arguments), obj=app) as context:
            root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return ExitCode.OK


def _usage(error: click.ClickException) -> Usage:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "concord"
    return Usage(error.format_message(), hint=f"Try: {path} --help")


def _failure(error: OSError) -> Usage:
    """Return the error for what the operating system refuses: as a rule, to take our output."""
    return Usage(
        f"cannot go on: {error}",
        hint="What was to be changed may have been: concord history tells.",
    )


def _bug(app: App, error: Exception) -> Bug:
    """Log an error that should not be, and return the one that says where."""
    from concord.logs import log_bug

    told = error if isinstance(error, Bug) else Bug(f"unexpected {type(error).__name__}")
    where = log_bug(app.__dict__.get("settings"), app.command, error)
    return Bug(f"{told.message}: this is a bug in Concord", hint=where, **told.details)


def _report(app: App, arguments: Sequence[str], error: ConcordError) -> int:
    """Print an error: as JSON where JSON was asked for, even if parsing never got that far."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    output = app.output
    if output is None:
        with suppress(ConcordError):
            output = app.settings.output
    as_json = output in ("json", "jsonl") or "--json" in flags or "--jsonl" in flags
    from concord.plain import error_text

    _say(error_text(error, as_json=as_json))
    return error.exit_code


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:  # nobody is left to tell
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Let go of what a stream did not take; Python would fail on it once more at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
