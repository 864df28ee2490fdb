"""Tasks as Taskwarrior imports them, back again, and through the real program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from commands import TIMEOUT
from format_tasks import IMPORTER, all_exported, exported
from hypothesis import given, settings
from hypothesis import strategies as st
from taskwarrior_files import (
    OLD,
    ONE,
    STAMP,
    THREE,
    TWO,
    back,
    dumped,
    entry,
    parse,
    parse_entry,
    tasks,
)

from concord.formats import taskwarrior
from concord.models import Comment, ExportedTask, ImportedComment, ImportedTask
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Writing


def test_what_taskwarrior_has_no_field_for_comes_back() -> None:
    task = ExportedTask(
        id=5,
        uid=UUID(ONE),
        project="API",
        title="Do it",
        description="How.\n\nAnd why.",
        status="in_progress",
        priority="urgent",
        due=None,
        tags=("a", "b"),
        assignees=("ana", "bo"),
        owner="ana",
        external_ref="API-1",
        parent=6,
        version=3,
        created_at=OLD,
        updated_at=OLD,
        completed_at=None,
        deleted_at=None,
        started_at=OLD,
        auto_close=True,
        recurrence="every mon,wed",
        recurrence_zone="Europe/Berlin",
        blocked_by=(6, 7),
        comments=(
            Comment(1, 5, "bo", "first", None, OLD),
            Comment(2, 5, "ana", "second", None, OLD + timedelta(hours=1)),
        ),
    )
    parent = replace(task, id=6, uid=UUID(TWO), parent=None, blocked_by=(), comments=())
    records = dumped([task, parent])
    assert records[0] == {
        "uuid": ONE,
        "status": "pending",
        "description": "Do it",
        "entry": STAMP,
        "modified": STAMP,
        "start": STAMP,
        "project": "API",
        "priority": "H",
        "tags": ["a", "b"],
        "annotations": [
            {"entry": STAMP, "description": "first"},
            {"entry": "20260101T010000Z", "description": "second"},
        ],
        "depends": [TWO],
        "concord_priority": "urgent",
        "concord_owner": "ana",
        "concord_assignees": "ana,bo",
        "concord_authors": "bo,ana",
        "concord_parent": TWO,
        "concord_auto_close": "true",
        "concord_description": "How.\n\nAnd why.",
        "concord_recurrence": "every mon,wed",
        "concord_recurrence_zone": "Europe/Berlin",
    }
    row, _ = tasks(parse(json.dumps(records)))
    assert row == ImportedTask(
        ref=ONE,
        line=1,
        parent=TWO,
        blocked_by=(TWO,),
        comments=(
            ImportedComment("first", "bo", OLD),
            ImportedComment("second", "ana", OLD + timedelta(hours=1)),
        ),
        **{
            name: getattr(task, name)
            for name in (
                *("title", "description", "status", "priority", "tags", "assignees", "owner"),
                *("project", "created_at", "updated_at", "started_at", "auto_close"),
                *("recurrence", "recurrence_zone"),
            )
        },
    )


def test_what_was_changed_in_taskwarrior_since_counts() -> None:
    row = parse_entry(priority="L", concord_priority="urgent", concord_owner="ana")
    assert row.priority == "low"
    said = [{"entry": STAMP, "description": word} for word in ("one", "two", "three")]
    row = parse_entry(annotations=said, concord_authors="bo,cy", concord_owner="ana")
    assert [comment.author for comment in row.comments] == ["ana"] * 3


def test_what_was_changed_here_since_counts() -> None:
    waiting = parse_entry(status="waiting", wait=STAMP, project="home.garden", tags=["b", "a"])
    changed = back(waiting, status="completed", completed_at=OLD, project="WORK", tags=("c",))
    assert changed["status"] == "completed"
    assert (changed["end"], changed["wait"]) == (STAMP, STAMP)
    assert (changed["project"], changed["tags"]) == ("WORK", ["c"])
    template = parse_entry(status="recurring", due=STAMP, recur="weekly", mask="-")
    assert back(template, recurrence="every 3d")["recur"] == "3d"
    after = back(template, recurrence="after 3d")
    assert after["concord_recurrence"] == "after 3d"
    assert (after["status"], "recur" in after) == ("pending", False)


def test_a_project_that_a_rule_has_moved_keeps_its_name_there() -> None:
    row = parse_entry("project:home=WORK", project="home")
    assert row.project == "WORK"
    assert back(row)["project"] == "home"
    assert back(row, project="HOME")["project"] == "HOME"


def test_tasks_of_one_uuid_in_two_projects_are_two() -> None:
    row = parse_entry(size=1)
    first, second = (exported(row, number, taskwarrior.NAME) for number in (1, 2))
    assert [record["uuid"] for record in dumped([first, second])] == [ONE, str(UUID(int=2))]


def test_a_canonical_file_is_given_back() -> None:
    records = [
        entry(concord_owner=IMPORTER, entry=STAMP, modified=STAMP, size=1.5, note="x"),
        entry(
            uuid=TWO,
            status="waiting",
            entry=STAMP,
            modified=STAMP,
            wait="20300101T000000Z",
            concord_owner=IMPORTER,
            depends=[ONE],
            project="a.b",
            tags=["x"],
        ),
        entry(
            uuid=THREE,
            status="deleted",
            entry=STAMP,
            modified=STAMP,
            end=STAMP,
            recur="2wks",
            due=STAMP,
            concord_owner=IMPORTER,
            annotations=[{"entry": STAMP, "description": "n"}],
        ),
    ]
    rows = tasks(parse(json.dumps(records)))
    assert dumped(all_exported(rows, taskwarrior.NAME)) == records


# Any task at all

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cs"]),
    max_size=20,
)
TITLES = TEXT.map(str.strip).filter(bool)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("me", "none")
)
MOMENTS = st.integers(0, 250_000_000_000).map(
    lambda second: datetime(2, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
)
RULES = st.sampled_from([None, "every 2w", "after 3d", "every mon,fri", "every 1y"])


@st.composite
def stored(draw: st.DrawFn, number: int) -> ExportedTask:
    status = draw(st.sampled_from(STATUSES))
    moment = draw(MOMENTS)
    rule = draw(RULES)
    bodies = draw(st.lists(TITLES, max_size=3, unique=True))
    return ExportedTask(
        id=number,
        uid=UUID(int=number),
        project=draw(st.sampled_from([None, "API", "HOME-GARDEN"])),
        title=draw(TITLES),
        description=draw(st.none() | TITLES),
        status=status,
        priority=draw(st.sampled_from(PRIORITIES)),
        due=draw(st.none() | MOMENTS),
        tags=tuple(sorted(draw(st.sets(NAMES, max_size=3)))),
        assignees=tuple(sorted(draw(st.sets(NAMES, max_size=2)))),
        owner=draw(NAMES),
        external_ref=None,
        parent=draw(st.sampled_from([None, 1, 2])),
        version=1,
        created_at=moment,
        updated_at=moment,
        completed_at=moment if status == "completed" else None,
        deleted_at=None,
        started_at=moment if status == "in_progress" else None,
        canceled_at=moment if status == "canceled" else None,
        auto_close=draw(st.booleans()),
        recurrence=rule,
        recurrence_zone="UTC" if rule else None,
        blocked_by=tuple(sorted(draw(st.sets(st.integers(1, 3), max_size=2)))),
        comments=tuple(
            Comment(index, number, draw(NAMES), body, None, moment)
            for index, body in enumerate(bodies)
        ),
    )


SAME = (
    *("title", "description", "status", "priority", "due", "tags", "assignees", "owner"),
    *("created_at", "updated_at", "completed_at", "started_at", "canceled_at", "auto_close"),
    *("project", "recurrence", "recurrence_zone"),
)


@settings(max_examples=50)
@given(st.tuples(stored(1), stored(2)))
def test_any_task_comes_back(pair: Sequence[ExportedTask]) -> None:
    for row, task in zip(tasks(parse("\n".join(taskwarrior.dump(pair)))), pair, strict=True):
        assert {name: getattr(row, name) for name in SAME} == {
            name: getattr(task, name) for name in SAME
        }
        known = {each.id: str(each.uid) for each in pair}
        assert row.parent == known.get(task.parent or 0)
        assert row.blocked_by == tuple(known[each] for each in task.blocked_by if each in known)
        assert [(each.author, each.body) for each in row.comments] == [
            (each.author, each.body) for each in task.comments
        ]
        assert row.extra == {}


# The program itself


class Taskwarrior:
    """Taskwarrior with data of its own."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self._settings = home / "taskrc"
        self._settings.write_text(
            f"data.location={home}\nconfirmation=no\nverbose=nothing\nhooks=off\n"
            "uda.estimate.type=numeric\nuda.size.type=string\n"
        )

    def __call__(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["task", f"rc:{self._settings}", *words],
            input=stdin,
            env=os.environ | {"TZ": "UTC"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def export(self) -> dict[str, dict[str, Any]]:
        """Return all tasks by uuid, without what is worked out anew for each export."""
        records: list[dict[str, Any]] = json.loads(self("rc.recurrence=no", "export"))
        derived = ("id", "urgency", "concord_owner")
        return {
            record["uuid"]: {name: record[name] for name in record if name not in derived}
            for record in records
        }


@pytest.mark.skipif(shutil.which("task") is None, reason="Taskwarrior is not installed")
def test_the_real_program_takes_its_own_tasks_back(tmp_path: Path) -> None:
    before, after = Taskwarrior(tmp_path / "before"), Taskwarrior(tmp_path / "after")
    before("add", "Buy milk 🥛 for Zoë", "project:home.garden", "+shop", "+Food", "priority:H")
    before("1", "annotate", 'first: with, "stuff" \\ [here]')
    before("add", "Pay rent", "due:2030-01-01", "recur:monthly", "until:2035-01-01")
    before("add", "Wait", "wait:2035-01-01", "scheduled:2035-01-02", "estimate:3.5", "size:big")
    before("add", "Last", "depends:1,3")
    before("1", "start")
    before("add", "Gone")
    before("5", "delete")
    before("add", "Ready")
    before("6", "done")
    before("list")  # makes the instance of what recurs
    rows = tasks(parse(before("rc.recurrence=no", "export")))
    assert sorted(row.status for row in rows) == [
        *("canceled", "completed", "in_progress", "todo", "todo", "todo", "todo")
    ]
    after("import", "-", stdin="\n".join(taskwarrior.dump(all_exported(rows, taskwarrior.NAME))))
    assert after.export() == before.export()


@pytest.mark.skipif(shutil.which("task") is None, reason="Taskwarrior is not installed")
def test_the_real_program_keeps_what_it_has_no_field_for(tmp_path: Path) -> None:
    full = replace(
        exported(parse_entry(status="pending", start=STAMP, tags=["a"]), 1, taskwarrior.NAME),
        description='First line\n\n\tSecond "line" \\ [1] Zoë שלום',
        priority="urgent",
        assignees=("ana", "bo"),
        recurrence="after 3d",
        recurrence_zone="Europe/Berlin",
        auto_close=True,
        comments=(Comment(1, 1, "bo", "seen\nand done", None, OLD),),
    )
    part = replace(full, id=2, external_ref=TWO, parent=1, blocked_by=(1,), recurrence=None)
    lines = list(taskwarrior.dump([full, part]))
    program = Taskwarrior(tmp_path / "data")
    program("import", "-", stdin="\n".join(lines))
    known = {row.ref: row for row in tasks(parse("\n".join(lines)))}
    for row in tasks(parse(program("export"))):
        assert replace(row, extra={}, line=known[row.ref].line) == known.pop(row.ref)
    assert known == {}
