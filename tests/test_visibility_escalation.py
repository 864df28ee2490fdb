"""What somebody might try to see or do more than they may, by raw SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from visibility import (
    ACTORS,
    HIDDEN_TAGS,
    HIDDEN_TASKS,
    MISSING,
    OWN,
    SEC,
    Actor,
    tried,
    world_of_logins,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

    Connection = psycopg.Connection[Any]

STRANGER = Actor("stranger", login=True)
VIEWER = Actor("viewer", login=True)
MEMBER = Actor("member", login=True)
ASSIGNEE = Actor("assignee", login=True)


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[str]:
    """The address of a database with the world in it."""
    with world_of_logins(server, template, "tried_world") as url:
        yield url


@pytest.fixture
def connection(world: str) -> Iterator[Connection]:
    """A superuser's connection, in a transaction that comes to nothing."""
    with tried(world) as made:
        yield made


def told(connection: Connection, *statements: str) -> tuple[str | None, str]:
    """Try statements and take them back; return the SQLSTATE and message of the last."""
    connection.execute("SAVEPOINT try")
    try:
        for statement in statements:
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate, str(error)
    else:
        return None, ""
    finally:
        connection.execute("ROLLBACK TO try")


def scalars(connection: Connection, query: LiteralString) -> list[Any]:
    """Return the first column."""
    return [row[0] for row in connection.execute(query).fetchall()]


DENIED = {
    "assigning oneself to a hidden task": (
        STRANGER,
        "INSERT INTO assignments (task_id, user_id) VALUES (1, 5)",
    ),
    "assigning oneself to what one views": (
        VIEWER,
        "INSERT INTO assignments (task_id, user_id) VALUES (2, 3)",
    ),
    "joining a private project": (
        STRANGER,
        "INSERT INTO project_members (project_id, user_id, role) VALUES (1, 5, 'owner')",
    ),
    "joining a shared project as its owner": (
        STRANGER,
        "INSERT INTO project_members (project_id, user_id, role) VALUES (2, 5, 'owner')",
    ),
    "letting in somebody else as a member": (
        MEMBER,
        "INSERT INTO project_members (project_id, user_id) VALUES (1, 6)",
    ),
    "taking over a project by its name": (MEMBER, "UPDATE projects SET owner_id = 2 WHERE id = 1"),
    "making a private project shared": (
        MEMBER,
        "UPDATE projects SET visibility = 'shared' WHERE id = 1",
    ),
    "making a project of one's own in a project's row": (
        STRANGER,
        (
            "INSERT INTO projects (id, key, name, owner_id) VALUES (1, 'MINE', 'Mine', 5)"
            " ON CONFLICT (id) DO UPDATE SET owner_id = 5"
        ),
    ),
    "moving a task into a hidden project": (
        STRANGER,
        "UPDATE tasks SET project_id = 1 WHERE id = 6",
    ),
    "moving a task into a project that one views": (
        VIEWER,
        "UPDATE tasks SET project_id = 2 WHERE id = 3",
        "INSERT INTO tasks (title, owner_id, project_id) VALUES ('x', 3, 2)",
    ),
    "putting a task into a hidden project": (
        STRANGER,
        "INSERT INTO tasks (title, owner_id, project_id) VALUES ('x', 5, 1)",
    ),
    "taking over a hidden task on conflict": (
        STRANGER,
        (
            "INSERT INTO tasks (id, title, owner_id) VALUES (1, 'x', 5)"
            " ON CONFLICT (id) DO UPDATE SET owner_id = 5"
        ),
    ),
    "putting a task into somebody's inbox": (
        STRANGER,
        "INSERT INTO tasks (title, owner_id) VALUES ('x', 1)",
    ),
    "giving a task into somebody's inbox": (
        STRANGER,
        "UPDATE tasks SET owner_id = 1 WHERE id = 6",
    ),
    "moving an own comment under a hidden task": (
        STRANGER,
        "UPDATE comments SET task_id = 1 WHERE id = 6",
    ),
    "signing an own comment with another's name": (
        STRANGER,
        "UPDATE comments SET author_id = 1 WHERE id = 6",
    ),
    "giving somebody a view": (STRANGER, "UPDATE views SET owner_id = 1 WHERE id = 2"),
    "renaming oneself": (STRANGER, "UPDATE users SET username = 'ruler' WHERE id = 5"),
    "taking another's name": (STRANGER, "UPDATE users SET username = 'stranger2' WHERE id = 1"),
    "changing another's address": (STRANGER, "UPDATE users SET email = 'a@b.c' WHERE id = 1"),
    "writing history": (
        MEMBER,
        "INSERT INTO history (entity, entity_id, old, new) VALUES ('task', 1, '{}', '{}')",
    ),
    "rewriting history": (MEMBER, "UPDATE history SET actor = 'owner'"),
    "forgetting history": (MEMBER, "DELETE FROM history"),
    "writing history through what records lists": (
        MEMBER,
        "SELECT record_list('tags', '{\"1\": [\"x\"]}', true)",
    ),
    "opening gates": (MEMBER, "DELETE FROM gates"),
    "moving gates": (MEMBER, "UPDATE gates SET turn = 7"),
    "reading gates": (MEMBER, "SELECT * FROM gates"),
    "writing a document": (MEMBER, "UPDATE task_texts SET document = ''"),
    "writing documents through what indexes": (MEMBER, "SELECT index_task(1)"),
    "truncating": (MEMBER, "TRUNCATE comments"),
    "truncating as the owner of a project": (Actor("owner", login=True), "TRUNCATE tasks CASCADE"),
    "putting a sequence back": (MEMBER, "SELECT setval('tasks_id_seq', 1)"),
    "a schema of one's own": (MEMBER, "CREATE SCHEMA mine"),
    "a table beside those of Concord": (MEMBER, "CREATE TABLE public.mine ()"),
    "a trigger on a table": (
        MEMBER,
        "CREATE TRIGGER mine AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION end_claim()",
    ),
    "a policy": (MEMBER, "CREATE POLICY mine ON tasks USING (true)"),
    "no row security": (MEMBER, "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY"),
    "no row security, for oneself": (
        MEMBER,
        "SET LOCAL row_security = off",
        "SELECT count(*) FROM tasks",
    ),
    "becoming the service": (MEMBER, "SET LOCAL ROLE concord_service"),
    "becoming somebody else": (MEMBER, "SET LOCAL ROLE owner"),
    "becoming the owner of the tables": (MEMBER, "SET LOCAL ROLE concord"),
    "triggers that do not fire": (MEMBER, "SET LOCAL session_replication_role = replica"),
    "reading the server's files": (MEMBER, "COPY tasks FROM '/etc/hostname'"),
    "running a program": (MEMBER, "COPY tasks TO PROGRAM 'true'"),
}


