"""`doctor --unknown`: what became of commits that were never answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import CommandLine, settings_for
from proxy import Cut, Proxy
from workers import psql

from concord.database import Database, Isolation
from concord.logs import log_transaction
from concord.records import Record
from concord.sql import fates

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Here


def unknown(xid: str) -> Record:
    return Record("tasks.add", Isolation.READ_COMMITTED, False, 1, xid=xid, outcome="unknown")


@pytest.mark.parametrize(
    ("cut", "outcome", "tasks"), [(Cut.BEFORE, "not saved", []), (Cut.AFTER, "saved", [1])]
)
def test_a_commit_without_an_answer_is_asked_after(
    url: str, here: Here, tmp_path: Path, cut: Cut, outcome: str, tasks: list[int]
) -> None:
    with Proxy(url, cut, last=True) as proxy:
        ana = CommandLine(tmp_path, CONCORD_DATABASE_URL=proxy.url, CONCORD_USER="ana")
        lost = ana("task", "add", "written", "--json")
    assert (lost.code, lost.error["code"]) == (5, "contention")
    command = lost.error["hint"].rpartition(": concord ")[2]
    (fate,) = here.ok(*command.split())
    assert (fate["outcome"], fate["tasks"]) == (outcome, tasks)
    if tasks:
        assert (fate["actor"], fate["operation"]) == ("ana", "task add")


def test_those_that_the_log_knows_are_found_without_their_numbers(url: str, tmp_path: Path) -> None:
    log = tmp_path / "concord.log"
    settings = settings_for(url, log_file=str(log))
    ((saved,),) = psql(url, "INSERT INTO tags (name) VALUES ('x') RETURNING xmin::text")
    log_transaction(settings, "task add", unknown("99999999"), "warning")
    log_transaction(settings, "task add", unknown(saved), "warning")
    elsewhere = settings_for(f"{url} application_name=other", log_file=str(log))
    log_transaction(elsewhere, "task add", unknown("3"), "warning")
    with log.open("a") as out:
        out.write('{"outcome": "unknown", "xid": "4", "dat')
    ana = CommandLine(
        tmp_path, CONCORD_DATABASE_URL=url, CONCORD_USER="ana", CONCORD_LOG_FILE=str(log)
    )
    told = ana("doctor", "--unknown", "--json")
    assert [(row["xid"], row["outcome"]) for row in json.loads(told.out)] == [
        ("99999999", "not saved"),
        (saved, "saved"),
    ]
    log.unlink()
    told = ana("doctor", "--unknown")
    assert (told.code, told.out) == (0, "")
    assert "the log knows of no commit" in told.err


def test_what_is_under_way_or_changed_nothing_is_told_apart(url: str, database: Database) -> None:
    ((nothing,),) = psql(url, "SELECT pg_current_xact_id()::text")
    with psycopg.connect(url) as other:
        row = other.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        told = database.run(fates.tell, [row[0], nothing, "18446744073709551615"])
        other.rollback()
    assert [fate.outcome for fate in told] == ["running", "saved nothing", "not saved"]
    (ended,) = database.run(fates.tell, [row[0]])
    assert ended.outcome == "not saved"


@pytest.mark.parametrize(
    "words", [["741"], ["--unknown", "--engine"], ["--unknown", "x"], ["--unknown", "1" * 21]]
)
def test_other_questions_are_refused(here: Here, words: list[str]) -> None:
    here.refused("doctor", *words, code=2)
