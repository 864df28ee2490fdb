"""`demo workflow`: it shows real transactions, and leaves nothing behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
from audit import tables
from commands import Here, on_terminal, plain
from conftest import finish
from psycopg.conninfo import make_conninfo
from workers import psql

if TYPE_CHECKING:
    import pytest
    from conftest import CommandLine

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'concord%'"


def test_it_tells_each_step_for_a_reader(here: Here, url: str) -> None:
    before = tables(url)
    told = here("demo", "workflow").out
    steps = told.split("\n\n")
    assert [
        re.sub(r"^(\d\. concord \w+ \w+).*", r"\1", step.splitlines()[0]) for step in steps
    ] == [
        "1. concord user add",
        "2. concord project add",
        "3. concord task add",
        "4. concord task assign",
        "5. concord task start",
        "6. concord task edit",
        "7. concord task done",
        "7 transactions committed; the scratch schema is gone again.",
    ]
    start = steps[4].splitlines()
    assert re.fullmatch(r"   READ COMMITTED, transaction \d+", start[1])
    assert start[2] == "     BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    assert "FOR UPDATE" in start[3]
    assert "UPDATE tasks SET status" in start[4]
    assert start[5:] == [
        "     COMMIT",
        "   task 1 is at version 3: in_progress, assigned to bo",
        "   history: ana · task 1 · status: todo → in_progress",
    ]
    assert "assigned to nobody" in steps[2]
    assert not re.search(r"-- \w+:", told), "SQL comments are left out"
    assert tables(url) == before
    assert psql(url, SCHEMAS) == []


def test_the_steps_are_what_happened(here: Here) -> None:
    steps: list[dict[str, Any]] = here.ok("demo", "workflow")
    assert list(steps[0]) == [
        "command", "operation", "isolation", "xid", "statements", "task", "changes",
    ]  # fmt: skip
    assert [step["operation"] for step in steps] == [
        "users.add", "projects.add", "tasks.add", "assignments.assign", "tasks.set_status",
        "tasks.edit", "tasks.set_status",
    ]  # fmt: skip
    assert [step["task"] and step["task"]["version"] for step in steps] == [
        None, None, 1, 2, 3, 4, 5,
    ]  # fmt: skip
    assert [step["task"]["status"] for step in steps[2:]] == [
        "todo", "todo", "in_progress", "in_progress", "completed",
    ]  # fmt: skip
    for step in steps:
        assert step["isolation"] == "READ COMMITTED"
        assert step["statements"][0].startswith("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;")
        assert step["statements"][-1] == "COMMIT"
        assert {change["xid"] for change in step["changes"]} == {step["xid"]}
        assert {change["operation"] for change in step["changes"]} == {"demo workflow"}
    assert len({step["xid"] for step in steps}) == 7
    assert steps[5]["changes"][0]["new"] == {"description": "Read ARCHITECTURE.md."}


def test_in_other_forms(here: Here) -> None:
    steps = here("demo", "workflow", "--fields", "command,isolation").out.splitlines()
    assert steps[0] == "user add bo\tREAD COMMITTED"
    assert len(steps) == 7
    assert all(line.isdigit() for line in here("demo", "workflow", "-q").out.splitlines())
    assert here("demo", "workflow", "--csv").out.startswith("command,operation,isolation,xid,")
    assert len(here("demo", "workflow", "--jsonl").out.splitlines()) == 7


def test_you_need_not_be_a_user_and_may_have_any_name(here: Here, url: str) -> None:
    for user, colleague in (("ana", "bo"), ("ANA", "bo"), ("bo", "ana"), ("somebody", "ana")):
        steps = here.ok("--as", user, "demo", "workflow")
        assert steps[0]["command"] == f"user add {colleague}"
        assert steps[3]["task"]["assignees"] == [colleague]
        assert steps[3]["changes"][0]["actor"] == user
    assert psql(url, "SELECT username FROM users") == [("ana",)]


def test_a_database_without_a_schema_will_do(
    here: Here, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    assert len(here.ok("demo", "workflow")) == 7
    assert tables(empty_url) == {}


def test_a_database_that_takes_no_schema_says_so(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(url)
    read_only = make_conninfo(url, options="-c default_transaction_read_only=on")
    monkeypatch.setenv("CONCORD_DATABASE_URL", read_only)
    result = here("demo", "workflow", "--json")
    assert (result.code, result.out, result.error["code"]) == (7, "", "database")
    assert tables(url) == before


def test_several_at_once_do_not_meet(concord: CommandLine, url: str) -> None:
    processes = [concord.start("demo", "workflow", "--json") for _ in range(3)]
    results = [finish(process) for process in processes]
    assert [result.code for result in results] == [0, 0, 0], results
    assert all(result.json[2]["task"]["id"] == 1 for result in results)
    assert psql(url, SCHEMAS) == []


def test_what_a_killed_one_left_is_cleared_by_the_next(concord: CommandLine, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # Its name tells the backend that owned it, which never was.
        connection.execute("CREATE SCHEMA concord_scratch_4711_1")
        connection.execute("CREATE TABLE concord_scratch_4711_1.tasks (id int)")
    assert concord("demo", "workflow").code == 0
    assert psql(url, SCHEMAS) == []


def test_a_terminal_shows_it_as_text(concord: CommandLine) -> None:
    told = plain(on_terminal(concord, "demo", "workflow").out)
    assert told.startswith("1. concord user add bo\n   READ COMMITTED, transaction ")
    assert "\x1b" not in told