@pytest.mark.parametrize("name", DENIED)
def test_whoever_tries_is_denied(connection: Connection, name: str) -> None:
    actor, *statements = DENIED[name]
    actor.become(connection)
    assert told(connection, *statements)[0] == "42501"


UNTOUCHED: dict[str, tuple[Actor, LiteralString]] = {
    "owning what one only views": (VIEWER, "UPDATE tasks SET owner_id = 3 WHERE id IN (1, 2, 3)"),
    "a role of one's own": (VIEWER, "UPDATE project_members SET role = 'owner' WHERE user_id = 3"),
    "a role of a member's own": (
        MEMBER,
        "UPDATE project_members SET role = 'owner' WHERE user_id = 2",
    ),
    "no role at all in a shared project": (
        VIEWER,
        "DELETE FROM project_members WHERE project_id = 2 AND user_id = 3",
    ),
    "hidden tasks, blindly": (STRANGER, "UPDATE tasks SET owner_id = 5 WHERE id < 3"),
    "another's comment": (MEMBER, "UPDATE comments SET body = 'never said' WHERE id = 1"),
    "removing another's comment": (MEMBER, "DELETE FROM comments WHERE id = 1"),
    "removing a task that one was given": (ASSIGNEE, "DELETE FROM tasks WHERE id = 1"),
    "another's claim on what one views": (VIEWER, "UPDATE claims SET epoch = 9"),
    "locking what one views": (VIEWER, "SELECT FROM tasks WHERE id < 4 FOR UPDATE"),
    "locking what one views a little": (VIEWER, "SELECT FROM tasks WHERE id < 4 FOR KEY SHARE"),
    "locking what is hidden": (STRANGER, "SELECT FROM tasks WHERE id IN (1, 2) FOR UPDATE"),
    "removing users": (MEMBER, "DELETE FROM users WHERE id = 6"),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_whoever_tries_touches_nothing(connection: Connection, name: str) -> None:
    actor, statement = UNTOUCHED[name]
    actor.become(connection)
    assert connection.execute(statement).rowcount == 0


def test_a_statement_that_reads_nothing_reaches_no_more(connection: Connection) -> None:
    """The server holds an UPDATE without WHERE to the policies for UPDATE alone."""
    for table, statement, hidden in (
        ("tasks", "UPDATE tasks SET extra = '{\"x\": 1}'", "id = ANY(%s)"),
        ("tags", "UPDATE tags SET made_by = NULL", "id = ANY(%s)"),
        ("tags", "UPDATE tags SET made_by = 5", "id = ANY(%s)"),
    ):
        ids = list(HIDDEN_TASKS if table == "tasks" else HIDDEN_TAGS)
        query = f"SELECT array_agg(x ORDER BY id) FROM {table} x WHERE {hidden}".encode()
        was = connection.execute(query, (ids,)).fetchone()
        connection.execute("SAVEPOINT try")
        STRANGER.become(connection)
        connection.execute(statement.encode())
        connection.execute("RESET SESSION AUTHORIZATION")
        assert connection.execute(query, (ids,)).fetchone() == was, statement
        connection.execute("ROLLBACK TO try")


def test_a_login_is_not_somebody_else_by_saying_so(connection: Connection) -> None:
    STRANGER.become(connection)
    for actor in ("owner", "member", "concord"):
        connection.execute("SELECT set_config('concord.actor', %s, false)", (actor,))
        assert scalars(connection, "SELECT current_actor()") == ["stranger"]
        assert 1 not in scalars(connection, "SELECT id FROM tasks")


def test_a_login_writes_history_in_its_own_name(connection: Connection) -> None:
    STRANGER.become(connection)
    connection.execute("UPDATE tasks SET title = 'Renamed' WHERE id = 6")
    assert scalars(connection, "SELECT actor FROM history ORDER BY id DESC LIMIT 1") == ["stranger"]


def test_nobody_hangs_a_trusted_function_on_a_table_of_their_own(connection: Connection) -> None:
    functions = scalars(
        connection,
        "SELECT proname::text FROM pg_proc WHERE prosecdef AND prorettype = 'trigger'::regtype"
        " AND pronamespace = 'public'::regnamespace",
    )
    assert "enter_owner" in functions
    STRANGER.become(connection)
    connection.execute(
        "CREATE TEMP TABLE bait (id bigint, owner_id bigint, task_id bigint, status task_status)"
    )
    allowed = [
        name
        for name in functions
        if told(
            connection,
            f"CREATE TRIGGER hook AFTER INSERT ON bait FOR EACH ROW EXECUTE FUNCTION {name}('x')",
        )[0]
        != "42501"
    ]
    assert not allowed


def test_a_trigger_function_is_not_called(connection: Connection) -> None:
    STRANGER.become(connection)
    state, _ = told(connection, "SELECT enter_owner()")
    assert state in ("42501", "0A000")


@pytest.mark.parametrize("path", ["", "SET LOCAL search_path = pg_temp, public, pg_catalog"])
def test_a_temporary_table_stands_for_nothing(connection: Connection, path: str) -> None:
    STRANGER.become(connection)
    connection.execute(
        """
        CREATE TEMP TABLE users (id bigint, username text);
        CREATE TEMP TABLE projects (id bigint, visibility text, owner_id bigint);
        CREATE TEMP TABLE project_members (project_id bigint, user_id bigint, role text);
        CREATE TEMP TABLE assignments (task_id bigint, user_id bigint);
        CREATE TEMP TABLE tags (id bigint, name text, made_by bigint);
        CREATE TEMP TABLE task_tags (task_id bigint, tag_id bigint);
        CREATE TEMP TABLE history (xid xid8, at timestamptz);
        CREATE TEMP TABLE pg_class (oid oid, relowner oid);
        INSERT INTO users VALUES (1, 'stranger');
        INSERT INTO projects VALUES (1, 'shared', 5);
        INSERT INTO project_members VALUES (1, 5, 'owner');
        INSERT INTO assignments VALUES (1, 5), (2, 5), (4, 5);
        INSERT INTO pg_class SELECT c.oid, r.oid FROM pg_catalog.pg_class c, pg_roles r
        WHERE r.rolname = 'stranger' AND c.relname IN ('users', 'tasks');
        """
    )
    if path:
        connection.execute(path.encode())
    assert scalars(connection, "SELECT current_actor_id()") == [5]
    assert not set(HIDDEN_TASKS) & set(scalars(connection, "SELECT id FROM public.tasks"))
    assert SEC not in scalars(connection, "SELECT readable_projects()")
    assert SEC not in scalars(connection, "SELECT writable_projects()")
    assert scalars(connection, "SELECT owned_projects()") == [OWN]
    assert told(connection, "UPDATE public.tasks SET project_id = 1 WHERE id = 6")[0] == "42501"
    connection.execute("UPDATE public.tasks SET title = 'Renamed' WHERE id = 6")
    connection.execute("SELECT add_tag('loud')")
    assert scalars(connection, "SELECT count(*) FROM tags") == [
        0 if path else scalars(connection, "SELECT count(*) FROM pg_temp.tags")[0]
    ]


@pytest.mark.parametrize(
    "table",
    [
        *("tasks", "comments", "tags", "projects", "history", "links"),
        *("tasks_by_assignee", "tasks_by_tag"),
    ],
)
def test_a_function_in_a_condition_is_shown_no_hidden_row(
    connection: Connection, table: str
) -> None:
    STRANGER.become(connection)
    connection.execute(
        """
        CREATE FUNCTION pg_temp.spy(shown text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
        AS $$ BEGIN RAISE NOTICE '%', shown; RETURN true; END $$;
        CREATE FUNCTION pg_temp.same(one text, other text) RETURNS boolean LANGUAGE plpgsql
        COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', one; RETURN true; END $$;
        CREATE OPERATOR pg_temp.=== (
            LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.same, RESTRICT = eqsel);
        SET LOCAL client_min_messages = notice;
        """
    )
    shown: list[str] = []
    connection.add_notice_handler(lambda notice: shown.append(notice.message_primary or ""))
    whole = f"SELECT count(*) FROM {table} x WHERE"
    seen = len(connection.execute(f"SELECT FROM {table}".encode()).fetchall())
    for condition in (
        "pg_temp.spy(x::text)",
        "pg_temp.spy(x::text) AND NOT pg_temp.spy(x::text)",
        "CASE WHEN pg_temp.spy(x::text) THEN true END",
        "x::text OPERATOR(pg_temp.===) 'a'",
        "EXISTS (SELECT FROM tasks t WHERE pg_temp.spy(t::text || x::text) LIMIT 1)",
    ):
        connection.execute(f"{whole} {condition}".encode())
    assert seen
    assert shown
    assert not [line for line in shown if "hisper" in line or "Inbox of owner" in line]


def test_an_error_in_a_condition_tells_of_no_hidden_row(connection: Connection) -> None:
    STRANGER.become(connection)
    for statement in (
        "SELECT FROM tasks WHERE 1 / (id - 1) > 5 AND id = 1",
        "SELECT FROM tasks WHERE (title || 'x')::int > 0 AND id IN (1, 2, 4)",
        "SELECT FROM comments WHERE body::int > 0 AND task_id = 1",
        "UPDATE tasks SET title = '' WHERE id = 1",
        "DELETE FROM tasks WHERE id = 1 AND title::int = 1",
    ):
        assert told(connection, statement) == (None, ""), statement


def test_statistics_tell_nothing(connection: Connection) -> None:
    connection.execute("ANALYZE")
    assert scalars(connection, "SELECT count(*) FROM pg_stats WHERE tablename = 'tasks'") != [0]
    MEMBER.become(connection)
    for query in (
        (
            "SELECT tablename FROM pg_stats WHERE schemaname = 'public'"
            " AND tablename <> 'alembic_version'"
        ),
        "SELECT tablename FROM pg_stats_ext",
    ):
        assert scalars(connection, query) == []
    assert told(connection, "SELECT * FROM pg_statistic")[0] == "42501"


@pytest.mark.parametrize("actor", ACTORS, ids=str)
def test_copy_writes_what_is_seen(connection: Connection, actor: Actor) -> None:
    actor.become(connection)
    seen = scalars(connection, "SELECT id FROM tasks ORDER BY id")
    with connection.cursor().copy("COPY tasks (id) TO STDOUT") as copy:
        assert sorted(int(row[0]) for row in copy.rows()) == seen


MISSES = {
    "an assignment": "INSERT INTO assignments (task_id, user_id) VALUES ({task}, 5)",
    "a comment": "INSERT INTO comments (task_id, author_id, body) VALUES ({task}, 5, 'x')",
    "a claim": "INSERT INTO claims (task_id) VALUES ({task})",
    "a tag on it": "INSERT INTO task_tags (task_id, tag_id) VALUES ({task}, 3)",
    "waiting for it": "INSERT INTO links (blocked_id, blocker_id) VALUES (6, {task})",
    "its waiting": "INSERT INTO links (blocked_id, blocker_id) VALUES ({task}, 6)",
    "a base": "INSERT INTO import_bases (task_id, format, ref, fields)"
    " VALUES ({task}, 'x', 'x', '{{}}')",
    "a part of it": "INSERT INTO tasks (title, owner_id, parent_id) VALUES ('x', 5, {task})",
    "becoming a part of it": "UPDATE tasks SET parent_id = {task} WHERE id = 6",
    "coming after it": "INSERT INTO tasks (title, owner_id, previous_id) VALUES ('x', 5, {task})",
    "whether it waits": "SELECT 1 / (is_blocked({task})::int - 1)",
    "whether it has parts": "SELECT 1 / (has_open_child({task})::int - 1)",
    "a member of its project": "INSERT INTO project_members VALUES ({project}, 5, 'member')",
    "a task in its project": "INSERT INTO tasks (title, owner_id, project_id)"
    " VALUES ('x', 5, {project})",
    "moving into its project": "UPDATE tasks SET project_id = {project} WHERE id = 6",
    "a base for its project": "INSERT INTO import_bases (task_id, format, project_id, ref, fields)"
    " VALUES (6, 'jsonl', {project}, 'W-1', '{{}}')",
    "whether its tag is used": "SELECT 1 / (tag_is_used({tag})::int - 1)",
    "its tag": "INSERT INTO task_tags (task_id, tag_id) VALUES (6, {tag})",
    "a forgotten tag": "INSERT INTO task_tags (task_id, tag_id) VALUES (9, {tag})",
}


ORACLES = {
    "whether it waits": "readiness asks of parents that are hidden",
    "whether it has parts": "readiness counts parts that are hidden",
}
"""What does tell, and why: nothing but a yes."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason=ORACLES[name], strict=True))
        if name in ORACLES
        else name
        for name in MISSES
    ],
)
def test_what_is_hidden_is_told_from_what_is_missing_by_no_error(
    connection: Connection, name: str
) -> None:
    STRANGER.become(connection)
    statement = MISSES[name]
    missing = told(connection, statement.format(task=MISSING, project=MISSING, tag=MISSING))
    for task in HIDDEN_TASKS:
        for tag in HIDDEN_TAGS:
            hidden = told(connection, statement.format(task=task, project=SEC, tag=tag))
            assert hidden == missing, f"{name}: task {task}, project {SEC}, tag {tag}"


def test_a_hidden_tag_is_used_as_a_new_one_is(connection: Connection) -> None:
    STRANGER.become(connection)
    for name in ("whisper", "forgotten", "unheard"):
        assert told(connection, f"SELECT add_tag('{name}')") == (None, ""), name
        statement = f"SELECT 1 FROM put_tags('{{6}}', '{{{name}}}')"
        assert connection.execute(statement.encode()).fetchall() == [(1,)], name
