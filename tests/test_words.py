"""What the words of a foreign file mean, and how an import tells of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from concord.errors import Usage
from concord.formats.words import Words
from concord.models import MappedWord

if TYPE_CHECKING:
    from commands import Here


def issue(number: int, **fields: object) -> str:
    return json.dumps({"id": f"bd-{number}", "title": f"Do {number}", **fields}) + "\n"


# Meanings


def test_a_word_means_what_the_format_says_unless_a_rule_says_otherwise() -> None:
    words = Words(["status:Open=in_progress", "user: Ana Lopez =ana", "project:a=b=API"])
    assert words.status(" OPEN", {"open": "todo"}) == "in_progress"
    assert words.status("done", {"done": "completed"}) == "completed"
    assert words.priority("P1", {"p1": "high"}) == "high"
    assert words.user("ana lopez") == "ana"
    assert words.user("Bo Berg") == "Bo-Berg"
    assert words.project("A=B") == "API"
    assert words.project("home.garden") == "HOME-GARDEN"
    assert words.project("2024 plans") == "P-2024-PLANS"
    assert words.unknown == ()


def test_words_are_counted_and_the_unknown_ones_told_apart() -> None:
    words = Words()
    for word in ("Doing", "doing ", "done"):
        words.status(word, {"done": "completed"})
    assert words.used == (
        MappedWord("status", "Doing", None, 2),
        MappedWord("status", "done", "completed", 1),
    )
    assert words.unknown == words.used[:1]


@pytest.mark.parametrize(
    "rule", ["", "status", "status:x", "status:=todo", "status:x=", "state:x=todo", "status:x=done"]
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(Usage) as caught:
        Words([rule])
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "  ", "!!", "→"])
def test_a_project_needs_something_to_make_a_key_of(name: str) -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        Words().project(name)


def test_a_long_project_name_is_cut_to_a_key() -> None:
    assert Words().project("x" * 100) == "X" * 32


# Imports


def test_an_import_with_a_word_that_nobody_knows_changes_nothing(here: Here) -> None:
    file = issue(1, status="Doing") + issue(2, status="Doing") + issue(3, status="closed")
    command = ("import", "beads", "-", "--project", "API")
    error = here(*command, "--skip-bad", "--json", stdin=file).error
    assert error["code"] == "usage"
    assert "status 'Doing' (2)" in error["message"]
    assert "--map 'status:Doing=in_progress'" in error["hint"]
    assert error["details"]["words"] == [{"kind": "status", "word": "Doing", "tasks": 2}]
    assert here.ok("task", "list") == []


def test_a_rule_gives_it_a_meaning_and_a_dry_run_shows_them_all(here: Here) -> None:
    file = issue(1, status="Doing", assignee="Bo Berg") + issue(2, status="closed")
    command = ("import", "beads", "-", "--project", "API")
    told = here(*command, "--dry-run", stdin=file)
    assert told.out.startswith("would be: 2 created")
    assert "status Doing is unknown here (1)" in told.err
    assert "user Bo Berg is Bo-Berg here (1)" in told.err
    rules = ("--map", "status:doing=in_progress", "--map", "user:Bo Berg=bo")
    report = here.ok(*command, *rules, stdin=file)
    assert {(word["word"], word["meaning"]) for word in report["words"]} == {
        ("Doing", "in_progress"),
        ("closed", "completed"),
        ("Bo Berg", "bo"),
    }
    first, _ = here.ok("task", "list")
    assert (first["status"], first["assignees"]) == ("in_progress", ["bo"])


def test_a_bad_rule_is_told_before_the_file_is_read(here: Here) -> None:
    error = here("import", "beads", "-", "--project", "API", "--map", "x=y", "--json").error
    assert error["code"] == "usage"
    assert "'x=y' is no mapping" in error["message"]
