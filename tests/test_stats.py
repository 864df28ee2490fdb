"""Statistics: the same numbers as counted in Python, whatever the clocks did, and how they look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from commands import Here, on_terminal, plain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workers import psql

from concord.errors import NotFound
from concord.models import Flow, OpenTasks, Statistics
from concord.render import charts
from concord.sql import stats
from concord.sql.listing import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandLine

    from concord.database import Database
    from concord.sql.stats import By, Period

ZONES = {
    "Europe/Berlin": date(2026, 3, 29),  # forward at two in the morning
    "America/New_York": date(2026, 11, 1),  # back at two in the morning
    "America/Sao_Paulo": date(2018, 11, 4),  # forward at midnight: the day begins at one
    "Pacific/Apia": date(2011, 12, 30),  # a day that never was
    "UTC": date(2026, 1, 1),
}
"""Zone → a day on which something odd happened."""

SETUP = """
INSERT INTO users (id, username) VALUES (2, 'bo');
INSERT INTO projects (id, key, name, owner_id) VALUES (1, 'API', 'x', 1), (2, 'WEB', 'x', 1);
INSERT INTO tags (id, name) VALUES (1, 'bug'), (2, 'ui');
"""

PROJECTS, PEOPLE, TAGS = {1: "API", 2: "WEB"}, {1: "ana", 2: "bo"}, {1: "bug", 2: "ui"}


@dataclass(frozen=True)
class Made:
    """A task as the test makes it. Seconds from the odd day's noon on; `None`: never."""

    created: int
    started: int | None
    completed: int | None
    canceled: int | None
    project: int | None
    people: frozenset[int]
    tags: frozenset[int]
    trashed: bool


@st.composite
def tasks(draw: st.DrawFn) -> Made:
    created = draw(st.integers(-20, 20)) * 86_400 + draw(st.integers(-43_200, 43_200))
    lasted = st.integers(0, 9 * 86_400)
    end = draw(st.sampled_from(["completed", "completed", "canceled", None]))
    began = draw(st.none() | lasted)
    ended = created + (began or 0) + draw(lasted)
    some = st.frozensets(st.sampled_from([1, 2]))
    return Made(
        created,
        None if began is None else created + began,
        ended if end == "completed" else None,
        ended if end == "canceled" else None,
        draw(st.sampled_from([None, 1, 2])),
        draw(some),
        draw(some),
        draw(st.integers(0, 9)) == 0,
    )


def fill(connection: psycopg.Connection, noon: datetime, population: list[Made]) -> None:
    def at(seconds: int | None) -> datetime | None:
        return None if seconds is None else noon + timedelta(seconds=seconds)

    connection.execute("SET session_replication_role = replica")
    connection.execute("DELETE FROM tasks; DELETE FROM assignments; DELETE FROM task_tags")
    for number, made in enumerate(population, start=1):
        status = "completed" if made.completed is not None else "todo"
        status = "canceled" if made.canceled is not None else status
        connection.execute(
            """INSERT INTO tasks (id, title, owner_id, status, created_at, started_at, completed_at,
                                  canceled_at, project_id, deleted_at)
               VALUES (%s, 'x', 1, %s, %s, %s, %s, %s, %s, %s)""",
            (number, status, *map(at, (made.created, made.started, made.completed, made.canceled)),
             made.project, noon if made.trashed else None),
        )  # fmt: skip
        for user in made.people:
            connection.execute("INSERT INTO assignments VALUES (%s, %s)", (number, user))
        for tag in made.tags:
            connection.execute("INSERT INTO task_tags VALUES (%s, %s)", (number, tag))
    connection.commit()


def percentile(values: list[float], share: float) -> float:
    """Return what `percentile_cont` means: between two values, in proportion."""
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


