"""`demo check`: a log is judged again, by whoever has it and wherever, without a server."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

import pytest
from commands import Here, on_terminal, plain
from conftest import CommandLine
from race_logs import Event, Race, run_of, text_of
from test_layers import loaded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Server

NOWHERE = "postgresql://127.0.0.1:1/nowhere"

CONTROL = Race("counter", strategy="none", stale=True)
SOUND = run_of(CONTROL, Race("counter", seed=3))
UNSOUND = run_of(
    Race("transfer", strategy="none", stale=True), Race("transfer", strategy="nowait", stale=True)
)


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    here = Here(NOWHERE, tmp_path, monkeypatch, capsys)
    for name, log in (("sound", SOUND), ("unsound", UNSOUND)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(text_of(log)))
    return here


def test_a_sound_log_is_confirmed(here: Here) -> None:
    result = here("demo", "check", "sound.jsonl")
    assert (result.code, result.err) == (0, "")
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [row[:4] for row in rows] == [
        ["counter", "none", "read committed", "VIOLATED"],
        ["counter", "for-update", "read committed", "PROVED"],
    ]
    from_stdin = here("demo", "check", "-", stdin=(here.home / "sound.jsonl").read_bytes())
    assert from_stdin == result


def test_json_holds_the_settings_and_how_the_log_is(here: Here) -> None:
    told = here.ok("demo", "check", "sound.jsonl")
    assert list(told) == ["settings", "results", "log"]
    assert told["settings"]["strategies"] == ["none", "for-update"]
    assert told["log"] == {"whole": True, "agrees": True}
    recorded = [event for event in SOUND if event["type"] == "verdict"]
    assert [{"type": "verdict", "race": 1 + index, **result}
            for index, result in enumerate(told["results"])] == recorded  # fmt: skip


def test_what_is_violated_is_named_with_its_witness(here: Here) -> None:
    result = here("demo", "check", "unsound.jsonl", "--json")
    control, broken = json.loads(result.out)["results"]
    assert (result.code, control["verdict"], broken["verdict"]) == (1, "VIOLATED", "VIOLATED")
    assert result.error["code"] == "refused"
    assert result.error["message"] == (
        f"transfer, nowait at read committed: VIOLATED: lost-update: {broken['witness']['text']}"
    )
    assert len(broken["witness"]["ops"]) == 2


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--quiet"], "VIOLATED\nPROVED\n"),
        (["--csv", "--fields", "strategy,ok"], "strategy,ok\nnone,21\nfor-update,23\n"),
        (["--fields", "strategy,lost,limit"], "none\t11\t\nfor-update\t0\t\n"),
    ],
)
def test_every_form_of_output(here: Here, options: list[str], shown: str) -> None:
    assert here("demo", "check", "sound.jsonl", *options).out == shown


def test_a_log_that_does_not_confirm_its_verdicts_is_refused(here: Here) -> None:
    text = (here.home / "sound.jsonl").read_text()
    (here.home / "boast.jsonl").write_text(text.replace('"lost": 0', '"lost": 3'))
    result = here("demo", "check", "boast.jsonl")
    assert (result.code, len(result.out.splitlines())) == (1, 2)
    assert result.err.startswith(
        "error: race 2 (counter, for-update at read committed): lost was recorded as 3, but is 0\n"
    )


def test_a_log_that_is_cut_short_is_refused(here: Here) -> None:
    text = (here.home / "sound.jsonl").read_bytes()
    (here.home / "cut.jsonl").write_bytes(text[: len(text) // 2])
    result = here("demo", "check", "cut.jsonl", "--json")
    told = json.loads(result.out)
    assert (result.code, told["log"]) == (1, {"whole": False, "agrees": True})
    assert told["results"][-1]["verdict"] == "INCONCLUSIVE"
    assert "the log is cut short" in result.error["message"]


def test_what_is_no_log_is_a_matter_of_usage(here: Here) -> None:
    (here.home / "tasks.csv").write_text("id,title\n")
    told = here.refused("demo", "check", "tasks.csv", code=2)
    assert "tasks.csv is no log of races: line 1: it is not JSON" in told
    assert "demo race --log" in told
    assert "stdin is no log of races: line 1" in here.refused("demo", "check", "-", code=2)
    assert "cannot read missing" in here.refused("demo", "check", "missing", code=2)
    assert "no such field: nope" in here.refused(
        "demo", "check", "sound.jsonl", "--fields", "nope", code=2
    )


def test_no_server_is_needed_and_no_driver(here: Here) -> None:
    nowhere = CommandLine(here.home, CONCORD_DATABASE_URL=NOWHERE)
    assert loaded(nowhere, "demo", "check", "sound.jsonl") == set()


def test_on_a_terminal_it_is_a_table(here: Here) -> None:
    nowhere = CommandLine(here.home, CONCORD_DATABASE_URL=NOWHERE)
    result = on_terminal(nowhere, "demo", "check", "sound.jsonl", columns=120)
    assert result.code == 0
    head, _, control, guarded = plain(result.out).split("\n")[:4]
    for line, words in ((head, "strategy verdict"), (control, "none VIOLATED")):
        assert set(words.split()) <= set(line.split())
    assert {"for-update", "PROVED"} <= set(guarded.split())


# Real races


@pytest.fixture(scope="module")
def real_log(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Event]:
    """The log of real races: a counter and transfers, each with its control."""
    home = tmp_path_factory.mktemp("race")
    with server.janitor("race_to_check", template) as janitor:
        concord = CommandLine(
            home, CONCORD_DATABASE_URL=server.url(janitor.dbname), CONCORD_USER="ana"
        )
        raced = concord(
            "demo", "race", "--scenario", "counter", "--scenario", "transfer", "--strategy",
            "for-update", "--workers", "3", "--ops", "10", "--think", "2", "--log", "race.jsonl",
        )  # fmt: skip
    assert raced.code == 0, raced
    text = (home / "race.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def of_guarded(log: list[Event], kind: str, scenario: str = "counter") -> list[int]:
    """Return the places of lines of a type in the guarded race of a scenario."""
    number = next(
        event["race"]
        for event in log
        if event["type"] == "race" and event["scenario"] == scenario and not event["control"]
    )
    return [
        index
        for index, event in enumerate(log)
        if event["type"] == kind and event["race"] == number and event.get("outcome", "ok") == "ok"
    ]


def lose(kind: str) -> Callable[[list[Event]], None]:
    def lost(log: list[Event]) -> None:
        del log[of_guarded(log, kind)[2]]

    return lost


def double(kind: str) -> Callable[[list[Event]], None]:
    def doubled(log: list[Event]) -> None:
        index = of_guarded(log, kind)[4]
        log.insert(index, log[index])

    return doubled


def invent(kind: str) -> Callable[[list[Event]], None]:
    def invented(log: list[Event]) -> None:
        index = of_guarded(log, kind)[4]
        log.insert(index, {**log[index], "op_id": 1_000_000, "xid": "1"})

    return invented


def change(kind: str, name: str) -> Callable[[list[Event]], None]:
    def changed(log: list[Event]) -> None:
        index = of_guarded(log, kind)[-1]
        value = log[index][name]
        log[index][name] = str(int(value) + 1) if isinstance(value, str) else value + 1

    return changed


def change_other(log: list[Event]) -> None:
    log[of_guarded(log, "ledger", "transfer")[3]]["other"]["after"] += 1


def lose_operation(log: list[Event]) -> None:
    """Leave out an operation altogether: what the worker says, and what the ledger says."""
    row = log[of_guarded(log, "ledger")[4]]
    attempts = of_guarded(log, "attempt")
    (attempt,) = [index for index in attempts if log[index]["op_id"] == row["op_id"]]
    log.remove(row)
    del log[attempt]


@pytest.mark.parametrize(
    ("mutate", "rule"),
    [
        (lose("ledger"), "lost-write"),
        (lose("attempt"), "invented"),
        (lose("worker"), "worker"),
        (lose_operation, "worker"),
        (double("ledger"), "doubled"),
        (double("attempt"), "retries"),
        (invent("ledger"), "invented"),
        (invent("attempt"), "lost-write"),
        *((change("ledger", name), "mismatch") for name in ("worker", "task", "before", "after")),
        *((change("ledger", name), "mismatch") for name in ("xid", "version", "sequence")),
        (change("attempt", "after"), "mismatch"),
        (change_other, "mismatch"),
        (change("state", "value"), "lost-update"),
        (change("state", "version"), "version"),
        (change("worker", "operations"), "worker"),
    ],
    ids=count(),
)
def test_a_real_log_that_was_altered_is_refused(
    real_log: list[Event], here: Here, mutate: Callable[[list[Event]], None], rule: str
) -> None:
    log: list[Event] = json.loads(json.dumps(real_log))
    mutate(log)
    (here.home / "altered.jsonl").write_bytes(b"".join(text_of(log)))
    result = here("demo", "check", "altered.jsonl")
    assert result.code == 1, result
    assert f"for-update at read committed: VIOLATED: {rule}: " in result.err


def test_a_real_log_is_confirmed(real_log: list[Event], here: Here) -> None:
    (here.home / "real.jsonl").write_bytes(b"".join(text_of(real_log)))
    results = here.ok("demo", "check", "real.jsonl")["results"]
    assert [result["verdict"] for result in results] == ["VIOLATED", "PROVED"] * 2
    assert all(bool(result["lost"]) is result["control"] for result in results)
