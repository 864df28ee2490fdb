"""Dates as people type them: every form, both ends of daylight saving time, and nonsense."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time as clock
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from concord.dates import format_local, local_now, parse_after, parse_before, parse_due
from concord.errors import ExitCode, Usage

if TYPE_CHECKING:
    from collections.abc import Generator

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
KOLKATA = ZoneInfo("Asia/Kolkata")
ZONES = (BERLIN, NEW_YORK, KOLKATA)


class Parser(Protocol):
    """What the three readers of dates have in common."""

    def __call__(self, text: str, *, now: datetime) -> datetime | None: ...


PARSERS: tuple[Parser, ...] = (parse_due, parse_before, parse_after)

WEDNESDAY = datetime.fromisoformat("2026-11-25T14:30:15.678901")
"""The naive `now` of the tables, in whichever zone a test sets it."""

EARLIEST_NOW = datetime.fromisoformat("1980-01-01")
LATEST_NOW = datetime.fromisoformat("2100-01-01")

# Each day form, and the day it means on that Wednesday.
DAYS = [
    ("2026-12-24", "2026-12-24"),
    ("0999-01-31", "0999-01-31"),
    ("2028-02-29", "2028-02-29"),
    ("today", "2026-11-25"),
    ("tomorrow", "2026-11-26"),
    ("yesterday", "2026-11-24"),
    ("thu", "2026-11-26"),
    ("thursday", "2026-11-26"),
    ("fri", "2026-11-27"),
    ("friday", "2026-11-27"),
    ("sat", "2026-11-28"),
    ("saturday", "2026-11-28"),
    ("sun", "2026-11-29"),
    ("sunday", "2026-11-29"),
    ("mon", "2026-11-30"),
    ("monday", "2026-11-30"),
    ("tue", "2026-12-01"),
    ("tuesday", "2026-12-01"),
    ("wed", "2026-12-02"),
    ("wednesday", "2026-12-02"),
    ("next mon", "2026-11-30"),
    ("next tue", "2026-12-01"),
    ("next tuesday", "2026-12-01"),
    ("next wed", "2026-12-02"),
    ("next fri", "2026-12-04"),
    ("next sunday", "2026-12-06"),
    ("+0d", "2026-11-25"),
    ("+3d", "2026-11-28"),
    ("-3d", "2026-11-22"),
    ("+2w", "2026-12-09"),
    ("-1w", "2026-11-18"),
    ("+1m", "2026-12-25"),
    ("+2m", "2027-01-25"),
    ("-11m", "2025-12-25"),
    ("+1y", "2027-11-25"),
    ("-1y", "2025-11-25"),
]
ENDS = [
    ("eod", "2026-11-25"),
    ("eow", "2026-11-29"),
    ("eom", "2026-11-30"),
    ("eoq", "2026-12-31"),
    ("eoy", "2026-12-31"),
]
# Each form that says its time, and the local time it means.
MOMENTS = [
    ("2026-12-24T17:00", "2026-12-24T17:00:00"),
    ("2026-12-24 17:00", "2026-12-24T17:00:00"),
    ("2026-12-24T17:00:30", "2026-12-24T17:00:30"),
    ("2026-12-24 17:00:30.25", "2026-12-24T17:00:30.250000"),
    ("2026-12-24 9:30", "2026-12-24T09:30:00"),
    ("2026-12-24 at 9pm", "2026-12-24T21:00:00"),
    ("fri 17:00", "2026-11-27T17:00:00"),
    ("friday 17:00:05", "2026-11-27T17:00:05"),
    ("tomorrow 9:30", "2026-11-26T09:30:00"),
    ("tomorrow at 9:30", "2026-11-26T09:30:00"),
    ("tomorrow at 9am", "2026-11-26T09:00:00"),
    ("tomorrow 9 pm", "2026-11-26T21:00:00"),
    ("tomorrow 9:30pm", "2026-11-26T21:30:00"),
    ("tomorrow 12am", "2026-11-26T00:00:00"),
    ("tomorrow 12:05pm", "2026-11-26T12:05:00"),
    ("tomorrow 0:00", "2026-11-26T00:00:00"),
    ("next tue at 09:00", "2026-12-01T09:00:00"),
    ("+3d 17:00", "2026-11-28T17:00:00"),
    ("eow 17:00", "2026-11-29T17:00:00"),
    ("eod at 6pm", "2026-11-25T18:00:00"),
    ("today 9am", "2026-11-25T09:00:00"),
    ("now", "2026-11-25T14:30:15"),
    ("+4h", "2026-11-25T18:30:15"),
    ("-4h", "2026-11-25T10:30:15"),
    ("+30min", "2026-11-25T15:00:15"),
    ("-15min", "2026-11-25T14:15:15"),
]
FIXED = [
    ("2026-12-24T17:00Z", "2026-12-24T17:00:00"),
    ("2026-12-24t17:00z", "2026-12-24T17:00:00"),
    ("2026-12-24 17:00:30 Z", "2026-12-24T17:00:30"),
    ("2026-12-24T17:00+05:30", "2026-12-24T11:30:00"),
    ("2026-12-24T17:00:00.5-0800", "2026-12-25T01:00:00.500000"),
]
NONSENSE = [
    "",
    " ",
    "soon",
    "friyay",
    "fr",
    "next",
    "next week",
    "next today",
    "3d",
    "+d",
    "+ 3d",
    "+3",
    "+3x",
    "+1.5d",
    "+٣d",
    "٢٠٢٦-12-24",
    "17:00",
    "at 9am",
    "fri at",
    "fri 17",
    "fri at 9",
    "fri 0am",
    "fri 13pm",
    "fri 5:3",
    "fri 17:00Z",
    "fri 17:00 sharp",
    "now 17:00",
    "none 17:00",
    "+4h 17:00",
    "20261224",
    "2026-W52-4",
    "2026-1-2",
    "2026-12-24x17:00",
    "2026-12-24T",
    "2026-12-24T24:00",
    "24/12/2026",
    "fri\x00",
    "\ud800",
]
OFF_THE_CALENDAR = [
    "2026-02-30",
    "2027-02-29",
    "2026-13-01",
    "0000-01-01",
    "0000-01-01T00:00Z",
    "2026-12-24T17:60",
    "2026-12-24T17:00+25:00",
    "fri 24:00",
    "fri 17:60",
    "fri 9:75am",
    "+99999y",
    "-99999y",
    "+99999m",
    "-24317m",
    "+9999999d",
    "-9999999d",
    "+99999999999999999999w",
    "+999999999999999999999999y",
    "+99999999999h",
    "-99999999999999999999min",
    f"+{'9' * 5000}d",
    "0001-01-01T00:00+01:00",
    "9999-12-31T23:00-02:00",
]

zones = pytest.mark.parametrize("zone", ZONES, ids=str)
unhurried = settings(deadline=None)  # a slow machine is no failure


def local(text: str, zone: ZoneInfo) -> datetime:
    """The UTC moment of an ISO wall-clock time in a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@contextmanager
