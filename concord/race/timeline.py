"""The worst moments of a race: who ran, who waited for whom, and how each attempt ended.

Pure data, from the events of one race. Two clocks meet here and are kept apart: a statement's time
is its client's, network and all; a wait is what samples saw of it, so a lower bound. What a worker
did while nothing was logged stays blank.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from concord.render.timeline import Bar, Gantt, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Event = Mapping[str, Any]

WINDOW_MS: Final = 50.0
"""How much of a race a timeline shows, in milliseconds."""

MOST_LANES: Final = 24
"""Workers that a terminal shows; those who waited longest are kept."""

TRANSACTION: Final = "transaction"
STATEMENT: Final = "statement"
COMMIT: Final = "commit"
WAIT: Final = "wait"
KINDS: Final = {
    TRANSACTION: "in a transaction, between statements (thinking, rolling back)",
    STATEMENT: "statement, by the client's clock",
    COMMIT: "COMMIT",
    WAIT: "waiting for a lock, as sampled",
}
"""Kind of span → what it means; a later kind lies on top of an earlier one."""


class Blocker(NamedTuple):
    """Whom somebody waits for. `how`: `holder`, or `queue` if it waits for a lock itself."""

    worker: int | None
    pid: int
    how: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a worker's time, cut to the window.

    `begin`, `end`: milliseconds from the window's begin. `ms`: the whole length, cut or not.
    `name`: the statement, or the lock that is waited for.
    """

    kind: str
    begin: float
    end: float
    ms: float
    name: str
    blockers: tuple[Blocker, ...] = ()


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, `at` milliseconds from the window's begin.

    `outcome`: ok, fail or info; `why`: the SQLSTATE of a failure, or else its reason.
    """

    at: float
    outcome: str
    op_id: int
    retry: int
    why: str | None


@dataclass(frozen=True, slots=True)
class Lane:
    """What one worker did in the window. `waited_ms`: how much of it samples saw it waiting."""

    worker: int
    pids: tuple[int, ...]
    spans: tuple[Span, ...]
    endings: tuple[Ending, ...]
    waited_ms: float

    def count(self, outcome: str) -> int:
        """Return how many attempts ended so in the window."""
        return sum(ending.outcome == outcome for ending in self.endings)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The worst window of a race: where the most waiting was seen.

    `begin`: seconds since the epoch; `after_ms`: milliseconds from the first attempt to it.
    `waited_ms` is summed over the workers. Where no wait was seen at all, it is the window with
    the most statement time, and `waited_ms` is 0. `interval_ms`: between two samples of the
    observer; `None` if nobody observed the race.
    """

    scenario: str
    strategy: str
    isolation: str
    begin: float
    after_ms: float
    length_ms: float
    waited_ms: float
    interval_ms: float | None
    lanes: tuple[Lane, ...]


class Interval(NamedTuple):
    """A stretch of time, in seconds since the epoch."""

    begin: float
    end: float


def worst(events: Sequence[Event]) -> Timeline | None:
    """Return the worst window of one race; `None` if nobody attempted anything."""
    (race,) = (event for event in events if event["type"] == "race")
    attempts = [event for event in events if event["type"] == "attempt"]
    waits = [event for event in events if event["type"] == "wait"]
    if not attempts:
        return None
    whole = extent(events)
    length = min(WINDOW_MS / 1000, whole.end - whole.begin)
    seen = [Interval(wait["since"], wait["seen"]) for wait in waits]
    busy = [
        Interval(statement["at"], statement["at"] + statement["ms"] / 1000)
        for attempt in attempts
        for statement in attempt["statements"]
    ]
    waited = any(one.end > one.begin for one in seen)
    begin = fullest(seen if waited else busy, length, whole)
    window = Interval(begin, begin + length)
    numbers = {event["worker"] for event in events if event["type"] in ("attempt", "worker")}
    near = [one for one in attempts if one["begin"] <= window.end and ended(one) >= begin]
    held = [one for one in waits if one["since"] < window.end and one["seen"] > begin]
    lanes = tuple(_lane(number, near, held, window) for number in sorted(numbers))
    return Timeline(
        race["scenario"],
        race["strategy"],
        race["isolation"],
        begin,
        (begin - whole.begin) * 1000,
        length * 1000,
        sum(lane.waited_ms for lane in lanes),
        next((event["interval_ms"] for event in events if event["type"] == "observer"), None),
        lanes,
    )


def worst_of(races: Iterable[Sequence[Event]]) -> Timeline | None:
    """Return the timeline with the most waiting among several races; `None` without any."""
    found = [timeline for events in races if (timeline := worst(events)) is not None]
    return max(found, key=lambda timeline: timeline.waited_ms, default=None)


