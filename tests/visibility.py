"""A small world of people, projects and tasks, and a statement of who may see and change what.

The rules are told here as the words of the manual tell them, and not as the policies do: what the
policies let through is compared with them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from conftest import Server

Row = dict[str, Any]
Verb = Literal["SELECT", "UPDATE", "DELETE"]

USERS = {"owner": 1, "member": 2, "viewer": 3, "assignee": 4, "stranger": 5, "idle": 6}
PEOPLE = ("owner", "member", "viewer", "assignee", "stranger", "nobody")
"""Who tries: `owner` to `viewer` by their role in the private project SEC, `assignee` has one of
its tasks, `stranger` nothing of it, and `nobody` is no user.
"""

SERVICE = "front"
"""A login that may name for whom it works."""

SEC, PUB, OWN = 1, 2, 3
ROLES = {
    SEC: {"owner": "owner", "member": "member", "viewer": "viewer"},
    PUB: {"owner": "owner", "viewer": "viewer"},
    OWN: {"stranger": "owner"},
}
"""Who has which role: in a private project, in a shared one, in a private one of the stranger."""

HIDDEN_TASKS = (1, 2, 4, 5, 7)
"""What the stranger does not see: the tasks of SEC, and others' inboxes."""

HIDDEN_TAGS = (1, 5, 6)
"""What the stranger has not heard of: tags that are only there, or nowhere."""

MISSING = 999_999
"""An id that nothing has."""

