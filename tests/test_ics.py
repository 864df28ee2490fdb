"""The calendar that an export is, read back by a library, line by line where that matters."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from dateutil.rrule import rrulestr
from foreign_tables import peak_below
from format_tasks import all_exported, exported
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from concord.formats import ics
from concord.models import ImportedComment, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concord.models import ExportedTask

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def row(ref: str = "a", title: str = "Do it", **fields: Any) -> ImportedTask:
    return replace(ImportedTask(ref=ref, title=title, line=1), **fields)


def lines_of(*rows: ImportedTask) -> list[str]:
    return list(ics.dump(all_exported(rows, "sample")))


def unfolded(lines: Iterable[str]) -> list[str]:
    return "\n".join(lines).replace("\n ", "").split("\n")


def read(lines: Iterable[str]) -> list[Any]:
    """Return the to-dos of a calendar as the library understands them."""
    calendar = cast("Any", Calendar.from_ical(ics.LINE_END.join([*lines, ""])))
    assert [part.errors for part in calendar.walk() if part.errors] == []
    return calendar.walk("VTODO")


def recurring(rule: str, due: datetime | None, zone: str | None = "UTC", **fields: Any) -> Any:
    (todo,) = read(lines_of(row(recurrence=rule, recurrence_zone=zone, due=due, **fields)))
    return todo


def test_a_task_with_everything() -> None:
    rows = [
        row(
            title="One, two; three",
            description="First\nsecond",
            project="API",
            status="in_progress",
            priority="urgent",
            due=AT,
            tags=("bug", "a;b"),
            assignees=("ana", "bo"),
            owner="cy",
            created_at=AT,
            updated_at=AT + timedelta(days=1),
            started_at=AT,
            parent="b",
            blocked_by=("b",),
            comments=(ImportedComment("Said, he", "bo", AT, "c-1"),),
            uid=UUID(int=7),
            external_ref="ENG-1",
            version=3,
        ),
        row("b"),
    ]
    assert unfolded(lines_of(*rows))[:30] == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Concord//Concord//EN",
        "BEGIN:VTODO",
        r"CATEGORIES:bug,a\;b",
        r"COMMENT;X-CONCORD-AT=20260102T030405Z;X-CONCORD-AUTHOR=bo;X-CONCORD-REF=c-1:Said\, he",
        "CREATED:20260102T030405Z",
        r"DESCRIPTION:First\nsecond",
        "DTSTAMP:20260103T030405Z",
        "DUE:20260102T030405Z",
        "LAST-MODIFIED:20260103T030405Z",
        "PRIORITY:1",
        "RELATED-TO:00000000-0000-0000-0000-000000000002",
        "RELATED-TO;RELTYPE=DEPENDS-ON:00000000-0000-0000-0000-000000000002",
        "SEQUENCE:2",
        "STATUS:IN-PROCESS",
        r"SUMMARY:One\, two\; three",
        "UID:00000000-0000-0000-0000-000000000007",
        "X-CONCORD-ASSIGNEE:ana",
        "X-CONCORD-ASSIGNEE:bo",
        "X-CONCORD-EXTERNAL-REF:ENG-1",
        "X-CONCORD-ID:1",
        "X-CONCORD-OWNER:cy",
        "X-CONCORD-PROJECT:API",
        "X-CONCORD-STARTED:20260102T030405Z",
        "END:VTODO",
        "BEGIN:VTODO",
        "CREATED:20261121T120000Z",
        "DTSTAMP:20261121T120000Z",
        "LAST-MODIFIED:20261121T120000Z",
    ]


def test_a_calendar_without_tasks() -> None:
    assert lines_of() == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Concord//Concord//EN",
        "END:VCALENDAR",
    ]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("todo", "NEEDS-ACTION"),
        ("in_progress", "IN-PROCESS"),
        ("completed", "COMPLETED"),
        ("canceled", "CANCELLED"),
    ],
)
def test_status(status: str, told: str) -> None:
    (todo,) = read(lines_of(row(status=status, updated_at=AT)))
    assert todo["STATUS"] == told
    assert ("COMPLETED" in todo) == (status == "completed")
    assert ("X-CONCORD-CANCELED" in todo) == (status == "canceled")


@pytest.mark.parametrize(
    ("priority", "told"), [("urgent", 1), ("high", 3), ("medium", 5), ("low", 7), ("none", 0)]
)
def test_priority(priority: str, told: int) -> None:
    (todo,) = read(lines_of(row(priority=priority)))
    assert todo["PRIORITY"] == told


def test_tasks_that_are_not_in_the_calendar_are_named_by_their_ids() -> None:
    task = replace(exported(row(), 1, "sample"), parent=8, blocked_by=(9, 10), previous=7)
    (todo,) = read(ics.dump([task]))
    assert "RELATED-TO" not in todo
    assert str(todo["X-CONCORD-PARENT"]) == "8"
    assert [str(each) for each in todo["X-CONCORD-BLOCKED-BY"]] == ["9", "10"]
    assert str(todo["X-CONCORD-PREVIOUS"]) == "7"


@pytest.mark.parametrize(
    "text",
    [
        "a, b; c: \"d\" 'e'",
        "emoji 🎉👩‍👩‍👧 and ü" * 20,
        "مرحبا بالعالم, שלום",
        "line\nnext\n\n last ",
        "END:VTODO\nBEGIN:VALARM",
        r"C:\Temp",
        "tab\there \x85 and \u2028 there \x0b",
        "x" * 1000,
    ],
)
def test_texts_come_back(text: str) -> None:
    comment = ImportedComment(text, "bo", AT, text)
    lines = lines_of(row(title=text.split("\n")[0], description=text, comments=(comment,)))
    assert all(len(line.encode()) <= 75 for line in lines)
    assert not any(line[:1] in ("\n", "\r") or "\r" in line for line in lines)
    (todo,) = read(lines)
    shown = text.replace("\x0b", r"\x0b")
    assert str(todo["DESCRIPTION"]) == shown
    assert str(todo["SUMMARY"]) == shown.split("\n")[0]
    assert str(todo["COMMENT"]) == shown


@pytest.mark.parametrize("text", [r"C:\New\next", r"\n \N \\ \;", "\\"])
def test_backslashes_are_escaped_as_the_standard_has_it(text: str) -> None:
    lines = unfolded(lines_of(row(description=text)))
    told = next(line for line in lines if line.startswith("DESCRIPTION:"))
    escaped = text.replace("\\", "\\\\").replace(";", r"\;")
    assert told == f"DESCRIPTION:{escaped}"


def test_control_characters_are_shown_and_lines_end_alike() -> None:
    lines = unfolded(lines_of(row(title="a\x1b[31mb\x7f", description="one\r\ntwo\rthree")))
    assert r"SUMMARY:a\\x1b[31mb\\x7f" in lines
    assert r"DESCRIPTION:one\ntwo\nthree" in lines


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("rule", "due", "told"),
    [
        ("every 1d", "2026-03-28T09:00:00", "FREQ=DAILY;INTERVAL=1"),
        ("every 2w", "2026-03-28T09:00:00", "FREQ=WEEKLY;INTERVAL=2"),
        ("every 3m", "2026-03-28T09:00:00", "FREQ=MONTHLY;INTERVAL=3"),
        ("every 1m", "2026-01-31T09:00:00",
         "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"),
        ("every 1m", "2026-01-29T09:00:00",
         "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=28,29;BYSETPOS=-1"),
        ("every 1y", "2026-12-31T09:00:00", "FREQ=YEARLY;INTERVAL=1"),
        ("every 1y", "2024-02-29T09:00:00",
         "FREQ=YEARLY;INTERVAL=1;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1"),
        ("every mon,sat", "2026-03-28T09:00:00", "FREQ=WEEKLY;BYDAY=MO,SA"),
    ],
)  # fmt: skip
def test_recurrence_goes_by_the_clock_of_its_zone(rule: str, due: str, told: str) -> None:
    local = datetime.fromisoformat(due).replace(tzinfo=BERLIN)
    todo = recurring(rule, local.astimezone(UTC), "Europe/Berlin")
    parts = sorted(todo["RRULE"].to_ical().decode().split(";"))
    assert parts == sorted(told.split(";"))
    assert todo["DUE"].dt == local
    assert todo["DUE"].params["TZID"] == "Europe/Berlin"
    assert todo["DTSTART"].dt == local - timedelta(seconds=1)
    assert str(todo["X-CONCORD-RECURRENCE"]) == rule.replace(",", r"\,")
    assert str(todo["X-CONCORD-RECURRENCE-ZONE"]) == "Europe/Berlin"


def test_hours_are_counted_in_utc() -> None:
    todo = recurring("every 12h", datetime(2026, 3, 28, tzinfo=UTC), "Europe/Berlin")
    assert todo["RRULE"].to_ical() == b"FREQ=HOURLY;INTERVAL=12"
    assert todo["DUE"].to_ical() == b"20260328T000000Z"


@pytest.mark.parametrize(
    ("rule", "due", "zone", "status"),
    [
        ("after 3d", AT, "UTC", "todo"),
        ("after 3h", AT, "UTC", "todo"),
        ("every 1d", None, "UTC", "todo"),
        ("every 1d", AT, "UTC", "completed"),
        ("every 1d", AT, "UTC", "canceled"),
        ("every 1d", AT, "Mars/Olympus", "todo"),
        ("every 1d", AT, "Europe", "todo"),
        ("every mon", AT, "UTC", "todo"),  # due on a Friday
        ("every 1d", datetime(2026, 1, 1, 23, tzinfo=UTC), "Europe/Berlin", "todo"),
        ("every 1d", datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "Europe/Berlin", "todo"),
    ],
)
def test_a_recurrence_that_no_rule_says(
    rule: str, due: datetime | None, zone: str, status: str
) -> None:
    todo = recurring(rule, due, zone, status=status, updated_at=AT)
    assert not {"RRULE", "DTSTART"} & todo.keys()
    assert ("DUE" in todo) == (due is not None)
    assert str(todo["X-CONCORD-RECURRENCE"]) == rule


def test_each_zone_is_told_once_before_it_is_named() -> None:
    def daily(ref: str, zone: str) -> ImportedTask:
        return row(ref, recurrence="every 1d", recurrence_zone=zone, due=AT)

    lines = lines_of(
        daily("a", "UTC"), daily("b", "Asia/Tokyo"), daily("c", "Asia/Tokyo"),
        daily("d", "Europe/Berlin"),
    )  # fmt: skip
    assert [line for line in lines if line.startswith(("BEGIN:VT", "TZID:"))] == [
        "BEGIN:VTODO",
        "BEGIN:VTIMEZONE",
        "TZID:Asia/Tokyo",
        "BEGIN:VTODO",
        "BEGIN:VTODO",
        "BEGIN:VTIMEZONE",
        "TZID:Europe/Berlin",
        "BEGIN:VTODO",
    ]
    assert "DUE:20260102T030405Z" in lines
    assert "DUE;TZID=Asia/Tokyo:20260102T120405" in lines
    assert len(read(lines)) == 4


def test_times_at_the_ends_of_the_calendar() -> None:
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        (todo,) = read(lines_of(row(due=moment, created_at=moment, started_at=moment)))
        assert todo["DUE"].dt == moment.replace(microsecond=0)
        assert str(todo["X-CONCORD-STARTED"]) == f"{moment.year:04}{moment:%m%dT%H%M%S}Z"


def test_memory_does_not_grow_with_the_texts() -> None:
    class Tasks:
        def __iter__(self) -> Iterator[ExportedTask]:
            for number in range(1, 201):
                yield exported(row(str(number), description="x" * 10_000), number, "sample")

    with peak_below(1_000_000):
        assert sum(line == "END:VTODO" for line in ics.dump(Tasks())) == 200


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"))


@settings(max_examples=50)
@given(
    st.builds(
        row,
        title=TEXTS.map(lambda text: f"-{text}"),
        description=st.none() | TEXTS.map(lambda text: f"-{text}\n-"),
        due=st.none() | st.datetimes(timezones=st.just(UTC)),
        tags=st.lists(TEXTS.filter(str.strip), max_size=3).map(tuple),
        recurrence=st.none() | st.sampled_from(["every 1d", "every 2m", "after 3h", "every 5h"]),
        recurrence_zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"]),
    )
)
def test_what_was_written_is_read(task: ImportedTask) -> None:
    lines = lines_of(task)
    assert all(len(line.encode()) <= 75 for line in lines)
    (todo,) = read(lines)
    assert str(todo["SUMMARY"]) == task.title
    assert (str(todo["DESCRIPTION"]) if "DESCRIPTION" in todo else None) == task.description
    assert tuple(str(tag) for tag in getattr(todo.get("CATEGORIES"), "cats", ())) == task.tags
    due = todo["DUE"].dt if "DUE" in todo else None
    assert due == (task.due.replace(microsecond=0) if task.due else None)


RULES = ("every 1d", "every 2w", "every 1m", "every 5m", "every 1y", "every 7h", "every mon,sat")
DUES = ("2024-02-29T09:30", "2026-01-31T09:30", "2026-03-28T22:30", "2026-07-01T00:30")


def test_a_calendar_repeats_a_task_as_the_database_does(url: str) -> None:
    compared = 0
    with psycopg.connect(url) as connection:
        for rule, told, days in itertools.product(RULES, DUES, (-3, 40, 500)):
            due = datetime.fromisoformat(f"{told}+00:00")
            todo = recurring(rule, due, "Europe/Berlin")
            if "RRULE" not in todo:
                continue
            done = due + timedelta(days=days)
            row = connection.execute(
                "SELECT next_due(%s, 'Europe/Berlin', %s, %s)", (rule, due, done)
            ).fetchone()
            assert row is not None
            local: datetime = todo["DUE"].dt
            repeated = rrulestr(
                todo["RRULE"].to_ical().decode(), dtstart=local.replace(tzinfo=None)
            ).after(max(local, done.astimezone(local.tzinfo)).replace(tzinfo=None))
            assert repeated is not None
            assert repeated.replace(tzinfo=local.tzinfo) == row[0], (rule, told, days)
            compared += 1
    assert compared >= 60
