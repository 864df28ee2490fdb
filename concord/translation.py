"""What the errors of the driver mean: by SQLSTATE and constraint name, never by their wording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors as pg

from concord.constraints import domain_error
from concord.errors import (
    Bug,
    ConcordError,
    Contention,
    DatabaseUnavailable,
    Forbidden,
    Usage,
)

if TYPE_CHECKING:
    import psycopg


def translate(error: psycopg.Error | UnicodeEncodeError) -> ConcordError:
    """Return the domain error that an error of the driver means, by SQLSTATE and constraint."""
    if isinstance(error, UnicodeEncodeError):
        return Usage("the text is not valid Unicode", hint="Pass it in UTF-8.")
    primary = error.diag.message_primary or str(error)
    facts = {"sqlstate": error.sqlstate}
    match error:
        case pg.IntegrityError():
            known = domain_error(error.diag.constraint_name, error.diag.message_detail)
            return known or Bug(f"an unexpected rule of the schema: {primary}", **facts)
        case pg.LockNotAvailable():
            return Contention(
                "somebody else holds the lock",
                hint="Nothing was written; try again, or wait longer with --lock-timeout.",
                **facts,
            )
        case pg.QueryCanceled():
            return Contention(
                f"the server stopped the statement: {primary}",
                hint="Nothing was written; raise CONCORD_STATEMENT_TIMEOUT if it needs longer.",
                **facts,
            )
        case pg.ReadOnlySqlTransaction():
            return takes_no_writes(error)
        case pg.InsufficientPrivilege():
            return Forbidden(primary, hint="Ask the owner of the database for the right.", **facts)
        case pg.DataError():
            return Usage(f"the database does not take this value: {primary}", **facts)
        case (
            pg.OperationalError()
            | pg.InterfaceError()
            | pg.IdleInTransactionSessionTimeout()
            | pg.TransactionTimeout()
        ):
            return DatabaseUnavailable(
                f"the database failed: {primary.strip()}",
                hint="Nothing was written; concord doctor looks into it.",
                **facts,
            )
        case _:
            return Bug(f"an unexpected answer of the database: {primary}", **facts)


def takes_no_writes(error: psycopg.Error) -> DatabaseUnavailable:
    """Return the error for a server on which nothing can be written: as a rule, a standby."""
    return DatabaseUnavailable(
        f"this server takes no writes: {error.diag.message_primary or error}",
        hint="Nothing was written. Is it a standby? Let CONCORD_DATABASE_URL lead to the primary, "
        "or name all servers in it: of several, the one that accepts writes is used.",
        sqlstate=error.sqlstate,
    )
