"""Whether a database that tests use again is as it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import pytest
from databases import Databases, Original
from workers import psql

from concord.database import Database
from concord.sql import comments, projects, tasks, users

if TYPE_CHECKING:
    from conftest import Server


def test_what_a_test_wrote_is_gone_and_numbers_begin_anew(
    server: Server, template: str, databases: Databases
) -> None:
    from conftest import settings_for

    name = databases.take()
    original = Original.read(server.url(template))
    for _ in range(2):
        with Database(settings_for(server.url(name)), "test") as database:
            database.run(users.add, "zoe")
            database.run(projects.add, "API")
            made = database.run(tasks.add, tasks.NewTask("x", project="API", tags=["bug"]))
            assert made.id == 1
            database.run(comments.add, [1], "said")
        databases.give_back(name)
        assert Original.read(server.url(name)) == original
        assert databases.take() == name
    databases.give_back(name)


CHANGES: tuple[LiteralString, ...] = (
    "CREATE TABLE other (id int)",
    "ALTER TABLE tasks ADD COLUMN other int",
    "ALTER TABLE tasks DISABLE TRIGGER tasks_before_update",
    "DROP TRIGGER tasks_before_update ON tasks",
    "CREATE OR REPLACE FUNCTION current_actor() RETURNS text LANGUAGE sql RETURN 'me'",
    "ALTER TABLE tasks DROP CONSTRAINT tasks_due_check",
    "DROP INDEX tasks_due_id_idx",
    "DROP EXTENSION pg_trgm CASCADE",
    "CREATE SCHEMA other",
    "GRANT SELECT ON tasks TO PUBLIC",
    "UPDATE alembic_version SET version_num = '9999'",
    "INSERT INTO task_texts SELECT 1, ''",
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_defined_otherwise_is_not_used_again(
    server: Server, template: str, databases: Databases, change: LiteralString
) -> None:
    name = databases.take()
    psql(server.url(name), "SET session_replication_role = replica; " + change)
    databases.give_back(name)
    again = databases.take()
    assert Original.read(server.url(again)) == Original.read(server.url(template))
    databases.give_back(again)
