"""A backup is whole or not there, and comes back whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.script import ScriptDirectory
from audit import check_history, tables
from commands import Here
from conftest import finish
from copies import back_up, change, fill, stand_in, state
from workers import psql

from concord import libpq, migrate
from concord.schema import metadata
from concord.sql import contents

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

HALF = "head -c 2000 \"$0\"; echo 'pg_dump: error: no space left' >&2; exit 1"


@pytest.fixture
def filled(here: Here) -> Here:
    """The command line on a database with something of everything."""
    fill(here)
    return here


def names(folder: Path) -> list[str]:
    """Return the names of all that is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_what_was_backed_up_comes_back_as_it_was(filled: Here, url: str) -> None:
    before = state(url)
    made = filled.ok("db", "backup", "tasks.dump")
    file = filled.home / "tasks.dump"
    assert made == {
        "file": "tasks.dump",
        "bytes": file.stat().st_size,
        "tasks": len(before[0]["tasks"]),
        "history": len(before[0]["history"]),
        "schema": migrate.head(),
    }
    change(filled)
    assert state(url) != before
    done = filled("db", "restore", "tasks.dump", "--yes")
    assert (done.code, done.err) == (0, "")
    assert "counts, versions, history and sequences agree" in done.out
    assert state(url) == before
    check_history(url)

    # And it goes on from there: triggers, sequences, search.
    added = filled.ok("task", "add", "xylophone")
    assert added["id"] == before[1]["tasks"]
    assert [change["new"]["title"] for change in filled.ok("history", "--limit", "1")]
    assert [found["id"] for found in filled.ok("search", "xylophone")] == [added["id"]]
    assert filled.ok("search", "whole")
    check_history(url)


def test_a_backup_is_its_owners_to_read_and_replaces_no_file_unasked(filled: Here) -> None:
    before = os.umask(0)
    try:
        file = back_up(filled)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names(filled.home) == ["tasks.dump"]

    first = file.read_bytes()
    told = filled.refused("db", "backup", str(file), code=1)
    assert "exists already" in told
    assert file.read_bytes() == first
    link = filled.home / "link"
    link.symlink_to(file)
    filled.ok("task", "add", "newer")
    filled.ok("db", "backup", "link", "--yes")
    assert link.is_symlink()
    assert file.read_bytes() != first
    filled.refused("db", "backup", "nowhere/x", code=2)
    filled.refused("db", "backup", str(filled.home), "--yes", code=2)


def test_a_backup_that_fails_leaves_nothing_and_harms_nothing(
    filled: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = back_up(filled)
    good = file.read_bytes()
    stand_in(monkeypatch, filled.home, "pg_dump", HALF)
    for arguments in (["other.dump"], [str(file), "--yes"]):
        told = filled.refused("db", "backup", *arguments, code=7)
        assert "pg_dump failed: no space left" in told
    assert file.read_bytes() == good
    assert names(filled.home) == ["bin", "tasks.dump"]


def test_a_backup_that_is_killed_never_bears_the_name(
    filled: Here, concord: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = filled.home / "gate"
    os.mkfifo(gate)
    script = f"head -c 2000 \"$REAL\"; cat '{gate}'"
    stand_in(monkeypatch, filled.home, "pg_dump", script)
    process = concord.start(
        "db", "backup", "tasks.dump", env=concord.environment | {"PATH": os.environ["PATH"]}
    )
    with gate.open("wb"):  # opens once the other side does
        process.kill()
        assert finish(process).code == -signal.SIGKILL
        assert not (filled.home / "tasks.dump").exists()


def test_what_is_written_meanwhile_is_in_neither_dump_nor_manifest(
    filled: Here, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(url)
    add = f'\'{sys.executable}\' -m concord task add late >/dev/null && exec "$REAL" "$@"'
    stand_in(monkeypatch, filled.home, "pg_dump", add)
    file = back_up(filled)
    assert len(tables(url)["tasks"]) == len(before[0]["tasks"]) + 1
    filled.ok("db", "restore", str(file), "--yes")
    assert state(url) == before


def test_a_password_is_on_nobodys_command_line(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Here(f"{url} password=hunter2", tmp_path, monkeypatch, capsys)
    told = tmp_path / "told"
    script = (
        f"printf '%s\\n' \"$@\" > '{told}'; "
        '[ "$PGPASSWORD" = hunter2 ] && exec "$REAL" "$@"; exit 1'
    )
    stand_in(monkeypatch, tmp_path, "pg_dump", script)
    assert here("db", "backup", "x").code == 0
    assert "--snapshot=" in told.read_text()
    assert "hunter2" not in told.read_text()


def test_of_a_shared_database_only_what_is_concords_is_in_it_and_replaced(
    filled: Here, url: str
) -> None:
    psql(url, "CREATE SCHEMA billing")
    psql(url, "CREATE TABLE billing.invoices AS SELECT 1 AS secret")
    psql(url, 'CREATE TABLE "Odd ""name" AS SELECT 2 AS secret')
    psql(url, "CREATE VIEW staff AS SELECT username FROM users")
    file = back_up(filled)
    listed = subprocess.run(
        [libpq.program("pg_restore", at_least=18), "--list", file],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert "TABLE DATA public tasks " in listed
    assert not [name for name in ("billing", "invoices", "Odd", "staff") if name in listed]
    psql(url, 'UPDATE "Odd ""name" SET secret = 3')
    filled.ok("db", "restore", str(file), "--yes")
    found = tables(url)
    assert found['Odd "name'] == [{"secret": 3}]
    psql(url, "CREATE TABLE mine (task bigint REFERENCES tasks)")
    before = state(url)
    told = filled.refused("db", "restore", str(file), "--yes", code=1)
    assert "foreign key" in told
    assert state(url) == before


def test_postgresqls_own_tools_read_a_backup(filled: Here, url: str, empty_url: str) -> None:
    file = back_up(filled)
    psql(empty_url, "CREATE EXTENSION pg_trgm")
    subprocess.run(
        [
            libpq.program("pg_restore", at_least=18),
            f"--dbname={empty_url}",
            "--schema=public",
            "--exit-on-error",
            file,
        ],
        check=True,
    )
    assert tables(empty_url) == tables(url)


def test_every_table_with_data_is_in_a_copy() -> None:
    kept = contents.TABLES
    assert {*kept, *contents.DERIVED} == set(metadata.tables)
    assert kept == {
        name: tuple(column.name for column in metadata.tables[name].primary_key) for name in kept
    }
    order = list(kept)
    for name in order:
        for foreign in metadata.tables[name].foreign_keys:
            assert order.index(foreign.column.table.name) <= order.index(name)


def test_revisions_are_numbered_in_the_order_of_their_names() -> None:
    script = ScriptDirectory.from_config(migrate.config())
    names = [revision.revision for revision in script.walk_revisions()]
    assert names == sorted(names, reverse=True)


def test_a_database_without_a_schema_has_nothing_to_back_up(
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = Here(empty_url, tmp_path, monkeypatch, capsys)
    assert "not initialised" in here.refused("db", "backup", "x", code=7)
    assert names(tmp_path) == []
