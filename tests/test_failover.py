"""A primary that is killed, and a standby that takes over: what was acknowledged is there."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, LiteralString

import psutil
import psycopg
import pytest
from conftest import CommandLine, finish, settings_for
from fleet import WAITS, Agent, completions, until
from proxy import Cut, Proxy
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from races import left_behind, lines, of_type, polled
from standby import AWAITING_STANDBY, NAME, PORT, pair
from test_race_faults import AT_COMMIT, race_of
from watchers import Watcher
from workers import psql

from concord.database import Database
from concord.errors import CommitUnknown
from concord.sql import projects, tasks

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from typing import Any

    from conftest import Server
    from standby import Pair

NEW = tasks.NewTask("written")

BEFORE = 5
"""Operations of a race that come through before the others are held up at COMMIT."""

GATE = sql.SQL("""
CREATE FUNCTION {schema}.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sequence > TG_ARGV[0]::bigint THEN
        PERFORM pg_advisory_xact_lock_shared(1);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON {schema}.race_ops DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION {schema}.wait_at_gate({before})
""")

PAUSED: LiteralString = "SELECT 1 WHERE pg_get_wal_replay_pause_state() = 'paused'"


@pytest.fixture(scope="module")
def servers(server: Server) -> Iterator[Pair]:
    with pair(server) as made:
        yield made


@pytest.fixture
def both(servers: Pair) -> Pair:
    """A primary, and a standby that follows it."""
    servers.make_whole()
    return servers


@pytest.fixture
def name(both: Pair) -> str:
    """The name of this test's own database."""
    return both.database()


# COMMIT


@contextmanager
def unreplicated(both: Pair) -> Generator[None]:
    """Let nothing get from the primary to the standby, unless the primary is killed meanwhile."""
    sender = both.primary.process("walsender")
    sender.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            sender.resume()


def await_standby(url: str, command: str, count: int = 1) -> list[int]:
    """Return the backends of a command, once so many of them have only the standby to wait for."""
    with psycopg.connect(url, autocommit=True) as observer:
        found: list[int] = []
        while len(found) < count:
            found = polled(observer, AWAITING_STANDBY, f"concord {command}%")
        return found


def test_a_standby_that_has_yet_to_hear_of_a_commit_does_not_decide_on_it(
    both: Pair, name: str
) -> None:
    standby = both.standby.url("postgres")
    both.caught_up()
    psql(standby, "SELECT pg_wal_replay_pause()")
    try:
        until(lambda: psql(standby, PAUSED))
        with Proxy(both.primary.url(name), Cut.AFTER, last=True) as proxy:
            url = make_conninfo(
                "",
                host=f"127.0.0.1,{both.standby.directory}",
                port=f"{conninfo_to_dict(proxy.url)['port']},{PORT}",
                user=NAME,
                dbname=name,
                target_session_attrs="any",
                sslmode="disable",
                gssencmode="disable",
            )
            with Database(settings_for(url), "test") as database, pytest.raises(CommitUnknown):
                database.run(tasks.add, NEW)
    finally:
        psql(standby, "SELECT pg_wal_replay_resume()")
    assert psql(both.primary.url(name), "SELECT title FROM tasks") == [("written",)]


def test_a_commit_that_was_not_to_wait_for_the_standby_is_not_acknowledged(
    both: Pair, name: str
) -> None:
    url = both.primary.url(name)
    with Database(settings_for(url), "waits") as database, ThreadPoolExecutor(1) as pool:
        with unreplicated(both):
            adding = pool.submit(database.run, tasks.add, NEW)
            (pid,) = await_standby(url, "waits")
            assert not adding.done()
            psql(url, "SELECT pg_cancel_backend(%s)", pid)
            with pytest.raises(CommitUnknown) as raised:
                adding.result()
        assert "synchronous replication" in raised.value.message
        assert database.run(tasks.add, NEW).id == 2, "the connection is as good as before"


