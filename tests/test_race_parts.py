"""The parts of a race, each by itself: small and exact."""

from __future__ import annotations

import io
import json
import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import settings_for
from crew_members import fall, greet, hold_out, stay, vanish
from races import Ground, ground, lines
from workers import await_end_of, psql

from concord.errors import DatabaseUnavailable, Usage
from concord.race import attempts, crew, elle
from concord.race.attempts import Attempt, Entered
from concord.race.crew import Crew
from concord.race.effects import Op, Touch
from concord.race.logbook import Logbook
from concord.race.plan import (
    ISOLATIONS,
    REFUSED,
    SCENARIOS,
    STRATEGIES,
    Options,
    Race,
    races,
    sensible,
    task_count,
)
from concord.race.run import Raced
from concord.race.session import name_of
from concord.race.values import ENTRIES_PER_OP, Value, entry
from concord.race.workloads import workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server

READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE = ISOLATIONS


# The plan


def test_the_control_comes_first_and_once() -> None:
    planned = races(["counter", "limit"], ["for-update", "none", "for-update"])
    assert [(race.scenario, race.strategy, race.control) for race in planned] == [
        ("counter", "none", True),
        ("counter", "for-update", False),
        ("limit", "none", True),
        ("limit", "for-update", False),
    ]


def test_without_a_strategy_all_are_raced_that_make_sense() -> None:
    for scenario in SCENARIOS:
        assert [race.strategy for race in races([scenario], [])] == list(sensible(scenario))


@pytest.mark.parametrize(("scenario", "strategy"), REFUSED)
def test_a_pair_that_makes_no_sense_is_refused_with_the_reason(
    scenario: str, strategy: str
) -> None:
    with pytest.raises(Usage, match=f"^{strategy} makes no sense for {scenario}: ") as caught:
        races([scenario], ["for-update", strategy])
    assert REFUSED[scenario, strategy] in str(caught.value)
    assert str(caught.value.hint).startswith("Choose from: none, ")


def test_with_several_scenarios_a_strategy_is_raced_where_it_makes_sense() -> None:
    planned = races(["counter", "claim"], ["skip-locked"])
    assert [(race.scenario, race.strategy) for race in planned] == [
        ("counter", "none"),
        ("claim", "none"),
        ("claim", "skip-locked"),
    ]
    with pytest.raises(Usage, match=r"skip-locked makes no sense for any of: counter, edit"):
        races(["counter", "edit"], ["skip-locked"])


def test_the_level_is_the_strategys_own_or_the_one_that_was_asked_for() -> None:
    planned = races(["counter"], [], REPEATABLE_READ)
    assert {race.strategy: race.isolation for race in planned} == {
        **dict.fromkeys(sensible("counter"), REPEATABLE_READ),
        "none": READ_COMMITTED,
        "serializable": SERIALIZABLE,
        "product": READ_COMMITTED,
    }
    assert planned[0].strategy == "none"
    assert [race.control for race in planned] == [True] + [False] * (len(planned) - 1)


def test_the_control_is_not_guarded_by_a_level() -> None:
    with pytest.raises(Usage, match="SERIALIZABLE would") as refused:
        races(["counter"], ["none"], SERIALIZABLE)
    assert "--strategy serializable" in (refused.value.hint or "")
    assert races(["counter"], ["none"], READ_COMMITTED) == (
        Race("counter", "none", READ_COMMITTED),
    )


@pytest.mark.parametrize(
    ("strategy", "isolation", "reason"),
    [
        ("serializable", READ_COMMITTED, "its guard is SERIALIZABLE"),
        ("repeatable-read", SERIALIZABLE, "its guard is REPEATABLE READ"),
        ("product", SERIALIZABLE, "Concord's commands choose their own level"),
    ],
)
def test_a_level_that_would_take_the_guard_away_is_refused(
    strategy: str, isolation: str, reason: str
) -> None:
    with pytest.raises(Usage, match=f"cannot run at {isolation.upper()}: {reason}"):
        races(["counter"], [strategy], isolation)


