"""`demo anomalies`: the matrix agrees with what is known, and says so when it does not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from audit import tables
from commands import Here, Terminal, on_terminal, plain, screen
from conftest import settings_for
from psycopg.conninfo import make_conninfo
from test_sql_constants import DEBIAN, debian_server
from workers import psql

from concord.cli import run
from concord.errors import Usage
from concord.race.interleaving import catalogue, matrix
from concord.race.interleaving.events import LEVELS, Result, Run, StepEvent
from concord.race.interleaving.laboratory import laboratory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandLine, Server

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'concord%'"


def test_all_agree_and_nothing_is_left(here: Here, url: str) -> None:
    before = tables(url)
    found = here.ok("demo", "anomalies")
    assert [(one["scenario"], one["isolation"]) for one in found] == [
        (name, level) for name in catalogue.names() for level in LEVELS
    ]
    assert [one for one in found if not one["agrees"]] == []
    assert list(found[0]) == [
        "scenario", "isolation", "expected", "observed", "agrees", "expected_sqlstate",
        "sqlstate", "detail", "steps",
    ]  # fmt: skip
    assert tables(url) == before
    assert psql(url, SCHEMAS) == []


@pytest.mark.parametrize("binaries", DEBIAN, ids=lambda path: path.parts[-2])
def test_all_agree_on_debians_server_time_and_again(binaries: Path) -> None:
    with debian_server(binaries) as url, laboratory(settings_for(url), "test") as lab:
        runs = [
            [
                (found.agrees, found.scenario, found.isolation, found.detail, found.steps)
                for scenario in catalogue.SCENARIOS
                for level in LEVELS
                for found in [matrix.finding(lab, scenario, level)]
            ]
            for _ in range(3)
        ]
        spec = catalogue.find("p4").spec()
        with lab.stage(spec, "read committed") as stage:
            viewer = stage.viewer()
            *_, view = [viewer.look() for _ in stage.play(spec.permutations[0])]
    assert [one[:4] for one in runs[0] if not one[0]] == []
    assert runs[0] == runs[1] == runs[2]
    assert [version.values["points"] for version in view.versions] == [10, 11, 15], view.note


# The table that the scenarios are from, cell by cell: what happened, and how it is told.
TOLD = [
    ("lost-update", "6 points are acknowledged, 5 kept", "40001 at B's UPDATE", "40001"),
    ("version-check", "then gets UPDATE 0", "40001", "40001"),
    ("atomic-increment", "6 points are acknowledged, 6 kept", "40001", "40001"),
    ("for-update", "B waits for A, then sees 11", "40001 at B's SELECT", "40001"),
    ("nowait", "55P03 at B's SELECT; then 25P02", "55P03", "55P03"),
    ("skip-locked", "A claims 1, B claims 2", "A claims 1, B claims 2", "B claims 2"),
    ("skip-locked-stale", "A claims 1, B claims 2", "40001", "40001"),
    ("write-skew", "3 in progress", "3 in progress", "40001 at B's COMMIT"),
    ("phantom-insert", "3 in progress", "3 in progress", "40001 at B's COMMIT"),
    ("parent-lock", "counts 2 where 2", "counts 1 where 2", "counts 1 where 2"),
    ("advisory-lock", "counts 2; 2 in progress", "1; 3 in progress", "40001 at B's UPDATE"),
    ("read-skew", "A sees 10 + 18", "A sees 10 + 20", "A sees 10 + 20"),
    ("pmp-read", "A sees 0, then 1", "A sees 0, then 0", "A sees 0, then 0"),
    ("pmp-write", "DELETE 0, and 1 that should go", "40001", "40001"),
    ("read-only-anomaly", "A before B before C", "A before B before C", "40001 at A's UPDATE"),
    ("deadlock", "40P01 at B's UPDATE", "40P01", "40P01"),
    ("select-then-insert", "23505 at B's INSERT", "23505 at B's INSERT", "40001"),
    ("dirty-write", "12, 22", "40001", "40001"),
    ("aborted-read", "B sees 10, then 10", "B sees 10, then 10", "B sees 10, then 10"),
    ("intermediate-read", "B sees 10, then 11", "10, then 10", "10, then 10"),
    ("circular-information-flow", "A sees 20, B sees 10", "A sees 20", "40001 at B's COMMIT"),
    ("observed-transaction-vanishes", "C sees 11, then 19", "40001", "40001"),
    ("g2-item", "neither saw the other's write", "neither saw", "40001 at B's COMMIT"),
    ("g2", "neither saw the other's row", "neither saw", "40001 at B's COMMIT"),
]


@pytest.fixture(scope="module")
def details(server: Server) -> Iterator[dict[tuple[str, str], str]]:
    """What is told of each cell."""
    with (
        server.janitor("details") as janitor,
        laboratory(settings_for(server.url(janitor.dbname)), "test") as lab,
    ):
        yield {
            (one.name, level): matrix.finding(lab, one, level).detail
            for one in catalogue.SCENARIOS
            for level in LEVELS
        }


def test_what_is_told_of_each_cell(details: dict[tuple[str, str], str]) -> None:
    assert [row[0] for row in TOLD] == catalogue.names()
    for scenario, *told in TOLD:
        for level, words in zip(LEVELS, told, strict=True):
            assert words in details[scenario, level], (scenario, level)


def test_a_pipe_gets_a_line_a_cell(here: Here) -> None:
    told = here("demo", "anomalies", "--scenario", "p4", "--scenario", "g0")
    assert told.code == 0
    assert [line.split("\t")[:6] for line in told.out.splitlines()] == [
        ["lost-update", "read committed", "anomaly", "anomaly", "true", ""],
        ["lost-update", "repeatable read", "aborted", "aborted", "true", "40001"],
        ["lost-update", "serializable", "aborted", "aborted", "true", "40001"],
        ["dirty-write", "read committed", "prevented", "prevented", "true", ""],
        ["dirty-write", "repeatable read", "aborted", "aborted", "true", "40001"],
        ["dirty-write", "serializable", "aborted", "aborted", "true", "40001"],
    ]


def test_the_steps_are_what_happened(here: Here) -> None:
    chosen = ("--scenario", "lost-update", "--isolation", "READ_COMMITTED")
    (found,) = here.ok("demo", "anomalies", *chosen)
    assert found["isolation"] == "read committed"
    assert [(step["step"], step["event"], step["waits_for"]) for step in found["steps"]] == [
        ("a_reads", "done", []), ("b_reads", "done", []), ("a_writes", "done", []),
        ("b_writes", "waiting", ["A"]), ("a_commits", "done", []),
        ("b_writes", "completed", []), ("b_commits", "done", []),
    ]  # fmt: skip
    assert found["steps"][0]["results"] == [
        {"tag": "SELECT 1", "columns": ["points"], "rows": [["10"]]}
    ]
    assert found["steps"][-1]["results"][0]["tag"] == "COMMIT"


def test_a_disagreement_is_told_and_exits_1(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tuple(
        replace(one, expected=("prevented", "40001", "40P01")) if one.name == "lost-update" else one
        for one in catalogue.SCENARIOS
    )
    monkeypatch.setattr(catalogue, "SCENARIOS", wrong)
    result = here("demo", "anomalies", "--scenario", "p4", "--json")
    assert result.code == 1
    assert [(one["agrees"], one["observed"], one["sqlstate"]) for one in result.json] == [
        (False, "anomaly", None), (True, "aborted", "40001"), (False, "aborted", "40001"),
    ]  # fmt: skip
    assert result.error["code"] == "refused"
    assert result.error["message"] == (
        "2 of 3 are not as PostgreSQL is known to do: lost-update at read committed: expected"
        " prevented, observed anomaly; lost-update at serializable: expected aborted 40P01,"
        " observed aborted 40001"
    )
    assert "concord demo step lost-update --isolation 'read committed'" in result.error["hint"]


def test_a_server_that_does_otherwise_is_found_out(here: Here, url: str) -> None:
    # A role for which a plain BEGIN would begin elsewhere is asked for the level all the same.
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("ALTER ROLE concord SET default_transaction_isolation = 'serializable'")
        try:
            assert len(here.ok("demo", "anomalies", "--scenario", "write-skew")) == 3
        finally:
            owner.execute("ALTER ROLE concord RESET default_transaction_isolation")


def test_what_did_not_happen_is_never_taken_for_an_outcome() -> None:
    # Nothing is assumed: for each, the outcome follows from what the steps and tables say.
    scenario = catalogue.find("lost-update")

    def played(last: str, points: int, *more: StepEvent) -> Run:
        events = [
            StepEvent("done", name, f"{name}_writes", "UPDATE x", results=(Result("UPDATE 1"),))
            for name in "AB"
        ]
        events += [
            StepEvent("done", name, f"{name}_commits", "COMMIT;", results=(Result(tag),))
            for name, tag in (("A", "COMMIT"), ("B", last))
        ]
        return Run((*events, *more), {"lab_tasks": [{"id": 1, "points": points}]})

    assert scenario.outcome(played("COMMIT", 15)) == ("anomaly", None)
    assert scenario.outcome(played("COMMIT", 16)) == ("prevented", None)
    assert scenario.outcome(played("ROLLBACK", 11)) == ("prevented", None)
    failed = StepEvent("done", "B", "b", "COMMIT", sqlstate="40001")
    assert scenario.outcome(played("ROLLBACK", 11, failed)) == ("aborted", "40001")
    assert scenario.outcome(played("ROLLBACK", 15, failed)) == ("anomaly", "40001")
    stuck = StepEvent("stuck", "B", "b", "COMMIT")
    assert scenario.outcome(played("COMMIT", 16, stuck)) == ("aborted", None)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("P4", "lost-update"), ("g0", "dirty-write"), ("G1a", "aborted-read"),
        ("g1b", "intermediate-read"), ("g1c", "circular-information-flow"),
        ("OTV", "observed-transaction-vanishes"), ("G-single", "read-skew"), ("pmp", "pmp-read"),
        ("Fekete", "read-only-anomaly"), ("G2-item", "g2-item"), ("Lost Update", "lost-update"),
        ("skip_locked", "skip-locked"),
    ],
)  # fmt: skip
def test_scenarios_have_the_codes_of_the_literature(given: str, name: str) -> None:
    assert catalogue.find(given).name == name


def test_names_and_codes_mean_one_scenario_each() -> None:
    words = [word for one in catalogue.SCENARIOS for word in (one.name, *one.codes)]
    assert len(words) == len(set(words))
    with pytest.raises(Usage, match="no such scenario: "):
        catalogue.find("")


def test_bad_values_are_refused_before_anything_is_done(here: Here) -> None:
    told = here.refused("demo", "anomalies", "--scenario", "lost-updte", code=2)
    assert "no such scenario: lost-updte; did you mean lost-update" in told
    assert "'snapshot' is not one of 'read committed'" in here.refused(
        "demo", "anomalies", "--isolation", "snapshot", code=2
    )
    assert "no such field: nope" in here.refused("demo", "anomalies", "--fields", "nope", code=2)


def test_no_server_is_exit_7(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    assert "cannot connect" in here.refused("demo", "anomalies", code=7)


def test_a_server_that_takes_no_schema_is_exit_7(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only = make_conninfo(url, options="-c default_transaction_read_only=on")
    monkeypatch.setenv("CONCORD_DATABASE_URL", read_only)
    here.refused("demo", "anomalies", code=7)


def test_a_terminal_shows_one_table(concord: CommandLine) -> None:
    told = on_terminal(concord, "demo", "anomalies", "--scenario", "otv", columns=90)
    assert told.code == 0
    lines = plain(told.out).splitlines()
    head = next(line for line in lines if line.startswith("scenario"))
    assert re.split("  +", head) == ["scenario", *LEVELS]
    row = next(line for line in lines if line.startswith("observed-transaction-vanishes  "))
    assert row.split()[1:] == ["prevented", "aborted", "40001", "aborted", "40001"]
    assert "vanishes, read committed: B waits for A, then C sees 11" in told.out
    assert lines[-1] == "3 of 3 as PostgreSQL is known to do"
    assert "\x1b[32mprevented" in told.out


def test_a_terminal_marks_a_disagreement(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(catalogue.find("g0"), expected=("40001", "40001", "40001"))
    monkeypatch.setattr(catalogue, "SCENARIOS", (wrong,))
    with screen(monkeypatch, columns=100) as shown:
        assert run(["demo", "anomalies"]) == 1
    assert "prevented ✗ expected aborted 40001" in plain(shown[0])
    assert "2 of 3 as PostgreSQL is known to do" in plain(shown[0])


def test_ctrl_c_ends_it_and_leaves_nothing(concord: CommandLine, url: str) -> None:
    with Terminal(concord, "demo", "step", "lost-update", "--interactive") as terminal:
        terminal.wait_for("any key").type("x").wait_for("b_reads").type("\x03")
        assert terminal.end().code == 130
    assert "Traceback" not in terminal.shown
    assert psql(url, SCHEMAS) == []


def test_json_lines_hold_a_cell_each(here: Here) -> None:
    lines = here("demo", "anomalies", "--scenario", "g2", "--jsonl").out.splitlines()
    assert [json.loads(line)["isolation"] for line in lines] == list(LEVELS)
