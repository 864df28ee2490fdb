"""Versions, times and history of edits made in plain SQL, as somebody in psql would make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg
from psycopg.rows import DictRow, dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import LiteralString

TASK: LiteralString = "SELECT version, created_at, updated_at, completed_at, status FROM tasks"


class Psql:
    """Somebody's session in psql, where each statement is a transaction unless told otherwise."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.Connection[DictRow].connect(
            url, autocommit=True, row_factory=dict_row, application_name="psql"
        )
        self("SET TimeZone = 'Asia/Tokyo'")
        self("INSERT INTO users (id, username) VALUES (10, 'bo'), (11, 'cy')")
        self("INSERT INTO projects (id, key, name, owner_id) VALUES (20, 'API', 'API', 10)")
        self("INSERT INTO tasks (id, title, owner_id) VALUES (1, 'One', 10), (2, 'Two', 10)")
        self("INSERT INTO tags (id, name) VALUES (30, 'bug'), (31, 'ui'), (32, 'api')")

    def __call__(self, statement: LiteralString) -> list[dict[str, Any]]:
        """Run a statement and return its rows."""
        cursor = self.connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def task(self, number: int = 1) -> dict[str, Any]:
        """Return what triggers keep of a task."""
        return self.connection.execute(TASK + " WHERE id = %s", (number,)).fetchall()[0]

    def told(self, since: int = 0) -> list[tuple[Any, ...]]:
        """Return what history tells since a row: entity, its id, version, old and new."""
        rows = self.connection.execute(
            "SELECT entity, entity_id, version, old, new FROM history WHERE id > %s ORDER BY id",
            (since,),
        )
        return [tuple(row.values()) for row in rows.fetchall()]

    def last(self) -> int:
        """Return the id of the newest row of history."""
        return self("SELECT max(id) AS last FROM history")[0]["last"]


@pytest.fixture
def psql(url: str) -> Iterator[Psql]:
    made = Psql(url)
    yield made
    made.connection.close()


# Versions and times


def test_an_edit_makes_a_version_a_later_time_and_history(psql: Psql) -> None:
    before, last = psql.task(), psql.last()
    psql("UPDATE tasks SET title = 'Uno', due = '2026-01-01 09:00' WHERE id = 1")
    after = psql.task()
    assert after["version"] == before["version"] + 1 == 2
    assert after["updated_at"] > before["updated_at"]
    assert after["created_at"] == before["created_at"]
    assert psql.told(last) == [
        (
            "task",
            1,
            2,
            {"title": "One", "due": None},
            {"title": "Uno", "due": "2026-01-01T00:00:00Z"},
        )
    ]
    assert psql.task(2)["version"] == 1


def test_versions_and_times_cannot_be_made_up(psql: Psql) -> None:
    psql("UPDATE tasks SET version = 99, updated_at = 'epoch' WHERE id = 1")
    assert psql.task()["version"] == 2
    assert psql.task()["updated_at"].year > 2000
    psql("UPDATE projects SET version = 99, updated_at = 'epoch'")
    (project,) = psql("SELECT version, updated_at FROM projects")
    assert project["version"] == 2
    assert project["updated_at"].year > 2000


def test_the_id_of_a_task_never_changes(psql: Psql) -> None:
    before = psql.last()
    with pytest.raises(pg.RestrictViolation):
        psql("UPDATE tasks SET id = 99 WHERE id = 1")
    assert psql.last() == before


def test_many_edits_in_one_transaction_make_one_version(psql: Psql) -> None:
    last = psql.last()
    with psql.connection.transaction():
        psql("UPDATE tasks SET title = 'Uno' WHERE id = 1")
        psql("INSERT INTO task_tags (task_id, tag_id) VALUES (1, 30)")
        psql("UPDATE tasks SET priority = 'high' WHERE id = 1")
        psql("INSERT INTO assignments (task_id, user_id) VALUES (1, 10)")
        psql("DELETE FROM task_tags")
    assert psql.task()["version"] == 2
    assert [(version, new) for _, _, version, _, new in psql.told(last)] == [
        (2, {"title": "Uno"}),
        (2, {"tags": ["bug"]}),
        (2, {"priority": "high"}),
        (2, {"assignees": ["bo"]}),
        (2, {"tags": []}),
    ]
    newest = "SELECT count(DISTINCT xid) FROM (SELECT xid FROM history ORDER BY id DESC LIMIT 5) x"
    assert psql(newest) == [{"count": 1}]


def test_a_task_that_is_made_and_edited_in_one_transaction_is_at_its_first_version(
    psql: Psql,
) -> None:
    with psql.connection.transaction():
        psql("INSERT INTO tasks (id, title, owner_id) VALUES (3, 'Three', 10)")
        psql("UPDATE tasks SET title = 'Tres' WHERE id = 3")
        psql("INSERT INTO task_tags (task_id, tag_id) VALUES (3, 30)")
    assert psql.task(3)["version"] == 1