# Everything is old, so that nothing that is told in words changes from one minute to the next.
WORLD: LiteralString = """
SET LOCAL session_replication_role = replica;
DELETE FROM history; DELETE FROM users;
SET LOCAL session_replication_role = origin;
SELECT set_config('concord.actor', 'owner', true), set_config('concord.operation', 'made', true);

INSERT INTO users (id, username, created_at)
SELECT id, name, '2026-01-01' FROM unnest(
    '{owner,member,viewer,assignee,stranger,idle}'::text[]
) WITH ORDINALITY AS given (name, id);
INSERT INTO projects (id, key, name, owner_id, visibility) VALUES
    (1, 'SEC', 'Whispered', 1, 'private'), (2, 'PUB', 'Open', 1, 'shared');
INSERT INTO project_members (project_id, user_id, role) VALUES
    (1, 2, 'member'), (1, 3, 'viewer'), (2, 3, 'viewer');
INSERT INTO tags (id, name, made_by) VALUES
    (1, 'whisper', 1), (2, 'common', 1), (3, 'everybodys', NULL), (5, 'forgotten', 1);
INSERT INTO tasks (id, project_id, title, description, owner_id, parent_id, status, due,
                   created_at, updated_at, external_ref, priority) VALUES
    (1, 1, 'Whisper to one', 'whispered words', 1, NULL, 'in_progress', '2026-02-01',
     '2026-01-02', '2026-01-02', 'W-1', 'high'),
    (2, 1, 'Whisper to none', NULL, 1, NULL, 'todo', '2026-02-02',
     '2026-01-02', '2026-01-02', NULL, 'urgent'),
    (3, 2, 'Open to all', 'open words', 1, NULL, 'in_progress', '2026-02-03',
     '2026-01-02', '2026-01-02', 'O-3', 'low'),
    (4, NULL, 'Inbox of owner', 'whispered words', 1, NULL, 'todo', NULL,
     '2026-01-02', '2026-01-02', NULL, 'none'),
    (7, 1, 'Part of a whisper', NULL, 1, 2, 'todo', NULL,
     '2026-01-02', '2026-01-02', NULL, 'none');
INSERT INTO task_tags (task_id, tag_id) VALUES (1, 1), (2, 1), (2, 2), (3, 2);
INSERT INTO assignments (task_id, user_id, assigned_by) VALUES (1, 4, 1), (3, 2, 1);
INSERT INTO comments (id, task_id, author_id, body) VALUES
    (1, 1, 1, 'whispered by the owner'), (2, 2, 2, 'whispered by the member');
INSERT INTO comments (id, task_id, author_id, body, external_ref) VALUES
    (3, 2, 1, 'whispered elsewhere', 'c-1'), (4, 3, 1, 'said elsewhere', 'c-1');
INSERT INTO import_bases (task_id, format, project_id, ref, fields) VALUES
    (1, 'jsonl', 1, 'W-1', '{}'), (3, 'jsonl', 2, 'O-3', '{}');
INSERT INTO views (id, owner_id, name, options) VALUES (1, 1, 'whispers', '{--tag,whisper}');
INSERT INTO links (blocked_id, blocker_id) VALUES (1, 2);

SELECT set_config('concord.actor', 'member', true);
INSERT INTO tags (id, name, made_by) VALUES (6, 'inboxed', 2);
INSERT INTO tasks (id, title, owner_id, created_at, updated_at)
VALUES (5, 'Inbox of member', 2, '2026-01-03', '2026-01-03');
INSERT INTO task_tags (task_id, tag_id) VALUES (5, 6);
INSERT INTO claims (task_id, user_id, claimed_at, expires_at)
VALUES (1, 4, '2026-01-03', '2100-01-01'), (3, 2, '2026-01-03', '2100-01-01');

SELECT set_config('concord.actor', 'stranger', true);
INSERT INTO projects (id, key, name, owner_id, visibility) VALUES (3, 'OWN', 'Mine', 5, 'private');
INSERT INTO tags (id, name, made_by) VALUES (4, 'mine', 5);
INSERT INTO tasks (id, project_id, title, owner_id, due, created_at, updated_at, parent_id)
VALUES (6, NULL, 'Inbox of stranger', 5, '2026-02-04', '2026-01-04', '2026-01-04', NULL),
       (8, 2, 'Open, waits', 5, NULL, '2026-01-04', '2026-01-04', 3),
       (9, 3, 'All mine', 5, NULL, '2026-01-04', '2026-01-04', NULL);
INSERT INTO task_tags (task_id, tag_id) VALUES (6, 4), (8, 2);
INSERT INTO assignments (task_id, user_id, assigned_by) VALUES (8, 5, 5);
INSERT INTO comments (id, task_id, author_id, body) VALUES
    (5, 3, 5, 'said openly by the stranger'), (6, 6, 5, 'a note to oneself');
INSERT INTO links (blocked_id, blocker_id) VALUES (8, 3);
INSERT INTO views (id, owner_id, name, options) VALUES (2, 5, 'own', '{--owner,me}');
SELECT pass_gate('graph');

SELECT setval(oid::regclass, 100) FROM pg_class
WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace;
"""

# Once more, but for what the stranger does not see. Gone without a trace, as if never made.
FORGET: LiteralString = """
SET LOCAL session_replication_role = replica;
DELETE FROM history WHERE task_id IN (1, 2, 4, 5, 7)
    OR entity IN ('project', 'member') AND entity_id = 1
    OR entity = 'tag' AND entity_id IN (1, 5, 6) OR entity = 'view' AND entity_id = 1;
DELETE FROM links WHERE blocked_id IN (1, 2, 4, 5, 7) OR blocker_id IN (1, 2, 4, 5, 7);
DELETE FROM task_tags WHERE task_id IN (1, 2, 4, 5, 7);
DELETE FROM assignments WHERE task_id IN (1, 2, 4, 5, 7);
DELETE FROM claims WHERE task_id IN (1, 2, 4, 5, 7);
DELETE FROM comments WHERE task_id IN (1, 2, 4, 5, 7);
DELETE FROM import_bases WHERE task_id IN (1, 2, 4, 5, 7);
DELETE FROM task_texts WHERE task_id IN (1, 2, 4, 5, 7);
DELETE FROM tasks WHERE id IN (1, 2, 4, 5, 7);
DELETE FROM tags WHERE id IN (1, 5, 6);
DELETE FROM views WHERE id = 1;
DELETE FROM project_members WHERE project_id = 1;
DELETE FROM projects WHERE id = 1;
"""


