"""Through PgBouncer, which hands out another session for each transaction."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, LiteralString

import pytest
from commands import Here, await_waiting, locked
from conftest import CommandLine, finish, settings_for
from fleet import Agent
from pooler import PREPARED, pooler, state
from proxy import Cut, Proxy
from steps import Observer, Session
from test_round_trips import COSTS
from watchers import Watcher
from workers import Gate, psql

from concord.database import Database, Isolation, Operation
from concord.errors import DatabaseUnavailable
from concord.scratch import scratch_schema
from concord.sql import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from concord.database import Record, Transaction

pytestmark = pytest.mark.crew

MORE = (
    "init",
    "doctor",
    "db explain",
    "task edit 1 --priority low",
    "undo --dry-run",
    "undo",
    "export jsonl tasks.jsonl",
    "import jsonl tasks.jsonl",
    "import todo-txt new.txt --project api",
    "agent run --once true",
    "demo workflow",
    "demo seed --tasks 5 --project-prefix s- --yes",
)
"""What `COSTS` has no place for, in an order in which all work."""

BLOCKED: LiteralString = """
SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pg_blocking_pids(pid) <> '{}'
"""


class Crowd(Observer):
    """Sees how many wait, of those who have no session of their own to be known by."""

    expected = 1

    def blockers(self, pid: int) -> list[int]:
        """Return who is waited for, once as many wait as are expected to."""
        waiting = self._connection.execute(BLOCKED).fetchall()
        return [one for _, ahead in waiting for one in ahead] * (len(waiting) >= self.expected)


@pytest.fixture(params=PREPARED)
def pooled(request: pytest.FixtureRequest, url: str) -> Iterator[str]:
    """This test's database by way of a pooler that has one session for all."""
    with pooler(url, prepared=request.param) as made:
        yield made


