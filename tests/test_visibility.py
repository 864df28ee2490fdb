"""Who sees and changes which rows by raw SQL: every table, verb, row and person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from visibility import (
    ACTORS,
    MISSING,
    OWN,
    PUB,
    SEC,
    USERS,
    Actor,
    Rules,
    tried,
    world_of_logins,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server
    from visibility import Row, Verb

    Connection = psycopg.Connection[Any]

SECURED: LiteralString = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm', 'v', 'f')
  AND relrowsecurity AND relforcerowsecurity
"""

TABLES: LiteralString = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm', 'v', 'f')
"""

# A view looks at tables as its owner.
BARRIERS: LiteralString = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
  AND reloptions @> '{security_barrier=true}'
"""

KEYS: LiteralString = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_constraint p JOIN pg_class c ON c.oid = p.conrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(p.conkey)
WHERE p.contype = 'p' AND c.relnamespace = 'public'::regnamespace GROUP BY 1
"""

WRITTEN = {
    "users": "email",
    "projects": "description",
    "project_members": "role",
    "tasks": "description",
    "task_texts": "document",
    "tags": "name",
    "task_tags": "tag_id",
    "assignments": "assigned_at",
    "links": "created_at",
    "claims": "epoch",
    "comments": "body",
    "import_bases": "ref",
    "views": "options",
    "history": "old",
    "gates": "turn",
}
"""The column that a try writes, by table: with what is there, so that no other rule is broken."""

VIEWS: dict[str, LiteralString] = {
    "open_links": """
        SELECT l.blocked_id, l.blocker_id
        FROM links l JOIN tasks t ON t.id = l.blocked_id JOIN tasks b ON b.id = l.blocker_id
        WHERE t.status IN ('todo', 'in_progress') AND t.deleted_at IS NULL
          AND b.status IN ('todo', 'in_progress') AND b.deleted_at IS NULL
        ORDER BY 1, 2
        """,
    "tasks_by_assignee": """
        SELECT t.id, t.project_id, t.owner_id, t.parent_id, t.title, t.status, t.priority, t.due,
               t.external_ref, t.recurrence, t.created_at, t.updated_at, t.started_at,
               t.completed_at, t.canceled_at, t.deleted_at, x.user_id
        FROM tasks t LEFT JOIN assignments x ON x.task_id = t.id ORDER BY 1, 17
        """,
    "tasks_by_tag": """
        SELECT t.id, t.project_id, t.owner_id, t.parent_id, t.title, t.status, t.priority, t.due,
               t.external_ref, t.recurrence, t.created_at, t.updated_at, t.started_at,
               t.completed_at, t.canceled_at, t.deleted_at, x.tag_id
        FROM tasks t LEFT JOIN task_tags x ON x.task_id = t.id ORDER BY 1, 17
        """,
}
"""What a view is to tell: the same as the tables tell the same person."""

READ_ONLY = {"history", "task_texts", "gates"}
"""Tables that nobody may write: one row tells it of all."""

REACHED = {"23503", "23514"}
"""A row that is used, or a project's last owner: what was to be removed could be, but for that."""


@pytest.fixture(scope="module")
def world(server: Server, template: str) -> Iterator[str]:
    """The address of a database with the world in it."""
    with world_of_logins(server, template, "visible_world") as url:
        yield url


@pytest.fixture
def connection(world: str) -> Iterator[Connection]:
    """A superuser's connection, in a transaction that comes to nothing."""
    with tried(world) as made:
        yield made


@pytest.fixture(scope="module")
def rules(world: str) -> Rules:
    """The rules for what is in the world."""
    with psycopg.connect(world) as connection:
        return Rules.read(connection, sorted(WRITTEN))


def outcome(connection: Connection, statement: sql.Composed | LiteralString, *given: Any) -> Any:
    """Try a statement and take it back; return how many rows it touched, or the SQLSTATE."""
    connection.execute("SAVEPOINT try")
    try:
        return connection.execute(statement, given or None).rowcount
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        connection.execute("ROLLBACK TO try")


def scalars(connection: Connection, query: LiteralString, *given: Any) -> set[Any]:
    """Return the first column."""
    return {row[0] for row in connection.execute(query, given or None).fetchall()}


def test_every_table_is_secured_by_force(connection: Connection) -> None:
    views = scalars(connection, BARRIERS)
    assert scalars(connection, SECURED) == scalars(connection, TABLES) - {"alembic_version"} - views
    assert views == set(VIEWS), "each is compared with what the tables tell"
    assert scalars(connection, SECURED) == set(WRITTEN), "the generated test knows every table"


