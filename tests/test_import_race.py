"""Imports beside other writers: nothing twice, nothing lost, nothing ended by a coincidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from audit import check_history
from conftest import finish
from made_up_files import FORMATS, Told
from workers import Workers

from concord.database import Database
from concord.errors import Refused
from concord.models import ImportedComment, ImportedTask
from concord.sql import assignments, imports, links, listing, projects, tags, tasks, users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CommandLine

    from concord.database import Record
    from concord.models import ImportReport, Task
    from concord.settings import Settings

pytestmark = pytest.mark.crew

API: dict[str, Any] = {"format_name": "beads", "project": "API"}
RETRIED = [("retry", "40001"), ("done", None)]


@pytest.fixture
def workers(url: str) -> Iterator[Workers]:
    with Workers(url) as made:
        yield made


def row(number: int = 1, title: str = "First", **fields: Any) -> ImportedTask:
    """Return a task that a file tells of."""
    return ImportedTask(ref=f"bd-{number}", title=title, line=number, **fields)


def own_row(number: int, **fields: Any) -> ImportedTask:
    """Return a task that a file in Concord's own format tells of."""
    return row(number, uid=UUID(int=number), project="API", owner="ana", **fields)


def bring(database: Database, *rows: ImportedTask, **options: Any) -> ImportReport:
    return database.run(imports.run, rows, **API | options)


def found(database: Database) -> tuple[Task, ...]:
    return database.run(listing.page, listing.Filters()).items


@pytest.mark.parametrize("name", FORMATS)
def test_two_imports_of_one_file_at_once_bring_each_task_once(
    name: str, concord: CommandLine, database: Database, url: str
) -> None:
    file = [Told(number, tags=("us1", "parallel")) for number in range(1, 101)]
    (concord.home / "file").write_text(FORMATS[name](file), encoding="utf-8")
    command = ("import", name, "file", "--project", "API", "--json")
    results = [finish(process) for process in [concord.start(*command) for _ in range(3)]]
    assert [result.code for result in results] == [0, 0, 0], results
    assert sum(result.json["created"] for result in results) == 100
    assert sum(result.json["unchanged"] for result in results) == 200
    assert len(found(database)) == check_history(url) == 100


@pytest.mark.parametrize("make", [row, own_row])
def test_an_import_waits_for_another_of_the_same_file_and_starts_again(
    make: Any, workers: Workers, database: Database
) -> None:
    rows = [make(1, tags=("new",), assignees=("zoe",)), make(2)]
    gate, first, second = workers.gate(), workers.worker(), workers.worker()
    one = first.run(gate.before_commit(imports.run), rows, **API)
    other = second.run(imports.run, rows, **API)
    assert second.waits_for(first)
    gate.open()
    assert one.result().created == 2
    assert other.result().unchanged == 2
    assert second.outcomes == RETRIED
    assert len(found(database)) == 2


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        pytest.param(tags.add, ["new"], id="tag"),
        pytest.param(users.add, ["zoe"], id="user"),
        pytest.param(projects.add, ["API"], id="project"),
    ],
)
def test_a_name_that_somebody_adds_at_the_same_time_does_not_end_an_import(
    operation: Any, arguments: list[str], workers: Workers, database: Database
) -> None:
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    adding = other.run(gate.before_commit(operation), *arguments)
    report = importer.run(imports.run, [row(tags=("New",), assignees=("Zoe",))], **API)
    assert importer.waits_for(other)
    gate.open()
    adding.result()
    assert report.result().created == 1
    assert importer.outcomes == RETRIED
    assert found(database)[0].project == "API"


def test_a_number_that_somebody_takes_at_the_same_time_does_not_end_an_import(
    workers: Workers, database: Database
) -> None:
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    adding = other.run(gate.before_commit(tasks.add), tasks.NewTask("Mine"))
    report = importer.run(imports.run, [own_row(1, id=1), own_row(2, id=7)], **API)
    assert importer.waits_for(other)
    gate.open()
    assert adding.result().id == 1
    assert report.result().created == 2
    assert importer.outcomes == RETRIED
    mine, numbered, other_number = found(database)
    assert (mine.id, numbered.id) == (1, 7)
    assert other_number.id > 7
    assert database.run(tasks.add, tasks.NewTask("Next")).id > other_number.id


def test_an_edit_that_commits_during_an_import_is_not_overwritten(
    workers: Workers, database: Database, url: str
) -> None:
    bring(database, row(1), row(2))
    gate, editor, importer = workers.gate(), workers.worker(), workers.worker()
    edit = editor.run(gate.before_commit(tasks.edit), [1], {"title": "Ours"})
    there = [row(1, title="Theirs"), row(2, title="Theirs")]
    report = importer.run(imports.run, there, **API)
    assert importer.waits_for(editor)
    gate.open()
    edit.result()
    assert (report.result().updated, report.result().conflicting) == (1, 1)
    assert importer.outcomes == RETRIED
    assert [task.title for task in found(database)] == ["Ours", "Theirs"]
    assert check_history(url) == 2


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        pytest.param(tags.tag, [["ours"]], id="tag"),
        pytest.param(assignments.assign, [["ana"]], id="assign"),
    ],
)
def test_a_list_that_changes_during_an_import_is_not_overwritten(
    operation: Any, arguments: list[Any], workers: Workers, database: Database
) -> None:
    bring(database, row())
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    change = other.run(gate.before_commit(operation), [1], *arguments)
    there = [row(tags=("theirs",), assignees=("zoe",))]
    report = importer.run(imports.run, there, **API)
    assert importer.waits_for(other)
    gate.open()
    change.result()
    assert report.result().conflicting == 1
    assert importer.outcomes == RETRIED
    (task,) = found(database)
    assert (task.tags, task.assignees) in {(("ours",), ()), ((), ("ana",))}


