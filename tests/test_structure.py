"""The options that say what a task is a part of, and whether it closes with its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands import Here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    here.ok("task", "add", "Whole")
    here.ok("task", "add", "Part", "--parent", "#1")
    return here


def test_a_part_is_given_to_another_whole_or_to_none(here: Here) -> None:
    other = here.ok("task", "add", "Other", "--auto-close")
    assert (other["parent"], other["auto_close"], other["children"]) == (None, True, [])
    assert here.ok("task", "show", "1")["children"] == [2]
    assert here.ok("task", "edit", "2", "--title", "A part")["parent"] == 1
    assert here.ok("task", "edit", "2", "--parent", "3")["parent"] == 3
    assert here.ok("task", "list", "--parent", "3", "--parent", "1")[0]["id"] == 2
    assert here.ok("task", "edit", "2", "--parent", "none")["parent"] is None
    assert here.ok("task", "show", "3")["children"] == []


def test_whether_it_closes_with_its_parts_is_switched_on_and_off(here: Here) -> None:
    assert here.ok("task", "edit", "1", "--auto-close")["auto_close"] is True
    assert here.ok("task", "edit", "1", "--parent", "none")["auto_close"] is True
    assert here.ok("task", "edit", "1", "--no-auto-close")["auto_close"] is False
    here.ok("task", "done", "2")
    assert here.ok("task", "show", "1")["status"] == "todo"
    here.ok("task", "add", "Part", "--parent", "1", "--every", "1w", "--no-auto-close")
    here.ok("task", "edit", "1", "--auto-close")
    here.ok("task", "done", "3")
    assert here.ok("task", "show", "1")["status"] == "todo", "the next part is there"
    here.ok("task", "cancel", "4")
    assert here.ok("task", "show", "1")["status"] == "completed"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["add", "x", "--parent", "Whole"], 2, "'Whole' is not a task id"),
        (["edit", "1", "--parent", ""], 2, "'' is not a task id"),
        (["add", "x", "--parent", "99"], 3, "no such task: 99"),
        (["edit", "2", "--parent", "99"], 3, "no such task: 99"),
        (["edit", "1", "--parent", "1"], 1, "its own parent"),
        (["edit", "1", "--parent", "2"], 1, "1"),
        (["edit", "2", "--auto-close=yes"], 2, "does not take a value"),
    ],
    ids=str,
)
def test_a_whole_that_cannot_be_is_refused(
    here: Here, arguments: list[str], code: int, told: str
) -> None:
    before = here.ok("task", "list")
    assert told in here.refused("task", *arguments, code=code)
    assert here.ok("task", "list") == before
