"""The log, and the line that -v prints: what a transaction did, and never what was in it."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from workers import psql

from concord import logs
from concord.records import Cost, Isolation, Record, Statement
from concord.settings import hide_password, load

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Here


def log(here: Here) -> list[dict[str, Any]]:
    """Return the rows of the log."""
    path = here.home / "state" / "concord" / "log" / "concord.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_line_of_a_transaction() -> None:
    record = Record("tasks.edit", Isolation.READ_COMMITTED, read_only=False, attempt=2)
    record.statements += [
        Statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\nSELECT 1", 1.24, -1, 1),
        Statement("\n-- update_tasks: only the fields\nUPDATE tasks", 1.24, 1, 1),
        Statement("COMMIT", 0.5, 0, 2),
    ]
    record.connects, record.round_trips = 1, 2
    record.xid, record.outcome, record.ms = "741", "done", 2.04
    assert logs.line(record) == (
        "tasks.edit · READ COMMITTED · attempt 2 · done · xid 741 · 2.0 ms · 2 round trips:"
        " BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; + update_tasks 1 rows 1.2 ms,"
        " COMMIT 0.5 ms"
    )
    cost = Cost()
    for _ in range(2):
        cost.add(record)
    assert logs.total(cost, 0.0306) == (
        "concord: 6 round trips (connect 2, transactions 4), 6 statements, 0.031 s"
    )
    assert logs.total(Cost(0, 1, 1), 0).startswith("concord: 1 round trip (connect 0, trans")
    failed = Record("tasks.show", Isolation.REPEATABLE_READ, read_only=True, attempt=1)
    failed.outcome, failed.sqlstate = "retry", "40001"
    assert logs.line(failed).startswith(
        "tasks.show · REPEATABLE READ READ ONLY · attempt 1 · retry 40001 · 0.0 ms"
    )


def test_verbose_prints_a_line_a_transaction_on_stderr(here: Here) -> None:
    quiet = here("task", "add", "secret title", "--json")
    result = here("task", "add", "secret title", "-v", "--json")
    assert result.json["title"] == quiet.json["title"]
    line, total = result.err.splitlines()
    assert re.match(
        r"tasks\.add · READ COMMITTED · attempt 1 · done · xid \d+ · [\d.]+ ms · 2 round trips: ",
        line,
    )
    assert re.fullmatch(
        r"concord: 3 round trips \(connect 1, transactions 2\), 4 statements, \d\.\d{3} s", total
    )
    assert "insert_task" in line
    assert "secret" not in line
    assert here("-v", "task", "list").err.startswith("listing.page · READ COMMITTED READ ONLY · ")
    told = here("task", "show", "404", "--verbose").err
    assert " · failed · " in told.splitlines()[0]
    assert told.splitlines()[1].startswith("concord: ")
    assert told.splitlines()[2] == "error: no such task: 404"
    assert here("--verbose", "task", "--help").code == 0


def test_what_fails_is_logged_and_what_works_is_not(here: Here) -> None:
    here.ok("task", "add", "one")
    assert log(here) == []
    here("task", "show", "404")
    (row,) = log(here)
    assert {name: row[name] for name in row if name not in ("timestamp", "ms", "statements")} == {
        "event": "transaction",
        "level": "warning",
        "command": "task show",
        "database": hide_password(os.environ["CONCORD_DATABASE_URL"]),
        "actor": "ana",
        "operation": "comments.show",
        "isolation": "READ COMMITTED",
        "read_only": True,
        "attempt": 1,
        "outcome": "failed",
        "sqlstate": None,
        "xid": None,
        "connects": 1,
        "round_trips": 2,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", row["timestamp"])


@pytest.mark.parametrize("level", ["info", "debug"])
def test_at_info_every_transaction_is_logged(
    here: Here, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setenv("CONCORD_LOG_LEVEL", level)
    here.ok("task", "add", "secret title", "--description", "secret text")
    here.ok("assign", "1")
    rows = log(here)
    assert [(row["command"], row["operation"], row["outcome"]) for row in rows] == [
        ("task add", "tasks.add", "done"),
        ("task assign", "assignments.assign", "done"),
    ]
    assert here.ok("history", "--xid", rows[1]["xid"])[0]["operation"] == "task assign"
    names = [statement["name"] for statement in rows[0]["statements"]]
    assert "insert_task" in names
    assert names[-1] == "COMMIT"
    assert "secret" not in json.dumps(rows)


def test_at_error_a_refusal_is_not_logged(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_LOG_LEVEL", "error")
    here("task", "show", "404")
    assert log(here) == []


def test_the_sqlstate_is_logged(here: Here, url: str) -> None:
    here.ok("task", "add", "one")
    psql(url, "ALTER TABLE tags RENAME COLUMN name TO word")
    assert here("tag", "list").code == 70
    failed, bug = log(here)
    assert failed["sqlstate"] == "42703"
    assert (bug["event"], bug["level"], bug["command"]) == ("bug", "error", "tag list")
    assert "UndefinedColumn" in bug["exception"]


def test_the_log_goes_where_it_is_told(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here.home / "new" / "folder" / "my.log"
    monkeypatch.setenv("CONCORD_LOG_FILE", str(path))
    for _ in range(2):
        here("task", "show", "404")
    assert len(path.read_text().splitlines()) == 2, "appended to"
    assert log(here) == []


@pytest.mark.parametrize("level", ["warning", "info"])
def test_a_log_that_cannot_be_written_stops_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    (here.home / "file").write_text("")
    monkeypatch.setenv("CONCORD_LOG_FILE", str(here.home / "file" / "my.log"))
    monkeypatch.setenv("CONCORD_LOG_LEVEL", level)
    added = here("task", "add", "one", "--fields", "title")
    assert (added.code, added.out) == (0, "one\n")
    assert here.ok("task", "list")[0]["title"] == "one"
    missing = here("task", "show", "404")
    assert missing.code == 3
    told = missing.err.splitlines()
    assert told[0].startswith("the log cannot be written: ")
    assert told[1] == "error: no such task: 404"
    assert len(told) == 3
    assert bool(added.err) == (level == "info")


def test_who_asked_for_no_log_is_not_told_of_it(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.home / "state").write_text("a file where the directory should be")
    result = here("task", "show", "404")
    assert result.code == 3
    assert "log" not in result.err


def test_it_is_said_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_LOG_FILE", "/dev/null/my.log")
    monkeypatch.setenv("CONCORD_LOG_LEVEL", "info")
    monkeypatch.setenv("VISUAL", "sed -i s/^title:.*/title:Two/")
    here.ok("task", "add", "One")
    edited = here("task", "edit", "1")
    assert edited.code == 0
    assert edited.err.count("the log cannot be written") == 1, "for two transactions"


def test_a_bug_is_told_even_if_it_cannot_be_logged(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    psql(url, "ALTER TABLE tags RENAME COLUMN name TO word")
    monkeypatch.setenv("CONCORD_LOG_FILE", "/dev/null/my.log")
    error = here("tag", "list", "--json").error
    assert error["code"] == "bug"
    assert error["hint"].startswith("The log could not be written (")


def test_a_bug_before_there_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CONCORD_RETRIES", "many")
    monkeypatch.chdir(tmp_path)
    where = logs.log_bug(None, "task list", ValueError("early"))
    path = load({}, {}).log_path
    assert where == f"Please report it with the log: {path}"
    assert "ValueError: early" in json.loads(path.read_text())["exception"]
