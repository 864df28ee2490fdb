"""GitHub's issues: every field, and every way an entry can be wrong."""

from __future__ import annotations

import io
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from format_tasks import MadeFile, exported
from github_issues import FULL, dumped, issue, parse, reason_of, task_of

from concord.formats import github
from concord.formats.words import Words
from concord.models import BadRow, ImportedComment, ImportedTask
from concord.vocabulary import TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator


# What an issue means


def test_an_issue_with_everything() -> None:
    task = task_of(FULL)
    assert replace(task, extra={}) == ImportedTask(
        ref="#12",
        title="Crash on start",
        line=1,
        description="Steps:\r\n\r\n1. Start\r\n",
        status="canceled",
        due=datetime(2026, 2, 1, 23, 59, 59, tzinfo=UTC),
        tags=("bug", "good-first-issue"),
        assignees=("Ana", "bo"),
        owner="cy",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        updated_at=datetime(2026, 1, 4, tzinfo=UTC),
        canceled_at=datetime(2026, 1, 3, tzinfo=UTC),
        parent="#9",
        blocked_by=("#3", "octo/lib#3"),
        comments=(
            ImportedComment("Same as #3 🙂", "ana", datetime(2026, 1, 2, 10, tzinfo=UTC), "IC_1"),
            ImportedComment("Yes", "bo", datetime(2026, 1, 3, tzinfo=UTC), "IC_2"),
        ),
    )
    assert task.extra["issueType"] == {"name": "Bug"}
    assert set(task.extra["comments"]) == {"IC_1"}
    assert "body" not in json.dumps(task.extra)


def test_what_was_not_asked_for_is_not_told() -> None:
    task = task_of(issue())
    assert task.partial == ("parent", "blocked_by", "comments")
    assert task.extra == {}
    cut = {"nodes": [{"number": 2}], "totalCount": 120}
    assert task_of(issue(parent=None, comments=[], blockedBy=cut)).partial == ("blocked_by",)


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("OPEN", "", "todo"),
        ("OPEN", None, "todo"),
        ("OPEN", "REOPENED", "todo"),
        ("OPEN", "COMPLETED", "todo"),
        ("CLOSED", "COMPLETED", "completed"),
        ("CLOSED", "", "completed"),
        ("CLOSED", "REOPENED", "completed"),
        ("CLOSED", "NOT_PLANNED", "canceled"),
        ("CLOSED", "DUPLICATE", "canceled"),
        ("closed", "not_planned", "canceled"),
    ],
)
def test_states_and_their_reasons(state: str, reason: str | None, expected: str) -> None:
    task = task_of(issue(state=state, stateReason=reason, updatedAt="2026-01-02T00:00:00Z"))
    assert task.status == expected
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert task.completed_at == (at if expected == "completed" else None)
    assert task.canceled_at == (at if expected == "canceled" else None)


def test_an_unknown_reason_is_asked_about_and_a_rule_answers() -> None:
    words = Words()
    told = json.dumps([issue(state="CLOSED", stateReason="MOVED")]).encode()
    list(github.parse(io.BytesIO(told), words))
    assert [word.word for word in words.unknown] == ["MOVED"]
    task = task_of(issue(state="CLOSED", stateReason="MOVED"), "status:moved=canceled")
    assert task.status == "canceled"
    (back,) = dumped(exported(task, 1, "github"))
    assert (back["stateReason"], back["concord"]["status"]) == ("MOVED", "canceled")
    assert task_of(back).status == "canceled"


def test_lists_may_be_plain_and_numbers_texts() -> None:
    task = task_of(issue(number="7", blockedBy=[{"number": 2}, {"number": 2}, {}]))
    assert (task.ref, task.blocked_by, task.partial) == ("#7", ("#2",), ("parent", "comments"))


def test_a_long_title_is_cut_and_comes_back_whole() -> None:
    title = "x" * (TITLE_LIMIT + 1)
    task = task_of(issue(title=title, body="More."))
    assert task.title == "x" * (TITLE_LIMIT - 1) + "…"
    assert task.description == f"{title}\n\nMore."
    (back,) = dumped(exported(task, 1, "github"))
    assert (back["title"], back["body"]) == (title, "More.")


def test_people_may_be_told_other_names_and_get_their_own_back() -> None:
    task = task_of(
        issue(author={"login": "octo cat"}, assignees=[{"login": "hub"}]), "user:hub=ana"
    )
    assert (task.owner, task.assignees) == ("octo-cat", ("ana",))
    (back,) = dumped(exported(task, 1, "github"))
    assert back["author"] == {"login": "octo cat"}
    assert back["assignees"] == [{"login": "hub"}]


# Files


