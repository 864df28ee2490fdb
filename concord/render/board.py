"""The board on a terminal: columns side by side, or one below the other where it is narrow."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from concord.plain import visible
from concord.render.wrapping import hanging, joined, padded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from concord.models import Board, BoardColumn, Card
    from concord.render import Renderer

NARROWEST: Final = 24
"""Cells of a column below which the columns stand one below the other."""

_GAP: Final = 2
_TITLE_LINES: Final = 3
_NAMES: Final = 3
"""Assignees of a card that are named; of more than these, the number is told."""

_HEADS: Final = {
    "todo": "to do",
    "in_progress": "in progress",
    "completed": "completed",
    "canceled": "canceled",
}
_MARKS: Final = {
    "urgent": ("!!!", "bold red"),
    "high": ("!!", "yellow"),
    "medium": ("!", ""),
    "low": ("↓", "dim"),
}
"""Priority → the mark of a card and its style."""


def show(renderer: Renderer, board: Board) -> None:
    """Print a board: drawn on a terminal; its tasks, one a line, in a pipe."""
    if renderer.output == "json":
        renderer.document(
            {
                "columns": [
                    {
                        "status": column.status,
                        "count": column.count,
                        "limit": column.limit,
                        "tasks": [renderer.shaped(card) for card in column.tasks],
                    }
                    for column in board.columns
                ]
            }
        )
    elif renderer.draws and not renderer.selects:
        console = renderer.console()
        for line in lines(board, console.width):
            console.print(line, soft_wrap=True)
        return
    else:
        renderer.items([card for column in board.columns for card in column.tasks], many=True)
    left = {
        column.status: column.count - len(column.tasks)
        for column in board.columns
        if column.count > len(column.tasks)
    }
    if left:
        told = ", ".join(f"{count} in {status}" for status, count in left.items())
        renderer.notice("cut", f"not shown: {told}", "all: --limit 0", left=left)


def lines(board: Board, width: int) -> Iterator[Text]:
    """Yield the lines of a board for a terminal of this width."""
    from rich.text import Text

    number = len(board.columns)
    each, spare = divmod(width - _GAP * (number - 1), number)
    if each < NARROWEST:
        for place, column in enumerate(board.columns):
            if place:
                yield Text()
            yield from _column(column, width)
        return
    widths = [each + (place < spare) for place in range(number)]
    drawn = [
        list(_column(column, wide)) for column, wide in zip(board.columns, widths, strict=True)
    ]
    for row in zip_longest(*drawn):
        cells = [padded(cell or Text(), wide) for cell, wide in zip(row, widths, strict=True)]
        line = Text(" " * _GAP).join(cells)
        line.rstrip()
        yield line


def _column(column: BoardColumn, width: int) -> Iterator[Text]:
    from rich.text import Text

    count = f"{column.count:,}" if column.limit is None else f"{column.count}/{column.limit}"
    full = column.limit is not None and column.count >= column.limit
    head = Text.assemble(
        (_HEADS[column.status], "bold"), " ", (count, "bold red" if full else "dim")
    )
    yield from hanging(head, width)
    yield Text("─" * width, style="dim")
    for card in column.tasks:
        yield from _card(card, width)
    if column.count > len(column.tasks):
        left = f"… {column.count - len(column.tasks):,} more"
        yield from hanging(Text(left, style="dim"), width)


def _card(card: Card, width: int) -> Iterator[Text]:
    from rich.text import Text

    mark, style = _MARKS.get(card.priority, ("", ""))
    head = Text.assemble((f"{card.id}", "bold"), " ", (mark and f"{mark} ", style))
    head.append(visible(card.title), style="dim" if card.status == "canceled" else "")
    yield from hanging(head, width, most=_TITLE_LINES)
    for line in joined(list(_facts(card)), width - 2):
        line.pad_left(2)
        yield line


def _facts(card: Card) -> Iterator[Text]:
    from rich.text import Text

    from concord import dates

    now = dates.local_now()
    open_still = card.status in ("todo", "in_progress")
    ended = card.completed_at or card.canceled_at
    if open_still and card.due is not None:
        late = card.due <= now
        day = dates.format_local(card.due, now=now)
        yield Text(f"{'overdue' if late else 'due'} {day}", style="bold red" if late else "")
    elif ended is not None:
        yield Text(dates.format_local(ended, now=now), style="dim")
    if card.blocked:
        yield Text("blocked", style="red")
    holder = card.claim.by if card.claim is not None else None
    if card.claim is not None:
        over = card.claim.expires_at <= now
        until = dates.format_local(card.claim.expires_at, now=now).removeprefix("today ")
        lease = "lease over" if over else f"until {until}"
        yield Text(visible(f"@{holder} {lease}"), style="yellow" if over else "cyan")
    yield from _people([name for name in card.assignees if name != holder])


def _people(names: Sequence[str]) -> Iterator[Text]:
    from rich.text import Text

    for name in names[:_NAMES]:
        yield Text(visible(f"@{name}"), style="dim")
    if len(names) > _NAMES:
        yield Text(f"+{len(names) - _NAMES}", style="dim")
