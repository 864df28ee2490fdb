"""`concord undo` as it is typed: what it prints, in which form, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from commands import Here, on_terminal, plain

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

pytestmark = pytest.mark.crew


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    for title in ("one", "two"):
        here.ok("task", "add", title)
    here.ok("user", "add", "bo")
    return here


def test_a_script_gets_each_thing_with_what_it_was_and_what_it_is(here: Here) -> None:
    here.ok("task", "edit", "1", "--title", "uno", "--priority", "high")
    (change, *_) = here.ok("history", "--limit", "1")
    (row,) = here.ok("undo")
    assert row == {
        "xid": change["xid"],
        "at": change["at"],
        "operation": "task edit",
        "entity": "task",
        "entity_id": 1,
        "task": 1,
        "old": {"title": "uno", "priority": "high"},
        "new": {"title": "one", "priority": "none"},
    }
    assert here.ok("history", "--limit", "1")[0]["operation"] == "undo"


def test_the_other_forms(here: Here) -> None:
    here.ok("task", "start", "1", "2")
    assert here("undo", "--quiet").out == "1\n2\n"
    redone = [line.split("\t") for line in here("undo").out.splitlines()]
    assert [(line[2:5], json.loads(line[6])) for line in redone] == [
        (["undo", "task", number], {"status": "in_progress"}) for number in ("1", "2")
    ]
    assert here("undo", "--fields", "task,new").out.startswith('1\t{"status":"todo"}\n')


def test_a_dry_run_tells_the_same_and_changes_nothing(here: Here) -> None:
    here.ok("task", "start", "1")
    tried = here.ok("undo", "--dry-run")
    assert here.ok("task", "show", "1")["status"] == "in_progress"
    assert here.ok("undo") == tried


def test_a_terminal_shows_now_and_then(url: str, concord: CommandLine) -> None:
    concord.ok("task", "add", "one", "--tag", "bug")
    concord.ok("task", "edit", "1", "--title", "uno")
    shown = on_terminal(concord, "undo", "--dry-run")
    assert shown.code == 0
    assert "task edit  task 1  title: uno → one" in plain(shown.out)
    assert "nothing was changed: this is what would be" in plain(shown.out)
    assert concord.ok("task", "show", "1")["title"] == "uno"


def test_how_it_ends(here: Here) -> None:
    here.ok("task", "edit", "1", "--title", "hers")
    here.ok("task", "edit", "1", "--title", "his", "--as", "bo")
    ended = here("undo", "--json")
    assert (ended.code, ended.out) == (4, "")
    error = json.loads(ended.err)["error"]
    assert error["code"] == "conflict"
    assert error["details"]["conflicts"][0]["changes"][0]["actor"] == "bo"
    (his, *_) = here.ok("history", "--limit", "1")
    assert here("undo", "--change", str(his["id"])).code == 6
    assert here("undo", "--change", "999999").code == 3
    assert here("undo", "--as", "bo").code == 0
    assert here("undo", "--last", "2").code == 0
    assert here("undo", "--last", "1000").code == 8
    assert here("undo", "--last", "2", "--change", "1").code == 2
    assert here("undo", "--last", "0").code == 2
    here.ok("task", "delete", "2")
    here.ok("task", "purge", "2", "--yes")
    assert here("undo").code == 1


def test_a_user_of_the_shell_redoes_by_undoing_twice(here: Here) -> None:
    here.ok("task", "done", "1", "2")
    for expected in ("todo", "completed", "todo"):
        here.ok("undo")
        assert [task["status"] for task in here.ok("task", "list")] == [expected] * 2