IDLE: tuple[LiteralString, ...] = (
    "UPDATE tasks SET title = title, due = due",
    "UPDATE tasks SET status = 'todo' WHERE id = 1",
    "UPDATE projects SET name = 'API'",
    "UPDATE users SET email = email",
    "UPDATE tags SET name = name",
    "INSERT INTO task_tags (task_id, tag_id) SELECT 1, 30 WHERE false",
    "DELETE FROM assignments",
    "UPDATE assignments SET assigned_by = 11 WHERE false",
)


def test_an_edit_that_changes_nothing_leaves_no_trace(psql: Psql) -> None:
    before, last = psql.task(), psql.last()
    for statement in IDLE:
        psql(statement)
        assert psql.told(last) == [], statement
    assert psql.task() == before
    assert psql("SELECT version FROM projects") == [{"version": 1}]


def test_completion_has_a_time_as_long_as_it_lasts(psql: Psql) -> None:
    psql("UPDATE tasks SET status = 'completed' WHERE id = 1")
    done = psql.task()
    assert done["completed_at"] == done["updated_at"]
    psql("UPDATE tasks SET title = 'Uno' WHERE id = 1")
    assert psql.task()["completed_at"] == done["completed_at"]
    psql("UPDATE tasks SET status = 'in_progress' WHERE id = 1")
    assert psql.task()["completed_at"] is None
    psql("UPDATE tasks SET status = 'completed', completed_at = '2020-01-01' WHERE id = 1")
    assert psql.task()["completed_at"].year in (2019, 2020)
    psql("INSERT INTO tasks (id, title, owner_id, status) VALUES (3, 'x', 10, 'completed')")
    new = psql.task(3)
    assert new["completed_at"] == new["updated_at"] == new["created_at"]


# History


def test_a_new_task_is_told_without_the_fields_that_it_lacks(psql: Psql) -> None:
    last = psql.last()
    psql(
        "INSERT INTO tasks (id, title, owner_id, project_id, parent_id, external_ref)"
        " VALUES (3, 'Three', 11, 20, 1, 'T3')"
    )
    assert psql.told(last) == [
        (
            "task",
            3,
            1,
            {},
            {
                "title": "Three",
                "status": "todo",
                "priority": "none",
                "project": "API",
                "parent": 1,
                "external_ref": "T3",
                "owner": "cy",
            },
        )
    ]


def test_references_are_told_by_name(psql: Psql) -> None:
    last = psql.last()
    psql("UPDATE tasks SET project_id = 20, owner_id = 11 WHERE id = 1")
    psql("UPDATE projects SET owner_id = 11, archived_at = '2026-01-01T00:00:00.5Z'")
    assert psql.told(last) == [
        ("task", 1, 2, {"project": None, "owner": "bo"}, {"project": "API", "owner": "cy"}),
        (
            "project",
            20,
            2,
            {"archived_at": None, "owner": "bo"},
            {"archived_at": "2026-01-01T00:00:00.500000Z", "owner": "cy"},
        ),
    ]


def test_lists_are_told_whole_before_and_after(psql: Psql) -> None:
    last = psql.last()
    psql("INSERT INTO task_tags (task_id, tag_id) VALUES (1, 31), (1, 30), (2, 30)")
    psql("INSERT INTO task_tags (task_id, tag_id) VALUES (1, 32), (1, 30) ON CONFLICT DO NOTHING")
    psql("DELETE FROM task_tags WHERE tag_id = 30")
    psql("INSERT INTO assignments (task_id, user_id) VALUES (1, 11), (1, 10)")
    psql("DELETE FROM assignments WHERE user_id = 11")
    told = psql.told(last)
    assert [row for row in told if row[1] == 1] == [
        ("task", 1, 2, {"tags": []}, {"tags": ["bug", "ui"]}),
        ("task", 1, 3, {"tags": ["bug", "ui"]}, {"tags": ["api", "bug", "ui"]}),
        ("task", 1, 4, {"tags": ["api", "bug", "ui"]}, {"tags": ["api", "ui"]}),
        ("task", 1, 5, {"assignees": []}, {"assignees": ["bo", "cy"]}),
        ("task", 1, 6, {"assignees": ["bo", "cy"]}, {"assignees": ["bo"]}),
    ]
    assert [row for row in told if row[1] == 2] == [
        ("task", 2, 2, {"tags": []}, {"tags": ["bug"]}),
        ("task", 2, 3, {"tags": ["bug"]}, {"tags": []}),
    ]


