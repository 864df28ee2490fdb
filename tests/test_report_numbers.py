"""What a report computes from the events of a race: latencies, waits, and who waited for whom."""

from __future__ import annotations

import pytest
from race_events import attempt, observer, race, raced, result, wait

from concord.race.report import arrows, races
from concord.race.report.latency import Latencies, latencies
from concord.race.report.wait_graph import worst_moment
from concord.race.report.waiting import slices


def test_a_slice_shows_its_fullest_moment() -> None:
    waits = [wait(one, 0.21 + one / 100, 0.29) for one in range(3)]
    long = wait(1, 0.51, 0.79, locktype="advisory")
    found = slices(race(attempt(0, 0.0, end=1.0), *waits, long, observer()), 10)
    assert found.width == pytest.approx(0.1)
    assert found.waiting == {
        "tuple": (0, 0, 3, 0, 0, 0, 0, 0, 0, 0),
        "advisory": (0, 0, 0, 0, 0, 1, 1, 1, 0, 0),
    }


def test_a_percentile_is_a_time_that_some_operation_took() -> None:
    found = Latencies(tuple(float(ms) for ms in range(1, 101)))
    assert [found.rank(share) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [1, 50, 95, 99, 100]


def test_an_operation_takes_from_its_first_attempt_to_its_acknowledgement() -> None:
    assert latencies(raced()).ms == (5.0, 52.0, 60.0)


def test_who_waits_behind_another_needs_no_arrow_of_its_own_to_the_holder() -> None:
    graph = worst_moment(raced())
    assert graph is not None
    assert graph.levels == ((101,), (100,), (102,))
    assert [(edge.waiter, edge.blocker) for edge in graph.drawn] == [(100, 101), (102, 100)]
    assert [one.pid for one in graph.waiters[1].blockers] == [101, 100]
    assert graph.circles == ()


def test_a_deadlock_is_seen_as_a_circle() -> None:
    circle = [wait(0, 0.1, 0.2, (1, "queue")), wait(1, 0.12, 0.2, (0, "queue"))]
    behind = wait(2, 0.13, 0.2, (0, "queue"), (1, "queue"))
    deadlock = race(*(attempt(one, 0.0, end=0.3) for one in (0, 1)), *circle, behind, observer())
    graph = worst_moment(deadlock)
    assert graph is not None
    assert graph.circles == ((100, 101),)
    assert graph.levels == ((100, 101), (102,))
    assert [edge[:2] for edge in graph.drawn] == [(100, 101), (101, 100), (102, 100), (102, 101)]
    section = races.race(1, deadlock, result(), races.Pictures())
    assert "workers 0, 1 waited for each other: a deadlock" in section


def test_who_holds_a_lock_and_waits_by_now_is_told_as_waiting() -> None:
    attempts = [attempt(one, 0.0, end=0.4) for one in range(3)]
    graph = worst_moment(
        race(
            *attempts,
            wait(0, 0.1, 0.3, (1, "holder"), samples=9),
            wait(1, 0.2, 0.3, (2, "holder"), samples=2),
        )
    )
    assert graph is not None
    assert {(edge.waiter, edge.how) for edge in graph.drawn} == {(100, "queue"), (101, "holder")}


def test_who_was_in_the_way_with_an_earlier_transaction_is_not_any_more() -> None:
    # Worker 1 held what 0 waits for, committed, and now stands in line behind 0.
    before, now = attempt(1, 0.0, end=0.15), attempt(1, 0.16, end=0.4, op_id=7)
    long = wait(0, 0.1, 0.3, (1, "holder"), (2, "holder"), samples=9)
    late = wait(1, 0.2, 0.3, (0, "queue"))
    graph = worst_moment(
        race(before, now, attempt(0, 0.0, end=0.4), attempt(2, 0.05, end=0.4), long, late)
    )
    assert graph is not None
    assert graph.circles == ()
    assert {(edge.waiter, edge.blocker) for edge in graph.drawn} == {(101, 100), (100, 102)}


def test_the_worst_moment_is_the_one_with_most_waiting_and_among_those_the_longest() -> None:
    short = [wait(one, 0.1, 0.11, (2, "holder")) for one in (0, 1)]
    long = [wait(one, 0.5, 0.6, (2, "holder")) for one in (0, 1)]
    graph = worst_moment(race(attempt(2, 0.0, end=1.0), wait(0, 0.7, 0.95), *long, *short))
    assert graph is not None
    assert graph.at_ms == pytest.approx(600, abs=0.01)
    assert worst_moment(race(observer())) is None


def test_a_graph_of_very_many_sessions_keeps_those_nearest_to_the_holder() -> None:
    line = [wait(n, 0.001 * n, 0.5, (n - 1, "queue")) for n in range(1, 101)]
    events = race(*line, observer(), workers=101)
    graph = worst_moment(events)
    assert graph is not None
    assert len(graph.levels) == 101
    nodes = [trace for trace in arrows.graph(graph).figure["data"] if "text" in trace]
    assert sum(len(trace["x"]) for trace in nodes) == arrows.MOST_NODES
    pictures = races.Pictures()
    section = races.race(1, events, result(), pictures)
    assert "Only 40 sessions are drawn" in section
    assert section.count('scope="row"') == 100
