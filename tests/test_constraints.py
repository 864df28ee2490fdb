"""Every rule of the schema, broken for real, is told in domain terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import pytest
from conftest import Server, settings_for
from workers import psql

from concord.constraints import CONSTRAINTS, domain_error
from concord.database import Database, Isolation, Transaction, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES: LiteralString = """
SELECT conname FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'f')
UNION
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = 'public'::regnamespace AND indisunique AND NOT indisprimary
UNION
SELECT (regexp_matches(prosrc, 'CONSTRAINT = ''([a-z_]+)''', 'g'))[1] FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
"""
"""CHECK, UNIQUE and FOREIGN KEY constraints, unique indexes that no constraint has made, and the
rules that triggers keep."""

WORLD: LiteralString = """
INSERT INTO users (id, username, email) VALUES (10, 'bo', 'bo@example.org');
INSERT INTO projects (id, key, name, owner_id) VALUES (20, 'API', 'API', 10);
INSERT INTO tags (id, name) VALUES (30, 'bug');
INSERT INTO tasks (id, uid, title, owner_id, project_id, external_ref)
VALUES (40, '00000000-0000-0000-0000-000000000040', 'Parent', 10, 20, 'T1');
INSERT INTO tasks (id, title, owner_id, parent_id) VALUES (41, 'Child', 10, 40);
INSERT INTO tasks (id, title, owner_id, previous_id) VALUES (42, 'Again', 10, 41);
INSERT INTO users (id, username) VALUES (11, 'di'), (12, 'ed');
INSERT INTO claims (task_id, user_id, claimed_at, expires_at) VALUES (40, 11, now(), now());
INSERT INTO comments (task_id, author_id, body, external_ref) VALUES (40, 12, 'Yes.', 'c1');
INSERT INTO views (owner_id, name, options) VALUES (10, 'mine', '{}');
INSERT INTO projects (id, key, name, owner_id, wip_limit) VALUES (21, 'WEB', 'WEB', 10, 1);
INSERT INTO tasks (id, title, owner_id, project_id, status)
VALUES (50, 'Now', 10, 21, 'in_progress');
INSERT INTO projects (id, key, name, owner_id) VALUES (22, 'OPS', 'OPS', 10);
INSERT INTO tasks (title, owner_id, project_id, status)
SELECT 'Now', 10, 22, 'in_progress' FROM generate_series(1, 2);
"""

VIOLATIONS: dict[str, tuple[str, LiteralString]] = {
    "users_username_key": ("conflict", "INSERT INTO users (username) VALUES ('BO')"),
    "users_email_key": (
        "conflict",
        "INSERT INTO users (username, email) VALUES ('cy', 'Bo@Example.org')",
    ),
    "users_username_check": ("usage", "INSERT INTO users (username) VALUES ('b o')"),
    "users_email_check": ("usage", "UPDATE users SET email = 'nowhere'"),
    "projects_key_key": (
        "conflict",
        "INSERT INTO projects (key, name, owner_id) VALUES ('API', 'x', 10)",
    ),
    "projects_key_check": ("usage", "UPDATE projects SET key = 'api'"),
    "projects_name_length": ("usage", "UPDATE projects SET name = ''"),
    "projects_wip_limit_positive": ("usage", "UPDATE projects SET wip_limit = 0"),
    "projects_owner_id_fkey": ("refused", "UPDATE projects SET owner_id = 99"),
    "project_members_project_id_fkey": (
        "not_found",
        "INSERT INTO project_members (project_id, user_id) VALUES (99, 10)",
    ),
    "project_members_user_id_fkey": (
        "not_found",
        "INSERT INTO project_members (project_id, user_id) VALUES (20, 99)",
    ),
    "project_members_owner": ("refused", "UPDATE project_members SET role = 'viewer'"),
    "tasks_owner_id_fkey": ("refused", "UPDATE tasks SET owner_id = 99"),
    "tasks_project_id_fkey": ("refused", "DELETE FROM projects"),
    "tasks_title_length": ("usage", "UPDATE tasks SET title = repeat('x', 256)"),
    "tasks_title_one_line": ("usage", r"UPDATE tasks SET title = E'two\nlines'"),
    "tasks_uid_key": (
        "conflict",
        "UPDATE tasks SET uid = '00000000-0000-0000-0000-000000000040' WHERE id = 41",
    ),
    "tasks_project_id_external_ref_key": (
        "conflict",
        "UPDATE tasks SET project_id = 20, external_ref = 'T1' WHERE id = 41",
    ),
    "tasks_parent_id_fkey": ("refused", "DELETE FROM tasks WHERE id = 40"),
    "tasks_parent_not_itself": ("refused", "UPDATE tasks SET parent_id = id"),
    "tasks_completed_at_check": (
        "usage",
        "INSERT INTO tasks (title, owner_id, completed_at) VALUES ('x', 10, now())",
    ),
    "tasks_due_check": (
        "usage",
        "INSERT INTO tasks (title, owner_id, due) VALUES ('x', 10, 'infinity')",
    ),
    "tasks_canceled_at_check": (
        "usage",
        "INSERT INTO tasks (title, owner_id, canceled_at) VALUES ('x', 10, now())",
    ),
    "tasks_recurrence_check": (
        "usage",
        "UPDATE tasks SET recurrence = 'sometimes', recurrence_zone = 'UTC'",
    ),
    "tasks_recurrence_zone_check": ("usage", "UPDATE tasks SET recurrence = 'every 2w'"),
    "tasks_extra_object": ("usage", "UPDATE tasks SET extra = '[]' WHERE id = 41"),
    "task_texts_task_id_fkey": (
        "not_found",
        "INSERT INTO task_texts (task_id, document) VALUES (99, '')",
    ),
    "tasks_previous_id_fkey": ("not_found", "UPDATE tasks SET previous_id = 99 WHERE id = 41"),
    "tasks_previous_id_key": (
        "conflict",
        "INSERT INTO tasks (title, owner_id, previous_id) VALUES ('x', 10, 41)",
    ),
    "tasks_wip_limit": (
        "refused",
        (
            "INSERT INTO tasks (title, owner_id, project_id, status)"
            " VALUES ('x', 10, 21, 'in_progress')"
        ),
    ),
    "projects_wip_limit_exceeded": ("refused", "UPDATE projects SET wip_limit = 1 WHERE id = 22"),
    "links_not_itself": ("refused", "INSERT INTO links (blocked_id, blocker_id) VALUES (40, 40)"),
    "links_blocked_id_fkey": (
        "not_found",
        "INSERT INTO links (blocked_id, blocker_id) VALUES (99, 40)",
    ),
    "links_blocker_id_fkey": (
        "not_found",
        "INSERT INTO links (blocked_id, blocker_id) VALUES (40, 99)",
    ),
    "claims_task_id_fkey": ("not_found", "INSERT INTO claims (task_id) VALUES (99)"),
    "claims_user_id_fkey": ("refused", "DELETE FROM users WHERE id = 11"),
    "claims_epoch_positive": ("usage", "UPDATE claims SET epoch = 0"),
    "claims_held": ("usage", "UPDATE claims SET expires_at = NULL"),
    "comments_task_id_fkey": (
        "not_found",
        "INSERT INTO comments (task_id, author_id, body) VALUES (99, 10, 'x')",
    ),
    "comments_author_id_fkey": ("refused", "DELETE FROM users WHERE id = 12"),
    "comments_body_check": ("usage", "UPDATE comments SET body = ' '"),
    "comments_task_id_external_ref_key": (
        "conflict",
        (
            "INSERT INTO comments (task_id, author_id, body, external_ref)"
            " VALUES (40, 10, 'No.', 'c1')"
        ),
    ),
    "views_owner_id_fkey": (
        "not_found",
        "INSERT INTO views (owner_id, name, options) VALUES (99, 'x', '{}')",
    ),
    "views_name_check": ("usage", "UPDATE views SET name = '-x'"),
    "views_owner_id_name_key": (
        "conflict",
        "INSERT INTO views (owner_id, name, options) VALUES (10, 'Mine', '{}')",
    ),
    "tags_name_key": ("conflict", "INSERT INTO tags (name) VALUES ('Bug')"),
    "tags_name_check": ("usage", "INSERT INTO tags (name) VALUES ('12')"),
    "tags_made_by_fkey": ("not_found", "INSERT INTO tags (name, made_by) VALUES ('new', 99)"),
    "assignments_task_id_fkey": (
        "not_found",
        "INSERT INTO assignments (task_id, user_id) VALUES (99, 10)",
    ),
    "assignments_user_id_fkey": (
        "not_found",
        "INSERT INTO assignments (task_id, user_id) VALUES (40, 99)",
    ),
    "assignments_assigned_by_fkey": (
        "not_found",
        "INSERT INTO assignments (task_id, user_id, assigned_by) VALUES (40, 10, 99)",
    ),
    "task_tags_task_id_fkey": (
        "not_found",
        "INSERT INTO task_tags (task_id, tag_id) VALUES (99, 30)",
    ),
    "task_tags_tag_id_fkey": (
        "not_found",
        "INSERT INTO task_tags (task_id, tag_id) VALUES (40, 99)",
    ),
    "import_bases_task_id_fkey": (
        "not_found",
        "INSERT INTO import_bases (task_id, format, ref, fields) VALUES (99, 'jsonl', 'x', '{}')",
    ),
    "import_bases_project_id_fkey": (
        "not_found",
        (
            "INSERT INTO import_bases (task_id, format, project_id, ref, fields)"
            " VALUES (40, 'beads', 99, 'x', '{}')"
        ),
    ),
    "import_bases_project_id_format_ref_key": (
        "conflict",
        (
            "INSERT INTO import_bases (task_id, format, project_id, ref, fields)"
            " VALUES (40, 'beads', 20, 'x', '{}'), (41, 'beads', 20, 'x', '{}')"
        ),
    ),
}
"""Constraint → the error its violation means, and a statement that violates it."""

NO_NAMES = ["", "b o", "b,o", "b\to", "b\no", "b\x7fo", "12", "-x", "x" * 65, "\u2003"]
NAMES = ["b", "o" * 64, "12a", "a-1", "Ærø", "名前", "a@b", "x.y_z"]


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[Database]:
    """A database with one of everything; each statement below leaves it as it is."""
    with server.janitor("constraints", template) as janitor:
        url = server.url(janitor.dbname)
        psql(url, WORLD)
        # Whom row-level security lets pass: a row is to be refused for what is wrong with it.
        with Database(settings_for(url), "test", owner=True) as made:
            yield made


@transaction(isolation=Isolation.SERIALIZABLE)
def execute_serializable(tx: Transaction, statement: LiteralString) -> None:
    tx.execute(statement)


@transaction(isolation=Isolation.READ_COMMITTED)
def execute(tx: Transaction, statement: LiteralString, *parameters: str) -> None:
    tx.execute(statement, parameters or None)


def test_every_rule_of_the_schema_has_a_meaning_and_nothing_else_has(world: Database) -> None:
    rules = {name for (name,) in world.connection().execute(RULES).fetchall()}
    assert set(CONSTRAINTS) == rules
    assert {*VIOLATIONS, "projects_wip_limit_isolation"} == rules


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_broken_rule_is_told_in_domain_terms(world: Database, name: str) -> None:
    slug, statement = VIOLATIONS[name]
    with pytest.raises(CONSTRAINTS[name].error) as raised:
        world.run(execute, statement)
    assert raised.value.slug == slug
    assert raised.value.details["constraint"] == name
    assert raised.value.message.startswith(CONSTRAINTS[name].message)
    assert raised.value.hint


def test_a_limit_is_not_set_by_an_older_snapshot(world: Database) -> None:
    # It would count what was in progress before.
    meaning = CONSTRAINTS["projects_wip_limit_isolation"]
    with pytest.raises(meaning.error, match=meaning.message):
        world.run(execute_serializable, "UPDATE projects SET wip_limit = 9 WHERE id = 22")


def test_a_limit_tells_what_is_in_progress(world: Database) -> None:
    with pytest.raises(CONSTRAINTS["tasks_wip_limit"].error) as raised:
        world.run(execute, VIOLATIONS["tasks_wip_limit"][1])
    assert raised.value.message == (
        "the work-in-progress limit is reached: project WEB may have 1 in progress; in progress: 50"
    )


def test_a_duplicate_shows_the_key_that_is_taken(world: Database) -> None:
    with pytest.raises(CONSTRAINTS["users_username_key"].error) as raised:
        world.run(execute, VIOLATIONS["users_username_key"][1])
    assert "(bo)" in raised.value.details["detail"]


def test_an_unknown_rule_has_no_meaning() -> None:
    assert domain_error("tasks_pkey", None) is None
    assert domain_error(None, None) is None


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO users (username) VALUES (%s)", "users_username_check"),
        ("INSERT INTO tags (name) VALUES (%s)", "tags_name_check"),
    ],
)
def test_what_is_no_name(
    world: Database, statement: LiteralString, constraint: str, name: str
) -> None:
    with pytest.raises(CONSTRAINTS[constraint].error) as raised:
        world.run(execute, statement, name)
    assert raised.value.details["constraint"] == constraint


@pytest.mark.parametrize("name", NAMES)
def test_what_is_a_name(world: Database, name: str) -> None:
    connection = world.connection()
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO users (username) VALUES (%s)", [name])
        connection.execute("INSERT INTO tags (name) VALUES (%s)", [name])


@pytest.mark.parametrize(
    ("title", "constraint"),
    [
        ("", "tasks_title_length"),
        (" \t ", "tasks_title_length"),
        ("\u00a0\u2003", "tasks_title_length"),
        ("a\rb", "tasks_title_one_line"),
    ],
)
def test_what_is_no_title(world: Database, title: str, constraint: str) -> None:
    with pytest.raises(CONSTRAINTS[constraint].error) as raised:
        world.run(execute, "UPDATE tasks SET title = %s", title)
    assert raised.value.details["constraint"] == constraint
