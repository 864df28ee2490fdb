"""The pictures of a scenario and of each of its races, with the words that go with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from concord.race import timeline
from concord.race.plan import SCENARIOS, STRATEGIES
from concord.race.report import arrows, figures, verdicts, waiting
from concord.race.report.latency import latencies
from concord.race.report.markup import Markup, element, joined
from concord.race.report.wait_graph import WaitGraph, worst_moment

if TYPE_CHECKING:
    from concord.race.report.figures import Picture
    from concord.race.timeline import Timeline

SLICES: Final = 200
"""Into how many slices the time of a race is divided, for the waits over time."""

Event = Mapping[str, Any]
Raced = tuple[Sequence[Event], Mapping[str, Any]]


@dataclass(slots=True)
class Pictures:
    """The figures of a page, in the order of their places on it."""

    drawn: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def place(self, picture: Picture, label: str, *caption: str) -> Markup:
        """Return where a picture goes, and what it shows in words."""
        self.drawn.append(picture.figure)
        return element(
            "figure",
            element("figcaption", element("strong", label), " ", *caption),
            element(
                "div",
                class_="picture",
                role="img",
                aria_label=label,
                data_figure=len(self.drawn) - 1,
                style=f"height:{picture.height}px",
            ),
        )

    def data(self) -> Markup:
        """Return all figures as a script that is data, and cannot end early."""
        text = json.dumps(self.drawn, separators=(",", ":"), allow_nan=False)
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return element("script", Markup(text), type="application/json", id="figures")


def scenario(
    name: str, races: Sequence[Raced], pictures: Pictures, numbers: Sequence[int]
) -> Markup:
    """Return the section of a scenario; `numbers` are those of its races on the page."""
    told = SCENARIOS.get(name)
    names = _names([result for _, result in races])
    found = [(short, latencies(events)) for short, (events, _) in zip(names, races, strict=True)]
    points = sum(len(one.ms) for _, one in found)
    each = figures.MOST_POINTS // max(1, len(found))
    thinned = (
        f" A dot is an operation. Of {points:,} operations at most {each:,} a strategy are drawn,"
        " evenly by rank, the fastest and the slowest always; all are counted."
        if any(len(one.ms) > each for _, one in found)
        else " A dot is an operation, and all are drawn."
    )
    content: list[Markup | None] = [
        element("h2", f"Scenario {name}"),
        element("p", f"In this scenario {told}.") if told else None,
        verdicts.table(name, [result for _, result in races]),
    ]
    if points:
        content.append(
            pictures.place(
                figures.latency(found),
                "How long an operation took, by strategy.",
                "From the begin of its first attempt to the acknowledgement of its COMMIT, retries"
                " and pauses between them included, by the client's clock.",
                thinned,
            )
        )
    content.append(_over_time(races, pictures))
    content += [
        race(number, events, result, pictures)
        for number, (events, result) in zip(numbers, races, strict=True)
    ]
    return element("section", *content, id=f"scenario-{name}")


def race(
    number: int, events: Sequence[Event], result: Mapping[str, Any], pictures: Pictures
) -> Markup:
    """Return what there is about one race."""
    found, graph = timeline.worst(events), worst_moment(events)
    meaning = STRATEGIES.get(result["strategy"])
    shown = [
        _graph(graph, pictures) if graph is not None else None,
        _timeline(found, pictures) if found is not None else None,
    ]
    return element(
        "article",
        element("h3", title(result), element("small", " control") if result["control"] else None),
        element("p", f"Strategy: {meaning}.", class_="meaning") if meaning else None,
        verdicts.basis(result),
        element("p", coverage_told(waiting.coverage(events))),
        element(
            "details",
            element("summary", "The worst moment and the worst 50 ms"),
            *shown,
            open=result["verdict"] != "PROVED",
        )
        if any(shown)
        else None,
        id=f"race-{number}",
    )


def title(result: Mapping[str, Any]) -> str:
    """Return what a race is called."""
    return f"{result['strategy']} at {result['isolation']}"


def _names(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the races of a scenario are called in its pictures: no longer than needed."""
    times = Counter(result["strategy"] for result in results)
    return [
        result["strategy"] if times[result["strategy"]] == 1 else title(result)
        for result in results
    ]


