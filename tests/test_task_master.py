"""task-master's tasks.json: every field, every way a task can be wrong, and files of any size."""

from __future__ import annotations

import io
import json
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from format_tasks import MadeFile
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import task_master
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask, ParsedRow
from concord.vocabulary import TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse(document: str | bytes, *rules: str) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(task_master.parse(io.BytesIO(data), Words(rules)))


def task(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "title": "Do it"} | fields


def tagged(*tasks: Any, tag: str = "master") -> str:
    return json.dumps({tag: {"tasks": tasks, "metadata": {"description": "x"}}})


def rows_of(*tasks: Any, tag: str = "master") -> list[ImportedTask]:
    rows = parse(tagged(*tasks, tag=tag))
    found = [row for row in rows if isinstance(row, ImportedTask)]
    assert len(found) == len(rows), rows
    return found


def row_of(**fields: Any) -> ImportedTask:
    (row,) = rows_of(task(**fields))
    return row


# What a task means


def test_a_task_with_everything() -> None:
    whole, part, other = rows_of(
        {
            "id": 5,
            "title": "Integrate",
            "description": "Set up.",
            "status": "done",
            "dependencies": [1, "2", 1],
            "priority": "high",
            "details": "\nFirst\nthen\n",
            "testStrategy": "Try it.",
            "complexity": 7,
            "metadata": {"sprint": "Q1"},
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-02T00:00:00.500Z",
            "assignee": "ana",
            "tags": ["api", "Front end"],
            "expansionPrompt": None,
            "subtasks": [
                {"id": 1, "title": "Part", "status": "pending", "dependencies": []},
                {"id": "5.2", "title": "Other", "dependencies": [1, "1.3", 3, 2]},
            ],
        },
        tag="feature/x",
    )
    assert whole == ImportedTask(
        ref="feature/x/5",
        title="Integrate",
        line=1,
        description="Set up.\n\n## Details\n\nFirst\nthen\n\n## Test strategy\n\nTry it.",
        status="completed",
        priority="high",
        tags=("Front-end", "api", "feature/x"),
        assignees=("ana",),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        updated_at=datetime(2026, 1, 2, 0, 0, 0, 500_000, tzinfo=UTC),
        completed_at=datetime(2026, 1, 2, 0, 0, 0, 500_000, tzinfo=UTC),
        blocked_by=("feature/x/1", "feature/x/2"),
        extra={"complexity": 7, "metadata": {"sprint": "Q1"}, "tags": ["api", "Front end"]},
    )
    assert part == ImportedTask(
        ref="feature/x/5.1", title="Part", line=2, parent="feature/x/5", tags=("feature/x",)
    )
    # A number means the subtask beside it, unless that is itself or there is none.
    assert other.ref == "feature/x/5.2"
    assert other.line == 3
    assert other.blocked_by == ("feature/x/5.1", "feature/x/1.3", "feature/x/3", "feature/x/2")


def test_a_file_without_tags_has_the_refs_of_master() -> None:
    flat = json.dumps({"meta": {"name": "x"}, "tasks": [task(subtasks=[task(id=2)])], "v": [1]})
    assert parse(flat) == rows_of(task(subtasks=[task(id=2)]))
    assert [row.ref for row in rows_of(task(subtasks=[task(id=2)]))] == ["master/1", "master/1.2"]
    assert row_of().tags == ()


def test_one_id_in_two_tags_is_two_tasks() -> None:
    rows = parse(json.dumps({"a": {"tasks": [task()]}, "tasks": {"tasks": [task()]}, "b": {}}))
    assert [(row.ref, row.tags) for row in rows if isinstance(row, ImportedTask)] == [
        ("a/1", ("a",)),
        ("tasks/1", ("tasks",)),
    ]


@pytest.mark.parametrize(
    ("word", "status", "kept"),
    [
        (None, "todo", False),
        ("pending", "todo", False),
        ("in-progress", "in_progress", False),
        ("done", "completed", False),
        ("cancelled", "canceled", False),
        ("review", "in_progress", True),
        ("deferred", "todo", True),
        ("blocked", "todo", True),
        ("Done", "completed", True),
    ],
)
def test_status(word: str | None, status: str, kept: bool) -> None:
    row = row_of(status=word)
    assert (row.status, row.extra) == (status, {"status": word} if kept else {})


@pytest.mark.parametrize(
    ("word", "priority"),
    [("critical", "urgent"), ("high", "high"), ("medium", "medium"), ("low", "low"), ("", "none")],
)
def test_priority(word: str, priority: str) -> None:
    row = row_of(priority=word)
    assert (row.priority, row.extra) == (priority, {})


def test_unknown_words_are_asked_about_and_kept() -> None:
    words = Words()
    document = tagged(task(status="paused", priority="P1")).encode()
    (row,) = task_master.parse(io.BytesIO(document), words)
    assert [word.word for word in words.unknown] == ["P1", "paused"]
    assert isinstance(row, ImportedTask)
    assert row.extra == {"status": "paused", "priority": "P1"}
    (row,) = parse(document, "status:paused=canceled")
    assert isinstance(row, ImportedTask)
    assert row.status == "canceled"


def test_a_long_title_is_cut_and_kept_in_the_description() -> None:
    title = "x" * (TITLE_LIMIT + 1)
    row = row_of(title=title, details="How.")
    assert row.title == "x" * (TITLE_LIMIT - 1) + "…"
    assert row.description == f"{title}\n\n## Details\n\nHow."


