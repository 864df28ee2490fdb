"""Tasks as CSV: all that a task has, exactly."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from foreign_tables import peak_below
from format_tasks import exported
from hypothesis import given, settings
from hypothesis import strategies as st

from concord.formats import table
from concord.models import ExportedTask, ImportedComment, ImportedTask, Task
from concord.plain import cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TASK = exported(
    ImportedTask(
        ref="ENG-1",
        title="One, two",
        line=1,
        description='He said "x"\r\nand more',
        due=AT,
        tags=("bug", "ui"),
        assignees=("ana", "bo"),
        comments=(ImportedComment("a, b", "ana", AT), ImportedComment("c")),
        recurrence="every 2w",
        recurrence_zone="Europe/Berlin",
        extra={"Estimate": "3", "Labels": ["x"]},
    ),
    1,
    "linear",
)


def read(lines: Iterable[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("\n".join([*lines, ""]), newline="")))


def test_every_field_of_an_export_has_a_column() -> None:
    (row,) = read(table.dump([TASK]))
    assert list(row) == [field.name for field in fields(ExportedTask)]
    comments, extra = json.loads(row.pop("comments")), json.loads(row.pop("extra"))
    assert [(each["author"], each["body"]) for each in comments] == [
        ("ana", "a, b"),
        ("importer", "c"),
    ]
    assert extra == {"linear": {"Estimate": "3", "Labels": ["x"]}}
    assert row == {name: cell(getattr(TASK, name)) for name in row}
    assert (row["tags"], row["assignees"]) == ("bug,ui", "ana,bo")
    assert row["recurrence_zone"] == "Europe/Berlin"
    assert row["description"] == 'He said "x"\r\nand more'


def test_columns_are_those_of_the_tasks() -> None:
    plain = Task(**{field.name: getattr(TASK, field.name) for field in fields(Task)})
    (row,) = read(table.dump([plain]))
    assert list(row) == [field.name for field in fields(Task)]


def test_without_tasks_there_is_a_header() -> None:
    assert list(table.dump([])) == [",".join(field.name for field in fields(ExportedTask))]


def test_what_a_spreadsheet_takes_for_a_formula_is_left_as_it_is() -> None:
    titles = ["=1+1", "+1", "-1", "@a", "\tx", "'=1"]
    rows = read(table.dump([replace(TASK, title=title) for title in titles]))
    assert [row["title"] for row in rows] == titles


def test_tasks_pass_through_one_by_one() -> None:
    def tasks() -> Iterator[ExportedTask]:
        for number in range(1, 501):
            yield replace(TASK, id=number, description="x" * 8_000)

    with peak_below(1_000_000):
        assert sum(1 for _ in table.dump(tasks())) == 501


TEXTS: Any = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=100)
@given(TEXTS, TEXTS)
def test_what_was_written_is_read(title: str, description: str) -> None:
    (row,) = read(table.dump([replace(TASK, title=title, description=description)]))
    assert (row["title"], row["description"]) == (title, description)
