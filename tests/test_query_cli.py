"""Queries on the command line: as words, as an option, in views and claims, and completed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import Here
from conftest import TIMEOUT

from concord.cli.completion import script

if TYPE_CHECKING:
    from conftest import CommandLine


@pytest.fixture
def here(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    here.ok("user", "add", "bo")
    here.ok("project", "add", "API")
    add = ("task", "add")
    here.ok(*add, "Deploy the server", "--tag", "ops", "--priority", "high", "--due", "today")
    here.ok(*add, "Write release notes", "--tag", "docs", "--tag", "wontfix", "--project", "api")
    here.ok(*add, "Fix the deployment", "--tag", "bug", "--assign", "bo", "--project", "api")
    return here


def ids(here: Here, *arguments: str) -> list[int]:
    return [task["id"] for task in here.ok("task", "list", *arguments)]


def test_the_words_of_a_list_are_a_query(here: Here) -> None:
    assert ids(here, "tag:ops") == [1]
    assert ids(here, "project:api", "-tag:wontfix") == [3]
    assert ids(here, "-tag:ops") == [2, 3]
    assert ids(here, "--tag", "ops", "-assignee:bo", "--sort", "-id") == [1]
    assert ids(here, "-(tag:ops", "or", "tag:bug)") == [2]
    assert ids(here, "priority>=high or tag:docs", "--sort", "-id") == [2, 1]
    assert ids(here, "due:today") == [1]
    assert ids(here, "-due<=today") == [2, 3]
    assert ids(here, "deploy") == [1, 3]
    assert ids(here, '"fix the deployment"') == [3]
    assert ids(here, '-"fix the deployment"', "deploy") == [1]
    assert ids(here, "not", "deploy") == [2]
    assert ids(here, "rel*") == [2]
    assert here("task", "list", "--quiet", "--", "-tag:ops").out == "2\n3\n"
    assert ids(here, "the") == [1, 2, 3], "a word of no index restricts nothing"
    assert ids(here, '-"the"', "deploy") == [1, 3], "negated as little"


def test_an_option_s_value_is_no_term(here: Here) -> None:
    assert ids(here, "--title", "-tag:x") == []
    assert "no such tag: -tag:ops" in here.refused("task", "list", "--tag", "-tag:ops", code=3)
    for words in (["--statsu", "todo"], ["--tag=x", "--statsu:todo"], ["todo", "--statsu"]):
        assert "No such option '--statsu" in here.refused("task", "list", *words, code=2)
    for word in ("-tags:x", "-t", "-x:y"):
        assert "No such option" in here.refused("task", "list", word, code=2)
    assert "No such option" in here.refused("task", "claim", "-tag:ops", code=2)


def test_queries_add_up_with_each_other_and_with_options(here: Here) -> None:
    assert ids(here, "--where", "tag:ops or tag:bug", "--where", "deploy", "assignee:bo") == [3]
    assert ids(here, "--where", "tag:ops or tag:bug", "--project", "api") == [3]
    assert ids(here, "--search", "server deploys") == [1]
    assert ids(here, "--search", "the deploy", "--search", "fix", "project:api") == [3]
    assert ids(here, "--search", 'x"y or -z*') == []
    for nothing in ("", " ", "x" * 256):
        assert "--search" in here.refused("task", "list", "--search", nothing, code=2)


def test_a_query_of_nothing_is_a_slip(here: Here) -> None:
    for arguments in ([""], ["--where", " "]):
        assert "the query is empty" in here.refused("task", "list", *arguments, code=2)


def test_a_fault_is_shown_below_the_query(here: Here) -> None:
    error = here.refused("task", "list", "project:api", "statsu:todo", code=2)
    assert error.splitlines()[:3] == [
        "error: no field 'statsu'; did you mean status or started? (column 13)",
        "  project:api statsu:todo",
        "              ^",
    ]
    result = here("task", "list", "tag:", "--json")
    assert (result.code, result.out) == (2, "")
    assert result.error["details"] == {"query": "tag:", "column": 5}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("tag:nope", "no such tag: nope"),
        ("assignee:nobody", "no such user: nobody"),
        ("claimed:nobody -tag:ops", "no such user: nobody"),
        ("project:nope or tag:nope", "no such project: NOPE"),
        ("tag:ops -tag:ops -owner:nobody", "no such user: nobody"),
    ],
)
def test_a_name_that_does_not_exist_is_told_where_nothing_matches(
    here: Here, query: str, told: str
) -> None:
    assert told in here.refused("task", "list", query, code=3)
    assert ids(here, f"({query}) or tag:ops") == [1]


def test_a_view_keeps_a_query(here: Here) -> None:
    saved = here.ok("view", "save", "mine", "deploy", "-tag:ops", "--sort", "-id")
    assert saved["options"] == ["--where", "deploy -tag:ops", "--sort", "-id"]
    assert ids(here, "--view", "mine") == [3]
    assert ids(here, "--view", "mine", "tag:ops") == [1], "a query in place of the view's"
    assert ids(here, "--view", "mine", "--project", "api") == [3]
    here.ok("view", "save", "soon", "--where", "due<=+1d", "--where", "-blocked:yes")
    assert ids(here, "--view", "soon") == [1]
    here.ok("view", "save", "found", "--search", "deploy")
    assert ids(here, "--view", "found") == [1, 3]
    assert "no field 'x'" in here.refused("view", "save", "bad", "x:y", code=2)


def test_a_claim_and_what_else_chooses_tasks_take_a_query(here: Here) -> None:
    query = ("--where", "-tag:ops -assignee:bo")
    assert here("board", *query, "--quiet").out == "2\n"
    assert here("next", *query, "--quiet").out == "2\n"
    assert [task["id"] for task in here.ok("due", "--where", "tag:ops")] == [1]
    assert [task["id"] for task in here.ok("task", "claim", "--explain", *query)] == [2]
    assert here.ok("task", "claim", *query)["id"] == 2
    assert ids(here, "claimed:me") == [2]
    here.refused("task", "claim", "--where", "claimed:no status:in_progress", code=8)
    claiming = ("--where", "deploy", "--claim-filter", "--where tag:ops", "--once")
    here("agent", "run", *claiming, "--", sys.executable, "-c", "")
    assert ids(here, "status:completed") == [1]


def test_the_plan_of_a_query_is_explained(here: Here) -> None:
    found = here.ok("db", "explain", "created:2030-01-01", "-tag:ops")
    assert json.dumps(found["parameters"]).count("2030-01-01T") == 2, "first and last moment"


# Completion


def offered(here: Here, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """Return what bash is offered for the last word of a line, if no word were cut."""
    with monkeypatch.context() as patch:
        patch.setenv("_CONCORD_COMPLETE", "bash_complete")
        patch.setenv("COMP_LINE", f"concord {line}")
        result = here()
    assert (result.code, result.err) == (0, ""), result
    return [line.partition(",")[2] for line in result.out.splitlines() if line]


def test_fields_and_their_values_are_offered(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, expected in {
        "st": ["status:", "started:"],
        "-ta": ["-tag:"],
        "'-(ta": ["-(tag:"],
        "tag:ops ex": ["external_ref:"],
        "status:": ["status:todo", "status:in_progress", "status:completed", "status:canceled"],
        "status:todo,c": ["status:todo,completed", "status:todo,canceled"],
        "'priority>=": [
            f"priority>={word}" for word in ("none", "low", "medium", "high", "urgent")
        ],
        "'due<=tom": ["due<=tomorrow"],
        "tag:": ["tag:none", "tag:bug", "tag:docs", "tag:ops", "tag:wontfix"],
        "-tag:bug,d": ["-tag:bug,docs"],
        "'a (tag:o": ["a (tag:ops"],
        "assignee:": ["assignee:me", "assignee:none", "assignee:ana", "assignee:bo"],
        "claimed:b": ["claimed:bo"],
        "project:a": ["project:API"],
        "parent:3": ["parent:3"],
        "nope:": [],
        "deploy* -rec": ["-recurring:"],
    }.items():
        assert offered(here, monkeypatch, f"task list {words}") == expected, words
        if words.lstrip("'")[0] != "-" and (words[0] == "'" or " " not in words):
            assert offered(here, monkeypatch, f"task claim --where {words}")[-1:] == expected[-1:]
    assert "status:" in offered(here, monkeypatch, "view save mine ")
    assert offered(here, monkeypatch, "task list --st") == ["--status"]
    assert offered(here, monkeypatch, "task list tag:( --status t") == ["todo"]


DRIVE = """
source /dev/stdin
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
_concord_completion concord
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash does when the tabulator key is pressed: it has cut the line into words."""


@pytest.mark.parametrize(
    ("line", "words", "expected"),
    [
        ("task list tag:o", ["task", "list", "tag", ":", "o"], "ops"),
        ("task list -tag:", ["task", "list", "-tag", ":"], "none"),
        ("task list --tag o", ["task", "list", "--tag", "o"], "ops"),
        ("task list --where=tag:o", ["task", "list", "--where", "=", "tag", ":", "o"], "ops"),
        ('task list "a tag:o', ["task", "list", '"a tag:o'], "a tag:ops"),
    ],
)
def test_bash_puts_in_what_is_missing(
    here: Here, concord: CommandLine, line: str, words: list[str], expected: str
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    path = f"{Path(sys.executable).parent}:{concord.environment['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", DRIVE, "bash", f"concord {line}", "concord", *words],
        input=script("bash"),
        env=concord.environment | {"PATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.stdout.splitlines()[0], done.stderr) == (expected, "")


def test_a_query_is_a_few_words_in_a_shell(concord: CommandLine) -> None:
    concord.ok("task", "add", "Deploy", "--tag", "ops")
    assert [task["id"] for task in concord.ok("task", "list", "deploying", "-tag:docs")] == [1]
