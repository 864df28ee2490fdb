"""What rows of history amount to: net effects, the way back, and names that have changed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from concord.models import Change
from concord.sql.undo.names import follow
from concord.sql.undo.past import Past

_ids = count(1)


def row(entity: str, number: int, old: dict[str, Any], new: dict[str, Any]) -> Change:
    """Return the next row of history."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    task = number if entity == "task" else None
    return Change(next(_ids), at, "ana", "task edit", entity, number, task, 1, old, new, "741")


def test_the_net_effect_is_from_the_first_value_to_the_last() -> None:
    past = Past(
        (
            row("task", 1, {"title": "a", "tags": []}, {"title": "b", "tags": ["x"]}),
            row("task", 2, {"title": "a"}, {"title": "b"}),
            row("task", 1, {"title": "b", "due": None}, {"title": "c", "due": "soon"}),
            row("task", 2, {"title": "b"}, {"title": "a"}),
        )
    )
    first, second = past.effects
    assert first.fields == {"title": ("a", "c"), "tags": ([], ["x"]), "due": (None, "soon")}
    assert (first.put_on("tags"), first.taken_off("tags"), first.after("title")) == (["x"], [], "c")
    assert (second.fields, second.before("title")) == ({}, None)


def test_what_is_made_and_what_is_removed() -> None:
    past = Past(
        (
            row("tag", 1, {}, {"name": "x"}),
            row("tag", 2, {"name": "y"}, {}),
            row("tag", 3, {"name": "z"}, {"name": "a"}),
        )
    )
    assert [(one.created, one.removed) for one in past.effects] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert list(past.of("tag")) == [1, 2, 3]
    assert past.of("task") == {}


def test_the_way_back_goes_by_what_one_statement_may_have_written() -> None:
    past = Past(
        (
            row("task", 1, {"title": "a"}, {"title": "b"}),
            row("task", 2, {"title": "a"}, {"title": "b"}),
            row("task", 1, {"tags": ["x"]}, {"tags": []}),
            row("tag", 5, {"name": "x"}, {}),
            row("tag", 6, {}, {"name": "x"}),
            row("view", 7, {"name": "mine"}, {}),
            row("user", 8, {"username": "bo"}, {}),
        )
    )
    groups = [[(one.entity, one.id) for one in group] for group in past.backwards()]
    assert groups == [
        [("user", 8)],
        [("tag", 6)],
        [("tag", 5)],
        [("task", 1)],
        [("task", 1), ("task", 2)],
        [("view", 7)],
    ]


@pytest.mark.parametrize(
    ("renames", "today"),
    [
        ([], {}),
        ([("a", "b")], {"a": "b"}),
        ([("a", "b"), ("b", "c")], {"a": "c"}),
        ([("a", "b"), ("b", "a")], {"a": "a"}),
        ([("a", "b"), ("c", "a")], {"a": "b", "c": "a"}),
        # The second `a` came to be after the first one gave the name up.
        ([("a", "b"), ("a", "c")], {"a": "b"}),
        ([("a", "b"), ("c", "a"), ("a", "d")], {"a": "b", "c": "d"}),
    ],
    ids=str,
)
def test_what_became_of_a_name(renames: list[tuple[str, str]], today: dict[str, str]) -> None:
    assert follow(renames) == today