@pytest.mark.parametrize(
    ("scenario", "options", "count"),
    [
        ("counter", Options(workers=8, ops=5), 1),
        ("counter", Options(workers=8, ops=5, tasks=7), 7),
        ("limit", Options(workers=8, ops=5, tasks=1), 8),
        ("claim", Options(workers=8, ops=5), 40),
        ("claim", Options(workers=8, ops=5, tasks=1000), 1000),
        ("transfer", Options(workers=8, ops=5), 8),
        ("transfer", Options(workers=8, ops=5, tasks=1), 2),
    ],
)
def test_a_race_is_about_as_many_tasks_as_it_needs(
    scenario: str, options: Options, count: int
) -> None:
    assert task_count(scenario, options) == count


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_strategy_is_either_there_or_refused(scenario: str) -> None:
    told = {"worker": 0, "racer": "racer1", "racer_id": 7, "project": 1, "key": "R", "limit": 1}
    made = workload(scenario, SimpleNamespace(**told, tasks=(3, 4), value=Value()))
    there = {*made.strategies, *(["product"] if made.product else [])}
    assert there == {name for name in STRATEGIES if (scenario, name) not in REFUSED}


# Values


def test_a_number_stands_for_itself_and_a_list_for_its_length() -> None:
    number, array = Value(), Value(as_list=True)
    assert (number.initial, number.measure("41"), number.raised("41", 7)) == ("0", 41, "42")
    assert (array.initial, array.measure("")) == ("", 0)
    text = array.raised(array.raised(array.initial, 7), 9)
    assert (text, array.entries(text), array.measure(text)) == ("7,9", [7, 9], 2)


def test_no_two_attempts_write_the_same_entry() -> None:
    # An operation is tried once, and again a thousand times at most.
    written = {entry(op, retry) for op in range(1, 5) for retry in range(1001)}
    assert len(written) == 4 * 1001
    assert ENTRIES_PER_OP > 1001


# Attempts


def attempt(op_id: int, retry: int = 0, outcome: str = "ok", **more: Any) -> Attempt:
    return Attempt(
        op_id,
        retry,
        1000.0 + op_id,
        outcome,
        touches=(Touch(3, "value", 4, 5), Touch(9, "value", 8, 9)),
        entered=Entered("741", "740:743:741", 4711, 118, 6, 2),
        statements=[("begin", 1000.0, 0.25, -1)],
        end=1000.5 + op_id,
        **more,
    )


def test_an_attempt_is_logged_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    failed = Attempt(
        18, 0, 1002.0, sqlstate="40001", reason="could not serialize access", end=1003.0
    )
    path.write_bytes(
        attempts.packed(attempt(17), Op(17, (3, 9)), again=False)
        + attempts.packed(failed, Op(18, (3, 9)), again=True)
    )
    done, undone = attempts.unpacked(path, worker=3)
    assert done == {
        "op_id": 17,
        "worker": 3,
        "retry": 0,
        "outcome": "ok",
        "sqlstate": None,
        "reason": None,
        "task": 3,
        "part": "value",
        "before": 4,
        "after": 5,
        "version": 6,
        "other": {"task": 9, "before": 8, "after": 9, "version": 2},
        "sequence": 118,
        "xid": "741",
        "pid": 4711,
        "snapshot": "740:743:741",
        "begin": 1017.0,
        "statements": [{"name": "begin", "at": 1000.0, "ms": 0.25, "rows": -1}],
        "end": 1017.5,
        "again": False,
    }
    assert (undone["outcome"], undone["sqlstate"], undone["task"], undone["before"]) == (
        "fail",
        "40001",
        3,
        None,
    )
    assert undone["again"]


def test_of_a_log_that_is_cut_short_the_whole_attempts_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first, second = (
        attempts.packed(attempt(number), Op(number, (3, 9)), again=False) for number in (1, 2)
    )
    for size in range(len(first), len(first) + len(second)):
        path.write_bytes((first + second)[:size])
        assert [told["op_id"] for told in attempts.unpacked(path, 0)] == [1]
    assert list(attempts.unpacked(tmp_path / "none", 0)) == []


# The history for Elle


