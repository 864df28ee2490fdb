"""The worst 50 ms of a race: which they are, what is in them, and how a terminal shows it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from commands import plain, screen
from race_events import START, attempt, observer, race, wait
from rich.text import Text

from concord.race.timeline import (
    COMMIT,
    STATEMENT,
    TRANSACTION,
    WAIT,
    Interval,
    Timeline,
    extent,
    fullest,
    gantt,
    worst,
    worst_of,
)
from concord.render import Renderer
from concord.render.timeline import Bar, Gantt, Row, draw, drawn, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from race_events import Event

UPDATE = ("write_value", 0.100, 40.0)


def contended() -> list[Event]:
    """A second of which one stretch is contended: worker 1 holds what 0 and 2 wait for."""
    return race(
        attempt(0, 0.0, ("begin", 0.0, 1.0), ("commit", 0.002, 1.0), end=0.004, op_id=9),
        attempt(1, 0.095, ("read", 0.095, 1.0), ("commit", 0.139, 1.0), end=0.141),
        attempt(0, 0.099, UPDATE, ("commit", 0.141, 2.0), end=0.144),
        attempt(2, 0.098, UPDATE, end=0.142, outcome="fail", sqlstate="40001", reason="could not"),
        attempt(2, 1.0, ("read", 1.0, 5.0), end=1.006, op_id=5),
        wait(0, 0.102, 0.138, (1, "holder")),
        wait(2, 0.110, 0.138, (0, "queue"), (1, "holder")),
        wait(1, 0.900, 0.901, (2, "holder")),
        observer(),
    )


def found(events: Sequence[Event]) -> Timeline:
    timeline = worst(events)
    assert timeline is not None
    return timeline


# Which window


def test_the_window_is_where_most_is_waited() -> None:
    timeline = found(contended())
    assert timeline.begin - START <= 0.102
    assert timeline.begin - START + timeline.length_ms / 1000 >= 0.138
    assert timeline.waited_ms == pytest.approx(36 + 28, abs=1e-3)
    assert timeline.length_ms == pytest.approx(50)


def test_the_fullest_window_is_the_one_that_a_search_of_all_finds() -> None:
    chance = random.Random(7)
    for _ in range(50):
        begins = [chance.randrange(0, 200) for _ in range(8)]
        intervals = [Interval(begin, begin + chance.randrange(0, 60)) for begin in begins]

        def covered(at: float, intervals: Sequence[Interval] = intervals) -> float:
            return sum(max(0.0, min(end, at + 50) - max(begin, at)) for begin, end in intervals)

        most = max(covered(at) for at in range(151))
        place = fullest(intervals, 50, Interval(0, 200))
        assert 0 <= place <= 150
        assert covered(place) == pytest.approx(most)
        first = next(at for at in range(151) if covered(at) > most - 1e-6)
        after = (at for at in range(first, 151) if covered(at) < most - 1e-6)
        assert place == (first + next(after, 151) - 1) / 2


def test_a_race_shorter_than_the_window_is_shown_whole() -> None:
    timeline = found(race(attempt(0, 0.0, ("read", 0.0, 9.0), end=0.01), observer()))
    assert (timeline.length_ms, timeline.after_ms) == (pytest.approx(10), 0)


def test_without_waits_it_is_where_statements_took_longest() -> None:
    quiet = attempt(0, 0.0, ("read", 0.0, 1.0), end=0.5)
    busy = attempt(1, 0.3, ("read", 0.3, 45.0), end=0.4)
    timeline = found(race(quiet, busy))
    assert timeline.waited_ms == 0
    assert timeline.after_ms <= 300
    assert timeline.after_ms + 50 >= 345
    assert timeline.interval_ms is None


def test_a_race_without_attempts_has_no_timeline() -> None:
    assert worst(race(observer())) is None
    assert worst_of([race(observer())]) is None


def test_of_several_races_the_one_with_the_most_waiting_is_shown() -> None:
    calm = race(attempt(0, 0.0, end=1.0), wait(0, 0.1, 0.101), observer(), strategy="none")
    timeline = worst_of([calm, contended(), calm])
    assert timeline is not None
    assert timeline.strategy == "for-update"


def test_an_attempt_that_nobody_saw_end_reaches_as_far_as_it_is_known() -> None:
    lost = attempt(0, 0.1, ("read", 0.2, 300.0), end=None, outcome="info")
    dead = attempt(1, 0.0, end=None, outcome="info")
    whole = extent(race(lost, dead))
    assert (whole.begin, whole.end) == (START, pytest.approx(START + 0.5))
    lanes = found(race(dead)).lanes
    assert [ending.outcome for ending in lanes[1].endings] == ["info"]


# What is in it


def test_a_lane_tells_what_its_worker_did() -> None:
    timeline = found(contended())
    shift = START - timeline.begin
    assert [lane.worker for lane in timeline.lanes] == [0, 1, 2]
    lane = timeline.lanes[0]
    told = [
        (one.kind, one.begin / 1000 - shift, one.end / 1000 - shift, one.name)
        for one in lane.spans
        if one.begin / 1000 - shift > 0.09
    ]
    assert [(kind, name) for kind, _, _, name in told] == [
        (TRANSACTION, "transaction"),
        (STATEMENT, "write_value"),
        (COMMIT, "commit"),
        (WAIT, "ExclusiveLock on tuple of tasks"),
    ]
    for (_, begin, end, _), (first, last) in zip(
        told, [(0.100, 0.143), (0.100, 0.140), (0.141, 0.143), (0.102, 0.138)], strict=True
    ):
        assert begin == pytest.approx(first, abs=1e-5)
        assert end <= last + 1e-5
    assert lane.spans[-1].blockers[0].worker == 1
    assert lane.waited_ms == pytest.approx(36)


def test_a_lane_tells_how_its_attempts_ended() -> None:
    lane = found(contended()).lanes[2]
    assert [(one.outcome, one.op_id, one.why) for one in lane.endings] == [("fail", 3, "40001")]
    assert (lane.count("ok"), lane.count("fail")) == (0, 1)


def test_what_reaches_over_the_window_is_cut_to_it_and_keeps_its_length() -> None:
    events = race(
        attempt(0, 0.0, ("write", 0.0, 400.0), end=0.4), wait(0, 0.1, 0.3), observer(), workers=1
    )
    timeline = found(events)
    (statement,) = [span for span in timeline.lanes[0].spans if span.kind == STATEMENT]
    assert (statement.begin, statement.end) == (0, pytest.approx(50))
    assert statement.ms == 400
    assert timeline.waited_ms == pytest.approx(50)


def test_between_two_transactions_nobody_is_in_one() -> None:
    two = attempt(
        0,
        0.0,
        *[("begin", 0.0, 1.0), ("commit", 0.002, 1.0), ("begin", 0.010, 1.0), ("read", 0.013, 1.0)],
        end=0.020,
        outcome="fail",
        reason="stale",
    )
    spans = found(race(two, workers=1)).lanes[0].spans
    open_spans = [(span.begin, span.end) for span in spans if span.kind == TRANSACTION]
    assert open_spans == [
        (pytest.approx(0), pytest.approx(3, abs=1e-3)),
        (pytest.approx(10, abs=1e-3), pytest.approx(20, abs=1e-3)),
    ]


def test_a_holder_is_told_from_who_waits_too() -> None:
    notes = " ".join(gantt(found(contended())).notes)
    assert "worker 0 waited 36.0 ms or more for ExclusiveLock on tuple of tasks" in notes
    assert "held by worker 1" in notes
    behind = race(attempt(0, 0.0, end=0.1), wait(0, 0, 0.05, (1, "queue")), observer())
    assert "behind worker 1, waiting too" in " ".join(gantt(found(behind)).notes)


def test_the_notes_never_pretend_to_know_of_waits() -> None:
    blind = race(attempt(0, 0.0, ("read", 0.0, 30.0), end=0.1))
    assert "not known" in " ".join(gantt(found(blind)).notes)
    seen = race(attempt(0, 0.0, ("read", 0.0, 30.0), end=0.1), observer())
    assert "No lock wait was seen by samples 10 ms apart" in " ".join(gantt(found(seen)).notes)


def test_of_many_workers_those_who_waited_longest_are_shown() -> None:
    attempts = [attempt(one, 0.0, end=0.05) for one in range(40)]
    waits = [wait(one, 0.0, 0.001 * one) for one in range(1, 40)]
    shown = gantt(found(race(*attempts, *waits, observer(), workers=40)))
    assert [row.label for row in shown.rows] == [f"worker {one}" for one in range(16, 40)]
    assert any("16 more workers are not shown" in note for note in shown.notes)


# How a terminal shows it


def glyphs(row: Row, room: int, length_ms: float = 50.0) -> str:
    return "".join(cell.glyph for cell in drawn(row, length_ms, room))


def test_a_character_shows_what_took_most_of_its_time() -> None:
    bars = (Bar("transaction", 0, 50), Bar("statement", 0, 24), Bar("wait", 10, 20))
    assert glyphs(Row("", bars, (), ()), 10) == "━━▒▒━·····"


def test_bars_tell_apart_without_colours() -> None:
    bars = (Bar("transaction", 0, 10), Bar("statement", 10, 20), Bar("commit", 20, 30))
    shown = glyphs(Row("", (*bars, Bar("wait", 30, 40)), (), ()), 5)
    assert len(set(shown)) == 5


def test_a_wait_names_its_holder_where_there_is_room() -> None:
    assert "12" in glyphs(Row("", (Bar("wait", 0, 50, "12"),), (), ()), 10)
    assert "1" not in glyphs(Row("", (Bar("wait", 0, 10, "12"),), (), ()), 10)


def test_a_failure_is_seen_beside_a_success_in_the_same_slice() -> None:
    assert glyphs(Row("", (), ((10.0, "fail"), (10.1, "ok")), ()), 10) == "  ✗       "
    assert glyphs(Row("", (), ((50.0, "ok"),), ()), 10) == "         ✓"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_lanes_fill_the_terminal_and_no_more(width: int) -> None:
    shown = list(lines(gantt(found(contended())), width))
    assert max(line.cell_len for line in shown) == width
    assert all(isinstance(line, Text) for line in shown)
    rows = [line.plain for line in shown if line.plain.startswith("worker")]
    assert len(rows) == 3
    assert all(row.count("│") == 2 for row in rows)
    assert rows[0].endswith("≥36.0 ms")


def test_the_axis_says_where_each_tick_is() -> None:
    numbers, ticks, *_ = (line.plain for line in lines(Gantt("", 50, (), (), {}, ()), 120))
    assert numbers.split() == ["0", "ms", "10", "ms", "20", "ms", "30", "ms", "40", "ms"]
    for mark in ("0 ms", "10 ms", "20 ms"):
        assert ticks[numbers.index(mark)] == "┬"
    assert numbers.index("40 ms") - 2 == pytest.approx(2 * (numbers.index("20 ms") - 2), abs=1)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_lanes_legend_and_notes(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    with screen(monkeypatch, columns=columns) as shown:
        draw(Renderer(), gantt(found(contended())))
    text = plain(shown[0])
    assert "Worst 50 ms: counter, for-update at read committed" in text
    assert "✗ failed" in text
    assert "waiting for a lock, as sampled" in text
    assert "Attempts failed with: 40001 (1)." in text
    assert "\x1b[" in shown[0]
    assert all(len(line) <= columns for line in text.splitlines())


def test_a_terminal_never_obeys_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = attempt(0, 0.0, end=0.1, outcome="fail", reason="\x1b]0;owned\x07")
    with screen(monkeypatch) as shown:
        draw(Renderer(), gantt(found(race(evil, wait(0, 0.05, 0.1), observer()))))
    assert "\x1b]0" not in shown[0]
    assert "\\x1b]0;owned" in plain(shown[0])
