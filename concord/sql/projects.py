"""Projects: named groups of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import Forbidden, NotFound, Refused
from concord.models import Project
from concord.sql import users
from concord.translation import refused_as

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from concord.database import Transaction
    from concord.transaction import Query

COLUMNS: LiteralString = """
SELECT p.id, p.key, p.name, p.description, o.username AS owner, p.visibility, p.wip_limit,
       p.archived_at, p.version, p.created_at, p.updated_at
FROM projects p JOIN users o ON o.id = p.owner_id
"""
"""The columns of `models.Project`, in its order."""

LIST: LiteralString = (
    "-- list_projects: by key, archived ones on request\n"
    + COLUMNS
    + "WHERE p.archived_at IS NULL OR %(archived)s ORDER BY p.key"
)

SHOW: LiteralString = "-- show_project: by key\n" + COLUMNS + "WHERE p.key = %(key)s"

# FOR SHARE holds off archiving and deleting until we commit, yet lets others add tasks too.
SHARE: LiteralString = """
-- share_project: keep it from being archived while a task goes into it
SELECT id, archived_at IS NOT NULL FROM projects WHERE key = %(key)s FOR SHARE
"""

INSERT: LiteralString = """
-- insert_project: a key that is taken is a conflict
INSERT INTO projects (key, name, description, visibility, owner_id)
VALUES (%(key)s, %(name)s, %(description)s, %(visibility)s, current_actor_id())
"""

UPDATE = sql.SQL(
    "-- update_project: only the fields that were named\n"
    "UPDATE projects SET {fields} WHERE key = %(old_key)s RETURNING key"
)

ARCHIVE: LiteralString = """
-- archive_project: waits for tasks that are just being added
UPDATE projects SET archived_at = CASE WHEN %(archived)s THEN coalesce(archived_at, now()) END
WHERE key = %(key)s RETURNING key
"""

DELETE: LiteralString = """
-- delete_project: refused by a foreign key while it has tasks
DELETE FROM projects WHERE key = %(key)s
"""


def share(tx: Transaction, key: str) -> None:
    """Keep a project in use, as it is, until the end of the transaction.

    Raises, with the next answer, `NotFound`, and `Refused` if it is archived.
    """
    tx.check(SHARE, {"key": key}, lambda found: _in_use(key, found), shape=_shared)


def share_now(tx: Transaction, key: str) -> int:
    """Do what `share` does at once, and return the project's id."""
    return _in_use(key, tx.rows(SHARE, {"key": key}, _shared))


def _in_use(key: str, found: Sequence[tuple[int, bool]]) -> int:
    if not found:
        raise not_found(key)
    ((project, archived),) = found
    if archived:
        raise Refused(
            f"project {key} is archived and takes no tasks",
            hint=f"Open it again: concord project archive {key} --undo",
            project=key,
        )
    return project


def _shared(project: int, archived: bool) -> tuple[int, bool]:
    return project, archived


def not_found(key: str) -> NotFound:
    """Return the error for a key that no project has."""
    return NotFound(
        f"no such project: {key}",
        hint=f"See: concord project list; or add it: concord project add {key}",
        project=key,
    )


def not_yours(key: str) -> Forbidden:
    """Return the error for a project that the actor sees, and is no owner of."""
    return Forbidden(
        f"not yours to change: project {key}",
        hint="It is its owners' to change; who they are: concord project member list " + key,
        project=key,
    )


def closed(key: str) -> Forbidden:
    """Return the error for a project that the actor may only look at, for a task to go into."""
    return Forbidden(
        f"you may only look on in project {key}",
        hint=f"An owner of it can let you in: concord project member add {key} NAME;"
        f" who they are: concord project member list {key}",
        project=key,
    )


def fetch(tx: Transaction, key: str) -> Project:
    """Return a project by key. Raises `NotFound`."""
    found = tx.row(SHOW, {"key": key}, Project)
    if found is None:
        raise not_found(key)
    return found


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def list_all(tx: Transaction, *, archived: bool = False) -> tuple[Project, ...]:
    """Return projects by key, with `archived` those that are archived too."""
    return tx.rows(LIST, {"archived": archived}, Project)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def show(tx: Transaction, key: str) -> Project:
    """Return a project by key. Raises `NotFound`."""
    return fetch(tx, key)


@transaction(isolation=Isolation.READ_COMMITTED)
def add(
    tx: Transaction,
    key: str,
    name: str | None = None,
    description: str | None = None,
    visibility: str = "shared",
) -> Project:
    """Create a project that the actor owns. Raises `Conflict` if the key is taken, `Usage`."""
    tx.execute(
        INSERT,
        {
            "key": key,
            "name": key if name is None else name,
            "description": description,
            "visibility": visibility,
        },
    )
    return fetch(tx, key)


@transaction(isolation=Isolation.READ_COMMITTED)
def edit(tx: Transaction, key: str, fields: Mapping[str, Any]) -> Project:
    """Write the named fields (`key`, `name`, `description`, `owner`, `visibility`, `wip_limit`).

    Raises `NotFound`, `Forbidden` unless the actor is an owner of it, `Conflict`, `Usage`, and
    `Refused` for a limit below what is in progress.
    """
    values = dict(fields)
    if "owner" in values:
        values["owner_id"] = users.require(tx, [values.pop("owner")])[0]
    writes = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values
    )
    with refused_as(not_yours(key)):
        _check(tx, UPDATE.format(fields=writes), {**values, "old_key": key}, key)
        return fetch(tx, values.get("key", key))


@transaction(isolation=Isolation.READ_COMMITTED)
def archive(tx: Transaction, key: str, *, archived: bool = True) -> Project:
    """Archive a project, or with `archived=False` open it again.

    Raises `NotFound`, and `Forbidden` unless the actor is an owner of it.
    """
    with refused_as(not_yours(key)):
        _check(tx, ARCHIVE, {"key": key, "archived": archived}, key)
        return fetch(tx, key)


@transaction(isolation=Isolation.READ_COMMITTED)
def delete(tx: Transaction, key: str) -> Project:
    """Remove a project and return what it was.

    Raises `NotFound`, `Forbidden` unless the actor is an owner of it, `Refused` if it has tasks.
    """
    seen = tx.later(SHOW, {"key": key}, Project)
    if tx.changed(DELETE, {"key": key}) == 0:
        raise not_yours(key) if seen() else not_found(key)
    return seen()[0]


def _check(tx: Transaction, query: Query, params: Mapping[str, Any], key: str) -> None:
    """Write to a project. Raises `NotFound`, with the next answer."""

    def look(found: Sequence[str]) -> None:
        if not found:
            raise not_found(key)

    tx.check(query, params, look)
