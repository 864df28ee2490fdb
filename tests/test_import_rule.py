"""The one rule of import, for any sequence of file versions and local edits.

What was changed here since the file last told of it is never overwritten; what changed in the
file alone arrives; where both changed, differently, the task is left alone and reported.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from audit import check_history
from conftest import settings_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concord.database import Database
from concord.models import ImportedTask
from concord.sql import assignments, imports, listing, tags, tasks, users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

    from concord.models import Task


Fields = dict[str, Any]


class Edit(NamedTuple):
    """What somebody here does to a task."""

    ref: str
    name: str
    value: Any


VALUES: dict[str, Any] = {
    "title": st.sampled_from(["one", "two", "three"]),
    "description": st.sampled_from([None, "", "text"]),
    "status": st.sampled_from(["todo", "completed", "canceled"]),
    "priority": st.sampled_from(["none", "high"]),
    "tags": st.sets(st.sampled_from(["x", "y"])).map(sorted).map(tuple),
    "assignees": st.sets(st.sampled_from(["ana", "bo"])).map(sorted).map(tuple),
}
REFS = ("T001", "T002")
FILES = st.dictionaries(st.sampled_from(REFS), st.fixed_dictionaries(VALUES), min_size=1)
EDITS = st.sampled_from(list(VALUES)).flatmap(
    lambda name: st.builds(Edit, st.sampled_from(REFS), st.just(name), VALUES[name])
)
HISTORIES: st.SearchStrategy[list[Any]] = st.lists(st.one_of(FILES, EDITS), min_size=2, max_size=8)

_projects = count(1)


@pytest.fixture(scope="module")
def database(server: Server, template: str) -> Iterator[Database]:
    """One database for all examples: each works in a project of its own."""
    with (
        server.janitor("import_rule", template) as janitor,
        Database(settings_for(server.url(janitor.dbname)), "test") as made,
    ):
        made.run(users.add, "bo")
        yield made
        check_history(server.url(janitor.dbname))


def found(database: Database, project: str) -> dict[str, Task]:
    tasks_there = database.run(listing.page, listing.Filters(projects=[project])).items
    return {task.external_ref or "": task for task in tasks_there}


def fields_of(task: Task) -> Fields:
    return {name: getattr(task, name) for name in VALUES}


def edit(database: Database, task: Task, name: str, value: Any) -> None:
    """Change a field as somebody would do it with the command line."""
    gone = sorted(set(getattr(task, name) or ()) - set(value or ()))
    match name:
        case "tags":
            database.run(tags.tag, [task.id], value)
            if gone:
                database.run(tags.untag, [task.id], gone)
        case "assignees":
            database.run(assignments.assign, [task.id], value)
            if gone:
                database.run(assignments.unassign, [task.id], gone)
        case _:
            database.run(tasks.edit, [task.id], {name: value})


def merged(ours: Fields, theirs: Fields, told: Fields) -> tuple[Fields, list[str]]:
    """Return what the rule makes of a task: its fields, and those that clash."""
    differ = {name for name in VALUES if ours[name] != theirs[name]}
    here = {name for name in differ if ours[name] != told[name]}
    there = {name for name in differ if theirs[name] != told[name]}
    if here & there:
        return ours, sorted(here & there)
    return ours | {name: theirs[name] for name in there}, []


@given(HISTORIES)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_the_rule_holds(database: Database, history: list[Any]) -> None:
    project = f"P{next(_projects)}"
    told: dict[str, Fields] = {}
    for step in history:
        before = found(database, project) if told else {}
        if isinstance(step, Edit):
            if step.ref in before:
                edit(database, before[step.ref], step.name, step.value)
            continue
        rows = [
            ImportedTask(ref=ref, line=line, **fields)
            for line, (ref, fields) in enumerate(step.items(), 1)
        ]
        report = database.run(imports.run, rows, format_name="beads", project=project)
        after = found(database, project)
        clashes: dict[str, list[str]] = {}
        for ref, theirs in step.items():
            ours = fields_of(before[ref]) if ref in before else theirs
            expected, clashing = merged(ours, theirs, told.get(ref) or theirs)
            assert fields_of(after[ref]) == expected
            if clashing:
                clashes[ref] = clashing
            else:
                told[ref] = theirs
        assert {clash.ref: list(clash.fields) for clash in report.conflicts} == clashes
        untouched = before.keys() - step.keys()
        assert {ref: after[ref] for ref in untouched} == {ref: before[ref] for ref in untouched}
        same = {ref for ref in before if fields_of(before[ref]) == fields_of(after[ref])}
        assert {ref: after[ref] for ref in same} == {ref: before[ref] for ref in same}
