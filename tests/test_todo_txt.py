"""todo.txt: what a line means, and every way a file can be odd."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
from commands import zone
from foreign_tables import peak_below
from format_tasks import MadeFile
from todo_txt_files import parse, parse_bad, parse_line, tasks

from concord.formats import beginning, todo_txt
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask
from concord.vocabulary import TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture(autouse=True)
def utc() -> Generator[None]:
    with zone("UTC"):
        yield


def test_a_line_with_everything() -> None:
    line = (
        "(B) 2026-01-02 Call  @mom about +garden fence @phone"
        " due:2026-02-01 rec:+2w t:2026-01-20 n:1"
    )
    task = parse_line(line)
    assert task == ImportedTask(
        ref=task.ref,
        title="Call @mom about +garden fence",
        line=1,
        priority="high",
        due=datetime(2026, 2, 1, 23, 59, 59, tzinfo=UTC),
        tags=("mom", "phone"),
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        project="GARDEN",
        recurrence="every 2w",
        recurrence_zone="UTC",
        partial=("parent", "auto_close", "blocked_by", "comments"),
        extra={"line": line},
    )


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-02 Plain",
        "(A) 2026-01-02 Call +GARDEN @a @b due:2026-02-01 rec:2w",
        "x 2026-01-03 2026-01-02 Done +GARDEN pri:C",
        "x 2026-01-03 2026-01-02 Dropped status:canceled",
        "2026-01-02 Begun status:in_progress",
    ],
)
def test_a_line_that_the_task_gives_back_is_not_kept(line: str) -> None:
    assert parse_line(line).extra == {}


@pytest.mark.parametrize(
    ("line", "title", "done_on", "created_on"),
    [
        ("x 2026-01-03 2026-01-02 Done", "Done", date(2026, 1, 3), date(2026, 1, 2)),
        ("x 2026-01-03 Done", "Done", date(2026, 1, 3), None),
        ("x (A) 2026-01-03 2026-01-02 Done", "Done", date(2026, 1, 3), date(2026, 1, 2)),
        ("x Done", "Done", None, None),
        (
            "x 2026-01-03 2026-01-02 2026-01-01 a",
            "2026-01-01 a",
            date(2026, 1, 3),
            date(2026, 1, 2),
        ),
        ("2026-01-02 Open", "Open", None, date(2026, 1, 2)),
        ("2026-01-02 2026-01-01 Open", "2026-01-01 Open", None, date(2026, 1, 2)),
        ("2026-13-02 Open", "2026-13-02 Open", None, None),
        ("xylophone", "xylophone", None, None),
        ("X Done", "X Done", None, None),
        (" x Open", "x Open", None, None),
        ("x", "x", None, None),
        ("Open (A)", "Open (A)", None, None),
        ("(a) Open", "(a) Open", None, None),
        ("(A)Open", "(A)Open", None, None),
    ],
)
def test_marks_and_dates_count_at_the_front_alone(
    line: str, title: str, done_on: date | None, created_on: date | None
) -> None:
    task = parse_line(line)
    assert task.title == title
    assert (task.status == "completed") == line.startswith("x ")
    assert (task.completed_at.date() if task.completed_at else None) == done_on
    assert (task.created_at.date() if task.created_at else None) == created_on


@pytest.mark.parametrize(
    ("line", "priority"),
    [
        ("(A) a", "urgent"),
        ("(B) a", "high"),
        ("(C) a", "medium"),
        ("(D) a", "low"),
        ("(Z) a", "low"),
        ("a", "none"),
        ("x 2026-01-01 a pri:B", "high"),
        ("x (C) a pri:A", "medium"),
        ("a pri:AB", "none"),
    ],
)
def test_letters_are_priorities(line: str, priority: str) -> None:
    assert parse_line(line).priority == priority


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Buy milk +home @shop due:2026-01-01 x:y", "Buy milk"),
        ("Buy due:2026-01-01 milk h:1 now", "Buy milk now"),
        ("Ask +team about ratio:3 today", "Ask +team about ratio:3 today"),
        ("See http://example.org/a:b", "See http://example.org/a:b"),
        ("Meet at 12:30", "Meet at 12:30"),
        ("Mail me@example.org 2+2 +", "Mail me@example.org 2+2 +"),
        ("@home +garden", "@home +garden"),
        ("@home due:2026-01-01", "@home"),
        ("Pay due:tomorrow", "Pay"),
        ("Grüße 🌱 שלום @büro", "Grüße 🌱 שלום"),
    ],
)
def test_a_title_is_the_sentence_without_what_it_ends_with(line: str, title: str) -> None:
    task = parse_line(line)
    assert task.title == title
    assert task.extra == {"line": line}


@pytest.mark.parametrize(
    ("token", "rule"),
    [
        ("rec:1d", "after 1d"),
        ("rec:+1d", "every 1d"),
        ("rec:+12m", "every 12m"),
        ("rec:2y", "after 2y"),
        ("rec:3b", None),
        ("rec:0d", None),
        ("rec:10000d", None),
        ("rec:weekly", None),
    ],
)
def test_a_strict_recurrence_is_from_the_due_date(token: str, rule: str | None) -> None:
    task = parse_line(f"Water plants {token}")
    assert (task.title, task.recurrence) == ("Water plants", rule)
    assert (task.recurrence_zone is None) == (rule is None)


def test_days_are_those_of_the_system() -> None:
    with zone("America/New_York"):
        task = parse_line("x 2026-07-03 2026-07-02 a due:2026-07-04 rec:1w")
        assert task.due == datetime(2026, 7, 5, 3, 59, 59, tzinfo=UTC)
        assert task.created_at == datetime(2026, 7, 2, 4, tzinfo=UTC)
        assert task.completed_at == datetime(2026, 7, 3, 4, tzinfo=UTC)
        assert task.recurrence_zone == "America/New_York"
        assert task.extra == {}
        assert parse_line("9999-12-31 a due:9999-12-31").due is not None
    with zone("Asia/Tokyo"):
        assert parse_line("0001-01-01 a due:0001-01-01").created_at is not None


def test_status_keys_say_what_the_mark_cannot() -> None:
    said = {
        "x a status:canceled": "canceled",
        "a status:canceled": "todo",
        "a status:in_progress": "in_progress",
        "x a status:in_progress": "completed",
        "a status:someday": "todo",
    }
    assert {line: parse_line(line).status for line in said} == said


def test_rules_say_what_words_mean() -> None:
    rules = ("priority:A=high", "project:home=HOUSE", "status:x=canceled")
    task = parse_line("x (A) 2026-01-01 a +home", *rules)
    assert (task.status, task.priority, task.project) == ("canceled", "high", "HOUSE")
    assert task.extra["meant"] == {"status": "canceled", "priority": "high", "project": "HOUSE"}


def test_contexts_that_differ_in_case_are_one_and_odd_ones_are_words() -> None:
    assert parse_line("a @Home @home @1 @-").tags == ("Home", "label-1")
    assert parse_line("a +*** +b").project == "B"


# What lines are called


def test_a_line_is_the_same_task_when_it_is_done_or_due_on_another_day() -> None:
    lines = [
        "Water plants +home @garden",
        "(A) Water plants +home @garden",
        "2026-01-01 Water plants +home @garden due:2026-02-02 t:2026-01-03",
        "x 2026-01-02 2026-01-01 Water  plants +home @garden rec:1w pri:A",
    ]
    assert len({parse_line(line).ref for line in lines}) == 1
    assert parse_line("Water plants +home").ref != parse_line(lines[0]).ref


def test_an_id_is_what_a_line_is_called() -> None:
    assert [row.ref for row in tasks(parse("a id:7\nb uid:x-1\n"))] == ["7", "x-1"]


def test_lines_of_the_same_words_are_told_apart_by_their_order() -> None:
    refs = [row.ref for row in tasks(parse("a\nb\n(A) a\nx a\na id:a\n"))]
    assert refs == [refs[0], refs[1], f"{refs[0]}-2", f"{refs[0]}-3", "a"]
    assert refs[0] == parse_line("a").ref


# Files


@pytest.mark.parametrize("document", ["", "\n", " \r\n\t\n"])
def test_a_file_without_a_line_is_one_bad_row(document: str) -> None:
    assert "a task a line" in parse_bad(document)


@pytest.mark.parametrize(
    "data",
    [
        "Grüße\n\nשלום 🌱\n".encode(),
        "Grüße\r\n\r\nשלום 🌱".encode(),
        "\ufeffGrüße\n\nשלום 🌱".encode(),
        "Grüße\r\n\r\nשלום 🌱\r\n".encode("utf-16"),
        b"Gr\xfc\xdfe\n\n" + "שלום 🌱".encode(),
    ],
)
def test_whatever_the_encoding_the_text_is_read(data: bytes) -> None:
    assert [(row.line, row.title) for row in tasks(parse(data))] == [(1, "Grüße"), (3, "שלום 🌱")]


def test_bytes_that_no_encoding_has_are_still_read() -> None:
    assert parse_line(b"a \x81\xfc").title == "a \x81ü"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a\0b", "the line holds a NUL character, which PostgreSQL cannot store"),
        ("(A)", "no text"),
        ("(A) 2026-01-01", "no text"),
        ("x 2026-01-01", "no text"),
        ("due:2026-01-01 id:1", "no text"),
    ],
)
def test_a_line_that_is_no_task_is_a_bad_row_and_the_others_are_read(
    line: str, reason: str
) -> None:
    first, bad, last = parse(f"one\n{line}\nthree")
    assert isinstance(first, ImportedTask)
    assert bad == BadRow(2, reason)
    assert isinstance(last, ImportedTask)
    assert last.line == 3


def test_a_text_too_long_for_a_title_is_the_description_as_well() -> None:
    word = "wörter" * 50
    task = parse_line(f"{word} {word} +home")
    assert len(task.title) == TITLE_LIMIT
    assert task.description == f"{word} {word}"


def test_a_line_of_ten_megabytes_is_read() -> None:
    assert parse_line("w" * 10_000_000 + " @home").description == "w" * 10_000_000


@pytest.mark.parametrize("room", [0, 1, 3000])
def test_lines_for_which_there_is_no_room_say_the_same(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    told = "Again +home\n\nOnce @phone\n \nx Again +home\nid:7 named\nrec:1d\nAgain +home\n" * 2
    words = Words(["project:home=HOUSE"])
    whole = list(todo_txt.parse(io.BytesIO(told.encode()), words))
    assert {type(row) for row in whole} == {ImportedTask, BadRow}
    monkeypatch.setattr(beginning, "ROOM", room)
    again = Words(["project:home=HOUSE"])
    assert list(todo_txt.parse(io.BytesIO(told.encode()), again)) == whole
    assert again.used == words.used


def test_a_long_file_takes_no_more_memory_than_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beginning, "ROOM", 500_000)
    count = 1_500

    def parts() -> Iterator[bytes]:
        for number in range(count):
            yield f"(A) 2026-01-01 {'o' * 2500} {number} +home due:2026-02-01\n".encode()

    with peak_below(3_000_000):
        rows = todo_txt.parse(io.BufferedReader(MadeFile(parts)), Words())
        assert sum(isinstance(row, ImportedTask) for row in rows) == count