def coverage_told(found: waiting.Coverage | None) -> str:
    """Return in words how much the observer of a race can have seen."""
    if found is None:
        return "Nobody observed this race (--no-observer): where it waited for locks is not known."
    if not found.samples:
        return "The observer of this race ended before it could sample: nothing is known of waits."
    every = "" if found.interval_ms is None else f", one each {found.interval_ms:.1f} ms"
    share = (
        f"Of {found.long:,} statements that took {waiting.LONG_MS:g} ms or more it saw"
        f" {found.caught:,} ({found.caught / found.long:.0%}) wait for a lock; the others were"
        " slow for another reason, or waited between two samples."
        if found.long
        else f"No statement took {waiting.LONG_MS:g} ms or more."
    )
    early = "" if found.complete else " It ended before the race did: later waits are missing."
    return f"The observer took {found.samples:,} samples{every}. {share}{early}"


def _over_time(races: Sequence[Raced], pictures: Pictures) -> Markup:
    names = _names([result for _, result in races])
    observed = [
        (short, events)
        for short, (events, _) in zip(names, races, strict=True)
        if waiting.coverage(events) is not None
    ]
    if not any(event["type"] == "wait" for _, events in observed for event in events):
        told = "No lock wait was seen in any of these races." if observed else coverage_told(None)
        return element("p", told)
    count = max(20, min(SLICES, figures.MOST_POINTS // len(observed)))
    strips = [
        (
            short,
            next(event["workers"] for event in events if event["type"] == "race"),
            waiting.slices(events, count),
        )
        for short, events in observed
    ]
    return pictures.place(
        figures.waits_over_time(strips),
        "How many sessions were seen waiting for a lock.",
        "A strip for each race, as high as it has workers. Each race is divided into"
        f" {count} equal slices, and a slice shows its fullest moment. On a hot row sessions"
        " wait for the transaction that changed it last (transactionid), or in line for the right"
        " to be the next to wait for it (tuple).",
    )


def _graph(found: WaitGraph, pictures: Pictures) -> Markup:
    cut = len(found.workers) > arrows.MOST_NODES
    head = ("waits", "for", "at least", "held by", "behind, waiting too")
    rows = [
        element(
            "tr",
            element(
                "th", timeline.named([timeline.Blocker(waiter.worker, waiter.pid, "")]), scope="row"
            ),
            element("td", waiter.lock, class_="lock"),
            element("td", f"{waiter.ms:.1f} ms", class_="number"),
            *(
                element("td", timeline.named([one for one in waiter.blockers if one.how == how]))
                for how in ("holder", "queue")
            ),
        )
        for waiter in found.waiters
    ]
    return joined(
        [
            pictures.place(
                arrows.graph(found),
                f"Who waited for whom at the worst moment, {found.at_ms / 1000:.3f} s into the"
                " race.",
                f"The sample that saw the most sessions wait: {len(found.waiters)}. An arrow goes"
                " from who waits to whom it waits for; one that follows from others (who is behind"
                " B is also behind whom B waits for) is left out, the table has them all.",
                f" Only {arrows.MOST_NODES} sessions are drawn." if cut else "",
                *(f" {_circle(found, circle)}" for circle in found.circles),
            ),
            element(
                "div",
                element(
                    "table",
                    element("caption", "Every session that waited at that moment"),
                    element("thead", element("tr", *(element("th", h, scope="col") for h in head))),
                    element("tbody", *rows),
                ),
                class_="scroll",
                tabindex=0,
            ),
        ]
    )


def _circle(found: WaitGraph, circle: Sequence[int]) -> str:
    sessions = [timeline.Blocker(found.workers[pid], pid, "") for pid in circle]
    who = timeline.named(sorted(sessions, key=lambda one: (one.worker or 0, one.pid)))
    return (
        f"By these samples {who} waited for each other: a deadlock, which the server ends by"
        " aborting one of them (40P01)."
    )


def _timeline(found: Timeline, pictures: Pictures) -> Markup:
    spans = sum(len(lane.spans) for lane in found.lanes)
    why = (
        f"Of all windows of this length it is the one with the most waiting: {found.waited_ms:.1f}"
        " ms, all workers together, as far as samples saw it."
        if found.waited_ms
        else "No wait was seen, so it is the window with the most statement time."
    )
    failed = sum(lane.count("fail") for lane in found.lanes)
    done = sum(lane.count("ok") for lane in found.lanes)
    thinned = (
        f" Of {spans:,} stretches the {figures.MOST_POINTS:,} longest are drawn."
        if spans > figures.MOST_POINTS
        else ""
    )
    return pictures.place(
        figures.timeline(found),
        f"The worst {found.length_ms:.3g} ms, {found.after_ms / 1000:.3f} s into the race.",
        f"{why} In it {done} attempts were acknowledged and {failed} failed. A statement goes by"
        " its client's clock; the part of it in which it was seen to wait is marked, and it may"
        f" have waited before and after unseen.{thinned}",
    )
