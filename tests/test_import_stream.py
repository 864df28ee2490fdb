"""Files that are larger than memory, and what of a foreign file has no field here."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from concord.formats.catalogue import FORMATS
from concord.formats.reading import KEPT_ROWS, Reading
from concord.models import BadRow, ExportedTask, ImportedTask
from concord.sql import exports, imports, tasks
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concord.database import Database

ROWS = 6_000
SMALL = 10 * 2**20
"""Bytes: much less than the rows of such a file take."""

API: dict[str, Any] = {"format_name": "beads", "project": "API"}


class Generated:
    """As many tasks as that, each of some four kilobytes, made as they are asked for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[ImportedTask]:
        for number in range(1, self.rows + 1):
            yield ImportedTask(f"bd-{number}", f"Task {number}", number, "So long " * 500)


def exported(database: Database) -> list[ExportedTask]:
    found: list[ExportedTask] = []
    database.run(exports.write, Filters(), found.extend)
    return found


def test_memory_stays_flat_however_long_the_file(database: Database) -> None:
    seen = 0

    def count(found: Iterable[ExportedTask]) -> None:
        nonlocal seen
        seen = sum(1 for _ in found)

    database.run(imports.run, Generated(10), **API, dry_run=True)
    tracemalloc.start()
    try:
        report = database.run(imports.run, Generated(ROWS), **API)
        assert report.created == ROWS
        assert tracemalloc.get_traced_memory()[1] < SMALL
        tracemalloc.reset_peak()
        database.run(exports.write, Filters(), count)
        assert seen == ROWS
        assert tracemalloc.get_traced_memory()[1] < SMALL
    finally:
        tracemalloc.stop()


def test_an_export_may_be_gone_through_again(database: Database) -> None:
    database.run(imports.run, Generated(2100), **API)
    found: list[list[int]] = []

    def twice(snapshot: Iterable[ExportedTask]) -> None:
        found.extend([task.id for task in snapshot] for _ in range(2))

    database.run(exports.write, Filters(), twice)
    assert found[0] == found[1]
    assert len(set(found[0])) == 2100


def test_what_has_no_field_comes_back_and_is_merged_like_a_field(database: Database) -> None:
    row = ImportedTask("bd-1", "x", 1, extra={"estimate": 3, "links": ["a", {"b": None}]})
    assert database.run(imports.run, [row], **API).created == 1
    assert database.run(imports.run, [row], **API).unchanged == 1
    (task,) = exported(database)
    assert task.extra == {"beads": row.extra}
    other = ImportedTask("bd-1", "x", 1, extra={"seen": True})
    assert database.run(imports.run, [other], **API).updated == 1
    (task,) = exported(database)
    assert (task.extra, task.version) == ({"beads": other.extra}, 2)
    assert database.run(imports.run, [ImportedTask("bd-1", "x", 1)], **API).updated == 1
    assert exported(database)[0].extra == {}


def test_concords_own_format_carries_what_all_formats_said(database: Database) -> None:
    uid = UUID(int=5, version=4)
    row = ImportedTask(str(uid), "x", 1, uid=uid, extra={"jira": {"Sprint": "7"}, "beads": {}})
    own: dict[str, Any] = {"format_name": "jsonl", "project": None}
    assert database.run(imports.run, [row], **own).created == 1
    assert exported(database)[0].extra == {"jira": {"Sprint": "7"}, "beads": {}}
    assert database.run(imports.run, [row], **own).unchanged == 1


def test_names_and_refs_arrive_as_they_are(database: Database) -> None:
    odd = ("NULL", '"', "\\", '\\"', "{a}", "null", "é\\n")
    rows = [ImportedTask(ref, "x", line) for line, ref in enumerate(odd, start=1)]
    tags = tuple(sorted({name.lower(): name for name in odd}.values()))
    rows.append(ImportedTask("last", "x", len(odd) + 1, tags=tags, assignees=tags, blocked_by=odd))
    assert database.run(imports.run, rows, **API).created == len(rows)
    *blockers, task = exported(database)
    assert (set(task.tags), set(task.assignees)) == (set(tags), set(tags))
    assert task.blocked_by == tuple(each.id for each in blockers)
    assert database.run(imports.run, rows, **API).unchanged == len(rows)


def test_a_copy_of_a_task_has_nothing_of_a_file(database: Database) -> None:
    task = database.run(tasks.add, tasks.NewTask("x"))
    assert exported(database)[0].extra == {}
    assert task.version == 1


# Files


def reading(text: str, name: str = "jsonl", **options: Any) -> Reading:
    return Reading(io.BytesIO(text.encode()), "file", FORMATS[name], **options)


def test_a_file_is_read_anew_each_time() -> None:
    text = json.dumps({"id": "bd-1", "title": "x"}) + "\nnonsense\n"
    made = reading(text, "beads", skip=True)
    for _ in range(2):
        assert [row.ref for row in made] == ["bd-1"]
        assert [row.line for row in made.bad] == [2]
    told = made.finish([BadRow(3, "again")])
    assert (told.skipped, [word.tasks for word in told.words]) == (2, [1])


def test_a_file_of_another_format_is_given_up_early() -> None:
    from concord.errors import Usage

    made = reading("nonsense\n" * (KEPT_ROWS + 10))
    with pytest.raises(Usage, match="and 981 more") as caught:
        list(made)
    assert "right format, jsonl?" in (caught.value.hint or "")


def test_what_cannot_be_stored_is_a_bad_row_wherever_it_hides() -> None:
    uid = UUID(int=5, version=4)
    line = json.dumps(
        {"uid": str(uid), "title": "x", "owner": "ana", "extra": {"a": {"b": ["\0"]}}}
    )
    made = reading(line, skip=True)
    assert list(made) == []
    assert "NUL" in made.bad[0].reason