def extent(events: Sequence[Event]) -> Interval:
    """Return when a race began and ended: from its first attempt to the end of its last.

    Before that workers start, and after it the ledger is read. Without attempts, its start.
    """
    attempts = [event for event in events if event["type"] == "attempt"]
    if not attempts:
        (started,) = (event["started"] for event in events if event["type"] == "race")
        return Interval(started, started)
    return Interval(min(one["begin"] for one in attempts), max(map(ended, attempts)))


def ended(attempt: Event) -> float:
    """Return when an attempt ended; of one whose end nobody knows, what is last known of it."""
    if attempt["end"] is not None:
        return attempt["end"]
    known = (one["at"] + one["ms"] / 1000 for one in attempt["statements"])
    return max(known, default=attempt["begin"])


def fullest(intervals: Iterable[Interval], length: float, whole: Interval) -> float:
    """Return where, within `whole`, the window begins that intervals fill most.

    With equals, the middle of the first stretch of them.
    """
    # The time that a window covers grows at the rate at which intervals come in at its end, and
    # shrinks as they go out at its begin: one sweep over the places where that rate changes.
    latest = whole.end - whole.begin - length
    changes: dict[float, int] = {0.0: 0, latest: 0}
    covered = 0.0
    for interval in intervals:
        # Since the epoch, a float has no room for what is smaller than a microsecond.
        begin, end = interval.begin - whole.begin, interval.end - whole.begin
        covered += max(0.0, min(end, length) - max(begin, 0.0))
        for at, change in ((begin - length, 1), (end - length, -1), (begin, -1), (end, 1)):
            place = min(max(at, 0.0), latest)
            changes[place] = changes.get(place, 0) + change
    first = last = before = 0.0
    most, rate = covered, 0
    for at in sorted(changes):
        covered += rate * (at - before)
        if covered > most + 1e-9:  # sums of fractions differ in their last digits
            first = last = at
            most = covered
        elif covered > most - 1e-9 and last == before:
            last = at
        rate += changes[at]
        before = at
    return whole.begin + (first + last) / 2


def lock_of(wait: Event) -> str:
    """Return what a wait is for: the mode, the kind of lock, and the table without its schema."""
    relation = wait["relation"]
    on = f" of {relation.rpartition('.')[2]}" if relation else ""
    return f"{wait['mode']} on {wait['locktype']}{on}"


def blockers_of(wait: Event) -> tuple[Blocker, ...]:
    """Return whom a wait is for, holders first."""
    found = (Blocker(one["worker"], one["pid"], one["how"]) for one in wait["blocked_by"])
    return tuple(sorted(found, key=lambda one: (one.how != "holder", one.worker or 0, one.pid)))


def _lane(number: int, attempts: Sequence[Event], waits: Sequence[Event], window: Interval) -> Lane:
    ours = [one for one in attempts if one["worker"] == number]
    blocked = [wait for wait in waits if wait["worker"] == number]
    spans = [span for attempt in ours for span in _spans(attempt, window)]
    held = [
        _span(
            WAIT,
            Interval(wait["since"], wait["seen"]),
            window,
            lock_of(wait),
            ms=wait["ms"],
            blockers=blockers_of(wait),
        )
        for wait in blocked
    ]
    order = list(KINDS)
    return Lane(
        number,
        tuple(sorted({one["pid"] for one in (*ours, *blocked) if one["pid"] is not None})),
        tuple(sorted((*spans, *held), key=lambda span: (order.index(span.kind), span.begin))),
        tuple(
            Ending(
                (ended(one) - window.begin) * 1000,
                one["outcome"],
                one["op_id"],
                one["retry"],
                one["sqlstate"] or one["reason"],
            )
            for one in ours
            if window.begin <= ended(one) <= window.end
        ),
        _covered(held),
    )


def _spans(attempt: Event, window: Interval) -> Iterator[Span]:
    """Yield the statements of an attempt, and the transactions round them, within the window."""
    opened: float | None = None
    for statement in attempt["statements"]:
        name, at = statement["name"], statement["at"]
        end = at + statement["ms"] / 1000
        kind = COMMIT if name == "commit" else STATEMENT
        if at < window.end and end > window.begin:
            yield _span(kind, Interval(at, end), window, name, ms=statement["ms"])
        began = at if opened is None else opened
        opened = None if kind == COMMIT else began
        if opened is None:
            yield from _open(began, end, window)
    if opened is not None:
        yield from _open(opened, ended(attempt), window)


