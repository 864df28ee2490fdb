"""What a search found, on a terminal: a line a task, and below it the part that speaks of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from concord.models import MARKS
from concord.plain import visible
from concord.render.wrapping import hanging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from concord.models import Found
    from concord.render import Renderer

_EXCERPT_LINES = 2
"""How many lines an excerpt takes at most."""


def draw(renderer: Renderer, findings: Sequence[Found]) -> None:
    """Draw what was found, with the words that were looked for in bold."""
    console = renderer.console()
    for line in lines(findings, console.width):
        console.print(line, soft_wrap=True)


def lines(findings: Sequence[Found], width: int) -> Iterator[Text]:
    """Yield the lines of what was found for a terminal of this width."""
    from rich.text import Text

    wide = max((len(str(one.id)) for one in findings), default=0)
    room = max((len(one.status) for one in findings), default=0)
    indent = wide + room + 4
    for one in findings:
        told = Text.assemble(f"{one.id:>{wide}}  ", (f"{one.status:{room}}", "dim"), "  ")
        yield from hanging(told.append_text(marked(one.highlights.title)), width, indent=indent)
        if one.highlights.text is not None:
            excerpt = Text(" " * indent).append_text(marked(one.highlights.text, "dim"))
            yield from hanging(excerpt, width, indent=indent, most=_EXCERPT_LINES)


def marked(text: str, style: str = "") -> Text:
    """Return a highlighted text in a style, with its marked words in bold."""
    from rich.text import Text

    found = Text()
    # The marks come in pairs, so that every second part is within one.
    for number, part in enumerate(re.split(f"[{''.join(MARKS)}]", text)):
        found.append(visible(part), style="bold" if number % 2 else style)
    return found
