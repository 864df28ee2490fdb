"""Taskwarrior's exports: every attribute, and every way a file can be wrong."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from commands import zone
from foreign_tables import peak_below
from format_tasks import MadeFile
from hypothesis import given
from hypothesis import strategies as st
from taskwarrior_files import (
    OLD,
    ONE,
    STAMP,
    THREE,
    TWO,
    back,
    entry,
    parse,
    parse_bad,
    parse_entry,
    tasks,
)

from concord.formats import taskwarrior, taskwarrior_recur
from concord.formats.words import Words
from concord.models import BadRow, ImportedComment, ImportedTask
from concord.vocabulary import TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

# Reading


def test_a_task_with_everything() -> None:
    task = parse_entry(
        id=7,
        entry=STAMP,
        modified="20260102T030405Z",
        start="20260102T000000Z",
        due="20260201T093000Z",
        wait="20260115T000000Z",
        scheduled="20260116T000000Z",
        until="20270101T000000Z",
        project="home.garden",
        priority="M",
        tags=["shop", "Food"],
        annotations=[{"entry": "20260103T000000Z", "description": "by the gate"}],
        depends=[THREE, TWO],
        urgency=8.25,
        estimate="PT2H",
        size=3,
    )
    assert task == ImportedTask(
        ref=ONE,
        title="Do it",
        line=1,
        status="in_progress",
        priority="medium",
        due=datetime(2026, 2, 1, 9, 30, tzinfo=UTC),
        tags=("Food", "shop"),
        created_at=OLD,
        updated_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        blocked_by=(TWO, THREE),
        comments=(ImportedComment("by the gate", None, datetime(2026, 1, 3, tzinfo=UTC)),),
        project="HOME-GARDEN",
        partial=("parent", "auto_close"),
        extra={
            "wait": "20260115T000000Z",
            "scheduled": "20260116T000000Z",
            "until": "20270101T000000Z",
            "project": ["home.garden", "HOME-GARDEN"],
            "tags": ["shop", "Food"],
            "depends": [THREE, TWO],
            "estimate": "PT2H",
            "size": 3,
        },
    )


@pytest.mark.parametrize(
    ("attributes", "status", "kept"),
    [
        ({"status": "pending"}, "todo", None),
        ({"status": "pending", "start": STAMP}, "in_progress", None),
        ({"status": "waiting", "wait": STAMP}, "todo", ["waiting", "todo"]),
        ({"status": "recurring", "recur": "weekly"}, "todo", ["recurring", "todo"]),
        ({"status": "completed", "end": STAMP}, "completed", None),
        ({"status": "deleted", "end": STAMP}, "canceled", None),
    ],
)
def test_a_status_is_one_here_and_its_word_is_kept_where_it_says_more(
    attributes: dict[str, str], status: str, kept: list[str] | None
) -> None:
    task = parse_entry(**attributes)
    assert task.status == status
    assert task.extra.get("status") == kept
    assert task.completed_at == (OLD if status == "completed" else None)
    assert task.canceled_at == (OLD if status == "canceled" else None)


def test_a_completed_task_without_an_end_ended_when_it_was_last_changed() -> None:
    changed = parse_entry(status="completed", entry=STAMP, modified="20260105T000000Z")
    assert changed.completed_at == datetime(2026, 1, 5, tzinfo=UTC)
    assert parse_entry(status="completed", entry=STAMP).completed_at == OLD
    assert parse_entry(status="completed").completed_at is None


def test_words_that_nobody_knows_are_told_and_rules_say_what_they_mean() -> None:
    words = Words(["priority:H=medium"])
    document = json.dumps([entry(status="someday", priority="H"), entry(priority="X", uuid=TWO)])
    first, second = tasks(taskwarrior.parse(io.BytesIO(document.encode()), words))
    assert (first.status, first.priority, second.priority) == ("todo", "medium", "none")
    assert [(each.kind, each.word) for each in words.unknown] == [
        ("priority", "X"),
        ("status", "someday"),
    ]
    assert back(first)["status"] == "someday"
    assert back(first)["priority"] == "H"
    assert back(first, priority="low")["priority"] == "L"


def test_dependencies_joined_by_commas_are_those_of_older_versions() -> None:
    assert parse_entry(depends=f"{THREE},{TWO.upper()}").blocked_by == (TWO, THREE)


def test_a_description_of_several_lines_or_too_long_is_kept_in_full() -> None:
    several = parse_entry(description="one\n two \n\nthree")
    assert (several.title, several.description) == ("one two three", "one\n two \n\nthree")
    long = parse_entry(description="é" * 300)
    assert (len(long.title), long.description) == (TITLE_LIMIT, "é" * 300)
    for task in (several, long):
        assert task.extra == {}
        assert back(task)["description"] == task.description
        assert "concord_description" not in back(task)


def test_an_annotation_counts_once_and_a_blank_one_is_kept() -> None:
    said = {"entry": STAMP, "description": "two\nlines"}
    annotations = [said, said, {"entry": STAMP, "description": " "}]
    task = parse_entry(annotations=annotations)
    assert task.comments == (ImportedComment("two\nlines", None, OLD),)
    assert back(task)["annotations"] == annotations


@pytest.mark.parametrize(
    ("recur", "rule"),
    [
        ("daily", "every 1d"),
        ("weekdays", "every mon,tue,wed,thu,fri"),
        ("Weekly", "every 1w"),
        ("2wks", "every 2w"),
        ("P2W", "every 2w"),
        ("biweekly", "every 2w"),
        ("monthly", "every 1m"),
        ("P1M", "every 1m"),
        ("3m", "every 3m"),
        ("3mo", "every 90d"),
        ("quarterly", "every 3m"),
        ("2q", "every 6m"),
        ("yearly", "every 1y"),
        ("P1Y", "every 1y"),
        ("3y", "every 1095d"),
        ("36h", "every 36h"),
        ("PT2H", "every 2h"),
        ("90min", None),
        ("P1Y6M", None),
        ("0d", None),
        ("10000d", None),
        ("9" * 5000 + "d", None),
        ("sometimes", None),
    ],
)
def test_a_template_recurs_as_taskwarrior_counts(recur: str, rule: str | None) -> None:
    task = parse_entry(status="recurring", due=STAMP, recur=recur)
    assert task.recurrence == rule
    assert (task.recurrence_zone is None) == (rule is None)
    assert (back(task)["recur"], back(task)["status"]) == (recur, "recurring")


@given(st.sampled_from(["h", "d", "w", "m"]), st.integers(1, 9999))
def test_a_rule_that_taskwarrior_knows_means_the_same_there(unit: str, count: int) -> None:
    rule = f"every {count}{unit}"
    written = taskwarrior_recur.write(rule)
    assert written is not None
    assert taskwarrior_recur.read(written) == rule


def test_a_task_recurs_in_the_time_zone_of_whoever_imports_it() -> None:
    with zone("Europe/Berlin"):
        assert parse_entry(due=STAMP, recur="weekly").recurrence_zone == "Europe/Berlin"


def test_an_instance_of_a_template_does_not_recur_and_is_no_part_of_it() -> None:
    kept = {"recur": "weekly", "parent": TWO, "imask": 3, "rtype": "periodic"}
    task = parse_entry(due=STAMP, **kept)
    assert (task.recurrence, task.parent) == (None, None)
    assert task.extra == kept
    assert {key: back(task)[key] for key in kept} == kept


# Files


@pytest.mark.parametrize(
    "document",
    [
        "[{0},{1}]",
        "[\n{0},\n{1}\n]\n",
        "{0}\n{1}\n",
        "{0},\n{1},\n",
        "\r\n  {0}\r\n\r\n{1}",
        "\ufeff[{0},{1}]",
        "\ufeff{0}\n{1}",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_arrays_and_lines_are_read_with_commas_and_without(document: str, encoding: str) -> None:
    pair = [
        json.dumps(entry(uuid=uuid, description="Grüße 🌱 שלום"), ensure_ascii=False)
        for uuid in (ONE, TWO)
    ]
    text = document.replace("{0}", pair[0]).replace("{1}", pair[1])
    text = text.removeprefix("\ufeff") if encoding == "utf-16" else text
    assert [(row.ref, row.title) for row in tasks(parse(text.encode(encoding)))] == [
        (ONE, "Grüße 🌱 שלום"),
        (TWO, "Grüße 🌱 שלום"),
    ]


def test_an_empty_array_has_no_tasks() -> None:
    assert parse("[]") == []
    assert "\n".join(taskwarrior.dump([])) == "[\n]"


@pytest.mark.parametrize("document", ["", " \n", "hello", '"text"', "\x00\x01", "uuid,description"])
def test_a_file_of_another_format_is_one_bad_row(document: str) -> None:
    assert "task export" in parse_bad(document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uuid": None}, "no uuid"),
        ({"uuid": "7"}, "uuid: '7' is no UUID"),
        ({"uuid": 7}, "uuid is not a text"),
        ({"description": " \n"}, "no description"),
        ({"description": 5}, "description is not a text"),
        ({"description": "a\0b"}, "description holds a NUL"),
        ({"status": 1}, "status is not a text"),
        ({"due": "tomorrow"}, "due is not an RFC 3339 time"),
        ({"due": "20260101T000000"}, "due is not an RFC 3339 time"),
        ({"due": "00000101T000000Z"}, "due is not an RFC 3339 time"),
        ({"tags": {"a": 1}}, "tags is neither an array nor a text"),
        ({"tags": [1]}, "tags holds something that is not a text"),
        ({"tags": ["-"]}, "tags: "),
        ({"depends": ["7"]}, "depends: '7' is no UUID"),
        ({"project": "..."}, "project: "),
        ({"annotations": "x"}, "annotations is not a list"),
        ({"annotations": ["x"]}, "annotations holds something that is not an object"),
        ({"annotations": [{"entry": "x"}]}, "annotations: entry is not"),
        ({"concord_owner": "-"}, "concord_owner: "),
    ],
)
@pytest.mark.parametrize("form", ["[%s]", "%s\n"])
def test_an_object_that_is_no_task_is_a_bad_row(
    changes: dict[str, Any], reason: str, form: str
) -> None:
    assert parse_bad(form % json.dumps(entry(**changes))).startswith(reason)


def test_a_bad_object_leaves_the_others_as_they_are() -> None:
    good = json.dumps(entry())
    for document in (f"[{good},7,{good}]", f"{good}\n7\n{good}"):
        first, bad, last = parse(document)
        assert isinstance(first, ImportedTask)
        assert bad == BadRow(2, "not a JSON object")
        assert isinstance(last, ImportedTask)
        assert last.line == 3


@pytest.mark.parametrize("end", ['{"uuid":"', "", "{]", ',{"uuid"}'])
def test_what_comes_before_a_broken_end_is_read(end: str) -> None:
    good = json.dumps(entry())
    first, bad = parse(f"[{good},{end}")
    assert isinstance(first, ImportedTask)
    assert isinstance(bad, BadRow)
    assert bad.line == 2
    first, bad = parse(f'{good}\n{{"uuid":"')
    assert isinstance(first, ImportedTask)
    assert bad == BadRow(2, "the JSON ends too early; is the file cut off?")


def test_deep_nesting_and_monstrous_numbers_are_bad_rows() -> None:
    good = json.dumps(entry())
    deep = good[:-1] + ',"uda":' + "[" * 50_000 + "]" * 50_000 + "}"
    huge = good[:-1] + ',"uda":1e999}'
    for document in (f"[{deep},{good}]", f"{deep}\n{good}", f"{huge}\n{good}"):
        first, last = parse(document)
        assert isinstance(first, BadRow), first
        assert isinstance(last, ImportedTask)
    first, last = parse(f"[{good},{huge},{good}]")
    assert isinstance(first, ImportedTask)
    assert last == BadRow(2, "holds a number that is out of range")


def test_bytes_that_are_no_utf8_make_their_line_a_bad_row() -> None:
    good = json.dumps(entry()).encode()
    bad, row = parse(good.replace(b"Do it", b"Gr\xfc\xdfe") + b"\n" + good)
    assert isinstance(bad, BadRow)
    assert isinstance(row, ImportedTask)


def test_a_description_of_ten_megabytes_comes_back() -> None:
    task = parse_entry(description="lorem ipsum" * 1_000_000)
    assert back(task)["description"] == "lorem ipsum" * 1_000_000


@pytest.mark.parametrize("array", [True, False])
def test_a_long_file_takes_no_memory(array: bool) -> None:
    count = 1_500

    def parts() -> Iterator[bytes]:
        yield b"[" if array else b""
        told = json.dumps(entry(uuid="%s", note="n" * 2500))
        for number in range(count):
            yield (f"{',' if array and number else ''}{told}\n" % UUID(int=number)).encode()
        yield b"]" if array else b""

    with peak_below(2_000_000):
        stream = io.BufferedReader(MadeFile(lambda: filter(None, parts())))
        rows = taskwarrior.parse(stream, Words())
        assert sum(isinstance(row, ImportedTask) for row in rows) == count
