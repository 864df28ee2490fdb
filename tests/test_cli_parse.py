"""How a command line is read: names, options and arguments, help, and what is near to a typo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import pytest
from commands import Here

from concord import __version__
from concord.cli import ENTRIES, root, run
from concord.cli.external import Takeover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMON = (
    *("--json", "--jsonl", "--csv", "--quiet", "--fields", "--no-color", "--verbose", "--as"),
    "--replica",
)

WAITING = {"--nowait", "--lock-timeout"}
PAGING = {"--limit", "--skip", "--after"}
FILTERS = {
    "--project", "--status", "--tag", "--assignee", "--owner", "--priority", "--due-before",
    "--due-after", "--title", "--assigned", "--where", "--sort", "--trash",
}  # fmt: skip

NARROWING = FILTERS - {"--status", "--sort", "--trash"}

STRUCTURE = {"--parent", "--auto-close", "--every", "--every-after"}
OWN: dict[str, set[str]] = {
    "": {"--version"},
    "init": set(),
    "doctor": {"--unknown", "--engine"},
    "config": set(),
    "completion": set(),
    "alias": {"--replace", "--delete"},
    "help": set(),
    "task": set(),
    "task add": {
        "--project", "--description", "--status", "--priority", "--due", "--tag", "--assign",
        "--blocked-by", *STRUCTURE,
    },
    "task list": FILTERS | PAGING | {"--search", "--view"},
    "task show": set(),
    "task edit": {
        "--title", "--description", "--append-description", "--priority", "--due", "--status",
        "--owner", "--if-version", *STRUCTURE,
    },
    "task assign": {"--to"} | WAITING,
    "task unassign": {"--from"} | WAITING,
    "task start": WAITING,
    "task done": {"--epoch"} | WAITING,
    "task cancel": WAITING,
    "task reopen": WAITING,
    "task move": {"--project"} | WAITING,
    "task tag": WAITING,
    "task untag": WAITING,
    "task delete": WAITING,
    "task restore": set(),
    "task purge": {"--yes"},
    "task log": PAGING,
    "task claim": NARROWING | {"--lease", "--count", "--wait", "--explain"},
    "task renew": {"--epoch", "--lease"},
    "task release": {"--epoch", "--comment"},
    "task block": {"--by"} | WAITING,
    "task unblock": {"--by"} | WAITING,
    "task tree": {"--project"},
    "task comment": {"--edit"},
    "assign": WAITING,
    "search": NARROWING | {"--status", "--ready", "--blocked", "--limit"},
    "board": NARROWING | {"--status", "--limit"},
    "next": NARROWING | {"--limit", "--explain"},
    "due": NARROWING | {"--within", "--limit"},
    "stats": {"--project", "--person", "--tag", "--weeks", "--days", "--by", "--chart"},
    "project": set(),
    "project add": {"--name", "--description", "--visibility"},
    "project list": {"--archived"},
    "project show": set(),
    "project edit": {
        *("--key", "--name", "--description", "--owner", "--visibility", "--wip-limit"),
    },
    "project archive": {"--undo"},
    "project delete": {"--yes"},
    "project member": set(),
    "project member add": {"--role"},
    "project member remove": set(),
    "project member list": set(),
    "tag": set(),
    "tag add": set(),
    "tag list": set(),
    "tag rename": set(),
    "tag delete": {"--yes"},
    "view": set(),
    "view save": FILTERS | {"--limit", "--replace"},
    "view list": set(),
    "view show": set(),
    "view delete": set(),
    "user": set(),
    "user add": {"--email", "--login", "--password-file"},
    "user list": set(),
    "user show": set(),
    "user edit": {"--name", "--email"},
    "user delete": {"--yes"},
    "history": {"--actor", "--xid"} | PAGING,
    "undo": {"--last", "--change", "--dry-run"},
    "watch": {
        *("--since", "--project", "--task", "--actor", "--interval", "--for", "--count"),
        "--patience",
    },
    "agent": set(),
    "agent run": {
        *("--project", "--tag", "--assignee", "--owner", "--priority", "--due-before"),
        *("--due-after", "--title", "--assigned", "--parent", "--claim-filter", "--lease"),
        *("--wait", "--max-tasks", "--once", "--grace", "--patience"),
    },
    "import": set(),
    "import spec-kit": {"--project", "--dry-run", "--skip-bad"},
    "import beads": {"--project", "--dry-run", "--skip-bad"},
    "import jsonl": {"--project", "--dry-run", "--skip-bad"},
    "import archive": set(),
    "export": {"--all", "--project", "--trash", "--spreadsheet"},
    "db": set(),
    "db explain": FILTERS | PAGING | {"--view", "--analyze"},
    "db start": set(),
    "db stop": set(),
    "db status": set(),
    "db url": set(),
    "db backup": {"--yes"},
    "db restore": {"--yes"},
    "db upgrade": {"--from-binaries"},
    "demo": set(),
    "demo race": {
        *("--scenario", "--strategy", "--workers", "--ops", "--duration", "--tasks", "--isolation"),
        *("--think", "--retries", "--seed", "--log", "--elle", "--report", "--no-observer"),
    },
    "demo check": set(),
    "demo workflow": set(),
    "demo anomalies": {"--scenario", "--isolation"},
    "demo step": {"--file", "--isolation", "--interactive"},
    "demo seed": {"--tasks", "--seed", "--project-prefix", "--yes"},
}  # fmt: skip
"""Command → its own options. What stands here stays: options are added, never taken away."""


def contexts(parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a context for every command there is."""
    ctx = parent or click.Context(root, info_name="concord")
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            assert command is not None
            yield from contexts(click.Context(command, info_name=name, parent=ctx))