def test_what_is_deleted_is_told_with_what_it_was(psql: Psql) -> None:
    psql("INSERT INTO task_tags (task_id, tag_id) VALUES (1, 30)")
    psql("INSERT INTO assignments (task_id, user_id) VALUES (1, 11)")
    psql("UPDATE tasks SET deleted_at = '2026-01-01Z' WHERE id = 1")
    last = psql.last()
    psql("DELETE FROM tasks WHERE id = 1")
    was = {"title": "One", "status": "todo", "priority": "none", "owner": "bo"}
    assert psql.told(last) == [
        ("task", 1, 4, was | {"deleted_at": "2026-01-01T00:00:00Z"}, {}),
        ("task", 1, None, {"tags": ["bug"]}, {"tags": []}),
        ("task", 1, None, {"assignees": ["cy"]}, {"assignees": []}),
    ]


def test_users_projects_and_tags_are_told_too(psql: Psql) -> None:
    last = psql.last()
    psql("UPDATE users SET email = 'bo@example.org' WHERE id = 10")
    psql("UPDATE projects SET key = 'WEB', wip_limit = 3")
    psql("UPDATE tags SET name = 'Bug' WHERE id = 30")
    psql("DELETE FROM tags WHERE id = 31")
    psql("DELETE FROM projects")
    assert psql.told(last) == [
        ("user", 10, None, {"email": None}, {"email": "bo@example.org"}),
        ("project", 20, 2, {"key": "API", "wip_limit": None}, {"key": "WEB", "wip_limit": 3}),
        ("tag", 30, None, {"name": "bug"}, {"name": "Bug"}),
        ("tag", 31, None, {"name": "ui"}, {}),
        (
            "project",
            20,
            2,
            {"key": "WEB", "name": "API", "owner": "bo", "visibility": "shared", "wip_limit": 3},
            {},
        ),
    ]


def test_history_knows_who_with_what_when_and_in_which_transaction(psql: Psql) -> None:
    with psql.connection.transaction():
        psql("UPDATE tasks SET title = 'Uno' WHERE id = 1")
        (now,) = psql("SELECT session_user AS role, pg_current_xact_id()::text AS xid, now() AS at")
    (row,) = psql("SELECT actor, operation, xid::text, at FROM history ORDER BY id DESC LIMIT 1")
    assert (row["actor"], row["operation"], row["xid"]) == (now["role"], "psql", now["xid"])
    assert row["at"] >= now["at"]


def test_history_knows_a_program_that_says_who_acts(psql: Psql) -> None:
    with psql.connection.transaction():
        psql("SELECT set_config('concord.actor', 'bo', true)")
        psql("SELECT set_config('concord.operation', 'nightly', true)")
        psql("UPDATE tasks SET title = 'Uno' WHERE id = 1")
    psql("SET application_name = ''")
    psql("UPDATE tasks SET title = 'Due' WHERE id = 1")
    first, second = psql("SELECT actor, operation FROM history ORDER BY id DESC LIMIT 2")[::-1]
    assert first == {"actor": "bo", "operation": "nightly"}
    assert second["operation"] == "sql"
    assert second["actor"] != "bo"


def test_what_is_rolled_back_leaves_no_history(psql: Psql) -> None:
    last = psql.last()
    with psql.connection.transaction(force_rollback=True):
        psql("UPDATE tasks SET title = 'Uno'")
    assert psql.told(last) == []


# What is refused


REFUSED: tuple[LiteralString, ...] = (
    "UPDATE history SET actor = 'nobody'",
    "UPDATE history SET actor = actor WHERE false",
    "DELETE FROM history",
    "TRUNCATE history",
    "TRUNCATE history, tasks CASCADE",
    "UPDATE task_tags SET tag_id = 31",
    "UPDATE assignments SET user_id = 11",
    "UPDATE assignments SET task_id = 2",
)


def test_history_is_append_only_and_rows_of_lists_are_fixed(psql: Psql) -> None:
    psql("INSERT INTO task_tags (task_id, tag_id) VALUES (1, 30)")
    psql("INSERT INTO assignments (task_id, user_id) VALUES (1, 10)")
    before = psql("SELECT * FROM history ORDER BY id")
    for statement in REFUSED:
        with pytest.raises(pg.RestrictViolation, match="is not allowed") as raised:
            psql(statement)
        assert raised.value.diag.message_hint
    assert psql("SELECT * FROM history ORDER BY id") == before


def test_who_assigned_somebody_may_go(psql: Psql) -> None:
    psql("INSERT INTO assignments (task_id, user_id, assigned_by) VALUES (1, 10, 11)")
    psql("DELETE FROM users WHERE id = 11")
    assert psql("SELECT user_id, assigned_by FROM assignments") == [
        {"user_id": 10, "assigned_by": None}
    ]