def test_the_roles_of_people_can_pass_over_nothing(connection: Connection) -> None:
    people = ["concord_user", "concord_service"]
    assert not scalars(
        connection,
        """
        SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND (
            rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
        """,
        people,
    )
    owned = """
        SELECT oid::regclass::text FROM pg_class WHERE relowner = ANY(%s::regrole[])
        UNION SELECT oid::regproc::text FROM pg_proc WHERE proowner = ANY(%s::regrole[])
        UNION SELECT datname::text FROM pg_database WHERE datdba = ANY(%s::regrole[])
        UNION SELECT nspname::text FROM pg_namespace WHERE nspowner = ANY(%s::regrole[])
    """
    assert not scalars(connection, owned, people, people, people, people)
    rights = """
        SELECT format('%%s %%s on %%s', role, verb, c.relname)
        FROM pg_class c, unnest(%s::text[]) AS role, unnest(%s::text[]) AS verb
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND has_table_privilege(role, c.oid, verb)
    """
    assert not scalars(connection, rights, people, ["TRUNCATE", "REFERENCES", "TRIGGER"])
    assert not scalars(
        connection,
        "SELECT role FROM unnest(%s::text[]) AS role"
        " WHERE has_schema_privilege(role, 'public', 'CREATE')",
        people,
    )
    assert not scalars(
        connection,
        "SELECT role FROM unnest(%s::text[]) AS role"
        " WHERE has_database_privilege(role, current_database(), 'CREATE')",
        people,
    )


def test_policies_are_for_everybody_or_the_owner_of_the_tables(connection: Connection) -> None:
    assert scalars(
        connection,
        "SELECT DISTINCT role::regrole::text FROM pg_policy, unnest(polroles) AS role",
    ) <= scalars(
        connection,
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE oid = 'tasks'::regclass",
    ) | {"concord_user", "-"}


def test_nobody_but_people_has_rights_on_tables(connection: Connection) -> None:
    """What is told to everybody by a policy is told to those who may ask."""
    assert scalars(
        connection,
        "SELECT DISTINCT given.grantee::regrole::text FROM pg_class c, aclexplode(relacl) AS given"
        " WHERE relnamespace = 'public'::regnamespace AND given.grantee <> relowner",
    ) == {"concord_user"}


def test_a_function_that_acts_as_the_owner_looks_where_the_owner_would(
    connection: Connection,
) -> None:
    """Or somebody's temporary table would stand for one that it reads."""
    assert not scalars(
        connection,
        """
        SELECT oid::regprocedure::text FROM pg_proc
        WHERE prosecdef AND pronamespace = 'public'::regnamespace AND prosqlbody IS NULL
          AND NOT coalesce(
              'search_path=pg_catalog, public, pg_temp' = ANY(proconfig), false)
        """,
    )


