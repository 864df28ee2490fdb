"""Imports bring dependencies and hierarchy, and merge them link by link."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from audit import check_history, tables
from commands import Here
from importing import Importing, counts, found, ids
from made_up_files import FORMATS, Told
from workers import psql

from concord.sql import comments, links, listing, projects, tasks

if TYPE_CHECKING:
    from pathlib import Path

    from concord.database import Database

CHAIN = [Told(1), Told(2, blocked_by=(1,)), Told(3, blocked_by=(1, 2))]
"""Each waits for all before it."""

SPEC = """\
## Phase 1: Setup

**Goal**: A place to work.

- [x] T001 Create the project
- [x] T002 Choose a linter

## Phase 2: User Story 1

- [ ] T003 [US1] Model
- [ ] T004 [US1] Service

## Phase 3: User Story 2

- [ ] T005 [P] [US2] Search
"""

EPIC = [
    {"id": "bd-1", "title": "Epic", "issue_type": "epic"},
    {
        "id": "bd-2",
        "title": "Part",
        "dependencies": [{"issue_id": "bd-2", "depends_on_id": "bd-1", "type": "parent-child"}],
        "comments": [
            {"id": 7, "author": "bo", "text": "Mine.", "created_at": "2026-01-02T03:04:05Z"}
        ],
    },
    {
        "id": "bd-3",
        "title": "Next",
        "dependencies": [
            {"issue_id": "bd-3", "depends_on_id": "bd-2", "type": "blocks"},
            {"issue_id": "bd-3", "depends_on_id": "bd-1", "type": "related"},
        ],
    },
]
"""What beads tells of three issues."""


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


def beads(*issues: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, issues))


def blocked_by(database: Database) -> list[tuple[int, ...]]:
    """Return what each task waits for, by the places of the tasks."""
    tasks = found(database)
    places = {task.id: place for place, task in enumerate(tasks, 1)}
    return [tuple(sorted(places[other] for other in task.blocked_by)) for task in tasks]


def shape(database: Database) -> dict[str, tuple[Any, ...]]:
    """Return what is known of each task's place among the others, by its reference."""
    tasks = {task.id: task for task in found(database)}
    refs = {task.id: str(task.external_ref) for task in tasks.values()}
    return {
        refs[task.id]: (
            refs.get(task.parent or 0),
            {refs[other] for other in task.blocked_by},
            task.auto_close,
            task.status,
        )
        for task in tasks.values()
    }


# What a file brings


def test_links_come_with_their_tasks(each_format: Importing, database: Database, url: str) -> None:
    assert each_format(CHAIN) == counts(created=3)
    assert blocked_by(database) == [(), (1,), (1, 2)]
    assert [task.version for task in found(database)] == [1, 1, 1]
    before = tables(url)
    assert each_format(CHAIN) == counts(unchanged=3)
    assert tables(url) == before
    assert check_history(url) == 3


def test_a_task_may_wait_for_one_that_comes_later_in_the_file(
    each_format: Importing, database: Database
) -> None:
    each_format([Told(1, blocked_by=(2,)), Told(2)])
    assert blocked_by(database) == [(2,), ()]


def test_phases_are_parents_that_close_with_their_parts(
    importing: Importing, database: Database
) -> None:
    assert importing(SPEC) == counts(created=8)
    assert shape(database) == {
        "Phase 1": (None, set(), True, "completed"),
        "T001": ("Phase 1", set(), False, "completed"),
        "T002": ("Phase 1", {"T001"}, False, "completed"),
        "Phase 2": (None, {"Phase 1"}, True, "todo"),
        "T003": ("Phase 2", set(), False, "todo"),
        "T004": ("Phase 2", {"T003"}, False, "todo"),
        "Phase 3": (None, {"Phase 1"}, True, "todo"),
        "T005": ("Phase 3", set(), False, "todo"),
    }
    ready = database.run(listing.page, listing.Filters(ready=True)).items
    assert [task.external_ref for task in ready] == ["T003", "T005"]
    (story,) = [task for task in found(database) if task.external_ref == "T005"]
    database.run(tasks.set_status, [story.id], "completed")
    assert shape(database)["Phase 3"][3] == "completed"
    assert importing(SPEC) == counts(unchanged=8), "closed here, and not told otherwise"


