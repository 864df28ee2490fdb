"""The file format of isolation specs: what is read, and what is refused, and where."""

from __future__ import annotations

import re
from collections import Counter
from math import factorial, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concord.errors import ExitCode, Usage
from concord.race.interleaving import catalogue
from concord.race.interleaving.spec import (
    MOST_INTERLEAVINGS,
    MOST_SESSIONS,
    Block,
    Marker,
    Slot,
    Spec,
    parse,
)

WHOLE = '''# Whatever stands here is a comment: setup { }
setup { CREATE TABLE foo (a int); }
setup
{
  INSERT INTO foo VALUES (1);
}
teardown { DROP TABLE foo; }

session "s 1"
setup { BEGIN; }
step s1a { SELECT 1; -- "quoted" # no comment of the spec
  SELECT 2 }  # a comment
step "s1 ""b""" {}
teardown { COMMIT; }

session s2
step S1A { SELECT '{'; }

permutation s1a S1A "s1 ""b"""
permutation S1A (*) s1a(S1A, "s1 ""b""" notices 2) "s1 ""b"""
'''


def orders(spec: Spec) -> list[list[str]]:
    return [[slot.step.name for slot in slots] for slots in spec.permutations]


def test_a_whole_spec() -> None:
    spec = parse(WHOLE, "whole")
    assert [block.sql for block in spec.setups] == [
        "CREATE TABLE foo (a int);",
        "INSERT INTO foo VALUES (1);",
    ]
    assert spec.setups[1] == Block("INSERT INTO foo VALUES (1);", 5, 3)
    assert spec.teardown == Block("DROP TABLE foo;", 7, 12)
    first, second = spec.sessions
    assert (first.name, second.name) == ("s 1", "s2")
    assert first.setup == Block("BEGIN;", 10, 9)
    assert first.teardown == Block("COMMIT;", 14, 12)
    assert (second.setup, second.teardown) == (None, None)
    assert [step.name for step in first.steps] == ["s1a", 's1 "b"']
    assert first.steps[0].sql == ('SELECT 1; -- "quoted" # no comment of the spec\n  SELECT 2')
    assert first.steps[1].sql == ""
    assert [step.session for step in (*first.steps, *second.steps)] == ["s 1", "s 1", "s2"]
    assert orders(spec) == [["s1a", "S1A", 's1 "b"'], ["S1A", "s1a", 's1 "b"']]


def test_markers() -> None:
    spec = parse(WHOLE, "whole")
    (a, b), (other,) = (session.steps for session in spec.sessions)
    assert spec.given[1] == (
        Slot(other, (Marker(None),)),
        Slot(a, (Marker(other), Marker(b, notices=2))),
        Slot(b),
    )


def test_a_permutation_may_repeat_steps_and_leave_some_out() -> None:
    spec = parse("session a step x {} step y {} permutation y y", "f")
    assert orders(spec) == [["y", "y"]]


def test_without_permutations_all_interleavings_the_first_session_first() -> None:
    spec = parse("session a step a1 {} step a2 {} session b step b1 {} step b2 {}", "f")
    assert orders(spec) == [
        ["a1", "a2", "b1", "b2"],
        ["a1", "b1", "a2", "b2"],
        ["a1", "b1", "b2", "a2"],
        ["b1", "a1", "a2", "b2"],
        ["b1", "a1", "b2", "a2"],
        ["b1", "b2", "a1", "a2"],
    ]


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_interleavings_are_all_there_once_and_keep_each_sessions_order(sizes: list[int]) -> None:
    text = " ".join(
        f"session s{number} " + " ".join(f"step s{number}_{step} {{}}" for step in range(size))
        for number, size in enumerate(sizes)
    )
    found = orders(parse(text, "f"))
    assert len(found) == factorial(sum(sizes)) // prod(map(factorial, sizes))
    assert Counter(map(tuple, found)).most_common(1)[0][1] == 1
    for order in found:
        for number, size in enumerate(sizes):
            own = [name for name in order if name.startswith(f"s{number}_")]
            assert own == [f"s{number}_{step}" for step in range(size)]


def test_too_many_interleavings_are_refused_before_any_is_made() -> None:
    session = "session s{0} " + " ".join(f"step s{{0}}_{step} {{{{}}}}" for step in range(9))
    text = "\n".join(session.format(number) for number in range(9))
    with pytest.raises(Usage, match=f"of at most {MOST_INTERLEAVINGS:,}"):
        parse(text, "f")
    assert len(parse(text + "\npermutation s1_1", "f").permutations) == 1


def test_more_sessions_than_a_server_has_connections_are_refused() -> None:
    text = "\n".join(f"session s{one} step t{one} {{}}" for one in range(MOST_SESSIONS + 1))
    with pytest.raises(Usage, match=f"more than {MOST_SESSIONS} sessions"):
        parse(text + "\npermutation t1", "f")


