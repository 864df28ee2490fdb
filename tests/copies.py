"""A database with something of everything, copies of it, and programs that stand in for others."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import psycopg
from audit import tables
from psycopg import sql

from concord import libpq
from concord.sql import contents

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from commands import Here

AWKWARD = "tab\t, back\\slash, \\. and \\N, \"quotes\", 'é😀', {json}, \u2028, \x9b"

FOREIGN = {
    "id": "bd-1",
    "title": "From elsewhere",
    "status": "open",
    "priority": 1,
    "estimate": 1.10,
    "created_at": "2025-01-02T03:04:05Z",
    "updated_at": "2025-01-02T03:04:05Z",
}


def fill(here: Here) -> None:
    """Make something of everything, by commands."""
    here.ok("user", "add", "bo", "--email", "bo@example.org")
    here.ok("project", "add", "api", "--description", AWKWARD)
    here.ok("project", "edit", "api", "--wip-limit", "5")
    # A parent that is younger than its part, and a blocker that is younger than what it blocks.
    here.ok(
        "task", "add", "part", "--project", "api", "--tag", "bug", "--tag", "ui", "--assign", "bo"
    )
    here.ok("task", "add", "whole", "--description", f"{AWKWARD}\n\\.\n", "--auto-close")
    here.ok("task", "edit", "1", "--parent", "2")
    here.ok("task", "add", "again", "--every", "2w", "--due", "2026-01-01")
    here.ok("task", "block", "1", "--by", "3")
    here.ok("task", "done", "3")
    here.ok("task", "add", "gone")
    here.ok("task", "delete", "5")
    here.ok("task", "add", "purged")
    here.ok("task", "delete", "6")
    here.ok("task", "purge", "6", "--yes")
    here.ok("task", "comment", "2", AWKWARD)
    here.ok("task", "claim", "--title", "again")
    here.ok("view", "save", "mine", "--status", "todo", "--tag", "ui")
    here.ok("import", "beads", "-", "--project", "API", stdin=json.dumps(FOREIGN))


def back_up(here: Here) -> Path:
    """Write a backup and return its file."""
    file = here.home / "tasks.dump"
    here.ok("db", "backup", str(file), "--yes")
    return file


def change(here: Here) -> None:
    """Make what is there something else, in every table."""
    here.ok("task", "add", "late", "--tag", "late", "--project", "api")
    here.ok("task", "delete", "1")
    here.ok("task", "purge", "1", "--yes")
    here.ok("user", "add", "cy")
    here.ok("view", "delete", "mine")


def state(url: str) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Return all that is in a database, and the next id of each table."""
    rows = tables(url)
    del rows["gates"]  # which means nothing from one transaction to the next
    following: dict[str, int] = {}
    with psycopg.connect(url) as connection:
        for table in contents.TABLES:
            query = sql.SQL(
                "SELECT pg_get_serial_sequence({}, attname) FROM pg_attribute"
                " WHERE attrelid = {}::regclass AND attidentity <> ''"
            )
            found = connection.execute(query.format(table, table)).fetchone()
            if found is not None:
                position = sql.SQL("SELECT last_value + is_called::int FROM {}").format(
                    sql.Identifier(*found[0].split("."))
                )
                row = connection.execute(position).fetchone()
                assert row is not None
                following[table] = row[0]
    return rows, following


def stand_in(monkeypatch: pytest.MonkeyPatch, home: Path, name: str, script: str) -> None:
    """Put a shell script on PATH ahead of a program of PostgreSQL, which it has as `$REAL`.

    Whoever asks it for its version is answered by the real one.
    """
    real = libpq.program(name, at_least=18)
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / name
    asked = '[ "$1" = --version ] && exec "$REAL" --version'
    program.write_text(f"#!/bin/sh\nREAL='{real}'\n{asked}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
