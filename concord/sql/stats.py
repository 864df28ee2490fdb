"""Statistics: how many tasks came, went and are left, and how long they took.

All of it is told from the tasks as they are now, those in the trash left out. A task was open at
the end of a day if it had been created by then, and neither completed nor canceled: one that was
completed and reopened since counts as open all along.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, LiteralString, NamedTuple, TypeAlias

from psycopg import sql

from concord.database import Isolation, transaction
from concord.models import Flow, OpenTasks, Statistics
from concord.sql import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from concord.database import Transaction
    from concord.sql.listing import Filters

Period = Literal["day", "week"]
By = Literal["project", "person", "tag"]

# Workers read most of a large table, and hand on the little that counts; a quarter of a year of it
# is sorted in memory.
IN_PARALLEL: LiteralString = """
-- in_parallel: what many rows cost that go from one process to another, for this transaction
SELECT set_config('parallel_tuple_cost', '0.01', true), set_config('work_mem', '32MB', true)
"""

# Where each day begins in the zone, whatever the clocks did that night; the last entry is where the
# last day ends. Boundaries are made once, so that a task costs a search among them instead of a
# conversion.
BOUNDS: LiteralString = """
-- day_bounds: the first moment of each day, and of the day after
SELECT ((%(first)s::date + n)::timestamp AT TIME ZONE %(zone)s)
FROM generate_series(0, %(days)s) AS n ORDER BY n
"""

# Of a `coalesce` the planner does not know that it tells nothing of hidden rows: it would join all
# there is before it asks. A task is over in one way only.
LATELY = sql.SQL("""(t.created_at >= %(begin)s
           OR (t.completed_at IS NULL OR t.completed_at >= %(begin)s)
          AND (t.canceled_at IS NULL OR t.canceled_at >= %(begin)s))""")

# One pass. What was over before the first day changes no sum, and in years of use that is most; the
# rest falls into few groups, and only these are told apart by what happened. Day 0 is all the time
# before, which one comparison tells without a search.
DAYS = sql.SQL("""
-- count_days: what was created, completed and canceled on each day
WITH fates AS (
    SELECT CASE WHEN t.created_at < %(begin)s THEN 0
               ELSE width_bucket(t.created_at, %(bounds)s::timestamptz[]) END AS created,
           CASE WHEN t.completed_at < %(begin)s THEN 0
               ELSE width_bucket(t.completed_at, %(bounds)s::timestamptz[]) END AS completed,
           CASE WHEN t.canceled_at < %(begin)s THEN 0
               ELSE width_bucket(t.canceled_at, %(bounds)s::timestamptz[]) END AS canceled,
           count(*) AS tasks
    FROM tasks t
    WHERE {lately} AND {conditions}
    GROUP BY 1, 2, 3
)
SELECT event.day, sum(tasks) FILTER (WHERE event.kind = 'created')::bigint,
       sum(tasks) FILTER (WHERE event.kind = 'completed')::bigint,
       sum(tasks) FILTER (WHERE event.kind = 'canceled')::bigint
FROM fates CROSS JOIN LATERAL (
    VALUES ('created', created), ('completed', completed), ('canceled', canceled)
) AS event (kind, day)
WHERE event.day < cardinality(%(bounds)s::timestamptz[])
GROUP BY event.day
""")

# `starts` are those of the periods. The last row, without a period, is about all of them.
DURATIONS = sql.SQL("""
-- measure_durations: how long what was completed took, by period and in all
SELECT width_bucket(t.completed_at, %(starts)s::timestamptz[]) AS period,
       percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (
           ORDER BY extract(epoch FROM t.completed_at - t.created_at)::double precision),
       percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (
           ORDER BY extract(epoch FROM t.completed_at - t.started_at)::double precision)
FROM tasks t
WHERE t.completed_at >= %(begin)s AND t.completed_at < %(end)s AND {conditions}
GROUP BY GROUPING SETS ((period), ())
""")

# The names, which many rows share, are joined to the few groups that are left.
GROUPS = sql.SQL("""
-- count_groups: what was created, completed, canceled and left open in each, and how long it took
SELECT {name}, counted.created, counted.completed, counted.canceled, counted.open,
       counted.lead, counted.cycle