def make_world(url: str) -> None:
    """Fill a database that has the schema."""
    with psycopg.connect(url) as connection:
        connection.execute(WORLD)


def forget_hidden(url: str) -> None:
    """Make a world one in which what the stranger does not see has never been."""
    with psycopg.connect(url) as connection:
        connection.execute(FORGET)


@contextmanager
def world_of_logins(server: Server, template: str, name: str) -> Generator[str]:
    """Yield the address of a new database with the world in it, and a login for everybody."""
    with server.janitor(name, template) as janitor:
        url = server.url(janitor.dbname)
        make_world(url)
        with logins(url):
            yield url


@contextmanager
def tried(url: str) -> Generator[psycopg.Connection[Any]]:
    """Yield a superuser's connection, in a transaction that comes to nothing."""
    with psycopg.connect(url) as made:
        yield made
        made.rollback()


@contextmanager
def logins(url: str) -> Generator[None]:
    """Make a login for everybody, and one for a service, in the server."""
    names = (*PEOPLE, SERVICE)
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            group = "concord_service" if name == SERVICE else "concord_user"
            statement = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(group)))
    try:
        yield
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            for name in names:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@dataclass(frozen=True)
class Actor:
    """Who tries something, and whether by a login of their own or by the service's."""

    name: str
    login: bool

    @property
    def id(self) -> int | None:
        """Their id, if they are known."""
        return USERS.get(self.name)

    @property
    def known(self) -> bool:
        """Whether they are a user."""
        return self.id is not None

    def become(self, connection: psycopg.Connection[Any]) -> None:
        """Make a superuser's transaction theirs, as a connection of theirs would be."""
        session = self.name if self.login else SERVICE
        statement = sql.SQL("SET LOCAL SESSION AUTHORIZATION {}")
        connection.execute(statement.format(sql.Identifier(session)))
        # A login says the same, and must not be believed.
        actor = "owner" if self.login else self.name
        connection.execute("SELECT set_config('concord.actor', %s, true)", (actor,))

    def __str__(self) -> str:
        return f"{self.name} by {'login' if self.login else 'service'}"


ACTORS = tuple(Actor(name, login) for login in (True, False) for name in PEOPLE)


