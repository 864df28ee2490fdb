"""What is due: soon or overdue, in order, and silence where there is nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from commands import Here, on_terminal, plain
from workers import psql

from concord.errors import NotFound
from concord.sql import due
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from conftest import CommandLine

    from concord.database import Database

DUE = """
INSERT INTO tasks (title, status, priority, due, deleted_at, owner_id)
SELECT title, status::task_status, priority::task_priority, now() + ahead::interval,
       CASE WHEN title = 'trashed' THEN now() END, 1
FROM (VALUES ('later', 'todo', 'urgent', '3 days'), ('soon', 'todo', 'none', '20 hours'),
             ('late', 'todo', 'low', '-2 days'), ('begun', 'in_progress', 'none', '-1 hour'),
             ('done', 'completed', 'urgent', '-9 days'), ('dropped', 'canceled', 'none', '1 hour'),
             ('trashed', 'todo', 'high', '1 hour'), ('undated', 'todo', 'high', NULL))
    AS made (title, status, priority, ahead)
"""


def test_open_tasks_within_a_time_and_overdue_the_earliest_first(
    url: str, database: Database
) -> None:
    psql(url, DUE)

    def found(days: float) -> list[tuple[str, bool]]:
        told = database.run(due.within, Filters(), timedelta(days=days))
        return [(task.title, task.overdue) for task in told]

    assert found(1) == [("late", True), ("begun", True), ("soon", False)]
    assert found(0.5) == [("late", True), ("begun", True)]
    assert found(4) == [("late", True), ("begun", True), ("soon", False), ("later", False)]


def test_filters_narrow_it(url: str, database: Database) -> None:
    psql(url, DUE)
    psql(url, "INSERT INTO assignments (task_id, user_id) SELECT id, 1 FROM tasks WHERE id = 2")
    day = timedelta(days=1)
    (mine,) = database.run(due.within, Filters(assignees=["me"]), day)
    assert mine.title == "soon"
    assert database.run(due.within, Filters(priorities=["urgent"]), day) == ()
    with pytest.raises(NotFound, match="nobody-there"):
        database.run(due.within, Filters(assignees=["nobody-there"]), day)


def test_nothing_due_is_exit_8_with_nothing_on_stdout(here: Here, url: str) -> None:
    here.ok("task", "add", "undated")
    assert "error: nothing is due\n" in here.refused("due", "--within", "7d", code=8)
    quiet = here("due", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (8, "", ""), "for a prompt, not even a message"
    psql(url, DUE)
    assert here("due", "--quiet").out == "4\n5\n3\n"


def test_a_list_that_is_cut_says_so(here: Here, url: str) -> None:
    psql(url, DUE)
    told = here("due", "--limit", "2", "--fields", "title,overdue")
    assert told.out == "late\ttrue\nbegun\ttrue\n"
    assert told.err == "the list is cut at 2; all: --limit 0\n"
    assert here("due", "--limit", "3").err == here("due", "--limit", "0").err == ""
    assert [task["overdue"] for task in here.ok("due")] == [True, True, False]


def test_a_terminal_says_what_is_overdue_in_words(concord: CommandLine, url: str) -> None:
    psql(url, DUE)
    shown = plain(on_terminal(concord, "due").out)
    assert shown.count(", overdue") == 2
    assert "late" in shown