class Counting:
    """The statistics of tasks as anybody would count them with a calendar."""

    def __init__(self, population: list[Made], noon: datetime, zone: ZoneInfo) -> None:
        self._tasks = [made for made in population if not made.trashed]
        self._noon, self._zone = noon, zone

    def day(self, seconds: int | None) -> date:
        """Return the local day of a moment; the last of all days for never."""
        if seconds is None:
            return date.max
        return (self._noon + timedelta(seconds=seconds)).astimezone(self._zone).date()

    def flow(self, first: date, last: date, some: list[Made] | None = None) -> dict[str, Any]:
        of = self._tasks if some is None else some
        done = [made for made in of if first <= self.day(made.completed) <= last]
        lead = [float((made.completed or 0) - made.created) for made in done]
        cycle = [
            float((made.completed or 0) - made.started) for made in done if made.started is not None
        ]
        told: dict[str, Any] = {
            "first": first.isoformat(),
            "last": last.isoformat(),
            "created": sum(first <= self.day(made.created) <= last for made in of),
            "completed": len(done),
            "canceled": sum(first <= self.day(made.canceled) <= last for made in of),
            "open": sum(
                self.day(made.created) <= last
                and min(self.day(made.completed), self.day(made.canceled)) > last
                for made in of
            ),
        }
        for name, values in (("lead", lead), ("cycle", cycle)):
            for percent in (50, 90):
                value = percentile(values, percent / 100) if values else None
                told[f"{name}_p{percent}_s"] = (
                    None if value is None else pytest.approx(value, abs=1)
                )
        return told

    def members(self, by: By, key: int | None) -> list[Made]:
        def of(made: Made) -> frozenset[int | None]:
            if by == "project":
                return frozenset({made.project})
            found = made.people if by == "person" else made.tags
            return frozenset(found) or frozenset({None})

        return [made for made in self._tasks if key in of(made)]


def told(flow: Flow) -> dict[str, Any]:
    return {name: getattr(flow, name) for name in Flow.__slots__ if name != "name"}


