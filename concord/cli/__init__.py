"""The command line: parse, call, render. No rule of the domain lives here."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from concord import __version__
from concord.cli.app import App
from concord.cli.lazy import Entry, Group
from concord.errors import Bug, ConcordError, ExitCode, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRIES = {
    "init": Entry("init:init", "Prepare the database, or bring it up to date."),
    "doctor": Entry("doctor:doctor", "Check the database and the settings."),
    "config": Entry("config:config", "Show the settings and where each came from."),
    "completion": Entry("completion:completion", "Print the completion script of a shell."),
    "help": Entry("help:help_command", "Show help for a command."),
    "task": Entry("task:task", "Add, show, edit and finish tasks."),
    "assign": Entry("task:assign_shortcut", "Assign tasks: assign TASK... [USER]..."),
    "project": Entry("project:project", "Group tasks."),
    "tag": Entry("tag:tag", "Label tasks."),
    "user": Entry("user:user", "Add and list the people, scripts and agents who act."),
    "history": Entry("history:history", "Show who changed what, newest first."),
    "import": Entry("transfer:import_command", "Bring in tasks from a file."),
    "export": Entry("transfer:export", "Write tasks to a file."),
    "demo": Entry("demo:demo", "See on your own server what Concord promises."),
}

root = Group(
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
            status = root.main(list(arguments), "concord", standalone_mode=False, obj=app)
            sys.stdout.flush()
        finally:
            app.close()
        return status if isinstance(status, int) else ExitCode.OK
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; nothing half-done", err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader has had enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except click.ClickException as error:
        return _report(app, arguments, _usage(error))
    except ConcordError as error:
        return _report(app, arguments, error)
    except Exception as error:  # noqa: BLE001 - the last resort: never a traceback
        return _report(app, arguments, _bug(app, error))


def _usage(error: click.ClickException) -> Usage:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "concord"
    return Usage(error.format_message(), hint=f"Try: {path} --help")


def _bug(app: App, error: Exception) -> Bug:
    from concord.logs import log_bug

    return Bug(
        f"unexpected {type(error).__name__}: this is a bug in Concord",
        hint=log_bug(app.__dict__.get("settings"), app.command, error),
    )


def _report(app: App, arguments: Sequence[str], error: ConcordError) -> int:
    """Print an error: as JSON where JSON was asked for, even if parsing never got that far."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    settings = app.__dict__.get("settings")
    output = app.output or (settings.output if settings is not None else None)
    as_json = output in ("json", "jsonl") or "--json" in flags or "--jsonl" in flags
    from concord.plain import error_text

    click.echo(error_text(error, as_json=as_json), err=True)
    if isinstance(error, Bug) and "settings" in app.__dict__:
        from concord.logs import log_bug

        log_bug(app.settings, app.command, error)
    return error.exit_code
