"""Saved views: options kept as they were typed, and lists that are shown by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from commands import Here, zone
from hypothesis import given, settings
from hypothesis import strategies as st
from workers import Workers, psql

from concord import dates
from concord.cli import viewing
from concord.cli.task import list_tasks
from concord.cli.view import save as save_command
from concord.errors import Conflict
from concord.sql import views

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from concord.database import Database


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Here]:
    with zone("UTC"):
        here = Here(url, tmp_path, monkeypatch, capsys)
        here.ok("user", "add", "bo")
        here.ok("task", "add", "One", "--priority", "low", "--tag", "a")
        here.ok("task", "add", "Two", "--priority", "high", "--due", "2030-06-28", "--tag", "b")
        here.ok("task", "add", "Three", "--priority", "high", "--assign", "bo")
        yield here


def ids(here: Here, *options: str) -> list[int]:
    return [task["id"] for task in here.ok("task", "list", *options)]


def test_what_was_typed_is_kept_in_one_form(here: Here) -> None:
    saved = here.ok(
        "view", "save", "mine", "--sort", "-due", "--status=In-Progress", "--priority", "HIGH",
        "--status", "todo", "--due-before", "eow", "--unassigned", "--limit", "0",
        "--title", "--it", "--ready", "--project", "none",
    )  # fmt: skip
    expected = [
        "--project", "none", "--status", "In-Progress", "--status", "todo", "--priority", "HIGH",
        "--due-before", "eow", "--title", "--it", "--unassigned", "--ready", "--sort", "-due",
        "--limit", "0",
    ]  # fmt: skip
    assert saved["options"] == expected
    assert list(saved) == ["id", "name", "options", "command", "created_at", "updated_at"]
    assert here.ok("view", "show", "MINE") == saved
    assert here.ok("view", "list") == [saved]
    assert here("view", "list").out == f"mine\ttask list {' '.join(expected)}\n"
    assert here.ok("view", "delete", "mine") == saved
    assert here.ok("view", "list") == []


def test_a_list_by_a_view_is_that_of_its_options(here: Here) -> None:
    options = ["--priority", "high", "--sort", "-id", "--limit", "1"]
    here.ok("view", "save", "top", *options)
    by_view = here("task", "list", "--view", "top", "--json")
    assert by_view == here("task", "list", *options, "--json")
    assert json.loads(by_view.err)["notice"]["code"] == "cut"


def test_what_is_given_beside_it_takes_the_place_of_the_same_option(here: Here) -> None:
    here.ok("view", "save", "v", "--priority", "high", "--tag", "b", "--sort", "-id")
    assert ids(here, "--view", "v") == [2]
    assert ids(here, "--view", "v", "--tag", "a") == [], "tag a and of high priority"
    assert ids(here, "--view", "v", "--tag", "a", "--priority", "low") == [1]
    assert ids(here, "--view", "v", "--tag", "a", "--tag", "b", "--priority", "low") == [1]
    here.ok("view", "save", "v", "--priority", "high", "--sort", "-id", "--replace")
    assert ids(here, "--view", "v") == [3, 2]
    assert ids(here, "--view", "v", "--sort", "id") == [2, 3]
    assert ids(here, "--view", "v", "--assigned") == [3]
    here.ok("view", "save", "v", "--assigned", "--replace")
    assert ids(here, "--view", "v") == [3]
    assert ids(here, "--view", "v", "--unassigned") == [1, 2]


def test_a_view_goes_on_from_page_to_page(here: Here) -> None:
    here.ok("view", "save", "v", "--sort", "-id", "--limit", "2")
    first = here("task", "list", "--view", "v", "--json")
    after = json.loads(first.err)["notice"]["details"]["after"]
    assert [task["id"] for task in json.loads(first.out)] == [3, 2]
    assert ids(here, "--view", "v", "--after", after) == [1]


def test_a_date_is_that_of_the_day_of_use(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.ok("view", "save", "v", "--due-before", "+1w")
    assert ids(here, "--view", "v") == []
    now = dates.local_now()
    monkeypatch.setattr(dates, "local_now", lambda: now.replace(year=2030, month=6, day=25))
    assert ids(here, "--view", "v") == [2]


def test_views_are_one_s_own(here: Here) -> None:
    here.ok("view", "save", "v", "--tag", "a")
    assert here.ok("--as", "bo", "view", "list") == []
    for command in (
        ["view", "show", "v"],
        ["view", "delete", "v"],
        ["task", "list", "--view", "v"],
    ):
        assert "you have no view v" in here.refused("--as", "bo", *command, code=3)
    here.ok("--as", "bo", "view", "save", "v", "--tag", "b", "--assignee", "me")
    here.ok("view", "save", "me", "--assignee", "me")
    assert ids(here, "--view", "me") == []
    assert ids(here, "--view", "v") == [1]
    here.ok("user", "edit", "ana", "--name", "anna")
    assert ids(here, "--view", "v", "--as", "anna") == [1], "a view goes with its owner"


def test_a_name_that_is_taken_is_replaced_only_when_told(here: Here) -> None:
    first = here.ok("view", "save", "v", "--tag", "a")
    assert here.ok("view", "save", "v", "--tag", "a") == first, "safe to run again"
    told = here.refused("view", "save", "V", "--tag", "b", code=4)
    assert "you have a view V already: task list --tag a" in told
    assert "--replace" in told
    replaced = here.ok("view", "save", "V", "--tag", "b", "--replace")
    assert (replaced["id"], replaced["name"]) == (first["id"], "V")
    assert replaced["updated_at"] > first["updated_at"]
    assert ids(here, "--view", "v") == [2]


def test_an_unknown_name_comes_with_those_near_it(here: Here) -> None:
    for name in ("Mine", "due-soon"):
        here.ok("view", "save", name, "--tag", "a")
    assert here.refused("task", "list", "--view", "min", code=3) == (
        "error: you have no view min; did you mean Mine?\nhint: See: concord view list\n"
    )
    told = here("view", "show", "due-son", "--json")
    assert told.code == 3
    assert told.error["details"] == {"view": "due-son", "near": ["due-soon"]}
    assert here.refused("view", "delete", "xyz", code=3).startswith("error: you have no view xyz\n")


UNREADABLE = [
    (["v"], "give the options that the view is to hold"),
    (["v", "--replace"], "give the options that the view is to hold"),
    (["v", "--status", "done"], "'done' is not one of 'todo'"),
    (["v", "--due-before", "someday"], "cannot read 'someday' as a date"),
    (["v", "--sort", "colour"], "cannot sort by 'colour'"),
    (["v", "--limit", "-1"], "is not a whole number"),
    (["v", "--skip", "1"], "No such option '--skip'"),
    (["v", "--view", "w"], "No such option '--view'"),
    (["v", "tood:x"], "no field 'tood'"),
    (["none", "--tag", "a"], "'none' stands for no view"),
    (["None", "--tag", "a"], "'None' stands for no view"),
    (["a b", "--tag", "a"], "that is no name of a view"),
    (["", "--tag", "a"], "that is no name of a view"),
    (["x" * 65, "--tag", "a"], "that is no name of a view"),
]


def test_what_cannot_be_read_is_not_kept(here: Here) -> None:
    for arguments, told in UNREADABLE:
        assert told in here.refused("view", "save", *arguments, code=2), arguments
    assert here.ok("view", "list") == []


FOREIGN = [
    *(["--colour", "red"], ["--status", "done"], ["todo"], ["--tag"]),
    *(["--due-before", "someday"], ["--json"], ["--help"], ["--view", "v"]),
]


def test_a_view_of_another_version_is_named(here: Here, url: str) -> None:
    psql(url, "INSERT INTO views (owner_id, name, options) VALUES (1, 'v', '{}')")
    for options in FOREIGN:
        psql(url, "UPDATE views SET options = %s", options)
        told = here.refused("task", "list", "--view", "v", code=2)
        assert told.startswith("error: the view v cannot be read: "), options
        hint = f"hint: It is task list {' '.join(options)}; save it anew: concord view save v"
        assert hint in told, options
    assert here.ok("view", "show", "v")["options"] == FOREIGN[-1]


# The default view


def test_the_default_view_holds_where_no_task_is_chosen_and_says_so(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.ok("view", "save", "high", "--priority", "high")
    monkeypatch.setenv("CONCORD_VIEW", "HIGH")
    told = here("task", "list", "--fields", "id")
    assert (told.out, told.err) == (
        "2\n3\n",
        "by your view high: task list --priority high; all tasks: --view none\n",
    )
    assert json.loads(here("task", "list", "--json").err)["notice"]["details"] == {"view": "high"}
    for options, expected in {
        ("--sort", "-id"): [3, 2],
        ("--limit", "1"): [2],
        ("--skip", "1"): [3],
        ("--view", "none"): [1, 2, 3],
        ("--view", "NONE", "--sort", "-id"): [3, 2, 1],
        ("--tag", "a"): [1],
        ("--unassigned",): [1, 2],
        ("--trash",): [],
    }.items():
        assert ids(here, *options) == expected, options
    here.ok("view", "save", "low", "--priority", "low")
    assert (here("task", "list", "--view", "low", "--quiet").out) == "1\n"
    assert here("task", "list", "--view", "low").err == "", "it was asked for"


def test_a_project_s_file_may_name_the_default_view(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.home / ".concord.toml").write_text("view = 'team'\n")
    told = here.refused("task", "list", code=3)
    assert f"error: you have no view team ({here.home}/.concord.toml)\n" in told
    assert "hint: For no view: --view none." in told
    assert ids(here, "--view", "none") == [1, 2, 3]
    here.ok("view", "save", "team", "--tag", "a")
    assert ids(here) == [1]
    monkeypatch.setenv("CONCORD_VIEW", "none")
    assert ids(here) == [1, 2, 3]


def test_a_view_costs_one_small_transaction_and_a_list_without_one_nothing(here: Here) -> None:
    here.ok("view", "save", "v", "--tag", "a")
    by_view = here("task", "list", "--view", "v", "-v").err
    assert [line.split(" ")[0] for line in by_view.splitlines()] == [
        "views.show",
        "listing.page",
        "concord:",
    ]
    assert "1 round trip:" in by_view.splitlines()[0]
    assert len(here("task", "list", "-v").err.splitlines()) == 2


# What is typed is what is read


OPTIONS = viewing.kept(list_tasks)
VALUES: dict[str, list[str]] = {
    "projects": ["API", "none", "x-y"],
    "statuses": ["todo", "In-Progress", "CANCELED"],
    "priorities": ["High", "none"],
    "due_before": ["2030-06-28", "eow", "+3d"],
    "due_after": ["2030-06-28 17:00", "today"],
    "parents": ["12", "#13"],
    "query": ["status:todo -tag:a", "-due<2030-06-28", '"a b" or c*'],
    "search": ["a b", "-x"],
    "limit": ["0", "5"],
    "sort": ["-due", "id"],
}


@settings(max_examples=50)
@given(st.data())
def test_whatever_a_view_keeps_means_the_same_when_it_is_read(data: st.DataObject) -> None:
    typed: list[str] = []
    for option in data.draw(st.permutations(OPTIONS)):
        assert option.name is not None
        spelled = st.sampled_from([*option.opts, *option.secondary_opts])
        if option.is_flag:
            typed += data.draw(st.lists(spelled, max_size=1))
            continue
        known = VALUES.get(option.name)
        values = st.sampled_from(known) if known else st.text(min_size=1)
        for value in data.draw(st.lists(values, max_size=3 if option.multiple else 1)):
            typed += [data.draw(spelled), value]

    def read(words: list[str]) -> dict[str, Any]:
        command = click.Command("list", params=[*OPTIONS], add_help_option=False)
        return command.make_context("list", list(words)).params

    keeping = [param for param in save_command.params if param.name in read([])]
    saving = click.Command("save", params=keeping, add_help_option=False)
    ctx = saving.make_context("save", list(typed))
    words = viewing.words(ctx, [one for one in keeping if isinstance(one, click.Option)])
    assert read(words) == read(typed)
    assert sorted(words) == sorted(typed)


def test_every_option_of_a_list_that_chooses_tasks_can_be_kept() -> None:
    names = {option.name for option in OPTIONS}
    assert {param.name for param in list_tasks.params} - names >= {"skip", "after", "view", "json"}
    assert {"projects", "statuses", "ready", "trash", "sort", "limit"} <= names


# Two at once


def test_of_two_who_save_one_name_at_once_one_is_told(database: Database, url: str) -> None:
    with Workers(url) as workers:
        gate, one, other = workers.gate(), workers.worker(), workers.worker()
        first = one.run(gate.before_commit(views.save), "v", ["--tag", "a"])
        second = other.run(views.save, "V", ["--tag", "b"])
        same = workers.worker().run(views.save, "v", ["--tag", "a"])
        assert other.waits_for(one)
        gate.open()
        assert first.result() == same.result()
        with pytest.raises(Conflict, match="you have a view V already: task list --tag a"):
            second.result()
    (kept,) = database.run(views.list_all)
    assert kept.options == ("--tag", "a")


def test_history_tells_of_views(here: Here) -> None:
    here.ok("view", "save", "v", "--tag", "a")
    here.ok("view", "save", "v", "--tag", "b", "--replace")
    here.ok("view", "delete", "v")
    told = [change for change in here.ok("history") if change["entity"] == "view"]
    assert [change["operation"] for change in told] == ["view delete", "view save", "view save"]
    assert told[1]["new"]["options"] == ["--tag", "b"]
