"""`task list`: filters, order, keyset paging.

A page costs the same wherever it lies: the cursor carries the sort key and id of the last row,
and the next page starts right behind it, even when rows come and go meanwhile.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.database import Isolation, transaction
from concord.errors import Usage
from concord.models import Page, Task
from concord.sql import projects, queries, tags, users
from concord.sql.conditions import CONDITIONS, NONE, pattern, people
from concord.sql.lookups import LOOKUPS, Lookup
from concord.sql.task_rows import FACTS, JOINS, task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from concord.database import Transaction
    from concord.query import Query
    from concord.vocabulary import Priority, Status


@dataclass(frozen=True, slots=True)
class Filters:
    """What tasks to show: values of one field are alternatives, different fields add up.

    `assigned` asks for tasks with (`True`) or without (`False`) any assignee. Due bounds are
    exclusive. `parents` asks for the children of tasks; `excluded` leaves tasks out. `ready` is
    what could be worked on now: to do, or with a lease that has expired, and waiting for nothing;
    `blocked` what waits for another task. `query` asks for more, in the query language. `trash`
    shows what was deleted, and only that; `None` shows both.
    """

    projects: Sequence[str] = ()
    statuses: Sequence[Status] = ()
    tags: Sequence[str] = ()
    assignees: Sequence[str] = ()
    owners: Sequence[str] = ()
    priorities: Sequence[Priority] = ()
    due_before: datetime | None = None
    due_after: datetime | None = None
    titles: Sequence[str] = ()
    assigned: bool | None = None
    parents: Sequence[int] = ()
    excluded: Sequence[int] = ()
    ready: bool = False
    blocked: bool = False
    query: Query | None = None
    trash: bool | None = False


@dataclass(frozen=True, slots=True)
class Sort:
    """An order: its SQL key, how a cursor's text compares with it, and its natural direction."""

    key: LiteralString
    bound: LiteralString
    descending: bool


SORTS: dict[str, Sort] = {
    "id": Sort("t.id", "%(after_key)s::bigint", False),
    "priority": Sort("t.priority", "%(after_key)s::task_priority", False),
    "due": Sort(
        "CASE WHEN t.due IS NULL THEN 'infinity'::timestamptz ELSE t.due END",
        "%(after_key)s::timestamptz",
        False,
    ),
    "created": Sort("t.created_at", "%(after_key)s::timestamptz", True),
    "updated": Sort("t.updated_at", "%(after_key)s::timestamptz", True),
    "title": Sort("lower(t.title)", "lower(%(after_key)s)", False),
    "status": Sort("t.status", "%(after_key)s::task_status", False),
}
"""Name of an order → what it means. A `-` before the name turns it round."""

# Joined only where both are asked for: within an OR, a subquery cannot lead to an index.
ALTERNATIVES = (("project", "inbox"), ("projects", "inbox"), ("assignees", "nobody"))
"""Conditions of which either will do."""

TRASH: dict[bool | None, LiteralString] = {
    False: "t.deleted_at IS NULL",
    True: "t.deleted_at IS NOT NULL",
    None: "true",
}

# Which tasks they are is settled before anything is joined to them: the planner then weighs the
# index to a few tasks, to be sorted, against all in order by what reading tasks costs alone.
CHOSEN: LiteralString = """FROM (
    SELECT t.id FROM tasks t
    WHERE {conditions}
    ORDER BY {key} {direction}, t.id {direction}
    LIMIT %(limit)s OFFSET %(skip)s
) AS page
JOIN tasks t ON t.id = page.id"""

PAGE = sql.SQL(
    "-- list_tasks: one page\n"
    + FACTS
    + CHOSEN
    + JOINS
    + "ORDER BY {key} {direction}, t.id {direction}"
)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def page(
    tx: Transaction,
    filters: Filters,
    *,
    sort: str = "id",
    limit: int | None = None,
    skip: int = 0,
    after: str | None = None,
) -> Page[Task]:
    """Return a page of tasks in a stable order.

    `sort` names one of `SORTS`, turned round by a leading `-`; `limit` is the most rows, `None`
    for all; `after` is the cursor of an earlier page. Raises `Usage` for a cursor of another
    order, `NotFound` if nothing matches and a filter names what does not exist.
    """
    query, params = statement(tx, filters, sort=sort, limit=limit, skip=skip, after=after)
    found = tx.rows(query, params, task)
    if not found:
        check_names(tx, filters)
    if limit is None or len(found) <= limit:
        return Page(found, None)
    shown = found[:limit]
    return Page(shown, cursor(sort, shown[-1]) if shown else None)


def statement(
    tx: Transaction,
    filters: Filters,
    *,
    sort: str = "id",
    limit: int | None = None,
    skip: int = 0,
    after: str | None = None,
) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the query of a page and its parameters, to be run next. Raises `Usage`."""
    wanted = asked(tx.actor, filters)
    query, params = compose(wanted, sort=sort, after=after)
    look_up(tx, wanted)
    # One row more than wanted tells whether there is a next page, without counting.
    return query, params | {"limit": None if limit is None else limit + 1, "skip": skip}


@dataclass(frozen=True, slots=True)
class Asked:
    """What filters ask for: conditions on tasks `t`, and their parameters.

    They hold in a transaction in which `lookups` have been made before.
    """

    conditions: list[sql.Composable]
    params: dict[str, Any]
    lookups: list[Lookup]


def compose(
    wanted: Asked, *, sort: str, after: str | None = None
) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the query of a page and its parameters, but for `limit` and `skip`. Raises `Usage`."""
    order = order_of(sort)
    descending = order.descending != sort.startswith("-")
    conditions, params = list(wanted.conditions), dict(wanted.params)
    if after is not None:
        params["after_key"], params["after_id"] = _read_cursor(after, sort)
        comparison = sql.SQL("({}, t.id) {} ({}, %(after_id)s)").format(
            sql.SQL(order.key), sql.SQL("<" if descending else ">"), sql.SQL(order.bound)
        )
        conditions.append(comparison)
    query = PAGE.format(
        conditions=sql.SQL("\n  AND ").join(conditions),
        key=sql.SQL(order.key),
        direction=sql.SQL("DESC" if descending else "ASC"),
    )
    return query, params