@dataclass(frozen=True)
class Rules:
    """Who may see and change what, in a world of these rows."""

    rows: Mapping[str, Sequence[Row]]

    @classmethod
    def read(cls, connection: psycopg.Connection[Any], tables: Sequence[str]) -> Rules:
        """Return the rules for what is in a database, which a superuser sees."""
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = {
                table: cursor.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
                ).fetchall()
                for table in tables
            }
        return cls(rows)

    def reads(self, actor: Actor, project: int | None) -> bool:
        """Whether somebody looks on in a project."""
        return project is not None and (
            actor.name in ROLES[project] or (project == PUB and actor.known)
        )

    def writes(self, actor: Actor, project: int | None) -> bool:
        """Whether somebody works in a project."""
        if project is None:
            return False
        role = ROLES[project].get(actor.name, "member" if project == PUB and actor.known else "")
        return role in ("member", "owner")

    def owns(self, actor: Actor, project: int | None) -> bool:
        """Whether a project is somebody's."""
        return project is not None and ROLES[project].get(actor.name) == "owner"

    def task(self, task: int) -> Row:
        """Return a task."""
        return next(row for row in self.rows["tasks"] if row["id"] == task)

    def _own(self, actor: Actor, task: int) -> bool:
        assigned = (task, actor.id) in {
            (row["task_id"], row["user_id"]) for row in self.rows["assignments"]
        }
        return actor.known and (self.task(task)["owner_id"] == actor.id or assigned)

    def sees(self, actor: Actor, task: int) -> bool:
        """Whether somebody sees a task."""
        return self._own(actor, task) or self.reads(actor, self.task(task)["project_id"])

    def changes(self, actor: Actor, task: int) -> bool:
        """Whether somebody may change a task, and what belongs to it."""
        return self._own(actor, task) or self.writes(actor, self.task(task)["project_id"])

    def knows(self, actor: Actor, tag: int) -> bool:
        """Whether somebody has heard of a tag."""
        row = next(row for row in self.rows["tags"] if row["id"] == tag)
        used = [x["task_id"] for x in self.rows["task_tags"] if x["tag_id"] == tag]
        return actor.known and (
            row["made_by"] in (None, actor.id) or any(self.sees(actor, task) for task in used)
        )

    def outcome(self, actor: Actor, verb: Verb, table: str, row: Row) -> int | str:
        """Return what becomes of a try: how many rows are reached, or the SQLSTATE."""
        if table == "gates" or (verb != "SELECT" and table in ("history", "task_texts")):
            return "42501"
        if verb == "UPDATE" and table in ("task_tags", "links"):
            return "23001"  # these are made and removed, whoever one is
        seen = self._seen(actor, table, row)
        if verb == "SELECT" or not seen:
            return int(seen)
        if verb == "UPDATE":
            if table == "users":
                # Whoever has a login is no service's to rename, and a service trusts all its users.
                return 1 if not actor.login or row["id"] == actor.id else "42501"
            if table == "projects":
                return 1 if self.owns(actor, row["id"]) else "42501"
            if table == "import_bases" and self.changes(actor, row["task_id"]):
                # It says what a project has, and is for whom that may be told.
                return 1 if self.reads(actor, row["project_id"]) else "42501"
        return int(self._changed(actor, verb, table, row))

    def _seen(self, actor: Actor, table: str, row: Row) -> bool:
        match table:
            case "users":
                return actor.known
            case "projects":
                return self.reads(actor, row["id"])
            case "project_members":
                return self.reads(actor, row["project_id"])
            case "tasks":
                return self.sees(actor, row["id"])
            case "tags":
                return self.knows(actor, row["id"])
            case "views":
                return actor.known and row["owner_id"] == actor.id
            case "links":
                return self.sees(actor, row["blocked_id"]) and self.sees(actor, row["blocker_id"])
            case "history":
                return row["actor"] == actor.name or self._told(actor, row)
            case _:
                return self.sees(actor, row["task_id"])

    def _told(self, actor: Actor, row: Row) -> bool:
        if row["task_id"] is not None:
            return self.sees(actor, row["task_id"])
        match row["entity"]:
            case "user":
                return actor.known
            case "project" | "member":
                return self.reads(actor, row["entity_id"])
            case "tag":
                return self.knows(actor, row["entity_id"])
            case _:
                return False

    def _changed(self, actor: Actor, verb: Verb, table: str, row: Row) -> bool:
        match table:
            case "users":  # only to remove: that takes somebody who answers for it
                return not actor.login
            case "projects":
                return self.owns(actor, row["id"])
            case "project_members":
                # Anybody may leave, but for whom that would make a member.
                leaves = row["user_id"] == actor.id and not (
                    row["role"] == "viewer" and row["project_id"] == PUB
                )
                return self.owns(actor, row["project_id"]) or (verb == "DELETE" and leaves)
            case "tasks":
                # An assignee works on a task; it is not theirs to remove for good.
                mine = row["owner_id"] == actor.id or self.writes(actor, row["project_id"])
                return mine if verb == "DELETE" else self.changes(actor, row["id"])
            case "tags" | "views":
                return True
            case "links":
                ends = (row["blocked_id"], row["blocker_id"])
                return any(self.changes(actor, task) for task in ends)
            case "comments":
                theirs = row["author_id"] == actor.id or row["external_ref"] is not None
                project = self.task(row["task_id"])["project_id"]
                kept = verb == "DELETE" and self.owns(actor, project)
                return self.changes(actor, row["task_id"]) and (theirs or kept)
            case _:
                return self.changes(actor, row["task_id"])
