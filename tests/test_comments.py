"""Comments: what is said is kept, is shown as it is meant, and makes nobody's edit stale."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from audit import check_history
from commands import Here, plain, screen
from together import all_at_once, everything_but_gates
from workers import Workers, psql

from concord.cli import run
from concord.sql import assignments, comments, tasks, users

if TYPE_CHECKING:
    from concord.database import Database

pytestmark = pytest.mark.crew


def bodies(here: Here, task: str) -> list[str]:
    return [comment["body"] for comment in here.ok("task", "show", task)["comments"]]


def editor(here: Here, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = here.home / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(path))


# Saying


def test_what_is_said_is_kept_in_order(here: Here) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    here.ok("task", "comment", task, "First.")
    here.ok("task", "comment", f"#{task}", "-", stdin="\nSecond,\n\n- with *Markdown*\n\n")
    shown = here.ok("task", "comment", task, "Third.", "--as", "ana")
    assert [comment["body"] for comment in shown["comments"]] == [
        "First.", "Second,\n\n- with *Markdown*", "Third.",
    ]  # fmt: skip
    first = shown["comments"][0]
    assert (first["task"], first["author"], first["external_ref"]) == (shown["id"], "ana", None)
    assert shown["version"] == 1
    assert bodies(here, task) == [comment["body"] for comment in shown["comments"]]


def test_a_comment_is_written_in_the_editor(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    editor(here, monkeypatch, 'printf "\\n# Note\\n\\ntext\\n" > "$1"')
    here.ok("task", "comment", task, "--edit")
    assert bodies(here, task) == ["# Note\n\ntext"]


def test_an_editor_that_leaves_nothing_says_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    before = everything_but_gates(url)
    editor(here, monkeypatch, 'printf " \\n\\t\\n" > "$1"')
    result = here("task", "comment", task, "--edit")
    assert (result.code, result.out) == (0, "")
    assert "empty" in result.err
    assert everything_but_gates(url) == before


def test_what_was_written_in_the_editor_is_kept_if_it_cannot_be_said(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    here.ok("task", "delete", task)
    editor(here, monkeypatch, 'echo "Long and dear." > "$1"')
    result = here("task", "comment", task, "--edit", "--json")
    assert (result.code, result.out) == (3, "")
    with open(result.error["details"]["file"], encoding="utf-8") as kept:  # noqa: PTH123
        assert kept.read() == "Long and dear.\n"


@pytest.mark.parametrize("body", ["", "  ", "\n\t\n", "\u00a0\u3000"])
def test_an_empty_comment_is_refused(here: Here, url: str, body: str) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    before = everything_but_gates(url)
    assert "a comment says something" in here.refused("task", "comment", task, body, code=2)
    here.refused("task", "comment", task, "-", stdin=body, code=2)
    here.refused("task", "comment", task, code=2)
    here.refused("task", "comment", task, "x", "--edit", code=2)
    assert everything_but_gates(url) == before


def test_nobody_speaks_about_a_task_that_is_not_there(here: Here) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    assert "no such task: 99" in here.refused("task", "comment", "99", "x", code=3)
    here.ok("task", "delete", task)
    told = here.refused("task", "comment", task, "x", code=3)
    assert "in the trash" in told
    assert f"concord task restore {task}" in told


def test_a_comment_makes_nobodys_edit_stale(here: Here) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    here.ok("task", "comment", task, "Meanwhile.")
    assert here.ok("task", "edit", task, "--title", "y", "--if-version", "1")["version"] == 2


# Showing


def test_a_terminal_shows_markdown_and_no_control_characters(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    here.ok("task", "comment", task, "a **bold** word\n\n- one\n- two")
    here.ok("task", "comment", task, "evil \x1b]0;owned\x07 \x1b[2J \u202e text")
    with screen(monkeypatch, columns=80) as shown:
        assert run(("task", "show", task)) == 0
    text = plain(shown[0])
    assert "bold" in text
    assert "**" not in text
    assert "• one" in text
    assert not any(evil in shown[0] for evil in ("\x1b]", "\x1b[2J", "\x07", "\u202e"))
    assert "evil" in text


def test_a_pipe_shows_a_comment_on_lines_that_cannot_be_mistaken(here: Here) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    here.ok("task", "comment", task, "one\nstatus\tcompleted\r\x1b[2J")
    out = here("task", "show", task).out
    assert "\x1b" not in out
    assert "\nstatus\tcompleted" not in out


def test_history_tells_what_was_said(here: Here) -> None:
    task = str(here.ok("task", "add", "x")["id"])
    said = here.ok("task", "comment", task, "Hello.")["comments"][0]
    row = here.ok("task", "log", task)[0]
    assert (row["entity"], row["entity_id"], row["task"]) == ("comment", said["id"], int(task))
    assert (row["actor"], row["operation"], row["version"]) == ("ana", "task comment", None)
    assert row["old"] == {}
    assert (row["new"]["author"], row["new"]["body"]) == ("ana", "Hello.")


# At once


def test_of_sixteen_comments_at_once_sixteen_are_kept(url: str, database: Database) -> None:
    task = database.run(tasks.add, tasks.NewTask("x")).id
    with Workers(url) as workers, ThreadPoolExecutor(16) as pool:
        crew = [workers.patient("ana").database for _ in range(16)]
        with all_at_once(url, 16):
            for number, one in enumerate(crew):
                pool.submit(one.run, comments.add, [task], f"comment {number}")
    (shown,) = database.run(comments.show, [task])
    assert {comment.body for comment in shown.comments} == {f"comment {n}" for n in range(16)}
    assert shown.version == 1
    assert psql(url, "SELECT count(*) FROM history WHERE entity = 'comment'") == [(16,)]


# Users


@pytest.mark.parametrize("tie", ["claim", "expired claim", "comment", "owner", "assignee"])
def test_a_user_who_is_needed_is_not_deleted(
    url: str, database: Database, here: Here, tie: str
) -> None:
    database.run(users.add, "bo")
    task = database.run(tasks.add, tasks.NewTask("x")).id
    match tie:
        case "comment":
            here.ok("task", "comment", str(task), "Hm.", "--as", "bo")
        case "owner":
            database.run(tasks.edit, [task], {"owner": "bo"})
        case "assignee":
            database.run(assignments.assign, [task], ["bo"])
        case _:
            here.ok("task", "claim", "--as", "bo")
    if tie == "expired claim":
        psql(url, "UPDATE claims SET expires_at = now() - interval '1 s'")
    before = everything_but_gates(url)
    result = here("user", "delete", "bo", "--yes", "--json")
    if tie == "assignee":
        assert result.code == 0
        assert database.run(tasks.show, [task])[0].assignees == ()
    else:
        assert (result.code, result.out) == (1, "")
        assert result.error["hint"]
        assert everything_but_gates(url) == before
    if "claim" in tie:
        assert "concord task reopen" in result.error["hint"]
        here.ok("task", "reopen", str(task))
        here.ok("user", "delete", "bo", "--yes")
    assert check_history(url) == 1


def test_the_views_of_a_user_go_with_them(url: str, here: Here) -> None:
    here.ok("user", "add", "bo")
    psql(
        url,
        "INSERT INTO views (owner_id, name, options)"
        " SELECT id, 'mine', '{}' FROM users WHERE username = 'bo'",
    )
    here.ok("user", "delete", "bo", "--yes")
    assert everything_but_gates(url)["views"] == []