@pytest.mark.parametrize("actor", ACTORS, ids=str)
def test_rows_are_seen_and_changed_as_the_rules_say(
    connection: Connection, rules: Rules, actor: Actor
) -> None:
    keys = dict(connection.execute(KEYS).fetchall())
    actor.become(connection)
    wrong: list[str] = []
    verbs: tuple[Verb, ...] = ("SELECT", "UPDATE", "DELETE")
    for table, column in WRITTEN.items():
        assert rules.rows[table], f"nothing to see in {table}"
        for number, row in enumerate(rules.rows[table]):
            place = sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(row[key]))
                for key in keys[table]
            )
            for verb in verbs:
                if number and verb != "SELECT" and table in READ_ONLY:
                    continue
                head = {
                    "SELECT": sql.SQL("SELECT * FROM {table} WHERE {place}"),
                    "UPDATE": sql.SQL("UPDATE {table} SET {column} = {column} WHERE {place}"),
                    "DELETE": sql.SQL("DELETE FROM {table} WHERE {place}"),
                }[verb]
                got = outcome(
                    connection,
                    head.format(
                        table=sql.Identifier(table), column=sql.Identifier(column), place=place
                    ),
                )
                expected = rules.outcome(actor, verb, table, row)
                if got != expected and not (expected == 1 and got in REACHED):
                    which = {key: row[key] for key in keys[table]}
                    wrong.append(f"{actor}: {verb} {table} {which}: {got}, not {expected}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("actor", ACTORS, ids=str)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_tells_what_its_tables_tell(connection: Connection, actor: Actor, view: str) -> None:
    asked = sql.SQL("SELECT * FROM {}").format(sql.Identifier(view))
    everything = connection.execute(VIEWS[view]).fetchall()
    assert everything
    assert sorted(connection.execute(asked).fetchall(), key=repr) == sorted(everything, key=repr)
    actor.become(connection)
    seen = sorted(connection.execute(asked).fetchall(), key=repr)
    assert seen == sorted(connection.execute(VIEWS[view]).fetchall(), key=repr)
    assert len(seen) < len(everything) or view == "open_links"


@pytest.mark.parametrize("view", VIEWS)
def test_nobody_writes_by_a_view(connection: Connection, view: str) -> None:
    for actor in ACTORS:
        connection.execute("SAVEPOINT one")
        actor.become(connection)
        for verb in ("DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"):
            statement = sql.SQL(verb).format(sql.Identifier(view))  # pyright: ignore[reportArgumentType]
            assert outcome(connection, statement) in {"42501", "55000"}
        connection.execute("ROLLBACK TO one")


Cell = tuple[str, LiteralString, "dict[str, Any]", bool]


def additions(rules: Rules, actor: Actor) -> Iterator[Cell]:
    """Yield what may be put where: a name, a statement, its parameters, and whether it may."""
    me = actor.id or MISSING
    user: LiteralString = "INSERT INTO users (username) VALUES (%(name)s)"
    yield "a user", user, {"name": "newcomer"}, actor.known
    # A service enters whom it works for.
    entered = {"name": actor.name}
    if not actor.known:
        yield "oneself", user, entered, not actor.login
    for owner in {me, *USERS.values()}:
        mine = actor.known and owner == me
        given = {"owner": owner, "me": me}
        if owner != MISSING:
            yield (
                f"a project of {owner}",
                "INSERT INTO projects (key, name, owner_id) VALUES ('NEW', 'New', %(owner)s)",
                given,
                mine,
            )
            yield (
                f"a view of {owner}",
                "INSERT INTO views (owner_id, name, options) VALUES (%(owner)s, 'new', '{}')",
                given,
                mine,
            )
            yield (
                f"a task in the inbox of {owner}",
                "INSERT INTO tasks (title, owner_id) VALUES ('New', %(owner)s)",
                given,
                mine,
            )
    for project in (SEC, PUB, OWN):
        given = {"project": project, "me": actor.id or 1}
        yield (
            f"a member of {project}",
            "INSERT INTO project_members (project_id, user_id) VALUES (%(project)s, 6)",
            given,
            rules.owns(actor, project),
        )
        yield (
            f"a task in {project}",
            "INSERT INTO tasks (title, owner_id, project_id) VALUES ('New', %(me)s, %(project)s)",
            given,
            rules.writes(actor, project),
        )
    yield "a tag", "INSERT INTO tags (name) VALUES ('newtag')", {}, actor.known
    yield "a gate", "INSERT INTO gates (name) VALUES ('new')", {}, False
    for row in rules.rows["tasks"]:
        yield from _to_task(rules, actor, row)


def _to_task(rules: Rules, actor: Actor, row: Row) -> Iterator[Cell]:
    task = row["id"]
    changes = rules.changes(actor, task)
    given = {"task": task, "me": actor.id or 1, "other": 6}
    yield (
        f"a tag on {task}",
        "INSERT INTO task_tags (task_id, tag_id) VALUES (%(task)s, 3)",
        given,
        changes,
    )
    yield (
        f"an assignee of {task}",
        "INSERT INTO assignments (task_id, user_id) VALUES (%(task)s, %(other)s)",
        given,
        changes,
    )
    if task not in (1, 3):
        yield (
            f"a claim of {task}",
            (
                "INSERT INTO claims (task_id, user_id, claimed_at, expires_at)"
                " VALUES (%(task)s, %(me)s, now(), '2100-01-01')"
            ),
            given,
            changes,
        )
    yield (
        f"a comment on {task}",
        "INSERT INTO comments (task_id, author_id, body) VALUES (%(task)s, %(me)s, 'new')",
        given,
        changes and actor.known,
    )
    yield (
        f"a forged comment on {task}",
        "INSERT INTO comments (task_id, author_id, body) VALUES (%(task)s, %(other)s, 'new')",
        given,
        False,
    )
    yield (
        f"an imported comment on {task}",
        (
            "INSERT INTO comments (task_id, author_id, body, external_ref)"
            " VALUES (%(task)s, %(other)s, 'new', 'there')"
        ),
        given,
        changes,
    )
    yield (
        f"a base of {task}",
        (
            "INSERT INTO import_bases (task_id, format, ref, fields)"
            " VALUES (%(task)s, 'new', 'new', '{}')"
        ),
        given,
        changes,
    )
    yield (
        f"history of {task}",
        (
            "INSERT INTO history (entity, entity_id, task_id, old, new)"
            " VALUES ('task', %(task)s, %(task)s, '{}', '{}')"
        ),
        given,
        False,
    )
    yield (
        f"a document of {task}",
        "INSERT INTO task_texts (task_id, document) VALUES (%(task)s, '')",
        given,
        False,
    )
    for blocker in rules.rows["tasks"]:
        if blocker["id"] != task and (task, blocker["id"]) not in ((8, 3), (1, 2)):
            yield (
                f"a link from {blocker['id']} to {task}",
                "INSERT INTO links (blocked_id, blocker_id) VALUES (%(task)s, %(blocker)s)",
                {**given, "blocker": blocker["id"]},
                changes and rules.sees(actor, blocker["id"]),
            )


@pytest.mark.parametrize("actor", ACTORS, ids=str)
def test_rows_are_added_as_the_rules_say(
    connection: Connection, rules: Rules, actor: Actor
) -> None:
    actor.become(connection)
    wrong: list[str] = []
    for name, statement, given, allowed in additions(rules, actor):
        connection.execute("SAVEPOINT try")
        try:
            got: Any = connection.execute(statement, given).rowcount
        except psycopg.Error as error:
            got = error.sqlstate
        connection.execute("ROLLBACK TO try")
        if got != (1 if allowed else "42501"):
            wrong.append(f"{actor}: INSERT {name}: {got}, allowed: {allowed}")
    assert not wrong, "\n".join(wrong)
