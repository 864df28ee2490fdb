"""How often a task comes back: what people type, whose days they are, and when it is due next."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import psycopg
import pytest
from commands import Here, zone
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from workers import psql

from concord import recurrence
from concord.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Server

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"

# What people type


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2w", "every 2w"),
        (" 3 Days ", "every 3d"),
        ("1 month", "every 1m"),
        ("month", "every 1m"),
        ("weekly", "every 1w"),
        ("yearly", "every 1y"),
        ("12h", "every 12h"),
        ("9999y", "every 9999y"),
        ("mon", "every mon"),
        ("wed,mon", "every mon,wed"),
        ("Sunday, tues ,sat, sun", "every tue,sat,sun"),
        ("none", "none"),
        ("None", "none"),
    ],
)
def test_a_rule_as_people_type_it(text: str, rule: str) -> None:
    assert recurrence.parse(text, "every") == rule


@pytest.mark.parametrize(
    "text",
    ["", " ", "0d", "-1d", "1.5d", "10000d", "2x", "w", "1mo", "mo", "monk", "mon,", ",mon",
     "mon tue", "mon,1d", "every 2w", "fortnight", "٣d", "1d\n1d", "x" * 9999],
)  # fmt: skip
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not how often: 2w, 3d, month or mon,wed$"):
        recurrence.parse(text, "every")


def test_days_of_the_week_come_on_their_day_and_not_after_a_while() -> None:
    assert recurrence.parse("2 weeks", "after") == "after 2w"
    with pytest.raises(ValueError, match=r"is not how often: 3d, 2w or month$"):
        recurrence.parse("mon", "after")


@given(st.text(alphabet=st.sampled_from("monwedthufrisat,1290hdwmyeks \n"), max_size=12))
def test_whatever_is_typed_gives_a_rule_that_the_database_takes_or_none(text: str) -> None:
    for kind in ("every", "after"):
        try:
            rule = recurrence.parse(text, kind)
        except ValueError:
            continue
        assert rule == "none" or re.fullmatch(
            rf"{kind} ([1-9][0-9]{{0,3}}[hdwmy]|(mon|tue|wed|thu|fri|sat|sun)(,[a-z]{{3}})*)", rule
        )


# Whose days they are


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (BERLIN, BERLIN),
        (f":{NEW_YORK}", NEW_YORK),
        ("/usr/share/zoneinfo/Europe/Berlin", BERLIN),
        ("EST5EDT", "EST5EDT"),
        ("UTC", "UTC"),
        ("", "UTC"),
    ],
)
def test_the_zone_has_the_name_that_tz_gives_it(setting: str, name: str) -> None:
    with zone(setting):
        assert recurrence.zone() == name


NAMELESS = ["CET-1CEST,M3.5.0,M10.5.0/3", "<+03>-3", "UTC0", "Nowhere/Land", "/etc/passwd",
            "../Europe/Berlin", "localtime", "right/Europe/Berlin", "Europe"]  # fmt: skip


@pytest.mark.parametrize("setting", NAMELESS)
def test_a_zone_without_a_name_is_refused(setting: str) -> None:
    with zone(setting), pytest.raises(Usage) as refused:
        recurrence.zone()
    assert f"TZ={setting} is none that has a name" in refused.value.message
    assert "TZ=Europe/Berlin" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("found", "told", "name"),
    [(lambda: BERLIN, "CET", BERLIN), (lambda: None, "UTC", "UTC"), (lambda: None, "CET", None)],
)
def test_without_tz_it_is_the_system_s(
    monkeypatch: pytest.MonkeyPatch,
    found: Callable[[], str | None],
    told: str,
    name: str | None,
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr("tzlocal.get_localzone_name", found)
    monkeypatch.setattr("time.tzname", (told, told))
    if name is not None:
        assert recurrence.zone() == name
    else:
        with pytest.raises(Usage, match="this system's time zone"):
            recurrence.zone()


# When it is due next: what PostgreSQL says, held against Python's own calendar


@pytest.fixture(scope="module")
def calendar(server: Server, template: str) -> Iterator[psycopg.Connection]:
    """A connection to a database that knows `next_due`."""
    with (
        server.janitor("calendar", template) as janitor,
        psycopg.connect(server.url(janitor.dbname), autocommit=True) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def due_next(
    calendar: psycopg.Connection, rule: str, where: str, due: datetime | None, done: datetime
) -> datetime:
    row = calendar.execute(
        "SELECT next_due(%s, %s, %s::timestamptz, %s)", (rule, where, due, done)
    ).fetchone()
    assert row is not None
    return row[0]


def model(rule: str, where: str, due: datetime | None, done: datetime) -> datetime:
    """Return when the next one is due, found the slow way."""
    kind, step = rule.split()
    if step.endswith("h"):
        hours, last = timedelta(hours=int(step[:-1])), due or done
        if kind == "after":
            return done + hours
        while (last := last + hours) <= done:
            pass
        return last
    place = ZoneInfo(where)
    today = done.astimezone(place).replace(tzinfo=None)
    planned = due.astimezone(place).replace(tzinfo=None) if due else None
    clock = planned.time() if planned else time(23, 59, 59)
    start = planned or datetime.combine(today, clock)
    if step[0].isalpha():
        day = max(start, today)
        while True:
            candidate = datetime.combine(day, clock)
            if DAYS[candidate.weekday()] in step.split(",") and candidate > max(start, today):
                return instant(candidate, place)
            day += timedelta(days=1)
    amount, unit = int(step[:-1]), step[-1]
    if kind == "after":
        return instant(datetime.combine(later(today, amount, unit), clock), place)
    count = 1
    while (candidate := later(start, count * amount, unit)) <= max(start, today):
        count += 1
    return instant(candidate, place)


def later(wall: datetime, amount: int, unit: str) -> datetime:
    """Add days, weeks, months or years; a month that is too short ends with its last day."""
    if unit in "dw":
        return wall + timedelta(days=amount * (7 if unit == "w" else 1))
    months = wall.year * 12 + wall.month - 1 + amount * (12 if unit == "y" else 1)
    first = wall.replace(year=months // 12, month=months % 12 + 1, day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return first.replace(day=min(wall.day, (following - timedelta(days=1)).day))


def instant(wall: datetime, place: ZoneInfo) -> datetime:
    """Return when clocks show a time: the second time if they do twice; if never, an hour on."""
    early, late = (wall.replace(tzinfo=place, fold=fold).utcoffset() for fold in (0, 1))
    assert early is not None
    assert late is not None
    return wall.replace(tzinfo=UTC) - (min(early, late))


CHANGES = {
    BERLIN: [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)],
    NEW_YORK: [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)],
    "Australia/Lord_Howe": [datetime(2026, 4, 4, 15, tzinfo=UTC)],
    "Asia/Kathmandu": [datetime(1985, 12, 31, 18, 30, tzinfo=UTC)],
    "UTC": [datetime(2028, 2, 29, tzinfo=UTC)],
}
"""Zone → moments at which its clocks change, or its calendar is special."""

ENDS_OF_MONTHS = [
    datetime(2027, 1, 31, 12, tzinfo=UTC),
    datetime(2028, 2, 29, 12, tzinfo=UTC),
    datetime(2027, 12, 31, 23, 30, tzinfo=UTC),
]

RULES = st.one_of(
    st.builds(
        "{} {}{}".format,
        st.sampled_from(["every", "after"]),
        st.integers(1, 40),
        st.sampled_from("hdwmy"),
    ),
    st.sets(st.sampled_from(DAYS), min_size=1).map(
        lambda days: "every " + ",".join(day for day in DAYS if day in days)
    ),
)


@st.composite
def completions(draw: st.DrawFn) -> tuple[str, str, datetime | None, datetime]:
    """Draw a rule, a zone, a due date and a completion, most of them near where it is hard."""
    where = draw(st.sampled_from(sorted(CHANGES)))
    near = draw(st.sampled_from([*CHANGES[where], *ENDS_OF_MONTHS]))
    minutes = st.integers(-4 * 24 * 60, 4 * 24 * 60)
    due = near + timedelta(minutes=draw(minutes))
    done = draw(
        st.one_of(
            minutes.map(lambda away: due + timedelta(minutes=away)),
            st.integers(-900, 900).map(lambda away: due + timedelta(days=away, seconds=away)),
        )
    )
    return draw(RULES), where, draw(st.sampled_from([due, due, due, None])), done


@settings(max_examples=400)
@given(completion=completions())
def test_the_next_due_date_is_that_of_the_calendar(
    calendar: psycopg.Connection, completion: tuple[str, str, datetime | None, datetime]
) -> None:
    rule, _, due, done = completion
    found = due_next(calendar, *completion)
    assert found == model(*completion)
    assert found > done
    assert rule.startswith("after") or due is None or found > due


@given(where=st.sampled_from(sorted(CHANGES)), rule=RULES, completed=st.data())
def test_nine_in_the_morning_stays_nine_in_the_morning(
    calendar: psycopg.Connection, where: str, rule: str, completed: st.DataObject
) -> None:
    assume(not rule.endswith("h"))
    place = ZoneInfo(where)
    due = datetime(2026, 1, 31, 9, tzinfo=place)
    for _ in range(12):
        done = due + timedelta(hours=completed.draw(st.integers(-50, 50)))
        due = due_next(calendar, rule, where, due, done).astimezone(place)
        assert (due.hour, due.minute) == (9, 0)


@pytest.mark.parametrize(
    ("rule", "due", "done", "following"),
    [
        ("every 1w", "2026-03-23 09:00", "2026-03-23 10:00", "2026-03-30 09:00"),
        ("every 1w", "2026-03-23 09:00", "2026-03-20 10:00", "2026-03-30 09:00"),
        ("every 1w", "2026-03-23 09:00", "2026-04-15 10:00", "2026-04-20 09:00"),
        ("every 1d", "2026-03-23 09:00", "2026-03-25 08:59", "2026-03-25 09:00"),
        ("every 1m", "2027-01-31 09:00", "2027-01-31 09:00", "2027-02-28 09:00"),
        ("every 1m", "2027-01-31 09:00", "2027-03-01 09:00", "2027-03-31 09:00"),
        ("every 1y", "2028-02-29 09:00", "2028-03-01 09:00", "2029-02-28 09:00"),
        ("every 4y", "2028-02-29 09:00", "2028-03-01 09:00", "2032-02-29 09:00"),
        ("every mon,wed", "2026-03-23 09:00", "2026-03-23 08:00", "2026-03-25 09:00"),
        ("every mon,wed", "2026-03-25 09:00", "2026-03-30 08:00", "2026-03-30 09:00"),
        ("every mon,wed", "2026-03-25 09:00", "2026-03-30 09:00", "2026-04-01 09:00"),
        ("every mon", "2026-03-23 09:00", "2026-03-23 09:00", "2026-03-30 09:00"),
        ("every mon", None, "2026-03-23 09:00", "2026-03-30 23:59:59"),
        ("every 1d", None, "2026-03-28 09:00", "2026-03-29 23:59:59"),
        ("every 2h", None, "2026-03-29 01:30", "2026-03-29 04:30"),
        ("after 3d", "2026-03-01 09:00", "2026-03-28 21:00", "2026-03-31 09:00"),
        ("after 1m", None, "2026-01-31 21:00", "2026-02-28 23:59:59"),
        ("after 1h", "2026-03-01 09:00", "2026-10-25 01:50", "2026-10-25 02:50"),
        # 02:30 is not, then is twice.
        ("every 1d", "2026-03-28 02:30", "2026-03-28 02:30", "2026-03-29 03:30"),
        ("every 1d", "2026-10-24 02:30", "2026-10-24 02:30", "2026-10-25 02:30"),
    ],
)
def test_when_it_is_due_in_berlin(
    calendar: psycopg.Connection, rule: str, due: str | None, done: str, following: str
) -> None:
    def local(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN))

    found = due_next(calendar, rule, BERLIN, local(due) if due else None, local(done))
    assert found.astimezone(ZoneInfo(BERLIN)).isoformat(" ")[: len(following)] == following


@pytest.mark.parametrize("unit", "hdwmy")
def test_a_date_in_the_far_past_is_caught_up_with_at_once(
    calendar: psycopg.Connection, unit: str
) -> None:
    done = datetime(9998, 5, 31, 12, tzinfo=UTC)
    calendar.execute("SET statement_timeout = '5s'")
    found = due_next(calendar, f"every 1{unit}", BERLIN, datetime(1, 1, 2, tzinfo=UTC), done)
    assert done < found <= done + timedelta(days=366)


@pytest.mark.parametrize("rule", ["every 9999y", "after 9999y", "every mon", "every 1h"])
def test_beyond_the_calendar_it_is_no_error(calendar: psycopg.Connection, rule: str) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    (beyond,) = calendar.execute(
        "SELECT next_due(%s, 'UTC', %s, %s) > '9999-12-31 23:59:59+00'", (rule, last, last)
    ).fetchone() or (None,)
    assert beyond is True


# On the command line


def recurring(url: str) -> list[tuple[object, ...]]:
    return psql(url, "SELECT recurrence, recurrence_zone FROM tasks ORDER BY id")


def test_a_task_recurs_in_the_zone_in_which_it_was_told_to(here: Here, url: str) -> None:
    with zone(NEW_YORK):
        here.ok("task", "add", "Stand up", "--every", "mon,wed")
    with zone(BERLIN):
        here.ok("task", "add", "Water", "--every-after", "3 days")
        here.ok("task", "edit", "1", "--title", "Sit down")
    assert recurring(url) == [("every mon,wed", NEW_YORK), ("after 3d", BERLIN)]
    with zone(BERLIN):
        assert here.ok("task", "edit", "1", "--every", "2w")["recurrence"] == "every 2w"
        assert here.ok("task", "edit", "2", "--every", "none")["recurrence"] is None
    assert recurring(url) == [("every 2w", BERLIN), (None, None)]
    with zone(NAMELESS[0]):
        assert here.ok("task", "edit", "1", "--every-after", "none")["recurrence"] is None


def test_nonsense_changes_nothing(here: Here, url: str) -> None:
    with zone(BERLIN):
        here.ok("task", "add", "Stand up", "--every", "2w")
    told = here.refused("task", "edit", "1", "--every", "2w", "--every-after", "3d", code=2)
    assert "--every and --every-after exclude each other" in told
    for option, value in (("--every", "monk"), ("--every-after", "mon"), ("--every", "")):
        assert "is not how often" in here.refused("task", "edit", "1", option, value, code=2)
    with zone(NAMELESS[0]):
        told = here.refused("task", "edit", "1", "--every", "3d", code=2)
        assert told.endswith("hint: Name it: TZ=Europe/Berlin concord ...\n")
        here.refused("task", "add", "x", "--every", "3d", code=2)
    assert recurring(url) == [("every 2w", BERLIN)]


def test_a_zone_that_the_server_does_not_know_is_refused(here: Here, url: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        psql(
            url,
            "INSERT INTO tasks (title, owner_id, recurrence, recurrence_zone)"
            " SELECT 'x', id, 'every 1d', 'Nowhere/Land' FROM users",
        )
    assert psql(url, "SELECT FROM tasks") == []
