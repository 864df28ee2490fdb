"""`concord agent run`: what a command is told, and what becomes of its task."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from commands import Here, Terminal, plain
from fleet import Agent, said, until
from outages import connections

from concord.agent.child import LONGEST_VARIABLE, environment_of
from concord.plain import dumps
from concord.settings import TASK_VARIABLES, unknown_variables
from concord.sql import claims, listing, projects, tasks

if TYPE_CHECKING:
    from conftest import CommandLine

    from concord.database import Database

HOUR = timedelta(hours=1)


def add(database: Database, *titles: str) -> None:
    for title in titles:
        database.run(tasks.add, tasks.NewTask(title))


def status(database: Database, task: int) -> str:
    return database.run(tasks.show, [task])[0].status


def outcomes(here: Here, *arguments: str) -> list[tuple[int, str]]:
    """Run an agent in this process; return what became of which task."""
    result = here("agent", "run", "--json", *arguments)
    assert result.code == 0, result
    runs = [json.loads(line) for line in result.out.splitlines()]
    return [(run["task"], run["outcome"]) for run in runs]


# What a command is told


def test_a_command_is_told_its_task(here: Here, database: Database) -> None:
    database.run(projects.add, "API")
    database.run(tasks.add, tasks.NewTask("Übung", project="API", tags=["new"]))
    script = 'cat > stdin; env -0 > environment; echo "$@" > arguments'
    assert outcomes(here, "--lease", "1h", "sh", "-c", script, "--", "--json", "*") == [
        (1, "completed")
    ]
    variables = dict(
        pair.split("=", 1) for pair in (here.home / "environment").read_text().split("\0") if pair
    )
    task = json.loads(variables["CONCORD_TASK"])
    assert (here.home / "stdin").read_text() == variables["CONCORD_TASK"] + "\n"
    assert (here.home / "arguments").read_text() == "--json *\n"
    assert list(task) == list(here.ok("task", "show", "1"))[:-1], "all but comments"
    assert {name: variables[name] for name in TASK_VARIABLES - {"CONCORD_TASK"}} == {
        "CONCORD_TASK_ID": "1",
        "CONCORD_TASK_UID": task["uid"],
        "CONCORD_TASK_TITLE": "Übung",
        "CONCORD_TASK_PROJECT": "API",
        "CONCORD_CLAIM_EPOCH": "1",
        "CONCORD_CLAIM_EXPIRES_AT": task["claim"]["expires_at"],
    }
    assert variables["CONCORD_USER"] == "ana"
    assert unknown_variables(variables) == []
    assert (task["status"], task["claim"]["by"]) == ("in_progress", "ana")


def test_a_variable_holds_as_much_as_the_system_takes(database: Database) -> None:
    add(database, "large")
    (task,) = database.run(claims.claim, listing.Filters(), lease=HOUR)
    around = len(f"CONCORD_TASK={dumps(replace(task, description=''))}\0")
    fits, larger = (
        replace(task, description="x" * (LONGEST_VARIABLE - around + more)) for more in (0, 1)
    )
    told = environment_of(fits, "ana")
    assert json.loads(told["CONCORD_TASK"])["description"] == fits.description
    subprocess.run(["true"], env=told, check=True)
    assert "CONCORD_TASK" not in environment_of(larger, "ana")
    if sys.platform == "linux":
        with pytest.raises(OSError, match="too long"):
            subprocess.run(["true"], env=told | {"CONCORD_TASK": dumps(larger)}, check=True)


def test_a_task_too_large_for_a_variable_is_on_stdin(here: Here, database: Database) -> None:
    database.run(tasks.add, tasks.NewTask("large", description="x" * 200_000))
    script = '[ -z "${CONCORD_TASK+set}" ] && [ "$(wc -c)" -gt 200000 ]'
    result = here("agent", "run", "--jsonl", "sh", "-c", script)
    assert json.loads(result.out)["outcome"] == "completed"
    assert "task 1 is larger than 128 KiB" in json.loads(result.err)["notice"]["message"]


def test_a_command_that_does_not_read_is_none_the_worse(here: Here, database: Database) -> None:
    database.run(tasks.add, tasks.NewTask("large", description="x" * 1_000_000))
    assert outcomes(here, "true") == [(1, "completed")]


# What becomes of a task


def test_a_task_whose_command_fails_is_given_back_with_an_account(
    here: Here, database: Database, url: str
) -> None:
    add(database, "one", "two", "three")
    script = (
        '[ $CONCORD_TASK_ID != 2 ] || { seq 30; seq 30 >&2; printf "\\033[31mno\\0" >&2; exit 3; }'
    )
    # Each task once: the one that failed is the best one that is ready all the time.
    runs = outcomes(here, "sh", "-c", script)
    assert runs == [(1, "completed"), (2, "released"), (3, "completed")]
    (comment,) = said(url, 2)
    heading, *lines = comment.splitlines()
    assert heading.startswith("The command ended with exit status 3 after 0.")
    assert heading.endswith(" s: " + " ".join(shlex.join(["sh", "-c", script]).split())[:200])
    assert lines == ["", *(f"    {number}" for number in range(12, 31)), "    no"]
    (task,) = database.run(tasks.show, [2])
    assert (task.status, task.claim, task.assignees) == ("todo", None, ())
    assert [status(database, task) for task in (1, 3)] == ["completed"] * 2
    assert outcomes(here, "true") == [(2, "completed")], "another agent may take it"


def test_a_command_that_a_signal_ended(here: Here, database: Database, url: str) -> None:
    add(database, "one")
    (line,) = here("agent", "run", "--jsonl", "sh", "-c", "kill -9 $$").out.splitlines()
    run = json.loads(line)
    assert list(run) == ["task", "epoch", "outcome", "exit", "signal", "seconds"]
    assert (run["exit"], run["signal"], run["outcome"]) == (None, "SIGKILL", "released")
    assert "The command ended with SIGKILL" in said(url, 1)[0]


def test_it_ends_when_nothing_is_ready_or_enough_is_done(here: Here, database: Database) -> None:
    add(database, *"abcde")
    assert outcomes(here, "--once", "true") == [(1, "completed")]
    assert outcomes(here, "--max-tasks", "2", "true") == [(2, "completed"), (3, "completed")]
    assert outcomes(here, "true") == [(4, "completed"), (5, "completed")]
    result = here("agent", "run", "true")
    assert (result.code, result.out, result.err) == (0, "", "nothing was ready\n")


def test_it_waits_for_a_task(concord: CommandLine, database: Database, url: str) -> None:
    with Agent(concord, "--wait", "1h", "true") as agent:
        until(lambda: connections(url, "agent run"))
        add(database, "one")
        assert agent.run()["task"] == 1
        assert agent.end(signal.SIGTERM).code == 0


def test_filters_come_in_two_ways(here: Here, database: Database) -> None:
    for project in ("API", "WEB"):
        database.run(projects.add, project)
        for tag in ("a", "b"):
            database.run(tasks.add, tasks.NewTask(tag, project=project, tags=[tag]))
    both = ("--claim-filter", "--project api --priority none", "--claim-filter", "--tag 'b'")
    assert outcomes(here, *both, "true") == [(2, "completed")]
    assert outcomes(here, "--project", "web", "--claim-filter", "--tag b", "true") == [
        (4, "completed")
    ]
    assert outcomes(here, "--tag", "a", "true") == [(1, "completed"), (3, "completed")]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "Missing argument 'COMMAND...'"),
        (["no-such-command"], 2, "'no-such-command' is no command"),
        (["--lease", "10ms", "true"], 2, "a lease is at least 1s"),
        (["--claim-filter", "--nonsense", "true"], 2, "No such option '--nonsense'"),
        (["--claim-filter", "API", "true"], 2, "unexpected extra argument"),
        (["--claim-filter", "--priority 'high", "true"], 2, "No closing quotation"),
        (["--claim-filter", "--priority highest", "true"], 2, "'highest' is not one of"),
        (["--project", "nope", "true"], 3, "no such project: NOPE"),
        (["--fields", "ids", "true"], 2, "no such field: ids"),
    ],
    ids=str,
)
def test_what_it_does_not_take(
    here: Here, database: Database, arguments: list[str], code: int, told: str
) -> None:
    add(database, "one")
    assert told in here.refused("agent", "run", *arguments, code=code)
    assert status(database, 1) == "todo"


def test_a_command_that_cannot_be_run_gives_its_task_back(
    here: Here, database: Database, url: str
) -> None:
    add(database, "one")
    (here.home / "script").write_text("no program")
    (here.home / "script").chmod(0o755)
    told = here.refused("agent", "run", "./script", code=2)
    assert "cannot run './script': Exec format error" in told
    assert (status(database, 1), len(said(url, 1))) == ("todo", 1)


@pytest.mark.parametrize("form", ["--json", "--jsonl", "--csv", "--quiet", "--fields=task,outcome"])
def test_every_form_is_lines(here: Here, database: Database, form: str) -> None:
    add(database, "one", "two")
    lines = here("agent", "run", form, "true").out.splitlines()
    match form:
        case "--json" | "--jsonl":
            assert [json.loads(line)["task"] for line in lines] == [1, 2]
        case "--csv":
            assert lines[0] == "task,epoch,outcome,exit,signal,seconds"
            assert [line[:16] for line in lines[1:]] == ["1,1,completed,0,", "2,1,completed,0,"]
        case "--quiet":
            assert lines == ["1", "2"]
        case _:
            assert lines == ["1\tcompleted", "2\tcompleted"]


def test_output_of_a_command_is_no_output_of_ours(concord: CommandLine, database: Database) -> None:
    add(database, "one")
    with Agent(concord, "sh", "-c", "echo out; echo err >&2") as agent:
        result = agent.end()
    assert json.loads(result.out)["outcome"] == "completed"
    assert sorted(result.err.splitlines()) == ["err", "out"]


def test_a_terminal_gets_lines_and_a_summary(concord: CommandLine, database: Database) -> None:
    add(database, "one", "two")
    with Terminal(concord, "agent", "run", "sh", "-c", "exit $((CONCORD_TASK_ID - 1))") as terminal:
        shown = plain(terminal.end().out).splitlines()
    assert [line.split()[:4] for line in shown[:2]] == [
        ["1", "1", "completed", "0"],
        ["2", "1", "released", "1"],
    ]
    assert shown[2] == "1 completed, 1 released"