FROM (
    SELECT {key} AS key,
           count(*) FILTER (WHERE t.created_at >= %(begin)s AND t.created_at < %(end)s) AS created,
           count(*) FILTER (WHERE t.completed_at >= %(begin)s AND t.completed_at < %(end)s)
               AS completed,
           count(*) FILTER (WHERE t.canceled_at >= %(begin)s AND t.canceled_at < %(end)s)
               AS canceled,
           count(*) FILTER (
               WHERE t.created_at < %(end)s
                 AND coalesce(t.completed_at, t.canceled_at, 'infinity') >= %(end)s) AS open,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (
               ORDER BY extract(epoch FROM t.completed_at - t.created_at)::double precision
           ) FILTER (WHERE t.completed_at >= %(begin)s AND t.completed_at < %(end)s) AS lead,
           percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (
               ORDER BY extract(epoch FROM t.completed_at - t.started_at)::double precision
           ) FILTER (WHERE t.completed_at >= %(begin)s AND t.completed_at < %(end)s) AS cycle
    FROM {tasks} t
    WHERE {lately} AND {conditions}
    GROUP BY {key}
) AS counted
LEFT JOIN {names} ON g.id = counted.key
WHERE counted.created + counted.completed + counted.canceled + counted.open > 0
ORDER BY counted.completed DESC, counted.open DESC, 1
""")


class Grouping(NamedTuple):
    """How tasks are told apart: the id on a row, where rows are, and where its name is."""

    key: LiteralString
    tasks: LiteralString
    names: LiteralString
    name: LiteralString


# With the column alone, the planner would rather read all tasks one by one in the order of an index
# of projects than sort a part of them.
GROUPINGS: dict[By, Grouping] = {
    "project": Grouping("(t.project_id + 0)", "tasks", "projects g", "g.key"),
    "person": Grouping("t.user_id", "tasks_by_assignee", "users g", "g.username"),
    "tag": Grouping("t.tag_id", "tasks_by_tag", "tags g", "g.name"),
}


class _Day(NamedTuple):
    """What happened on a day."""

    created: int = 0
    completed: int = 0
    canceled: int = 0

    @property
    def growth(self) -> int:
        return self.created - self.completed - self.canceled


_NOTHING = _Day()

Spread: TypeAlias = "Sequence[float] | None"
"""The median and the 90th percentile, in seconds; `None` of nothing."""

Durations: TypeAlias = "tuple[float | None, float | None, float | None, float | None]"
_NONE_COMPLETED: Durations = (None, None, None, None)


@transaction(isolation=Isolation.REPEATABLE_READ, read_only=True)
def flow(
    tx: Transaction,
    filters: Filters,
    *,
    first: date,
    last: date,
    zone: str,
    period: Period = "week",
    by: By | None = None,
) -> Statistics:
    """Return the statistics of the days from `first` to `last`, as the time zone has them.

    `zone` is an IANA name. A week begins on Monday: `first` has to be one where `period` is a week.
    A task of several people or tags counts for each. Raises `NotFound` if there is nothing, and a
    filter names what does not exist.
    """
    tx.execute(IN_PARALLEL)
    count = (last - first).days + 1
    days = [first + timedelta(days=n) for n in range(count)]
    bounds = tx.scalars(BOUNDS, {"first": first, "days": count, "zone": zone})
    step = 1 if period == "day" else 7
    conditions, given = listing.conditions_of(tx, filters)
    within = sql.SQL("\n  AND ").join(conditions)
    given |= {
        "bounds": list(bounds),
        "starts": list(bounds[:-1:step]),
        "begin": bounds[0],
        "end": bounds[-1],
    }

    day_by_day = tx.later(DAYS.format(lately=LATELY, conditions=within), given, _day)
    durations = tx.later(DURATIONS.format(conditions=within), given, _took)
    groups = _groups(tx, by, within, given, days) if by else None
    tx.last()
    happened, took = dict(day_by_day()), dict(durations())
    if not happened:
        listing.check_names(tx, filters)
    left = [
        *accumulate(
            (happened.get(number, _NOTHING).growth for number in range(1, count + 1)),
            initial=happened.get(0, _NOTHING).growth,
        )
    ]

    def told(name: str | None, numbers: Sequence[int], part: int | None) -> Flow:
        """Return the flow of days, by their numbers from 1 on."""
        some = [happened.get(number, _NOTHING) for number in numbers]
        return Flow(
            name,
            days[numbers[0] - 1].isoformat(),
            days[numbers[-1] - 1].isoformat(),
            sum(day.created for day in some),
            sum(day.completed for day in some),
            sum(day.canceled for day in some),
            left[numbers[-1]],
            *took.get(part, _NONE_COMPLETED),
        )

    parts = [range(start, min(start + step, count + 1)) for start in range(1, count + 1, step)]
    return Statistics(
        zone=zone,
        total=told(None, range(1, count + 1), None),
        periods=tuple(
            told(_name(days[numbers[0] - 1], period), numbers, part)
            for part, numbers in enumerate(parts, start=1)
        ),
        by=by,
        groups=groups() if groups else (),
        burndown=tuple(
            OpenTasks(day.isoformat(), number) for day, number in zip(days, left[1:], strict=True)
        ),
    )


def _groups(
    tx: Transaction, by: By, within: sql.Composable, given: dict[str, Any], days: Sequence[date]
) -> Callable[[], tuple[Flow, ...]]:
    """Return what gives the flow of each group."""
    parts = {name: sql.SQL(part) for name, part in GROUPINGS[by]._asdict().items()}
    first, last = days[0].isoformat(), days[-1].isoformat()

    def told(
        name: str | None,
        created: int,
        completed: int,
        canceled: int,
        left: int,
        lead: Spread,
        cycle: Spread,
    ) -> Flow:
        took = _durations(lead, cycle)
        return Flow(name, first, last, created, completed, canceled, left, *took)

    return tx.later(GROUPS.format(lately=LATELY, conditions=within, **parts), given, told)


def _day(
    number: int, created: int | None, completed: int | None, canceled: int | None
) -> tuple[int, _Day]:
    return number, _Day(created or 0, completed or 0, canceled or 0)


def _took(part: int | None, lead: Spread, cycle: Spread) -> tuple[int | None, Durations]:
    return part, _durations(lead, cycle)


def _durations(lead: Spread, cycle: Spread) -> Durations:
    # Medians lie between two values: what is finer than these, to the millisecond, means nothing.
    lead_p50, lead_p90 = (round(value, 3) for value in lead) if lead else (None, None)
    cycle_p50, cycle_p90 = (round(value, 3) for value in cycle) if cycle else (None, None)
    return lead_p50, lead_p90, cycle_p50, cycle_p90


def _name(day: date, period: Period) -> str:
    if period == "day":
        return day.isoformat()
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"
