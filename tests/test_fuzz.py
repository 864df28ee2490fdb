"""Command lines that nobody would type: whatever it is, it is answered, and answered well.

This is the short form. The long one: `python benchmarks/fuzz.py --cases 10000`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fuzz_cases import KEPT, LEFT_OUT, OPTIONS_LEFT_OUT, Case, Maker, commands
from fuzzing import PASSWORD, Ground, Seen, Tally, faults, made
from hostile import STYLE, obeyed
from test_cli_parse import PATHS, contexts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CASES = 4
"""Cases of each command."""

SEED = 6


@pytest.fixture
def ground(url: str, tmp_path: Path) -> Iterator[Ground]:
    with Ground(url, tmp_path) as made:
        yield made


def test_no_command_line_breaks_anything(ground: Ground) -> None:
    told = Tally()
    for case in made(ground, SEED, CASES * len(list(commands()))):
        told.add(case, ground.run(case))
    assert not told.faults, "\n".join(told.faults[:10])
    assert told.commands == {path for path, _ in commands()}
    assert PASSWORD not in ground.logged()
    # Enough of them are understood, or next to nothing would be tried.
    assert told.codes[0] > sum(told.codes.values()) / 6
    assert {2, 3, 4} <= told.codes.keys()


def test_what_is_left_out_is_there_and_has_a_reason() -> None:
    paths = {" ".join(path) for path in PATHS}
    assert LEFT_OUT.keys() | KEPT <= paths
    options = {name for ctx in contexts() for param in ctx.command.params for name in param.opts}
    assert OPTIONS_LEFT_OUT.keys() <= options
    covered = {path for path, _ in commands()}
    assert covered >= KEPT
    assert {
        path
        for path in paths - covered
        if path not in LEFT_OUT and path.partition(" ")[0] not in LEFT_OUT
    } == set()


def test_a_case_is_the_same_every_time() -> None:
    exports = {"jsonl": b'{"title": "x"}\n'}
    first = [Maker(1, exports).case(number) for number in range(300)]
    assert [Maker(1, exports).case(number) for number in range(300)] == first
    assert [Maker(2, exports).case(number) for number in range(300)] != first
    # A process can be given them: no NUL, and bytes behind what is no UTF-8.
    for case in first:
        for word in (*case.arguments, *case.environment.values()):
            assert b"\0" not in word.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("case", "seen", "told"),
    [
        (Case(0, "init", ()), Seen(70, "", "", False), "exit code 70"),
        (Case(0, "init", ()), Seen(9, "", "", False), "exit code 9"),
        (Case(0, "init", ()), Seen(None, "", "", False, "KeyError()"), "raised KeyError()"),
        (Case(0, "init", ()), Seen(1, "", "Traceback (most", False), "a traceback"),
        (Case(0, "init", ()), Seen(0, PASSWORD, "", False), "the password"),
        (Case(0, "init", ()), Seen(2, "", "Cannot allocate memory", False), "more memory"),
        (Case(0, "init", ()), Seen(2, "", "", True), "the database has changed"),
        (Case(0, "init", ()), Seen(0, "", "\x1b[31m", False), "stderr holds"),
        (Case(0, "init", ()), Seen(0, "a\x9b", "", False), "stdout holds"),
        (Case(0, "export", (), terminal=True), Seen(0, "\x1b]8;;x", "", False), "stdout holds"),
        (Case(0, "task list", ("--json",)), Seen(0, "{", "", False), "is no JSON"),
    ],
)
def test_a_fault_is_seen(case: Case, seen: Seen, told: str) -> None:
    (fault,) = faults(case, seen)
    assert told in fault


@pytest.mark.parametrize(
    ("case", "seen"),
    [
        (Case(0, "task add", ()), Seen(0, "", "", changed=True)),
        (Case(0, "task add", ()), Seen(5, "", "", changed=True)),
        (Case(0, "export", ("csv",)), Seen(0, "\x1b[2J", "", changed=False)),
        (Case(0, "task list", (), terminal=True), Seen(0, "\x1b[1;31mx\x1b[0m", "", False)),
        (Case(0, "task list", ("--json",)), Seen(0, "[]", "", changed=False)),
    ],
)
def test_what_may_be_is_no_fault(case: Case, seen: Seen) -> None:
    assert list(faults(case, seen)) == []


def test_the_ground_sees_what_a_command_does(ground: Ground) -> None:
    seen = ground.run(Case(0, "task add", ("task", "add", "one", "--json")))
    assert (seen.code, seen.changed, json.loads(seen.out)["title"]) == (0, True, "one")
    seen = ground.run(Case(0, "task show", ("task", "show", "404")))
    assert (seen.code, seen.changed, seen.out) == (3, False, "")
    drawn = ground.run(Case(0, "task list", ("task", "list"), terminal=True)).out
    assert STYLE.search(drawn) is not None
    assert "Task 1" in drawn
    assert not obeyed(STYLE.sub("", drawn))
    ids = ground.run(Case(0, "task show", ("task", "show", "-", "--quiet"), stdin=b"1\n2\n"))
    assert ids.out == "1\n2\n"


def test_the_ground_is_renewed_when_nobody_is_left_to_act(ground: Ground) -> None:
    rename = Case(0, "user edit", ("user", "edit", "ana", "--name", "eve"))
    assert ground.run(rename).code == 0
    assert ground.run(rename).code == 0