@pytest.mark.parametrize("patience", [30, 0])
def test_a_commit_that_is_found_counts_once_the_standby_has_it(
    both: Pair, name: str, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("concord.outcome.DECISION_PATIENCE", patience)
    url = both.primary.url(name)
    with Database(settings_for(url), "waits") as database, ThreadPoolExecutor(1) as pool:
        with unreplicated(both):
            adding = pool.submit(database.run, tasks.add, NEW)
            (pid,) = await_standby(url, "waits")
            psql(url, "SELECT pg_terminate_backend(%s, 30000)", pid)
            if patience:
                # It has found the task, and waits for the standby in its turn.
                assert await_standby(url, "waits") != [pid]
                assert psql(url, "SELECT title FROM tasks") == [("written",)]
                assert not adding.done()
            else:
                with pytest.raises(CommitUnknown):
                    adding.result()
        if patience:
            assert adding.result().title == "written"


# A race


@contextmanager
def held_up(process: subprocess.Popen[str], url: str) -> Generator[psycopg.Connection[Any]]:
    """Yield when a worker of the second race is held up at COMMIT, after some came through."""
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        schema = sql.Identifier(race_of(process, holder, 2))
        holder.execute(GATE.format(schema=schema, before=sql.Literal(str(BEFORE))))
        polled(holder, AT_COMMIT)
        yield holder


def verdict_after(
    process: subprocess.Popen[str], both: Pair, name: str, home: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let the standby take over; return the verdict on the second race, and the log."""
    both.promote()
    result = finish(process)
    log = lines(home / "race.jsonl")
    _, told = [event for event in log if event["type"] == "verdict"]
    assert result.code == 0, result
    assert told["verdict"] == "PROVED", told
    assert left_behind(both.primary.url(name)) == []
    acknowledged = [one for one in of_type(log, "attempt", 2) if one["outcome"] == "ok"]
    ledger = {row["op_id"] for row in of_type(log, "ledger", 2)}
    assert {one["op_id"] for one in acknowledged} <= ledger
    assert told["ok"] == len(acknowledged)
    # The new primary does not know how far the sequence had got, and leaves some numbers out.
    before = [one for one in acknowledged if one["sequence"] <= BEFORE]
    assert len(before) == BEFORE
    assert max(one["sequence"] for one in acknowledged) > BEFORE + 20
    return told, log


def test_a_race_goes_on_with_the_standby_and_no_acknowledged_write_is_lost(
    both: Pair, name: str, tmp_path: Path
) -> None:
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=both.url(name), CONCORD_USER="ana")
    options = ("--strategy", "for-update", "--ops", "20", "--workers", "3", "--no-observer")
    process = concord.start("demo", "race", *options, "--log", "race.jsonl")
    with held_up(process, both.primary.url(name)):
        both.primary.kill()
    told, log = verdict_after(process, both, name, tmp_path)
    assert told["ok"] + told["unknown"] == 60
    # Of the one that was at COMMIT nobody knew; those who waited for it knew that they had failed.
    (unknown,) = [one for one in of_type(log, "attempt", 2) if one["outcome"] == "info"]
    assert unknown["op_id"] not in {row["op_id"] for row in of_type(log, "ledger", 2)}


def test_a_claim_that_the_standby_never_heard_of_is_made_anew_and_none_twice(
    both: Pair, name: str, tmp_path: Path
) -> None:
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=both.url(name), CONCORD_USER="ana")
    options = ("--scenario", "claim", "--strategy", "product", "--workers", "3", "--tasks", "30")
    process = concord.start("demo", "race", *options, "--no-observer", "--log", "race.jsonl")
    url = both.primary.url(name)
    with held_up(process, url) as holder, unreplicated(both):
        holder.execute("SELECT pg_advisory_unlock(1)")
        await_standby(url, "race", 3)
        both.primary.kill()
    _, log = verdict_after(process, both, name, tmp_path)
    claimed = [row["task"] for row in of_type(log, "ledger", 2)]
    assert len(claimed) == len(set(claimed)) == 30


# Agents


def test_agents_go_on_with_the_standby_and_complete_each_task_once(
    both: Pair, name: str, tmp_path: Path
) -> None:
    url = both.primary.url(name)
    with Database(settings_for(url), "test") as database:
        database.run(projects.add, "API")
        shared = tasks.NewTask("written", project="API")
        numbers = [database.run(tasks.add, shared).id for _ in range(5)]
    one, other = (
        CommandLine(home, CONCORD_DATABASE_URL=both.url(name), CONCORD_USER=user)
        for home, user in ((tmp_path / "one", "ana"), (tmp_path / "other", "bo"))
    )
    for command_line in (one, other):
        command_line.home.mkdir()
    working = ("--lease", "1h", "sh", "-c", WAITS)
    with (
        Agent(one, *working) as first,
        Agent(other, *working) as second,
        Watcher(one, "--since", "beginning") as watcher,
    ):
        held = {first.begun()[0], second.begun()[0]}
        watcher.until(lambda change: "claim" in change["new"])
        both.fail_over()
        url = both.primary.url(name)
        ended = [agent.go().end() for agent in (first, second)]
        ids = [number for (number,) in psql(url, "SELECT id FROM history ORDER BY id")]
        seen = watcher.until(lambda change: change["id"] == ids[-1])
    assert [result.code for result in ended] == [0, 0], ended
    runs = [json.loads(line) for result in ended for line in result.out.splitlines()]
    assert len(held) == 2
    assert sorted(run["task"] for run in runs) == numbers
    assert {(run["outcome"], run["epoch"]) for run in runs} == {("completed", 1)}
    assert [completions(url, number) for number in numbers] == [[(1,)]] * 5
    assert sorted(change["id"] for change in seen) == ids, "each once"


def test_a_task_whose_completion_went_down_with_the_primary_is_completed_once(
    both: Pair, name: str, tmp_path: Path
) -> None:
    url = both.primary.url(name)
    with Database(settings_for(url), "test") as database:
        database.run(tasks.add, NEW)
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=both.url(name), CONCORD_USER="ana")
    with Agent(concord, "--lease", "1h", "--once", "sh", "-c", WAITS) as agent:
        agent.begun()
        with unreplicated(both):
            agent.go()
            await_standby(url, "agent run")
            both.primary.kill()
        both.promote()
        assert agent.run()["outcome"] == "completed"
        assert agent.end().code == 0
    assert completions(both.primary.url(name), 1) == [(1,)]