def test_what_is_no_text_where_a_text_is_usual_is_kept_as_it_is() -> None:
    row = row_of(details=["a", 1], acceptanceCriteria="- works")
    assert row.description == "## Acceptance criteria\n\n- works"
    assert row.extra == {"details": ["a", 1]}


# Files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encoding_may_be_marked(encoding: str) -> None:
    document = json.dumps({"master": {"tasks": [task(title="é→日本 🙂")]}}, ensure_ascii=False)
    (row,) = parse(document.replace(", ", ",\r\n").encode(encoding))
    assert isinstance(row, ImportedTask)
    assert row.title == "é→日本 🙂"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "expected task-master's tasks.json, an object with tasks in it: the JSON ends"),
        ("id,title", "expected task-master's tasks.json, an object with tasks in it: not valid"),
        ("[1]", "expected task-master's tasks.json, an object with tasks in it: it holds no tasks"),
        ("{}", "expected task-master's tasks.json"),
        ('{"tasks": 1, "master": {"tasks": {}}}', "expected task-master's tasks.json"),
        ('{"x": ' + "[" * 200_000, "expected task-master's tasks.json"),
    ],
)
def test_a_file_that_is_no_such_thing(document: str, reason: str) -> None:
    (row,) = parse(document)
    assert isinstance(row, BadRow)
    assert row.line == 1
    assert row.reason.startswith(reason)


def test_no_tasks_are_no_rows() -> None:
    assert parse(tagged()) == []


def test_a_file_that_was_cut_off_anywhere_tells_the_tasks_before() -> None:
    whole = tagged(task(), task(id=2, description="More.")).encode()
    first = whole.index(b"}, {") + 1
    for length in range(first, len(whole)):
        *rows, last = parse(whole[:length])
        assert rows[0] == row_of()
        assert last == BadRow(len(rows) + 1, "the JSON ends too early; is the file cut off?")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (7, "a task is not an object"),
        (None, "no id"),
        ({"title": "x"}, "no id"),
        (task(id=True), "no id"),
        (task(id=" "), "no id"),
        (task(id="\0"), "id holds a NUL character"),
        (task(title=None), "master/1: no title"),
        (task(title=1), "master/1: title is not a text"),
        (task(title="\0"), "master/1: title holds a NUL character"),
        (task(description="\0"), "master/1: description holds a NUL character"),
        (task(details="\0"), "master/1: details holds a NUL character"),
        (task(status=1), "master/1: status is not a text"),
        (task(dependencies=1), "master/1: dependencies is not a list"),
        (task(dependencies=[None]), "master/1: no id"),
        (task(subtasks={}), "master/1: subtasks is not a list"),
        (task(assignee=","), "master/1: ',' holds nothing to make a name of"),
        (task(updatedAt="now"), "master/1: updatedAt is not an RFC 3339 time: 'now'"),
        (task(metadata={"a": ["\0"]}), "master/1: a field holds a NUL character"),
    ],
)
def test_a_task_that_cannot_be_taken(told: Any, reason: str) -> None:
    rows = parse(tagged(told, task(id=2)))
    bad, good = rows[-2:]
    assert isinstance(bad, BadRow)
    assert bad.reason.startswith(reason)
    assert isinstance(good, ImportedTask)
    assert good.ref == "master/2"


def test_subtasks_are_told_apart_from_a_task_that_cannot_be_taken() -> None:
    bad, good, none, deep = parse(
        tagged(task(title="", subtasks=[task(), {}, task(id=3, subtasks=[])]))
    )
    assert bad == BadRow(1, "master/1: no title")
    assert isinstance(good, ImportedTask)
    assert (good.ref, good.line, good.parent) == ("master/1.1", 2, "master/1")
    assert none == BadRow(3, "master/1: a subtask: no id")
    assert isinstance(deep, ImportedTask)


def test_a_tag_that_cannot_be_stored_costs_its_tasks() -> None:
    assert parse(tagged(task(), tag="a\0")) == [
        BadRow(1, "the tag holds a NUL character, which PostgreSQL cannot store")
    ]


def test_what_is_nested_too_deeply_costs_its_task_only() -> None:
    deep = "[" * 200 + "]" * 200
    rows = parse(f'{{"master":{{"tasks":[{{"id":1,"x":{deep}}},{json.dumps(task(id=2))}]}}}}')
    assert rows[0] == BadRow(1, "nested too deeply")
    assert isinstance(rows[1], ImportedTask)


def many(count: int) -> Iterator[bytes]:
    yield b'{"master":{"tasks":['
    for number in range(1, count + 1):
        told = task(id=number, details="x" * 6_000, subtasks=[task()])
        yield (b"" if number == 1 else b",") + json.dumps(told).encode()
    yield b"]}}"


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    tracemalloc.start()
    try:
        rows = task_master.parse(io.BufferedReader(MadeFile(lambda: many(1_500))), Words())
        count = sum(isinstance(row, ImportedTask) for row in rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 3_000
    assert peak < 6_000_000  # the rows together take twice that


KEYS = st.sampled_from(["id", "title", "subtasks", "dependencies", "status", "tags", "details"])


@given(st.recursive(st.none() | st.integers(0, 3) | st.text() | st.floats(), lambda inner: st.lists(
    inner) | st.dictionaries(KEYS, inner), max_leaves=20))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_nothing_in_a_file_raises(told: Any) -> None:
    rows = parse(json.dumps({"master": {"tasks": [told]}, "x": told}).replace("NaN", "1"))
    lines = [row.line for row in rows if isinstance(row, BadRow | ImportedTask)]
    assert lines == list(range(1, len(rows) + 1))
