"""The rows of users, projects, tags, views and comments: read, locked and put back as they were.

Tasks have a module of their own: there are thousands of them, and lists belong to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from concord.errors import Conflict
from concord.sql import logins

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from concord.database import Transaction
    from concord.sql.undo.past import Effect, Past

State = dict[str, Any]
"""The fields of a thing as they are, in the words of history."""

PEOPLE = {"owner": "owner_id", "author": "author_id"}
"""Fields in which history has somebody's name → the columns that have their id."""

LOCK = sql.SQL(
    "-- lock_things: in id order\n"
    "SELECT id FROM {table} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE"
)

STATE = sql.SQL(
    "-- read_things: in the words of history\n"
    "SELECT e.id, {fields} FROM {table} e WHERE e.id = ANY(%(ids)s)"
)

# DO NOTHING waits for whoever puts back the same at this moment, and then leaves it to them.
INSERT = sql.SQL(
    "-- insert_things: under the ids that they had\n"
    "INSERT INTO {table} (id, {columns}) SELECT n.id, {values}\n"
    "FROM jsonb_populate_recordset(NULL::{table}, %(rows)s) AS n ORDER BY n.id\n"
    "ON CONFLICT (id) DO NOTHING RETURNING id"
)

UPDATE = sql.SQL(
    "-- update_things: of each the fields that are given\n"
    "UPDATE {table} AS e SET ({columns}) =\n"
    "    (SELECT {values} FROM jsonb_populate_record(e, given.fields) AS n)\n"
    "FROM jsonb_to_recordset(%(rows)s) AS given (id bigint, fields jsonb) WHERE e.id = given.id"
)

DELETE = sql.SQL("-- delete_things: for good\nDELETE FROM {table} WHERE id = ANY(%(ids)s)")

# Of those that are locked: no foreign key to them can come up any more.
USED_USERS: LiteralString = """
-- used_users: which of them own anything, are to do, have said or hold something
SELECT u.id FROM users u
WHERE u.id = ANY(%(ids)s) AND (
    EXISTS (SELECT FROM tasks WHERE owner_id = u.id)
    OR EXISTS (SELECT FROM projects WHERE owner_id = u.id)
    OR EXISTS (SELECT FROM assignments WHERE user_id = u.id)
    OR EXISTS (SELECT FROM comments WHERE author_id = u.id)
    OR EXISTS (SELECT FROM claims WHERE user_id = u.id)
    OR EXISTS (SELECT FROM views WHERE owner_id = u.id)
)
"""

USED_PROJECTS: LiteralString = """
-- used_projects: which of them have a task, in the trash perhaps
SELECT p.id FROM projects p
WHERE p.id = ANY(%(ids)s) AND EXISTS (SELECT FROM tasks WHERE project_id = p.id)
"""

USED_TAGS: LiteralString = """
-- used_tags: which of them are on a task, in the trash perhaps
SELECT g.id FROM tags g
WHERE g.id = ANY(%(ids)s) AND tag_is_used(g.id)
"""

# From tasks that are locked and in the trash, because what made them is undone as well.
LET_GO: dict[str, LiteralString] = {
    "user": """
-- let_go_of_users: by tasks in the trash
DELETE FROM assignments WHERE user_id = ANY(%(ids)s)
    AND task_id IN (SELECT id FROM tasks WHERE id = ANY(%(tasks)s) AND deleted_at IS NOT NULL)
""",
    "project": """
-- let_go_of_projects: by tasks in the trash
UPDATE tasks SET project_id = NULL
WHERE project_id = ANY(%(ids)s) AND id = ANY(%(tasks)s) AND deleted_at IS NOT NULL
""",
    "tag": """
-- let_go_of_tags: by tasks in the trash
DELETE FROM task_tags WHERE tag_id = ANY(%(ids)s)
    AND task_id IN (SELECT id FROM tasks WHERE id = ANY(%(tasks)s) AND deleted_at IS NOT NULL)
""",
}

