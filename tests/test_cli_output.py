"""What commands print, in each form, on a pipe and on a terminal."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from audit import tables
from commands import STYLE, Here, on_terminal, plain, zone
from workers import psql

from concord.models import Task

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

TASK_KEYS = [
    "id", "uid", "project", "title", "description", "status", "priority", "due", "tags",
    "assignees", "owner", "external_ref", "parent", "version", "created_at", "updated_at",
    "completed_at", "deleted_at", "started_at", "canceled_at", "auto_close", "recurrence",
    "previous", "blocked_by", "blocks", "children", "claim",
]  # fmt: skip

COMMANDS: dict[str, str] = {
    "init": "schema",
    "doctor": "healthy",
    "config": "name",
    "task add x": "title",
    "task list": "id",
    "task show 1": "id",
    "task show 1 2": "id",
    "task edit 1 --priority low": "priority",
    "task assign 1": "assignees",
    "task unassign 1": "assignees",
    "task start 1": "status",
    "task done 1": "status",
    "task cancel 1": "status",
    "task reopen 1": "status",
    "task move 1 --project api": "project",
    "task tag 1 bug": "tags",
    "task untag 1 bug": "tags",
    "task delete 2": "deleted_at",
    "task restore 2": "id",
    "task delete 3": "id",
    "task purge 3 --yes": "id",
    "task log 1": "operation",
    "assign 1 ana": "assignees",
    "search two": "rank",
    "board": "id",
    "next": "urgency",
    "task edit 1 --due today": "due",
    "due": "overdue",
    "stats": "created",
    "project add web": "key",
    "project list": "key",
    "project show web": "key",
    "project edit web --name Web": "name",
    "project member add web ana --role owner": "user",
    "project member list web": "role",
    "project archive web": "archived_at",
    "project delete web --yes": "key",
    "tag add new": "name",
    "tag list": "name",
    "tag rename new newer": "name",
    "tag delete newer --yes": "name",
    "view save mine --status todo": "options",
    "view list": "command",
    "view show mine": "name",
    "task list --view mine": "id",
    "view delete mine": "name",
    "alias mine history": "command",
    "alias mine": "name",
    "alias": "name",
    "alias mine --delete": "command",
    "user add bo": "username",
    "user list": "username",
    "user show bo": "username",
    "user edit bo --email bo@example.org": "email",
    "project member add api bo": "since",
    "project member remove api bo": "user",
    "user delete bo --yes": "username",
    "history": "id",
    "watch --since 0 --count 1": "cursor",
    "undo --dry-run": "entity",
    "undo": "entity",
    "import jsonl -": "created",
    "import beads - --project API": "created",
    "import spec-kit - --project API": "created",
    "db explain": "plan",
    "db status": "running",
    "db url": "url",
    "db backup tasks.dump": "bytes",
    "db restore tasks.dump --yes": "schema",
    "demo workflow": "command",
    "demo anomalies --scenario g2-item": "scenario",
    "demo step g2-item": "step",
    "demo seed --tasks 5 --project-prefix s- --yes": "links",
}
"""A command of each kind, in an order in which all succeed, and a field of what it prints."""

DOCUMENTS = {"board": "columns", "stats": "periods"}
"""Command → a key of its JSON, where that is a document around what it prints otherwise."""


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    here.ok("project", "add", "api")
    for title in ("one", "two", "three"):
        here.ok("task", "add", title)
    return here


def test_a_task_has_the_keys_it_always_had(here: Here) -> None:
    (task, *_) = here.ok("task", "list")
    assert list(task) == TASK_KEYS == [field.name for field in fields(Task)]
    assert {name for name, value in task.items() if value is None} == {
        "project", "description", "due", "external_ref", "parent", "completed_at", "deleted_at",
        "started_at", "canceled_at", "recurrence", "previous", "claim",
    }  # fmt: skip
    assert task["tags"] == task["assignees"] == task["blocked_by"] == task["blocks"] == []
    assert task["created_at"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "quiet", "fields"])
def test_every_command_speaks_every_form(here: Here, form: str) -> None:
    for command, field in COMMANDS.items():
        as_asked = [f"--{form}", field] if form == "fields" else [f"--{form}"]
        if (form, command) == ("csv", "doctor"):
            field = "check"
        if (form, command) == ("fields", "doctor"):
            as_asked[1] = field = "check"
        if form == "json":
            field = DOCUMENTS.get(command, field)
        result = here(*command.split(), *as_asked)
        assert result.code == 0, (command, result)
        assert result.err == "", (command, result)
        match form:
            case "json":
                told = json.loads(result.out)
                assert field in (told[0] if isinstance(told, list) else told), command
            case "jsonl":
                lines = result.out.splitlines()
                assert all(field in json.loads(line) for line in lines), command
                assert lines, command
            case "csv":
                rows = list(csv.DictReader(io.StringIO(result.out)))
                assert all(field in row for row in rows), command
                assert rows, command
                assert all(None not in row for row in rows), command
            case "quiet":
                one_word = [line for line in result.out.splitlines() if line and "\t" not in line]
                assert one_word or command.split()[0] in ("init", "import", "db"), command
                assert one_word == result.out.splitlines(), command
            case _:
                # A line a thing; `show` of one thing has a line a field, with its name.
                lines = result.out.splitlines()
                assert lines, command
                assert all(line.count("\t") <= 1 for line in lines), command


def test_an_unknown_field_stops_every_command_before_it_does_anything(here: Here, url: str) -> None:
    here.ok("task", "delete", "3")
    before = tables(url)
    for command in COMMANDS:
        told = here.refused(*command.split(), "--fields", "id,nope", code=2, stdin="")
        assert told.startswith("error: no such field: "), command
        assert "\nhint: Fields: " in told, command
    assert tables(url) == before


def test_an_unknown_field_is_told_where_there_is_nothing_to_list(here: Here) -> None:
    told = here.refused("task", "list", "--status", "canceled", "--fields", "nope", code=2)
    assert told == f"error: no such field: nope\nhint: Fields: {', '.join(TASK_KEYS)}\n"
    assert here.ok("task", "list", "--status", "canceled", "--fields", "id") == []


def test_nothing_is_truncated_in_a_pipe(here: Here) -> None:
    title = "é" * 255
    here.ok("task", "add", title, "--description", "a\tb\r\nc\\d")
    told = here("task", "list", "--fields", "title,description", "--title", "é").out
    assert told == f"{title}\ta\\tb\\r\\nc\\\\d\n"
    card = here("task", "show", "4").out
    assert f"title\t{title}\n" in card
    assert "description\ta\\tb\\r\\nc\\\\d\n" in card
    assert card.count("\n") == len([*TASK_KEYS, "comments"])


@pytest.mark.parametrize("form", ["", "--json", "--jsonl", "--csv", "--quiet"])
@pytest.mark.parametrize("sort", ["id", "-title", "due", "priority"])
def test_a_list_that_is_cut_says_so_in_every_form_and_goes_on(
    here: Here, form: str, sort: str
) -> None:
    options = ["--sort", sort, *filter(None, [form])]

    def ids(out: str) -> list[int]:
        match form:
            case "--json":
                return [task["id"] for task in json.loads(out)]
            case "--jsonl":
                return [json.loads(line)["id"] for line in out.splitlines()]
            case "--csv":
                return [int(row["id"]) for row in csv.DictReader(io.StringIO(out))]
            case _:
                return [int(line.split("\t")[0]) for line in out.splitlines()]

    whole = here("task", "list", *options)
    assert whole.err == ""
    expected = ids(whole.out)
    assert sorted(expected) == [1, 2, 3]
    found: list[int] = []
    cursor: list[str] = []
    for _ in expected:
        page = here("task", "list", *options, "--limit", "1", *cursor)
        found += ids(page.out)
        if len(found) == len(expected):
            assert page.err == "", "the last page is not cut"
            break
        if form.startswith("--json"):
            notice = json.loads(page.err)["notice"]
            assert notice["code"] == "cut"
            assert notice["details"]["shown"] == 1
            cursor = ["--after", notice["details"]["after"]]
        else:
            assert page.err.startswith("the list is cut at 1; next page: --after ")
            cursor = page.err.split()[page.err.split().index("--after") :][:2]
            cursor[1] = cursor[1].rstrip(";")
    assert found == expected


def test_a_cursor_of_another_list_is_refused(here: Here) -> None:
    cursor = json.loads(here("task", "list", "--limit", "1", "--json").err)["notice"]["details"]
    told = here.refused("task", "list", "--sort", "due", "--after", cursor["after"], code=2)
    assert "not a cursor of this list" in told
    for bad in ("gibberish", "WzEsMl0", "é", "\udcff", ""):
        assert "not a cursor" in here.refused("task", "list", "--after", bad, code=2), bad
    assert "Sort by id, priority, due" in here.refused("task", "list", "--sort", "colour", code=2)


def test_the_output_of_a_setting_yields_to_a_flag(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_OUTPUT", "json")
    assert here("task", "list", "--fields", "id").out == '[{"id":1},{"id":2},{"id":3}]\n'
    assert here("task", "list", "--fields", "id", "--quiet").out == "1\n2\n3\n"
    (here.home / ".concord.toml").write_text("output = 'quiet'\n")
    monkeypatch.delenv("CONCORD_OUTPUT")
    assert here("task", "list").out == "1\n2\n3\n"


def test_every_time_is_utc_whatever_the_zone(here: Here) -> None:
    before = here.ok("task", "show", "1")
    with zone("Asia/Tokyo"):
        assert here.ok("task", "show", "1") == before
        assert here.ok("history")[0]["at"].endswith("Z")


# On a terminal, by processes of their own


def test_a_terminal_gets_tables_and_cards(concord: CommandLine) -> None:
    assert on_terminal(concord, "task", "list").out == "nothing to show\n"
    added = on_terminal(
        concord, "task", "add", "Write", "--priority", "urgent", "--due", "2030-06-28",
        "--description", "*soon*",
    )  # fmt: skip
    lines = plain(added.out).splitlines()
    assert lines[0] == "id  status  priority  project  due         title"
    assert lines[2] == " 1  todo    urgent             2030-06-28  Write"
    assert "\x1b[1;31murgent" in added.out
    assert "\x1b[" not in on_terminal(concord, "task", "list", TERM="dumb").out
    shown = plain(on_terminal(concord, "task", "show", "1").out)
    assert "due         2030-06-28\n" in shown
    assert shown.endswith("\nsoon")
    assert json.loads(on_terminal(concord, "task", "list", "--json").out)[0]["title"] == "Write"


def test_no_command_lets_a_text_reach_the_terminal_raw(url: str, concord: CommandLine) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    psql(
        url,
        "INSERT INTO tasks (title, description, owner_id) SELECT %s, %s, id FROM users",
        hostile,
        hostile,
    )
    for arguments in (
        ["task", "list"],
        ["task", "show", "1"],
        ["history"],
        ["task", "list", "--csv"],
        ["export", "jsonl"],
        ["export", "csv"],
        ["export", "spec-kit"],
        ["task", "show", hostile],
        ["task", "list", "--tag", hostile, "--json"],
    ):
        told = STYLE.sub("", on_terminal(concord, *arguments).out)
        assert not set(told) & set("\x1b\x07\x9b\u202e"), (arguments, told)
        assert "owned" in told, arguments
