"""Death in a race: it ends by itself, and never says more than it knows."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, LiteralString

import psutil
import psycopg
import pytest
from conftest import CommandLine, Server, finish, open_directory, settings_for
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from races import SCHEMAS, SESSIONS, left_behind, lines, of_type, polled
from workers import psql

from concord import embedded, migrate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator, Iterator
    from pathlib import Path


BACKEND: LiteralString = """
SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'concord race %%/' || %s
"""

AT_COMMIT: LiteralString = """
SELECT pid FROM pg_stat_activity
WHERE application_name LIKE 'concord race %' AND query = 'COMMIT' AND wait_event = 'advisory'
"""

GATE: LiteralString = """
CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON race_ops DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait_at_gate()
"""

GUARDED = ("--strategy", "for-update", "--ops", "20", "--log", "race.jsonl", "--json")


def race_of(
    process: subprocess.Popen[str], connection: psycopg.Connection[Any], number: int
) -> str:
    """Return the scratch schema as soon as its race of this number is prepared."""
    while process.poll() is None:
        for (schema,) in connection.execute(SCHEMAS).fetchall():
            projects = sql.Identifier(schema, "projects")
            query = sql.SQL("SELECT FROM {} WHERE key = %s").format(projects)
            # It may not have been created yet.
            with suppress(psycopg.errors.UndefinedTable):
                if connection.execute(query, (f"RACE{number}",)).rowcount:
                    return schema
    raise AssertionError(f"it ended before race {number}: {finish(process)}")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that raced: those that a server process of the command forked."""
    forked = [
        child for helper in psutil.Process(process.pid).children() for child in helper.children()
    ]
    return sorted(forked, key=lambda child: (child.create_time(), child.pid))


@contextmanager
def gated(
    process: subprocess.Popen[str], url: str, *, at_commit: bool = False
) -> Generator[psycopg.Connection]:
    """Yield when the workers of the second race stand at a gate, which opens afterwards.

    They stand where they enter what they did into the ledger, or at COMMIT.
    """
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        schema = race_of(process, holder, 2)
        table = sql.Identifier(schema, "race_ops")
        with psycopg.connect(url) as gate:
            gate.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(table))
            if at_commit:
                gate.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
                gate.execute(GATE)
                gate.commit()
                polled(holder, AT_COMMIT)
            else:
                blocked = "SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
                polled(holder, blocked, gate.info.backend_pid)
            yield holder


def await_end_of_all(processes: list[psutil.Process]) -> None:
    """Return once processes are gone, or only wait for somebody to ask what became of them."""
    for _ in range(100_000):
        with suppress(psutil.NoSuchProcess):
            processes = [
                one
                for one in processes
                if one.is_running() and one.status() != psutil.STATUS_ZOMBIE
            ]
        if not processes:
            return
    raise AssertionError(f"still there: {processes}")


def results_of(home: Path) -> list[dict[str, Any]]:
    """Return the verdicts in a log."""
    return [event for event in lines(home / "race.jsonl") if event["type"] == "verdict"]


# Processes and sessions that are killed in the middle of a run


@pytest.fixture
def home(concord: CommandLine) -> Path:
    return concord.home


def test_a_worker_killed_in_its_transaction_fails_the_run_and_not_the_verdict(
    concord: CommandLine, url: str, home: Path
) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "4", "--no-observer")
    with gated(process, url):
        victim = workers_of(process)[2]
        victim.kill()
        await_end_of_all([victim])
    result = finish(process)
    assert result.code == 1, result
    assert "Traceback" not in result.err
    assert "PROVED, but a worker died" in result.error["message"]
    log = lines(home / "race.jsonl")
    ends = {one["worker"]: (one["ended"], one["why"]) for one in of_type(log, "worker", 2)}
    assert ends == {**dict.fromkeys(range(4), ("done", None)), 2: ("died", "killed by SIGKILL")}
    (unknown,) = [one for one in of_type(log, "attempt", 2) if one["outcome"] == "info"]
    assert (unknown["worker"], unknown["op_id"], unknown["end"]) == (2, 3, None)
    assert 3 not in {row["op_id"] for row in of_type(log, "ledger", 2)}
    _, guarded = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("PROVED", 60, 1)
    assert left_behind(url) == []
    assert concord("demo", "check", "race.jsonl").code == 1


