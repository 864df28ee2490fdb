"""beads exports: every field, every way a line can be wrong, and a real file."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from foreign_tables import peak_below
from format_tasks import MadeFile
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import beads, beginning
from concord.formats.names import tag_name, user_name
from concord.formats.words import Words
from concord.models import (
    BadRow,
    ImportedComment,
    ImportedTask,
    ParsedRow,
    SkippedRow,
    Unlinked,
)
from concord.vocabulary import TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

REAL_FILE = Path(__file__).parents[1].parent / "shared" / "data" / "beads-issues.jsonl"

NAME = re.compile(r"(?!-)(?![0-9]+$)[^\s,\x00-\x1f\x7f-\x9f]{1,64}")
"""What Concord takes as a tag or a username."""


def parse(document: str | bytes) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(beads.parse(BytesIO(data), Words()))


def issue(**fields: Any) -> str:
    return json.dumps({"id": "bd-1", "title": "Do it"} | fields)


def parse_issue(**fields: Any) -> ImportedTask:
    (row,) = parse(issue(**fields))
    assert isinstance(row, ImportedTask), row
    return row


def parse_bad(document: str | bytes) -> str:
    (row,) = parse(document)
    assert isinstance(row, BadRow), row
    assert row.line == 1
    return row.reason


# Fields


def test_an_issue_with_everything() -> None:
    task = parse_issue(
        description="\nWhat.\n\n",
        design="\n\nHow.\n",
        acceptance_criteria="- it works",
        notes="Beware.",
        status="closed",
        close_reason="Done.",
        priority=0,
        issue_type="bug",
        labels=["api", "Front end"],
        assignee="ana",
        created_by="bo",
        owner="cy",
        created_at="2026-01-02T03:04:05.123456789-08:00",
        updated_at="2026-01-03T00:00:00Z",
        closed_at="2026-01-04T00:00:00+05:30",
        due_at="2026-02-01T12:00:00.5Z",
        dependencies=[
            {"issue_id": "bd-1", "depends_on_id": "bd-2", "type": "blocks"},
            {"issue_id": "bd-1", "depends_on_id": "bd-3", "type": "parent-child"},
            {"depends_on_id": "bd-4"},
        ],
        comments=[
            {
                "id": 1,
                "author": "ana",
                "text": "First.\n",
                "created_at": "2026-01-02T23:30:00-01:00",
            },
            {"text": "Second."},
            {"author": "bo"},
        ],
    )
    assert task == ImportedTask(
        ref="bd-1",
        title="Do it",
        line=1,
        description=(
            "What.\n\n## Design\n\nHow.\n\n## Acceptance criteria\n\n- it works\n\n"
            "## Notes\n\nBeware.\n\n## Close reason\n\nDone.\n\n"
            "## Dependencies\n\n- blocks bd-2\n- parent-child bd-3\n- blocks bd-4"
        ),
        status="completed",
        priority="urgent",
        due=datetime(2026, 2, 1, 12, 0, 0, 500000, tzinfo=UTC),
        tags=("Front-end", "api", "bug"),
        assignees=("ana",),
        owner="bo",
        created_at=datetime(2026, 1, 2, 11, 4, 5, 123456, tzinfo=UTC),
        updated_at=datetime(2026, 1, 3, tzinfo=UTC),
        completed_at=datetime(2026, 1, 3, 18, 30, tzinfo=UTC),
        parent="bd-3",
        blocked_by=("bd-2", "bd-4"),
        comments=(
            ImportedComment("First.", "ana", datetime(2026, 1, 3, 0, 30, tzinfo=UTC), "1"),
            ImportedComment("Second.", ref=task.comments[1].ref),
        ),
    )
    assert task.completed_at
    assert task.completed_at.tzinfo is UTC


def test_an_issue_with_nothing() -> None:
    assert parse(issue()) == [ImportedTask(ref="bd-1", title="Do it", line=1)]


def test_null_and_blank_mean_missing() -> None:
    keys = ["description", "design", "status", "issue_type", "assignee", "owner", "created_by"]
    keys += ["created_at", "updated_at", "closed_at", "due_at", "close_reason", "_type"]
    nothing = dict.fromkeys(["priority", "labels", "dependencies", "comments"])
    for blank in (None, "", " \n"):
        fields: dict[str, Any] = dict.fromkeys(keys, blank)
        assert parse_issue(**nothing, **fields) == parse_issue()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("open", "todo"),
        ("in_progress", "in_progress"),
        ("hooked", "in_progress"),
        ("blocked", "todo"),
        ("deferred", "todo"),
        ("pinned", "todo"),
        ("closed", "completed"),
    ],
)
def test_status(status: str, expected: str) -> None:
    assert parse_issue(status=status).status == expected


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(0, "urgent"), (1, "high"), (2, "medium"), (3, "low"), (4, "none"), (None, "none")],
)
def test_priority(priority: int | None, expected: str) -> None:
    assert parse_issue(priority=priority).priority == expected


@pytest.mark.parametrize(
    ("fields", "completed_at"),
    [
        (
            {"status": "closed", "closed_at": "2026-01-01T00:00:00Z"},
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        (
            {"status": "closed", "updated_at": "2026-01-02T00:00:00Z"},
            datetime(2026, 1, 2, tzinfo=UTC),
        ),
        ({"status": "closed"}, None),
        ({"status": "open", "closed_at": "2026-01-01T00:00:00Z"}, None),
    ],
)
def test_only_what_is_completed_has_a_time_of_completion(
    fields: dict[str, str], completed_at: datetime | None
) -> None:
    assert parse_issue(**fields).completed_at == completed_at


@pytest.mark.parametrize(
    ("labels", "issue_type", "tags"),
    [
        (["b", "a"], "task", ("a", "b", "task")),
        (["Bug", "bug", "BUG"], "bug", ("Bug",)),
        (["needs review", "a, b"], None, ("a-b", "needs-review")),
        (["788", "gh:788"], None, ("gh:788", "label-788")),
        (["", "  ", "x"], None, ("x",)),
        (["x" * 65, "x" * 66], None, ("x" * 64,)),
        ([], None, ()),
    ],
)
def test_labels_and_type_become_tags(
    labels: list[str], issue_type: str | None, tags: tuple[str, ...]
) -> None:
    assert parse_issue(labels=labels, issue_type=issue_type).tags == tags


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"created_by": "ana", "owner": "bo"}, "ana"),
        ({"owner": "bo"}, "bo"),
        ({"created_by": "", "owner": "team a"}, "team-a"),
        ({}, None),
    ],
)
def test_owner(fields: dict[str, str], owner: str | None) -> None:
    assert parse_issue(**fields).owner == owner


@pytest.mark.parametrize(
    ("title", "expected"),
    [("  a b  ", "a b"), ("a\nb\r\n\n c\u2028d", "a b c d"), ("a\tb", "a\tb")],
)
def test_a_title_is_one_line(title: str, expected: str) -> None:
    assert parse_issue(title=title).title == expected


def test_a_long_title_is_cut_and_kept_in_the_description() -> None:
    title = "x" * (TITLE_LIMIT + 1)
    task = parse_issue(title=title, description="More.")
    assert task.title == "x" * (TITLE_LIMIT - 1) + "…"
    assert task.description == f"{title}\n\nMore."
    assert parse_issue(title=title[1:], description="More.").description == "More."


def test_a_description_stays_as_it_is_inside() -> None:
    text = "    code\r\n\n\n* a\ttab  \n## Notes"
    assert parse_issue(description=text).description == text


# Lines


def test_line_numbers_count_empty_lines() -> None:
    rows = parse(f"\n{issue()}\r\n   \nnonsense\n{issue(id='bd-2')}")
    assert [row.line for row in rows if not isinstance(row, Unlinked)] == [2, 4, 5]
    assert isinstance(rows[1], BadRow)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encoding_may_be_marked(encoding: str) -> None:
    line = json.dumps({"id": "bd-1", "title": "é→日本"}, ensure_ascii=False)
    assert parse(line.encode(encoding)) == [ImportedTask(ref="bd-1", title="é→日本", line=1)]


def test_correct_text_is_never_repaired() -> None:
    assert parse_issue(title="Ã©").title == "Ã©"


def test_tombstones_are_skipped_whatever_they_hold() -> None:
    rows = parse(issue(status="tombstone", title=None, priority="x"))
    assert rows == [SkippedRow(1, "bd-1 was deleted (tombstone)")]


def test_records_that_are_not_issues_are_skipped() -> None:
    rows = parse('{"_type": "memory", "key": "k", "value": "v"}\n' + issue(_type="issue"))
    assert rows == [
        SkippedRow(1, "a record of type memory, not an issue"),
        ImportedTask(ref="bd-1", title="Do it", line=2),
    ]


@pytest.mark.parametrize("first", [issue(), issue(status="tombstone")])
@pytest.mark.parametrize("second", [issue(title="Again"), issue(status="tombstone")])
def test_an_id_that_occurs_twice_is_taken_once(first: str, second: str) -> None:
    kept, row = parse(f"{first}\n{second}\n")
    assert not isinstance(kept, BadRow)
    assert row == BadRow(2, "bd-1 was already on line 1")


def test_an_id_counts_only_once_it_is_taken() -> None:
    rows = parse(f"{issue(priority=9)}\n{issue()}\n")
    assert [type(row) for row in rows] == [BadRow, ImportedTask]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "not valid JSON (Expecting value at column 1); is the line cut off?"),
        ('{"id": "bd-1", "title": "Do', "not valid JSON (Unterminated string"),
        ('{"id": "bd-1"}{}', "not valid JSON (Extra data at column 15)"),
        ('{"id": "a\0b"}', "the line holds a NUL character"),
        ('{"priority": ' + "1" * 5000 + "}", "not valid JSON (Exceeds the limit"),
        ('{"id": ' + "[" * 200_000, "the JSON is nested too deeply"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('"bd-1"', "not a JSON object"),
        (b'{"id": "bd-1", "title": "\xe9"}', "the line holds bytes or half a surrogate pair"),
    ],
)
def test_a_line_that_is_no_json_object(line: str | bytes, reason: str) -> None:
    assert parse_bad(line).startswith(reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "no id"),
        ({"id": " "}, "no id"),
        ({"id": 1}, "id is not a string"),
        ({"title": None}, "no title"),
        ({"title": "\n"}, "no title"),
        ({"title": ["Do it"]}, "title is not a string"),
        ({"title": "a\0b"}, "title holds a NUL character, which PostgreSQL cannot store"),
        ({"title": "\ud800"}, "title holds bytes or half a surrogate pair that are no character"),
        ({"description": 1}, "description is not a string"),
        ({"notes": "\0"}, "notes holds a NUL character"),
        ({"status": 1}, "status is not a string"),
        ({"priority": 5}, "priority is not a whole number from 0 to 4: 5"),
        ({"priority": -1}, "priority is not a whole number from 0 to 4: -1"),
        ({"priority": 1.0}, "priority is not a whole number from 0 to 4: 1.0"),
        ({"priority": True}, "priority is not a whole number from 0 to 4: True"),
        ({"priority": "P1"}, "priority is not a whole number from 0 to 4: 'P1'"),
        ({"labels": "bug"}, "labels is not a list"),
        ({"labels": [1]}, "a label is not a string"),
        ({"labels": ["\0"]}, "a label holds a NUL character"),
        ({"labels": [",,"]}, "a label: ',,' holds nothing to make a name of"),
        ({"issue_type": {}}, "issue_type is not a string"),
        ({"assignee": 1}, "assignee is not a string"),
        ({"assignee": ","}, "assignee: ',' holds nothing to make a name of"),
        ({"created_at": "yesterday"}, "created_at is not an RFC 3339 time: 'yesterday'"),
        ({"updated_at": "2026-01-02T03:04:05"}, "updated_at has no UTC offset: "),
        ({"due_at": "2026-01-02"}, "due_at has no UTC offset: '2026-01-02'"),
        ({"closed_at": "2026-02-30T00:00:00Z"}, "closed_at is not an RFC 3339 time"),
        ({"closed_at": "0001-01-01T00:00:00+14:00"}, "closed_at is not an RFC 3339 time"),
        ({"closed_at": 1767225600}, "closed_at is not a string"),
        ({"dependencies": {}}, "dependencies is not a list"),
        ({"dependencies": ["bd-2"]}, "dependencies holds something that is not an object"),
        ({"dependencies": [{"type": "blocks"}]}, "no depends_on_id"),
        ({"comments": [{"text": 1}]}, "text is not a string"),
        ({"comments": [{"created_at": "now"}]}, "created_at is not an RFC 3339 time: 'now'"),
        ({"_type": 1}, "_type is not a string"),
    ],
)
def test_an_issue_that_cannot_be_taken(fields: dict[str, Any], reason: str) -> None:
    assert parse_bad(issue(**fields)).startswith(reason)


def test_an_unknown_status_is_asked_about_and_a_rule_answers() -> None:
    line = issue(status="wip").encode()
    words = Words()
    (row,) = beads.parse(BytesIO(line), words)
    assert isinstance(row, ImportedTask)
    assert [(word.word, word.tasks) for word in words.unknown] == [("wip", 1)]
    words = Words(["status:wip=in_progress"])
    (row,) = beads.parse(BytesIO(line), words)
    assert isinstance(row, ImportedTask)
    assert (row.status, words.unknown) == ("in_progress", ())


def test_a_line_that_was_cut_off_anywhere_is_a_bad_row() -> None:
    line = issue(description="é\n", labels=["a"], priority=2).encode()
    for length in range(1, len(line)):
        first, last = parse(issue(id="bd-0").encode() + b"\n" + line[:length])
        assert isinstance(first, ImportedTask)
        assert isinstance(last, BadRow)
        assert last.line == 2


# Names


@pytest.mark.parametrize(
    ("text", "tag", "user"),
    [
        ("bug", "bug", "bug"),
        ("Bug", "Bug", "Bug"),
        ("gh:788", "gh:788", "gh:788"),
        ("ana@example.org", "ana@example.org", "ana@example.org"),
        ("team/a", "team/a", "team/a"),
        (" needs \t review ", "needs-review", "needs-review"),
        ("a,b, c", "a-b-c", "a-b-c"),
        ("a\x00b\x7fc\x9fd\u200be", "a-b-c-d-e", "a-b-c-d-e"),
        ("a\xa0b\u2028c", "a-b-c", "a-b-c"),
        ("--as", "as", "as"),
        ("-1", "label-1", "user-1"),
        ("42", "label-42", "user-42"),
        ("٤٢", "label-٤٢", "user-٤٢"),
        ("1" * 64, "label-" + "1" * 58, "user-" + "1" * 59),
        ("x" * 100, "x" * 64, "x" * 64),
        ("日本", "日本", "日本"),
    ],
)
def test_names(text: str, tag: str, user: str) -> None:
    assert (tag_name(text), user_name(text)) == (tag, user)


@pytest.mark.parametrize("text", ["", " ", ",", "-", "\0", "\u200b", " - , "])
@pytest.mark.parametrize("make", [tag_name, user_name])
def test_nothing_makes_no_name(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match="holds nothing to make a name of"):
        make(text)


@given(st.text(min_size=1))
def test_a_name_keeps_the_rules_and_is_a_name_already(text: str) -> None:
    try:
        tag, user = tag_name(text), user_name(text)
    except ValueError:
        assert not any(char.isalnum() for char in text)
        return
    for name, make in ((tag, tag_name), (user, user_name)):
        assert NAME.fullmatch(name)
        assert make(name) == name


# Anything at all

KEYS = [
    "id", "title", "description", "notes", "status", "priority", "issue_type", "labels",
    "assignee", "created_by", "created_at", "closed_at", "dependencies", "comments", "author",
    "text", "type", "depends_on_id", "_type",
]  # fmt: skip
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 5),
    st.floats(),
    st.text(max_size=5),
    st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    st.sampled_from(["open", "closed", "tombstone", "bd-1", "bd-2", "\0", "\ud800"]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=6,
)
records = st.fixed_dictionaries(
    {"id": st.text(min_size=1), "title": st.text(min_size=1)},
    optional=dict.fromkeys(KEYS[2:], values),
)


@settings(deadline=None, max_examples=300)
@given(st.lists((records | values).map(json.dumps), max_size=4))
def test_every_line_means_something_and_nothing_raises(lines: list[str]) -> None:
    rows = parse("\n".join(lines))
    rows = [row for row in rows if not isinstance(row, Unlinked)]
    assert [row.line for row in rows] == list(range(1, len(lines) + 1))
    refs = [row.ref for row in rows if isinstance(row, ImportedTask)]
    assert len(refs) == len(set(refs))
    for row in rows:
        if not isinstance(row, ImportedTask):
            assert row.reason
            continue
        assert 1 <= len(row.title) <= TITLE_LIMIT
        assert row.title.splitlines() == [row.title.strip()]
        f"{row.title}{row.description}{row.ref}".encode()
        assert "\0" not in f"{row.title}{row.description}{row.ref}"
        assert all(NAME.fullmatch(name) for name in (*row.tags, *row.assignees))
        assert len({tag.lower() for tag in row.tags}) == len(row.tags)


@given(st.binary())
def test_bytes_of_any_kind_do_not_raise(document: bytes) -> None:
    assert all(isinstance(row, BadRow) for row in parse(document))


# Files of any size

MANY = "\n".join(
    [
        issue(id="bd-1", dependencies=[{"depends_on_id": "bd-7", "type": "blocks"}]),
        "",
        issue(id="bd-2", status="closed", created_by="ana", labels=["x"]),
        "nonsense",
        issue(
            id="bd-3",
            dependencies=[
                {"depends_on_id": "bd-1", "type": "parent-child"},
                {"depends_on_id": "bd-2", "type": "parent-child"},
                {"depends_on_id": "bd-9", "type": "related"},
            ],
        ),
        "  ",
        issue(id="bd-4", status="tombstone"),
        issue(id="bd-1"),
        issue(id="bd-7", dependencies=[{"depends_on_id": "bd-1", "type": "blocks"}]),
        issue(id="bd-4", created_by="ana"),
        issue(id="bd-8", created_by=",", dependencies=[{"depends_on_id": "bd-9"}]),
        issue(id="bd-9", created_by=",", status="closed"),
    ]
)


@pytest.mark.parametrize("room", [0, 1, 3000, 6000, 9000])
def test_rows_for_which_there_is_no_room_say_the_same(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    rules = ["user:,=bo", "status:closed=canceled"]
    words = Words(rules)
    whole = list(beads.parse(BytesIO(MANY.encode()), words))
    assert Counter(map(type, whole)) == {ImportedTask: 6, BadRow: 3, SkippedRow: 1, Unlinked: 2}
    (waiting,) = [row for row in whole if isinstance(row, ImportedTask) and row.ref == "bd-8"]
    assert (waiting.owner, waiting.blocked_by) == ("bo", ("bd-9",))
    monkeypatch.setattr(beginning, "ROOM", room)
    again = Words(rules)
    assert list(beads.parse(BytesIO(MANY.encode()), again)) == whole
    assert again.used == words.used


def test_a_long_file_takes_no_more_memory_than_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beginning, "ROOM", 500_000)

    def lines() -> Iterator[bytes]:
        for number in range(1_500):
            yield f"{issue(id=f'bd-{number}', description='o' * 4000)}\n".encode()

    with peak_below(3_000_000):
        rows = beads.parse(BufferedReader(MadeFile(lines)), Words())
        assert sum(isinstance(row, ImportedTask) for row in rows) == 1_500


# A real file


@pytest.mark.skipif(not REAL_FILE.is_file(), reason="the real file is not here")
def test_a_real_file() -> None:
    rows = parse(REAL_FILE.read_bytes())
    assert Counter(type(row) for row in rows) == {
        ImportedTask: 1868,
        SkippedRow: 342,
        Unlinked: 4,
    }
    tasks = [row for row in rows if isinstance(row, ImportedTask)]
    assert Counter(task.status for task in tasks) == {
        "completed": 1789,
        "in_progress": 12,
        "todo": 67,
    }
    assert all((task.status == "completed") == (task.completed_at is not None) for task in tasks)
    assert all(task.created_at and task.updated_at for task in tasks)
    assert sum(task.priority == "urgent" for task in tasks) == 90
    issues = {row["id"]: row for row in map(json.loads, REAL_FILE.read_text("utf-8").splitlines())}
    for task in tasks:
        source = issues[task.ref]
        assert task.title == source["title"].strip()
        assert source.get("description", "").strip("\n") in (task.description or "")
        assert task.created_at == datetime.fromisoformat(source["created_at"])
        assert {label.lower() for label in source.get("labels", [])} <= {
            tag.lower() for tag in task.tags
        }
