"""Import merges: what changed in the file arrives, what was changed here is never overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history, tables
from commands import Here
from importing import Importing, counts, found, ids
from made_up_files import FORMATS, Told
from workers import psql

from concord.sql import assignments, projects, tags, tasks, users

if TYPE_CHECKING:
    from pathlib import Path

    from concord.database import Database
    from concord.models import Task

pytestmark = pytest.mark.crew

FIRST = [Told(number) for number in (1, 2, 3, 4)]
"""The file as it first was."""

THERE = [
    replace(FIRST[0], title="Theirs"),
    replace(FIRST[1], description="Theirs."),
    replace(FIRST[2], status="completed"),
    replace(FIRST[3], tags=("parallel",)),
]
"""The file later: of each task another field has changed."""


@pytest.fixture
def importing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Importing:
    """Imports spec-kit's files into this test's database, as `ana`."""
    return Importing(Here(url, tmp_path, monkeypatch, capsys))


@pytest.fixture(params=FORMATS)
def each_format(importing: Importing, request: pytest.FixtureRequest) -> Importing:
    """Imports files of each format in turn."""
    importing.name = request.param
    return importing


def told(task: Task) -> tuple[str, str | None, str, tuple[str, ...]]:
    """Return the fields that every format has; beads' own tags come with it."""
    return task.title, task.description, task.status, task.tags


def change_here(database: Database, value: str, status: Any, tag: str) -> None:
    """Change the fields that `THERE` changes, one of each task."""
    first, second, third, fourth = ids(database)
    database.run(tasks.edit, [first], {"title": value})
    database.run(tasks.edit, [second], {"description": f"{value}."})
    database.run(tasks.set_status, [third], status)
    database.run(tags.tag, [fourth], [tag])


def test_a_file_brings_each_task_once(each_format: Importing, url: str) -> None:
    assert each_format(FIRST) == counts(created=4)
    before = tables(url)
    assert each_format(FIRST) == counts(unchanged=4)
    assert tables(url) == before
    assert check_history(url) == 4


def test_what_changed_there_alone_arrives(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST)
    assert each_format(THERE) == counts(updated=4)
    first, second, third, fourth = found(database)
    assert told(first) == ("Theirs", "As agreed.", "todo", ())
    assert told(second) == ("First", "Theirs.", "todo", ())
    assert told(third) == ("First", "As agreed.", "completed", ())
    assert third.completed_at is not None
    assert told(fourth) == ("First", "As agreed.", "todo", ("parallel",))
    assert [task.version for task in found(database)] == [2, 2, 2, 2]
    assert each_format(FIRST) == counts(updated=4), "and back again"
    assert [told(task) for task in found(database)] == [("First", "As agreed.", "todo", ())] * 4
    assert check_history(url) == 4


def test_what_was_changed_here_alone_stays(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST)
    change_here(database, "Ours", "in_progress", "us1")
    before = tables(url)
    assert each_format(FIRST) == counts(unchanged=4)
    assert tables(url) == before


def test_what_changed_alike_on_both_sides_is_no_change(
    each_format: Importing, database: Database
) -> None:
    each_format(FIRST)
    change_here(database, "Theirs", "completed", "parallel")
    before = found(database)
    assert each_format(THERE) == counts(unchanged=4)
    assert found(database) == before
    assert each_format(FIRST) == counts(updated=4), "from now on both had the same"


def test_what_changed_differently_on_both_sides_is_reported_and_left_alone(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST)
    change_here(database, "Ours", "canceled", "us1")
    before = tables(url)
    for _ in range(2):
        assert each_format(THERE) == counts(conflicting=4)
        assert tables(url) == before
        fields = [["title"], ["description"], ["status"], ["tags"]]
        assert each_format.conflicts == list(zip(ids(database), fields, strict=True))


