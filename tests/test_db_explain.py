"""`db explain`: the plan of the very statement that `task list` sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from concord.database import Database
from concord.errors import Usage
from concord.sql import listing, plans, tasks
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from conftest import CommandLine

    from concord.records import Record
    from concord.settings import Settings


@pytest.mark.parametrize(
    ("filters", "page"),
    [
        (Filters(), {}),
        (Filters(statuses=["todo"], tags=["bug"], trash=None), {"sort": "-due", "limit": 7}),
        (Filters(ready=True, titles=["50%"]), {"sort": "priority", "skip": 3}),
    ],
    ids=["plain", "filters", "ready"],
)
def test_what_is_explained_is_what_a_list_sends(
    settings: Settings, filters: Filters, page: dict[str, Any]
) -> None:
    records: list[Record] = []
    with Database(settings, "test", observe=records.append) as database:
        database.run(tasks.add, tasks.NewTask("50% done", tags=["bug"]))
        database.run(listing.page, filters, **page)
        listed = next(one.text for one in records[-1].statements if "list_tasks" in one.text)
        explained = database.run(plans.explain, filters, **page)
        assert explained.sql == listed
        assert explained.names == ({"concord.ids_tags": ["bug"]} if filters.tags else {})
        database.run(plans.explain_text, filters, **page)
        statement = next(one.text for one in records[-1].statements if "explain_list" in one.text)
        assert statement.endswith(listed)


def test_the_next_page_is_explained_with_its_bounds(database: Database) -> None:
    made = database.run(tasks.add, tasks.NewTask("One"))
    found = database.run(plans.explain, Filters(), sort="due", after=listing.cursor("due", made))
    assert found.parameters["after_id"] == made.id
    assert found.cost > 0
    assert "> (" in found.sql
    with pytest.raises(Usage, match="is not a cursor"):
        database.run(plans.explain, Filters(), after="nonsense")


def test_only_what_is_to_be_analyzed_is_run(database: Database) -> None:
    estimated = database.run(plans.explain, Filters())
    measured = database.run(plans.explain, Filters(), analyze=True)
    assert "Actual Rows" not in estimated.plan["Plan"]
    assert measured.plan["Plan"]["Actual Rows"] == 0
    assert measured.plan["Settings"]["random_page_cost"] == "1.1"


def test_nothing_can_be_written_by_it() -> None:
    assert plans.explain.read_only
    assert plans.explain_text.read_only


def test_a_reader_gets_lines_and_a_program_gets_data(concord: CommandLine) -> None:
    options = ("db", "explain", "--status", "todo", "--sort", "-due", "--analyze")
    lines = concord(*options).out.splitlines()
    assert any(line.lstrip(" ->").startswith("Limit  (cost=") for line in lines)
    assert any("Execution Time" in line for line in lines)
    told = concord.ok(*options)
    assert '"Node Type": "Limit"' in json.dumps(told["plan"])
    assert told["parameters"] == {"status": "todo", "limit": 101, "skip": 0}
    assert told["sql"].startswith("-- list_tasks")


def test_a_view_gives_its_options(concord: CommandLine) -> None:
    concord.ok("view", "save", "mine", "--assignee", "me", "--limit", "3")
    told = concord.ok("db", "explain", "--view", "mine", "--analyze")
    place = "concord.ids_assignees"
    assert told["parameters"] == {"assignees": place, "limit": 4, "skip": 0}
    assert told["names"] == {place: ["ana"]}