def test_a_task_that_is_purged_during_an_import_comes_back_new(
    workers: Workers, database: Database
) -> None:
    bring(database, row())
    database.run(tasks.delete, [1])
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    gone = other.run(gate.before_commit(tasks.purge), [1])
    # In the trash with the same values: only what the file said is to be noted.
    report = importer.run(imports.run, [row()], **API | {"format_name": "spec-kit"})
    assert importer.waits_for(other)
    gate.open()
    gone.result()
    assert report.result().created == 1
    assert importer.outcomes == RETRIED


def test_a_project_is_not_archived_under_an_import(workers: Workers, database: Database) -> None:
    database.run(projects.add, "API")
    gate, importer, other = workers.gate(), workers.worker(), workers.worker()
    report = importer.run(gate.before_commit(imports.run), [row()], **API)
    archived = other.run(projects.archive, "API")
    assert other.waits_for(importer)
    gate.open()
    assert report.result().created == 1
    assert archived.result().archived_at is not None


# A ring of four in which two links are missing, between tasks that have no row in common.
RING = [row(1), row(2, blocked_by=("bd-3",)), row(3), row(4, blocked_by=("bd-1",))]
CLOSER = [*RING[:2], row(3, blocked_by=("bd-4",)), RING[3]]


def test_an_import_and_a_command_that_each_add_half_of_a_circle_do_not_both_succeed(
    workers: Workers, database: Database, url: str
) -> None:
    bring(database, *RING)
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    linking = other.run(gate.before_commit(links.block), [1], [2])
    report = importer.run(imports.run, CLOSER, **API)
    assert importer.waits_for(other)
    gate.open()
    linking.result()
    with pytest.raises(Refused, match=r"(bd-\d → ){4}bd-\d$"):
        report.result()
    assert importer.outcomes == [("retry", "40001"), ("failed", None)]
    assert [task.blocked_by for task in found(database)] == [(2,), (3,), (), (1,)]
    assert check_history(url) == 4


def test_a_command_that_comes_while_an_import_links_sees_what_it_linked(
    workers: Workers, database: Database
) -> None:
    bring(database, *RING)
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    report = importer.run(gate.before_commit(imports.run), CLOSER, **API)
    linking = other.run(links.block, [1], [2])
    assert other.waits_for(importer)
    gate.open()
    assert report.result().updated == 1
    with pytest.raises(Refused):
        linking.result()
    assert [task.blocked_by for task in found(database)] == [(), (3,), (4,), (1,)]


def test_an_import_that_links_nothing_new_waits_for_nobody_who_links(
    workers: Workers, database: Database
) -> None:
    there = [row(1), row(2, blocked_by=("bd-1",)), row(3)]
    bring(database, *there)
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    linking = other.run(gate.before_commit(links.block), [3], [2])
    report = importer.run(imports.run, [*there[:2], row(3)], **API)
    assert report.result().unchanged == 3
    gate.open()
    linking.result()


def test_an_import_does_not_break_a_limit_that_somebody_reaches_at_the_same_time(
    workers: Workers, database: Database
) -> None:
    database.run(projects.add, "API")
    database.run(projects.edit, "API", {"wip_limit": 1})
    mine = database.run(tasks.add, tasks.NewTask("Mine", project="API")).id
    gate, other, importer = workers.gate(), workers.worker(), workers.worker()
    starting = other.run(gate.before_commit(tasks.set_status), [mine], "in_progress")
    report = importer.run(imports.run, [row(status="in_progress")], **API)
    assert importer.waits_for(other)
    gate.open()
    starting.result()
    with pytest.raises(Refused, match=f"in progress: {mine}"):
        report.result()
    assert [task.title for task in found(database)] == ["Mine"]


def test_an_import_runs_the_same_statements_for_any_number_of_tasks(settings: Settings) -> None:
    def statements(numbers: range) -> list[list[str]]:
        records: list[Record] = []
        with Database(settings, "test", observe=records.append) as database:
            people = ("ana", "zoe")
            said = (ImportedComment("Said.", ref="1"), ImportedComment("Said again.", ref="2"))
            first = f"bd-{numbers[0]}"
            told = [
                row(
                    n,
                    tags=("one", "two"),
                    assignees=people,
                    comments=said,
                    blocked_by=() if n == numbers[0] else (first,),
                )
                for n in numbers
            ]
            bring(database, *told)
            bring(database, *(row(n, "Later") for n in numbers))
        return [[statement.name for statement in record.statements] for record in records]

    assert statements(range(1, 3)) == statements(range(10, 510))
