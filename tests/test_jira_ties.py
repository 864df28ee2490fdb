"""Jira's exports: what is said of other issues and by people, and how much of it is held."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from foreign_tables import Generated, peak_below, table
from jira_exports import reason, task, tasks

from concord.formats import jira
from concord.formats.words import Words
from concord.models import ImportedComment, ImportedTask

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_comments_have_a_time_an_author_and_a_text() -> None:
    told = task(
        ("Comment", "09/Jan/24 3:54 PM;ana;one; two\n\n  three\n"),
        ("Comment", ""),
        ("Comment", "2024-01-10 08:00;Bo Example;x"),
        ("Comment", "09/Jan/24 3:54 PM;;nobody"),
        ("Comment", "09/Jan/24 3:54 PM;ana;"),
        ("Comment", "no; comment; at all"),
        ("Comment", "09/Jan/24;half"),
    )
    at = datetime(2024, 1, 9, 15, 54, tzinfo=UTC)
    assert told.comments == (
        ImportedComment("one; two\n\n  three", "ana", at),
        ImportedComment("x", "Bo-Example", datetime(2024, 1, 10, 8, tzinfo=UTC)),
        ImportedComment("nobody", None, at),
        ImportedComment("no; comment; at all"),
        ImportedComment("09/Jan/24;half"),
    )
    assert told.extra == {"Comment authors": {"Bo-Example": "Bo Example"}}
    assert reason(("Comment", "09/Jan/24;\u200b;x")).startswith("Comment: ")


def test_parents_that_are_named_by_id() -> None:
    header = ["Issue key", "Summary", "Issue id", "Parent id"]
    document = table(
        header,
        ["API-3", "child", "103", "101"],
        ["API-1", "parent", "101", ""],
        ["API-4", "other child", "104", "101"],
        ["API-5", "stray", "105", "999"],
    )
    rows = tasks(document)
    assert [row.parent for row in rows] == ["API-1", None, "API-1", "999"]
    assert [row.line for row in rows] == [2, 3, 4, 5]
    assert rows[0].extra == {"Issue id": "103"}
    assert rows[3].extra == {"Issue id": "105", "Parent id": "999"}


def test_parents_are_named_by_key_first_and_by_epic_last() -> None:
    header = [
        "Issue key",
        "Summary",
        "Issue id",
        "Parent",
        "Parent key",
        "Custom field (Epic Link)",
    ]
    document = table(
        header,
        ["API-1", "a", "101", "", "", ""],
        ["API-2", "b", "102", "101", "API-9", "API-8"],
        ["API-3", "c", "103", "101", "", "API-8"],
        ["API-4", "d", "104", "API-7", "", "API-8"],
        ["API-5", "e", "105", "", "", "API-8"],
    )
    assert [row.parent for row in tasks(document)] == [None, "API-9", "API-1", "API-7", "API-8"]


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"Issue key;Summary;Issue id;Parent id;Description;Comment\n"
        for number in range(1_000):
            text = b"x" * 8000
            yield b"A-%d;t;%d;7;%s;09/Jan/24 3:54 PM;ana;hm\n" % (number, number, text)

    def quoted() -> Iterator[bytes]:
        return (piece.replace(b"09/Jan/24 3:54 PM;ana;hm", b'"09/Jan/24 3:54 PM;ana;hm"')
                for piece in pieces())  # fmt: skip

    with peak_below(2_000_000):
        rows = jira.parse(io.BufferedReader(Generated(quoted)), Words())
        assert sum(isinstance(row, ImportedTask) and row.parent == "A-7" for row in rows) == 1_000
