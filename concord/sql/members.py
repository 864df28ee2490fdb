"""Members of projects: who sees one, who changes its tasks, who says so.

Every change takes the project `FOR NO KEY UPDATE` first and asks only then whether the actor is an
owner of it. So the changes of one project come one after the other, and of two owners who remove
each other the second finds that it is none any more. It is also the order in which giving a
project away goes, the project and then its members: nobody waits for anybody in a circle. A user
who is being deleted is locked before their roles are, and their projects not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.errors import NotFound
from concord.models import Member
from concord.sql import projects, users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.database import Transaction

LIST: LiteralString = """
-- list_members: of a project, owners first
SELECT u.username, m.role, m.added_at
FROM project_members m JOIN projects p ON p.id = m.project_id JOIN users u ON u.id = m.user_id
WHERE p.key = %(key)s ORDER BY m.role DESC, lower(u.username)
"""

SHOW: LiteralString = """
-- show_member: by name
SELECT u.username, m.role, m.added_at
FROM project_members m JOIN projects p ON p.id = m.project_id JOIN users u ON u.id = m.user_id
WHERE p.key = %(key)s AND lower(u.username) = lower(%(name)s)
"""

LOCK: LiteralString = """
-- lock_project: against others who change its members or its owner
SELECT id FROM projects WHERE key = %(key)s FOR NO KEY UPDATE
"""

# A statement of its own: its snapshot has what was committed while the one before it waited.
OWNED: LiteralString = """
-- is_owned: whether the actor is an owner of the project
SELECT id IN (SELECT owned_projects()) FROM projects WHERE key = %(key)s
"""

# The project may have been deleted, or made private, while the lock was waited for.
SET: LiteralString = """
-- set_member: a role, whether there was one before or not
INSERT INTO project_members (project_id, user_id, role)
SELECT p.id, u.id, %(role)s::text::project_role FROM projects p, users u
WHERE p.key = %(key)s AND lower(u.username) = lower(%(name)s)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role
WHERE project_members.role <> excluded.role
"""

DELETE: LiteralString = """
-- delete_member: their tasks stay, and stay assigned
DELETE FROM project_members m USING projects p, users u
WHERE p.id = m.project_id AND u.id = m.user_id
  AND p.key = %(key)s AND lower(u.username) = lower(%(name)s)
"""


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def list_all(tx: Transaction, key: str) -> tuple[Member, ...]:
    """Return those with a role in a project, owners first. Raises `NotFound`."""
    found = tx.rows(LIST, {"key": key}, Member)
    if not found:
        # Whoever sees a project sees its owner.
        raise projects.not_found(key)
    return found


@transaction(isolation=Isolation.READ_COMMITTED)
def add(tx: Transaction, key: str, name: str, role: str) -> Member:
    """Give somebody a role in a project, in place of the one that they had.

    Raises `NotFound`, `Forbidden` unless the actor is an owner, and `Refused` if it is to be less
    than owner for the one whose name the project bears.
    """
    _require_owned(tx, key)
    (name,) = users.check(tx, [name])
    given = {"key": key, "name": name, "role": role}
    tx.execute(SET, given)
    made = tx.row(SHOW, given, Member)
    if made is None:
        raise projects.not_found(key)
    return made


@transaction(isolation=Isolation.READ_COMMITTED)
def remove(tx: Transaction, key: str, name: str) -> Member:
    """Take somebody's role in a project away, and return what it was. Anybody may leave.

    Raises `NotFound`, `Forbidden` unless the actor is an owner or the one who leaves, and
    `Refused` for the one whose name the project bears.
    """
    leaves = name == "me" or name.lower() == tx.actor.lower()
    if leaves:
        tx.check(LOCK, {"key": key}, lambda found: _require(key, found))
    else:
        _require_owned(tx, key)
    (name,) = users.check(tx, [name])
    given = {"key": key, "name": name}
    gone = tx.later(SHOW, given, Member)
    if tx.changed(DELETE, given) == 0:
        raise NotFound(
            f"{name} has no role in project {key}",
            hint=f"See: concord project member list {key}",
            project=key,
            user=name,
        )
    return gone()[0]


def _require_owned(tx: Transaction, key: str) -> None:
    """Lock a project. Raises, with the next answer, `NotFound` or `Forbidden` if it is others'."""

    def look(found: Sequence[bool]) -> None:
        _require(key, found)
        if not found[0]:
            raise projects.not_yours(key)

    tx.check(LOCK, {"key": key}, lambda found: _require(key, found))
    tx.check(OWNED, {"key": key}, look)


def _require(key: str, found: Sequence[object]) -> None:
    if not found:
        raise projects.not_found(key)