ONE = "session a step b {} "


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("", "1:1", "expected 'setup', 'teardown' or 'session', found the end of the file"),
        ("\n\n  step", "3:3", "expected 'setup', 'teardown' or 'session', found 'step'"),
        ("setup SELECT", "1:7", "expected a block of SQL in { }, found 'SELECT'"),
        ("teardown {} setup {}", "1:13", "expected 'session', found 'setup'"),
        ("session", "1:8", "expected a session's name, found the end of the file"),
        ("session step x {}", "1:9", "expected a session's name, found 'step'"),
        ("session a", "1:10", "expected 'setup' or 'step', found the end of the file"),
        ("session a setup {} setup {}", "1:20", "expected 'step', found 'setup'"),
        ("session a step", "1:15", "expected a step's name, found the end of the file"),
        ("session a\nstep b\n", "3:1", "expected a block of SQL in { }, found the end"),
        ("session a\nstep b {\n SELECT 1;", "2:8", "this block of SQL has no closing }"),
        ('session "a\n" step b {}', "1:9", "this name has no closing quote on its line"),
        ("session a step b {} %", "1:21", "unexpected character '%'"),
        ("session a step b {} \0", "1:21", "a NUL character"),
        (ONE + "step b {}", "1:26", "there is a step 'b' already"),
        (ONE + "session a step c {}", "1:29", "there is a session 'a' already"),
        (ONE + "{}", "1:21", "found a block of SQL"),
        (ONE + "permutation", "1:32", "expected a step's name, found the end of the file"),
        (ONE + "permutation\nB", "2:1", "there is no step 'B'"),
        (ONE + "permutation b bb", "1:35", "there is no step 'bb'; did you mean b?"),
        (ONE + "permutation b ()", "1:36", "expected '*' or a step's name, found ')'"),
        (ONE + "permutation b (*", "1:37", "expected ',' or ')', found the end of the file"),
        (ONE + "permutation b (b notices)", "1:45", "expected a number of notices, found ')'"),
        (ONE + "step c {} permutation b(c)", "1:45", "step 'c' is not part of this permutation"),
        (ONE + "permutation b setup {}", "1:35", "expected 'permutation' or the end of the file"),
    ],
)
def test_what_is_wrong_and_where(text: str, place: str, told: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(text, "dir/my.spec")
    error = caught.value
    assert error.message.startswith(f"dir/my.spec:{place}: ")
    assert told in error.message
    assert error.exit_code == ExitCode.USAGE
    assert f"{error.details['line']}:{error.details['column']}" == place


@given(st.text(alphabet='abs1 \n\t#"{}()*,\0é', max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    told = ""
    try:
        spec = parse(text, "f")
    except Usage as error:
        told = error.message
    else:
        assert spec.permutations
    assert told == "" or re.match(r"f:\d+:\d+: .", told)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), max_size=8)
BLOCKS = st.none() | st.text(
    st.characters(codec="utf-8", exclude_characters="\0}"), max_size=20
).map(str.strip)


@st.composite
def specs(draw: st.DrawFn) -> tuple[str, list[object]]:
    """Return a spec as text, and what is in it."""
    names = iter(draw(st.lists(NAMES, min_size=6, max_size=12, unique=True)))
    told: list[str] = []
    inside: list[object] = []

    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def block(keyword: str, sql: str | None) -> None:
        inside.append(sql)
        if sql is not None:
            told.append(f"{keyword} {{ {sql}\n}}")

    block("setup", draw(BLOCKS))
    block("teardown", draw(BLOCKS))
    steps: list[str] = []
    for _ in range(draw(st.integers(1, 2))):
        name = next(names)
        told.append(f"session {quoted(name)} # {name}")
        inside.append(name)
        block("setup", draw(BLOCKS))
        for _ in range(draw(st.integers(1, 2))):
            step, sql = next(names), draw(BLOCKS) or ""
            told.append(f"step {quoted(step)} {{{sql}}}")
            steps.append(step)
            inside += [step, sql]
        block("teardown", draw(BLOCKS))
    order = draw(st.lists(st.sampled_from(steps), min_size=1, max_size=6))
    told.append("permutation " + " ".join(map(quoted, order)))
    inside.append(order)
    return "\n".join(told), inside


@given(specs())
def test_what_was_written_is_what_is_read(written: tuple[str, list[object]]) -> None:
    text, inside = written
    spec = parse(text, "f")
    found: list[object] = [
        spec.setups[0].sql if spec.setups else None,
        spec.teardown and spec.teardown.sql,
    ]
    for session in spec.sessions:
        found += [session.name, session.setup and session.setup.sql]
        for step in session.steps:
            found += [step.name, step.sql]
        found.append(session.teardown and session.teardown.sql)
    found.append([slot.step.name for slot in spec.permutations[0]])
    assert found == inside


@pytest.mark.parametrize("scenario", catalogue.SCENARIOS, ids=lambda one: one.name)
def test_built_in_scenarios_have_one_permutation_of_all_their_steps(
    scenario: catalogue.Scenario,
) -> None:
    spec = scenario.spec()
    (permutation,) = spec.permutations
    written = [step for session in spec.sessions for step in session.steps]
    assert sorted(slot.step.name for slot in permutation) == sorted(s.name for s in written)
    assert all(session.setup and session.setup.sql == "BEGIN;" for session in spec.sessions)
    assert all(word.startswith("lab_") for word in spec.setups[0].sql.split() if "tasks" in word)