@pytest.fixture
def here(
    pooled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    return Here(pooled, tmp_path, monkeypatch, capsys)


def databases(url: str, *users: str, **flags: str) -> list[Database]:
    """Return a way to a database for each user."""
    return [Database(settings_for(url, user=user, **flags), "test") for user in users]


def actors(url: str) -> list[tuple[str, str]]:
    """Return the title that each task got at first, and who is on record for that."""
    return psql(url, "SELECT new ->> 'title', actor FROM history WHERE version = 1 ORDER BY id")


def test_all_commands_share_one_session_and_leave_nothing_in_it(here: Here, pooled: str) -> None:
    (here.home / "new.txt").write_text("(A) Call +api due:2026-01-01\n")
    before = state(pooled)
    for command in (*COSTS, *MORE):
        result = here(*command.split())
        assert result.code == 0, (command, result)
        assert state(pooled) == before, command


def test_doctor_says_that_there_is_one(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> str:
        checks = here.ok("doctor")["checks"]
        return {check["check"]: check["value"] for check in checks}["pooler"]

    assert told() == "yes: each transaction may get another session"
    monkeypatch.setenv("CONCORD_DATABASE_URL", url)
    assert told() == "none"


def test_one_that_splits_transactions_is_found_out(
    here: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pooler(url, mode="statement") as splitting:
        monkeypatch.setenv("CONCORD_DATABASE_URL", splitting)
        result = here("doctor", "--json")
        assert (result.code, result.error["details"]) == (7, {"checks": ["pooler"]})
        assert result.error["hint"] == "Set its pool_mode to transaction."
        here.refused("task", "add", "x", code=7)
    assert psql(url, "SELECT id FROM tasks") == []


def test_users_with_one_session_between_them_act_under_their_own_names(
    pooled: str, url: str
) -> None:
    psql(url, "INSERT INTO users (username) VALUES ('bo')")
    (ana,) = databases(pooled, "ana", lock_timeout="1ms", statement_timeout="1h")
    (bo,) = databases(pooled, "bo")
    with ana, bo:
        for number in range(3):
            for name, database in (("ana", ana), ("bo", bo)):
                database.run(tasks.add, tasks.NewTask(f"{name} {number}"))
    assert actors(url) == [(f"{name} {n}", name) for n in range(3) for name in ("ana", "bo")]


def test_a_crowd_on_two_sessions_never_takes_a_name_for_another(url: str) -> None:
    users = [f"user{number}" for number in range(8)]
    psql(url, "INSERT INTO users (username) SELECT 'user' || n FROM generate_series(0, 7) AS n")

    def work(user: str) -> None:
        (database,) = databases(pooled, user)
        with database:
            for _ in range(10):
                database.run(tasks.add, tasks.NewTask(user))

    with pooler(url, size=2) as pooled, ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(work, users))
    found = actors(url)
    assert len(found) == 80
    assert all(title == actor for title, actor in found)


def test_of_two_on_two_sessions_the_second_waits_for_the_first(url: str) -> None:
    psql(url, "INSERT INTO users (username) VALUES ('bo')")
    gate = Gate(url)
    with pooler(url, size=2) as pooled, Crowd(url) as observer:
        ana, bo = ((Session(observer, 0, one.close), one) for one in databases(pooled, "ana", "bo"))
        try:
            task = ana[1].run(tasks.add, tasks.NewTask("x")).id
            edit = gate.before_commit(tasks.edit)
            first = ana[0].send(ana[1].run, edit, [task], {"priority": "high"})
            assert not first.done()
            observer.expected = 2
            second = bo[0].send(bo[1].run, tasks.edit, [task], {"description": "hers"})
            assert not second.done()
            gate.open()
            assert first.result()[0].version == 2
            assert second.result()[0].version == 3
        finally:
            gate.close()
            for session, _ in (ana, bo):
                session.close()
    (task_now,) = psql(url, "SELECT priority::text, description, version FROM tasks")
    assert task_now == ("high", "hers", 3)
    assert psql(url, "SELECT actor FROM history WHERE version > 1 ORDER BY version") == [
        ("ana",),
        ("bo",),
    ]


# A lost COMMIT


def add(url: str, records: list[Record]) -> None:
    with Database(settings_for(url), "test", observe=records.append) as database:
        database.run(tasks.add, tasks.NewTask("written"))


def before_the_pooler(url: str, cut: Cut, records: list[Record]) -> None:
    with pooler(url) as pooled, Proxy(pooled, cut) as proxy:
        add(proxy.url, records)


def behind_the_pooler(url: str, cut: Cut, records: list[Record]) -> None:
    with Proxy(url, cut) as proxy, pooler(proxy.url) as pooled:
        add(pooled, records)


@pytest.mark.parametrize("where", [before_the_pooler, behind_the_pooler])
def test_a_commit_whose_answer_was_lost_is_found_in_history(
    url: str, where: Callable[[str, Cut, list[Record]], None]
) -> None:
    records: list[Record] = []
    where(url, Cut.AFTER, records)
    assert [(record.attempt, record.outcome) for record in records] == [(1, "done")]
    assert psql(url, "SELECT title FROM tasks") == [("written",)]


@pytest.mark.parametrize("where", [before_the_pooler, behind_the_pooler])
def test_a_commit_that_never_arrived_wrote_nothing(
    url: str, where: Callable[[str, Cut, list[Record]], None]
) -> None:
    with pytest.raises(DatabaseUnavailable, match="nothing was written"):
        where(url, Cut.BEFORE, [])
    assert psql(url, "SELECT title FROM tasks") == []


def test_a_session_that_ends_in_a_transaction_takes_nothing_with_it(pooled: str, url: str) -> None:
    (ana,) = databases(pooled, "ana")
    with ana:

        def end(tx: Transaction) -> None:
            tasks.add(tx, tasks.NewTask("lost"))
            psql(
                url, "SELECT pg_terminate_backend(%s, 30000)", tx.scalar("SELECT pg_backend_pid()")
            )
            tx.execute("SELECT 1")

        with pytest.raises(DatabaseUnavailable):
            ana.run(Operation(end, Isolation.READ_COMMITTED, read_only=False))
        ana.run(tasks.add, tasks.NewTask("kept"))
    assert psql(url, "SELECT title FROM tasks") == [("kept",)]


def test_ctrl_c_ends_what_waits_on_the_server(concord: CommandLine, url: str) -> None:
    with pooler(url) as pooled:
        concord.environment["CONCORD_DATABASE_URL"] = pooled
        concord.ok("task", "add", "one")
        with locked(url, 1) as holder:
            process = concord.start("task", "done", "1")
            await_waiting(url, "task done", holder)
            process.send_signal(signal.SIGINT)
            result = finish(process)
            assert (result.code, result.out) == (130, ""), result
        # The session is free again.
        assert concord.ok("task", "show", "1")["status"] == "todo"


# Scratch schemas


def test_two_scratch_schemas_of_one_session_are_two(pooled: str, url: str) -> None:
    settings = settings_for(pooled)
    with scratch_schema(settings, "demo") as one:
        with scratch_schema(settings, "demo") as other:
            assert one != other
            assert {one, other} <= {name for (name,) in schemas(url)}
        # Another session, as a pooler makes from time to time.
        psql(url, "SELECT pg_terminate_backend(%s, 30000)", state(pooled)[0])
        with scratch_schema(settings, "demo"):
            assert (one,) in schemas(url), "it is in use"
    assert schemas(url) == []


def test_a_scratch_schema_of_long_ago_is_cleared(pooled: str, url: str) -> None:
    psql(url, "CREATE SCHEMA concord_scratch_until_1700000000000000_1")
    with scratch_schema(settings_for(pooled), "demo") as schema:
        assert schemas(url) == [(schema,)]


def schemas(url: str) -> list[tuple[Any, ...]]:
    return psql(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'concord%'")


# Processes


def test_agents_and_watches_go_on_over_shared_sessions(concord: CommandLine, url: str) -> None:
    with pooler(url, size=2) as pooled:
        concord.environment["CONCORD_DATABASE_URL"] = pooled
        with Database(settings_for(url), "test") as database:
            for number in range(4):
                database.run(tasks.add, tasks.NewTask(str(number)))
        with (
            Watcher(concord, "--since", "beginning") as watcher,
            Agent(concord, "true") as one,
            Agent(concord, "true") as other,
        ):
            ended = [
                json.loads(line) for agent in (one, other) for line in agent.end().out.splitlines()
            ]
            last = psql(url, "SELECT max(id) FROM history")[0][0]
            seen = watcher.until(lambda change: change["id"] == last)
    assert sorted(run["task"] for run in ended) == [1, 2, 3, 4]
    assert {run["outcome"] for run in ended} == {"completed"}
    ids = [change["id"] for change in seen]
    assert sorted(ids) == [number for (number,) in psql(url, "SELECT id FROM history ORDER BY id")]


def test_a_race_on_fewer_sessions_than_workers_is_proved(concord: CommandLine, url: str) -> None:
    options = ("--strategy", "for-update", "--strategy", "product", "--workers", "3", "--ops", "10")
    with pooler(url, size=2) as pooled:
        concord.environment["CONCORD_DATABASE_URL"] = pooled
        results = concord.ok("demo", "race", *options, "--think", "2", "--no-observer")
    verdicts = {one["strategy"]: one["verdict"] for one in results["results"]}
    assert verdicts == {"none": "VIOLATED", "for-update": "PROVED", "product": "PROVED"}
    assert schemas(url) == []


@pytest.mark.parametrize("command", ["demo step g2-item", "demo anomalies --scenario g2-item"])
def test_what_needs_whole_sessions_says_what_to_do(here: Here, command: str) -> None:
    error = here.refused(*command.split(), code=2)
    assert "a pooler stands between us and the server" in error
    assert "Give the server's own address in CONCORD_DATABASE_URL" in error
