"""`concord watch` as a process: among writers, interrupted, cut off, and without a reader."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from commands import Here, Terminal, plain
from conftest import TIMEOUT, finish
from outages import closed, cut
from watchers import Watcher, writer
from workers import Workers, psql

from concord.sql import tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import CommandLine

    from concord.database import Database

WRITERS, ROUNDS = 8, 25


def committed(url: str) -> dict[int, str]:
    """Return what history holds: id → transaction."""
    return dict(psql(url, "SELECT id, xid::text FROM history ORDER BY id"))


def in_commit_order(changes: Iterable[dict[str, Any]]) -> bool:
    """Whether each task's versions rise, and each transaction's changes stand together."""
    versions: dict[int, int] = {}
    over: set[str] = set()
    current = None
    for change in changes:
        if change["xid"] != current:
            over |= {current} if current else set()
            current = change["xid"]
        if current in over:
            return False
        if change["entity"] == "task":
            if change["version"] < versions.get(change["task"], 0):
                return False
            versions[change["task"]] = change["version"]
    return True


@pytest.fixture
def eight(concord: CommandLine, database: Database) -> Database:
    """A database of eight tasks that all fight for."""
    for number in range(8):
        database.run(tasks.add, tasks.NewTask(f"contested {number}"))
    return database


def test_among_eight_writers_every_change_is_printed_once_and_in_order(
    concord: CommandLine, eight: Database, url: str
) -> None:
    before = set(committed(url))
    with Watcher(concord, "--since", "beginning") as watcher, Workers(url) as workers:
        watcher.until_title("contested 7")
        # This one draws its ids now, and commits behind all that the others write.
        gate = workers.gate()
        slow = workers.worker(lock_timeout="1min", statement_timeout="1min")
        last = slow.run(gate.before_commit(tasks.add), tasks.NewTask("last"))
        writers = [writer(url, number, ROUNDS) for number in range(WRITERS)]
        assert [process.wait(TIMEOUT) for process in writers] == [0] * WRITERS
        eight.run(tasks.add, tasks.NewTask("the others are done"))
        watcher.until_title("the others are done")
        gate.open()
        last.result()
        changes = watcher.until_title("last")
        assert watcher.end(signal.SIGTERM).code == 0
    ids = [change["id"] for change in changes]
    assert sorted(ids) == sorted(committed(url))
    assert {change["id"]: change["xid"] for change in changes} == committed(url)
    assert in_commit_order(changes)
    assert ids != sorted(ids), "ids and commits were in one order: nothing was put to the test"
    assert len(set(range(1, max(ids))) - set(ids)) > WRITERS, "hardly anything was rolled back"
    assert set(ids) > before


def test_one_that_is_killed_goes_on_from_its_last_line(
    concord: CommandLine, eight: Database, url: str
) -> None:
    cursor = "beginning"
    printed: dict[int, str] = {}
    ended: list[dict[str, Any]] = []
    writers = [writer(url, number, ROUNDS) for number in range(4)]
    for stop in (12, 31, 44):
        with Watcher(concord, "--since", cursor) as watcher:
            watcher.until(lambda _, stop=stop: len(watcher.changes) >= stop)
            watcher.end(signal.SIGKILL)
        ended, again = watcher.changes, [c for c in watcher.changes if c["id"] in printed]
        # What comes again is of the one transaction whose end had not been printed.
        assert len({change["xid"] for change in again}) <= 1
        printed |= {change["id"]: change["xid"] for change in ended}
        cursor = ended[-1]["cursor"]
    assert [process.wait(TIMEOUT) for process in writers] == [0] * 4
    eight.run(tasks.add, tasks.NewTask("last"))
    with Watcher(concord, "--since", cursor) as watcher:
        rest = watcher.until_title("last")
    assert len({change["xid"] for change in rest if change["id"] in printed}) <= 1
    assert printed | {change["id"]: change["xid"] for change in rest} == committed(url)


# Ends


def test_it_ends_by_count_in_the_middle_of_a_transaction(here: Here) -> None:
    here.ok("task", "add", "one", "--tag", "a", "--assign", "me")
    lines = here("watch", "--since", "0", "--count", "4", "--json").out.splitlines()
    assert len({json.loads(line)["xid"] for line in lines[1:]}) == 1
    assert (
        here("watch", "--since", "beginning", "--count", "3", "--json").out.splitlines()
        == (lines[:3])
    )
    again = here("watch", "--since", json.loads(lines[2])["cursor"], "--count", "3", "--json")
    assert again.out.splitlines() == lines[1:]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it(concord: CommandLine, number: int, code: int) -> None:
    with Watcher(concord, "--since", "0") as watcher:
        watcher.until(lambda change: change["entity"] == "user")
        result = watcher.end(number)
    assert result.code == code
    assert "Traceback" not in result.err


def test_it_ends_when_its_reader_does_though_nothing_happens(concord: CommandLine) -> None:
    process = concord.start("watch", "--since", "0", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("1\t")
    process.stdout.close()
    process.stdout = None
    result = finish(process)
    assert (result.code, result.err) == (0, "")


def test_it_ends_by_time_and_tells_where_to_go_on(concord: CommandLine, url: str) -> None:
    result = concord("watch", "--for", "1ms", "--json")
    assert (result.code, result.out) == (0, "")
    cursor = json.loads(result.err)["notice"]["details"]["cursor"]
    concord.ok("task", "add", "one")
    (line,) = concord("watch", "--since", cursor, "--count", "1", "--jsonl").out.splitlines()
    assert json.loads(line)["new"]["title"] == "one"


# Connections


def test_a_connection_that_is_lost_is_made_anew(concord: CommandLine, url: str) -> None:
    with Watcher(concord, "--since", "0") as watcher:
        watcher.until(lambda change: change["entity"] == "user")
        for number in range(3):
            cut(url, "watch")
            psql(url, "INSERT INTO tasks (title, owner_id) VALUES (%s, 1)", f"{number}")
            watcher.until_title(f"{number}")
        watcher.end(signal.SIGTERM)
    assert [change["id"] for change in watcher.changes] == list(committed(url))


def test_a_database_that_stays_away_is_an_error(concord: CommandLine, url: str) -> None:
    with Watcher(concord, "--since", "0", "--patience", "200ms") as watcher:
        watcher.until(lambda change: change["entity"] == "user")
        with closed(url):
            cut(url, "watch")
            result = finish(watcher.process)
    assert (result.code, result.out) == (7, "")
    assert json.loads(result.err)["error"]["code"] == "database"


# Output


def test_a_terminal_gets_lines_to_read(concord: CommandLine, url: str) -> None:
    with Terminal(concord, "watch", "--interval", "20ms", "--since", "0") as terminal:
        terminal.wait_for("user 1")
        concord.ok("task", "add", "Write \x1b[31mit")
        shown = plain(terminal.wait_for("title: Write").type("\x03").end().out)
    change = "owner: ana; priority: none; status: todo; title: Write \\x1b[31mit"
    assert f"  ana  task add  task 1  1  {change}\n" in shown
    assert terminal.process.returncode == 130


@pytest.mark.parametrize("form", ["--json", "--jsonl", "--csv", "--quiet", "--fields=id,cursor"])
def test_every_form_is_lines(here: Here, form: str) -> None:
    for title in ("one", "two"):
        here.ok("task", "add", title)
    lines = here("watch", "--since", "0", "--count", "3", form).out.splitlines()
    match form:
        case "--json" | "--jsonl":
            assert [json.loads(line)["id"] for line in lines] == [1, 2, 3]
        case "--csv":
            assert lines[0].startswith("id,at,actor")
            assert lines[0].endswith(",cursor")
            assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
        case "--quiet":
            assert lines == ["1", "2", "3"]
        case _:
            assert [line.split("\t")[0] for line in lines] == ["1", "2", "3"]
            assert all(line.count("\t") == 1 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--since", "x"], 2, "'x' is not a cursor that watch printed"),
        (["--since", "9:99999999:"], 2, "ahead of this database"),
        (["--project", "nope"], 3, "no such project: NOPE"),
        (["--task", "99"], 3, "no such task, now or ever: 99"),
        (["--interval", "soon"], 2, "'soon' is not a time"),
        (["--count", "0"], 2, "x>=1"),
        (["--fields", "ids"], 2, "no such field: ids"),
    ],
)
def test_what_it_does_not_take(here: Here, arguments: list[str], code: int, told: str) -> None:
    assert told in here.refused("watch", *arguments, code=code)
