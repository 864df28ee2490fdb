"""Queries of the query language as conditions in SQL.

SQL knows a third truth value, queries do not: what is unknown of a task is false. `IS NOT TRUE`
makes a negation so, and nothing else can tell the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from concord.query import And, Comparison, Not, Or, Span, Text, comparisons
from concord.sql import projects, tags, users
from concord.sql.conditions import CONDITIONS, pattern, people
from concord.sql.lookups import LOOKUPS, Lookup
from concord.vocabulary import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from concord.database import Transaction
    from concord.query import Query
    from concord.query.syntax import Value

# Every task has a document. What no word of is indexed asks for nothing, negated or not. The
# planner knows whether it is so, and keeps one side of OR.
HOLDING: LiteralString = """t.id IN (SELECT task_id FROM task_texts
        WHERE document @@ {query} OR {vague} AND numnode({query}) = 0)"""

# The user's text is one quoted word of the language of to_tsquery, whatever stands in it.
TSQUERIES: dict[tuple[bool, bool], LiteralString] = {
    (False, False): "plainto_tsquery('pg_catalog.english', {})",
    (True, False): "phraseto_tsquery('pg_catalog.english', {})",
    (False, True): "to_tsquery('pg_catalog.english', {})",
}
"""(exact, prefix) → the query of a full text search for some words."""

EITHER: LiteralString = "t.id IN ({})"
BRANCH: LiteralString = "SELECT t.id FROM tasks t WHERE {}"

COLUMNS: dict[str, LiteralString] = {
    "due": "t.due",
    "created": "t.created_at",
    "updated": "t.updated_at",
    "started": "t.started_at",
    "completed": "t.completed_at",
}
"""Field of a date → its column."""

ABSENT = {
    "project": "inbox",
    "tag": "untagged",
    "assignee": "nobody",
    "parent": "orphans",
    "external_ref": "unreferenced",
}
"""Field → the condition that a task lacks it."""

PRESENT = {
    "id": "ids",
    "tag": "tags",
    "assignee": "assignees",
    "owner": "owners",
    "parent": "parents",
    "external_ref": "references",
    "claimed": "claimed_by",
}
"""Field → the condition that it has one of some values."""

SINGLE = {
    "project": ("project", "projects"),
    "status": ("status", "statuses"),
    "priority": ("priority", "priorities"),
    "title": ("title", "titles"),
}
"""Field → the conditions that it has a value, and one of several."""

NARROW = frozenset({"id", "tag", "assignee", "parent"})
"""Fields of which a subquery, or an index by itself, finds the few tasks with a value."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on tasks `t`, its parameters, and the lookups that go before it."""

    where: sql.Composed
    params: dict[str, Any]
    lookups: list[Lookup]


def condition(query: Query, actor: str) -> Condition:
    """Return the condition that a query stands for."""
    compiler = _Compiler(actor)
    made = compiler.query(query, negated=False)
    return Condition(made, compiler.params, compiler.lookups)


def tsquery(text: Text, name: str) -> tuple[sql.Composed, str]:
    """Return the expression of a full text search for a text, and its parameter `name`'s value."""
    words = text.words
    if text.prefix:
        escaped = words.replace("\\", "\\\\").replace("'", "''")
        words = f"'{escaped}':*"
    expression = sql.SQL(TSQUERIES[text.exact, text.prefix])
    return expression.format(sql.Placeholder(name)), words


def check_names(tx: Transaction, query: Query) -> None:
    """Raise `NotFound` if a query names a project, tag or user that does not exist."""
    named: list[str] = []
    for comparison in comparisons(query):
        names = [value for value in comparison.values if isinstance(value, str)]
        match comparison.field:
            case "project":
                for key in names:
                    projects.fetch(tx, key)
            case "tag":
                for name in names:
                    tags.fetch(tx, name)
            case "assignee" | "owner" | "claimed":
                named += [name for name in names if name != "me"]
            case _:
                pass
    if named:
        users.require(tx, named)