@pytest.fixture
def filled(url: str, database: Database) -> Iterator[tuple[psycopg.Connection, Database]]:
    psql(url, SETUP)
    with psycopg.connect(url) as connection:
        yield connection, database


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    population=st.lists(tasks(), max_size=15),
    name=st.sampled_from(sorted(ZONES)),
    days=st.integers(0, 20),
    ahead=st.integers(0, 9),
    period=st.sampled_from(["day", "week"]),
    by=st.sampled_from(["project", "person", "tag"]),
)
def test_statistics_are_those_that_a_calendar_gives(
    filled: tuple[psycopg.Connection, Database],
    population: list[Made],
    name: str,
    days: int,
    ahead: int,
    period: Period,
    by: By,
) -> None:
    connection, database = filled
    zone, odd = ZoneInfo(name), ZONES[name]
    noon = datetime(odd.year, odd.month, odd.day, 12, tzinfo=zone).astimezone(UTC)
    fill(connection, noon, population)
    first, last = odd - timedelta(days=days), odd + timedelta(days=ahead)
    if period == "week":
        first -= timedelta(days=first.weekday())
    found = database.run(
        stats.flow, Filters(), first=first, last=last, zone=name, period=period, by=by
    )
    counting = Counting(population, noon, zone)

    assert told(found.total) == counting.flow(first, last)
    every = (last - first).days + 1
    assert [(one.day, one.open) for one in found.burndown] == [
        (day.isoformat(), counting.flow(day, day)["open"])
        for day in (first + timedelta(days=n) for n in range(every))
    ]
    step = timedelta(days=7 if period == "week" else 1)
    starts = [first + n * step for n in range(-(-every // step.days))]
    assert [told(flow) for flow in found.periods] == [
        counting.flow(start, min(start + step - timedelta(days=1), last)) for start in starts
    ]
    for flow in found.periods:
        year, week, _ = date.fromisoformat(flow.first).isocalendar()
        assert flow.name == (f"{year}-W{week:02}" if period == "week" else flow.first)

    names: dict[int | None, str | None] = {
        None: None, **{"project": PROJECTS, "person": PEOPLE, "tag": TAGS}[by]
    }  # fmt: skip
    groups = {flow.name: told(flow) for flow in found.groups}
    for key, group in names.items():
        counted = counting.flow(first, last, counting.members(by, key))
        nothing = not any(counted[kind] for kind in ("created", "completed", "canceled", "open"))
        assert groups.pop(group, None) == (None if nothing else counted), group
    assert groups == {}


def test_filters_and_names(filled: tuple[psycopg.Connection, Database]) -> None:
    connection, database = filled
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    made = Made(0, None, None, None, 1, frozenset({1}), frozenset({2}), trashed=False)
    fill(
        connection,
        noon,
        [made, Made(0, None, 60, None, 2, frozenset(), frozenset(), trashed=False)],
    )
    day = noon.date()

    def total(**filters: Any) -> tuple[int, int, int]:
        found = database.run(stats.flow, Filters(**filters), first=day, last=day, zone="UTC")
        return found.total.created, found.total.completed, found.total.open

    assert total() == (2, 1, 1)
    assert total(projects=["API"]) == total(assignees=["me"]) == total(tags=["UI"]) == (1, 0, 1)
    assert total(projects=["WEB"]) == total(assignees=["none"]) == (1, 1, 0)
    with pytest.raises(NotFound, match="NOPE"):
        total(projects=["NOPE"])


# How they look


def flow(name: str | None, count: int, seconds: float | None) -> Flow:
    return Flow(
        name, "2026-01-05", "2026-01-11", count, count // 2, count // 9, count, *[seconds] * 4
    )


COUNTS = st.integers(0, 10**7)
FLOWS = st.builds(
    flow,
    st.none() | st.text("abc日本é", min_size=1, max_size=70),
    COUNTS,
    st.none() | st.floats(0, 10**9),
)
DAYS = st.lists(COUNTS, min_size=1, max_size=400).map(
    lambda counts: tuple(
        OpenTasks((date(2026, 1, 5) + timedelta(days=n)).isoformat(), count)
        for n, count in enumerate(counts)
    )
)
STATISTICS = st.builds(
    Statistics,
    st.just("UTC"),
    FLOWS,
    st.lists(FLOWS, min_size=1, max_size=9).map(tuple),
    st.sampled_from([None, "project", "person", "tag"]),
    st.lists(FLOWS, max_size=9).map(tuple),
    DAYS,
)


@given(STATISTICS, st.integers(40, 200), st.booleans())
def test_no_line_is_wider_than_the_terminal(
    statistics: Statistics, width: int, chart: bool
) -> None:
    draw = charts.charted if chart else charts.tabled
    assert max(charts.cells(line) for line in draw(statistics, width)) <= width


@given(DAYS, st.integers(40, 200))
def test_the_burndown_is_as_high_as_the_tasks_are_many(
    days: tuple[OpenTasks, ...], width: int
) -> None:
    lines = list(charts.burndown(days, width))[: charts.HEIGHT]
    left = max(lines[0].find("┤"), lines[0].find("│")) + 1
    columns = [
        "".join(line[left:].ljust(width)[place] for line in reversed(lines))
        for place in range(len(list(charts.burndown(days, width))[charts.HEIGHT]) - left)
    ]
    levels = [sum(" ▁▂▃▄▅▆▇█".index(glyph) for glyph in column) for column in columns]
    top = max(1, *(day.open for day in days), 1)
    if len(columns) >= len(days):
        each = len(columns) // len(days)
        assert len(columns) == each * len(days)
        days = tuple(day for day in days for _ in range(each))
        assert levels == [round(day.open * 64 / top) for day in days]
    else:
        assert levels[-1] == round(days[-1].open * 64 / top)
    for column in columns:
        assert column == "".join(sorted(column, reverse=True)), "nothing floats"


def test_bars_are_in_proportion() -> None:
    statistics = Statistics(
        "UTC",
        flow(None, 3, None),
        (flow("2026-W02", 64, None), flow("2026-W03", 0, None)),
        None,
        (),
        (OpenTasks("2026-01-05", 0),),
    )
    chart = list(charts.charted(statistics, 56))
    assert chart[:5] == [
        "week of",
        f"2026-01-05 created   {'█' * 32} 64",
        f"           completed {'█' * 16} 32",
        "           canceled  ███▌ 7",
        "2026-01-05 –",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "–"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (5400, "1.5 h"), (86_400, "1.0 d"),
     (10 * 86_400, "10 d"), (-5.0, "-5 s")],
)  # fmt: skip
def test_a_span_in_short(seconds: float | None, told: str) -> None:
    assert charts.span(seconds) == told


# The command


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    here = Here(url, tmp_path, monkeypatch, capsys)
    for title in ("one", "two"):
        here.ok("task", "add", title)
    here.ok("task", "start", "1")
    here.ok("task", "done", "1")
    return here


def test_weeks_begin_on_monday_and_the_span_ends_today(here: Here) -> None:
    weekly = here.ok("stats")
    assert list(weekly) == ["zone", "total", "periods", "by", "groups", "burndown"]
    assert len(weekly["periods"]) == 8
    starts = [date.fromisoformat(one["first"]) for one in weekly["periods"]]
    assert {start.weekday() for start in starts} == {0}
    assert {later - earlier for earlier, later in pairwise(starts)} == {timedelta(days=7)}
    today = weekly["total"]["last"]
    assert weekly["burndown"][-1] == {"day": today, "open": 1}
    total = weekly["total"]
    assert (total["created"], total["completed"], total["open"]) == (2, 1, 1)
    assert 0 < total["cycle_p50_s"] <= total["lead_p50_s"] < 60
    assert len(here.ok("stats", "daily")["periods"]) == 14
    assert len(here.ok("stats", "--weeks", "3")["periods"]) == 3
    assert [one["name"] for one in here.ok("stats", "--days", "1")["periods"]] == [today]
    assert len(here.ok("stats", "daily", "--weeks", "1")["periods"]) <= 7
    whole = here.ok("stats", "weekly", "--days", "9")["periods"]
    assert date.fromisoformat(whole[0]["first"]).weekday() == 0
    assert "exclude" in here.refused("stats", "--days", "1", "--weeks", "1", code=2)


def test_a_pipe_gets_periods_or_groups(here: Here) -> None:
    told = here("stats", "--days", "1", "--fields", "created,completed,canceled,open").out
    assert told == "2\t1\t0\t1\n"
    assert here("stats", "--by", "project", "--fields", "name,created").out == "\t2\n"
    assert here.ok("stats", "--by", "tag", "--fields", "name,open")["groups"] == [
        {"name": None, "open": 1}
    ]
    chart = here("stats", "--days", "1", "--chart").out
    assert chart.splitlines()[-1].strip() == here.ok("stats")["total"]["last"]


def test_a_reopened_task_counts_as_open_all_along(here: Here) -> None:
    here.ok("task", "reopen", "1")
    total = here.ok("stats")["total"]
    assert (total["completed"], total["open"], total["lead_p50_s"]) == (0, 2, None)


def test_a_terminal_gets_a_table_that_fits(concord: CommandLine) -> None:
    concord.ok("task", "add", "one")
    wide = plain(on_terminal(concord, "stats", "daily", "--days", "2", columns=80).out).splitlines()
    assert wide[0] == (
        "day         created  completed  canceled  open  lead p50  p90  cycle p50  p90"
    )
    assert wide[4].split() == ["in", "all", "1", "0", "0", "1", "–", "–", "–", "–"]
    narrow = plain(on_terminal(concord, "stats", "--days", "2", columns=40).out).splitlines()
    assert narrow[0] == "day         created  completed  open"
