"""Linear's exports: every column, both kinds of dates, and what people do to such files."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from foreign_tables import Generated, peak_below, table
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import linear
from concord.formats.words import Words
from concord.models import BadRow, ImportedTask, MappedWord
from concord.vocabulary import PRIORITIES, STATUSES, TITLE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concord.models import ParsedRow

HEADER = [
    "ID", "Team", "Title", "Description", "Status", "Estimate", "Priority", "Project ID",
    "Project", "Creator", "Assignee", "Labels", "Cycle Number", "Cycle Name", "Cycle Start",
    "Cycle End", "Created", "Updated", "Started", "Triaged", "Completed", "Canceled", "Archived",
    "Due Date", "Parent issue", "Initiatives", "Project Milestone ID", "Project Milestone",
    "SLA Status", "UUID", "Time in status (minutes)", "Related to", "Blocked by", "Duplicate of",
]  # fmt: skip


def parse(document: str | bytes, words: Words | None = None) -> list[ParsedRow]:
    data = document if isinstance(document, bytes) else document.encode()
    return list(linear.parse(io.BytesIO(data), words or Words()))


def parse_row(words: Words | None = None, /, **cells: str) -> ParsedRow:
    """Return what a row means; underscores in names of columns are spaces."""
    named = {"ID": "ENG-1", "Title": "Do it"} | {
        name.replace("_", " "): cell for name, cell in cells.items()
    }
    (row,) = parse(table(list(named), list(named.values())), words)
    return row


def task(words: Words | None = None, /, **cells: str) -> ImportedTask:
    row = parse_row(words, **cells)
    assert isinstance(row, ImportedTask), row
    return row


def reason(**cells: str) -> str:
    row = parse_row(**cells)
    assert isinstance(row, BadRow), row
    assert row.line == 2
    return row.reason


def test_an_export_with_everything() -> None:
    cells = {
        "ID": "ENG-12",
        "Team": "Engineering",
        "Title": "Rebuild “the” pages 🎉",
        "Description": "    code\n\nline two",
        "Status": "In Review",
        "Estimate": "3",
        "Priority": "High",
        "Project ID": "p-1",
        "Project": "Site rebuild",
        "Creator": "ana@example.org",
        "Assignee": "Bo Example",
        "Labels": "seo, Front end",
        "Cycle Number": "4",
        "Created": "Mon Jan 08 2024 15:54:00 GMT+0000 (GMT)",
        "Updated": "Fri Jul 05 2024 15:54:00 GMT+0200 (Central European Summer Time)",
        "Started": "2024-01-09T10:00:00.123Z",
        "Due Date": "2024-08-01",
        "Parent issue": "ENG-2",
        "SLA Status": "Breached",
        "UUID": "0b2c",
        "Time in status (minutes)": "17",
        "Related to": "ENG-7, ENG-8",
        "Blocked by": "ENG-3, OPS-4, ENG-3",
    }
    words = Words()
    (row,) = parse(table(HEADER, [cells.get(name, "") for name in HEADER]), words)
    assert row == ImportedTask(
        ref="ENG-12",
        title="Rebuild “the” pages 🎉",
        line=2,
        description="    code\n\nline two",
        status="in_progress",
        priority="high",
        due=datetime(2024, 8, 1, 23, 59, 59, tzinfo=UTC),
        tags=("Front-end", "Site-rebuild", "seo"),
        assignees=("Bo-Example",),
        owner="ana@example.org",
        created_at=datetime(2024, 1, 8, 15, 54, tzinfo=UTC),
        updated_at=datetime(2024, 7, 5, 13, 54, tzinfo=UTC),
        started_at=datetime(2024, 1, 9, 10, 0, 0, 123000, tzinfo=UTC),
        parent="ENG-2",
        blocked_by=("ENG-3", "OPS-4"),
        project="ENG",
        extra={
            "Team": "Engineering",
            "Status": "In Review",
            "Estimate": "3",
            "Project ID": "p-1",
            "Project": "Site rebuild",
            "Assignee": "Bo Example",
            "Labels": "seo, Front end",
            "Cycle Number": "4",
            "SLA Status": "Breached",
            "UUID": "0b2c",
            "Time in status (minutes)": "17",
            "Related to": "ENG-7, ENG-8",
        },
    )
    assert words.unknown == ()
    assert MappedWord("project", "ENG", "ENG", 1) in words.used


def test_what_the_fields_give_back_is_not_kept() -> None:
    told = task(
        Status="Todo", Priority="No priority", Creator="ana", Assignee="bo", Labels="a, b",
        Due_Date="2024-08-01", Created="2024-01-01T00:00:00Z",
    )  # fmt: skip
    assert told.extra == {}


def test_columns_that_are_missing() -> None:
    assert parse("Title,ID\nDo it,ENG-1\n") == [
        ImportedTask(
            ref="ENG-1", title="Do it", line=2, project="ENG", partial=("parent", "blocked_by")
        )
    ]
    assert task(Parent_issue="", Blocked_by="").partial == ()


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Backlog", "todo"),
        ("Triage", "todo"),
        ("Todo", "todo"),
        ("In Progress", "in_progress"),
        ("In Review", "in_progress"),
        ("Done", "completed"),
        ("Canceled", "canceled"),
        ("Cancelled", "canceled"),
        ("Duplicate", "canceled"),
        ("", "todo"),
    ],
)
def test_status(word: str, status: str) -> None:
    told = task(Status=word)
    assert told.status == status
    plain = {"", "Todo", "In Progress", "Done", "Canceled"}
    assert told.extra == ({} if word in plain else {"Status": word})


def test_a_status_of_ones_own_is_for_the_rules_to_tell() -> None:
    words = Words()
    told = task(words, Status="QA Check", Completed="2024-01-01T00:00:00Z")
    assert (told.status, told.completed_at) == ("todo", None)
    assert told.extra == {"Status": "QA Check", "Completed": "2024-01-01T00:00:00Z"}
    assert words.unknown == (MappedWord("status", "QA Check", None, 1),)
    told = task(Words(["status:QA Check=completed"]), Status="QA Check")
    assert (told.status, told.extra) == ("completed", {"Status": "QA Check"})


@pytest.mark.parametrize(
    ("word", "priority"),
    [
        ("Urgent", "urgent"),
        ("High", "high"),
        ("Medium", "medium"),
        ("Low", "low"),
        ("No priority", "none"),
        ("", "none"),
    ],
)
def test_priority(word: str, priority: str) -> None:
    told = task(Priority=word)
    assert (told.priority, told.extra) == (priority, {})


@pytest.mark.parametrize("status", ["Done", "Canceled"])
def test_when_an_issue_was_closed(status: str) -> None:
    days = {"Created": "2024-01-01T00:00:00Z", "Updated": "2024-01-02T00:00:00Z"}
    own = {"Done": "Completed", "Canceled": "Canceled"}[status]

    def closed(**cells: str) -> list[datetime | None]:
        told = task(Status=status, **cells)
        times = {"Done": told.completed_at, "Canceled": told.canceled_at}
        assert [name for name, at in times.items() if at] in ([status], [])
        return [times[status]]

    assert closed(**days, **{own: "2024-01-03T00:00:00Z"}) == [datetime(2024, 1, 3, tzinfo=UTC)]
    assert closed(**days) == [datetime(2024, 1, 2, tzinfo=UTC)]
    assert closed(Created=days["Created"]) == [datetime(2024, 1, 1, tzinfo=UTC)]
    assert closed() == [None]


def test_an_issue_that_went_back_is_not_started() -> None:
    told = task(Status="Backlog", Started="2024-01-01T00:00:00Z")
    assert told.started_at is None
    assert told.extra == {"Status": "Backlog", "Started": "2024-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon Jan 08 2024 15:54:00 GMT+0000 (GMT)", "2024-01-08T15:54:00"),
        ("Mon Jan 8 2024 15:54:01 GMT-0530", "2024-01-08T21:24:01"),
        ("Fri Jul 05 2024 15:54:00 GMT+0200 (Central European Summer Time)",
         "2024-07-05T13:54:00"),
        ("2024-01-08T15:54:00.809Z", "2024-01-08T15:54:00.809000"),
        ("2024-01-08T15:54:00+02:00", "2024-01-08T13:54:00"),
        ("2024-01-08 15:54", "2024-01-08T15:54:00"),
        ("2024-01-08", "2024-01-08T00:00:00"),
    ],
)  # fmt: skip
def test_times(text: str, moment: str) -> None:
    told = task(Created=text)
    assert told.created_at == datetime.fromisoformat(f"{moment}Z")
    assert told.extra == {}


@pytest.mark.parametrize(
    ("text", "due", "kept"),
    [
        ("2024-02-29", "2024-02-29T23:59:59", False),
        ("2024-02-29T09:00:00Z", "2024-02-29T09:00:00", False),
        ("Thu Feb 29 2024 00:00:00 GMT+0000 (GMT)", "2024-02-29T23:59:59", False),
        ("Thu Feb 29 2024 00:00:00 GMT+0200 (EET)", "2024-02-29T21:59:59", True),
        ("Wed Feb 28 2024 23:00:00 GMT+0000 (GMT)", "2024-02-28T23:00:00", False),
    ],
)
def test_a_due_date_at_midnight_means_the_day(text: str, due: str, *, kept: bool) -> None:
    told = task(Due_Date=text)
    assert told.due == datetime.fromisoformat(f"{due}Z")
    assert told.extra == ({"Due Date": text} if kept else {})


@pytest.mark.parametrize(
    "text",
    ["soon", "Mon Foo 08 2024 15:54:00 GMT+0000", "2024-02-30", "08/01/2024", "9" * 5000,
     "Mon Jan 08 2024 15:54:00 GMT+9900", "Mon Jan 08 2024 25:54:00 GMT+0000"],
)  # fmt: skip
def test_a_time_that_cannot_be_read(text: str) -> None:
    assert reason(Updated=text) == f"Updated: {text[:60]!r} is no date known here"


def test_a_time_beyond_the_calendar() -> None:
    assert "is not in the years 1 to 9999" in reason(Created="0001-01-01T00:00:00+05:00")
    assert "is not in the years 1 to 9999" in reason(Due_Date="9999-12-31T23:00:00-05:00")


def test_titles_are_one_line_within_the_limit() -> None:
    told = task(Title=" a\n b ")
    assert (told.title, told.extra) == ("a b", {"Title": " a\n b "})
    long = "x" * 300
    told = task(Title=long, Description="More.")
    assert len(told.title) == TITLE_LIMIT
    assert (told.description, told.extra) == (f"{long}\n\nMore.", {})


def test_labels_that_are_no_names_are_kept() -> None:
    told = task(Labels="Bug, bug, \u200b, 12")
    assert told.tags == ("Bug", "label-12")
    assert told.extra == {"Labels": "Bug, bug, \u200b, 12"}


def test_an_id_without_a_team_has_no_project() -> None:
    assert task(ID="42").project is None
    assert task(Words(["project:ENG=API"])).project == "API"


def test_rows_that_are_no_issues() -> None:
    assert reason(ID="") == "no ID"
    assert reason(Title=" \n") == "no Title"
    assert reason(Title="a\0b").startswith("Title holds a NUL character")
    assert reason(Assignee="\u200b").startswith("Assignee: ")
    assert reason(Creator=",").startswith("Creator: ")


def test_what_is_no_export() -> None:
    assert parse("") == [BadRow(1, "empty, not a Linear export, which begins with a header")]
    assert parse('[{"ID": 1}]') == [
        BadRow(1, "not a Linear export: its header has no column ID, Title")
    ]


def test_a_file_that_was_cut_off_brings_what_came_before() -> None:
    document = table(["ID", "Title", "Description"], ["ENG-1", "a", "b"], ["ENG-2", "c", "d\ne"])
    rows = parse(document[:-5])
    assert isinstance(rows[0], ImportedTask)
    assert rows[1:] == [BadRow(3, "a quote is opened and never closed; is the file cut off?")]


def test_saved_again_by_a_spreadsheet() -> None:
    document = table(["ID", "Title", "Assignee"], ["ENG-1", "Größe – مرحبا", "ana"], delimiter=";")
    for data in (b"\xef\xbb\xbf" + document.encode(), document.encode("utf-16")):
        (row,) = parse(data)
        assert isinstance(row, ImportedTask)
        assert (row.title, row.assignees) == ("Größe – مرحبا", ("ana",))
    (row,) = parse("ID;Title\r\nENG-1;Größe – x\r\n".encode("cp1252"))
    assert isinstance(row, ImportedTask)
    assert row.title == "Größe – x"


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"ID,Title,Description,Labels,Blocked by\n"
        for number in range(2_000):
            text = b"x" * 4000
            yield b'ENG-%d,t,"%s","a, b","ENG-7, ENG-9"\n' % (number, text)

    with peak_below(2_000_000):
        rows = linear.parse(io.BufferedReader(Generated(pieces)), Words())
        assert sum(isinstance(row, ImportedTask) for row in rows) == 2_000


CELLS = st.text(max_size=20) | st.sampled_from(
    ["Done", "Todo", "High", "ENG-1", "2024-01-01", "Mon Jan 08 2024 15:54:00 GMT+0000 (GMT)"]
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
            assert "\0" not in str(row)
        else:
            assert isinstance(row, BadRow)
