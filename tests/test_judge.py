"""The judge of races: it proves what is sound, names what is lost, and takes no altered log."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from race_logs import LIMIT, SCENARIOS, Event, Race
from test_layers import IMPORTS, within

from concord.race import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTERED = ("op_id", "worker", "task", "part", "before", "after", "xid", "version", "sequence")

PROOF = {
    "race": ("scenario", "strategy", "control", "workers"),
    "state": ("when", "task", "part", "value", "version"),
    "attempt": ("retry", "outcome", *ENTERED, "other"),
    "worker": ("worker", "operations"),
    "ledger": (*ENTERED, "other"),
}
"""Type of line → the fields that a proof rests on.

Outside the proof: times, which tell only that there was contention and how long it took (that a
worker's attempts lie apart, and that the ledger's order agrees with them, is checked to a
millisecond); pids, snapshots, statements, SQLSTATEs and reasons; how a failed attempt would have
gone. The isolation level and the limit are labels that the recorded verdict vouches for.
"""

races = st.builds(
    Race,
    st.sampled_from(SCENARIOS),
    seed=st.integers(0, 10_000),
    workers=st.integers(2, 5),
    ops=st.integers(12, 30),
    tasks=st.integers(1, 3),
    dies=st.booleans(),
)
quickly = settings(max_examples=150, deadline=None)


def find(events: Sequence[Event], kind: str, **values: Any) -> Event:
    """Return the first line of a type with these values."""
    return next(
        event
        for event in events
        if event["type"] == kind and all(event[name] == value for name, value in values.items())
    )


def rule_of(events: Sequence[Event]) -> str | None:
    witness = judge.judge_race(events).witness
    return None if witness is None else witness.rule


def is_proved(events: Sequence[Event]) -> bool:
    try:
        return judge.judge_race(events).verdict == "PROVED"
    except judge.Malformed:
        return False


def test_the_judge_shares_no_code_with_those_who_race() -> None:
    imported = {
        found.imported
        for found in IMPORTS
        if within(found.importer, "concord.race.judge".removeprefix("concord."))
        if within(found.imported, "concord") or within(found.imported, "psycopg")
    }
    allowed = ("concord.race.judge", "concord.errors", "concord.plain")
    assert imported
    assert {name for name in imported if not any(within(name, one) for one in allowed)} == set()


# What is sound is proved, what is lost is found


@quickly
@given(races)
def test_a_sound_race_is_proved(race: Race) -> None:
    result = judge.judge_race(race.events())
    assert (result.verdict, result.witness, result.lost) == ("PROVED", None, 0), result
    outcomes = {attempt["op_id"]: attempt["outcome"] for attempt in race.attempts}
    ended = list(outcomes.values())
    counted = result.ok, result.failed, result.unknown, result.died
    assert counted == (ended.count("ok"), ended.count("fail"), ended.count("info"), race.dies)
    assert result.retries == sum(attempt["retry"] > 0 for attempt in race.attempts)


@pytest.mark.parametrize(
    ("scenario", "rule"),
    [
        ("counter", "lost-update"),
        ("transfer", "lost-update"),
        ("edit", "lost-update"),
        ("claim", "double-claim"),
        ("limit", "limit"),
    ],
)
@pytest.mark.parametrize("strategy", ["none", "for-update"])
def test_what_a_race_destroys_is_found(scenario: str, rule: str, strategy: str) -> None:
    result = judge.judge_race(Race(scenario, strategy=strategy, stale=True).events())
    assert result.verdict == "VIOLATED"
    assert result.witness is not None
    assert (result.witness.rule, result.lost > 0) == (rule, True)
    assert bool(judge.objections([result])) is (strategy != "none")


def test_of_a_lost_update_the_two_operations_are_named() -> None:
    race = Race("counter", tasks=1, unknown=False)
    race.ids = race.ids[:1]
    events = race.events()
    # Op 9 has read what op 7 left, and writes over what op 8 did to it.
    seventh, eighth, ninth, *later = [row for row in events if row["type"] == "ledger"][6:]
    for row in (ninth, *later):
        row["before"] -= 1
        row["after"] -= 1
        attempt = find(events, "attempt", op_id=row["op_id"], outcome="ok")
        attempt["before"], attempt["after"] = row["before"], row["after"]
    find(events, "state", when="after", task=11)["value"] -= 1
    result = judge.judge_race(events)
    witness = result.witness
    assert (result.verdict, result.lost) == ("VIOLATED", 1)
    assert result.reason == "broken: lost-update"
    assert witness is not None
    assert (witness.rule, witness.ops, witness.task) == ("lost-update", (8, 9), 11)
    assert witness.values["left"] == eighth["after"] == seventh["after"] + 1
    assert witness.values["started_from"] == ninth["before"] == seventh["after"]
    assert witness.text == (
        f"op 8 left {eighth['after']} in value of task 11 at version {eighth['version']};"
        f" op 9 started from {ninth['before']}, not from there,"
        f" and wrote over it at version {ninth['version']}"
    )


def test_who_writes_a_whole_task_back_is_found_out() -> None:
    race = Race("edit", workers=2, ops=0, tasks=1)
    events = race.events()
    for op_id, worker, part, version, begin, end in (
        (1, 0, "title", 2, 1000.0, 1000.001),
        (2, 1, "description", 3, 1000.0005, 1000.002),  # has read, and wrote back, title 5
        (3, 0, "title", 4, 1000.003, 1000.004),
    ):
        row = {"op_id": op_id, "worker": worker, "task": 11, "part": part, "before": 5, "after": 6}
        row |= {"other": None, "xid": str(700 + op_id), "version": version, "sequence": op_id}
        named = {"race": 1, "scenario": "edit", "strategy": "for-update"}
        attempt = race.attempt(op_id, worker, 0, "ok", begin, end)
        events.insert(5, {"type": "attempt", **named, **attempt, **row})
        events.insert(-5, {"type": "ledger", "race": 1, **row})
    for worker, done in ((0, 2), (1, 1)):
        find(events, "worker", worker=worker)["operations"] = done
    for part in ("title", "description"):
        state = find(events, "state", when="after", task=11, part=part)
        state["value"], state["version"] = 6, 4
    result = judge.judge_race(events)
    assert result.witness is not None
    assert (result.witness.rule, result.witness.ops, result.lost) == ("lost-update", (1, 2, 3), 1)
    assert "op 2 wrote over it at version 3: op 3 found 5" in result.witness.text


def test_a_limit_is_held_to_at_every_moment() -> None:
    result = judge.judge_race(Race("limit", stale=True, strategy="none").events())
    assert result.witness is not None
    assert result.witness.values["in_progress"] == len(result.witness.ops) == LIMIT + 1


# What says nothing proves nothing


def test_a_race_of_one_worker_proves_nothing() -> None:
    result = judge.judge_race(Race("counter", workers=1, apart=True).events())
    assert result.verdict == "INCONCLUSIVE"
    assert "raise --workers" in result.reason


def test_without_contention_nothing_is_proved() -> None:
    events = [
        event
        for event in Race("counter", apart=True).events()
        if event["type"] not in ("wait", "observer")
    ]
    result = judge.judge_race(events)
    assert (result.verdict, result.waits) == ("INCONCLUSIVE", None)
    assert "contention too low" in result.reason


def test_a_control_that_loses_nothing_is_no_control() -> None:
    result = judge.judge_race(Race("counter", strategy="none").events())
    assert result.verdict == "INCONCLUSIVE"
    assert "raise --workers, --ops or --think" in result.reason
    assert not judge.all_is_well([result])


def test_a_race_without_an_acknowledged_operation_proves_nothing() -> None:
    assert judge.judge_race(Race("counter", ops=0).events()).verdict == "INCONCLUSIVE"


def test_a_race_that_was_cut_short_proves_nothing() -> None:
    events = Race("counter").events()
    for length in range(1, len(events)):
        result = judge.judge_race(events[:length])
        assert (result.verdict, result.witness) == ("INCONCLUSIVE", None)


def test_a_control_has_to_lose_by_the_race_and_not_by_the_accounts() -> None:
    events = Race("counter", strategy="none", stale=True).events()
    control = judge.judge_race(events)
    events.remove(find(events, "ledger"))
    (objection,) = judge.objections([judge.judge_race(events)])
    assert "though not for what a race can do: lost-write" in objection
    assert judge.all_is_well([control])


def test_what_keeps_races_from_being_a_proof() -> None:
    control = judge.judge_race(Race("counter", strategy="none", stale=True).events())
    proved = judge.judge_race(Race("counter").events())
    broken = judge.judge_race(Race("counter", stale=True).events())
    fatal = judge.judge_race(Race("counter", dies=True).events())
    assert judge.objections([control, proved]) == []
    assert judge.objections([]) == ["there is no race to judge"]
    assert judge.objections([proved]) == ["counter: there is no control"]
    assert judge.objections([control, fatal]) == [
        "counter, for-update at read committed: PROVED, but a worker died"
    ]
    (objection,) = judge.objections([control, broken])
    assert "counter, for-update at read committed: VIOLATED: lost-update: op " in objection


# Altered logs


def changed(value: Any, data: st.DataObject) -> Any:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + data.draw(st.integers(-5, 5).filter(bool))
        case None:  # of `other`
            return {"task": 11, "before": 1, "after": 2, "version": 3}
        case dict():
            touch = cast("Event", value)
            name = data.draw(st.sampled_from(sorted(touch)))
            return {**touch, name: changed(touch[name], data)}
        case str() if value.isdigit():
            return str(int(value) + data.draw(st.integers(1, 5)))
        case _:
            names = (*SCENARIOS, "none", "title", "value", "status", "ok", "fail", "before")
            return data.draw(st.sampled_from(names).filter(lambda name: name != value))


@quickly
@given(races, st.data())
def test_a_race_with_one_value_changed_is_not_proved(race: Race, data: st.DataObject) -> None:
    events = race.events()
    line = data.draw(
        st.sampled_from(
            [
                event
                for event in events
                if event["type"] in PROOF
                # What did not happen can be told in any way.
                if event["type"] != "attempt" or event["outcome"] == "ok"
                # How much a worker had done when it died is not known.
                if event["type"] != "worker" or event["ended"] == "done"
            ]
        )
    )
    names = PROOF[line["type"]]
    if line["type"] == "ledger" and line["op_id"] > race.ops:
        # Whose worker died before it could tell, of that the ledger alone knows.
        names = tuple(name for name in names if name not in ("xid", "sequence"))
    if line["type"] == "worker" and line["operations"] == 0:
        names = ("operations",)  # who did nothing may have any number
    name = data.draw(st.sampled_from(names))
    line[name] = changed(line[name], data)
    assert not is_proved(events)


@quickly
@given(races, st.data())
def test_a_race_with_one_line_lost_or_doubled_is_not_proved(
    race: Race, data: st.DataObject
) -> None:
    events = race.events()
    retried = {attempt["op_id"] for attempt in race.attempts if attempt["retry"] > 0}
    index = data.draw(
        st.sampled_from(
            [
                index
                for index, event in enumerate(events)
                if event["type"] in PROOF
                # An operation that failed for good leaves no trace but the count of them.
                if event["type"] != "attempt"
                or event["outcome"] == "ok"
                or (event["outcome"] == "fail" and event["op_id"] in retried)
            ]
        )
    )
    lost = events[:index] + events[index + 1 :]
    doubled = events[: index + 1] + events[index:]
    last_of_failed = (
        events[index]["type"] == "attempt"
        and events[index]["outcome"] == "fail"
        and all(
            attempt["retry"] <= events[index]["retry"]
            for attempt in race.attempts
            if attempt["op_id"] == events[index]["op_id"]
        )
    )
    assert last_of_failed or not is_proved(lost)
    assert not is_proved(doubled)


@quickly
@given(races, st.data())
def test_an_invented_operation_is_not_proved(race: Race, data: st.DataObject) -> None:
    events = race.events()
    kind = data.draw(st.sampled_from(["attempt", "ledger"]))
    model = find(events, kind, **({"outcome": "ok"} if kind == "attempt" else {}))
    made_up = {**copy.deepcopy(model), "op_id": 4000, "xid": "9999", "retry": 0}
    made_up |= data.draw(st.fixed_dictionaries({"version": st.integers(1, 40)}))
    events.insert(events.index(model), made_up)
    assert not is_proved(events)


@quickly
@given(races, st.data())
def test_two_ledger_rows_that_change_places_are_not_proved(race: Race, data: st.DataObject) -> None:
    events = race.events()
    rows = [event for event in events if event["type"] == "ledger"]
    name = data.draw(st.sampled_from(ENTERED))
    one, other = data.draw(
        st.sampled_from(
            [(one, other) for one in rows for other in rows if one[name] != other[name]] or [None]
        ).filter(bool)
    ) or ({}, {})
    one[name], other[name] = other[name], one[name]
    assert not is_proved(events)


@pytest.mark.parametrize(
    ("kind", "values", "change", "rule"),
    [
        ("attempt", {"outcome": "ok"}, {"op_id": 4000}, "lost-write"),
        ("attempt", {"outcome": "ok"}, {"outcome": "fail"}, "failed-yet-done"),
        ("attempt", {"outcome": "ok"}, {"retry": 3}, "retries"),
        ("attempt", {"outcome": "fail"}, {"outcome": "ok"}, "retries"),
        ("attempt", {"outcome": "fail"}, {"worker": 77}, "retries"),
        ("attempt", {"outcome": "ok"}, {"after": 77}, "mismatch"),
        ("attempt", {"outcome": "ok"}, {"worker": 77}, "mismatch"),
        ("attempt", {"outcome": "ok"}, {"end": 0.0}, "worker"),
        ("ledger", {}, {"op_id": 2}, "lost-write"),
        ("ledger", {}, {"version": 44}, "mismatch"),
        ("ledger", {}, {"sequence": 999}, "mismatch"),
        ("state", {"when": "before"}, {"value": 6}, "state"),
        ("state", {"when": "before"}, {"version": 2}, "version"),
        ("state", {"when": "after"}, {"value": 0}, "lost-update"),
        ("state", {"when": "after"}, {"version": 99}, "version"),
        ("worker", {}, {"operations": 999}, "worker"),
        ("race", {}, {"workers": 2}, "worker"),
    ],
)
def test_the_witness_says_what_is_wrong(kind: str, values: Event, change: Event, rule: str) -> None:
    events = Race("counter", seed=1).events()
    assert rule_of(events) is None
    find(events, kind, **values).update(change)
    assert rule_of(events) == rule


def test_rules_that_one_change_alone_does_not_break() -> None:
    def race() -> tuple[list[Event], Event, Event, Event]:
        made = Race("counter", seed=1, unknown=False)
        events = made.events()
        row = max(
            (event for event in events if event["type"] == "ledger" and event["task"] == 11),
            key=lambda event: event["version"],
        )
        attempt = find(events, "attempt", op_id=row["op_id"], outcome="ok")
        return events, row, attempt, find(events, "state", when="after", task=11)

    events, row, attempt, _ = race()
    events.insert(events.index(row), row)
    assert rule_of(events) == "doubled"
    events, row, attempt, _ = race()
    row["xid"] = attempt["xid"] = find(events, "ledger")["xid"]
    assert rule_of(events) == "transaction"
    events, row, attempt, state = race()
    for told, name in ((row, "after"), (attempt, "after"), (state, "value")):
        told[name] += 1
    assert rule_of(events) == "step"
    events, row, attempt, state = race()
    for told in (row, attempt, state):
        told["version"] -= 1
    assert rule_of(events) == "same-version"


def test_what_the_ledger_alone_tells_is_held_against_time() -> None:
    events = Race("claim", seed=1, apart=True, unknown=False).events()
    for event in events:
        if event["type"] == "attempt":
            del event["sequence"]
    rows = [event for event in events if event["type"] == "ledger"]
    assert rule_of(events) is None
    # No chain of a task tells: each has one change. But one was over before the other began.
    rows[3]["sequence"], rows[9]["sequence"] = rows[9]["sequence"], rows[3]["sequence"]
    assert rule_of(events) == "order"