def system_zone(name: str) -> Generator[None]:
    """Make the operating system's zone another one for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    clock.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        clock.tzset()


# The forms


@zones
@pytest.mark.parametrize(("text", "day"), DAYS)
def test_a_day_means_its_end_as_due_and_after_and_its_start_as_before(
    text: str, day: str, zone: ZoneInfo
) -> None:
    now = WEDNESDAY.replace(tzinfo=zone)
    assert parse_due(text, now=now) == local(f"{day}T23:59:59", zone)
    assert parse_after(text, now=now) == local(f"{day}T23:59:59", zone)
    assert parse_before(text, now=now) == local(f"{day}T00:00:00", zone)


@zones
@pytest.mark.parametrize(("text", "day"), ENDS)
def test_the_end_of_a_period_is_its_last_second_for_every_reader(
    text: str, day: str, zone: ZoneInfo
) -> None:
    now = WEDNESDAY.replace(tzinfo=zone)
    for parse in PARSERS:
        assert parse(text, now=now) == local(f"{day}T23:59:59", zone)


@zones
@pytest.mark.parametrize(("text", "wall"), MOMENTS)
def test_a_time_that_is_said_is_local_and_the_same_for_every_reader(
    text: str, wall: str, zone: ZoneInfo
) -> None:
    now = WEDNESDAY.replace(tzinfo=zone)
    for parse in PARSERS:
        assert parse(text, now=now) == local(wall, zone)


@zones
@pytest.mark.parametrize(("text", "utc"), FIXED)
def test_a_written_offset_outweighs_the_local_zone(text: str, utc: str, zone: ZoneInfo) -> None:
    now = WEDNESDAY.replace(tzinfo=zone)
    for parse in PARSERS:
        assert parse(text, now=now) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("today", "text", "day"),
    [
        ("2026-11-23", "mon", "2026-11-30"),  # a Monday: never today
        ("2026-11-23", "next mon", "2026-11-30"),
        ("2026-11-23", "sun", "2026-11-29"),
        ("2026-11-23", "next sun", "2026-12-06"),
        ("2026-11-29", "mon", "2026-11-30"),  # a Sunday: the ISO week ends today
        ("2026-11-29", "next mon", "2026-11-30"),
        ("2026-11-29", "sun", "2026-12-06"),
        ("2026-11-29", "next sun", "2026-12-06"),
        ("2026-11-29", "eow", "2026-11-29"),
        ("2026-12-30", "eow", "2027-01-03"),
        ("2026-12-31", "eom", "2026-12-31"),
        ("2026-12-31", "tomorrow", "2027-01-01"),
        ("2027-02-01", "eom", "2027-02-28"),
        ("2028-02-01", "eom", "2028-02-29"),
        ("2026-01-01", "eoq", "2026-03-31"),
        ("2026-03-31", "eoq", "2026-03-31"),
        ("2026-04-01", "eoq", "2026-06-30"),
        ("2026-09-30", "eoq", "2026-09-30"),
        ("9999-12-05", "eom", "9999-12-31"),
        ("2026-01-31", "+1m", "2026-02-28"),
        ("2026-03-31", "-1m", "2026-02-28"),
        ("2026-03-31", "+1m", "2026-04-30"),
        ("2026-01-31", "+2m", "2026-03-31"),
        ("2026-12-31", "+2m", "2027-02-28"),
        ("2028-02-29", "+1y", "2029-02-28"),
        ("2028-02-29", "-4y", "2024-02-29"),
    ],
)
def test_days_at_the_edges_of_weeks_months_and_years(today: str, text: str, day: str) -> None:
    now = datetime.fromisoformat(f"{today}T12:00").replace(tzinfo=KOLKATA)
    assert parse_due(text, now=now) == local(f"{day}T23:59:59", KOLKATA)


def test_today_is_the_users_day_not_the_day_in_utc() -> None:
    late_evening = datetime(2026, 11, 25, 22, 0, tzinfo=NEW_YORK)
    early_morning = datetime(2026, 11, 26, 3, 0, tzinfo=KOLKATA)
    assert parse_due("today", now=late_evening) == datetime(2026, 11, 26, 4, 59, 59, tzinfo=UTC)
    assert parse_due("today", now=early_morning) == datetime(2026, 11, 26, 18, 29, 59, tzinfo=UTC)


@pytest.mark.parametrize("text", ["FRI 17:00", "  fri  17:00 ", "Fri\tAT\u00a017:00\n", "fRi 5PM"])
def test_case_and_space_do_not_matter(text: str) -> None:
    now = WEDNESDAY.replace(tzinfo=BERLIN)
    assert parse_due(text, now=now) == local("2026-11-27T17:00", BERLIN)


@pytest.mark.parametrize("text", ["none", " None ", "NONE"])
def test_none_clears_a_due_date_but_bounds_nothing(text: str) -> None:
    now = WEDNESDAY.replace(tzinfo=BERLIN)
    assert parse_due(text, now=now) is None
    for parse in (parse_before, parse_after):
        with pytest.raises(Usage, match="is no date to compare with") as refusal:
            parse(text, now=now)
        assert "none" not in (refusal.value.hint or "")


# Daylight saving time


@pytest.mark.parametrize(
    ("zone", "text", "utc"),
    [
        # Skipped by the clocks: forward by as much.
        ("Europe/Berlin", "2026-03-29 02:30", "2026-03-29T01:30"),
        ("America/New_York", "2026-03-08 2:30am", "2026-03-08T07:30"),
        ("America/New_York", "2026-03-08T02:00", "2026-03-08T07:00"),
        # Twice on the clocks: the first.
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30"),
        ("America/New_York", "2026-11-01 1:30", "2026-11-01T05:30"),
        # By the rules of the date meant, not of today's.
        ("Europe/Berlin", "2026-07-01 12:00", "2026-07-01T10:00"),
        ("Europe/Berlin", "2026-12-01 12:00", "2026-12-01T11:00"),
        ("America/New_York", "2026-07-01 12:00", "2026-07-01T16:00"),
        ("America/New_York", "2026-12-01 12:00", "2026-12-01T17:00"),
        ("Asia/Kolkata", "2026-07-01 12:00", "2026-07-01T06:30"),
    ],
)
def test_gaps_and_folds(zone: str, text: str, utc: str) -> None:
    now = WEDNESDAY.replace(tzinfo=ZoneInfo(zone))
    expected = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert parse_due(text, now=now) == expected
    with system_zone(zone):
        assert parse_due(text, now=local_now()) == expected


def test_a_day_that_has_no_midnight_starts_when_its_clocks_do() -> None:
    now = WEDNESDAY.replace(tzinfo=ZoneInfo("Africa/Cairo"))
    start = parse_before("2026-04-24", now=now)
    assert start.astimezone(now.tzinfo).isoformat() == "2026-04-24T01:00:00+03:00"


def test_hours_count_elapsed_time_and_days_the_calendar() -> None:
    eve = datetime(2026, 3, 28, 14, 0, tzinfo=BERLIN)  # clocks go forward at night
    assert parse_due("+24h", now=eve) == local("2026-03-29T15:00", BERLIN)
    assert parse_due("+1d 14:00", now=eve) == local("2026-03-29T14:00", BERLIN)


def test_hours_are_counted_from_the_second_pass_of_a_repeated_hour() -> None:
    second_pass = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)
    assert parse_due("+30min", now=second_pass) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)


# The system's zone


@unhurried
@given(
    moment=st.datetimes(min_value=EARLIEST_NOW, max_value=LATEST_NOW, timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
)
def test_the_system_zone_agrees_with_the_zone_database(moment: datetime, zone: ZoneInfo) -> None:
    with system_zone(zone.key):
        here = moment.astimezone(local_now().tzinfo)
        there = moment.astimezone(zone)
        assert here.replace(tzinfo=None) == there.replace(tzinfo=None)
        assert here.fold == there.fold
        assert here.utcoffset() == there.utcoffset()
        assert here.astimezone(UTC) == moment


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize(
    ("zone", "wall"),
    [
        (BERLIN, "2026-03-29T02:30:00"),
        (NEW_YORK, "2026-03-08T02:00:00"),
        (BERLIN, "2026-10-25T02:30:00"),
        (NEW_YORK, "2026-11-01T01:59:59"),
        (NEW_YORK, "9000-07-01T12:00:00.999999"),  # more digits than a float holds
    ],
)
def test_the_system_zone_reads_gaps_folds_and_far_off_times_like_the_zone_database(
    zone: ZoneInfo, wall: str, fold: int
) -> None:
    naive = datetime.fromisoformat(wall).replace(fold=fold)
    moment = naive.replace(tzinfo=zone).astimezone(UTC)
    with system_zone(zone.key):
        here = local_now().tzinfo
        assert naive.replace(tzinfo=here).astimezone(UTC) == moment
        back = moment.astimezone(here).replace(tzinfo=None)
        assert back == moment.astimezone(zone).replace(tzinfo=None)


@pytest.mark.parametrize("hour", [0, 1])
def test_the_system_zone_tells_the_passes_of_a_repeated_hour_apart(hour: int) -> None:
    moment = datetime(2026, 10, 25, hour, 30, 0, 123_456, tzinfo=UTC)
    with system_zone("Europe/Berlin"):
        here = moment.astimezone(local_now().tzinfo)
        assert (here.hour, here.fold, here.microsecond) == (2, hour, 123_456)
        assert here.astimezone(UTC) == moment


def test_local_now_is_now_with_a_zone_that_stands_for_no_single_offset() -> None:
    with system_zone("Asia/Kolkata"):
        before, now, after = datetime.now(UTC), local_now(), datetime.now(UTC)
        assert before <= now <= after
        assert now.utcoffset() == timedelta(hours=5, minutes=30)
        assert now.isoformat().endswith("+05:30")
        assert (now.tzname(), now.dst()) == ("local", None)
        assert time(12, tzinfo=now.tzinfo).utcoffset() is None


# Nonsense


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_named_and_answered_with_examples(text: str, parse: Parser) -> None:
    with pytest.raises(Usage, match="cannot read") as error:
        parse(text, now=WEDNESDAY.replace(tzinfo=BERLIN))
    assert repr(text) in error.value.message
    assert error.value.details == {"value": text}
    assert error.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("text", OFF_THE_CALENDAR, ids=lambda text: text[:20])
def test_what_no_calendar_holds_is_an_error_that_says_so(text: str, parse: Parser) -> None:
    with pytest.raises(Usage, match="years 1 to 9999") as error:
        parse(text, now=WEDNESDAY.replace(tzinfo=BERLIN))
    assert repr(text) in error.value.message


def test_the_calendars_first_hours_are_refused_where_utc_has_not_begun() -> None:
    with pytest.raises(Usage):
        parse_before("0001-01-01", now=WEDNESDAY.replace(tzinfo=BERLIN))
    with system_zone("America/New_York"), pytest.raises(Usage):
        parse_due("9999-12-31", now=local_now())


@pytest.mark.parametrize(
    ("parse", "offers_none"), [(parse_due, True), (parse_before, False), (parse_after, False)]
)
def test_every_example_of_the_hint_is_understood(parse: Parser, offers_none: bool) -> None:
    now = WEDNESDAY.replace(tzinfo=BERLIN)
    with pytest.raises(Usage) as error:
        parse("soon", now=now)
    examples = re.findall("`(.+?)`", error.value.hint or "")
    assert {"today", "fri", "next tue", "+3d", "2026-12-24 17:00", "eow"} <= set(examples)
    assert ("none" in examples) is offers_none
    for example in examples:
        parse(example, now=now)


# Properties

nows = st.datetimes(
    min_value=EARLIEST_NOW,
    max_value=LATEST_NOW,
    timezones=st.sampled_from(ZONES),
    allow_imaginary=False,
)
weekday_names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
weekday_words = st.sampled_from([*weekday_names, *(name[:3] for name in weekday_names)])
future_days = st.one_of(
    st.sampled_from(["today", "tomorrow", "eod", "eow", "eom", "eoq", "eoy"]),
    weekday_words,
    weekday_words.map("next {}".format),
    st.builds("+{}{}".format, st.integers(0, 500), st.sampled_from("dwmy")),
)
other_days = st.one_of(
    st.just("yesterday"),
    st.builds("-{}{}".format, st.integers(0, 500), st.sampled_from("dwmy")),
    st.dates(min_value=date(1, 1, 3), max_value=date(9999, 12, 29)).map(date.isoformat),
)
times = st.builds("{}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
phrases = st.one_of(
    future_days,
    other_days,
    st.builds("{}{}{}".format, future_days | other_days, st.sampled_from([" ", " at "]), times),
    st.builds("{}{}".format, st.integers(-10_000, 10_000).map("{:+}".format), st.just("min")),
)
# Text that looks like a date more often than chance would have it.
almost_dates = st.lists(
    st.one_of(
        phrases,
        st.sampled_from(["now", "none", "next", "at", "+", "-", ":", "T", "Z", "am", "pm", " "]),
        st.integers(-(10**12), 10**12).map(str),
        st.text(max_size=3),
    ),
    max_size=5,
).map("".join)


@unhurried
@given(text=st.text() | almost_dates, now=nows, parse=st.sampled_from(PARSERS))
def test_no_text_raises_anything_but_usage(text: str, now: datetime, parse: Parser) -> None:
    try:
        outcome = parse(text, now=now)
    except Usage as error:
        outcome = error
    if isinstance(outcome, Usage):
        assert repr(text) in outcome.message
        assert outcome.hint
    else:
        assert outcome is None or outcome.tzinfo is UTC


@unhurried
@given(text=future_days, now=nows)
def test_a_day_from_today_on_is_never_past(text: str, now: datetime) -> None:
    due = parse_due(text, now=now)
    assert due is not None
    assert due >= now.replace(microsecond=0)


@unhurried
@given(word=weekday_words, now=nows)
def test_a_weekday_is_one_to_seven_days_ahead_and_next_is_in_the_next_iso_week(
    word: str, now: datetime
) -> None:
    def days_ahead(text: str) -> int:
        due = parse_due(text, now=now)
        assert due is not None
        return (due.astimezone(now.tzinfo).date() - now.date()).days

    first, following = days_ahead(word), days_ahead(f"next {word}")
    assert 1 <= first <= 7
    assert following - first in {0, 7}
    assert f"{now.date() + timedelta(days=following):%A}".lower().startswith(word)
    in_a_week = now.date() + timedelta(weeks=1)
    assert (now.date() + timedelta(days=following)).isocalendar()[:2] == in_a_week.isocalendar()[:2]


@unhurried
@given(text=phrases, now=nows)
def test_the_start_of_what_is_meant_is_not_after_its_end(text: str, now: datetime) -> None:
    due = parse_due(text, now=now)
    assert due is not None
    assert parse_before(text, now=now) <= due == parse_after(text, now=now)


@unhurried
@given(text=phrases, now=nows)
def test_what_comes_out_in_iso_form_goes_in_as_the_same_moment(text: str, now: datetime) -> None:
    due = parse_due(text, now=now)
    assert due is not None
    for written in (
        due.isoformat(),
        due.isoformat().replace("+00:00", "Z"),
        due.isoformat(sep=" ", timespec="microseconds"),
    ):
        for parse in PARSERS:
            assert parse(written, now=now) == due


# The short form


@zones
@pytest.mark.parametrize(
    ("wall", "short"),
    [
        ("2026-11-25T17:00:00", "today 17:00"),
        ("2026-11-25T23:59:59", "today"),
        ("2026-11-25T23:59:59.999999", "today"),
        ("2026-11-25T23:59:00", "today 23:59"),
        ("2026-11-25T00:00:00", "today 00:00"),
        ("2026-11-24T09:05:40", "yesterday 09:05"),
        ("2026-11-24T23:59:59", "yesterday"),
        ("2026-11-26T23:59:59", "tomorrow"),
        ("2026-11-27T23:59:59", "fri"),
        ("2026-11-27T08:00:00", "fri 08:00"),
        ("2026-12-01T23:59:59", "tue"),
        ("2026-12-02T23:59:59", "2026-12-02"),
        ("2026-11-23T23:59:59", "2026-11-23"),
        ("2026-12-24T17:00:00", "2026-12-24 17:00"),
        ("0999-01-31T23:59:59", "0999-01-31"),
    ],
)
def test_the_short_form(wall: str, short: str, zone: ZoneInfo) -> None:
    now = WEDNESDAY.replace(tzinfo=zone)
    assert format_local(local(wall, zone), now=now) == short


def test_the_short_form_is_local() -> None:
    moment = datetime(2026, 11, 26, 4, 59, 59, tzinfo=UTC)
    assert format_local(moment, now=WEDNESDAY.replace(tzinfo=NEW_YORK)) == "today"
    assert format_local(moment, now=WEDNESDAY.replace(tzinfo=KOLKATA)) == "tomorrow 10:29"


@pytest.mark.parametrize(
    ("zone", "moment", "short"),
    [
        (KOLKATA, datetime.max.replace(tzinfo=UTC), "9999-12-31"),
        (NEW_YORK, datetime.min.replace(tzinfo=UTC), "0001-01-01 00:00"),
    ],
)
def test_the_short_form_stays_in_utc_at_the_calendars_ends(
    zone: ZoneInfo, moment: datetime, short: str
) -> None:
    assert format_local(moment, now=WEDNESDAY.replace(tzinfo=zone)) == short
    with system_zone(zone.key):
        assert format_local(moment, now=local_now()) == short


@unhurried
@given(text=phrases, now=nows)
def test_the_short_form_reads_back_as_the_same_minute(text: str, now: datetime) -> None:
    due = parse_due(text, now=now)
    assert due is not None
    # The second pass of a repeated hour looks like the first.
    assume(due.astimezone(now.tzinfo).fold == 0)
    again = parse_due(format_local(due, now=now), now=now)
    assert again is not None
    assert timedelta(0) <= due - again < timedelta(minutes=1)


# Start-up


def test_reading_a_date_needs_no_zone_database_and_importing_no_calendar() -> None:
    program = """
import sys
present = set(sys.modules)
from concord.dates import local_now, parse_due
print(*sorted({"calendar", "dataclasses", "zoneinfo"} & set(sys.modules) - present))
parse_due("+1m", now=local_now())
print(*sorted({"dataclasses", "zoneinfo"} & set(sys.modules) - present))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "\n\n"
