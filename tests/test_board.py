"""The board: what is in which column, in what order, and how it looks at any width."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from commands import Here, on_terminal, plain
from hypothesis import given
from hypothesis import strategies as st
from workers import psql

from concord.errors import NotFound
from concord.models import Board, BoardColumn, Card, Claim
from concord.render.board import NARROWEST, lines
from concord.sql import assignments, board, links, projects, tasks
from concord.sql.listing import Filters
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import CommandLine

    from concord.database import Database

NOW = datetime.now(UTC)


def card(number: int, title: str, **fields: Any) -> Card:
    given: dict[str, Any] = {"status": "todo", "priority": "none", "due": None, "assignees": ()}
    given |= fields
    return Card(
        id=number,
        uid=UUID(int=number),
        project=None,
        title=title,
        description=None,
        tags=(),
        owner="ana",
        external_ref=None,
        parent=None,
        version=1,
        created_at=NOW,
        updated_at=NOW,
        deleted_at=None,
        completed_at=NOW if given["status"] == "completed" else None,
        **given,
    )


def cells(text: str) -> int:
    """Return the width of text without marks that combine."""
    return sum(1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


def drawn(shown: Board, width: int) -> list[str]:
    return [line.plain for line in lines(shown, width)]


LETTERS = "ab- 日本語🎉…éß"
TITLES = (
    st.text(LETTERS, min_size=1, max_size=20) | st.text(LETTERS, min_size=50, max_size=255)
).filter(str.strip)
NAMES = st.lists(st.sampled_from(["ana", "bo", "フジ", "a" * 64]), max_size=5, unique=True)
DUES = st.none() | st.integers(-400, 400).map(lambda days: NOW + timedelta(days=days))
CLAIMS = st.none() | st.builds(
    Claim,
    st.sampled_from(["bo", "フ" * 32]),
    st.just(3),
    st.sampled_from([NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(days=9)]),
)


@st.composite
def boards(draw: st.DrawFn) -> Board:
    shown = draw(st.lists(st.sampled_from(STATUSES), min_size=1, unique=True))
    columns: list[BoardColumn] = []
    for status in shown:
        made = tuple(
            card(
                draw(st.integers(1, 2**63 - 1)),
                draw(TITLES),
                status=status,
                priority=draw(st.sampled_from(PRIORITIES)),
                due=draw(DUES),
                assignees=tuple(draw(NAMES)),
                claim=draw(CLAIMS),
                blocked=draw(st.booleans()),
            )
            for _ in range(draw(st.integers(0, 3)))
        )
        more = draw(st.integers(0, 10**9))
        columns.append(BoardColumn(status, len(made) + more, draw(st.none() | st.just(3)), made))
    return Board(tuple(columns))


@given(boards(), st.integers(20, 200))
def test_no_line_is_wider_than_the_terminal_and_the_rules_fill_it(shown: Board, width: int) -> None:
    told = drawn(shown, width)
    assert max(map(cells, told)) == width
    side_by_side = len([line for line in told if "──" in line]) == 1
    number = len(shown.columns)
    assert side_by_side == (number == 1 or (width - 2 * (number - 1)) // number >= NARROWEST)
    everything = "".join("".join(told).split())
    for column in shown.columns:
        for one in column.tasks:
            assert str(one.id)[:9] in everything


@given(TITLES, st.integers(20, 60))
def test_a_title_is_shown_in_order_and_an_ellipsis_stands_for_its_rest(
    title: str, width: int
) -> None:
    head, *rest = drawn(Board((BoardColumn("todo", 1, None, (card(7, title),)),)), width)[2:]
    shown = "".join("".join([head.removeprefix("7"), *rest]).split())
    whole = "".join(title.split())
    assert len(rest) <= 2
    if shown != whole:
        assert shown.endswith("…")
        assert whole.startswith(shown[:-1])
        assert len(rest) == 2, "it is cut only where room is short"


def test_a_word_without_end_begins_where_there_is_room() -> None:
    told = drawn(Board((BoardColumn("todo", 1, None, (card(7, "日" * 24),)),)), 24)
    assert told[2:] == ["7 " + "日" * 11, "  " + "日" * 11, "  " + "日" * 2]


def test_what_a_card_tells() -> None:
    late, soon = NOW - timedelta(days=40), NOW + timedelta(days=40)
    one = card(
        12,
        "Write",
        priority="urgent",
        due=late,
        blocked=True,
        status="in_progress",
        assignees=("ana", "bo", "cy", "dee", "eve"),
        claim=Claim("bo", 2, soon),
    )
    head, meta = drawn(Board((BoardColumn("in_progress", 2, 3, (one,)),)), 100)[2:4]
    assert head == "12 !!! Write"
    assert meta.split("  ")[1:] == [
        f"overdue {late:%Y-%m-%d %H:%M}",
        "blocked",
        f"@bo until {soon:%Y-%m-%d %H:%M}",
        *("@ana", "@cy", "@dee", "+1"),
    ]
    told = drawn(Board((BoardColumn("in_progress", 2, 3, (one,)),)), 100)
    assert told[0] == "in progress 2/3"
    assert told[-1] == "… 1 more"


# What is shown


def add(database: Database, title: str, **fields: Any) -> int:
    return database.run(tasks.add, tasks.NewTask(title, **fields)).id


def ids(shown: Board) -> dict[str, list[int]]:
    return {column.status: [one.id for one in column.tasks] for column in shown.columns}


def test_what_is_open_comes_by_urgency_and_what_is_closed_with_the_latest_first(
    database: Database,
) -> None:
    low = add(database, "low", priority="low")
    later = add(database, "later", priority="high", due=NOW + timedelta(days=2))
    soon = add(database, "soon", priority="high", due=NOW + timedelta(days=1))
    undated = add(database, "undated", priority="high")
    one, two, three = (add(database, title) for title in ("one", "two", "three"))
    for task in (two, one):
        database.run(tasks.set_status, [task], "completed")
    database.run(tasks.set_status, [three], "canceled")
    database.run(tasks.set_status, [undated, later], "in_progress")
    shown = database.run(board.show, Filters())
    assert ids(shown) == {
        "todo": [soon, low],
        "in_progress": [later, undated],
        "completed": [one, two],
    }
    shown = database.run(board.show, Filters(statuses=["canceled", "todo"]), limit=1)
    assert ids(shown) == {"todo": [soon], "canceled": [three]}
    assert [column.count for column in shown.columns] == [2, 1]


def test_a_card_says_whether_it_waits(database: Database) -> None:
    blocker, blocked = add(database, "a"), add(database, "b")
    part = add(database, "part", parent=blocked)
    database.run(links.block, [blocked], [blocker])

    def waiting() -> set[int]:
        shown = database.run(board.show, Filters())
        return {one.id for column in shown.columns for one in column.tasks if one.blocked}

    assert waiting() == {blocked, part}
    database.run(tasks.set_status, [blocker], "completed")
    assert waiting() == set()


def test_the_limit_is_told_where_it_is_about_what_is_shown(database: Database) -> None:
    for key in ("API", "DOCS"):
        database.run(projects.add, key)
    psql(database.connection().info.dsn, "UPDATE projects SET wip_limit = 3 WHERE key = 'API'")
    task = add(database, "one", project="API", status="in_progress")
    database.run(assignments.assign, [task], ["me"])

    def limits(**filters: Any) -> list[tuple[int, int | None]]:
        shown = database.run(board.show, Filters(**filters))
        return [(column.count, column.limit) for column in shown.columns]

    assert limits(projects=["API"]) == [(0, None), (1, 3), (0, None)]
    assert limits(projects=["DOCS"])[1] == (0, None)
    assert limits(projects=["API", "DOCS"])[1] == (1, None)
    assert limits(projects=["API"], assignees=["me"])[1] == (1, None)


def test_a_board_of_what_does_not_exist(database: Database) -> None:
    assert ids(database.run(board.show, Filters())) == {
        "todo": [],
        "in_progress": [],
        "completed": [],
    }
    with pytest.raises(NotFound, match="NOPE"):
        database.run(board.show, Filters(projects=["NOPE"]))


# The command


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    for title in ("one", "two", "three"):
        here.ok("task", "add", title)
    here.ok("task", "done", "3")
    return here


def test_a_pipe_gets_tasks_and_json_gets_columns(here: Here) -> None:
    assert here("board", "--fields", "status,id,blocked").out == (
        "todo\t1\tfalse\ntodo\t2\tfalse\ncompleted\t3\tfalse\n"
    )
    assert here("board", "--quiet").out == "1\n2\n3\n"
    told = here.ok("board", "--fields", "id,title")
    assert told == {
        "columns": [
            {
                "status": "todo",
                "count": 2,
                "limit": None,
                "tasks": [{"id": 1, "title": "one"}, {"id": 2, "title": "two"}],
            },
            {"status": "in_progress", "count": 0, "limit": None, "tasks": []},
            {
                "status": "completed",
                "count": 1,
                "limit": None,
                "tasks": [{"id": 3, "title": "three"}],
            },
        ]
    }


@pytest.mark.parametrize("form", ["--quiet", "--csv", "--jsonl", "--json"])
def test_a_board_that_is_cut_says_so_in_every_form(here: Here, form: str) -> None:
    assert "1 in todo" in here("board", "--limit", "1", form).err
    assert here("board", "--limit", "0", form).err == ""


def test_a_terminal_gets_a_board_as_wide_as_it_is(concord: CommandLine) -> None:
    concord.ok("project", "add", "API")
    concord.ok("project", "edit", "API", "--wip-limit", "3")
    concord.ok("task", "add", "日本語のタイトルはここで折り返す", "--project", "API")
    concord.ok("task", "claim", "--lease", "9d")
    concord.ok("task", "add", "Write the report", "--project", "API", "--priority", "high")
    shown = plain(on_terminal(concord, "board", "--project", "api", columns=80).out)
    first, rule, *rest = shown.splitlines()
    assert first.split() == ["to", "do", "1", "in", "progress", "1/3", "completed", "0"]
    assert len(rule) == 80
    assert "2 !! Write the report" in rest[0]
    assert "1 日本語のタイトルはここ" in rest[0]
    assert "@ana until" in shown
