"""Every scenario with every strategy: what is guarded is proved, and what is not loses."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
from races import lines, of_type

from concord.race.plan import SCENARIOS, sensible

if TYPE_CHECKING:
    from commands import Here


QUIET = ("--no-observer", "--log", "race.jsonl")


def raced(here: Here, *arguments: str) -> list[dict[str, Any]]:
    """Return the results of a run that proves what it set out to prove."""
    return here.ok("demo", "race", *arguments, *QUIET)["results"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_guarded_is_proved(here: Here, scenario: str) -> None:
    results = raced(here, "--scenario", scenario, "--workers", "4", "--ops", "6", "--think", "1")
    assert {one["strategy"]: one["verdict"] for one in results} == {
        **dict.fromkeys(sensible(scenario), "PROVED"),
        "none": "VIOLATED",
    }
    assert results[0]["lost"] > 0
    assert not any(one["lost"] or one["failed"] or one["unknown"] for one in results[1:])
    if scenario != "limit":  # whose workers complete what they have started
        assert {one["ok"] for one in results[1:]} == {24}


@pytest.mark.parametrize("seed", range(4))
def test_without_a_guard_one_hot_task_always_loses(here: Here, seed: int) -> None:
    (one,) = raced(
        here,
        "--strategy",
        "none",
        "--tasks",
        "1",
        "--workers",
        "8",
        "--ops",
        "10",
        "--seed",
        str(seed),
    )
    assert (one["verdict"], one["ok"]) == ("VIOLATED", 80)
    assert one["witness"]["rule"] == "lost-update"
    states = [event for event in lines(here.home / "race.jsonl") if event["type"] == "state"]
    assert [event["value"] for event in states] == [0, 80 - one["lost"]]


@pytest.mark.parametrize("strategy", ["skip-locked", "atomic", "product"])
def test_many_workers_empty_a_queue_and_each_task_goes_to_one(here: Here, strategy: str) -> None:
    _, guarded = raced(
        here, "--scenario", "claim", "--strategy", strategy, "--workers", "16", "--tasks", "80"
    )  # fmt: skip
    assert (guarded["verdict"], guarded["ok"]) == ("PROVED", 80)
    log = lines(here.home / "race.jsonl")
    before, after = (
        {
            event["task"]: event["value"]
            for event in of_type(log, "state", 2)
            if event["when"] == when
        }
        for when in ("before", "after")
    )
    assert before == dict.fromkeys(before, 0)
    assert after == dict.fromkeys(before, 1)
    assert Counter(row["task"] for row in of_type(log, "ledger", 2)) == dict.fromkeys(before, 1)
    assert len({row["worker"] for row in of_type(log, "ledger", 2)}) > 1


def test_points_are_moved_and_none_is_made_or_lost(here: Here) -> None:
    raced(
        here, "--scenario", "transfer", "--strategy", "for-update", "--workers", "4", "--ops", "8",
        "--tasks", "3", "--think", "1",
    )  # fmt: skip
    log = lines(here.home / "race.jsonl")
    states = of_type(log, "state", 2)
    assert len(states) == 6
    assert sum(one["value"] for one in states if one["when"] == "after") == 0
    ordered = {(row["task"] < row["other"]["task"]) for row in of_type(log, "ledger", 2)}
    assert ordered == {True, False}, "in both orders"


@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_a_limit_holds_at_every_moment(here: Here, strategy: str) -> None:
    results = raced(
        here, "--scenario", "limit", "--strategy", strategy, "--workers", "7", "--ops", "5"
    )
    log = lines(here.home / "race.jsonl")
    for number, one in enumerate(results, start=1):
        (race,) = of_type(log, "race", number)
        assert race["limit"] == 2
        rows = sorted(of_type(log, "ledger", number), key=lambda row: row["sequence"])
        counts = list(accumulate(row["after"] - row["before"] for row in rows))
        assert (max(counts) > 2) is (one["strategy"] == "none")
        assert counts[-1] == 0, "everyone completes what they have started, to make room"


def test_what_is_not_tried_again_is_counted_as_failed(here: Here) -> None:
    results = raced(
        here, "--strategy", "nowait", "--strategy", "optimistic", "--retries", "0",
        "--workers", "4", "--ops", "15", "--think", "2",
    )  # fmt: skip
    for one in results[1:]:
        assert (one["verdict"], one["retries"]) == ("PROVED", 0)
        assert one["failed"] > 0
        assert one["ok"] + one["failed"] == 60


@pytest.mark.parametrize("isolation", ["repeatable-read", "SERIALIZABLE"])
def test_a_guard_holds_at_a_higher_level_too(here: Here, isolation: str) -> None:
    results = raced(
        here, "--strategy", "for-update", "--strategy", "atomic", "--isolation", isolation,
        "--workers", "4", "--ops", "6", "--think", "1",
    )  # fmt: skip
    level = isolation.lower().replace("-", " ")
    assert [(one["isolation"], one["verdict"]) for one in results] == [
        ("read committed", "VIOLATED"),
        (level, "PROVED"),
        (level, "PROVED"),
    ]
