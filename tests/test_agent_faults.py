"""Agents under signals, without a lease, and without a database."""

from __future__ import annotations

import signal
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import CommandLine, settings_for
from fleet import WAITS, Agent, completions, is_running, said, until
from outages import closed, connections, cut
from proxy import Cut, Proxy
from workers import psql

from concord.agent.lease import Lease
from concord.agent.signals import SAME
from concord.database import Database
from concord.sql import claims, listing, tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.crew

STUBBORN = "trap '' TERM; " + WAITS
HOUR, LEASE = timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture(autouse=True)
def task(database: Database) -> None:
    """One task, whose number is 1."""
    database.run(tasks.add, tasks.NewTask("one"))


def state(url: str) -> tuple[str, int, bool]:
    """Return the task's status, the epoch of its last claim, and whether somebody holds it."""
    (row,) = psql(
        url,
        "SELECT t.status::text, c.epoch, c.user_id IS NOT NULL"
        " FROM tasks t JOIN claims c ON c.task_id = t.id",
    )
    return row


def expired(url: str) -> bool:
    return bool(psql(url, "SELECT 1 FROM claims WHERE expires_at < clock_timestamp()"))


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    """Somebody else's way to the database."""
    psql(url, "INSERT INTO users (username) VALUES ('bo')")
    with Database(settings_for(url, user="bo"), "other") as made:
        yield made


def take_over(url: str, other: Database) -> None:
    """Wait until the lease is over, take the task and complete it."""
    until(lambda: expired(url))
    (taken,) = other.run(claims.claim, listing.Filters(), lease=HOUR)
    assert taken.claim is not None
    other.run(claims.complete, 1, taken.claim.epoch)


# Signals


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)]
)
def test_a_signal_stops_the_command_and_gives_its_task_back(
    concord: CommandLine, url: str, number: int, code: int
) -> None:
    with Agent(concord, "sh", "-c", "trap 'echo ended; exit 0' TERM;" + WAITS) as agent:
        agent.begun()
        agent.process.send_signal(number)
        run = agent.run()
        result = agent.end()
    assert (run["outcome"], run["exit"], result.code) == ("stopped", 0, code)
    assert "ended\n" in result.err, "it was asked"
    assert state(url) == ("todo", 1, False)
    (comment,) = said(url, 1)
    assert comment.startswith(f"The agent was stopped ({signal.Signals(number).name}) after ")


def test_a_command_that_does_not_heed_is_killed_with_all_it_started(
    concord: CommandLine, url: str
) -> None:
    script = f"trap '' TERM; ({WAITS.replace('$$', '$BASHPID')}) & wait"
    with Agent(concord, "--grace", "50ms", "bash", "-c", script) as agent:
        _, pid = agent.begun()
        agent.process.send_signal(signal.SIGTERM)
        run = agent.run()
        assert agent.end().code == 0
    assert (run["outcome"], run["signal"]) == ("stopped", "SIGKILL")
    until(lambda: not is_running(pid))
    assert state(url) == ("todo", 1, False)


def test_a_second_signal_kills_at_once(concord: CommandLine, url: str) -> None:
    with Agent(concord, "--grace", "1h", "sh", "-c", STUBBORN) as agent:
        _, pid = agent.begun()

        sent = 0.0

        def interrupted() -> bool:
            nonlocal sent
            if time.monotonic() > sent + 2 * SAME:
                agent.process.send_signal(signal.SIGINT)
                sent = time.monotonic()
            return agent.process.poll() is not None

        until(interrupted)
        result = agent.end()
    # A further one may reach it while it ends already; a shell calls both 130.
    assert result.code in (130, -signal.SIGINT)
    assert result.out == ""
    assert "Traceback" not in result.err
    assert not is_running(pid)
    assert state(url) == ("in_progress", 1, True), "it lapses"


def test_a_signal_while_it_waits_for_a_task_ends_it(
    concord: CommandLine, database: Database, url: str
) -> None:
    database.run(tasks.set_status, [1], "completed")
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with Agent(concord, "--wait", "1h", "true") as agent:
            until(lambda: connections(url, "agent run"))
            assert agent.end(number).code == code


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process of its parent's end"
)
def test_a_command_dies_with_its_agent(concord: CommandLine) -> None:
    with Agent(concord, "sh", "-c", STUBBORN) as agent:
        _, pid = agent.begun()
        assert is_running(pid)
        agent.end(signal.SIGKILL)
        until(lambda: not is_running(pid))


# Leases


def test_a_lease_is_over_for_us_before_it_is_for_the_database() -> None:
    lease = Lease(timedelta(seconds=100), sent=1000)
    assert 1000 < lease.renew_at < lease.renew_at + 10 * lease.retry_after < lease.warn_at
    assert lease.warn_at < lease.end_at < 1100
    before = (lease.renew_at, lease.warn_at, lease.end_at)
    lease.renewed(1033)
    assert (lease.renew_at, lease.warn_at, lease.end_at) == tuple(when + 33 for when in before)


