"""Migrations: up, down and up again, equal to the metadata; and scratch schemas beside the data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from alembic import command
from conftest import TIMEOUT, CommandLine, finish, settings_for
from psycopg import sql
from workers import await_end_of, psql

from concord import migrate
from concord.database import SCHEMA_HEAD, Database
from concord.errors import ExitCode, SchemaMismatch
from concord.schema import metadata
from concord.scratch import scratch_database
from concord.sql import tasks, users

if TYPE_CHECKING:
    from alembic.config import Config

    from concord.settings import Settings

CHECKOUT = Path(__file__).parents[1]

# What an extension brought stays: others may use it.
OBJECTS: LiteralString = """
SELECT 'relation', relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind <> 't'
UNION SELECT 'function', oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
UNION SELECT 'type', typname::text FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'
UNION SELECT 'trigger', tgname::text FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1, 2
"""

SHAPE: LiteralString = """
SELECT 'column', c.relname, a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attnotnull THEN 'NOT NULL' END, a.attidentity,
       pg_get_expr(d.adbin, d.adrelid))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' AND a.attnum > 0
  AND c.relname <> 'alembic_version'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = %s::regnamespace AND conrelid::regclass::text NOT LIKE '%%alembic_version'
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = %s AND tablename <> 'alembic_version'
UNION ALL SELECT 'type', t.typname, e.enumlabel, e.enumsortorder::text
FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid WHERE t.typnamespace = %s::regnamespace
ORDER BY 1, 2, 3
"""


def alembic(url: str, connection: object) -> Config:
    """Return the configuration of Alembic on a connection."""
    made = migrate.config()
    made.attributes["connection"] = connection
    return made


def shape(url: str, schema: str) -> set[tuple[str, ...]]:
    """Return columns, constraints, indexes and types of a schema, without its name."""
    rows = psql(url, SHAPE, schema, schema, schema, schema)
    return {tuple(re.sub(rf"\b{schema}\.", "", str(value)) for value in row) for row in rows}


def contents(url: str) -> dict[str, list[str]]:
    """Return every row of every table and sequence in the default schema."""
    names = psql(
        url,
        "SELECT relname FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')",
    )
    with psycopg.connect(url) as connection:
        return {
            name: sorted(
                str(row)
                for row in connection.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))
                )
            )
            for (name,) in names
        }


def scratch_schemas(url: str) -> list[str]:
    rows = psql(url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'concord_scratch%'")
    return [name for (name,) in rows]


# Up and down


def test_down_leaves_nothing_and_up_again_is_the_same(empty_url: str) -> None:
    settings = settings_for(empty_url)
    assert migrate.upgrade(settings) == (None, SCHEMA_HEAD)
    first = psql(empty_url, OBJECTS)
    psql(empty_url, "INSERT INTO users (username) VALUES ('ana')")
    psql(empty_url, "INSERT INTO tasks (title, owner_id) SELECT 'x', id FROM users")
    with migrate.engine(settings).connect() as connection:
        command.downgrade(alembic(empty_url, connection), "base")
        connection.commit()
    assert psql(empty_url, OBJECTS) == [
        ("relation", "alembic_version"),
        ("relation", "alembic_version_pkc"),
    ]
    assert migrate.upgrade(settings) == (None, SCHEMA_HEAD)
    assert psql(empty_url, OBJECTS) == first
    assert migrate.upgrade(settings) == (SCHEMA_HEAD, SCHEMA_HEAD)


def test_the_code_is_written_for_the_newest_migration() -> None:
    assert migrate.head() == SCHEMA_HEAD


def test_alembic_finds_nothing_to_generate(url: str, settings: Settings) -> None:
    with migrate.engine(settings).connect() as connection:
        command.check(alembic(url, connection))


def test_migrations_make_what_the_metadata_say(url: str, settings: Settings) -> None:
    psql(url, "CREATE SCHEMA twin")
    with migrate.engine(settings).begin() as connection:
        # The functions that defaults call are the migrations' own.
        connection.exec_driver_sql("SET LOCAL search_path = twin, public")
        metadata.create_all(connection, checkfirst=False)
    twin = shape(url, "twin")
    assert twin == shape(url, "public")
    assert len(twin) > 100


# By whom and how often


def test_many_at_once_migrate_once(empty_url: str, tmp_path: Path) -> None:
    ana = CommandLine(tmp_path, CONCORD_DATABASE_URL=empty_url, CONCORD_USER="ana")
    results = [finish(process) for process in [ana.start("init", "--json") for _ in range(4)]]
    assert [result.code for result in results] == [0] * 4, results
    assert {result.json["schema"] for result in results} == {SCHEMA_HEAD}
    assert psql(empty_url, "SELECT version_num FROM alembic_version") == [(SCHEMA_HEAD,)]
    assert psql(empty_url, "SELECT username FROM users") == [("ana",)]


def test_alembic_itself_migrates_the_same_database(empty_url: str, tmp_path: Path) -> None:
    environment = CommandLine(tmp_path, CONCORD_DATABASE_URL=empty_url).environment
    for step, revision in (("upgrade", "head"), ("downgrade", "base"), ("upgrade", "head")):
        subprocess.run(
            [sys.executable, "-m", "alembic", step, revision],
            cwd=CHECKOUT,
            env=environment,
            check=True,
            capture_output=True,
            timeout=TIMEOUT,
        )
    with Database(settings_for(empty_url), "test", newcomer="add") as database:
        assert database.run(tasks.add, tasks.NewTask("x")).id == 1


def test_a_newer_schema_asks_for_a_newer_concord(url: str, settings: Settings) -> None:
    psql(url, "UPDATE alembic_version SET version_num = '9999'")
    before = psql(url, OBJECTS)
    with pytest.raises(SchemaMismatch, match="newer schema") as raised:
        migrate.upgrade(settings)
    assert raised.value.exit_code == ExitCode.DATABASE
    assert "Upgrade Concord" in (raised.value.hint or "")
    assert psql(url, OBJECTS) == before


def test_a_migration_that_the_server_refuses_changes_nothing(empty_url: str) -> None:
    psql(empty_url, "CREATE TABLE history (mine text)")
    with pytest.raises(Exception, match="history") as raised:
        migrate.upgrade(settings_for(empty_url))
    assert type(raised.value).__module__ == "concord.errors"
    assert psql(empty_url, OBJECTS) == [("relation", "history")]


# Scratch schemas


def test_a_scratch_database_is_whole_and_leaves_nothing(url: str, database: Database) -> None:
    database.run(tasks.add, tasks.NewTask("mine", tags=["bug"], assignees=["ana"]))
    before = contents(url)
    with scratch_database(settings_for(url), "demo") as scratch:
        assert len(scratch_schemas(url)) == 1
        made = scratch.run(tasks.add, tasks.NewTask("theirs", tags=["ui"], assignees=["ana"]))
        assert (made.id, made.tags, made.assignees) == (1, ("ui",), ("ana",))
        assert [user.username for user in scratch.run(users.list_all)] == ["ana"]
        assert contents(url) == before
    assert scratch_schemas(url) == []
    assert contents(url) == before


def test_a_scratch_database_needs_no_schema_beside_it(empty_url: str) -> None:
    with scratch_database(settings_for(empty_url), "demo") as scratch:
        assert scratch.run(tasks.add, tasks.NewTask("x")).owner == "ana"
    assert psql(empty_url, OBJECTS) == []


def test_two_scratch_databases_live_side_by_side(url: str, settings: Settings) -> None:
    with scratch_database(settings, "demo") as one, scratch_database(settings, "demo") as two:
        one.run(tasks.add, tasks.NewTask("one"))
        made = two.run(tasks.add, tasks.NewTask("two"))
        assert made.id == 1
        assert len(scratch_schemas(url)) == 2
    assert scratch_schemas(url) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_a_scratch_schema_goes_though_its_use_fails(
    url: str, settings: Settings, interruption: type[BaseException]
) -> None:
    with pytest.raises(interruption), scratch_database(settings, "demo"):
        raise interruption
    assert scratch_schemas(url) == []


def test_the_leftover_of_a_dead_backend_goes_and_that_of_a_live_one_stays(
    url: str, settings: Settings
) -> None:
    with scratch_database(settings, "demo"):
        (live,) = scratch_schemas(url)
        psql(url, "CREATE SCHEMA concord_scratch_0_0")
        psql(url, "CREATE TABLE concord_scratch_0_0.anything (id int)")
        psql(url, "CREATE SCHEMA concord_scratches")
        with scratch_database(settings, "demo"):
            found = set(scratch_schemas(url))
            assert len(found) == 3
            assert {live, "concord_scratches"} < found
            assert "concord_scratch_0_0" not in found
    assert scratch_schemas(url) == ["concord_scratches"]


def test_a_scratch_schema_is_dropped_even_if_its_connection_was_lost(
    url: str, settings: Settings
) -> None:
    with scratch_database(settings, "demo"), psycopg.connect(url, autocommit=True) as observer:
        (name,) = scratch_schemas(url)
        pid = int(name.split("_")[2])
        observer.execute("SELECT pg_terminate_backend(%s)", (pid,))
        await_end_of(observer, pid)
        assert scratch_schemas(url) == [name]
    assert scratch_schemas(url) == []