def test_different_fields_changed_on_the_two_sides_are_both_kept(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format([Told()])
    (task,) = ids(database)
    database.run(tasks.edit, [task], {"description": "Ours.", "priority": "high"})
    database.run(assignments.assign, [task], ["ana"])
    there = Told(title="Theirs", status="completed", tags=("us1",))
    assert each_format([there]) == counts(updated=1)
    (merged,) = found(database)
    assert told(merged) == ("Theirs", "Ours.", "completed", ("us1",))
    assert (merged.priority, merged.assignees) == ("high", ("ana",))
    assert each_format([there]) == counts(unchanged=1)
    assert each_format([replace(there, title="Again")]) == counts(updated=1)
    (merged,) = found(database)
    assert (merged.title, merged.description) == ("Again", "Ours.")
    assert check_history(url) == 1


def test_a_conflict_ends_when_both_sides_agree(each_format: Importing, database: Database) -> None:
    each_format([Told()])
    (task,) = ids(database)
    database.run(tasks.edit, [task], {"title": "Ours"})
    assert each_format([Told(title="Theirs")]) == counts(conflicting=1)
    database.run(tasks.edit, [task], {"title": "Theirs"})
    assert each_format([Told(title="Theirs")]) == counts(unchanged=1)
    assert each_format([Told(title="Next")]) == counts(updated=1)


def test_a_conflict_does_not_hold_up_the_other_tasks(
    each_format: Importing, database: Database
) -> None:
    each_format(FIRST[:2])
    database.run(tasks.edit, ids(database)[:1], {"title": "Ours"})
    report = each_format([*THERE[:2], Told(9)])
    assert report == counts(created=1, updated=1, conflicting=1)
    assert [task.title for task in found(database)] == ["Ours", "First", "First"]


def test_a_task_in_the_trash_is_not_brought_back(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST[:2])
    database.run(tasks.delete, ids(database))
    before = tables(url)
    assert each_format(FIRST[:2]) == counts(unchanged=2)
    assert each_format(THERE[:2]) == counts(conflicting=2)
    assert tables(url) == before
    assert found(database) == ()


def test_a_purged_task_that_the_file_still_tells_of_is_new(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format([Told(tags=("us1",))])
    purged = ids(database)
    database.run(tasks.delete, purged)
    database.run(tasks.purge, purged)
    assert each_format([Told(title="Later")]) == counts(created=1)
    (task,) = found(database)
    assert (task.title, task.version) == ("Later", 1)
    assert check_history(url) == 1


def test_a_task_that_was_moved_is_not_brought_twice(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST[:2])
    database.run(projects.add, "WEB")
    database.run(tasks.move, ids(database), "WEB")
    before = tables(url)
    assert each_format(FIRST[:2]) == counts(unchanged=2)
    assert tables(url) == before
    assert each_format(THERE[:2]) == counts(updated=2)
    assert [(task.project, task.title) for task in found(database)] == [
        ("WEB", "Theirs"),
        ("WEB", "First"),
    ]


def test_a_moved_task_is_not_overwritten_by_another_of_its_new_project(
    importing: Importing, database: Database, url: str
) -> None:
    importing([Told()])
    database.run(projects.add, "WEB")
    database.run(tasks.move, ids(database), "WEB")
    before = tables(url)
    assert importing([Told(title="Web's")], "--project", "WEB") == counts(conflicting=1)
    assert tables(url) == before


def test_the_same_reference_in_another_project_is_another_task(
    importing: Importing, database: Database
) -> None:
    importing([Told()])
    assert importing([Told()], "--project", "WEB") == counts(created=1)
    database.run(tasks.edit, [found(database, projects=["WEB"])[0].id], {"title": "Web"})
    assert importing([Told()]) == counts(unchanged=1)
    assert [(task.project, task.title) for task in found(database)] == [
        ("API", "First"),
        ("WEB", "Web"),
    ]


def test_what_one_format_told_is_no_news_from_another(
    importing: Importing, database: Database, url: str
) -> None:
    importing([Told()])
    (task,) = ids(database)
    database.run(tasks.edit, [task], {"title": "Ours", "priority": "high"})
    assert Importing(importing.here, "jsonl")(importing.export()) == counts(unchanged=1)
    before = check_history(url), tables(url)["tasks"]
    importing([Told()])
    assert (check_history(url), tables(url)["tasks"]) == before


def test_a_dry_run_writes_nothing_and_counts_right(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST)
    database.run(tasks.edit, ids(database)[:1], {"title": "Ours"})
    before = tables(url)
    later = [*THERE[:3], FIRST[3], Told(5, tags=("us1",)), Told(6)]
    would_be = each_format(later, "--dry-run")
    conflicts = each_format.conflicts
    assert would_be == counts(created=2, updated=2, unchanged=1, conflicting=1)
    assert tables(url) == before
    assert (each_format(later), each_format.conflicts) == (would_be, conflicts)


def test_a_dry_run_of_a_first_import_makes_no_project_tag_or_user(
    each_format: Importing, url: str
) -> None:
    before = tables(url)
    assert each_format(THERE, "--dry-run") == counts(created=4)
    assert tables(url) == before


def test_an_archived_project_takes_no_tasks(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(FIRST)
    database.run(projects.archive, "API")
    before = tables(url)
    for options in ([], ["--dry-run"]):
        error = each_format(THERE, *options, code=1)
        assert (error["code"], error["details"]["projects"]) == ("refused", ["API"])
    assert tables(url) == before


def test_a_project_is_the_same_in_any_case(each_format: Importing, database: Database) -> None:
    each_format(FIRST)
    assert each_format(FIRST, "--project", "api") == counts(unchanged=4)
    assert len(found(database, projects=["API"])) == 4


def test_tags_and_users_that_differ_in_case_only_are_the_same(
    importing: Importing, database: Database, url: str
) -> None:
    importing.name = "beads"
    database.run(tags.add, "Bug")
    database.run(users.add, "Bo")

    def line(number: int, label: str, person: str) -> str:
        issue = {"id": f"bd-{number}", "title": "First", "labels": [label, label.title()]}
        return json.dumps(issue | {"assignee": person, "created_by": person.upper()})

    file = "\n".join([line(1, "bug", "bo"), line(2, "BUG", "BO"), line(3, "new", "zoe")])
    assert importing(file) == counts(created=3)
    assert [(task.tags, task.assignees, task.owner) for task in found(database)] == [
        (("Bug",), ("Bo",), "Bo"),
        (("Bug",), ("Bo",), "Bo"),
        (("new",), ("ZOE",), "ZOE"),
    ]
    before = tables(url)
    assert importing(file.replace("bo", "bO").replace("zoe", "Zoe")) == counts(unchanged=3)
    assert tables(url) == before


def test_tags_and_assignees_are_merged_as_lists(importing: Importing, database: Database) -> None:
    importing.name = "beads"
    database.run(users.add, "bo")

    def file(labels: list[str], assignee: str | None) -> str:
        return json.dumps({"id": "x", "title": "First", "labels": labels, "assignee": assignee})

    importing(file(["one"], "ana"))
    (task,) = ids(database)
    database.run(tags.tag, [task], ["ours"])
    assert importing(file(["one"], "bo")) == counts(updated=1)
    (merged,) = found(database)
    assert (merged.tags, merged.assignees) == (("one", "ours"), ("bo",))
    assert importing(file(["two"], "bo")) == counts(conflicting=1)
    database.run(tags.untag, [task], ["ours"])
    assert importing(file(["two"], None)) == counts(updated=1)
    (merged,) = found(database)
    assert (merged.tags, merged.assignees) == (("two",), ())


@pytest.mark.parametrize("name", ["spec-kit", "beads"])
def test_a_title_that_is_too_long_is_cut_and_kept_in_the_description(
    name: str, importing: Importing, database: Database
) -> None:
    importing.name = name
    long = "word " * 60 + "end"
    assert importing([Told(title=long)]) == counts(created=1)
    (task,) = found(database)
    assert (len(task.title), task.title[-1]) == (255, "…")
    assert task.description == f"{long}\n\nAs agreed."
    assert importing([Told(title=long)]) == counts(unchanged=1)


@pytest.mark.parametrize("title", ["x" * 256, "two\nlines", " "])
def test_concords_own_format_names_the_line_of_a_title_that_is_none(
    title: str, importing: Importing, database: Database
) -> None:
    importing.name = "jsonl"
    error = importing([Told(1), Told(2, title=title)], code=2)
    assert [line["line"] for line in error["details"]["lines"]] == [2]
    assert found(database) == ()
    assert importing([Told(1), Told(2, title=title)], "--skip-bad") == counts(created=1, skipped=1)


def test_concords_own_format_brings_tasks_back_as_they_were(
    importing: Importing, database: Database, url: str
) -> None:
    importing.name = "jsonl"
    new = tasks.NewTask("Child", tags=["b", "a"], assignees=["me"], due=datetime.now(UTC))
    child, parent = (database.run(tasks.add, task).id for task in (new, tasks.NewTask("Parent")))
    database.run(tasks.set_status, [child], "completed")
    psql(url, "UPDATE tasks SET parent_id = %s WHERE id = %s", parent, child)
    exported = importing.export()
    database.run(tasks.delete, [child, parent])
    for task in (child, parent):
        database.run(tasks.purge, [task])
    assert importing(exported) == counts(created=2)
    # But for the project, which the import gives to those that have none.
    expected = exported.replace('"project":null', '"project":"API"')
    assert importing.export() == expected
    assert check_history(url) == 2


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"id": 7}, {"id": 7}, "id 7 was already on line 1"),
        ({}, {"uid": Told(1).uid}, f"uid {Told(1).uid} was already on line 1"),
        ({}, {"id": 2**63 - 1}, "id: not a whole number from 1 to 9007199254740992"),
        ({}, {"version": 2**40}, "version: not a whole number from 1 to 1073741824"),
    ],
)
def test_concords_own_format_names_the_line_of_a_number_that_cannot_be(
    first: dict[str, Any], second: dict[str, Any], reason: str, importing: Importing
) -> None:
    importing.name = "jsonl"
    lines = [json.loads(line) for line in FORMATS["jsonl"]([Told(1), Told(2)]).splitlines()]
    file = "\n".join([json.dumps(lines[0] | first), json.dumps(lines[1] | second)])
    error = importing(file, code=2)
    assert error["details"]["lines"] == [{"line": 2, "reason": reason}]
