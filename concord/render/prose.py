"""Texts in Markdown on a terminal, of which it obeys nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.markdown import Markdown
from rich.segment import Segment
from rich.text import Text

from concord.plain import visible
from concord.render import left_out

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

LONGEST: Final = 20_000
"""Characters of a text that are laid out: more than anybody reads, and it takes its time."""


class Prose:
    """Markdown that somebody wrote, to be printed. A link shows where it leads to."""

    def __init__(self, text: str) -> None:
        self._left_out = len(text) - LONGEST
        # A terminal's own links would lead elsewhere than they say.
        self._markdown = Markdown(visible(text[:LONGEST]), hyperlinks=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what Rich makes of it, without what Markdown writes as a number (`&#8238;`)."""
        for segment in console.render(self._markdown, options):
            yield Segment(visible(segment.text), segment.style, segment.control)
        if self._left_out > 0:
            yield Text(f"… {left_out(self._left_out)}", style="dim")