def test_a_worker_killed_at_commit_may_have_done_it(
    concord: CommandLine, url: str, home: Path
) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "2", "--no-observer")
    with gated(process, url, at_commit=True) as holder:
        victims = workers_of(process)
        for victim in victims:
            victim.kill()
        await_end_of_all(victims)
        # The transaction is done to the last statement; its client will not hear of it.
        holder.execute("SELECT pg_advisory_unlock(1)")
    result = finish(process)
    assert result.code == 1, result
    log = lines(home / "race.jsonl")
    assert {one["why"] for one in of_type(log, "worker", 2)} == {"killed by SIGKILL"}
    unknown = {one["op_id"] for one in of_type(log, "attempt", 2)}
    assert unknown == {1, 2}
    entered = {row["op_id"] for row in of_type(log, "ledger", 2)}
    assert entered <= unknown
    (state,) = [one for one in of_type(log, "state", 2) if one["when"] == "after"]
    assert state["value"] == len(entered)
    _, guarded = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("INCONCLUSIVE", 0, 2)


def test_without_its_observer_a_run_goes_on(concord: CommandLine, url: str, home: Path) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "3")
    with gated(process, url):
        observer, *workers = workers_of(process)
        assert len(workers) == 3
        observer.kill()
        await_end_of_all([observer])
    result = finish(process)
    assert (result.code, result.err) == (0, ""), result
    log = lines(home / "race.jsonl")
    assert [one["complete"] for one in log if one["type"] == "observer"] == [True, False]
    assert {one["ended"] for one in of_type(log, "worker", 2)} == {"done"}
    assert results_of(home)[1]["verdict"] == "PROVED"


@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_a_session_that_is_ended_while_it_waits_is_replaced(
    concord: CommandLine, url: str, home: Path, strategy: str
) -> None:
    process = concord.start(
        "demo", "race", *GUARDED[2:], "--strategy", strategy, "--workers", "3", "--no-observer"
    )
    with gated(process, url) as holder:
        (pid,) = polled(holder, BACKEND, "1")
        holder.execute("SELECT pg_terminate_backend(%s, 60000)", (pid,))
    result = finish(process)
    assert (result.code, result.err) == (0, ""), result
    log = lines(home / "race.jsonl")
    ended = next(one for one in of_type(log, "attempt", 2) if one["worker"] == 1)
    assert (ended["outcome"], ended["retry"], ended["again"]) == ("fail", 0, True)
    # Of several statements sent together, libpq may miss the server's last message: it then knows
    # that the connection is gone, and not why.
    assert ended["sqlstate"] in {"57P01"} | ({None} if strategy == "product" else set())
    (_, guarded) = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("PROVED", 60, 0)
    pids = {
        one["pid"]
        for one in of_type(log, "attempt", 2)
        if one["worker"] == 1 and one["outcome"] == "ok"
    }
    assert len(pids) == 1
    assert pid not in pids


def test_a_session_that_is_ended_at_commit_leaves_an_unknown(
    concord: CommandLine, url: str, home: Path
) -> None:
    process = concord.start("demo", "race", *GUARDED, "--workers", "3", "--no-observer")
    with gated(process, url, at_commit=True) as holder:
        (pid,) = polled(holder, AT_COMMIT)
        holder.execute("SELECT pg_terminate_backend(%s, 60000)", (pid,))
        holder.execute("SELECT pg_advisory_unlock(1)")
    result = finish(process)
    assert (result.code, result.err) == (0, ""), result
    log = lines(home / "race.jsonl")
    (unknown,) = [one for one in of_type(log, "attempt", 2) if one["outcome"] == "info"]
    assert (unknown["pid"], unknown["sqlstate"]) == (pid, "57P01")
    assert unknown["op_id"] not in {row["op_id"] for row in of_type(log, "ledger", 2)}
    _, guarded = results_of(home)
    assert (guarded["verdict"], guarded["ok"], guarded["unknown"]) == ("PROVED", 59, 1)