def told(worker: int, op_id: int, outcome: str, begin: float, end: float | None) -> dict[str, Any]:
    return {
        "worker": worker,
        "op_id": op_id,
        "retry": 0,
        "task": 7,
        "outcome": outcome,
        "entries": [5],
        "begin": begin,
        "end": end,
    }


def test_a_history_for_elle_in_the_order_of_time() -> None:
    history = list(
        elle.history(
            [
                told(0, 1, "ok", 10.0, 10.25),
                told(1, 2, "info", 10.125, 10.5),
                told(0, 3, "fail", 10.25, 10.375),
                told(1, 4, "ok", 10.5, 10.75),
                told(0, 5, "info", 11.0, None),
            ],
            workers=2,
        )
    )
    assert [event["index"] for event in history] == list(range(10))
    assert [
        (event["process"], event["type"], event["time"], event["value"][0][2], event["value"][1][2])
        for event in history
    ] == [
        (0, "invoke", 0, None, 1024),
        (1, "invoke", 125_000_000, None, 2048),
        (0, "ok", 250_000_000, [5], 1024),
        (0, "invoke", 250_000_000, None, 3072),
        (0, "fail", 375_000_000, None, 3072),
        (1, "info", 500_000_000, None, 2048),
        (3, "invoke", 500_000_000, None, 4096),  # after info, a process is another one
        (3, "ok", 750_000_000, [5], 4096),
        (0, "invoke", 1_000_000_000, None, 5120),
        (0, "info", 1_000_000_000, None, 5120),
    ]
    assert {(event["f"], event["value"][0][0], event["value"][1][0]) for event in history} == {
        ("txn", "r", "append")
    }
    assert {key for event in history for _, key, _ in event["value"]} == {7}


def test_attempts_that_took_no_time_are_invoked_before_they_end() -> None:
    moment = [told(0, op, "ok", 10.0, 10.0) for op in (1, 2, 3)]
    history = list(elle.history(moment, workers=1))
    assert [event["type"] for event in history] == ["invoke", "ok"] * 3


def test_a_history_is_written_as_one_array() -> None:
    file = io.StringIO()
    elle.write([told(0, 1, "ok", 10.0, 10.25), told(1, 2, "ok", 10.0, 10.5)], 2, file)
    assert len(json.loads(file.getvalue())) == 4
    assert file.getvalue().count("\n") == 6, "an operation a line"
    empty = io.StringIO()
    elle.write([], 2, empty)
    assert json.loads(empty.getvalue()) == []


# The log of a run


def test_a_log_begins_with_the_run_and_ends_with_its_end(tmp_path: Path) -> None:
    from race_logs import Race as MadeUp

    from concord.race import judge

    path = tmp_path / "race.jsonl"
    events = MadeUp("counter").events()
    result = judge.judge_race(events)
    with Logbook(path, {"type": "run", "format": 1}) as book:
        book.add(Raced(Race("counter", "for-update", READ_COMMITTED), events, result))
        assert len(lines(path)) == len(events) + 2, "a race is there as soon as it is over"
        book.finish(1)
    written = lines(path)
    assert written[0] == {"type": "run", "format": 1}
    assert written[1:-2] == events
    assert (written[-2]["type"], written[-2]["verdict"]) == ("verdict", "PROVED")
    assert (written[-1]["type"], written[-1]["exit"]) == ("finished", 1)


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="the log cannot be written"):
        Logbook(tmp_path, {})


# The processes


def test_processes_start_together_and_are_waited_for() -> None:
    with Crew(greet, [3, 4, 5]) as three:
        three.gather()
        assert all(member.pid == member.process.pid for member in three.members)
        assert not any(member.done for member in three.members), "nobody has begun"
        three.tell("go")
        counts = list(three.finish(0.1))
    assert counts[-1] == 12
    assert counts == sorted(counts)
    assert [(member.ended, member.why) for member in three.members] == [("done", None)] * 3