def path_of(ctx: click.Context) -> list[str]:
    return ctx.command_path.split()[1:]


PATHS = [path_of(ctx) for ctx in contexts() if not isinstance(ctx.command, Takeover)]
GROUPS = [path_of(ctx) for ctx in contexts() if isinstance(ctx.command, click.Group)]


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """The command line without a database: what is tested here needs none."""
    return Here("host=127.0.0.1 port=1", tmp_path, monkeypatch, capsys)


def test_no_command_and_no_option_is_lost() -> None:
    found = {
        " ".join(path_of(ctx)): {
            option.opts[-1] for option in ctx.command.params if isinstance(option, click.Option)
        }
        for ctx in contexts()
    }
    assert OWN.keys() <= found.keys()
    for path, options in OWN.items():
        assert options | set(COMMON) <= found[path], path


def test_every_option_has_a_long_form_and_every_short_one_means_the_same_everywhere() -> None:
    short: dict[str, set[str]] = {}
    for ctx in contexts():
        for option in ctx.command.get_params(ctx):
            if isinstance(option, click.Option):
                *others, long = option.opts
                assert long.startswith("--"), option
                for name in others:
                    short.setdefault(name, set()).add(long)
    assert short == {"-h": {"--help"}, "-q": {"--quiet"}, "-v": {"--verbose"}}


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_is_the_same_however_it_is_asked_for(here: Here, path: list[str]) -> None:
    told = here("help", *path)
    assert told.code == 0
    assert told.out.startswith(f"Usage: {' '.join(['concord', *path])}")
    assert told.err == ""
    for arguments in ([*path, "-h"], [*path, "--help"], ["--json", *path, "--help"]):
        assert here(*arguments) == told, arguments


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_bare_group_prints_its_help(here: Here, path: list[str]) -> None:
    assert here(*path) == here(*path, "--help")


def test_help_leads_with_examples(here: Here) -> None:
    for ctx in contexts():
        if not isinstance(ctx.command, click.Group):
            told = here("help", *path_of(ctx)).out
            assert 0 < told.index("\nExamples:\n") < told.index("\nOptions:\n"), ctx.command_path
            first = told.partition("\nExamples:\n")[2].splitlines()[0]
            assert "concord " in first, ctx.command_path
    assert (
        here().out.index("Examples:") < here().out.index("Commands:") < here().out.index("Options:")
    )


def test_help_of_a_group_names_its_commands_in_their_order(here: Here) -> None:
    rows = here().out.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == list(ENTRIES)
    rows = here("task").out.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    names = [row.split()[0] for row in rows if not row.startswith("     ")]
    assert names == [path.removeprefix("task ") for path in OWN if path.startswith("task ")]


def test_help_of_what_is_not_there(here: Here) -> None:
    assert "concord task lst; did you mean list?" in here.refused("help", "task", "lst", code=2)
    assert "concord task list has no subcommands" in here.refused(
        "help", "task", "list", "x", code=2
    )


def test_the_version(here: Here) -> None:
    assert here("--version").out == f"concord, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["tsk", "list"], "task"),
        (["task", "lst"], "list"),
        (["task", "sart", "1"], "start"),
        (["histroy"], "history"),
        (["demo", "workflw"], "workflow"),
        (["import", "jsnl", "-"], "jsonl"),
    ],
)
def test_a_typo_suggests_and_never_runs(here: Here, arguments: list[str], near: str) -> None:
    told = here.refused(*arguments, code=2)
    assert f"did you mean {near}" in told
    assert "cannot connect" not in told, "it never got as far as the database"


@pytest.mark.parametrize("arguments", [["ta"], ["task", "lis"], ["h"], ["export", "js"], ["xyzzy"]])
def test_a_prefix_is_no_command(here: Here, arguments: list[str]) -> None:
    here.refused(*arguments, code=2)


