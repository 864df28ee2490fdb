"""Jira's exports: every column, the ways in which parents are named, and what people do to them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from foreign_tables import table
from hypothesis import given, settings
from hypothesis import strategies as st
from jira_exports import HEADER, parse, reason, task, tasks

from concord.formats.words import Words
from concord.models import BadRow, ImportedComment, ImportedTask, MappedWord
from concord.vocabulary import PRIORITIES, STATUSES, TITLE_LIMIT


def test_an_export_with_everything() -> None:
    cells = [
        "Rebuild “the” pages 🎉", "API-12", "10012", "Bug", "In Progress", "API", "The API",
        "Highest", "", "Bo Example", "5b1", "ana", "ana", "09/Jan/24 3:54 PM",
        "10/Jan/24 12:05 AM", "11/Jan/24 1:00 PM", "", "1.0", "1.1", "Web",
        "31/Jan/24 12:00 AM", "seo", "front", "h1. Head\n\n{code}x{code}", "ana", "bo",
        "API-3", "OPS-4", "API-20",
        "3.0", "Sprint 7", "09/Jan/24 4:00 PM;5b1:7-a;first; of\nall", "plain words", "10002",
        "API-2", "In Progress",
    ]  # fmt: skip
    words = Words()
    (row,) = parse(table(HEADER, cells), words)
    assert row == ImportedTask(
        ref="API-12",
        title="Rebuild “the” pages 🎉",
        line=2,
        description="h1. Head\n\n{code}x{code}",
        status="in_progress",
        priority="urgent",
        due=datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC),
        tags=("Bug", "front", "seo"),
        assignees=("Bo-Example",),
        owner="ana",
        created_at=datetime(2024, 1, 9, 15, 54, tzinfo=UTC),
        updated_at=datetime(2024, 1, 10, 0, 5, tzinfo=UTC),
        parent="API-2",
        blocked_by=("API-3", "OPS-4"),
        comments=(
            ImportedComment("first; of\nall", "5b1:7-a", datetime(2024, 1, 9, 16, tzinfo=UTC)),
            ImportedComment("plain words"),
        ),
        project="API",
        extra={
            "Issue id": "10012",
            "Issue Type": "Bug",
            "Project name": "The API",
            "Assignee": "Bo Example",
            "Assignee Id": "5b1",
            "Last Viewed": "11/Jan/24 1:00 PM",
            "Fix Version/s": ["1.0", "1.1"],
            "Component/s": "Web",
            "Labels": ["seo", "front"],
            "Watchers": ["ana", "bo"],
            "Outward issue link (Blocks)": "API-20",
            "Custom field (Story Points)": "3.0",
            "Sprint": "Sprint 7",
            "Parent": "10002",
        },
    )
    assert words.unknown == ()


def test_what_the_fields_give_back_is_not_kept() -> None:
    told = task(
        ("Status", "Done"), ("Status Category", "Done"), ("Priority", "High"), ("Reporter", "ana"),
        ("Creator", "ana"), ("Labels", "a"), ("Labels", "b"), ("Project key", "API"),
        ("Resolved", "09/Jan/24 3:54 PM"),
    )  # fmt: skip
    assert told.extra == {}


def test_columns_that_are_missing() -> None:
    assert parse("Summary,Issue key\nDo it,API-1\n") == [
        ImportedTask(
            ref="API-1",
            title="Do it",
            line=2,
            project="API",
            partial=("parent", "blocked_by", "comments"),
        )
    ]
    links = [("Parent key", ""), ("Inward issue link (Blocks)", ""), ("Comment", "")]
    assert task(*links).partial == ()


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("To Do", "todo"),
        ("Open", "todo"),
        ("Backlog", "todo"),
        ("Reopened", "todo"),
        ("Selected for Development", "todo"),
        ("In Progress", "in_progress"),
        ("In Review", "in_progress"),
        ("Done", "completed"),
        ("Resolved", "completed"),
        ("Closed", "completed"),
        ("Canceled", "canceled"),
        ("Declined", "canceled"),
        ("", "todo"),
    ],
)
def test_status(word: str, status: str) -> None:
    told = task(("Status", word))
    assert told.status == status
    plain = {"", "To Do", "In Progress", "Done", "Canceled"}
    assert told.extra == ({} if word in plain else {"Status": word})


def test_the_category_decides_what_an_unknown_status_means() -> None:
    words = Words(["status:Parked=canceled"])

    def status(word: str, category: str) -> str:
        return task(("Status", word), ("Status Category", category), words=words).status

    assert status("Brewing", "In Progress") == "in_progress"
    assert status("Shipped", "Done") == "completed"
    assert status("Someday", "To Do") == "todo"
    assert status("Parked", "To Do") == "canceled", "a rule is heard first"
    assert status("Open", "In Progress") == "todo", "and then the words of Jira"
    assert words.unknown == ()
    assert status("Odd", "") == "todo"
    assert words.unknown == (MappedWord("status", "Odd", None, 1),)


@pytest.mark.parametrize(
    ("status", "resolution", "expected"),
    [
        ("Done", "Done", "completed"),
        ("Done", "Fixed", "completed"),
        ("Closed", "Won't Do", "canceled"),
        ("Closed", "Won’t Fix", "canceled"),
        ("Done", "Duplicate", "canceled"),
        ("Resolved", "Cannot Reproduce", "canceled"),
        ("In Progress", "Duplicate", "in_progress"),
        ("To Do", "Unresolved", "todo"),
    ],
)
def test_what_came_to_nothing_is_canceled(status: str, resolution: str, expected: str) -> None:
    told = task(("Status", status), ("Resolution", resolution), ("Resolved", "2024-01-09"))
    assert told.status == expected
    assert told.extra["Resolution"] == resolution
    assert expected != "canceled" or told.extra["Status"] == status
    at = datetime(2024, 1, 9, tzinfo=UTC)
    assert told.completed_at == (at if expected == "completed" else None)
    assert told.canceled_at == (at if expected == "canceled" else None)


def test_when_an_issue_was_closed() -> None:
    days = [("Updated", "2024-01-02"), ("Created", "2024-01-01")]
    assert task(("Status", "Done"), *days).completed_at == datetime(2024, 1, 2, tzinfo=UTC)
    assert task(("Status", "Done"), days[1]).completed_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert task(("Status", "Done")).completed_at is None
    reopened = task(("Status", "To Do"), ("Resolved", "2024-01-03"), *days)
    assert reopened.completed_at is None
    assert reopened.extra == {"Resolved": "2024-01-03"}


@pytest.mark.parametrize(
    ("word", "priority"),
    [
        ("Highest", "urgent"),
        ("High", "high"),
        ("Medium", "medium"),
        ("Low", "low"),
        ("Lowest", "low"),
        ("Blocker", "urgent"),
        ("Critical", "high"),
        ("Major", "medium"),
        ("Minor", "low"),
        ("Trivial", "low"),
        ("", "none"),
    ],
)
def test_priority(word: str, priority: str) -> None:
    told = task(("Priority", word))
    assert told.priority == priority
    plain = {"", "Highest", "High", "Medium", "Low"}
    assert told.extra == ({} if word in plain else {"Priority": word})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("09/Jan/24 3:54 PM", "2024-01-09T15:54:00"),
        ("9/Jan/2024 12:00 PM", "2024-01-09T12:00:00"),
        ("31/dec/23 12:01 am", "2023-12-31T00:01:00"),
        ("09/Jan/24 15:54", "2024-01-09T15:54:00"),
        ("11/May/24", "2024-05-11T00:00:00"),
        ("2024-01-09 15:54", "2024-01-09T15:54:00"),
        ("2024-01-09T15:54:00.000+0100", "2024-01-09T14:54:00"),
        ("2024-01-09T15:54:00Z", "2024-01-09T15:54:00"),
    ],
)
def test_times(text: str, moment: str) -> None:
    assert task(("Created", text)).created_at == datetime.fromisoformat(f"{moment}Z")


@pytest.mark.parametrize(
    "text", ["09/Foo/24", "09/Jan/24 13:00 PM", "31/Feb/24", "1/9/2024 15:54", "9" * 5000, "soon"]
)
def test_a_time_that_cannot_be_read(text: str) -> None:
    assert reason(("Created", text)) == f"Created: {text[:60]!r} is no date known here"


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("31/Jan/24 12:00 AM", "2024-01-31T23:59:59"),
        ("31/Jan/24", "2024-01-31T23:59:59"),
        ("31/Jan/24 9:00 AM", "2024-01-31T09:00:00"),
    ],
)
def test_a_due_date_at_midnight_means_the_day(text: str, due: str) -> None:
    told = task(("Due Date", text))
    assert (told.due, told.extra) == (datetime.fromisoformat(f"{due}Z"), {})


def test_labels_and_type_become_tags() -> None:
    told = task(("Labels", "b"), ("Labels", "a c"), ("Issue Type", "Sub-task"))
    assert told.tags == ("Sub-task", "a", "b", "c")
    assert told.extra == {"Labels": ["b", "a c"], "Issue Type": "Sub-task"}


def test_the_owner_reported_it_or_else_made_it() -> None:
    told = task(("Reporter", "ana"), ("Creator", "bo"))
    assert (told.owner, told.extra) == ("ana", {"Creator": "bo"})
    told = task(("Reporter", ""), ("Creator", "bo"))
    assert (told.owner, told.extra) == ("bo", {})
    assert reason(("Reporter", "\u200b")).startswith("Reporter: ")


def test_the_project_is_told_by_its_key_or_by_the_issues() -> None:
    assert task().project == "API"
    assert task(("Project key", "WEB")).project == "WEB"
    told = task(("Project key", "web"))
    assert (told.project, told.extra) == ("WEB", {"Project key": "web"})
    assert task(words=Words(["project:API=CORE"])).project == "CORE"
    assert task(("Issue key", ""), ("Project key", "")).project == "API"


def test_rows_that_are_no_issues() -> None:
    assert parse("Summary,Issue key\nx,\n") == [BadRow(2, "no Issue key")]
    assert parse("Summary,Issue key\n,API-1\n") == [BadRow(2, "no Summary")]
    assert parse("Summary,Issue key,Labels\nx,API-1,a,b\n") == [
        BadRow(2, "has 4 cells, but the header 3")
    ]
    assert reason(("Custom field (X)", "a\0")).startswith("Custom field (X) holds a NUL")


def test_what_is_no_export() -> None:
    assert parse("") == [BadRow(1, "empty, not a Jira export, which begins with a header")]
    assert parse("ID,Title,Parent\nENG-1,x,3\n") == [
        BadRow(1, "not a Jira export: its header has no column Issue key, Summary")
    ]


def test_a_file_that_was_cut_off_brings_what_came_before() -> None:
    document = table(["Issue key", "Summary", "Parent"], ["API-1", "a", ""], ["API-2", "b", "1"])
    rows = parse(document[:-4])
    assert isinstance(rows[0], ImportedTask)
    assert rows[1:] == [BadRow(3, "ends after 2 of 3 cells; is the file cut off?")]


def test_a_long_summary_and_a_large_description() -> None:
    told = task(("Summary", ""), ("Description", "y" * 10_000_000), ("Custom field (X)", "x" * 300))
    assert len(told.description or "") == 10_000_000
    (row,) = tasks(table(["Issue key", "Summary", "Description"], ["A-1", "x" * 300, "More."]))
    assert len(row.title) == TITLE_LIMIT
    assert row.description == f"{'x' * 300}\n\nMore."


CELLS = st.text(max_size=20) | st.sampled_from(
    ["Done", "To Do", "High", "API-1", "101", "09/Jan/24 3:54 PM", "Duplicate", "2024-01-09;ana;x"]
)


@settings(max_examples=50)
@given(st.lists(st.lists(CELLS, min_size=len(HEADER), max_size=len(HEADER)), max_size=3))
def test_no_cells_raise_and_what_is_read_can_be_stored(rows: list[list[str]]) -> None:
    document = table(HEADER, *rows).encode("utf-8", "surrogatepass")
    for row in parse(document):
        if isinstance(row, ImportedTask):
            assert row.status in STATUSES
            assert row.priority in PRIORITIES
            assert 1 <= len(row.title) <= TITLE_LIMIT
            assert len(row.title.splitlines()) == 1
            assert (row.completed_at is not None) <= (row.status == "completed")
            assert (row.canceled_at is not None) <= (row.status == "canceled")
            assert all(comment.body.strip() for comment in row.comments)
            assert "\0" not in str(row)
        else:
            assert isinstance(row, BadRow)
