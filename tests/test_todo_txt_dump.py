"""Tasks as lines of a todo.txt, and back again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from commands import zone
from format_tasks import all_exported
from hypothesis import given, settings
from hypothesis import strategies as st
from todo_txt_files import back, parse, parse_line, tasks

from concord.formats import todo_txt
from concord.models import ExportedTask
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Generator

LATER = datetime(2026, 12, 1, tzinfo=UTC)

FILE = """\
(A) 2026-01-01 Thank Mom for the meatballs @phone
(B) Schedule Goodwill pickup +GarageSale @phone
@GroceryStore Eskimo pies
x 2026-03-03 2026-03-01 Review the pull request +TodoTxtTouch @github pri:C
x (A) 2026-03-03 Done with its priority
x 2026-03-02 2026-03-01 Pay  rent due:2026-03-02 rec:+1m t:2026-02-20
Really gotta call Mom (A) @phone @someday
Learn how to add 2+2
Call @mom about +garden due:2026-05-05 fence now http://example.org/a h:1 foo:bar
(F) Low thing
Repeat me
Repeat me
x Repeat me
Known thing id:17
2026-02-03 Begun status:in_progress
due:tomorrow rec:3b
Two projects +b +a @z @y due:2026-01-01 due:2026-01-02
Grüße 🌱 שלום @büro
  Trailing and leading  """


@pytest.fixture(autouse=True)
def utc() -> Generator[None]:
    with zone("UTC"):
        yield


def test_a_file_is_given_back_line_by_line() -> None:
    rows = tasks(parse(FILE))
    assert list(todo_txt.dump(all_exported(rows, todo_txt.NAME))) == FILE.split("\n")


def test_a_line_is_given_back_whatever_rules_made_of_its_words() -> None:
    rules = ("priority:A=high", "project:home=HOUSE", "status:x=canceled")
    for line in ("x (A) 2026-01-01 a +home", "(A) b +home"):
        assert back(parse_line(line, *rules)) == line
    assert back(parse_line("(A) b +home", *rules), project="HOME") == (
        "(B) b +HOME id:" + parse_line("b +home").ref
    )


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("(A) 2026-01-01 Call @phone", "x 2026-12-01 2026-01-01 Call @phone pri:A"),
        ("(F) Call due:2026-01-01 mom", "x 2026-12-01 Call due:2026-01-01 mom pri:F"),
        ("Call status:in_progress h:1", "x 2026-12-01 Call h:1"),
    ],
)
def test_a_task_that_was_completed_is_marked_and_the_rest_of_its_line_stays(
    line: str, done: str
) -> None:
    assert back(parse_line(line), status="completed", completed_at=LATER) == done


def test_a_task_that_was_reopened_loses_its_mark() -> None:
    row = parse_line("x 2026-01-02 2026-01-01 Call pri:B k:v")
    assert back(row, status="todo", completed_at=None) == "(B) 2026-01-01 Call k:v"


def test_what_was_changed_takes_the_place_of_what_was_there() -> None:
    row = parse_line("Call due:2026-01-01 mom +home @a @b rec:1w k:v")
    ref = row.ref
    assert back(row, due=LATER) == "Call due:2026-12-01 mom +home @a @b rec:1w k:v"
    assert back(row, due=None) == "Call mom +home @a @b rec:1w k:v"
    assert back(row, recurrence="every 2d") == ("Call due:2026-01-01 mom +home @a @b rec:+2d k:v")
    assert back(row, priority="low") == "(D) Call due:2026-01-01 mom +home @a @b rec:1w k:v"
    assert back(row, project="WORK", tags=("b", "c")) == (
        f"Call due:2026-01-01 mom +WORK @b rec:1w k:v @c id:{ref}"
    )
    assert back(row, project=None) == f"Call due:2026-01-01 mom @a @b rec:1w k:v id:{ref}"
    assert back(row, title="Write to mom") == (
        f"Write to mom due:2026-01-01 +home @a @b rec:1w k:v id:{ref}"
    )


def test_a_line_of_other_words_is_still_the_same_task() -> None:
    row = parse_line("(A) 2026-01-01 Call mom @phone")
    line = back(row, title="Call dad")
    assert line == f"(A) 2026-01-01 Call dad @phone id:{row.ref}"
    assert parse_line(line).ref == row.ref


def test_a_title_that_begins_like_a_line_stands_behind_dates() -> None:
    for title in ("x marks it", "(A) plan", "2026-01-01 is a day"):
        for row in (parse_line("Call"), parse_line("x Call")):
            again = parse_line(back(row, title=title))
            assert (again.title, again.status) == (title, row.status)


def test_a_time_of_day_is_the_day() -> None:
    row = parse_line("Call due:2026-12-01")
    assert back(row, due=LATER.replace(hour=17)) == "Call due:2026-12-01"
    with zone("Asia/Tokyo"):
        assert back(row, due=LATER.replace(hour=17)) == "Call due:2026-12-02"


def stored(number: int = 1, **fields: object) -> ExportedTask:
    task = ExportedTask(
        id=number,
        uid=UUID(int=number),
        project=None,
        title="Do it",
        description="Nobody is told this.",
        status="todo",
        priority="none",
        due=None,
        tags=(),
        assignees=(),
        owner="ana",
        external_ref=None,
        parent=None,
        version=1,
        created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        updated_at=LATER,
        completed_at=None,
        deleted_at=None,
    )
    return replace(task, **fields)  # type: ignore[arg-type]


def test_a_task_from_elsewhere_gets_its_uid() -> None:
    uid = "uid:00000000-0000-0000-0000-000000000001"
    (line,) = todo_txt.dump([stored(project="API", tags=("b",), priority="urgent")])
    assert line == f"(A) 2026-01-02 Do it +API @b {uid}"
    (line,) = todo_txt.dump([stored(external_ref="API-7", recurrence="every mon")])
    assert line == f"2026-01-02 Do it {uid}"
    assert parse_line(line).ref == uid.removeprefix("uid:")
    assert back(parse_line(line)) == line


def test_what_a_title_says_of_an_id_is_not_the_tasks() -> None:
    (line,) = todo_txt.dump([stored(title="Look for id:7 in it")])
    assert parse_line(line).ref == str(UUID(int=1))
    row = parse_line("Look")
    assert parse_line(back(row, title="Look for id:7 in it")).ref == row.ref


WORDS = st.text(st.characters(categories=["Ll", "Lu", "Lo", "So"]), min_size=1, max_size=8)
TITLES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
DAYS = st.integers(0, 3_000_000).map(lambda day: datetime(2, 1, 1, tzinfo=UTC) + timedelta(day))
RULES = st.sampled_from([None, "every 2w", "after 3d", "every 1y", "after 12m"])


@st.composite
def any_task(draw: st.DrawFn) -> ExportedTask:
    status = draw(st.sampled_from(STATUSES))
    done_at = draw(DAYS)
    rule = draw(RULES)
    return stored(
        project=draw(st.sampled_from([None, "API", "HOME-GARDEN"])),
        title=draw(TITLES),
        status=status,
        priority=draw(st.sampled_from(PRIORITIES)),
        due=draw(st.none() | DAYS.map(lambda day: day.replace(hour=23, minute=59, second=59))),
        tags=tuple(sorted(draw(st.sets(NAMES, max_size=3)))),
        created_at=draw(DAYS),
        completed_at=done_at if status == "completed" else None,
        canceled_at=done_at if status == "canceled" else None,
        recurrence=rule,
        recurrence_zone="UTC" if rule else None,
    )


SAME = (
    *("title", "status", "priority", "due", "tags", "created_at", "completed_at", "canceled_at"),
    *("project", "recurrence", "recurrence_zone"),
)


@settings(max_examples=100)
@given(any_task())
def test_any_task_comes_back(task: ExportedTask) -> None:
    (line,) = todo_txt.dump([task])
    row = parse_line(line)
    assert {name: getattr(row, name) for name in SAME} == {
        name: getattr(task, name) for name in SAME
    }
    assert row.ref == str(task.uid)
    assert back(row) == line


TOKENS = st.sampled_from(
    [
        *("x", "(A)", "(Q)", "2026-01-01", "2026-02-30", "call", "@a", "@A", "+b", "+", "@", "+é"),
        *("due:2026-01-01", "due:x", "rec:1w", "rec:+2d", "t:1", "pri:C", "id:7", "k:v", "a:b:c"),
        *("status:canceled", "status:in_progress", "http://a.b/c", "🌱", "", "  "),
    ]
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "title": TITLES,
        "priority": st.sampled_from(PRIORITIES),
        "due": st.none() | DAYS,
        "recurrence": RULES,
        "description": TITLES,
    },
)


@settings(max_examples=100)
@given(st.lists(TOKENS, min_size=1, max_size=9).map(" ".join), CHANGES)
def test_any_line_comes_back_and_changes_are_told(line: str, changes: dict[str, object]) -> None:
    for row in parse(line):
        if not isinstance(row, type(parse_line("a"))):
            continue
        assert back(row) == line
        again = parse_line(back(row, **changes))
        assert again.ref == row.ref
        for name in ("title", "status", "priority", "project", "tags", "recurrence"):
            assert getattr(again, name) == changes.get(name, getattr(row, name)), name
        due = changes.get("due", row.due)
        assert (again.due and again.due.date()) == (
            due.date() if isinstance(due, datetime) else None
        )
