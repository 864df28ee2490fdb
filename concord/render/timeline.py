"""Lanes of time on a terminal: a character for each slice of it, readable without colours too."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from concord.plain import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.text import Text

    from concord.render import Renderer

NARROWEST: Final = 20
"""Characters of time below which there is nothing to see."""

_FINENESS: Final = 8
"""Into how many parts a character's slice of time is divided, to find what took most of it."""

_TICK_ROOM: Final = 12
"""Characters between two marks of the axis, at least."""

_SHORTEST_MARKED: Final = 3
"""Characters of a bar that has room for its mark."""

_GLYPHS: Final = {
    "transaction": ("·", "dim"),
    "statement": ("━", "blue"),
    "commit": ("▪", "green"),
    "wait": ("▒", "yellow"),
}
"""Kind of bar → its character and style."""

_ENDINGS: Final = {
    "ok": ("✓", "bold green"),
    "fail": ("✗", "bold red"),
    "info": ("?", "bold magenta"),
}
_ENDING_WORDS: Final = {"ok": "acknowledged", "fail": "failed", "info": "unknown"}
_MARK_STYLE: Final = "bold yellow"


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a row, in milliseconds. `mark`: what stands in it where there is room."""

    kind: str
    begin: float
    end: float
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A lane: its bars, later ones on top, (milliseconds, outcome) where something ended, a tail.

    `tail` holds a cell for each of the `heads` of the whole.
    """

    label: str
    bars: tuple[Bar, ...]
    endings: tuple[tuple[float, str], ...]
    tail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gantt:
    """Rows over the same `length_ms`. `legend`: kind of bar → what it means."""

    title: str
    length_ms: float
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    legend: Mapping[str, str]
    notes: tuple[str, ...]


class Cell(NamedTuple):
    """A character and its style."""

    glyph: str
    style: str


_BLANK: Final = Cell(" ", "")


def draw(renderer: Renderer, gantt: Gantt) -> None:
    """Draw lanes on the terminal, as wide as it is."""
    from rich.text import Text

    console = renderer.console()
    console.print(Text(visible(gantt.title), style="bold"))
    for line in lines(gantt, console.width):
        console.print(line, soft_wrap=True)
    for note in gantt.notes:
        console.print(Text(visible(note)))


def lines(gantt: Gantt, width: int) -> Iterator[Text]:
    """Yield the axis, the rows and the legend for a terminal of this width."""
    from rich.text import Text

    label = max((len(row.label) for row in gantt.rows), default=0)
    cells = list(zip(gantt.heads, *(row.tail for row in gantt.rows), strict=True))
    tails = [max(map(len, column)) for column in cells]
    room = max(NARROWEST, width - label - 2 - sum(tails) - len(tails) - 1)

    def tail(texts: Sequence[str]) -> str:
        fitted = (text.rjust(wide) for text, wide in zip(texts, tails, strict=True))
        return " ".join(fitted)

    axis, ticks = _axis(gantt.length_ms, room)
    yield Text(f"{'':{label}}  {axis}  {tail(gantt.heads)}".rstrip(), style="dim")
    yield Text(f"{'':{label}} ┌{ticks}┐", style="dim")
    for row in gantt.rows:
        line = Text.assemble(f"{row.label:>{label}} ", ("│", "dim"))
        for style, group in groupby(drawn(row, gantt.length_ms, room), key=lambda cell: cell.style):
            line.append("".join(cell.glyph for cell in group), style=style)
        line.append("│", style="dim")
        line.append(f" {tail(row.tail)}")
        yield line
    yield Text(f"{'':{label}} └{'─' * room}┘", style="dim")
    yield from _legend(gantt, room, width)


def drawn(row: Row, length_ms: float, room: int) -> list[Cell]:
    """Return the characters of a row: for each slice of time, what took most of it.

    Where an attempt ended without success, that is what a slice shows.
    """
    slices = room * _FINENESS
    fine: list[int | None] = [None] * slices

    def place(at: float) -> int:
        return round(at / length_ms * slices) if length_ms else 0

    for number, bar in enumerate(row.bars):
        for index in range(place(bar.begin), min(place(bar.end), slices)):
            fine[index] = number
    most = [
        Counter(
            None if index is None else row.bars[index].kind
            for index in fine[start : start + _FINENESS]
        ).most_common(1)[0][0]
        for start in range(0, slices, _FINENESS)
    ]
    cells = [_BLANK if kind is None else Cell(*_GLYPHS[kind]) for kind in most]
    for bar in row.bars:
        first, last = place(bar.begin) // _FINENESS, place(bar.end) // _FINENESS
        if bar.mark and last - first >= len(bar.mark) + _SHORTEST_MARKED - 1:
            start = (first + last - len(bar.mark)) // 2
            if {*most[start : start + len(bar.mark)]} == {bar.kind}:
                cells[start : start + len(bar.mark)] = [Cell(one, _MARK_STYLE) for one in bar.mark]
    # What went wrong is seen even where something that went well ended in the same slice.
    for at, outcome in sorted(row.endings, key=lambda ending: ending[1] != "ok"):
        cells[min(place(at) // _FINENESS, room - 1)] = Cell(*_ENDINGS[outcome])
    return cells


def _axis(length_ms: float, room: int) -> tuple[str, str]:
    """Return the numbers of an axis, and the line with its ticks."""
    fitting = (
        step
        for power in range(-3, 6)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if step / (length_ms or 1) * room >= _TICK_ROOM
    )
    step = next(fitting, length_ms or 1)
    numbers, ticks = [" "] * room, ["─"] * room
    for index in range(int(length_ms / step + 1e-9) + 1):
        at = min(round(index * step / (length_ms or 1) * room), room - 1)
        text = f"{index * step:g} ms"
        if at + len(text) <= room:
            numbers[at : at + len(text)] = text
        ticks[at] = "┬"
    return "".join(numbers), "".join(ticks)


def _legend(gantt: Gantt, room: int, width: int) -> Iterator[Text]:
    from rich.text import Text

    entries = [(*_GLYPHS[kind], meaning) for kind, meaning in gantt.legend.items()]
    if any(bar.mark for row in gantt.rows for bar in row.bars):
        entries += [
            ("5", _MARK_STYLE, "held by worker 5"),
            ("+2", _MARK_STYLE, "behind two who wait too"),
        ]
    found = {outcome for row in gantt.rows for _, outcome in row.endings}
    entries += [(*_ENDINGS[one], _ENDING_WORDS[one]) for one in _ENDINGS if one in found]
    line = Text()
    for glyph, style, meaning in entries:
        entry = Text.assemble((glyph, style), f" {meaning}", style="")
        if line and len(line) + 3 + len(entry) > width:
            yield line
            line = Text()
        if line:
            line.append("   ")
        line.append_text(entry)
    yield line
    each = gantt.length_ms / room
    yield Text(f"A character is {each:.2g} ms and shows what took most of it.", style="dim")