# Somebody who renames or deletes one of them waits, and we for them: the names are those that hold
# until the end of the transaction.
HOLD: dict[str, LiteralString] = {
    "user": """
-- hold_users: by name, as they are
SELECT username, id FROM users
WHERE lower(username) = ANY(SELECT lower(name) FROM unnest(%(names)s::text[]) AS name)
ORDER BY id FOR SHARE
""",
    "project": """
-- hold_projects: by key, as they are
SELECT key, id FROM projects WHERE key = ANY(%(names)s::text[]) ORDER BY id FOR SHARE
""",
    "tag": """
-- hold_tags: by name, as they are
SELECT name, id FROM tags
WHERE lower(name) = ANY(SELECT lower(name) FROM unnest(%(names)s::text[]) AS name)
ORDER BY id FOR SHARE
""",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: where it is, and which columns history tells of.

    `name` is the field that people know it by, `used` tells which are in use. `fields` is what
    makes a row what history says.
    """

    table: LiteralString
    columns: tuple[LiteralString, ...]
    name: str | None = None
    used: LiteralString | None = None
    fields: LiteralString = "entity_fields(to_jsonb(e))"

    def query(self, template: sql.SQL) -> sql.Composed:
        """Return a statement for this kind."""
        columns = [sql.Identifier(name) for name in self.columns]
        return template.format(
            table=sql.Identifier(self.table),
            fields=sql.SQL(self.fields),
            columns=sql.SQL(", ").join(columns),
            values=sql.SQL(", ").join(sql.SQL("n.{}").format(column) for column in columns),
        )


KINDS = {
    "user": Kind("users", ("username", "email"), "username", USED_USERS),
    "project": Kind(
        "projects",
        ("key", "name", "description", "owner_id", "visibility", "wip_limit", "archived_at"),
        "key",
        USED_PROJECTS,
    ),
    "tag": Kind("tags", ("name",), "name", USED_TAGS),
    "view": Kind("views", ("owner_id", "name", "options")),
    "comment": Kind(
        "comments",
        ("task_id", "author_id", "body", "external_ref", "created_at"),
        fields="comment_fields(e)",
    ),
}
"""Entity → its kind."""


def name_of(effect: Effect, now: State | None) -> str:
    """Return the name by which people know a thing; its id, if it has none."""
    field = KINDS[effect.entity].name
    told = now or {name: after or before for name, (before, after) in effect.fields.items()}
    return str(told.get(field or "", effect.id))


def lock(tx: Transaction, entity: str, ids: Iterable[int]) -> None:
    """Lock those of the things that are there until the end of the transaction."""
    if wanted := list(ids):
        tx.execute(KINDS[entity].query(LOCK), {"ids": wanted})


def read(tx: Transaction, entity: str, ids: Iterable[int]) -> dict[int, State]:
    """Return the fields of those of the things that are there, by their ids."""
    return dict(tx.rows(KINDS[entity].query(STATE), {"ids": list(ids)}, lambda *columns: columns))


def hold(tx: Transaction, entity: str, names: Iterable[str]) -> dict[str, int]:
    """Keep users, projects or tags as they are.

    Return the ids of those there are, by their names in lower case.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    held = tx.rows(HOLD[entity], {"names": wanted}, lambda *columns: columns)
    return {name.lower(): number for name, number in held}


def require(tx: Transaction, entity: str, names: Collection[str]) -> dict[str, int]:
    """Hold users or tags and return their ids by the names as given.

    Raises `Conflict` for one that is gone.
    """
    found = hold(tx, entity, names)
    missing = sorted({name for name in names if name.lower() not in found})
    if missing:
        raise Conflict(
            f"{entity} {', '.join(missing)} is gone, and what is to be put back needs it",
            hint=f"See what became of it: concord history; or add it: concord {entity} add NAME",
            **{f"{entity}s": missing},
        )
    return {name: found[name.lower()] for name in names}


def used(tx: Transaction, entity: str, ids: Sequence[int]) -> set[int]:
    """Return which things, all of them locked, others refer to."""
    query = KINDS[entity].used
    return set(tx.scalars(query, {"ids": list(ids)})) if query and ids else set()


def put_back(tx: Transaction, past: Past, effects: Sequence[Effect]) -> None:
    """Give things, which are locked, the fields that they had before; make them, if they are gone.

    Raises `Conflict` if one of these is there again.
    """
    entity = effects[0].entity
    columns = _columns(tx, past, effects)
    if not effects[0].removed:
        rows = [{"id": number, "fields": fields} for number, fields in columns.items()]
        tx.execute(KINDS[entity].query(UPDATE), {"rows": Jsonb(rows)})
        return
    rows = [{"id": number} | fields for number, fields in columns.items()]
    made = tx.scalars(KINDS[entity].query(INSERT), {"rows": Jsonb(rows)})
    back = sorted(columns.keys() - set(made))
    if back:
        raise Conflict(
            f"{entity} {', '.join(map(str, back))} is there again",
            hint="See who brought it back: concord history",
            entity=entity,
            ids=back,
        )


def let_go(tx: Transaction, entity: str, ids: Sequence[int], tasks: Sequence[int]) -> None:
    """Make those of the tasks that are in the trash no longer refer to things."""
    if entity in LET_GO and ids and tasks:
        tx.execute(LET_GO[entity], {"ids": list(ids), "tasks": list(tasks)})


def remove(tx: Transaction, entity: str, ids: Sequence[int]) -> None:
    """Remove things, which are locked. Raises `Refused` for a user with a login."""
    if entity == "user" and ids:
        logins.refuse_holders(tx, ids)
    if ids:
        tx.execute(KINDS[entity].query(DELETE), {"ids": list(ids)})


def _columns(tx: Transaction, past: Past, effects: Sequence[Effect]) -> dict[int, dict[str, Any]]:
    """Return what things were before, as columns of their table, by ids."""
    people = [one.before(name) for one in effects for name in PEOPLE if one.before(name)]
    ids = require(tx, "user", people)
    gone = [user.id for user in past.of("user").values() if user.removed]

    def columns(one: Effect) -> dict[str, Any]:
        given = {name: before for name, (before, _) in one.fields.items()}
        for name in PEOPLE.keys() & given.keys():
            given[PEOPLE[name]] = ids[given.pop(name)]
        if one.entity == "comment":
            given["task_id"] = one.task
        if one.entity == "view" and one.removed and "owner" not in one.fields:
            # It went with its owner, whose name history could not find any more.
            (given["owner_id"],) = gone
        return given

    return {one.id: columns(one) for one in effects}
