"""What the errors of the driver mean: by SQLSTATE and constraint name, never by their wording."""

from __future__ import annotations

from contextlib import contextmanager
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
    from collections.abc import Generator

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
        case pg.InsufficientPrivilege() if refuses_row(error):
            return Forbidden(
                "not yours to change",
                hint="It would go where you may only look on, or out of your sight. What is"
                " somebody else's needs a project that you may both change: --project KEY.",
                **facts,
            )
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


def refuses_row(error: psycopg.Error) -> bool:
    """Whether row-level security did not let a row be written, rather than a right was missing.

    Both have one SQLSTATE. What our own trigger refuses bears the name of the table; what a policy
    does is known by the place in the server, which is not translated as the words are.
    """
    return isinstance(error, pg.InsufficientPrivilege) and (
        error.diag.table_name is not None or error.diag.source_function == "ExecWithCheckOptions"
    )


@contextmanager
def refused_as(told: Forbidden) -> Generator[None]:
    """Raise an error in place of that of a row which row-level security does not let be written.

    The statement has to have been answered by the end.
    """
    try:
        yield
    except pg.InsufficientPrivilege as error:
        if not refuses_row(error):
            raise
        told.details["sqlstate"] = error.sqlstate
        raise told from error


def takes_no_writes(error: psycopg.Error) -> DatabaseUnavailable:
    """Return the error for a server on which nothing can be written: as a rule, a standby."""
    return DatabaseUnavailable(
        f"this server takes no writes: {error.diag.message_primary or error}",
        hint="Nothing was written. Is it a standby? Let CONCORD_DATABASE_URL lead to the primary, "
        "or name all servers in it: of several, the one that accepts writes is used.",
        sqlstate=error.sqlstate,
    )