def test_a_word_that_nothing_is_near_to_gets_no_suggestion(here: Here) -> None:
    assert here.refused("xyzzy", code=2) == (
        "error: no such command: concord xyzzy\nhint: Try: concord --help\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["task", "list", "--stat", "todo"],
        ["task", "list", "--jso"],
        ["task", "edit", "1", "--titel", "x"],
    ],
)
def test_options_are_not_abbreviated(here: Here, arguments: list[str]) -> None:
    assert "No such option" in here.refused(*arguments, code=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["task", "add"], "Missing argument 'TITLE'"),
        (["task", "add", "a", "b"], "unexpected extra argument"),
        (["task", "show"], "Missing argument 'TASK...'"),
        (["task", "show", "abc"], "'abc' is not a task id"),
        (["task", "show", "0"], "'0' is not a task id"),
        (["task", "show", "-1"], "No such option '-1'"),
        (["task", "show", "--", "-1"], "'-1' is not a task id"),
        (["task", "show", "1.5"], "'1.5' is not a task id"),
        (["task", "show", "٣"], "'٣' is not a task id"),
        (["task", "show", "9223372036854775808"], "is not a task id"),
        (["task", "show", "9" * 4000], "is not a task id"),
        (["task", "list", "--status", "done"], "'done' is not one of 'todo'"),
        (["task", "list", "--limit", "-1"], "'-1' is not a whole number from 0 to"),
        (["task", "list", "--limit", str(2**63)], "is not a whole number"),
        (["task", "list", "--skip", "x"], "'x' is not a whole number from 0 to"),
        (["task", "list", "--due-before", "none"], "no date to compare with"),
        (["task", "list", "--due-after", "31-12-2026"], "cannot read '31-12-2026' as a date"),
        (["task", "edit", "1", "--if-version", "0"], "x>=1"),
        (["task", "edit", "1", "2", "--if-version", "1", "--title", "x"], "a single task"),
        (["task", "edit", "1", "2"], "the editor takes one task"),
        (["task", "edit", "1", "--description", "a", "--append-description", "b"], "exclude"),
        (["task", "edit", "1", "--status", "finished"], "'finished' is not one of"),
        (["task", "edit", "1", "--due", "30 Feb"], "`today`, `fri`, `next tue`, `+3d`"),
        (["task", "edit", "1", "--due", "2026-02-30"], "not on the calendar"),
        (["task", "move", "1"], "Missing option '--project'"),
        (["task", "add", "x", "--project", ""], "a project's key cannot be empty"),
        (["task", "list", "--project", " "], "a project's key cannot be empty"),
        (["task", "tag", "1"], "name a tag"),
        (["task", "untag", "bug"], "name a task"),
        (["assign", "ana"], "name a task"),
        (["assign"], "Missing argument"),
        (["task", "log"], "Missing argument 'TASK'"),
        (["history", "--after", "x"], "--after: 'x' is not a number that history printed"),
        (["history", "--xid", "1; DROP TABLE tasks"], "--xid"),
        (["history", "12", "13"], "unexpected extra argument"),
        (["project", "edit", "API"], "name what to change"),
        (["user", "edit", "ana"], "name what to change"),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (["export", "yaml"], "'yaml' is not one of 'jsonl', 'spec-kit', 'taskwarrior', "),
        (["export", "csv", "--fields", "id"], "task list --fields"),
        (["import", "spec-kit", "tasks.md"], "Missing option '--project'"),
        (["import", "jsonl", "."], "is a directory"),
        (["task", "list", "--as"], "requires an argument"),
        (["--as", "", "task", "list"], "user = '' (command line) is not some text"),
        (["task", "done", "1", "--lock-timeout", "soon"], "lock_timeout = 'soon' (command line)"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_nonsense_is_refused_with_a_word_on_what_is_right(
    here: Here, arguments: list[str], told: str
) -> None:
    assert told in here.refused(*arguments, code=2)


def test_a_usage_error_says_where_to_look(here: Here) -> None:
    assert here.refused("task", "move", "1", code=2).endswith(
        "hint: Try: concord task move --help\n"
    )


@pytest.mark.parametrize("value", ["in_progress", "in-progress", "IN_PROGRESS", "In-Progress"])
def test_a_choice_forgives_case_and_the_dash(here: Here, value: str) -> None:
    # Read well, it goes as far as the database.
    assert "cannot connect" in here.refused("task", "list", "--status", value, code=7)


def test_the_command_line_comes_from_the_process_unless_it_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["concord", "--version"])
    assert run() == 0
    assert __version__ in capsys.readouterr().out