def _open(begin: float, end: float, window: Interval) -> Iterator[Span]:
    if begin < window.end and end > window.begin:
        yield _span(TRANSACTION, Interval(begin, end), window, TRANSACTION)


def _span(
    kind: str,
    whole: Interval,
    window: Interval,
    name: str,
    *,
    ms: float | None = None,
    blockers: tuple[Blocker, ...] = (),
) -> Span:
    return Span(
        kind,
        (max(whole.begin, window.begin) - window.begin) * 1000,
        (min(whole.end, window.end) - window.begin) * 1000,
        (whole.end - whole.begin) * 1000 if ms is None else ms,
        name,
        blockers,
    )


def _covered(spans: Iterable[Span]) -> float:
    """Return how much time spans cover together, in milliseconds; what two cover counts once."""
    covered, reached = 0.0, 0.0
    for span in sorted(spans, key=lambda span: span.begin):
        covered += max(0.0, span.end - max(reached, span.begin))
        reached = max(reached, span.end)
    return covered


# What of it a terminal shows


def gantt(timeline: Timeline) -> Gantt:
    """Return a timeline as it is drawn on a terminal."""
    kept = sorted(timeline.lanes, key=lambda lane: -lane.waited_ms)[:MOST_LANES]
    notes = list(_notes(timeline))
    if missing := len(timeline.lanes) - len(kept):
        notes.append(f"{missing} more workers are not shown; none of them waited longer.")
    return Gantt(
        headline(timeline),
        timeline.length_ms,
        ("ok", "fail", "waited"),
        tuple(_row(lane) for lane in timeline.lanes if lane in kept),
        KINDS,
        tuple(notes),
    )


def headline(timeline: Timeline) -> str:
    """Return what a timeline shows, in one line."""
    which = "Worst" if timeline.waited_ms else "Busiest"
    where = f"{timeline.scenario}, {timeline.strategy} at {timeline.isolation}"
    return (
        f"{which} {timeline.length_ms:.3g} ms: {where}, {timeline.after_ms / 1000:.3f} s"
        " into the race"
    )


def _row(lane: Lane) -> Row:
    bars = tuple(
        Bar(
            span.kind,
            span.begin,
            span.end,
            _mark(span.blockers),
        )
        for span in lane.spans
    )
    return Row(
        f"worker {lane.worker}",
        bars,
        tuple((ending.at, ending.outcome) for ending in lane.endings),
        (
            str(lane.count("ok")),
            str(lane.count("fail")),
            f"≥{lane.waited_ms:.1f} ms" if lane.waited_ms else "–",
        ),
    )


def _mark(blockers: Sequence[Blocker]) -> str:
    """Return what a short space can say of those in the way: the holder, or how many in line."""
    for one in blockers:
        if one.how == "holder" and one.worker is not None:
            return str(one.worker)
    return f"+{len(blockers)}" if blockers else ""


def _notes(timeline: Timeline) -> Iterator[str]:
    if timeline.interval_ms is None:
        yield "Nobody observed this race: where a statement waited for a lock is not known."
        return
    waits = [(lane, span) for lane in timeline.lanes for span in lane.spans if span.kind == WAIT]
    if not waits:
        yield f"No lock wait was seen by samples {timeline.interval_ms:.0f} ms apart."
        return
    lane, span = max(waits, key=lambda wait: wait[1].ms)
    yield (
        f"The longest: worker {lane.worker} waited {span.ms:.1f} ms or more for"
        f" {span.name}{whom(span.blockers)}."
    )
    yield (
        f"Waits are what samples {timeline.interval_ms:.0f} ms apart saw: what fell between them"
        " looks like a statement."
    )
    endings = (ending for lane in timeline.lanes for ending in lane.endings)
    failures = Counter(ending.why or "?" for ending in endings if ending.outcome == "fail")
    if failures:
        told = (f"{why} ({count})" for why, count in failures.most_common())
        yield f"Attempts failed with: {', '.join(told)}."


def whom(blockers: Sequence[Blocker]) -> str:
    """Return whom a wait was for, as the rest of a sentence."""
    holders = [one for one in blockers if one.how == "holder"]
    queue = [one for one in blockers if one.how != "holder"]
    return (f"; held by {named(holders)}" if holders else "") + (
        f"; behind {named(queue)}, waiting too" if queue else ""
    )


def named(blockers: Sequence[Blocker]) -> str:
    """Return what sessions are called: by their workers, or else by their pids."""
    workers = [str(one.worker) for one in blockers if one.worker is not None]
    others = [str(one.pid) for one in blockers if one.worker is None]
    return ", ".join(
        f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}"
        for kind, names in (("worker", workers), ("pid", others))
        if names
    )
