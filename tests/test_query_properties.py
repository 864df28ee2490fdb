"""The query language for any query: it is read as it is written, and finds what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import Server, settings_for
from hypothesis import example, given, settings
from hypothesis import strategies as st
from query_reference import World
from query_tasks import (
    NOON,
    VALUES,
    comparisons,
    fill,
    findable,
    queries,
    terms,
)

from concord.database import Database, Isolation, Operation, Transaction
from concord.errors import Usage
from concord.query import And, Comparison, Not, Or, Span, Text, all_of, parse, texts, without_texts
from concord.query.parser import DEEPEST, LONGEST
from concord.query.printer import text_of
from concord.sql import listing
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concord.query import Query

SIGNS = " \t\n\"\\()-,:<>=!*.#%'’日"
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

names = st.text(st.sampled_from(SIGNS) | LETTERS, min_size=1, max_size=12) | st.sampled_from(
    ["none", "NONE", "me", "Me", "yes", "no", "or", "and", "NOT", "a*", "*", "-x", "tag:x", "x y"]
)
words = names.filter(lambda text: text.strip() != "")
dates = st.datetimes(timezones=st.just(UTC))
ranges = st.tuples(dates, dates).map(lambda pair: Span(min(pair), max(pair)))

WRITTEN = VALUES | {
    "project": names.filter(lambda text: text.upper() == text) | st.none(),
    "tag": names | st.none(),
    "assignee": names | st.none(),
    "owner": names,
    "title": names,
    "claimed": names | st.booleans(),
    "external_ref": names | st.none(),
    "due": ranges | dates.map(lambda moment: Span(moment, moment)) | st.none(),
}
"""Field → any value."""


@given(queries(comparisons(WRITTEN) | terms(words)))
@example(And((Text("a"), Text(":b"))))
@example(And((Comparison("tag", ":", ("a",)), Text(",b"))))
@example(Or((And((Text("a"), Not(Not(Text("b"))))), Text("or"))))
def test_what_is_written_is_read_as_the_same_query(query: Query) -> None:
    assert parse(text_of(query), now=NOON) == query


@given(
    st.lists(st.sampled_from([*SIGNS, "or ", "not ", "tag:", "due<", "x", "1"]), max_size=30).map(
        "".join
    )
    | st.text(max_size=20)
)
@example("\ud800")
@example("(" * LONGEST)
@example("-" * LONGEST + "a")
@example("(" * (DEEPEST + 50) + "a" + ")" * (DEEPEST + 50))
@example("-(a or " * 200 + "b" + ")" * 200)
def test_any_text_is_a_query_or_told_where_it_is_none(text: str) -> None:
    try:
        query = parse(text, now=NOON)
    except Usage as error:
        told = error
    else:
        assert parse(text_of(query), now=NOON) == query
        return
    assert 1 <= told.details["column"] <= len(text) + 1
    assert f"(column {told.details['column']})" in told.message


@given(findable)
def test_what_a_query_asks_for_is_its_texts_and_the_rest(query: Query) -> None:
    parts = query.parts if isinstance(query, And) else (query,)
    assert sorted(map(repr, parts)) == sorted(
        repr(part)
        for whole in (all_of(texts(query)), without_texts(query))
        if whole is not None
        for part in (whole.parts if isinstance(whole, And) else (whole,))
    )
    rest = without_texts(query)
    assert rest is None or texts(rest) == ()


# What queries find


@pytest.fixture(scope="module")
def world(server: Server, crew_template: str) -> Iterator[tuple[Database, World]]:
    """A database of tasks, and what is known of them."""
    with server.janitor("queries", crew_template) as janitor:
        url = server.url(janitor.dbname)
        fill(url)
        with Database(settings_for(url), "test") as database, psycopg.connect(url) as connection:
            found = database.run(listing.page, Filters(trash=None)).items
            tasks = {task.id: task for task in found}
            yield database, World(tasks, "ana", datetime.now(UTC), connection)


def found(database: Database, query: Query) -> list[int]:
    """Return the ids of the tasks that a query finds, whatever names it knows."""

    def body(tx: Transaction) -> list[int]:
        composed, params = listing.statement(tx, Filters(query=query))
        return [*tx.scalars(composed, params)]

    return database.run(Operation(body, Isolation.READ_COMMITTED, read_only=True))


@settings(max_examples=150, deadline=None)
@given(query=findable)
def test_a_query_finds_what_it_says(world: tuple[Database, World], query: Query) -> None:
    database, reference = world
    assert found(database, query) == reference.find(query)