def test_a_file_closes_a_phase_and_opens_it_again(importing: Importing, database: Database) -> None:
    importing(SPEC)
    assert importing(SPEC.replace("[ ] T005", "[x] T005")) == counts(updated=2, unchanged=6)
    assert shape(database)["Phase 3"][3] == "completed"
    assert importing(SPEC) == counts(updated=2, unchanged=6)
    assert shape(database)["Phase 3"][3] == "todo"


def test_beads_brings_parents_blockers_and_comments(
    importing: Importing, database: Database
) -> None:
    importing.name = "beads"
    assert importing(beads(*EPIC)) == counts(created=3)
    assert importing.unlinked == []
    assert shape(database) == {
        "bd-1": (None, set(), False, "todo"),
        "bd-2": ("bd-1", set(), False, "todo"),
        "bd-3": (None, {"bd-2"}, False, "todo"),
    }
    epic, part, following = database.run(comments.show, ids(database))
    assert (epic.comments, following.comments) == ((), ())
    (comment,) = part.comments
    assert (comment.author, comment.body, comment.external_ref) == ("bo", "Mine.", "7")
    assert f"{comment.created_at:%Y-%m-%d %H:%M}" == "2026-01-02 03:04"
    assert following.description == "## Dependencies\n\n- related bd-1"


# From one import to the next


def test_an_import_of_an_older_concord_gains_links_phases_and_comments(
    importing: Importing, database: Database, url: str
) -> None:
    beads_file = beads(*EPIC)
    importing(SPEC)
    importing.name = "beads"
    importing(beads_file, "--project", "BD")
    expected = shape(database)
    told = {task.external_ref: task.comments for task in database.run(comments.show, ids(database))}
    # What such an import left: nothing of all this, and no word of it in what it remembers.
    psql(url, "DELETE FROM links")
    psql(url, "DELETE FROM comments")
    psql(url, "UPDATE tasks SET parent_id = NULL")
    psql(url, "DELETE FROM tasks WHERE external_ref LIKE 'Phase%%'", *())
    keys = "{parent,auto_close,recurrence,blocked_by,comments}"
    psql(url, "UPDATE import_bases SET fields = fields - %s::text[]", keys)
    assert importing(beads_file, "--project", "BD") == counts(updated=2, unchanged=1)
    importing.name = "spec-kit"
    assert importing(SPEC) == counts(created=3, updated=5)
    assert shape(database) == expected
    again = {
        task.external_ref: task.comments for task in database.run(comments.show, ids(database))
    }
    assert [c.body for c in again["bd-2"]] == [c.body for c in told["bd-2"]] == ["Mine."]
    before = tables(url)
    assert importing(SPEC) == counts(unchanged=8)
    assert tables(url) == before