def conditions_of(tx: Transaction, filters: Filters) -> tuple[list[sql.Composable], dict[str, Any]]:
    """Return the conditions that filters stand for, on tasks `t`, and their parameters.

    The names in them are looked up with the next round trip: they hold in this transaction.
    """
    wanted = asked(tx.actor, filters)
    look_up(tx, wanted)
    return wanted.conditions, wanted.params


def look_up(tx: Transaction, wanted: Asked) -> None:
    """Look up the names that conditions speak of, with the next round trip."""
    for lookup in wanted.lookups:
        tx.execute(lookup.query, lookup.params)


def asked(actor: str, filters: Filters) -> Asked:
    """Return what filters ask for. Whoever runs it looks the names up before."""
    conditions: list[sql.Composable] = [sql.SQL(TRASH[filters.trash])]
    params = dict(_params(actor, filters))
    lookups: list[Lookup] = []
    for name in params.keys() & LOOKUPS.keys():
        lookup = Lookup.of(name, name, params[name])
        lookups.append(lookup)
        params[name] = lookup.place
    named = {
        name: sql.SQL(CONDITIONS[name]).format(sql.Placeholder(name))
        for name in CONDITIONS
        if name in params
    }
    for one, other in ALTERNATIVES:
        if one in named and other in named:
            either = sql.SQL("({} OR {})").format(named.pop(one), named.pop(other))
            conditions.append(either)
    conditions += named.values()
    if filters.query is not None:
        condition = queries.condition(filters.query, actor)
        conditions.append(condition.where)
        params |= condition.params
        lookups += condition.lookups
    return Asked(conditions, params, lookups)


def cursor(sort: str, last: Task) -> str:
    """Return the cursor that continues behind a task."""
    match sort.removeprefix("-"):
        case "due":
            key = last.due.isoformat() if last.due else "infinity"
        case "created":
            key = last.created_at.isoformat()
        case "updated":
            key = last.updated_at.isoformat()
        case name:
            key = str(getattr(last, name))
    packed = json.dumps([sort, key, last.id], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def _read_cursor(text: str, sort: str) -> tuple[str, int]:
    bad = Usage(
        f"{text!r} is not a cursor of this list",
        hint="Take the one that the page before printed, with the same --sort.",
    )
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        made_for, key, last_id = json.loads(packed)
    except (ValueError, TypeError, RecursionError):
        raise bad from None
    # Not isinstance: to it, true is an int.
    if made_for != sort or not isinstance(key, str) or type(last_id) is not int:
        raise bad
    return key, last_id


def order_of(sort: str) -> Sort:
    """Return the order that a name stands for. Raises `Usage`."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise Usage(
            f"cannot sort by {name!r}",
            hint=f"Sort by {', '.join(SORTS)}; a dash before it turns the order round.",
        )
    return SORTS[name]


def _params(actor: str, filters: Filters) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of the filters in use, and only of those."""
    keys = [key for key in filters.projects if key != NONE]
    if len(keys) == 1:
        yield "project", keys[0]
    elif keys:
        yield "projects", keys
    if NONE in filters.projects:
        yield "inbox", True
    if len(filters.statuses) == 1:
        yield "status", filters.statuses[0]
    elif filters.statuses:
        yield "statuses", list(filters.statuses)
    if filters.tags:
        yield "tags", list(filters.tags)
    if assignees := people(actor, filters.assignees):
        yield "assignees", assignees
    if NONE in filters.assignees:
        yield "nobody", True
    if filters.owners:
        yield "owners", people(actor, filters.owners)
    if len(filters.priorities) == 1:
        yield "priority", filters.priorities[0]
    elif filters.priorities:
        yield "priorities", list(filters.priorities)
    if filters.due_before is not None:
        yield "due_before", filters.due_before
    if filters.due_after is not None:
        yield "due_after", filters.due_after
    if len(filters.titles) == 1:
        yield "title", pattern(filters.titles[0])
    elif filters.titles:
        yield "titles", [pattern(text) for text in filters.titles]
    if filters.assigned is not None:
        yield "assigned" if filters.assigned else "unassigned", True
    if filters.parents:
        yield "parents", list(filters.parents)
    if filters.excluded:
        yield "excluded", list(filters.excluded)
    if filters.ready:
        yield "ready", True
    if filters.blocked:
        yield "blocked", True


def check_names(tx: Transaction, filters: Filters) -> None:
    """Tell an empty result from a name that is spelled wrong. Costs nothing when rows match."""
    for key in filters.projects:
        if key != NONE:
            projects.fetch(tx, key)
    for name in filters.tags:
        tags.fetch(tx, name)
    named = [name for name in (*filters.assignees, *filters.owners) if name not in (NONE, "me")]
    if named:
        users.require(tx, named)
    if filters.query is not None:
        queries.check_names(tx, filters.query)