class _Compiler:
    """Makes the condition of one query. Each value is a parameter with a name of its own."""

    def __init__(self, actor: str) -> None:
        self.params: dict[str, Any] = {}
        self.lookups: list[Lookup] = []
        self._actor = actor

    def query(self, query: Query, *, negated: bool) -> sql.Composed:
        match query:
            case And():
                return _grouped(" AND ", [self.query(p, negated=negated) for p in query.parts])
            case Or():
                return self._any(query, negated=negated)
            case Not():
                part = self.query(query.part, negated=not negated)
                return sql.SQL("({}) IS NOT TRUE").format(part)
            case Text():
                return self._text(query, negated=negated)
            case Comparison():
                return _grouped(" OR ", list(self._comparison(query)))

    def _any(self, query: Or, *, negated: bool) -> sql.Composed:
        parts = [self.query(part, negated=negated) for part in query.parts]
        if not all(_narrows(part) for part in query.parts):
            return _grouped(" OR ", parts)
        # Within an OR, a subquery cannot lead to an index; by itself it can.
        found = [sql.SQL(BRANCH).format(part) for part in parts]
        return sql.SQL(EITHER).format(sql.SQL("\n        UNION ALL ").join(found))

    def _text(self, text: Text, *, negated: bool) -> sql.Composed:
        name = self._name()
        expression, self.params[name] = tsquery(text, name)
        vague = sql.SQL("false" if negated else "true")
        return sql.SQL(HOLDING).format(query=expression, vague=vague)

    def _comparison(self, comparison: Comparison) -> Iterator[sql.Composable]:
        """Yield the alternatives that a comparison consists of."""
        field, values = comparison.field, comparison.values
        if field in COLUMNS:
            yield from (self._date(comparison, value) for value in values)
            return
        if field == "priority" and comparison.operator != ":":
            values = _compared(comparison)
            if not values:
                yield sql.SQL("false")
                return
        if None in values:
            yield self._holds(ABSENT[field])
        for value in values:
            if isinstance(value, bool):
                holds = self._holds(field)
                yield holds if value else sql.SQL("({}) IS NOT TRUE").format(holds)
        if given := [
            value for value in values if value is not None and not isinstance(value, bool)
        ]:
            yield self._given(field, given)

    def _given(self, field: str, given: Sequence[Value]) -> sql.Composed:
        values: list[Value] | list[str] = [*given]
        if field == "title":
            values = [pattern(str(value)) for value in given]
        elif field in {"assignee", "owner", "claimed"}:
            values = people(self._actor, map(str, given))
        if field in SINGLE:
            one, several = SINGLE[field]
            return self._holds(several, values) if values[1:] else self._holds(one, values[0])
        return self._holds(PRESENT[field], values)

    def _date(self, comparison: Comparison, value: Value) -> sql.Composed:
        column = sql.SQL(COLUMNS[comparison.field])
        if value is None:
            return sql.SQL("{} IS NULL").format(column)
        if isinstance(value, Span):
            bounds = self._value(value.first), self._value(value.last)
            return sql.SQL("{} BETWEEN {} AND {}").format(column, *bounds)
        sign = sql.SQL(SIGNS[comparison.operator])
        return sql.SQL("{} {} {}").format(column, sign, self._value(value))

    def _holds(self, name: str, value: Any = None) -> sql.Composed:
        known = sql.SQL(CONDITIONS[name])
        if value is None:
            return known.format()
        if name in LOOKUPS:
            lookup = Lookup.of(name, self._name(), value)
            self.lookups.append(lookup)
            value = lookup.place
        return known.format(self._value(value))

    def _value(self, value: Any) -> sql.Placeholder:
        name = self._name()
        self.params[name] = value
        return sql.Placeholder(name)

    def _name(self) -> str:
        return f"query_{len(self.params) + 1}"


SIGNS: dict[str, LiteralString] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _grouped(between: LiteralString, conditions: Sequence[sql.Composable]) -> sql.Composed:
    """Return conditions as one, in parentheses."""
    return sql.SQL("({})").format(sql.SQL(between).join(conditions))


def _compared(comparison: Comparison) -> tuple[Value, ...]:
    """Return the priorities that an order speaks of: an index finds some values, but no range."""
    (bound,) = comparison.values
    place = PRIORITIES.index(bound)  # pyright: ignore[reportArgumentType]
    match comparison.operator:
        case "<":
            return PRIORITIES[:place]
        case "<=":
            return PRIORITIES[: place + 1]
        case ">":
            return PRIORITIES[place + 1 :]
        case _:
            return PRIORITIES[place:]


def _narrows(query: Query) -> bool:
    """Return whether an index finds the tasks of a query, which are few as a rule."""
    match query:
        case Text():
            return True
        case Comparison():
            return query.field in NARROW and None not in query.values
        case And():
            return any(_narrows(part) for part in query.parts)
        case Or():
            return all(_narrows(part) for part in query.parts)
        case Not():
            return False