def test_a_worker_that_cannot_connect_ends_the_run(concord: CommandLine, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF current_setting('application_name') LIKE 'concord race %/2' THEN
                    RAISE EXCEPTION 'no room for you';
                END IF;
            END $$
        """)
        connection.execute("CREATE EVENT TRIGGER refuse ON login EXECUTE FUNCTION refuse()")
    result = concord("demo", "race", *GUARDED[:4], "--workers", "4", "--json")
    assert result.code not in (0, 1), result
    assert result.error["code"] == "database"
    assert "process 2 did not reach the start" in result.error["message"]
    assert "no room for you" in result.error["message"]
    assert result.out == ""
    assert psql(url, SESSIONS) == []
    assert left_behind(url) == []


# The command itself is ended


def test_ctrl_c_leaves_nothing(concord: CommandLine, url: str) -> None:
    process = concord.start("demo", "race", "--duration", "600", start_new_session=True)
    with psycopg.connect(url, autocommit=True) as connection:
        race_of(process, connection, 1)
        polled(connection, BACKEND, "7")
        workers = workers_of(process)
        assert len(workers) == 9, "eight, and the observer"
        os.killpg(process.pid, signal.SIGINT)
    result = finish(process)
    assert (result.code, result.out) == (130, ""), result
    assert "Traceback" not in result.err
    assert not any(one.is_running() for one in workers)
    assert left_behind(url) == []
    assert psql(url, SESSIONS) == []


def test_what_a_killed_run_leaves_the_next_one_clears(concord: CommandLine, url: str) -> None:
    process = concord.start("demo", "race", *GUARDED[:4], "--workers", "4")
    with gated(process, url):
        workers = workers_of(process)
        assert len(workers) == 5, "four, and the observer"
        process.kill()
        # They end by themselves, though they are in the middle of a transaction.
        await_end_of_all(workers)
    result = finish(process)
    assert (result.code, result.err) == (-signal.SIGKILL, ""), result
    assert len(left_behind(url)) == 1
    concord.ok("demo", "race", "--strategy", "none", "--ops", "20")
    assert left_behind(url) == []


# The server is ended


@pytest.fixture(scope="module")
def own_server() -> Iterator[Path]:
    """The directory of a server that a test may stop."""
    directory = open_directory()
    try:
        embedded.start(directory)
        settings = settings_for(embedded.conninfo(directory, owner=True))
        migrate.upgrade(settings)
        with psycopg.connect(embedded.conninfo(directory, owner=True)) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('ana')")
        yield directory
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


def crash(directory: Path, pid: int) -> None:
    """Kill a process of the server, which then ends all others and recovers."""
    del directory
    os.kill(pid, signal.SIGKILL)


def restart(directory: Path, pid: int) -> None:
    """Stop the server and start it again."""
    del pid
    embedded.stop(directory)
    embedded.start(directory)


@pytest.fixture
def own_url(own_server: Path) -> Iterator[str]:
    """A database of this test's own, on the server that it may stop."""
    server = Server(conninfo_to_dict(embedded.conninfo(own_server, owner=True)))
    with server.janitor("race", "concord") as janitor:
        yield server.url(janitor.dbname)


@pytest.mark.parametrize("end", [crash, restart])
@pytest.mark.parametrize("strategy", ["for-update", "product"])
def test_a_server_that_ends_at_commit_and_comes_back(
    own_server: Path, own_url: str, tmp_path: Path, end: Any, strategy: str
) -> None:
    url = own_url
    concord = CommandLine(tmp_path, CONCORD_DATABASE_URL=url, CONCORD_USER="ana")
    process = concord.start("demo", "race", *GUARDED[2:], "--strategy", strategy, "--workers", "3")
    with suppress(psycopg.OperationalError), gated(process, url, at_commit=True) as holder:
        (pid,) = polled(holder, AT_COMMIT)
        end(own_server, pid)
    result = finish(process)
    assert "Traceback" not in result.err, result
    log = lines(tmp_path / "race.jsonl")
    _, guarded = results_of(tmp_path)
    assert guarded["verdict"] == "PROVED", guarded["witness"] or guarded["reason"]
    assert guarded["ok"] + guarded["unknown"] == 60
    assert result.code == 0, result
    assert [one["complete"] for one in log if one["type"] == "observer"] == [True, False]
    assert {one["ended"] for one in of_type(log, "worker", 2)} == {"done"}
    entered = {row["op_id"] for row in of_type(log, "ledger", 2)}
    unknown = {one["op_id"] for one in of_type(log, "attempt", 2) if one["outcome"] == "info"}
    assert len(entered - unknown) == guarded["ok"]
