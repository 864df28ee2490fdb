"""Logins: roles of the server by which people connect as themselves.

A login is a role of a user's name, a plain member of `concord_user`: what it may do is the user's
affair, and the server's to hold to, whatever program connects. It is no row of Concord's database,
but made and dropped in the transaction that adds or deletes the user. Roles belong to the whole
server, and commands work as one that makes none, so it is whoever connected who does.

What goes to the server in place of the password is made of it here, so that neither the server nor
its log ever has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql

from concord.errors import Conflict, Forbidden, Refused, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concord.connections import Connection
    from concord.database import Transaction

LONGEST_NAME = 63
"""Bytes: the server would cut the rest of a role's name off."""

FIND: LiteralString = """
-- find_login: the role of a user's name; not one that may do more than a user
SELECT r.rolname FROM pg_roles r
WHERE lower(r.rolname) = lower(%(name)s) AND r.rolcanlogin
  AND NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls)
  AND pg_has_role(r.oid, to_regrole('concord_service'), 'MEMBER') IS NOT TRUE
  AND EXISTS (SELECT FROM pg_auth_members m
              WHERE m.member = r.oid AND m.roleid = to_regrole('concord_user'))
"""

TAKEN: LiteralString = """
-- role_names: by which somebody connects who would be taken for the user
SELECT rolname FROM pg_roles WHERE lower(rolname) = lower(%(name)s)
"""

HOLDERS: LiteralString = """
-- login_holders: which of these users have a login
SELECT u.username FROM users u
WHERE u.id = ANY(%(ids)s) AND EXISTS (
    SELECT FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
    WHERE lower(r.rolname) = lower(u.username) AND r.rolcanlogin
      AND m.roleid = to_regrole('concord_user')
)
ORDER BY 1
"""

AS_CONNECTED: LiteralString = """
-- as_connected: whoever it is, until the end of the transaction
SELECT set_config('role', 'none', true)
"""

# A statement of this kind takes no parameters.
CREATE = sql.SQL(
    "-- create_login: that may do what users may\n"
    "CREATE ROLE {name} LOGIN PASSWORD {verifier} IN ROLE concord_user"
)

DROP = sql.SQL("-- drop_login: on the whole server\nDROP ROLE {name}")


def require_fit(name: str) -> None:
    """Raise `Usage` for a name that no role of the server can have."""
    size = len(name.encode(errors="replace"))
    if size > LONGEST_NAME:
        raise Usage(
            f"a login's name has at most {LONGEST_NAME} bytes, and this has {size}",
            hint="Choose a shorter name, or add the user without --login.",
        )


def verifier(connection: Connection, name: str, password: str) -> str:
    """Return by what a server can tell the password, and nobody can learn it. Raises `Usage`."""
    unusable = Usage("the password cannot be used", hint="Choose another one.")
    if "\0" in password:
        # libpq would take what is before it for the whole.
        raise unusable
    try:
        made = connection.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        )
    except (psycopg.Error, UnicodeEncodeError):
        # What is said of it may quote it.
        raise unusable from None
    return made.decode()


def create(tx: Transaction, name: str, secret: str) -> None:
    """Make a login of the verifier of a password.

    Raises `Conflict` if a role of that name is there, `Forbidden` if whoever connected may make
    none, and `Refused` on a server without Concord's roles.
    """
    taken: tuple[str, ...] = tx.scalars(TAKEN, {"name": name})
    if taken:
        raise _taken(taken[0])
    tx.execute(AS_CONNECTED)
    query = CREATE.format(name=sql.Identifier(name), verifier=sql.Literal(secret))
    try:
        tx.changed(query)
    # Not what it says and where: the statement has the verifier.
    except (pg.DuplicateObject, pg.UniqueViolation):
        raise _taken(name) from None
    except pg.ReservedName:
        raise Usage(
            f"PostgreSQL keeps the name {name} for itself", hint="Choose another name."
        ) from None
    except pg.UndefinedObject:
        raise Refused(
            "the server has not the role that logins belong to: concord_user",
            hint="Run concord init as one who may make roles.",
        ) from None
    except pg.InsufficientPrivilege as error:
        raise Forbidden(
            f"whoever connects to the database may not make the login {name}",
            hint="Have it done by an administrator of the server, whose role may create others"
            " (CREATEROLE) and grant concord_user (WITH ADMIN OPTION); or add the user without"
            " --login.",
            sqlstate=error.sqlstate,
        ) from None


def later(tx: Transaction, name: str) -> Callable[[], tuple[str, ...]]:
    """Look for a user's login; what is returned gives its name, if there is one."""
    return tx.later(FIND, {"name": name}, str)


def refuse_holders(tx: Transaction, ids: Sequence[int]) -> None:
    """Raise `Refused` if one of the users, who are to go, has a login, which would stay."""
    holders: tuple[str, ...] = tx.scalars(HOLDERS, {"ids": list(ids)})
    if holders:
        raise Refused(
            f"a login is not undone, and this would leave that of {', '.join(holders)}",
            hint=f"Remove both: concord user delete {holders[0]}",
            users=list(holders),
        )


def drop(tx: Transaction, name: str) -> None:
    """Remove a login. Raises `Forbidden` if whoever connected may not, or is it themselves."""
    tx.execute(AS_CONNECTED)
    try:
        tx.changed(DROP.format(name=sql.Identifier(name)))
    except (pg.InsufficientPrivilege, pg.ObjectInUse, pg.DependentObjectsStillExist) as error:
        raise Forbidden(
            f"the user has the login {name}, which cannot be removed: {error.diag.message_primary}",
            hint="Nothing was removed. Have it done by an administrator of the server.",
            sqlstate=error.sqlstate,
        ) from error


def _taken(name: str) -> Conflict:
    return Conflict(
        f"the server has a role of that name already: {name}",
        hint="A login that is there is not taken over. Choose another name, or add the user"
        " without --login.",
        role=name,
    )
