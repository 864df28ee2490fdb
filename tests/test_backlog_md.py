"""Backlog.md: every field and section, hostile files, and directories as they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from backlog_files import FULL, backlog, dumped, parse, reason_of, row_of, task_file

from concord.formats import backlog_md
from concord.formats.words import Words
from concord.models import BadRow, ImportedComment, ImportedTask, SkippedRow

if TYPE_CHECKING:
    from pathlib import Path


# What a file means


def test_a_task_with_everything(tmp_path: Path) -> None:
    row = row_of(tmp_path, FULL)
    assert replace(row, extra={}) == ImportedTask(
        ref="TASK-2",
        title='Everything / all: "options" & more?',
        line=1,
        description="What it is.\n\n## Not a section\n- x\n\n"
        "## Acceptance Criteria\n<!-- AC:BEGIN -->\n- [x] #1 Works\n<!-- AC:END -->\n\n"
        "## Implementation Notes\n\n<!-- SECTION:NOTES:BEGIN -->\nSome 🙂 notes\n"
        "<!-- SECTION:NOTES:END -->\n\n## Final Summary\n\n"
        "<!-- SECTION:FINAL_SUMMARY:BEGIN -->\nDone well\n<!-- SECTION:FINAL_SUMMARY:END -->",
        status="in_progress",
        priority="high",
        due=datetime(2026, 2, 1, 23, 59, 59, tzinfo=UTC),
        tags=("bug", "front-end"),
        assignees=("ana", "bo"),
        owner="cy",
        created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        updated_at=datetime(2026, 1, 3, tzinfo=UTC),
        parent="TASK-1",
        blocked_by=("TASK-7", "TASK-1"),
        comments=(
            ImportedComment("Looks good", "ana", datetime(2026, 1, 2, 10, tzinfo=UTC)),
            ImportedComment("Second.\n\nTwo lines", None, datetime(2026, 1, 2, 11, tzinfo=UTC)),
        ),
    )
    assert row.extra["fields"]["ordinal"] == 1000
    assert "text" not in row.extra


@pytest.mark.parametrize(
    ("word", "status"),
    [("To Do", "todo"), ("in progress", "in_progress"), ("Done", "completed"), ("Draft", "todo")],
)
def test_status(tmp_path: Path, word: str, status: str) -> None:
    row = row_of(tmp_path, task_file(status=word, created_date="2026-01-02"))
    assert row.status == status
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert row.completed_at == (at if status == "completed" else None)


def test_the_project_s_own_statuses_are_in_its_configuration(tmp_path: Path) -> None:
    backlog(tmp_path, task_1=task_file(status="Shipped"), task_2=task_file(status="Inbox"),
            task_3=task_file(status="Doubtful"))  # fmt: skip
    config = tmp_path / "backlog" / "config.yml"
    config.write_text('default_status: "Inbox"\nstatuses: ["Inbox", "Doubtful", "Shipped"]\n')
    words = Words()
    rows = list(backlog_md.parse(tmp_path, words))
    assert [row.status for row in rows if isinstance(row, ImportedTask)] == [
        "completed", "todo", "todo",
    ]  # fmt: skip
    assert [word.word for word in words.unknown] == ["Doubtful"]
    config.write_text("statuses: [*x")
    assert len(parse(tmp_path)) == 3


@pytest.mark.parametrize(
    ("told", "ref"), [("task-012", "TASK-12"), ("7", "TASK-7"), ("Back-1.02", "BACK-1.2")]
)
def test_an_id_is_the_same_however_it_is_spelled(tmp_path: Path, told: str, ref: str) -> None:
    row = row_of(tmp_path, task_file(id=told, dependencies=f"[{told}]"))
    assert (row.ref, row.blocked_by) == (ref, (ref,))
    assert f"id: {told}\n" in dumped(row)[0]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("'2026-01-02 10:30'", datetime(2026, 1, 2, 10, 30, tzinfo=UTC)),
        ("2026-01-02T10:30", datetime(2026, 1, 2, 10, 30, tzinfo=UTC)),
        ("2026-01-02T10:30:00+02:00", datetime(2026, 1, 2, 8, 30, tzinfo=UTC)),
        ("02/01/26", datetime(2026, 1, 2, tzinfo=UTC)),
        ("02.01.26", datetime(2026, 1, 2, tzinfo=UTC)),
        ("''", None),
    ],
)
def test_dates(tmp_path: Path, told: str, expected: datetime | None) -> None:
    assert row_of(tmp_path, task_file(created_date=told)).created_at == expected


def test_sections_without_markers_are_read_too(tmp_path: Path) -> None:
    body = "\n## Description\n\nWhat.\n\n## Own\nx\n\n## Acceptance Criteria\n\n- [ ] Works\n"
    row = row_of(tmp_path, task_file(body=body))
    assert row.description == "What.\n\n## Own\nx\n\n## Acceptance Criteria\n\n- [ ] Works"
    assert dumped(row) == [task_file(body=body)]


def test_what_is_no_section_is_the_description(tmp_path: Path) -> None:
    assert row_of(tmp_path, task_file(body="Just\n\nwords\n")).description == "Just\n\nwords"


@pytest.mark.parametrize(
    "comments",
    [
        "what is this\n---\nx\n---\n",
        "created: 2026-01-02 10:00\n---\nno end\n",
        "created: 2026-01-02 10:00\n---\n---\n",
    ],
)
def test_comments_that_are_written_otherwise_stay_where_they_are(
    tmp_path: Path, comments: str
) -> None:
    body = f"\n## Comments\n\n<!-- COMMENTS:BEGIN -->\n{comments}<!-- COMMENTS:END -->\n"
    row = row_of(tmp_path, task_file(body=body))
    assert row.comments == ()
    assert row.description == body.strip("\n")


def test_comments_within_another_section_are_no_comments(tmp_path: Path) -> None:
    inner = "## Comments\n\n<!-- COMMENTS:BEGIN -->\n---\nx\n---\n<!-- COMMENTS:END -->"
    body = f"\n## Implementation Notes\n\n<!-- SECTION:NOTES:BEGIN -->\n{inner}\n"
    row = row_of(tmp_path, task_file(body=f"{body}<!-- SECTION:NOTES:END -->\n"))
    assert row.comments == ()


# Front matter


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("title: Foo: bar #1 'x'", "Foo: bar #1 'x'"),
        ("title: 12", "12"),
        ("title: yes", "yes"),
        ("title: true", "true"),
        ("title: 2026-01-01", "2026-01-01"),
        ("title: 007", "007"),
        ('title: "a\\tb \\u05e9"', "a b ש"),
        ("title: >-\n  folded\n  words", "folded words"),
        ("title: '- x'", "- x"),
    ],
)
def test_a_title_is_read_as_it_is_meant(tmp_path: Path, line: str, expected: str) -> None:
    row = row_of(tmp_path, f"---\nid: TASK-1\n{line}\nassignee: @ana\nstatus: To Do\n---\n")
    assert row.title == expected
    assert row.assignees == (("ana",) if "Foo" in line else row.assignees)


def test_people_and_lists_may_be_single_words(tmp_path: Path) -> None:
    row = row_of(tmp_path, task_file(assignee="@ana", labels="bug", dependencies="task-3"))
    assert (row.assignees, row.tags, row.blocked_by) == (("ana",), ("bug",), ("TASK-3",))
    row = row_of(tmp_path, task_file(assignee='[@ana, "b c"]', reporter="@x"))
    assert (row.assignees, row.owner) == (("ana", "b-c"), "x")


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("x: &a [1]\ny: [*a, *a]\n", "the front matter holds an alias (*…)"),
        ("x: !!python/object/apply:os.system [ls]\n", "the front matter holds a tag (tag:yaml.org"),
        ("x: !own y\n", "the front matter holds a tag (!own)"),
        ("title: again\n", "the front matter names a field twice, or by no text"),
        ("? [a]\n: b\n", "the front matter names a field twice, or by no text"),
        ("x: " + "[" * 5000 + "\n", "the front matter is nested too deeply"),
        ("x: [a\n", "the front matter is no YAML ("),
        ("x: '" + "y" * 70_000 + "'\n", "the front matter is longer than 65536 characters"),
        ("status: [a]\n", "the front matter names a field twice"),
        ("x: '\0'\n", "the file holds a NUL character"),
    ],
)
def test_a_front_matter_that_could_do_harm(tmp_path: Path, front: str, reason: str) -> None:
    told = reason_of(tmp_path, task_file(front))
    assert told.startswith(f"tasks/task-1 - x.md: {reason}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no front matter between two lines of ---"),
        ("# Just a note\n", "no front matter between two lines of ---"),
        ("---\nid: TASK-1\n", "no front matter between two lines of ---"),
        ("---\n---\n", "the front matter is no YAML"),
        ("---\n- a\n---\n", "the front matter has no fields"),
        ("---\na: b\n--- \nc\n", "no title"),
        (task_file(id="''"), "'' is no id of a task"),
        (task_file(id="../../x"), "'../../x' is no id of a task"),
        (task_file(title="''"), "no title"),
        (task_file(title="{a: b}"), "title is not a text"),
        (task_file(dependencies="[x y]"), "'x y' is no id of a task"),
        (task_file(labels="[[a]]"), "labels is not a text"),
        (task_file(assignee="['@']"), "'' holds nothing to make a name of"),
        (task_file(created_date="yesterday"), "created_date: 'yesterday' is no date"),
        (task_file(due_date="'0001-01-01T00:00+14:00'"), "due_date: '0001-01-01T00:00+14:00'"),
    ],
)
def test_a_file_that_cannot_be_taken(tmp_path: Path, content: str, reason: str) -> None:
    assert reason_of(tmp_path, content).startswith(f"tasks/task-1 - x.md: {reason}")


# Directories


def test_folders_and_ids_give_the_order_and_the_archive_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "backlog"
    for folder, name, ref in [
        ("tasks", "task-10 - b", "TASK-10"), ("tasks", "task-9.2 - c", "TASK-9.2"),
        ("tasks", "task-9 - a", "TASK-9"), ("completed", "task-1 - d", "TASK-1"),
        ("drafts", "draft-1 - e", "DRAFT-1"), ("archive/tasks", "task-2 - f", "TASK-2"),
    ]:  # fmt: skip
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}.md").write_text(task_file(id=ref))
    (root / "tasks" / "README.md").write_text("# About")
    (root / "tasks" / "task-3 - folder.md").mkdir()
    rows = parse(tmp_path)
    assert [row.ref for row in rows if isinstance(row, ImportedTask)] == [
        "TASK-9", "TASK-9.2", "TASK-10", "TASK-1", "DRAFT-1",
    ]  # fmt: skip
    assert rows[-1] == SkippedRow(6, "archive/tasks/task-2 - f.md is archived")
    assert parse(root) == rows
    assert [replace(row, extra={}) for row in parse(root / "tasks")] == [  # type: ignore[type-var]
        replace(row, extra={}) for row in rows[:3]  # type: ignore[type-var]
    ]  # fmt: skip


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    backlog(outside, task_1=task_file())
    project = backlog(tmp_path / "project", task_2=task_file(id="TASK-2"))
    tasks = project / "backlog" / "tasks"
    (tasks / "task-1 - x.md").symlink_to(outside / "backlog" / "tasks" / "task-1 - x.md")
    (project / "backlog" / "completed").symlink_to(outside / "backlog" / "tasks")
    link, row = parse(project)
    assert link == SkippedRow(1, "tasks/task-1 - x.md is a symbolic link")
    assert isinstance(row, ImportedTask)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "backlog").symlink_to(outside / "backlog")
    assert isinstance(parse(tmp_path / "other")[0], BadRow)


def test_a_directory_that_is_no_such_thing(tmp_path: Path) -> None:
    expected = BadRow(1, "expected a directory of Backlog.md: there are no tasks in it")
    assert parse(tmp_path) == parse(tmp_path / "missing") == [expected]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    assert row_of(tmp_path, task_file(title="Caffè").encode(encoding)).title == "Caffè"


def test_a_file_beyond_all_measure_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_md, "LIMIT", 100)
    assert reason_of(tmp_path, FULL) == "tasks/task-1 - x.md: the file is longer than 100 bytes"


def test_a_long_description_stays_as_it_is(tmp_path: Path) -> None:
    text = "long\n" * 2_000_000 + "end"
    assert row_of(tmp_path, task_file(body=f"\n## Description\n\n{text}\n")).description == text
