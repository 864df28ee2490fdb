"""Imports bring comments, and merge them one by one."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from audit import tables
from commands import Here
from importing import Importing, counts, ids
from workers import psql

from concord.formats import beads
from concord.formats.words import Words
from concord.models import ImportedComment, ImportedTask
from concord.sql import comments, tasks

if TYPE_CHECKING:
    from pathlib import Path

    from concord.database import Database

AT = "2026-01-02T03:04:05Z"


@pytest.fixture
def importing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Importing:
    """Imports beads' files into this test's database, as `ana`."""
    return Importing(Here(url, tmp_path, monkeypatch, capsys), "beads")


def file(*said: dict[str, Any], title: str = "Do it") -> str:
    return json.dumps({"id": "bd-1", "title": title, "comments": list(said)})


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"author": "bo", "text": text, "created_at": AT} | fields


def bodies(database: Database) -> list[str]:
    (task,) = database.run(comments.show, ids(database))
    return [comment.body for comment in task.comments]


def parsed(*comments: dict[str, Any]) -> tuple[ImportedComment, ...]:
    (task,) = beads.parse(BytesIO(file(*comments).encode()), Words())
    assert isinstance(task, ImportedTask), task
    return task.comments


# What the file says


def test_a_comment_without_an_id_has_a_ref_of_what_it_says() -> None:
    (one,) = parsed(said("One."))
    assert one.ref
    assert parsed(said("Before."), said("One."))[1].ref == one.ref
    for other in (said("Two."), said("One.", author="cy"), said("One.", created_at=None)):
        assert parsed(other)[0].ref != one.ref


def test_comments_of_one_id_are_both_kept() -> None:
    refs = [comment.ref for comment in parsed(said("a", id=1), said("b", id=1), said("c", id="x"))]
    assert refs[0] == "1"
    assert refs[2] == "x"
    assert len(set(refs)) == 3


def test_what_says_nothing_or_the_same_again_is_no_comment() -> None:
    assert len(parsed(said("a"), said("a"), said("\n "), said(""), {"author": "bo"})) == 1


# What becomes of it here


def test_comments_come_once_with_author_and_time(
    importing: Importing, database: Database, url: str
) -> None:
    told = file(said("One.", id=1), said("Two.", id=2, author="Ana"), {"text": "Three."})
    assert importing(told) == counts(created=1)
    (task,) = database.run(comments.show, ids(database))
    assert [(c.author, c.body, c.external_ref) for c in task.comments][:2] == [
        ("bo", "One.", "1"),
        ("ana", "Two.", "2"),
    ]
    assert {f"{c.created_at:%Y-%m-%dT%H:%M:%SZ}" for c in task.comments[:2]} == {AT}
    assert (task.comments[2].author, task.comments[2].body) == ("ana", "Three.")
    assert (task.version, task.description) == (1, None)
    before = tables(url)
    assert importing(told) == counts(unchanged=1)
    assert tables(url) == before


def test_a_dry_run_says_that_comments_would_come(
    importing: Importing, database: Database, url: str
) -> None:
    importing(file())
    before = tables(url)
    assert importing(file(said("One.", id=1)), "--dry-run") == counts(updated=1)
    assert tables(url) == before
    assert importing(file(said("One.", id=1))) == counts(updated=1)
    (task,) = database.run(comments.show, ids(database))
    assert task.version == 1, "nobody's edit is stale because somebody spoke"


def test_comments_are_added_changed_and_removed_one_by_one(
    importing: Importing, database: Database
) -> None:
    importing(file(said("One.", id=1), said("Two.", id=2), said("Three.", id=3)))
    database.run(comments.add, ids(database), "Ours.")
    there = file(said("One.", id=1), said("Two, really.", id=2), said("Four.", id=4))
    assert importing(there) == counts(updated=1)
    assert sorted(bodies(database)) == ["Four.", "One.", "Ours.", "Two, really."]
    assert importing(there) == counts(unchanged=1)


def test_what_was_changed_or_removed_here_stays_so(
    importing: Importing, database: Database, url: str
) -> None:
    told = file(said("One.", id=1), said("Two.", id=2), said("Three.", id=3))
    importing(told)
    psql(url, "DELETE FROM comments WHERE external_ref = '1'")
    psql(url, "UPDATE comments SET body = 'Ours.' WHERE external_ref IN ('2', '3')")
    before = tables(url)
    assert importing(told) == counts(unchanged=1)
    assert tables(url) == before
    importing(file(said("One, really.", id=1), said("Two, really.", id=2), title="Later"))
    assert bodies(database) == ["Ours.", "Ours."]


def test_no_comment_comes_to_a_task_in_the_trash(
    importing: Importing, database: Database, url: str
) -> None:
    importing(file())
    database.run(tasks.delete, ids(database))
    before = tables(url)
    assert importing(file(said("One.", id=1))) == counts(conflicting=1)
    assert [fields for _, fields in importing.conflicts] == [["comments"]]
    assert tables(url) == before


def test_nobody_is_added_for_a_comment_that_is_not_taken(importing: Importing, url: str) -> None:
    importing(file(said("One.", id=1)))
    psql(url, "DELETE FROM comments")
    psql(url, "DELETE FROM users WHERE username = 'bo'")
    assert importing(file(said("One.", id=1))) == counts(unchanged=1)
    assert psql(url, "SELECT username FROM users") == [("ana",)]
