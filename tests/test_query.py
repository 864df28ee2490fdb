"""The query language as it is written: what is read, and what is told of what is not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from concord.errors import Usage
from concord.query import (
    And,
    Comparison,
    Not,
    Or,
    Span,
    Text,
    all_of,
    any_of,
    parse,
    texts,
    without_texts,
)
from concord.query.fields import FIELDS, NAMED
from concord.query.parser import DEEPEST, LONGEST, MOST_TERMS
from concord.query.printer import text_of

if TYPE_CHECKING:
    from concord.query import Query
    from concord.query.syntax import Operator, Value

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 14, 30, tzinfo=BERLIN)
"""A Wednesday."""

MICROSECOND = timedelta(microseconds=1)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def read(text: str) -> Query:
    return parse(text, now=NOW)


def refused(text: str) -> Usage:
    with pytest.raises(Usage) as caught:
        read(text)
    return caught.value


def has(field: str, *values: Value, operator: Operator = ":") -> Comparison:
    return Comparison(field, operator, values)


BUG = has("tag", "bug")
A, B, C = Text("a"), Text("b"), Text("c")


# Shape


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a", A),
        ("a b", And((A, B))),
        ("a and b AND c", And((A, B, C))),
        ("a or b Or c", Or((A, B, C))),
        ("a or b c", Or((A, And((B, C))))),
        ("(a or b) c", And((Or((A, B)), C))),
        ("(a b) c", And((A, B, C))),
        ("((a))", A),
        ("-a b", And((Not(A), B))),
        ("not a b", And((Not(A), B))),
        ("-(a b)", Not(And((A, B)))),
        ("NOT (a or b)", Not(Or((A, B)))),
        ("not not -a", Not(Not(Not(A)))),
        ("-tag:bug", Not(BUG)),
        ("--tag:bug", Not(Not(BUG))),
        ("  a\n\tb  ", And((A, B))),
        ("a(b)c", And((A, B, C))),
    ],
)
def test_terms_are_joined(text: str, query: Query) -> None:
    assert read(text) == query


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ('"exact words"', Text("exact words", exact=True)),
        ('-"x"', Not(Text("x", exact=True))),
        ('"say \\"so\\" \\\\ "', Text('say "so" \\ ', exact=True)),
        ("depl*", Text("depl", prefix=True)),
        ('"a b"*', Text("a b", prefix=True)),
        ("*", Text("*")),
        ("a*b", Text("a*b")),
        ('"or"', Text("or", exact=True)),
        ("order nothing android", And((Text("order"), Text("nothing"), Text("android")))),
        ("pre-release", Text("pre-release")),
        ("12:30", Text("12:30")),
        ("x,y", Text("x,y")),
        ('text:"tag:x a"', Text("tag:x a")),
        ("text:a,b", Or((A, B))),
        ("日本", Text("日本")),
    ],
)
def test_words_are_searched_for(text: str, query: Query) -> None:
    assert read(text) == query


# Fields and values


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("status:todo,in-progress", has("status", "todo", "in_progress")),
        ("STATUS = Todo", has("status", "todo")),
        ("tag:a, b ,c", has("tag", "a", "b", "c")),
        ('tag:"a,b","c d"', has("tag", "a,b", "c d")),
        ("tag:area:ui", has("tag", "area:ui")),
        ('tag:none,"none"', has("tag", None, "none")),
        ("project:api,none", has("project", "API", None)),
        ("id:12,#13", has("id", 12, 13)),
        ("parent:None", has("parent", None)),
        ("assignee:ME,bo", has("assignee", "me", "bo")),
        ("blocked:Yes ready:no", And((has("blocked", True), has("ready", False)))),
        ("claimed:yes,bo,me", has("claimed", True, "bo", "me")),
        ("ref:X-1", has("external_ref", "X-1")),
        ("external-ref:none", has("external_ref", None)),
        ("priority:none", has("priority", "none")),
        ("priority>=high", has("priority", "high", operator=">=")),
        ("priority < low", has("priority", "low", operator="<")),
        ("title:-x", has("title", "-x")),
        ('title:"a b"c', And((has("title", "a b"), C))),
    ],
)
def test_values_are_those_of_the_field(text: str, query: Query) -> None:
    assert read(text) == query


@pytest.mark.parametrize("field", ["due", "created", "updated", "started", "completed"])
def test_a_day_is_that_of_the_user_from_its_first_moment_to_its_last(field: str) -> None:
    first, last = berlin("2026-11-27"), berlin("2026-11-28") - MICROSECOND
    assert read(f"{field}:fri") == has(field, Span(first, last))
    assert read(f"{field}<fri") == has(field, first, operator="<")
    assert read(f"{field}<=fri") == has(field, last, operator="<=")
    assert read(f"{field}>fri") == has(field, last, operator=">")
    assert read(f"{field}>=fri") == has(field, first, operator=">=")
    later = berlin("2026-12-02") - MICROSECOND
    assert read(f'{field}:"fri..next tue"') == has(field, Span(first, later))


def test_a_moment_is_just_that() -> None:
    nine = berlin("2026-11-27T09:00")
    assert read('due:"fri 9am"') == has("due", Span(nine, nine))
    assert read("due<=2026-11-27T08:00:00Z") == has("due", nine, operator="<=")
    assert read("due<-2w") == has("due", berlin("2026-11-11"), operator="<")


def test_the_calendar_has_ends() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert parse("due<=9999-12-31", now=NOW.astimezone(UTC)) == has("due", last, operator="<=")
    assert refused("due<+9999y").details["column"] == 5


# What is wrong, and where


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("", 1, "the query is empty"),
        (" \t", 1, "the query is empty"),
        ("statsu:todo", 1, "no field 'statsu'; did you mean status"),
        ("a -note:x", 4, "no field 'note'"),
        ("status:tood", 8, "no status 'tood'; did you mean todo?"),
        ("status:todo,dne", 13, "no status 'dne'"),
        ("a priority:hihg", 12, "no priority 'hihg'; did you mean high?"),
        ("tag>bug", 4, "tag has no order: write tag:VALUE"),
        ("a status!=todo", 9, "there is no !=: write -status:VALUE"),
        ("id:x", 4, "'x' is not a task id"),
        ("parent:0", 8, "'0' is not a task id or none"),
        ("id:9223372036854775808", 4, "'9223372036854775808' is not a task id"),
        ("blocked:maybe", 9, "blocked is yes or no, not 'maybe'"),
        ("due:someday", 5, "cannot read 'someday' as a date"),
        ("due<none", 5, "nothing is < none"),
        ("due<fri,sat", 9, "< takes one value"),
        ("due:fri..mon..tue", 5, "cannot read 'mon..tue' as a date"),
        ("due:fri..", 5, "a range has two ends"),
        ("due:sat..fri", 5, "'sat..fri' ends before it begins"),
        ("due<fri..sat", 5, "< takes a day or a moment, not a range"),
        ("created:none", 9, "'none' is no date to compare with"),
        ("tag:", 5, "expected a value, found the end"),
        ("tag:a,", 7, "expected a value, found the end"),
        ("tag:)", 5, "expected a value, found )"),
        ('tag:""', 5, "an empty value of tag"),
        ('""', 1, "no words between the quotes"),
        ('text:" "', 6, "no words between the quotes"),
        ('a "b', 3, "a quote that nothing closes"),
        ('tag:"b', 5, "a quote that nothing closes"),
        ("(a", 3, "expected ), found the end"),
        ("a)", 2, "nothing is open that ) could close"),
        ("()", 2, "expected a word"),
        ("a or", 5, "expected a word"),
        ("or a", 1, "expected a word"),
        ("a and or b", 7, "expected a word"),
        ("not", 4, "expected a word"),
        ("a - b", 3, "a dash negates what follows it at once"),
        ("a -", 3, "a dash negates what follows it at once"),
        ("a\0b", 2, "a character that no text has"),
        ("a \udcff", 3, "a character that no text has"),
        ("x" * 256, 1, "a text of more than 255 characters"),
        ("x " * LONGEST, LONGEST + 1, f"at most {LONGEST} characters"),
        ("x " * (MOST_TERMS + 1), 2 * MOST_TERMS + 1, f"at most {MOST_TERMS} terms"),
        ("-" * DEEPEST + "-x", DEEPEST + 1, f"deeper than {DEEPEST} levels"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, column: int, told: str) -> None:
    error = refused(text)
    assert told in error.message
    assert error.details == {"query": text, "column": column}
    assert f"(column {column})\n" in error.message


def test_what_is_just_short_of_a_limit_is_read() -> None:
    assert read("x " * MOST_TERMS) == And((Text("x"),) * MOST_TERMS)
    assert isinstance(read("-" * DEEPEST + "x"), Not)
    assert read("(" * 4000 + "x" + ")" * 4000) == Text("x")


def caret(text: str) -> tuple[str, int]:
    """Return the query as an error shows it, and the place of the caret below it."""
    _, shown, pointer = refused(text).message.split("\n")
    assert pointer.strip() == "^"
    return shown, pointer.index("^")


def test_a_caret_stands_below_the_place() -> None:
    assert caret("a status:tood b") == ("  a status:tood b", 11)
    assert caret("a\nstatus:tood") == ("  a status:tood", 11)
    assert caret("日本 status:tood") == ("  日本 status:tood", 14), "wide characters fill two cells"
    assert caret("e\u0301 status:tood") == ("  e\u0301 status:tood", 11), "a combining one none"
    shown, place = caret("x " * 60 + "status:tood " + "y " * 60)
    assert shown[place:].startswith("tood y")
    assert (shown[2], shown[-1], len(shown)) == ("…", "…", 124)


def test_a_hint_says_what_there_is() -> None:
    hint = refused("note:x").hint
    assert hint is not None
    assert all(name in hint for name in NAMED)
    assert 'quote it: "…"' in hint
    assert refused("status:x").hint == "There are todo, in_progress, completed, canceled."


# Queries as values


def test_queries_are_combined_flat() -> None:
    assert all_of([]) is None
    assert all_of([A]) == A
    assert all_of([And((A, B)), C]) == And((A, B, C))
    assert any_of([A, Or((B, C))]) == Or((A, B, C))
    assert any_of([]) is None


def test_the_texts_that_a_query_demands() -> None:
    query = read('a status:todo "b c" -d (e or f) pre*')
    assert texts(query) == (A, Text("b c", exact=True), Text("pre", prefix=True))
    assert without_texts(query) == read("status:todo -d (e or f)")
    assert (texts(A), without_texts(A)) == ((A,), None)
    assert (texts(BUG), without_texts(BUG)) == ((), BUG)
    assert texts(read("a or b")) == ()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("NOT (a AND (b or c))", "-(a (b or c))"),
        ("status=todo,in-progress", "status:todo,in_progress"),
        ("due:fri", "due:2026-11-26T23:00:00Z..2026-11-27T22:59:59.999999Z"),
        ('tag:"x",none,"none","y z"', 'tag:x,none,"none","y z"'),
        ('text:"a b"', 'text:"a b"'),
        ("ref:1", "external_ref:1"),
    ],
)
def test_a_query_is_written_in_one_form(text: str, printed: str) -> None:
    assert text_of(read(text)) == printed


def test_every_field_is_compared_as_it_says() -> None:
    for field in FIELDS.values():
        for operator in (":", "<", "<=", ">", ">="):
            value = {"id": "1", "date": "today", "flag": "yes", "word": field.words[-1:]}.get(
                field.kind, "x"
            )
            text = f"{field.name}{operator}{''.join(value)}"
            if operator in field.operators:
                assert read(text)
            else:
                assert "has no order" in refused(text).message


def test_the_library_is_loaded_for_a_query_alone() -> None:
    program = (
        "import sys, concord.query, concord.sql.queries, concord.cli.task;"
        "assert 'lark' not in sys.modules;"
        "from concord.dates import local_now;"
        "concord.query.parse('a', now=local_now());"
        "assert 'lark' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
