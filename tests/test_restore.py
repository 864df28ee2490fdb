"""What is put back fits and is whole, or all stays as it is."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic import command
from audit import check_history, tables
from commands import Here, locked
from conftest import finish, settings_for
from copies import back_up, change, stand_in, state
from workers import psql

from concord import backup, migrate
from concord.backup import manifest
from concord.database import Database
from concord.sql import refill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import CommandLine

    from concord.models import Contents


@pytest.fixture
def filled(here: Here) -> Here:
    """The command line on a database with a little of most things."""
    here.ok("project", "add", "api")
    here.ok("task", "add", "part", "--project", "api", "--tag", "bug", "--assign", "ana")
    here.ok("task", "add", "whole", "--blocked-by", "1")
    here.ok("view", "save", "mine", "--status", "todo")
    return here


def rewrite(file: Path, edit: Callable[[Contents], Contents]) -> None:
    """Give a backup another manifest that is as good as its own but for what it says."""
    with file.open("rb") as stream:
        told = manifest.read(stream)
    dump = file.read_bytes().rpartition(b"\nCONCORD BACKUP 1\n")[0]
    with file.open("w+b") as stream:
        stream.write(dump)
        manifest.write(stream, replace(told, contents=edit(told.contents)))


# What is refused before anything is touched


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def unsealed(content: bytes) -> bytes:
    return content[:-1]


def without_manifest(content: bytes) -> bytes:
    return content.rpartition(b"\nCONCORD BACKUP 1\n")[0]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def told_otherwise(content: bytes) -> bytes:
    return content.replace(b'"last_change":', b'"last_change":1', 1)


def longer(content: bytes) -> bytes:
    return content + b"\n"


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda _: b"", "no backup of Concord"),
    (lambda _: b"- [ ] T001 Do it\n", "no backup of Concord"),
    (cut, "cut off"),
    (unsealed, "cut off"),
    (without_manifest, "cut off, or was not written by: concord db backup"),
    (longer, "cut off"),
    (flipped, "changed since it was written"),
    (told_otherwise, "changed since it was written"),
]
"""What may happen to a backup, and what is said of it then."""


def test_a_file_that_is_no_whole_backup_is_refused(here: Here, url: str) -> None:
    here.ok("task", "add", "kept")
    file = back_up(here)
    whole, before = file.read_bytes(), state(url)
    for damage, why in DAMAGES:
        file.write_bytes(damage(whole))
        told = here.refused("db", "restore", str(file), "--yes", code=2)
        assert why in told
        assert "nothing was changed" in told
    assert state(url) == before


def test_a_backup_of_a_newer_concord_and_one_without_its_tables_are_refused(
    filled: Here, url: str
) -> None:
    file = back_up(filled)
    good, before = file.read_bytes(), state(url)
    rewrite(file, lambda held: replace(held, schema="9999"))
    assert "Upgrade Concord" in filled.refused("db", "restore", str(file), "--yes", code=2)
    file.write_bytes(good)
    rewrite(file, lambda held: replace(held, tables={**held.tables, "x": held.tables["tags"]}))
    assert "no rows of x" in filled.refused("db", "restore", str(file), "--yes", code=2)
    file.write_bytes(good)
    few = {"tasks", "history"}
    rewrite(
        file,
        lambda held: replace(held, tables={k: v for k, v in held.tables.items() if k in few}),
    )
    assert "not the tables" in filled.refused("db", "restore", str(file), "--yes", code=2)
    filled.refused("db", "restore", "nowhere.dump", code=2)
    filled.refused("db", "restore", str(filled.home), code=2)
    assert state(url) == before


def test_tasks_that_are_there_are_given_up_only_on_request(filled: Here, url: str) -> None:
    file = back_up(filled)
    change(filled)
    before = state(url)
    told = filled.refused("db", "restore", str(file), code=1)
    assert "tasks in the database" in told
    assert "--yes" not in told
    assert state(url) == before


# What ends it in the midst


def test_what_came_in_otherwise_than_it_was_saved_is_not_kept(filled: Here, url: str) -> None:
    file = back_up(filled)
    change(filled)
    before = state(url)

    def wrong(held: Contents) -> Contents:
        tasks = replace(held.tables["tasks"], checksum="0" * 16)
        return replace(held, tables={**held.tables, "tasks": tasks})

    rewrite(file, wrong)
    told = filled.refused("db", "restore", str(file), "--yes", code=7)
    assert "not what was saved: tasks; the database is left as it was" in told
    assert state(url) == before


def test_a_program_that_fails_midway_leaves_the_old_state(
    filled: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = back_up(filled)
    change(filled)
    before = state(url)
    script = (
        'case "$*" in *--table=history*) '
        '"$REAL" "$@" | head -n 30; echo \'pg_restore: error: broken\' >&2; exit 1;; esac; '
        'exec "$REAL" "$@"'
    )
    stand_in(monkeypatch, filled.home, "pg_restore", script)
    assert "broken" in filled.refused("db", "restore", str(file), "--yes", code=7)
    assert state(url) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_restore_leaves_the_old_state(
    filled: Here,
    url: str,
    concord: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    file = back_up(filled)
    change(filled)
    before = state(url)
    gate = filled.home / "gate"
    os.mkfifo(gate)
    script = f'case "$*" in *--table=history*) cat \'{gate}\';; esac; exec "$REAL" "$@"'
    stand_in(monkeypatch, filled.home, "pg_restore", script)
    process = concord.start(
        *("db", "restore", str(file), "--yes"),
        env=concord.environment | {"PATH": os.environ["PATH"]},
    )
    with gate.open("wb"):  # opens once the other side does: all other tables are full by then
        process.send_signal(number)
        result = finish(process)
    assert result.code == (130 if number is signal.SIGINT else -number)
    assert state(url) == before


def test_somebody_elses_lock_is_waited_for_no_longer_than_told(
    filled: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = back_up(filled)
    change(filled)
    before = state(url)
    monkeypatch.setenv("CONCORD_LOCK_TIMEOUT", "100ms")
    with locked(url, 2):
        filled.refused("db", "restore", str(file), "--yes", code=5)
    assert state(url) == before


# Where it goes


def test_who_else_is_connected_is_told(filled: Here, url: str) -> None:
    file = back_up(filled)
    with Database(settings_for(url), "agent run") as another:
        another.connection()
        done = filled("db", "restore", str(file), "--yes")
    assert "1 other sessions are connected" in done.err


def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    filled: Here, url: str, empty_url: str, tmp_path: Path
) -> None:
    older = settings_for(empty_url)
    with migrate.engine(older).connect() as connection:
        made = migrate.config()
        made.attributes["connection"] = connection
        command.upgrade(made, "0001")
        connection.commit()
    psql(empty_url, "INSERT INTO users (username) VALUES ('ana')")
    psql(
        empty_url,
        "INSERT INTO tasks (title, owner_id, status) VALUES ('ancient', 1, 'canceled')",
    )
    file = tmp_path / "old.dump"
    held = backup.back_up(older, "test", file, replace=False)
    assert (held.schema, held.rows("tasks")) == ("0001", 1)
    told = filled.ok("db", "restore", str(file), "--yes")
    assert (told["schema"], told["now"]) == ("0001", migrate.head())
    (task,) = filled.ok("task", "list")
    assert (task["title"], task["status"]) == ("ancient", "canceled")
    assert task["canceled_at"] is not None, "a later migration has seen to it"
    assert filled.ok("search", "ancient")
    assert filled.ok("task", "add", "new")["id"] == 2
    check_history(url)


def test_a_backup_is_restored_into_a_database_that_is_empty(
    filled: Here, url: str, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = back_up(filled)
    monkeypatch.setenv("CONCORD_DATABASE_URL", empty_url)
    told = json.loads(filled("db", "restore", str(file), "--json").out)
    assert told["tasks"] == len(tables(url)["tasks"])
    assert state(empty_url) == state(url)


@pytest.mark.parametrize("reach", [1_000_000, 5])
def test_no_transaction_to_come_is_called_as_one_of_history(
    filled: Here, url: str, monkeypatch: pytest.MonkeyPatch, reach: int
) -> None:
    monkeypatch.setattr(refill, "REACH", reach)
    # As if this came from a server that has counted much farther.
    with psycopg.connect(url) as connection:
        refill.triggers(connection, ["history"], on=False)
        connection.execute("UPDATE history SET xid = (xid::text::bigint + 9000)::text::xid8")
        refill.triggers(connection, ["history"], on=True)
    before = history(filled)
    file = back_up(filled)
    done = filled("db", "restore", str(file), "--yes", "--json")
    assert done.code == 0
    after = history(filled)
    assert ("renumbered" in done.err) == (reach == 5)
    assert (after == before) == (reach != 5)
    # Who belongs together does so still, in the same order.
    assert [before.index(each) for each in before] == [after.index(each) for each in after]
    assert after == sorted(after)
    filled.ok("task", "add", "later")
    assert int(filled.ok("history", "--limit", "1")[0]["xid"]) > max(after)
    undone = filled.ok("undo")
    assert len(undone) == 1


def history(here: Here) -> list[int]:
    """Return the transactions of history, oldest first."""
    rows: list[dict[str, Any]] = here.ok("history", "--limit", "0")
    return [int(row["xid"]) for row in reversed(rows)]