@pytest.mark.parametrize("separator", ["\n", "\r\n", ""])
def test_an_object_a_line_and_several_arrays_are_read_too(separator: str) -> None:
    one, two = json.dumps(issue()), json.dumps(issue(number=2), indent=2)
    for document in (f"{one}{separator}{two}", f"[{one}]{separator}[{two}]", f"[{one},{two}]"):
        assert [
            (row.line, row.ref) for row in parse(document) if isinstance(row, ImportedTask)
        ] == [(1, "#1"), (2, "#2")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encoding_may_be_marked(encoding: str) -> None:
    document = json.dumps([issue(title="é→日本 שלום")], ensure_ascii=False)
    (row,) = parse(document.encode(encoding))
    assert isinstance(row, ImportedTask)
    assert row.title == "é→日本 שלום"


def test_no_issues_are_no_rows() -> None:
    assert parse("[]") == []


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "expected what `gh issue list --json …` prints: the JSON ends too early"),
        (" \n", "expected what `gh issue list --json …` prints: the JSON ends too early"),
        ("number,title\n", "expected what `gh issue list --json …` prints: not valid JSON"),
        ("[nonsense]", "expected what"),
        (b'[{"title": "\xe9"}]', "not valid JSON"),
        (b"\xff\xfe[\x00\x00\xd8", "expected what"),
        ('{"message": "Not Found"}', "no title"),
    ],
)
def test_a_file_that_is_no_such_thing(document: str | bytes, reason: str) -> None:
    assert reason in reason_of(document)


def test_a_file_that_was_cut_off_anywhere_tells_the_issues_before() -> None:
    whole = json.dumps([issue(), issue(number=2, body="é")], ensure_ascii=False).encode()
    first = len(json.dumps([issue()])) - 1
    for length in range(first, len(whole)):
        *rows, last = parse(whole[:length])
        assert isinstance(last, BadRow)
        assert last.line == len(rows) + 1
        assert rows[0] == task_of(issue())
        assert "cut off" in last.reason or "not valid" in last.reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"number": None}, "no number"),
        ({"number": 0}, "number is not a whole number from 1: '0'"),
        ({"number": -1}, "number is not a whole number from 1: '-1'"),
        ({"number": True}, "number is not a whole number from 1: 'True'"),
        ({"number": 1.5}, "number is not a whole number from 1: '1.5'"),
        ({"number": 10**18}, "number is not a whole number from 1: '1000"),
        ({"title": None}, "no title"),
        ({"title": " \n"}, "no title"),
        ({"title": 5}, "title is not a text"),
        ({"title": "a\0b"}, "title holds a NUL character"),
        ({"body": "\0"}, "body holds a NUL character"),
        ({"body": ["x"]}, "body is not a text"),
        ({"labels": "bug"}, "labels is not a list"),
        ({"labels": ["bug"]}, "labels holds something that is not an object"),
        ({"labels": [{"name": 1}]}, "name is not a text"),
        ({"assignees": [{"login": ","}]}, "login: ',' holds nothing to make a name of"),
        ({"author": "ana"}, "author is not an object"),
        ({"createdAt": "yesterday"}, "createdAt is not an RFC 3339 time: 'yesterday'"),
        ({"updatedAt": "2026-01-02T03:04:05"}, "updatedAt is not an RFC 3339 time"),
        ({"closedAt": "0001-01-01T00:00:00+14:00"}, "closedAt is not an RFC 3339 time"),
        ({"milestone": {"dueOn": 1}}, "dueOn is not a text"),
        ({"parent": 3}, "parent is not an object"),
        ({"blockedBy": {"nodes": {}}}, "nodes is not a list"),
        ({"blockedBy": [3]}, "blockedBy holds something that is not an object"),
        ({"comments": [{"body": 1}]}, "body is not a text"),
        ({"concord": []}, "concord is not an object"),
        ({"url": 1}, "url is not a text"),
        ({"reactions": {"\0": 1}}, "a field holds a NUL character"),
        ({"reactions": [["\0"]]}, "a field holds a NUL character"),
    ],
)
def test_an_issue_that_cannot_be_taken(fields: dict[str, Any], reason: str) -> None:
    bad, good = parse(json.dumps([issue(**fields), issue(number=2)]))
    assert isinstance(bad, BadRow)
    assert bad.reason.startswith(reason)
    assert isinstance(good, ImportedTask)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[" * 101 + "]" * 101, "nested too deeply"),
        ('{"a":' * 300_000 + "1" + "}" * 300_000, "nested too deeply"),
    ],
)
def test_values_beyond_all_measure_cost_their_issue_only(value: str, reason: str) -> None:
    rows = parse(f'[{{"number":1,"title":"x","y":{value}}}, {json.dumps(issue(number=2))}]')
    assert rows[0] == BadRow(1, reason)
    assert isinstance(rows[1], ImportedTask)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999"])
def test_a_number_beyond_all_measure_ends_the_file(number: str) -> None:
    rows = parse(f'[{json.dumps(issue())},{{"number":{number}}}]')
    assert rows[1:] == [BadRow(2, "holds a number that is out of range")]


def test_of_a_key_that_occurs_twice_the_last_one_counts() -> None:
    (row,) = parse('[{"number":1,"title":"a","title":"b"}]')
    assert isinstance(row, ImportedTask)
    assert row.title == "b"


def test_a_long_body_stays_as_it_is() -> None:
    body = "long\n" * 2_000_000
    assert task_of(issue(body=body)).description == body


def many(count: int) -> Iterator[bytes]:
    for number in range(1, count + 1):
        told = issue(number=number, body="x" * 6_000, labels=[{"name": "bug", "color": "f00"}])
        yield (b"[" if number == 1 else b",") + json.dumps(told).encode()
    yield b"]"


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    tracemalloc.start()
    try:
        rows = github.parse(io.BufferedReader(MadeFile(lambda: many(1_500))), Words())
        count = sum(isinstance(row, ImportedTask) for row in rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 1_500
    assert peak < 6_000_000  # the rows together take twice that
