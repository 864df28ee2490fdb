"""Dependencies: who waits for whom, and that nobody ever waits for themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from audit import check_history
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from steps import PATIENCE
from together import circle, everything_but_gates
from workers import Worker, Workers, psql

from concord.errors import NotFound, Refused
from concord.sql import links, tasks

if TYPE_CHECKING:
    from concord.database import Database


def add(database: Database, count: int = 1, **fields: Any) -> list[int]:
    return [database.run(tasks.add, tasks.NewTask("base", **fields)).id for _ in range(count)]


def graph(url: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return (blocked, blocker) of all links and (part, whole) of all parts."""
    blocking = psql(url, "SELECT blocked_id, blocker_id FROM links ORDER BY 1, 2")
    parts = psql(url, "SELECT id, parent_id FROM tasks WHERE parent_id IS NOT NULL ORDER BY 1")
    return [(a, b) for a, b in blocking], [(a, b) for a, b in parts]


Half = tuple[Any, ...]
"""An operation with its arguments."""


def halves(four: list[int]) -> dict[str, tuple[Half, Half]]:
    """Return pairs of commands of which each closes a circle with the other one."""
    one, two, three, four_ = four
    return {
        "two links": ((links.block, [one], [two]), (links.block, [two], [one])),
        "link and parent": (
            (links.block, [one], [two]),
            (tasks.edit, [one], {"parent": two}),
        ),
        "part and whole": (
            (tasks.edit, [one], {"parent": two}),
            (tasks.edit, [two], {"parent": one}),
        ),
        "over four": ((links.block, [one], [two]), (links.block, [three], [four_])),
    }


def prepare(ana: Database, case: str, four: list[int]) -> None:
    if case == "over four":
        one, two, three, four_ = four
        ana.run(links.block, [two], [three])
        ana.run(links.block, [four_], [one])


CASES = ("two links", "link and parent", "part and whole", "over four")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_of_two_halves_of_a_circle_at_once_the_later_one_is_refused(
    url: str, ana: Worker, bo: Worker, workers: Workers, case: str, turned: bool
) -> None:
    four = add(ana.database, 4)
    prepare(ana.database, case, four)
    hers, his = reversed(halves(four)[case]) if turned else halves(four)[case]
    gate = workers.gate()
    first = ana.run(gate.before_commit(hers[0]), *hers[1:])
    second = bo.run(his[0], *his[1:])
    assert bo.waits_for(ana)
    gate.open()
    assert first.result(PATIENCE)
    after_hers = everything_but_gates(url)
    refusal = second.exception(PATIENCE)
    assert isinstance(refusal, Refused)
    told = refusal.details["tasks"]
    assert set(told) <= set(four)
    assert " → ".join(map(str, [*told, told[0]])) in refusal.message
    assert everything_but_gates(url) == after_hers
    assert circle(*graph(url)) is None
    assert check_history(url) == 4


def test_fifty_rounds_of_two_halves_at_once(url: str, ana: Worker, bo: Worker) -> None:
    """Whoever comes first, one is done and the other one refused."""
    for number in range(50):
        four = add(ana.database, 4)
        case = CASES[number % len(CASES)]
        prepare(ana.database, case, four)
        hers, his = halves(four)[case]
        with ThreadPoolExecutor(2) as pool:
            racing = [
                pool.submit(ana.database.run, *hers),
                pool.submit(bo.database.run, *his),
            ]
        errors = [one.exception() for one in racing]
        assert sorted(type(error).__name__ for error in errors) == ["NoneType", "Refused"]
    assert circle(*graph(url)) is None


def test_a_task_waits_neither_for_its_parts_nor_for_what_it_is_a_part_of(
    url: str, database: Database
) -> None:
    whole, part, piece, other = add(database, 4)
    database.run(tasks.edit, [part], {"parent": whole})
    database.run(tasks.edit, [piece], {"parent": part})
    database.run(links.block, [other], [piece])
    before = everything_but_gates(url)
    closing = (
        (links.block, [whole], [part]),
        (links.block, [part], [whole]),
        (links.block, [whole], [piece]),
        (links.block, [piece], [whole]),
        (links.block, [whole], [other]),  # as its piece has to end first, for which other waits
        (tasks.edit, [whole], {"parent": piece}),
        (tasks.edit, [whole], {"parent": other}),
        (links.block, [piece, other], [other]),
    )
    for operation, *arguments in cast("tuple[Half, ...]", closing):
        with pytest.raises(Refused):
            database.run(operation, *arguments)
    assert everything_but_gates(url) == before
    sibling = add(database, parent=whole, blocked_by=[piece])[0]
    database.run(tasks.edit, [other], {"parent": whole})
    with pytest.raises(Refused):
        add(database, parent=part, blocked_by=[sibling, whole])
    assert circle(*graph(url)) is None


