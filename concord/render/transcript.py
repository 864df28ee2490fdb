"""What several sessions did, in columns, and a matrix of outcomes: rich on a terminal alone."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.plain import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.text import Text

    from concord.render import Renderer

PIPE_COLUMNS = 100
"""How wide a transcript is that goes to no terminal."""

NARROWEST = 24
"""Columns of one session below which text is of no use; the whole then grows wider instead."""

_GAP = 2
_STYLES = {
    "title": "bold",
    "head": "bold",
    "note": "dim",
    "step": "bold cyan",
    "sql": "",
    "result": "green",
    "waiting": "yellow",
    "completed": "bold cyan",
    "error": "bold red",
    "session": "magenta",
    "version": "blue",
    "sight": "dim",
}
_OUTCOMES = {"anomaly": "red", "prevented": "green", "aborted": "yellow"}


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a transcript: lines of (kind, text), in a session's column or across them all.

    With `heads`, it is what stands above the columns instead.
    """

    column: int | None
    lines: tuple[tuple[str, str], ...] = ()
    heads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell of a matrix: what was observed, and in `expected` what should have been, if not so."""

    observed: str
    sqlstate: str | None
    expected: str | None = None


def show(renderer: Renderer, columns: int, passages: Sequence[Passage]) -> None:
    """Print passages, those of a session in one of so many columns."""
    terminal = renderer.output == "table"
    width = shutil.get_terminal_size().columns if terminal else PIPE_COLUMNS
    lines = laid_out(columns, passages, width)
    if not terminal:
        for _, line in lines:
            renderer.write(line)
        return
    from rich.text import Text

    console = renderer.console()
    for kind, line in lines:
        console.print(Text(visible(line), style=_STYLES[kind]), soft_wrap=True)


def laid_out(columns: int, passages: Sequence[Passage], width: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of passages as (kind, text), wrapped to columns that share the width."""
    wide = max(NARROWEST, (width - _GAP * (columns - 1)) // columns)
    for passage in passages:
        if passage.heads:
            heads = (head.ljust(wide) for head in passage.heads)
            yield "head", (" " * _GAP).join(heads).rstrip()
            yield "head", (" " * _GAP).join("─" * wide for _ in passage.heads)
            continue
        across = passage.column is None
        margin = " " * (2 if across else (passage.column or 0) * (wide + _GAP))
        room = max(NARROWEST, width - 2) if across else wide
        for kind, text in passage.lines:
            if across and kind == "title":
                yield kind, text
                continue
            for line in _wrapped(text, room):
                yield kind, f"{margin}{line}".rstrip()
        yield "note", ""


def draw_matrix(
    renderer: Renderer, levels: Sequence[str], rows: Mapping[str, Mapping[str, Outcome]]
) -> None:
    """Draw outcomes on a terminal: a row for each scenario, a column for each isolation level."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("scenario", no_wrap=True, min_width=max(map(len, rows)))
    for head in levels:
        table.add_column(head)
    for name, cells in rows.items():
        table.add_row(name, *(_outcome(cells[level]) for level in levels))
    renderer.console().print(table)


def _outcome(cell: Outcome) -> Text:
    from rich.text import Text

    told = Text(cell.observed, style=_OUTCOMES[cell.observed])
    if cell.sqlstate is not None:
        told.append(f" {cell.sqlstate}", style="dim")
    if cell.expected is not None:
        told.append(f" ✗ expected {cell.expected}", style="bold red")
    return told


def _wrapped(text: str, width: int) -> list[str]:
    """Return a line as several of at most this width, the later ones further in."""
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent + "  ",
        replace_whitespace=False,
        drop_whitespace=True,
        break_on_hyphens=False,
    ) or [""]
