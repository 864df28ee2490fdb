"""The order that dependencies and hierarchy ask for, and what a circle in them loses."""

from __future__ import annotations

import graphlib
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concord.order import LeftOut, arrange

NAMES = "abcdef"
names = st.sampled_from(NAMES)
parents = st.dictionaries(names, names, max_size=4)
blockers = st.dictionaries(names, st.lists(names, max_size=3, unique=True), max_size=5)

Relations = tuple[dict[str, str], dict[str, list[str]]]


def first_circle(parents: dict[str, str], blockers: dict[str, list[str]]) -> object:
    """Return a circle as the standard library finds it, `None` if there is none."""
    before: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name in NAMES:
        before["end", name].append(("begin", name))
        for blocker in blockers.get(name, ()):
            before["begin", name].append(("end", blocker))
        if name in parents:
            before["begin", name].append(("begin", parents[name]))
            before["end", parents[name]].append(("end", name))
    try:
        graphlib.TopologicalSorter(before).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def without(given: Relations, left_out: tuple[LeftOut, ...]) -> Relations:
    """Return relations without those that were left out, each of which must have been there."""
    parents, blockers = dict(given[0]), {name: list(others) for name, others in given[1].items()}
    for each in left_out:
        if each.field == "parent":
            assert parents.pop(each.name) == each.other
        else:
            blockers[each.name].remove(each.other)
    return parents, blockers


def test_without_relations_the_order_is_the_given_one() -> None:
    made = arrange("cab", {}, {})
    assert made.left_out == ()
    assert sorted(made.begins, key=made.begins.__getitem__) == ["c", "a", "b"]


def test_who_waits_comes_right_after_who_is_waited_for() -> None:
    made = arrange("abcd", {}, {"a": "c"})
    assert sorted(made.begins, key=made.begins.__getitem__) == ["b", "c", "a", "d"]
    assert made.is_over("c", "a")
    assert not made.is_over("a", "c")


def test_a_part_lies_within_its_whole() -> None:
    made = arrange("abc", {"b": "a"}, {})
    assert made.begins["a"] < made.begins["b"] < made.ends["b"] < made.ends["a"] < made.begins["c"]


def test_names_that_are_not_there_do_not_count() -> None:
    assert arrange("a", {"a": "x"}, {"a": "y", "z": "a"}).left_out == ()


@pytest.mark.parametrize(
    ("parents", "blockers", "lost"),
    [
        ({}, {"a": "b", "b": "a"}, LeftOut("b", "blocked_by", "a", ("a", "b"))),
        ({}, {"a": "a"}, LeftOut("a", "blocked_by", "a", ("a",))),
        ({"a": "a"}, {}, LeftOut("a", "parent", "a", ("a",))),
        ({"a": "b", "b": "a"}, {}, LeftOut("b", "parent", "a", ("a", "b"))),
        ({"b": "a"}, {"b": "a"}, LeftOut("b", "blocked_by", "a", ("b", "a"))),
        ({"b": "a"}, {"a": "b"}, LeftOut("a", "blocked_by", "b", ("a", "b"))),
        # A part waits for what waits for the whole.
        ({"b": "a"}, {"b": "c", "c": "a"}, LeftOut("c", "blocked_by", "a", ("a", "b", "c"))),
    ],
)
def test_a_circle_loses_its_last_dependency_or_else_its_last_parent(
    parents: dict[str, str], blockers: dict[str, str], lost: LeftOut
) -> None:
    (left_out,) = arrange("abc", parents, blockers).left_out
    assert (left_out.name, left_out.field, left_out.other) == (lost.name, lost.field, lost.other)
    assert set(left_out.circle) == set(lost.circle)


@given(parents, blockers)
def test_what_is_left_has_no_circle_and_is_kept_in_the_order(
    parents: dict[str, str], blockers: dict[str, list[str]]
) -> None:
    made = arrange(NAMES, parents, blockers)
    assert (made.left_out == ()) == (first_circle(parents, blockers) is None)
    parents, blockers = without((parents, blockers), made.left_out)
    assert first_circle(parents, blockers) is None
    for name, others in blockers.items():
        assert all(made.is_over(other, name) for other in others)
    for part, whole in parents.items():
        assert made.begins[whole] < made.begins[part] < made.ends[part] < made.ends[whole]


@given(parents, blockers)
def test_nothing_is_left_out_in_vain(
    parents: dict[str, str], blockers: dict[str, list[str]]
) -> None:
    left_out = arrange(NAMES, parents, blockers).left_out
    for each in left_out:
        others = tuple(other for other in left_out if other is not each)
        # Together with what was left out after it, it was one circle too many.
        assert first_circle(*without((parents, blockers), others[: left_out.index(each)]))


def test_many_circles_are_no_harder_than_few() -> None:
    names = [str(number) for number in range(5000)]
    both = {name: [names[place - 1], names[(place + 1) % 5000]] for place, name in enumerate(names)}
    assert len(arrange(names, {}, both).left_out) == 5000
