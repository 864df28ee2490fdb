"""Whole logs before the judge: what was recorded has to be borne out, line by line."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from race_logs import Event, Race, run_of, text_of

from concord.errors import Usage
from concord.race import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTROL = Race("counter", strategy="none", stale=True)
GUARDED = Race("counter", seed=3)
UNCONTESTED = Race("counter", seed=4, strategy="advisory")
LOG = run_of(CONTROL, GUARDED, UNCONTESTED)


def is_confirmed(lines: Sequence[bytes]) -> bool:
    try:
        return not judge.judge_log(lines, "log").objections
    except Usage:
        return False


def test_a_whole_log_is_confirmed() -> None:
    judgement = judge.judge_log(text_of(LOG), "log")
    assert (judgement.whole, judgement.agrees, judgement.objections) == (True, True, [])
    assert [result.verdict for result in judgement.results] == ["VIOLATED", "PROVED", "PROVED"]
    assert [field.name for field in fields(judge.Result)][:18] == [
        "scenario", "strategy", "isolation", "verdict", "ok", "failed", "retries", "unknown",
        "lost", "waits", "longest_wait_ms", "p50_ms", "p95_ms", "p99_ms", "ok_per_s", "witness",
        "control", "reason",
    ]  # fmt: skip


def test_no_line_of_a_log_can_be_lost_or_doubled() -> None:
    lines = text_of(LOG)
    for index in range(len(lines)):
        assert not is_confirmed(lines[:index] + lines[index + 1 :]), LOG[index]
        assert not is_confirmed(lines[: index + 1] + lines[index:]), LOG[index]


def test_no_log_that_was_cut_anywhere_is_confirmed() -> None:
    control = Race("counter", ops=6, strategy="none", stale=True)
    text = b"".join(text_of(run_of(control, Race("counter", ops=6))))
    assert is_confirmed(text.splitlines(keepends=True))
    for length in range(len(text) - 2, 0, -97):
        assert not is_confirmed(text[:length].splitlines(keepends=True))


@pytest.mark.parametrize(
    ("kind", "change", "objection"),
    [
        ("race", {"isolation": "serializable"}, "isolation was recorded as read committed"),
        ("verdict", {"verdict": "INCONCLUSIVE"}, "verdict was recorded as INCONCLUSIVE"),
        ("verdict", {"ok": 1}, "ok was recorded as 1"),
        ("verdict", {"p95_ms": 0.5}, "p95_ms was recorded as 0.5"),
        ("verdict", {"control": 0}, "control was recorded as 0"),
        ("verdict", {"lost": True}, "lost was recorded as True"),
        ("worker", {"ended": "died"}, "died was recorded as 0"),
        ("verdict", {"witness": {"rule": "order", "ops": [1]}}, "order by ops [1], but is nothing"),
        ("finished", {"exit": 1}, "the run itself says that it ended with status 1"),
        (
            "run",
            {"settings": {"strategies": ["none", "for-update", "advisory", "nowait"]}},
            "the run set out to race nowait, which is not here",
        ),
    ],
)
def test_what_a_log_claims_has_to_be_borne_out(kind: str, change: Event, objection: str) -> None:
    log = copy.deepcopy(LOG)
    [event for event in log if event["type"] == kind][-1].update(change)
    objections = judge.judge_log(text_of(log), "log").objections
    assert any(objection in one for one in objections), objections


def test_verdicts_that_change_places_are_not_confirmed() -> None:
    log = copy.deepcopy(LOG)
    one, other, _ = (event for event in log if event["type"] == "verdict")
    one["race"], other["race"] = 2, 1
    here, there = log.index(one), log.index(other)
    log[here], log[there] = log[there], log[here]
    assert not is_confirmed(text_of(log))


def test_times_may_have_been_rounded_and_words_changed_since() -> None:
    log = copy.deepcopy(LOG)
    for event in log:
        if event["type"] == "verdict":
            event["p95_ms"] += 0.0004
            event["reason"] = "in other words"
            del event["limit"]
    assert is_confirmed(text_of(log))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "line 1: the line that begins a log is missing"),
        ([b"# A heading\n", b"\n"], "line 1: it is not JSON"),
        ([b"[1]\n"], "line 1: it is no JSON object"),
        ([b"\xff\xfe\n"], "line 1: it is not JSON"),
        ([b"[" * 100_000 + b"\n"], "line 1: it is not JSON"),
        ([b"{}\n"], "line 1: type is None, no text"),
        (text_of(LOG)[1:], "line 1: the line that begins a log is missing"),
        (text_of(LOG) * 2, f"line {len(LOG) + 1}: the log has ended already"),
        (text_of(LOG)[:-1] + text_of(LOG), f"line {len(LOG)}: another log begins"),
        ([*text_of(LOG)[:3], b"}\n"], "line 4: it is not JSON"),
        (
            text_of([{**LOG[0], "format": 2}]),
            "line 1: the format is 2, not 1",
        ),
        (
            text_of([LOG[0], {**LOG[1], "scenario": "chess"}]),
            "line 2: the scenario 'chess' has no rules here",
        ),
        (
            text_of([LOG[0], {**LOG[1], "race": 2}]),
            "line 2: the first race has the number 2",
        ),
        (
            text_of([*LOG[:2], {**LOG[2], "value": "5"}]),
            "line 3: value is '5', no whole number",
        ),
        (
            text_of([*LOG[:2], {**LOG[2], "race": 2}]),
            "line 3: a line of race 2 within race 1",
        ),
        (
            text_of([*LOG[:2], {"type": "attempt", "race": 1, "scenario": "edit"}]),
            "line 3: a line of edit, None in a race of counter, none",
        ),
        (
            text_of([*LOG[:2], {"type": "rumour", "race": 1}]),
            "line 3: the type 'rumour' has no place in a race",
        ),
    ],
)
def test_what_is_no_log_is_refused_with_its_line(lines: list[bytes], told: str) -> None:
    with pytest.raises(Usage) as refused:
        judge.judge_log(lines, "x.jsonl")
    assert refused.value.message == f"x.jsonl is no log of races: {told}"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "true", '"1"', "1" * 400])
def test_a_time_has_to_be_one(number: str) -> None:
    lines = text_of(LOG)
    index = next(index for index, event in enumerate(LOG) if event["type"] == "attempt")
    assert LOG[index]["begin"] > 0
    told = str(LOG[index]["begin"]).encode()
    lines[index] = lines[index].replace(b'"begin": ' + told, b'"begin": ' + number.encode())
    with pytest.raises(Usage, match=f"line {index + 1}: begin is"):
        judge.judge_log(lines, "log")
