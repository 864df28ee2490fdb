"""What a command costs: how often it waits for the server, and how many statements it sends.

Over a network it is the round trips that a user waits for. To read takes one and to write two,
besides the connection: COMMIT of what writes goes alone, because whoever loses its answer has to
know the transaction to ask for. What takes more says why.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest
from commands import Here
from proxy import Proxy

from concord.cli import root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COSTS: dict[str, tuple[int, int]] = {
    "project add api": (2, 4),
    "task add x": (2, 4),
    "task add x --project api --due today": (2, 5),
    # Tags, people and blockers are attached to a task whose id has to be known.
    "task add x --tag a --tag b --assign ana": (3, 7),
    "task add x --blocked-by 1": (3, 7),
    "task add x --parent 1": (2, 5),
    "task list": (1, 3),
    "task list --tag a --assignee me --sort due --json": (1, 5),
    "task show 1": (1, 4),
    "task edit 1 --title y --owner ana": (2, 5),
    "task edit 1 2 --append-description more": (2, 5),
    "task edit 2 --parent none --if-version 2": (2, 4),
    "task assign 1 2": (2, 6),
    "task unassign 1 --from ana": (2, 6),
    "task unassign 1": (2, 5),
    "assign 1 ana": (2, 6),
    "task start 1": (2, 5),
    "task done 1 2": (2, 5),
    "task cancel 1": (2, 5),
    "task reopen 1": (2, 5),
    "task move 1 --project api": (2, 6),
    "task tag 1 bug ui": (2, 5),
    "task untag 1 bug": (2, 6),
    "task comment 1 hello": (2, 5),
    # Which ones match, before what is shown of them.
    "search hello": (2, 7),
    "task block 3 --by 1": (2, 8),
    "task unblock 3": (2, 5),
    "task tree 1": (1, 3),
    # The tasks at the top have to be known before what is below them.
    "task tree": (2, 6),
    "task delete 2": (2, 5),
    "task restore 2": (2, 6),
    "task delete 5": (2, 5),
    "task purge 5 --yes": (2, 9),
    "task log 1": (1, 3),
    # What was picked is locked, and looked at, before it is taken.
    "task claim": (3, 6),
    "task renew 1 --epoch 1": (2, 6),
    "task release 1 --epoch 1 --comment later": (2, 8),
    "task claim --explain": (1, 3),
    "task claim --count 1": (3, 6),
    "task done 1 --epoch 2": (2, 7),
    # In one snapshot, which ones before what each of them is like.
    "board": (2, 8),
    "board --project api": (2, 10),
    "next": (2, 4),
    "task edit 3 --due today": (2, 4),
    "due": (2, 4),
    # When each day begins before what happened in it.
    "stats": (2, 6),
    "stats --by tag": (2, 7),
    "project list": (1, 3),
    "project show api": (1, 3),
    "project edit api --name Web": (2, 4),
    "project archive api": (2, 4),
    "project archive api --undo": (2, 4),
    "project add web": (2, 4),
    "project delete web --yes": (2, 4),
    "tag add new": (2, 4),
    "tag list": (1, 3),
    "tag rename new newer": (2, 4),
    "tag delete newer --yes": (2, 7),
    "view save mine --status todo": (2, 3),
    "view list": (1, 3),
    "view show mine": (1, 3),
    # What a view stands for is read before the list, by an operation of its own.
    "task list --view mine": (2, 6),
    "view delete mine": (2, 3),
    "user add bo": (2, 3),
    "user list": (1, 3),
    "user show bo": (1, 3),
    "user edit bo --email bo@example.org": (2, 3),
    "project member add api bo": (2, 7),
    "project member list api": (1, 3),
    "project member remove api bo": (2, 7),
    "user delete bo --yes": (2, 6),
    "history": (1, 3),
    # Where to begin, and then the first look.
    "watch --since 0 --count 1": (2, 6),
}
"""Command → round trips besides the connection, and statements; in an order in which all work."""

WITHOUT_DATABASE = ("alias", "completion", "config", "help")

EXEMPT = {
    "agent": "it goes on and on",
    "db": "it asks the server for plans and sizes, of as many statements as there are",
    "demo": "a demonstration, in a schema of its own",
    "doctor": "it looks at the connection itself, beside the runner",
    "export": "it reads in batches, a few round trips each",
    "import": "COPY; test_import_race holds that the number of tasks does not matter",
    "init": "it migrates, beside the runner",
    "undo": "it goes through what was changed step by step, and decides in between",
}
"""Command → why it is not in the table. A group stands for all that is in it."""


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as made:
        yield made


@pytest.fixture
def here(
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    return Here(proxy.url, tmp_path, monkeypatch, capsys)


def told(err: str) -> tuple[int, ...]:
    """Return the numbers of the last line: round trips, connections and the rest, statements."""
    total = re.fullmatch(
        r"concord: (\d+) round trips? \(connect (\d+), transactions (\d+)\), (\d+) statements?,"
        r" \d+\.\d{3} s",
        err.splitlines()[-1],
    )
    assert total is not None, err
    return tuple(map(int, total.groups()))


def test_a_command_costs_what_it_must_and_says_so(here: Here, proxy: Proxy) -> None:
    costs: dict[str, tuple[int, int]] = {}
    for command in COSTS:
        connections, answers = proxy.accepted, proxy.round_trips
        result = here(*command.split(), "-v")
        assert result.code == 0, (command, result)
        together, connects, round_trips, statements = told(result.err)
        assert connects == proxy.accepted - connections == 1, command
        assert round_trips == proxy.round_trips - answers, command
        assert together == connects + round_trips
        costs[command] = round_trips, statements
    assert costs == COSTS


def test_what_fails_is_counted_with_its_rollback(here: Here, proxy: Proxy) -> None:
    here.ok("task", "add", "x")
    answers = proxy.round_trips
    error = here("task", "done", "1", "404", "-v").err.splitlines()
    # What is missing is looked for in the trash.
    assert error[-3].startswith("concord: 4 round trips (connect 1, transactions 3), 6 statements")
    assert proxy.round_trips - answers == 3


def test_of_two_mistakes_the_first_is_told_though_they_went_together(here: Here) -> None:
    # The second, a parent that does not exist, is one that only the server finds.
    here.ok("task", "add", "x")
    assert "no such task: 404" in here("task", "add", "x", "--parent", "404").err
    assert "no such task: 404" in here("task", "block", "1", "--by", "404").err
    assert [task["id"] for task in here.ok("task", "list")] == [1]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield all that can be run, by its words."""
    if not isinstance(command, click.Group) or (path and command.invoke_without_command):
        yield " ".join(path)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


def test_every_command_is_in_the_table_or_says_why_not() -> None:
    excused = {*EXEMPT, *WITHOUT_DATABASE}
    missing = {
        command
        for command in commands(root)
        if not any(f"{line} ".startswith(f"{command} ") for line in COSTS)
        if not any(f"{command} ".startswith(f"{name} ") for name in excused)
    }
    assert missing == set()


@pytest.mark.parametrize("command", ["alias", "completion bash", "config", "help"])
def test_some_commands_do_without_the_database(here: Here, proxy: Proxy, command: str) -> None:
    result = here(*command.split(), "-v")
    assert (result.code, proxy.accepted) == (0, 0), result
    assert "concord: " not in result.err