def test_a_lease_is_renewed_while_the_command_runs(concord: CommandLine, url: str) -> None:
    with Agent(concord, "--lease", "1s", "sh", "-c", WAITS) as agent:
        agent.begun()
        claimed = psql(url, "SELECT claimed_at FROM claims")[0][0]
        # Twice as long as the lease it took.
        until(lambda: psql(url, "SELECT max(expires_at) FROM claims")[0][0] > claimed + 3 * LEASE)
        assert agent.go().run()["outcome"] == "completed"
    assert completions(url, 1) == [(1,)]


@pytest.mark.parametrize("how", ["completed", "deleted"])
def test_a_claim_that_others_end_stops_the_command_and_nothing_is_written(
    concord: CommandLine, url: str, other: Database, how: str
) -> None:
    with Agent(concord, "--lease", "1s", "sh", "-c", WAITS) as agent:
        _, pid = agent.begun()
        if how == "completed":
            other.run(tasks.set_status, [1], "completed")
        else:
            other.run(tasks.delete, [1])
        last = psql(url, "SELECT max(id) FROM history")
        run = agent.run()
        result = agent.end()
    assert (run["outcome"], run["signal"], result.code) == ("lost", "SIGTERM", 0)
    assert "the claim of task 1 was lost" in result.err
    assert not is_running(pid)
    assert psql(url, "SELECT max(id) FROM history") == last


@pytest.mark.parametrize("command", ["ended", "running"])
def test_one_that_was_stopped_past_its_lease_does_not_complete_what_is_another_ones(
    concord: CommandLine, url: str, other: Database, command: str
) -> None:
    with Agent(concord, "--lease", "1s", "sh", "-c", WAITS) as agent:
        _, pid = agent.begun()
        agent.process.send_signal(signal.SIGSTOP)
        take_over(url, other)
        if command == "ended":
            agent.go()
            until(lambda: not is_running(pid))
        agent.process.send_signal(signal.SIGCONT)
        run = agent.run()
        assert agent.end().code == 0
    assert run["outcome"] == "lost"
    assert (run["exit"] == 0) == (command == "ended")
    assert state(url) == ("completed", 2, False)
    assert completions(url, 1) == [(2,)]


# Without a database


def test_a_command_does_not_outlive_a_lease_that_cannot_be_renewed(
    concord: CommandLine, url: str
) -> None:
    options = ("--lease", "1s", "--patience", "100ms", "--grace", "1h")
    with Agent(concord, *options, "sh", "-c", STUBBORN) as agent:
        _, pid = agent.begun()
        with closed(url):
            cut(url, "agent run")
            run = agent.run()
            assert not is_running(pid)
            result = agent.end()
    assert (run["outcome"], run["signal"]) == ("lost", "SIGKILL")
    assert result.code == 7, result
    assert state(url) == ("in_progress", 1, True)


def test_a_database_that_comes_back_in_time_is_no_loss(concord: CommandLine, url: str) -> None:
    with Agent(concord, "--lease", "1h", "sh", "-c", WAITS) as agent:
        _, pid = agent.begun()
        with closed(url):
            cut(url, "agent run")
            agent.go()
            until(lambda: not is_running(pid))
        assert agent.run()["outcome"] == "completed"
    assert completions(url, 1) == [(1,)]


@pytest.mark.parametrize("cut_when", [Cut.BEFORE, Cut.AFTER], ids=lambda cut: cut.name)
@pytest.mark.parametrize(("code", "outcome"), [(0, "completed"), (1, "released")])
def test_a_commit_that_nobody_knows_of_is_looked_for(
    concord: CommandLine, url: str, cut_when: Cut, code: int, outcome: str
) -> None:
    # The claim's COMMIT comes through, the one that settles the task is lost.
    with Proxy(url, cut_when, spared=1) as proxy:
        script = f"{WAITS}; exit {code}"
        command = ("--once", "--lease", "1h", "sh", "-c", script)
        with Agent(concord, *command, CONCORD_DATABASE_URL=proxy.url) as agent:
            agent.begun()
            with closed(url):  # so that it cannot ask at once
                agent.go()
                # It asks what became of the COMMIT; then it tries once more.
                until(lambda: proxy.accepted >= 3)
            assert agent.run()["outcome"] == outcome
            assert agent.end().code == 0
    assert state(url) == ("completed" if code == 0 else "todo", 1, False)
    assert completions(url, 1) == ([(1,)] if code == 0 else [])
    assert len(said(url, 1)) == code
