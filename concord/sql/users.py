"""Users: who acts, who owns, who is assigned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import Forbidden, NotFound, Refused
from concord.models import User
from concord.sql import logins
from concord.translation import refused_as

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from concord.database import Transaction

LIST: LiteralString = """
-- list_users: everybody, by name
SELECT id, username, email, created_at FROM users ORDER BY lower(username)
"""

SHOW: LiteralString = """
-- show_users: by name, without regard to case
SELECT id, username, email, created_at FROM users
WHERE lower(username) = ANY(SELECT lower(name) FROM unnest(%(names)s::text[]) AS name)
"""

IDS: LiteralString = """
-- user_ids: of the names that exist, as they were given
SELECT given.name, u.id
FROM unnest(%(names)s::text[]) AS given(name) JOIN users u ON lower(u.username) = lower(given.name)
"""

# The lock keeps a user from being renamed or removed before the statement that looks for them.
NAMES: LiteralString = """
-- user_names: those that exist, as they were given; they stay until the end of the transaction
SELECT given.name
FROM unnest(%(names)s::text[]) AS given(name) JOIN users u ON lower(u.username) = lower(given.name)
FOR SHARE OF u
"""

# The lock keeps tasks from being assigned to somebody who is on the way out.
LOCK: LiteralString = """
-- lock_user: against new assignments
SELECT id FROM users WHERE lower(username) = lower(%(name)s) FOR UPDATE
"""

INSERT: LiteralString = """
-- insert_user: a name that is taken is a conflict
INSERT INTO users (username, email) VALUES (%(username)s, %(email)s)
RETURNING id, username, email, created_at
"""

FIRST: LiteralString = """
-- add_first_user: somebody has to be there to add the others
INSERT INTO users (username) SELECT %(name)s WHERE NOT has_users()
"""

UPDATE = sql.SQL(
    "-- update_user: only the fields that were named\n"
    "UPDATE users SET {fields} WHERE lower(username) = lower(%(name)s)"
    " RETURNING id, username, email, created_at"
)

UNASSIGN: LiteralString = """
-- unassign_user: from everything
DELETE FROM assignments
WHERE user_id IN (SELECT id FROM users WHERE lower(username) = lower(%(name)s))
"""

DELETE: LiteralString = """
-- delete_user: refused by foreign keys while the user owns anything
DELETE FROM users WHERE lower(username) = lower(%(name)s)
RETURNING id, username, email, created_at
"""


def require(tx: Transaction, names: Sequence[str]) -> list[int]:
    """Return the ids of users in the order of their names; `me` is the actor.

    Raises `NotFound` naming those that do not exist.
    """
    wanted = [tx.actor if name == "me" else name for name in names]
    found: dict[str, int] = dict(tx.rows(IDS, {"names": wanted}, lambda *columns: columns))
    _require(wanted, found)
    return [found[name] for name in wanted]


def check(tx: Transaction, names: Sequence[str]) -> list[str]:
    """Return the names of users, `me` being the actor's, for a statement that looks them up.

    Raises `NotFound` naming those that do not exist, with the next answer.
    """
    wanted = [tx.actor if name == "me" else name for name in names]
    tx.check(NAMES, {"names": wanted}, lambda found: _require(wanted, found))
    return wanted


def _require(wanted: Sequence[str], found: Collection[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise not_found(missing)


def not_found(names: Sequence[str]) -> NotFound:
    """Return the error for names that nobody has."""
    return NotFound(
        f"no such user: {', '.join(names)}",
        hint=f"See: concord user list; or add one: concord user add {names[0]}",
        users=list(names),
    )


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def list_all(tx: Transaction) -> tuple[User, ...]:
    """Return all users by name."""
    return tx.rows(LIST, None, User)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def show(tx: Transaction, name: str) -> User:
    """Return a user by name. Raises `NotFound`."""
    found = tx.row(SHOW, {"names": [tx.actor if name == "me" else name]}, User)
    if found is None:
        raise not_found([name])
    return found


# Nobody else's row is there to lock: only SERIALIZABLE tells two first users apart.
@transaction(isolation=Isolation.SERIALIZABLE)
def enter(tx: Transaction) -> User | None:
    """Make the actor the first user, if there is none yet; return them if they are known."""
    tx.execute(FIRST, {"name": tx.actor})
    return tx.row(SHOW, {"names": [tx.actor]}, User)


@transaction(isolation=Isolation.READ_COMMITTED)
def add(
    tx: Transaction, username: str, email: str | None = None, verifier: str | None = None
) -> User:
    """Create a user, and with the verifier of a password their login.

    Raises `Conflict` if the name or address is taken, `Usage` if it is none, and what
    `logins.create` does.
    """
    added = tx.row(INSERT, {"username": username, "email": email}, User)
    assert added is not None
    if verifier is not None:
        logins.create(tx, username, verifier)
    return added


@transaction(isolation=Isolation.READ_COMMITTED)
def edit(tx: Transaction, name: str, fields: Mapping[str, Any]) -> User:
    """Write the named fields (`username`, `email`).

    Raises `NotFound`, `Forbidden`, `Conflict`, `Usage`, and `Refused` for another name of somebody
    who has a login.
    """
    if "username" in fields:
        # Until the commit nobody deletes them, and their login with them.
        tx.execute(LOCK, {"name": name})
        login = logins.later(tx, name)()
        if login:
            raise Refused(
                f"{name} has a login, which keeps its name",
                hint="Their e-mail address can be changed.",
                user=name,
            )
    writes = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(field), sql.Placeholder(field)) for field in fields
    )
    with refused_as(_not_yours(name)):
        edited = tx.row(UPDATE.format(fields=writes), {**fields, "name": name}, User)
    if edited is None:
        raise not_found([name])
    return edited


@transaction(isolation=Isolation.READ_COMMITTED)
def delete(tx: Transaction, name: str) -> User:
    """Remove a user, their assignments and their login.

    Raises `NotFound`, `Refused` if they own anything, and `Forbidden` for one who has a login
    oneself, and if the login cannot be removed.
    """
    locked = tx.later(LOCK, {"name": name}, int)
    login = logins.later(tx, name)
    tx.execute(UNASSIGN, {"name": name})
    gone = tx.row(DELETE, {"name": name}, User)
    if gone is None:
        raise _not_yours(name) if locked() else not_found([name])
    if login():
        logins.drop(tx, login()[0])
    return gone


def _not_yours(name: str) -> Forbidden:
    """Return the error for somebody else, of whom one with a login is to change nothing."""
    return Forbidden(
        f"not yours to change: user {name}",
        hint="The database knows you by your login, which changes only your own address."
        " Ask whoever runs the database.",
        user=name,
    )
