"""A client whose clock is wrong, beside others: moments and leases are the server's."""

from __future__ import annotations

import socket
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, LiteralString

import clocks
import psycopg
import pytest
from audit import check_history
from conftest import finish
from fleet import WAITS, Agent, completions, until
from psycopg import sql
from together import all_at_once, expire
from workers import psql

from concord.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands import Here
    from conftest import CommandLine

pytestmark = [
    pytest.mark.crew,
    pytest.mark.skipif(clocks.LIBRARY is None, reason=clocks.REASON),
]

FAR = ("+400d", "-400d")

COLUMNS: LiteralString = """
SELECT table_name, column_name FROM information_schema.columns
JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
  AND data_type = 'timestamp with time zone'
  -- What somebody said, and what is to come.
  AND column_name NOT IN ('due', 'expires_at')
"""


def moments(url: str) -> list[datetime]:
    """Return all that is told of when something was done."""
    one = sql.SQL("SELECT {1} FROM {0} WHERE {1} IS NOT NULL")
    columns = [map(sql.Identifier, column) for column in psql(url, COLUMNS)]
    with psycopg.connect(url) as connection:
        found = connection.execute(sql.SQL(" UNION ALL ").join(one.format(*c) for c in columns))
        return [moment for (moment,) in found]


def server_time(url: str) -> datetime:
    ((moment,),) = psql(url, "SELECT clock_timestamp()")
    return moment


def lease_end(url: str, task: int) -> datetime:
    ((end,),) = psql(url, "SELECT expires_at FROM claims WHERE task_id = %s", task)
    return end


@pytest.fixture
def during(url: str) -> Iterator[None]:
    """In the end all moments are within the test, by the server's clock, and history in order."""
    known, before = Counter(moments(url)), server_time(url)
    yield
    told = Counter(moments(url)) - known
    assert len(told) > 3
    assert before <= min(told) <= max(told) <= server_time(url)
    history = [moment for (moment,) in psql(url, "SELECT at FROM history ORDER BY id")]
    assert history == sorted(history)
    check_history(url)


@pytest.mark.parametrize("offset", FAR)
@pytest.mark.usefixtures("during")
def test_moments_are_the_server_s_and_days_those_of_whoever_names_them(
    concord: CommandLine, here: Here, url: str, offset: str
) -> None:
    wrong = clocks.skewed(offset)
    there = server_time(url) + timedelta(days=int(offset[:-1]))
    made = concord.ok("task", "add", "x", "--due", "+3d", "--tag", "a", "--assign", "me", **wrong)
    assert datetime.fromisoformat(made["due"]).date() == (there + timedelta(days=3)).date()
    here.ok("task", "edit", "1", "--title", "y")
    concord.ok("task", "edit", "1", "--due", "none", "--if-version", "2", **wrong)
    here.ok("task", "done", "1")
    # What was the last, history says by its order and not by anybody's clock.
    concord.ok("undo", **wrong)
    task = here.ok("task", "show", "1")
    assert (task["status"], task["title"], task["due"]) == ("todo", "y", None)


def test_doctor_tells_whose_clock_is_wrong(concord: CommandLine) -> None:
    told = concord("doctor", "--json", **clocks.skewed("-50m"))
    assert told.code == ExitCode.DATABASE
    (failed,) = [check for check in told.json["checks"] if not check["ok"]]
    assert failed["check"] == "clock difference"
    assert failed["value"].startswith("+300")


@pytest.mark.parametrize("offset", FAR)
@pytest.mark.usefixtures("during")
def test_a_lease_is_held_and_ends_by_the_server_s_clock(
    concord: CommandLine, here: Here, url: str, offset: str
) -> None:
    wrong = clocks.skewed(offset)
    here.ok("user", "add", "bo")
    here.ok("task", "add", "x")
    here.ok("task", "claim", "--lease", "1h")
    as_bo = ("--as", "bo", "--lease", "1h")
    assert concord("task", "claim", *as_bo, **wrong).code == ExitCode.EMPTY, "it is held"
    expire(url, 1)
    claimed = concord.ok("task", "claim", *as_bo, **wrong)
    assert (claimed["id"], claimed["claim"]["epoch"]) == (1, 2)
    left = lease_end(url, 1) - server_time(url)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    here.refused("task", "claim", code=ExitCode.EMPTY)
    here.refused("task", "done", "1", "--epoch", "1", code=ExitCode.CONFLICT)
    expire(url, 1)
    late = concord("task", "renew", "1", "--epoch", "2", *as_bo, **wrong)
    assert late.code == ExitCode.CONFLICT, late


@pytest.mark.usefixtures("during")
def test_of_claims_by_any_clock_exactly_one_wins(
    concord: CommandLine, here: Here, url: str
) -> None:
    here.ok("task", "add", "x")
    turned = [{}, *map(clocks.skewed, clocks.OFFSETS)]
    psql(url, "INSERT INTO users (username) SELECT 'u' || n FROM generate_series(1, 9) AS n")
    with all_at_once(url, len(turned)):
        started = [
            concord.start(
                *("task", "claim", "--as", f"u{n}", "--json"),
                env=concord.environment | {"CONCORD_LOCK_TIMEOUT": "8h"} | environment,
            )
            for n, environment in enumerate(turned, start=1)
        ]
    codes = sorted(finish(process).code for process in started)
    assert codes == [ExitCode.OK, *[ExitCode.EMPTY] * len(clocks.OFFSETS)]


@pytest.mark.usefixtures("during")
def test_an_agent_keeps_its_lease_while_its_clock_jumps(
    concord: CommandLine, here: Here, url: str, tmp_path: Path
) -> None:
    here.ok("task", "add", "x")
    off = tmp_path / "off"
    off.write_text("+0")
    options = ("--once", "--lease", "2s", "--grace", "1s")
    with Agent(concord, *options, "sh", "-c", WAITS, **clocks.jumping(off)) as agent:
        agent.begun()
        for offset in FAR:
            end = lease_end(url, 1)
            off.write_text(offset)
            until(lambda end=end: lease_end(url, 1) > end)
        here.refused("task", "claim", code=ExitCode.EMPTY)
        run = agent.go().run()
        assert (run["outcome"], run["epoch"]) == ("completed", 1)
        assert 0 < run["seconds"] < 3600
        assert agent.end().code == ExitCode.OK
    assert completions(url, 1) == [(1,)]


def test_time_outs_end_though_the_clock_goes_back(
    concord: CommandLine, here: Here, tmp_path: Path
) -> None:
    off = tmp_path / "off"
    off.write_text("+0")
    environment = concord.environment | clocks.jumping(off)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = f"postgresql://ana@127.0.0.1:{silent.getsockname()[1]}/x"
        limits = {"CONCORD_CONNECT_TIMEOUT": "1s", "CONCORD_DATABASE_URL": away}
        waiting = concord.start("task", "list", env=environment | limits)
        with silent.accept()[0] as connection:
            connection.recv(1)
            off.write_text("-400d")
            assert finish(waiting).code == ExitCode.DATABASE
    off.write_text("+0")
    here.ok("task", "add", "x")
    watching = concord.start("watch", "--since", "0", "--for", "1s", "--jsonl", env=environment)
    assert watching.stdout is not None
    assert watching.stdout.readline()
    off.write_text("-400d")
    assert finish(watching).code == ExitCode.OK
