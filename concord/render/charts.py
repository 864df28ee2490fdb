"""Statistics for a reader: tables, bars, and the open tasks of each day as a hilly line.

All of it is plain text, so that it can go anywhere.
"""

from __future__ import annotations

import textwrap
import unicodedata
from typing import TYPE_CHECKING, Final

from concord.plain import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.models import Flow, OpenTasks, Statistics
    from concord.render import Renderer

PIPE_COLUMNS: Final = 80
"""How wide a chart is that goes to no terminal."""

HEIGHT: Final = 8
"""Lines of the burndown."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_WIDEST_DAY: Final = 6
_LONGEST_NAME: Final = 24
_SHORTEST_BAR: Final = 8
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

_HEADS: Final = {
    "created": "created",
    "completed": "completed",
    "canceled": "canceled",
    "open": "open",
    "lead_p50_s": "lead p50",
    "lead_p90_s": "p90",
    "cycle_p50_s": "cycle p50",
    "cycle_p90_s": "p90",
}
"""Field of a flow → the head of its column."""

_CHOICES: Final = (
    tuple(_HEADS),
    tuple(name for name in _HEADS if "p90" not in name),
    ("created", "completed", "open", "lead_p50_s", "cycle_p50_s"),
    ("created", "completed", "open"),
)
"""The columns of a table: the first of these that fit."""

_LEGEND: Final = (
    "lead: from created to completed; cycle: from started to completed; half took at most p50, "
    "nine of ten at most p90"
)


def show(renderer: Renderer, statistics: Statistics, *, chart: bool) -> None:
    """Print statistics: for programs as they are, for readers as tables or as a chart."""
    if renderer.output == "json":
        renderer.document(
            {
                "zone": statistics.zone,
                "total": renderer.shaped(statistics.total),
                "periods": [renderer.shaped(flow) for flow in statistics.periods],
                "by": statistics.by,
                "groups": [renderer.shaped(flow) for flow in statistics.groups],
                "burndown": statistics.burndown,
            }
        )
    elif chart and renderer.output in ("table", "tsv"):
        for line in charted(statistics, renderer.width if renderer.draws else PIPE_COLUMNS):
            renderer.write(line)
    elif renderer.draws and not renderer.selects:
        for line in tabled(statistics, renderer.width):
            renderer.write(line)
    else:
        renderer.items(statistics.groups if statistics.by else statistics.periods, many=True)


def tabled(statistics: Statistics, width: int) -> Iterator[str]:
    """Yield the lines of the tables: by period, and by group."""
    periods = [(flow.first, flow) for flow in statistics.periods]
    head, *lines = _table(_unit(statistics), [*periods, ("in all", statistics.total)], width)
    yield head
    yield from lines
    if statistics.by is not None:
        yield ""
        yield from _table(statistics.by, _named(statistics.groups), width)
    if _HEADS["lead_p50_s"] in head:
        yield ""
        yield from textwrap.wrap(_LEGEND, width)


def charted(statistics: Statistics, width: int) -> Iterator[str]:
    """Yield the lines of a chart: a bar for each count, then the burndown."""
    if statistics.by is None:
        yield _unit(statistics)
        periods = [(flow.first, flow) for flow in statistics.periods]
        yield from _bars(periods, ("created", "completed", "canceled"), width)
    else:
        yield f"{statistics.by}, {statistics.total.first} to {statistics.total.last}"
        yield from _bars(
            _named(statistics.groups), ("created", "completed", "canceled", "open"), width
        )
    yield ""
    yield "open at the end of each day"
    yield from burndown(statistics.burndown, width)


def burndown(days: Sequence[OpenTasks], width: int) -> Iterator[str]:
    """Yield a hilly line as high as there were tasks open, a few cells for each day.

    Where there are more days than cells, a cell stands for the last of its days.
    """
    top = max(1, *(day.open for day in days))
    label = len(f"{top:,}")
    room = max(_SHORTEST_BAR, width - label - 2)
    cells = min(room, len(days) * min(_WIDEST_DAY, max(1, room // len(days))))
    levels = [
        round(
            days[
                (place + 1) * len(days) // cells - 1
                if cells < len(days)
                else place * len(days) // cells
            ].open
            * HEIGHT
            * 8
            / top
        )
        for place in range(cells)
    ]
    for line in range(HEIGHT - 1, -1, -1):
        number = f"{top:,}" if line == HEIGHT - 1 else ""
        hill = "".join(_LEVELS[max(0, min(8, level - 8 * line))] for level in levels)
        yield f"{number:>{label}} ┤{hill}".rstrip() if number else f"{'':{label}} │{hill}".rstrip()
    yield f"{0:>{label}} └{'─' * cells}"
    first, last = days[0].day, days[-1].day
    ends = f"{first}{last:>{cells - len(first)}}" if cells > len(first + last) else first
    yield f"{'':{label}}  {ends}"


def span(seconds: float | None) -> str:
    """Return a length of time in short: `45 min`, `3.2 d`."""
    if seconds is None:
        return "–"
    size, unit = next((pair for pair in _UNITS if abs(seconds) >= pair[0]), _UNITS[-1])
    number = seconds / size
    return f"{number:.1f} {unit}" if abs(number) < 10 and size > 60 else f"{number:.0f} {unit}"


def _table(head: str, rows: Sequence[tuple[str, Flow]], width: int) -> Iterator[str]:
    labels = [head, *(name for name, _ in rows)]
    longest = min(_LONGEST_NAME, max(map(cells, labels)))
    fields = {
        name: [title, *(_told(flow, name) for _, flow in rows)] for name, title in _HEADS.items()
    }
    columns, widths, room = _chosen(fields, width, longest)
    longest = max(1, min(longest, room))
    for number, line in enumerate(zip(labels, *columns, strict=True)):
        label, *counts = line
        numbers = (count.rjust(wide) for count, wide in zip(counts, widths, strict=True))
        yield "  ".join([_fitted(label, longest), *numbers])
        if number == 0:
            yield "─" * (longest + sum(widths) + 2 * len(widths))


def _chosen(
    fields: Mapping[str, Sequence[str]], width: int, longest: int
) -> tuple[list[Sequence[str]], list[int], int]:
    """Return the columns that fit beside labels, how wide each is, and the room of the labels."""
    for names in _CHOICES[:-1]:
        chosen = _measured(fields, names, width)
        if chosen[2] >= longest:
            return chosen
    return _measured(fields, _CHOICES[-1], width)


def _measured(
    fields: Mapping[str, Sequence[str]], names: Sequence[str], width: int
) -> tuple[list[Sequence[str]], list[int], int]:
    columns = [fields[name] for name in names]
    widths = [max(map(len, column)) for column in columns]
    return columns, widths, width - sum(widths) - 2 * len(widths)


def _bars(rows: Sequence[tuple[str, Flow]], kinds: Sequence[str], width: int) -> Iterator[str]:
    """Yield a bar for each kind of count that a row has, all at one scale."""
    top = max([1, *(getattr(flow, kind) for _, flow in rows for kind in kinds)])
    word = max(map(len, kinds))
    room = width - word - len(f"{top:,}") - 3
    longest = min(
        _LONGEST_NAME, room - _SHORTEST_BAR, max((cells(name) for name, _ in rows), default=0)
    )
    room -= longest
    for name, flow in rows:
        label = name
        for kind in kinds:
            if count := getattr(flow, kind):
                yield f"{_fitted(label, longest)} {kind:{word}} {_bar(count / top, room)} {count:,}"
                label = ""
        if label:
            yield f"{_fitted(label, longest)} –"


def _bar(share: float, room: int) -> str:
    """Return a bar as long as a share of the room, to an eighth of a cell."""
    whole, eighths = divmod(round(share * room * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].rstrip()


def _unit(statistics: Statistics) -> str:
    first = statistics.periods[0]
    return "day" if first.name == first.first else "week of"


def _named(groups: Sequence[Flow]) -> list[tuple[str, Flow]]:
    return [(visible(flow.name or "none"), flow) for flow in groups]


def _told(flow: Flow, name: str) -> str:
    value = getattr(flow, name)
    return span(value) if name.endswith("_s") else f"{value:,}"


def cells(text: str) -> int:
    """Return how many cells of a terminal text takes."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def _fitted(text: str, width: int) -> str:
    """Return text in just so many cells, cut if it is longer."""
    if cells(text) > width:
        while text and cells(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - cells(text))