def test_a_link_outlives_the_end_of_its_tasks_and_closes_no_circle_later(
    url: str, database: Database
) -> None:
    one, two = add(database, 2)
    database.run(links.block, [one], [two])
    database.run(tasks.set_status, [two], "completed")
    with pytest.raises(Refused):
        database.run(links.block, [two], [one])
    database.run(tasks.delete, [two])
    with pytest.raises(NotFound, match="in the trash"):
        database.run(links.block, [one], [two])
    database.run(tasks.restore, [two])
    database.run(tasks.set_status, [two], "todo")
    assert graph(url) == ([(one, two)], [])


def test_linking_twice_and_unlinking_what_is_not_linked_change_nothing(
    url: str, database: Database
) -> None:
    one, two, three = add(database, 3)
    (linked,) = database.run(links.block, [one], [two, three])
    assert (linked.blocked_by, linked.version) == ((two, three), 2)
    before = everything_but_gates(url)
    database.run(links.block, [one], [two])
    database.run(links.unblock, [two], [one])
    database.run(links.unblock, [two], [])
    assert everything_but_gates(url) == before
    (freed,) = database.run(links.unblock, [one], [two])
    assert (freed.blocked_by, freed.version) == ((three,), 3)
    (freed,) = database.run(links.unblock, [one], [])
    assert (freed.blocked_by, freed.version) == ((), 4)
    assert check_history(url) == 3


def test_a_blocker_that_is_purged_frees_what_waits_for_it(url: str, database: Database) -> None:
    one, two, three = add(database, 3)
    database.run(links.block, [one], [two])
    database.run(links.block, [two], [three])
    database.run(tasks.delete, [two])
    database.run(tasks.purge, [two])
    assert graph(url) == ([], [])
    (freed,) = database.run(tasks.show, [one])
    assert (freed.blocked_by, freed.version) == ((), 3)
    assert check_history(url) == 2


def test_a_blocker_purged_just_now_is_not_found(ana: Worker, bo: Worker, workers: Workers) -> None:
    one, two = add(ana.database, 2)
    ana.database.run(tasks.delete, [two])
    gate = workers.gate()
    purging = ana.run(gate.before_commit(tasks.purge), [two])
    psql_restored = bo.run(tasks.restore, [two])
    gate.open()
    assert purging.result(PATIENCE)
    assert isinstance(psql_restored.exception(PATIENCE), NotFound)
    with pytest.raises(NotFound, match=f"no such task: {two}"):
        bo.database.run(links.block, [one], [two])


# In any order

WHO = st.integers(0, 5)
COMMANDS = st.lists(
    st.one_of(
        st.tuples(st.just("block"), WHO, WHO),
        st.tuples(st.just("unblock"), WHO, WHO),
        st.tuples(st.just("parent"), WHO, st.one_of(st.none(), WHO)),
        st.tuples(st.just("add"), WHO, WHO),
    ),
    max_size=25,
)


@given(commands=COMMANDS)
@settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_commands_in_any_order_leave_a_circle(
    url: str, database: Database, commands: list[tuple[str, int, int | None]]
) -> None:
    """What would close one is refused, and only that; and what is refused changes nothing."""
    ids = add(database, 6)
    blocking: set[tuple[int, int]] = set()
    parents: dict[int, int] = {}
    for command, one, two in commands:
        task, other = ids[one], None if two is None else ids[two]
        wanted, wholes = set(blocking), dict(parents)
        match command, other:
            case "block", int():
                wanted.add((task, other))
                step: Half = (links.block, [task], [other])
            case "unblock", int():
                wanted.discard((task, other))
                step = (links.unblock, [task], [other])
            case "add", int():
                new = tasks.NewTask("new", parent=task, blocked_by=[other])
                wanted.add((-1, other))
                wholes[-1] = task
                step = (tasks.add, new)
            case _:
                wholes.pop(task, None)
                if other is not None:
                    wholes[task] = other
                step = (tasks.edit, [task], {"parent": other})
        if circle(list(wanted), list(wholes.items())) is None:
            made = database.run(*step)
            if command == "add":
                wanted = {(made.id if a == -1 else a, b) for a, b in wanted}
                wholes[made.id] = wholes.pop(-1)
            blocking, parents = wanted, wholes
        else:
            with pytest.raises(Refused):
                database.run(*step)
    mine = {*ids, *parents, *(a for a, _ in blocking)}
    found, parts = graph(url)
    assert {link for link in found if link[0] in mine} == blocking
    assert {part: whole for part, whole in parts if part in mine} == parents