def test_a_link_that_was_removed_here_stays_removed(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format(CHAIN)
    first, _, third = ids(database)
    database.run(links.unblock, [third], [first])
    before = tables(url)
    assert each_format(CHAIN) == counts(unchanged=3)
    assert tables(url) == before
    later = [*CHAIN[:2], replace(CHAIN[2], title="Later")]
    assert each_format(later) == counts(updated=1, unchanged=2)
    assert blocked_by(database) == [(), (1,), (2,)]


def test_links_are_added_and_removed_one_by_one(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format([*CHAIN, Told(4)])
    ours = ids(database)
    database.run(links.block, [ours[3]], [ours[0]])
    assert blocked_by(database) == [(), (1,), (1, 2), (1,)]
    there = [
        Told(1),
        Told(2),
        Told(3, blocked_by=(2,)),
        Told(4, blocked_by=(3,)),
    ]
    assert each_format(there) == counts(updated=3, unchanged=1)
    assert blocked_by(database) == [(), (), (2,), (1, 3)], "the one from here is still there"
    assert [task.version for task in found(database)] == [1, 2, 2, 3]
    assert check_history(url) == 4


def test_a_link_that_both_sides_have_added_is_no_change(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format([Told(1), Told(2)])
    first, second = ids(database)
    database.run(links.block, [second], [first])
    later = [Told(1), Told(2, blocked_by=(1,))]
    report = each_format(later)
    assert report["conflicting"] == 0
    assert blocked_by(database) == [(), (1,)]
    assert each_format([Told(1), Told(2)])["conflicting"] == 0
    assert blocked_by(database) == [(), ()], "from now on both had it"
    assert check_history(url) == 2


def test_a_parent_is_merged_like_a_field(importing: Importing, database: Database) -> None:
    importing.name = "beads"

    def file(parent: str | None) -> str:
        depends = [{"depends_on_id": parent, "type": "parent-child"}] if parent else []
        part = {"id": "bd-3", "title": "Part", "dependencies": depends}
        return beads({"id": "bd-1", "title": "a"}, {"id": "bd-2", "title": "b"}, part)

    importing(file("bd-1"))
    first, second, part = ids(database)

    def parent() -> int | None:
        return found(database)[2].parent

    assert parent() == first
    assert importing(file("bd-2")) == counts(updated=1, unchanged=2)
    assert parent() == second
    database.run(tasks.edit, [part], {"parent": None})
    assert importing(file("bd-2")) == counts(unchanged=3), "removed here"
    assert parent() is None
    assert importing(file("bd-1")) == counts(conflicting=1, unchanged=2)
    assert importing.conflicts == [(part, ["parent"])]
    assert importing(file(None)) == counts(unchanged=3), "removed on both sides"
    assert importing(file("bd-1")) == counts(updated=1, unchanged=2)
    assert parent() == first


def test_a_conflict_holds_up_the_links_of_its_task_alone(
    each_format: Importing, database: Database
) -> None:
    each_format([Told(1), Told(2), Told(3)])
    database.run(tasks.edit, ids(database)[1:2], {"title": "Ours"})
    there = [Told(1), Told(2, title="Theirs", blocked_by=(1,)), Told(3, blocked_by=(2,))]
    assert each_format(there) == counts(conflicting=1, updated=1, unchanged=1)
    assert blocked_by(database) == [(), (), (2,)]


# Who is not in the file


@pytest.mark.parametrize("name", ["spec-kit", "beads"])
def test_a_task_that_nobody_knows_is_told_and_left_out_until_it_comes(
    name: str, importing: Importing, database: Database
) -> None:
    importing.name = name
    one, other = ("T001", "T009") if name == "spec-kit" else ("bd-1", "bd-9")
    for _ in range(2):
        importing([Told(1, blocked_by=(9,))])
        assert importing.unlinked == [(one, "blocked_by", other, "neither in the file nor here")]
    assert blocked_by(database) == [()]
    importing([Told(9)])
    assert importing([Told(1, blocked_by=(9,))])["updated"] == 1, "known from an earlier file"
    assert importing.unlinked == []
    assert blocked_by(database) == [(2,), ()]


def test_what_is_left_out_is_told_on_stderr(importing: Importing, database: Database) -> None:
    file = beads({**EPIC[1], "title": "Part"})
    (importing.here.home / "file").write_text(file)
    result = importing.here("import", "beads", "file", "--project", "API")
    assert "bd-2 is part of bd-1: left out, neither in the file nor here\n" in result.err
    (task,) = found(database)
    assert task.description == "## Dependencies\n\n- parent-child bd-1"


def test_concords_own_format_tells_of_ids_that_are_not_in_the_file(
    importing: Importing, database: Database
) -> None:
    importing.name = "jsonl"
    importing([Told(1), Told(2, blocked_by=(1,))])
    (line,) = FORMATS["jsonl"]([Told(2, blocked_by=(1,))]).splitlines()
    assert importing(json.dumps(json.loads(line) | {"parent": 9})) == counts(unchanged=1)
    assert importing.unlinked == [
        ("2", "blocked_by", "1", "not in the file"),
        ("2", "parent", "9", "not in the file"),
    ]
    assert blocked_by(database) == [(), (1,)], "what the file cannot tell stays"


# Circles


def test_a_file_whose_tasks_wait_for_one_another_is_refused(
    importing: Importing, database: Database, url: str
) -> None:
    before = tables(url)
    circle = [Told(1, blocked_by=(3,)), Told(2, blocked_by=(1,)), Told(3, blocked_by=(2,))]
    for name, refs in (("spec-kit", ["T001", "T002", "T003"]), ("jsonl", ["1", "2", "3"])):
        importing.name = name
        for options in ([], ["--dry-run"]):
            error = importing(circle, *options, code=1)
            assert error["code"] == "refused"
            assert sorted(error["details"]["refs"]) == refs
            assert all(f"{ref} → " in error["message"] for ref in refs)
    assert tables(url) == before


@pytest.mark.parametrize(
    "links",
    [
        [{"parent": 2}, {"parent": 1}],
        [{"parent": 2}, {"blocked_by": [1]}],
        [{"parent": 2, "blocked_by": [2]}, {}],
        [{"parent": 2}, {"parent": 3}, {"parent": 1}],
    ],
)
def test_concords_own_format_refuses_circles_of_parents(
    links: list[dict[str, Any]], importing: Importing, url: str
) -> None:
    importing.name = "jsonl"
    lines = FORMATS["jsonl"](Told(number) for number in range(1, len(links) + 1)).splitlines()
    before = tables(url)
    told = "\n".join(
        json.dumps(json.loads(line) | link) for line, link in zip(lines, links, strict=True)
    )
    error = importing(told, code=1)
    assert error["code"] == "refused"
    assert tables(url) == before


def test_beads_leaves_out_the_links_that_close_circles(
    importing: Importing, database: Database
) -> None:
    importing.name = "beads"
    circle = [
        Told(1, blocked_by=(2,)),
        Told(2, blocked_by=(1, 3)),
        Told(3, blocked_by=(3,)),
    ]
    assert importing(circle) == counts(created=3)
    assert importing.unlinked == [
        ("bd-2", "blocked_by", "bd-1", "would close a circle: bd-1 → bd-2 → bd-1"),
        ("bd-3", "blocked_by", "bd-3", "would close a circle: bd-3 → bd-3"),
    ]
    assert blocked_by(database) == [(2,), (3,), ()]
    assert found(database)[1].description == "As agreed.\n\n## Dependencies\n\n- blocks bd-1"
    assert importing(circle) == counts(unchanged=3)


def test_a_circle_with_what_was_linked_here_is_refused_by_the_names_of_the_file(
    each_format: Importing, database: Database, url: str
) -> None:
    each_format([Told(1), Told(2)])
    first, second = ids(database)
    mine = database.run(tasks.add, tasks.NewTask("Mine", blocked_by=[second])).id
    database.run(links.block, [first], [mine])
    before = tables(url)
    error = each_format([Told(1), Told(2, blocked_by=(1,))], code=1)
    assert error["code"] == "refused"
    assert f"task {mine}" in error["details"]["refs"]
    assert len(error["details"]["refs"]) == 3
    assert str(first) not in error["details"]["refs"] or each_format.name == "jsonl"
    assert tables(url) == before


# Limits


@pytest.mark.parametrize("working", [0, 1])
def test_an_import_that_would_break_a_limit_is_refused_whole(
    working: int, importing: Importing, database: Database, url: str
) -> None:
    importing.name = "beads"
    database.run(projects.add, "API")
    database.run(projects.edit, "API", {"wip_limit": 2})
    mine = [
        database.run(tasks.add, tasks.NewTask("Mine", project="API", status="in_progress")).id
        for _ in range(working)
    ]
    before = tables(url)
    issue = {"title": "x", "status": "in_progress"}
    over = [{"id": f"bd-{number}", **issue} for number in range(3 - working)]
    error = importing(beads(*over, {"id": "bd-9", "title": "to do"}), code=1)
    assert error["code"] == "refused"
    assert "API may have 2 in progress" in error["message"]
    assert (str(mine[0]) if mine else "none yet") in error["message"]
    assert tables(url) == before
    assert importing(beads(*over[:-1])) == counts(created=2 - working)
