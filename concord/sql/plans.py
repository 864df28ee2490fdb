"""How the server would find what a list asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from concord.database import Isolation, transaction
from concord.models import ListPlan
from concord.sql import listing

if TYPE_CHECKING:
    from concord.database import Transaction
    from concord.sql.listing import Filters

EXPLAIN = sql.SQL(
    "-- explain_list: the statement that a list would be\nEXPLAIN ({how}) {statement}"
)

ESTIMATE = sql.SQL("BUFFERS, SETTINGS")
MEASURE = sql.SQL("ANALYZE, BUFFERS, SETTINGS")


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def explain(tx: Transaction, filters: Filters, *, analyze: bool = False, **page: Any) -> ListPlan:
    """Return the plan of a page, as data; `page` is what `listing.page` takes.

    With `analyze` the statement is run. Raises `Usage` for an order or cursor that is none.
    """
    statement, params = listing.statement(tx, filters, **page)
    how = sql.SQL("{}, FORMAT JSON").format(MEASURE if analyze else ESTIMATE)
    (plan,) = tx.scalar(EXPLAIN.format(how=how, statement=statement), params)
    names = {each.place: list(each.names) for each in listing.asked(tx.actor, filters).lookups}
    return ListPlan(plan["Plan"]["Total Cost"], statement.as_string(None), params, names, plan)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def explain_text(
    tx: Transaction, filters: Filters, *, analyze: bool = False, **page: Any
) -> tuple[str, ...]:
    """Return the plan of a page in lines for a reader. As `explain` otherwise."""
    statement, params = listing.statement(tx, filters, **page)
    how = MEASURE if analyze else ESTIMATE
    return tx.scalars(EXPLAIN.format(how=how, statement=statement), params)
