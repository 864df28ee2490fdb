"""The import budget: which packages each command may load, because to load them is what it costs.

Every command is run on a real database and in a pipe, as the first thing that a process does; what
only a terminal or an option brings in has lines of its own.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import loading
import pytest
from loading import Loaded, Run
from test_round_trips import COSTS, commands

from concord.cli import root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import CommandLine

TIMEOUT = 300
"""Seconds after which so many runs, one after the other, are a failure."""

ALWAYS = frozenset({"click"})
DRIVER = frozenset({"psycopg", "psycopg_binary", "typing_extensions"})
SCHEMA = frozenset({"alembic", "mako", "markupsafe", "pygments", "sqlalchemy"})
"""Alembic, and what it draws in."""
CALENDAR = frozenset({"dateutil", "icalendar"})
REPORT = frozenset({"narwhals", "plotly"})
MARKDOWN = frozenset({"markdown_it", "mdurl", "pygments"})
"""What Rich draws in for texts in Markdown."""
LOG = frozenset({"platformdirs", "pygments", "rich", "structlog"})
"""What fails goes to the log, whose library draws in Rich."""

DRAWN_IN = frozenset(
    {"psycopg_binary", "typing_extensions", "mako", "markupsafe", "pygments", "dateutil"}
    | {"narwhals", "markdown_it", "mdurl"}
)
"""What another package loads in some release of it or of Python: nobody has to."""

RACE = "demo race --workers 2 --ops 8 --tasks 1 --think 2 --strategy none"

EXTRA: dict[str, frozenset[str]] = {
    "export --all archive.jsonl": frozenset(),
    "import archive archive.jsonl": SCHEMA,
    **dict.fromkeys(COSTS, frozenset()),
    "search hello": frozenset({"lark"}),
    "task list --where status:todo": frozenset({"lark"}),
    "task list -v": frozenset(),
    "task add x --due fri --every 2w": frozenset(),
    "task show 404": LOG,
    "init": SCHEMA,
    "doctor": frozenset({"platformdirs"}),
    "db": frozenset(),
    "db explain": frozenset(),
    "db status": frozenset(),
    "db url": frozenset(),
    "db backup tasks.dump": frozenset(),
    "db restore tasks.dump --yes": SCHEMA,
    "agent run --once true": frozenset(),
    "undo": frozenset(),
    "export jsonl": frozenset(),
    "export csv": frozenset(),
    "export markdown": frozenset(),
    "export spec-kit": frozenset(),
    "export taskwarrior": frozenset(),
    "export todo-txt": frozenset(),
    "export github": frozenset(),
    "export backlog-md out": frozenset(),
    "export ics": CALENDAR,
    "import jsonl jsonl": frozenset(),
    "import beads jsonl --project api": frozenset(),
    "import spec-kit spec-kit --project api": frozenset(),
    "import todo-txt todo-txt --project api": frozenset(),
    "import linear linear --project api": frozenset(),
    "import jira jira --project api --map status:Todo=todo": frozenset(),
    "import taskwarrior taskwarrior --project api": frozenset({"ijson"}),
    "import github github --project api": frozenset({"ijson"}),
    "import task-master task-master --project api": frozenset({"ijson"}),
    "import backlog-md backlog --project api": frozenset({"yaml"}),
    # In a schema of their own, which they migrate.
    f"{RACE} --log race.jsonl": SCHEMA,
    f"{RACE} --report race.html": SCHEMA | REPORT,
    "demo workflow": SCHEMA,
    "demo anomalies --scenario g2-item": SCHEMA,
    "demo step g2-item": SCHEMA,
    "demo seed --tasks 5 --project-prefix s- --yes": frozenset(),
}
"""Command line → what it loads besides the driver, in an order in which all work."""

WITHOUT_DATABASE: dict[str, frozenset[str]] = {
    "--help": frozenset(),
    "--version": frozenset(),
    "help": frozenset(),
    "help task add": frozenset(),
    "task --help": frozenset(),
    "completion bash": frozenset(),
    "config": frozenset({"platformdirs"}),
    "alias": frozenset(),
    "alias mine history": frozenset({"tomlkit"}),
    "alias mine --delete": frozenset({"tomlkit"}),
    "demo check race.jsonl": frozenset(),
    # They are for the embedded server, which is not in use here.
    "db start --help": frozenset(),
    "db stop --help": frozenset(),
    "db upgrade --help": frozenset(),
    **dict.fromkeys(
        ("task", "project", "tag", "view", "user", "agent", "import", "demo"), frozenset[str]()
    ),
}
"""Command line → what it loads, and that is not even the driver."""

ON_TERMINAL: dict[str, frozenset[str]] = {
    "task list": frozenset({"rich"}),
    "task show 1": frozenset({"rich"}) | MARKDOWN,
    "task add x --quiet": frozenset(),
    "board": frozenset({"rich"}),
    "stats": frozenset(),
}

FILES = {
    "jsonl": "",
    "spec-kit": "- [ ] T001 Do it\n",
    "todo-txt": "(A) Call +api due:2026-01-01\n",
    "linear": "ID,Title,Status\nA-1,x,Todo\n",
    "jira": "Issue key,Summary,Status\nA-1,x,Todo\n",
    "taskwarrior": '[{"uuid": "11111111-1111-4111-8111-111111111111", "description": "x",'
    ' "status": "pending"}]',
    "github": '[{"number": 1, "title": "x", "state": "OPEN",'
    ' "url": "https://github.com/octo/app/issues/1"}]',
    "task-master": '{"tasks": [{"id": 1, "title": "x", "status": "pending"}]}',
    "backlog/tasks/task-1 - x.md": "---\nid: TASK-1\ntitle: 'a: b'\nstatus: To Do\n---\n",
}


@pytest.fixture
def concord(concord: CommandLine) -> CommandLine:
    """The command line, with the files that are brought in."""
    for name, text in FILES.items():
        path = concord.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return concord


def loaded(
    concord: CommandLine, lines: Iterable[str], *modules: str, terminal: bool = False
) -> dict[str, Loaded]:
    """Run command lines one after the other, on top of modules, and return what each loaded."""
    runs = {line: Run(shlex.split(line), terminal) for line in lines}
    done = subprocess.run(
        [sys.executable, loading.__file__, *modules],
        env=concord.environment,
        cwd=concord.home,
        input=json.dumps(list(runs.values())),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=True,
    )
    found = (Loaded(*one) for one in json.loads(done.stdout))
    return dict(zip(runs, found, strict=True))


def deviations(
    found: dict[str, Loaded], budgets: dict[str, frozenset[str]], common: frozenset[str]
) -> list[str]:
    """Return what was loaded beyond a budget, and what a budget has and nothing loads."""
    told: list[str] = []
    for line, run in found.items():
        budget = common | budgets[line]
        if too_many := set(run.packages) - budget:
            told.append(f"{line}: loads {', '.join(sorted(too_many))}")
        if unused := budget - set(run.packages) - DRAWN_IN:
            told.append(f"{line}: does not load {', '.join(sorted(unused))}")
    return told


def test_a_command_loads_what_it_needs(concord: CommandLine) -> None:
    in_pipe = loaded(concord, EXTRA, "concord.database")
    on_terminal = loaded(concord, ON_TERMINAL, "concord.database", terminal=True)
    without = loaded(concord, WITHOUT_DATABASE)
    runs = [*in_pipe.items(), *on_terminal.items(), *without.items()]
    assert {line: run.shown for line, run in runs if run.code}.keys() == {"task show 404"}, runs
    assert [
        *deviations(in_pipe, EXTRA, ALWAYS | DRIVER),
        *deviations(on_terminal, ON_TERMINAL, ALWAYS | DRIVER),
        *deviations(without, WITHOUT_DATABASE, ALWAYS),
    ] == []


def test_every_command_has_a_budget() -> None:
    lines = {*EXTRA, *WITHOUT_DATABASE}
    missing = {
        command
        for command in commands(root)
        if not any(f"{line} ".startswith(f"{command} ") for line in lines)
    }
    assert missing == {"db psql"}, "which ends as another program"


def test_what_is_loaded_beyond_a_budget_or_not_at_all_is_named() -> None:
    found = {"a": Loaded(0, "", ["click", "rich", "yaml"]), "b": Loaded(0, "", ["click"])}
    budgets = {"a": frozenset({"yaml", "mako"}), "b": frozenset({"lark"})}
    told = deviations(found, budgets, ALWAYS)
    assert told == ["a: loads rich", "b: does not load lark"]
