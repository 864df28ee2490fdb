"""Several servers: which one is used, and what it takes to read from a standby (`--replica`)."""

from __future__ import annotations

import json
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any, LiteralString

import pytest
from audit import tables
from commands import Here
from conftest import settings_for
from fleet import until
from psycopg.conninfo import make_conninfo
from standby import NAME, PORT, pair
from test_round_trips import COSTS
from workers import psql

from concord.cli.replica import READING
from concord.database import Database
from concord.errors import Bug
from concord.sql import tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Result, Server
    from standby import Pair

NEW = tasks.NewTask("written")

PAUSED: LiteralString = "SELECT 1 WHERE pg_get_wal_replay_pause_state() = 'paused'"


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Pair]:
    """A primary, and a standby that follows it."""
    with pair(server) as made:
        yield made


@pytest.fixture
def name(both: Pair) -> str:
    """The name of this test's own database."""
    return both.database()


@pytest.fixture
def here(
    both: Pair,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    """The command line in this process, on the primary, which knows of the standby."""
    both.caught_up()
    made = Here(both.primary.url(name), tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("CONCORD_REPLICA_URL", both.standby.url(name))
    return made


def host_of(url: str, **flags: str) -> str:
    """Return the server that a connection string leads to."""
    with Database(settings_for(url, **flags), "test") as database:
        return database.connection().info.host


# Which server is used


@pytest.mark.parametrize("standby_first", [False, True])
def test_of_several_servers_the_one_that_accepts_writes_is_used(
    both: Pair, name: str, standby_first: bool
) -> None:
    url = both.url(name, standby_first=standby_first)
    both.caught_up()
    with Database(settings_for(url), "test") as database:
        database.run(tasks.add, NEW)
        assert database.connection().info.host == str(both.primary.directory)


def test_what_is_asked_for_is_used(both: Pair, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    standby = str(both.standby.directory)
    both.caught_up()
    assert host_of(both.url(name, target_session_attrs="standby")) == standby
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    assert host_of(both.url(name)) == standby


def test_one_that_never_answers_is_passed_over_after_its_time_out(both: Pair, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = make_conninfo(
            "",
            host=f"127.0.0.1,{both.primary.directory}",
            port=f"{silent.getsockname()[1]},{PORT}",
            user=NAME,
            dbname=name,
        )
        assert host_of(url, connect_timeout="1s") == str(both.primary.directory)


def test_nobody_who_accepts_writes_is_told_with_all_who_were_asked(
    here: Here, both: Pair, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_conninfo(
        "",
        host=f"127.0.0.1,{both.standby.directory}",
        port=f"1,{PORT}",
        user=NAME,
        dbname=name,
        password="sesame",
    )
    monkeypatch.setenv("CONCORD_DATABASE_URL", url)
    error = here.refused("task", "list", code=7)
    first, second = error.splitlines()[0].split("; ")
    assert first.startswith("error: cannot connect to the database: 127.0.0.1: connection ")
    assert "Connection refused" in first
    assert second.startswith(f"{both.standby.directory}: connection ")
    assert second.endswith("session is read-only")
    assert "Is one of them up that accepts writes" in error
    assert "sesame" not in error
    result = here("doctor", "--json")
    assert (result.code, "sesame" in result.out + result.err) == (7, False)


WRITES = (
    "task add x",
    "task edit 1 --title y",
    "project add web",
    "task claim",
    "undo",
    "import todo-txt new.txt --project API",
    "demo workflow",
    "demo seed --tasks 1 --yes",
)


def test_a_write_that_gets_to_a_standby_says_what_to_do(
    here: Here, both: Pair, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_DATABASE_URL", both.standby.url(name))
    (here.home / "new.txt").write_text("Call\n")
    for command in WRITES:
        error = here.refused(*command.split(), code=7)
        assert error.startswith("error: this server takes no writes: "), command
        assert "name all servers in it" in error, command
    assert here.ok("task", "list") == []
    assert "a standby cannot be watched" in here.refused("watch", code=7)
    result = here("doctor", "--json")
    assert (result.code, result.error["message"]) == (7, "accepts writes: no, it is a standby")
    assert "the one that accepts writes is used" in result.error["hint"]


# Reading from a standby

READS = (
    *("task list", "task list --view mine", "task show 1", "task tree 1", "search written"),
    *("board", "next", "due", "stats", "history", "task log 1", "export jsonl", "export csv"),
    *("project list", "project show api", "tag list", "view list", "view show mine"),
    *("user list", "user show ana"),
)

OTHERS = (
    *("init", "doctor", "config", "help", "alias", "completion bash", "undo --dry-run"),
    *("import jsonl -", "agent run true", "demo workflow", "demo check x", "db explain"),
)
"""Commands beside those of `COSTS`."""


def told(result: Result) -> dict[str, Any]:
    """Return what a command with --json said of where it had read."""
    assert result.code == 0, result
    (line,) = result.err.splitlines()
    notice = json.loads(line)["notice"]
    assert notice["code"] == "replica"
    return notice


def test_all_that_only_reads_reads_from_the_standby_and_says_so(here: Here, both: Pair) -> None:
    assert {name for name in READING if any(f"{one} ".startswith(f"{name} ") for one in READS)} == {
        *READING
    }
    here.ok("project", "add", "api")
    here.ok("task", "add", "written", "--tag", "a", "--due", "today")
    here.ok("view", "save", "mine", "--tag", "a")
    both.caught_up()
    place = str(both.standby.directory)
    for command in READS:
        plain = here(*command.split())
        read = here(*command.split(), "--replica")
        assert (plain.code, plain.err, read.code) == (0, "", 0), (command, plain, read)
        assert read.err.startswith(f"read from the standby {place}, as it was "), command
        assert read.err.count("\n") == 1, command
        if command not in ("next", "task list", "search written"):  # they reckon with the time
            assert read.out == plain.out, command
    assert here("--replica", "task", "list").out == here("task", "list").out
    assert "read from the standby" in here("task", "list", "--replica", "--quiet").err


def test_all_else_is_refused_before_it_does_anything(here: Here, both: Pair, name: str) -> None:
    before = tables(both.primary.url(name))
    for command in (*COSTS, *OTHERS):
        if not any(f"{command} ".startswith(f"{one} ") for one in (*READING, "task log")):
            error = here.refused("--replica", *command.split(), code=2)
            assert error.startswith("error: --replica is for commands that only read"), command
    assert tables(both.primary.url(name)) == before


def test_what_the_standby_has_not_heard_of_is_not_there_and_may_be_missing(
    here: Here, both: Pair
) -> None:
    here.ok("task", "add", "first")
    both.caught_up()
    standby = both.standby.url("postgres")
    psql(standby, "SELECT pg_wal_replay_pause()")
    try:
        until(lambda: psql(standby, PAUSED))
        second = here.ok("task", "add", "second")
        result = here("task", "list", "--replica", "--json")
        assert [task["title"] for task in result.json] == ["first"]
        notice = told(result)
        details = notice["details"]
        assert list(details) == ["host", "standby", "as_of", "behind_s"]
        assert (details["host"], details["standby"]) == (str(both.standby.directory), True)
        assert details["behind_s"] > 0
        assert datetime.fromisoformat(details["as_of"]) < datetime.fromisoformat(
            second["created_at"]
        )
        assert notice["hint"] == f"what was committed after {details['as_of']} may be missing"
    finally:
        psql(standby, "SELECT pg_wal_replay_resume()")
    both.caught_up()
    titles = [task["title"] for task in here("task", "list", "--replica", "--json").json]
    assert titles == ["first", "second"]


def test_how_far_it_is_behind_is_unknown_where_nothing_was_written(here: Here, both: Pair) -> None:
    # It replays from the last checkpoint that both have seen, and there is nothing after that.
    psql(both.primary.url("postgres"), "CHECKPOINT")
    both.caught_up()
    psql(both.standby.url("postgres"), "CHECKPOINT")
    both.standby.stop()
    both.standby.start()
    notice = told(here("task", "list", "--replica", "--json"))
    assert notice["message"].endswith("; how far it is behind is unknown")
    assert (notice["details"]["as_of"], notice["details"]["behind_s"]) == (None, None)
    assert {check["check"]: check["value"] for check in here.ok("doctor")["checks"]}[
        "replica"
    ] == "an unknown time behind"


def test_of_several_a_standby_is_preferred_and_the_primary_better_than_nothing(
    here: Here, both: Pair, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_REPLICA_URL", both.url(name))
    assert told(here("task", "list", "--replica", "--json"))["details"]["standby"] is True
    primary = both.primary.directory
    url = make_conninfo("", host=f"127.0.0.1,{primary}", port=f"1,{PORT}", user=NAME, dbname=name)
    monkeypatch.setenv("CONCORD_REPLICA_URL", url)
    notice = told(here("task", "list", "--replica", "--json"))
    assert notice["message"] == f"read from {primary}, which is no standby"
    assert notice["details"]["standby"] is False
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "read-write")
    monkeypatch.setenv("CONCORD_REPLICA_URL", both.standby.url(name))
    assert told(here("task", "list", "--replica", "--json"))["details"]["standby"] is True


def test_without_a_standby_it_says_how_to_name_one(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONCORD_REPLICA_URL")
    error = here.refused("task", "list", "--replica", code=2)
    assert "no standby is known" in error
    assert "CONCORD_REPLICA_URL" in error
    assert "replica" not in here("doctor", "--quiet").out


def test_a_standby_that_is_away_is_named_without_its_password(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCORD_REPLICA_URL", "postgresql://ana:sesame@127.0.0.1:1/x")
    error = here.refused("task", "list", "--replica", code=7)
    assert error.startswith("error: cannot connect to the standby: ")
    assert "environment CONCORD_REPLICA_URL" in error
    assert "Without --replica the primary is asked." in error
    result = here("doctor", "--json")
    assert (result.code, result.error["details"]) == (7, {"checks": ["replica"]})
    assert "postgresql://ana:***@127.0.0.1:1/x" in here("config").out
    monkeypatch.setenv("CONCORD_REPLICA_URL", "host=x colour=sesame")
    nonsense = here.refused("task", "list", "--replica", code=2)
    assert "replica_url (environment CONCORD_REPLICA_URL) cannot be understood" in nonsense
    assert "sesame" not in error + nonsense + result.out + result.err


def test_a_standby_with_an_older_schema_says_so(here: Here, both: Pair, name: str) -> None:
    psql(both.primary.url(name), "UPDATE alembic_version SET version_num = '0001'")
    both.caught_up()
    error = here.refused("task", "list", "--replica", code=7)
    assert "the standby has schema 0001, this Concord needs " in error
    assert "try again, or without --replica" in error


def test_nothing_that_writes_ever_runs_on_what_may_be_old(both: Pair, name: str) -> None:
    settings = settings_for(both.primary.url(name), replica_url=both.primary.url(name))
    with Database(settings, "test", standby=True) as database, pytest.raises(Bug):
        database.run(tasks.add, NEW)
    assert psql(both.primary.url(name), "SELECT id FROM tasks") == []