def test_ctrl_c_is_for_who_started_them(capfd: pytest.CaptureFixture[str]) -> None:
    with Crew(greet, [1, 1]) as two:
        two.gather()
        for member in two.members:
            os.kill(member.pid or 0, signal.SIGINT)
        two.tell("go")
        list(two.finish(0.1))
    assert [member.ended for member in two.members] == ["done", "done"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("killed", "killed by SIGKILL"),
        ("status", "it ended with status 3"),
        ("words", "no room"),
    ],
)
def test_one_that_dies_before_the_start_ends_all(how: str, why: str) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match=f"process 1 did not reach the start: {why}"),
        Crew(fall, ["stay", how, "stay"]) as three,
    ):
        three.gather()
    assert not any(member.process.is_alive() for member in three.members)


def test_the_barrier_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "START_PATIENCE", 0.2)
    with (
        pytest.raises(DatabaseUnavailable, match="2 processes did not reach the start in 0 s"),
        Crew(stay, [None, None]) as two,
    ):
        two.gather()
    assert not any(member.process.is_alive() for member in two.members)


def test_one_that_dies_on_the_way_is_noticed_and_the_others_go_on() -> None:
    with Crew(vanish, [False, True]) as two:
        two.gather()
        two.tell("go")
        assert list(two.finish(0.1))[-1] == 2
    assert [(member.ended, member.why) for member in two.members] == [
        ("done", None),
        ("died", "killed by SIGKILL"),
    ]


def test_the_others_stop_when_one_has_died_and_nobody_could_go_on() -> None:
    with Crew(hold_out, [False, True, False]) as three:
        three.gather()
        three.tell("go")
        assert list(three.finish(60, stop_on_death=True))[-1] == 2
    assert [member.ended for member in three.members] == ["done", "died", "done"]


# A worker's connection


@pytest.fixture(scope="module")
def prepared(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    with (
        server.janitor("race_parts", template) as janitor,
        ground(settings_for(server.url(janitor.dbname)), tmp_path_factory.mktemp("race")) as made,
    ):
        yield made


@pytest.mark.parametrize("deadlocks", [True, False])
def test_a_connection_works_in_the_scratch_schema_and_finds_deadlocks_soon(
    prepared: Ground, deadlocks: bool
) -> None:
    with prepared.session(deadlocks=deadlocks) as session:
        found = session.execute(
            "SELECT current_schema(), current_setting('deadlock_timeout'),"
            " current_setting('TimeZone'), current_setting('concord.operation')",
            {},
        ).fetchone()
    assert found == (prepared.schema, "20ms" if deadlocks else "1s", "UTC", "demo race")


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_transaction_runs_at_its_level(prepared: Ground, isolation: str) -> None:
    with prepared.session() as session:
        session.begin(isolation)
        found = session.execute("SELECT current_setting('transaction_isolation')", {}).fetchone()
        assert found == (isolation,)
        assert session.commit() == "COMMIT"


def test_the_tag_tells_that_a_commit_was_none(prepared: Ground) -> None:
    with prepared.session() as session:
        session.begin(READ_COMMITTED)
        with pytest.raises(psycopg.errors.DivisionByZero):
            session.execute("SELECT 1 / 0", {})
        assert session.commit() == "ROLLBACK"


def test_statements_stay_prepared_when_a_transaction_is_rolled_back(prepared: Ground) -> None:
    with prepared.session() as session:
        session.begin(READ_COMMITTED)
        session.execute("SELECT 17 + %(one)s::integer", {"one": 1})
        session.roll_back()
        session.roll_back()
        names = session.execute("SELECT statement FROM pg_prepared_statements", {}).fetchall()
    assert any("17 + " in name for (name,) in names), names


def test_a_connection_knows_that_it_is_lost(prepared: Ground) -> None:
    url = prepared.settings.database_url or ""
    with prepared.session() as session, psycopg.connect(url, autocommit=True) as other:
        assert not session.lost
        pid = session.connection.info.backend_pid
        psql(url, "SELECT pg_terminate_backend(%s)", pid)
        await_end_of(other, pid)
        with pytest.raises(psycopg.OperationalError):
            session.begin(READ_COMMITTED)
        assert session.lost
        session.roll_back()  # is no error: there is nothing left to roll back


@pytest.mark.parametrize(
    ("query", "name"),
    [("\n-- read_value: why\nSELECT 1", "read_value"), ("SELECT 1", "SELECT 1")],
)
def test_a_statement_says_its_name(query: str, name: str) -> None:
    assert name_of(query) == name
