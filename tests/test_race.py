"""`demo race`, as a user types it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from audit import tables
from conftest import CommandLine, Result
from races import left_behind, lines, of_type

from concord.race import judge
from concord.race.plan import STRATEGIES, sensible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Here
    from conftest import Server

KEYS = [
    "scenario", "strategy", "isolation", "verdict", "ok", "failed", "retries", "unknown", "lost",
    "waits", "longest_wait_ms", "p50_ms", "p95_ms", "p99_ms", "ok_per_s", "witness",
]  # fmt: skip

ATTEMPT = {
    "type", "race", "scenario", "strategy", "op_id", "worker", "retry", "outcome", "sqlstate",
    "reason", "task", "part", "before", "after", "other", "xid", "pid", "snapshot", "begin",
    "statements", "end",
}  # fmt: skip

SMALL = ("--workers", "4", "--ops", "8", "--think", "1")
LOSES = ("--strategy", "none", *SMALL, "--no-observer")
"""Races the control alone, which is quick."""


@dataclass(frozen=True)
class Run:
    """One run of the counter with all its strategies, for many tests to look at."""

    result: Result
    log: list[dict[str, Any]]
    untouched: bool
    left: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def run(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("race")
    with server.janitor("race_run", template) as janitor:
        url = server.url(janitor.dbname)
        concord = CommandLine(home, CONCORD_DATABASE_URL=url, CONCORD_USER="ana")
        concord.ok("task", "add", "mine", "--tag", "api")
        before = tables(url)
        result = concord("demo", "race", *SMALL, "--seed", "7", "--json", "--log", "race.jsonl")
        yield Run(result, lines(home / "race.jsonl"), tables(url) == before, left_behind(url))


def test_every_strategy_is_proved_and_the_control_has_lost(run: Run) -> None:
    assert (run.result.code, run.result.err) == (0, ""), run.result
    results = run.result.json["results"]
    assert [(one["strategy"], one["verdict"]) for one in results] == [
        ("none", "VIOLATED"),
        *((name, "PROVED") for name in sensible("counter")[1:]),
    ]
    assert results[0]["lost"] > 0
    assert results[0]["witness"]["rule"] == "lost-update"
    assert len(results[0]["witness"]["ops"]) == 2
    assert all((one["lost"], one["ok"], one["witness"]) == (0, 32, None) for one in results[1:])


def test_json_has_the_documented_keys_in_their_order(run: Run) -> None:
    printed = run.result.json
    assert list(printed) == ["settings", "results"]
    assert all(list(one)[: len(KEYS)] == KEYS for one in printed["results"])
    settings = printed["settings"]
    assert settings["scenarios"] == ["counter"]
    assert settings["strategies"] == list(sensible("counter"))
    assert (settings["workers"], settings["ops"], settings["seed"]) == (4, 8, 7)
    assert (settings["tasks"], settings["duration"], settings["retries"]) == (None, None, 1000)
    for one in printed["results"]:
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
        assert one["ok_per_s"] > 0
        assert one["waits"] is not None, "somebody looked"


def test_the_users_own_tables_are_untouched_and_no_schema_is_left(run: Run) -> None:
    assert run.untouched
    assert run.left == []


def test_the_log_tells_everything_in_order(run: Run) -> None:
    first, *others, last = run.log
    assert (first["type"], first["format"]) == ("run", 1)
    assert first["settings"] == run.result.json["settings"]
    assert first["server"]["server_version"]
    assert {key: last[key] for key in ("type", "exit")} == {"type": "finished", "exit": 0}
    count = len(sensible("counter"))
    assert [event["race"] for event in others] == sorted(event["race"] for event in others)
    assert others[-1]["race"] == count
    order = [
        "race", "state", "attempt", "wait", "observer", "worker", "ledger", "state", "end",
        "verdict",
    ]  # fmt: skip
    for number in range(1, count + 1):
        kinds = [event["type"] for event in others if event["race"] == number]
        told = [kind for kind, after in pairwise([*kinds, ""]) if kind != after]
        assert told == [kind for kind in order if kind in told]
        assert {*told} >= {*order} - {"wait"}
        (observer,) = of_type(others, "observer", number)
        assert observer["complete"]
        assert observer["samples"] > 0


def test_each_attempt_is_told_in_full(run: Run) -> None:
    attempts = [event for event in run.log if event["type"] == "attempt"]
    assert all({*attempt} >= ATTEMPT for attempt in attempts)
    done = [attempt for attempt in attempts if attempt["outcome"] == "ok"]
    assert len(done) == 32 * len(sensible("counter"))
    assert len({(attempt["xid"]) for attempt in done}) == len(done)
    for attempt in done:
        assert attempt["after"] == attempt["before"] + 1
        assert attempt["begin"] <= attempt["end"]
        names = [statement["name"] for statement in attempt["statements"]]
        assert (names[0], names[-1].lower()) == ("begin", "commit")
        assert "enter_ledger" in names
    retried = [attempt for attempt in attempts if attempt["retry"] > 0]
    assert retried, "there was contention"


def test_the_log_alone_gives_the_same_verdicts(run: Run) -> None:
    judged = judge.judge_log((json.dumps(event).encode() for event in run.log), "race.jsonl")
    assert not judged.differences
    assert [one.verdict for one in judged.results] == [
        one["verdict"] for one in run.result.json["results"]
    ]


def test_a_wait_names_who_waits_and_who_is_in_the_way(run: Run) -> None:
    waits = [event for event in run.log if event["type"] == "wait"]
    assert waits
    pids = {
        (attempt["race"], attempt["worker"]): attempt["pid"]
        for attempt in run.log
        if attempt["type"] == "attempt" and attempt["outcome"] == "ok"
    }
    for wait in waits:
        assert wait["pid"] == pids[wait["race"], wait["worker"]]
        assert wait["since"] <= wait["seen"]
        for blocker in wait["blocked_by"]:
            assert blocker["how"] in ("holder", "queue")
            assert blocker["pid"] != wait["pid"]
            if blocker["worker"] is not None:
                assert blocker["pid"] == pids[wait["race"], blocker["worker"]]
    named = [blocker for wait in waits for blocker in wait["blocked_by"]]
    assert any(blocker["worker"] is not None for blocker in named)


def test_every_worker_says_goodbye(run: Run) -> None:
    for number in range(1, len(sensible("counter")) + 1):
        workers = of_type(run.log, "worker", number)
        assert [(one["worker"], one["ended"], one["operations"]) for one in workers] == [
            (worker, "done", 8) for worker in range(4)
        ]


@pytest.mark.parametrize(
    ("output", "first"),
    [
        ((), "counter\tnone\tVIOLATED"),
        (("--csv",), "scenario,strategy,verdict"),
        (("--jsonl",), '{"scenario":"counter","strategy":"none","verdict":"VIOLATED"}'),
    ],
)
def test_every_form_of_output_has_a_line_for_each_result(
    here: Here, output: tuple[str, ...], first: str
) -> None:
    result = here("demo", "race", *LOSES, *output, "--fields", "scenario,strategy,verdict")
    assert (result.code, result.err) == (0, ""), result
    assert result.out.splitlines()[0].replace(", ", ",").replace(": ", ":") == first
    assert "VIOLATED" in result.out.splitlines()[-1]


def test_fields_choose_what_json_has(here: Here) -> None:
    result = here("demo", "race", *LOSES, "--json", "--fields", "strategy,ok")
    assert result.json == [{"strategy": "none", "ok": 32}]
    assert "nonsense" in here.refused("demo", "race", "--json", "--fields", "nonsense", code=2)


def test_without_an_observer_waits_are_unknown(here: Here) -> None:
    result = here.ok("demo", "race", *LOSES, "--log", "race.jsonl")
    (one,) = result["results"]
    assert (one["waits"], one["longest_wait_ms"]) == (None, None)
    assert not result["settings"]["observer"]
    assert not {"wait", "observer"} & {event["type"] for event in lines(here.home / "race.jsonl")}


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        (("--workers", "1", "--ops", "3"), "raise --workers"),
        (("--workers", "2", "--ops", "1", "--tasks", "1000"), "raise --workers, --ops or --think"),
    ],
)
def test_a_control_that_loses_nothing_says_what_to_raise(
    here: Here, url: str, flags: tuple[str, ...], advice: str
) -> None:
    result = here("demo", "race", "--strategy", "none", *flags, "--json", "--log", "race.jsonl")
    assert result.code == 1, result
    (one,) = result.json["results"]
    assert (one["verdict"], one["lost"]) == ("INCONCLUSIVE", 0)
    assert one["reason"].endswith(advice)
    assert result.error["code"] == "refused"
    assert advice in result.error["message"]
    assert lines(here.home / "race.jsonl")[-1]["exit"] == 1
    assert left_behind(url) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--scenario limit --strategy repeatable-read", "makes no sense for limit: the limit is a"),
        ("--scenario counter --strategy skip-locked", "skipping it would not change it"),
        ("--ops 5 --duration 1", "--ops and --duration exclude each other"),
        ("--strategy serializable --isolation read-committed", "its guard is SERIALIZABLE"),
        ("--strategy serializable --isolation snapshot", "snapshot"),
        ("--strategy luck", "luck"),
        ("--scenario luck", "luck"),
        ("--workers 0", "--workers"),
        ("--ops 0", "--ops"),
        ("--tasks 0", "--tasks"),
        ("--retries -1", "--retries"),
        ("--retries 1001", "--retries"),
        ("--duration 0", "--duration"),
        ("--think -1", "--think"),
        ("--log missing/race.jsonl", "the log cannot be written"),
        ("--strategy none --elle missing/elle.json", "cannot be written"),
        ("--strategy atomic --strategy nowait --elle elle.json", "--elle takes the counter and"),
        ("--scenario edit --strategy atomic --elle elle.json", "--elle takes the counter and"),
        ("--elle elle.json", "--elle takes the counter and one strategy"),
        ("--strategy atomic --duration 1 --elle elle.json", "--elle takes --ops"),
        ("--workers 512", "the server has room for"),
    ],
)
def test_what_makes_no_sense_is_refused(here: Here, url: str, arguments: str, told: str) -> None:
    assert told in here.refused("demo", "race", *arguments.split(), code=2)
    assert left_behind(url) == []
    assert not (here.home / "elle.json").exists()


def test_more_workers_than_the_server_has_room_for(here: Here) -> None:
    result = here("demo", "race", "--workers", "512", "--json")
    details = result.error["details"]
    assert details["workers"] == 512
    assert 0 < details["room"] < 512
    assert f"the server has room for {details['room']} workers now" in result.error["message"]


def test_a_duration_ends_it(here: Here) -> None:
    printed = here.ok("demo", "race", *LOSES[:2], "--workers", "4", "--duration", "0.5")
    assert (printed["settings"]["ops"], printed["settings"]["duration"]) == (None, 0.5)
    assert printed["results"][0]["ok"] > 0


def test_a_seed_repeats_the_choice_of_tasks(here: Here) -> None:
    def choices(seed: str, name: str) -> dict[int, int]:
        """Return which task each operation chose, from the first task on."""
        here.ok("demo", "race", *LOSES, "--tasks", "3", "--seed", seed, "--log", name)
        attempts = of_type(lines(here.home / name), "attempt", 1)
        first = min(attempt["task"] for attempt in attempts)
        return {attempt["op_id"]: attempt["task"] - first for attempt in attempts}

    once = choices("42", "a.jsonl")
    assert {*once.values()} == {0, 1, 2}
    assert choices("42", "b.jsonl") == once
    assert choices("43", "c.jsonl") != once


def test_a_run_without_a_seed_tells_the_one_it_took(here: Here) -> None:
    seeds = {here.ok("demo", "race", *LOSES)["settings"]["seed"] for _ in range(2)}
    assert len(seeds) == 2


@pytest.mark.parametrize("strategy", ["atomic", "optimistic", "serializable", "product"])
def test_a_history_for_elle_holds(here: Here, strategy: str) -> None:
    here.ok("demo", "race", "--strategy", strategy, *SMALL, "--elle", "elle.json", "--no-observer")
    history = json.loads((here.home / "elle.json").read_text())
    assert [event["index"] for event in history] == list(range(len(history)))
    assert [event["time"] for event in history] == sorted(event["time"] for event in history)
    said: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in history:
        said[event["process"]].append(event)
    for events in said.values():
        assert [event["type"] == "invoke" for event in events] == [True, False] * (len(events) // 2)
        for invoked, ended in zip(events[::2], events[1::2], strict=True):
            assert invoked["value"][1] == ended["value"][1]
            assert invoked["value"][0][2] is None
    done = [event["value"] for event in history if event["type"] == "ok"]
    assert len(done) == 32
    appended = [event["value"][1][2] for event in history if event["type"] == "invoke"]
    assert len({*appended}) == len(appended)
    longest: list[int] = max((value[0][2] for value in done), key=len)
    assert len(longest) == 31
    assert all(value[0][2] == longest[: len(value[0][2])] for value in done)
    # Each one found what the one before it left, and added its own.
    final = [*longest, *({value[1][2] for value in done} - {*longest})]
    assert len(final) == 32
    assert all(final[len(value[0][2])] == value[1][2] for value in done)


def test_a_page_of_help_names_every_strategy(here: Here) -> None:
    told = here("demo", "race", "--help").out
    assert all(name in told for name in STRATEGIES)
