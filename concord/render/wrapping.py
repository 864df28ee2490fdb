"""Text in a given width, in the cells of a terminal, of which a wide character takes two."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

_NARROWEST = 4
"""Cells in which a wide character has room in any line, indented or not."""


def hanging(text: Text, width: int, *, indent: int = 2, most: int | None = None) -> list[Text]:
    """Return text as lines of at most this width, all but the first one indented.

    Between words, as far as possible; a word that is longer than a line (as is a sentence of a
    language without spaces) begins where the one before it ended. Of more than `most` lines the
    rest is left out, and an ellipsis says so.
    """
    width = max(width, _NARROWEST)
    text = text.copy()
    text.expand_tabs(1)
    indent = min(indent, width // 2)
    lines = list(text.divide(_breaks(text.plain, width, width - indent)))
    left_out = most is not None and len(lines) > most
    for number, line in enumerate(lines[:most]):
        line.rstrip()
        if number:
            line.pad_left(indent)
    if left_out:
        del lines[most:]
        lines[-1].truncate(width - 1)
        lines[-1].append("…")
    return lines


def joined(parts: Sequence[Text], width: int, gap: str = "  ") -> list[Text]:
    """Return parts side by side, in as many lines as they take; none is broken but for itself."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(gap) + part.cell_len <= width:
            lines[-1].append(gap).append_text(part)
        else:
            lines += hanging(part, width, indent=0)
    return lines


def padded(line: Text, width: int) -> Text:
    """Return a line as wide as this."""
    line.append(" " * (width - line.cell_len))
    return line


def _breaks(text: str, first: int, rest: int) -> Iterator[int]:
    """Yield where a line ends, if the first one has so many cells and the others that many."""
    from rich.cells import cell_len, chop_cells

    left = first
    for match in re.finditer(r"\S+\s*|\s+", text):
        word, place = match[0].rstrip(), match.start()
        if cell_len(word) <= rest and cell_len(word) > left:
            yield place
            left = rest
        while cell_len(word) > left:
            # The narrowest piece may be one wide character.
            piece = chop_cells(word, left)[0] if left > 1 else ""
            place += len(piece)
            word = word[len(piece) :]
            yield place
            left = rest
        left -= cell_len(word) + len(match[0]) - len(match[0].rstrip())
