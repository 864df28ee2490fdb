"""Every exit code of the documented table, reached through the real command."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest
from audit import tables
from commands import await_waiting, locked
from conftest import CommandLine, Server, finish
from psycopg import sql
from psycopg.conninfo import make_conninfo
from workers import psql

from concord.database import SCHEMA_HEAD
from concord.errors import EXIT_CODES, ExitCode

if TYPE_CHECKING:
    from pathlib import Path


def test_the_table_has_every_code_once() -> None:
    assert list(EXIT_CODES) == list(ExitCode)
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 70, 130]


def test_0_done(concord: CommandLine) -> None:
    assert concord("task", "list") == concord("task", "list", "--quiet")
    assert concord("task", "list").code == 0


def test_1_refused(concord: CommandLine) -> None:
    concord.ok("task", "add", "one")
    result = concord("user", "delete", "ana", "--yes", "--json")
    assert (result.code, result.out, result.error["code"]) == (1, "", "refused")


def test_2_usage(concord: CommandLine) -> None:
    result = concord("task", "list", "--status", "later", "--json")
    assert (result.code, result.out, result.error["code"]) == (2, "", "usage")


def test_3_not_found(concord: CommandLine) -> None:
    result = concord("task", "done", "404", "--json")
    assert (result.code, result.out, result.error["code"]) == (3, "", "not_found")
    assert result.error["details"] == {"tasks": [404]}


def test_4_conflict(concord: CommandLine) -> None:
    concord.ok("tag", "add", "bug")
    result = concord("tag", "add", "BUG", "--json")
    assert (result.code, result.out, result.error["code"]) == (4, "", "conflict")


@pytest.mark.parametrize("how", [["--nowait"], ["--lock-timeout", "20ms"]], ids=str)
def test_5_contention(concord: CommandLine, url: str, how: list[str]) -> None:
    task = concord.ok("task", "add", "one", "--tag", "bug")["id"]
    before = tables(url)
    with locked(url, task):
        for command in ("start", "assign", "tag late"):
            verb, *options = command.split()
            result = concord("task", verb, str(task), *options, *how, "--json")
            assert (result.code, result.out, result.error["code"]) == (5, "", "contention"), command
            assert result.error["details"]["sqlstate"] == "55P03"
            if how != ["--nowait"]:
                break  # the clause differs by command, the time-out does not
        assert concord("task", "show", str(task)).code == 0, "a lock keeps nobody from reading"
    assert tables(url) == before


def test_5_contention_by_setting(concord: CommandLine, url: str) -> None:
    task = concord.ok("task", "add", "one")["id"]
    with locked(url, task):
        edit = ("task", "edit", str(task), "--title", "two", "--json")
        assert concord(*edit, CONCORD_LOCK_TIMEOUT="20").error["code"] == "contention"
        result = concord(*edit, CONCORD_STATEMENT_TIMEOUT="20ms")
        assert result.code == 5
        assert result.error["details"]["sqlstate"] == "57014"


def test_6_forbidden(concord: CommandLine, url: str) -> None:
    concord.ok("task", "add", "one")
    role = "reader_" + url.partition("dbname=")[2].split()[0]
    with psycopg.connect(url, autocommit=True) as owner:
        name = sql.Identifier(role)
        owner.execute(sql.SQL("CREATE ROLE {}").format(name))
        try:
            owner.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(name))
            as_reader = {"CONCORD_DATABASE_URL": make_conninfo(url, options=f"-c role={role}")}
            assert concord("task", "list", **as_reader).code == 0
            result = concord("task", "done", "1", "--json", **as_reader)
            assert (result.code, result.out, result.error["code"]) == (6, "", "forbidden")
            assert concord("init", "--json", **as_reader).code == 6
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(name))
            owner.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize("command", ["task list", "task add x", "init", "doctor", "demo workflow"])
def test_7_unreachable(concord: CommandLine, command: str) -> None:
    nowhere = {"CONCORD_DATABASE_URL": "postgresql://ana:sesame@127.0.0.1:1/x"}
    result = concord(*command.split(), "--json", **nowhere)
    assert (result.code, result.error["code"]) == (7, "database")
    assert bool(result.out) == (command == "doctor")
    assert "sesame" not in result.out + result.err
    assert "CONCORD_DATABASE_URL" in result.err, "where the URL came from"


def test_7_no_such_database(concord: CommandLine, server: Server) -> None:
    result = concord("task", "list", "--json", CONCORD_DATABASE_URL=server.url("nowhere"))
    assert (result.code, result.error["code"]) == (7, "database")
    assert '"nowhere" does not exist' in result.error["message"]


def test_7_not_initialised(tmp_path: Path, empty_url: str) -> None:
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=empty_url, CONCORD_USER="ana")
    result = concord("task", "list", "--json")
    assert (result.code, result.out, result.error["code"]) == (7, "", "database")
    assert result.error["hint"] == "Run: concord init"
    assert result.error["details"] == {"found": None, "expected": SCHEMA_HEAD}
    assert concord.ok("init") == {"before": None, "schema": SCHEMA_HEAD, "user": "ana"}
    assert concord.ok("task", "list") == []
    assert concord.ok("init")["before"] == SCHEMA_HEAD


def test_7_another_schema(concord: CommandLine, url: str) -> None:
    psql(url, "UPDATE alembic_version SET version_num = '0000'")
    result = concord("task", "list", "--json")
    assert (result.code, result.out) == (7, "")
    assert (
        result.error["message"] == f"the database has schema 0000, this Concord needs {SCHEMA_HEAD}"
    )
    psql(url, "UPDATE alembic_version SET version_num = '9999'")
    result = concord("init", "--json")
    assert (result.code, result.out) == (7, "")
    assert "newer schema" in result.error["message"]


def test_70_bug(concord: CommandLine, url: str) -> None:
    concord.ok("task", "add", "one")
    before = tables(url)
    psql(
        url,
        "CREATE OR REPLACE FUNCTION tasks_record() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION USING MESSAGE = ''broken by hand''; END'",
    )
    result = concord("task", "done", "1", "--json")
    assert (result.code, result.out, result.error["code"]) == (70, "", "bug")
    assert "broken by hand: this is a bug in Concord" in result.error["message"]
    assert result.error["details"]["sqlstate"] == "P0001"
    assert "Traceback" not in result.err
    assert tables(url) == before

    log = concord.home / "state" / "concord" / "log" / "concord.log"
    assert result.error["hint"] == f"Please report it with the log: {log}"
    bugs = [row for row in map(json.loads, log.read_text().splitlines()) if row["event"] == "bug"]
    assert len(bugs) == 1, "told once"
    assert "Traceback" in bugs[0]["exception"]
    assert "RaiseException: broken by hand" in bugs[0]["exception"]
    assert bugs[0]["command"] == "task done"


def test_130_interrupted(concord: CommandLine, url: str) -> None:
    task = concord.ok("task", "add", "one")["id"]
    before = tables(url)
    with locked(url, task) as holder:
        process = concord.start("task", "done", str(task))
        await_waiting(url, "task done", holder)
        process.send_signal(signal.SIGINT)
        result = finish(process)
    assert (result.code, result.out) == (130, "")
    assert result.err == "\ninterrupted; nothing half-done\n"
    assert tables(url) == before
