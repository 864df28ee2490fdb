"""What to do next, on a terminal: a line a task, and what its urgency is the sum of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concord.plain import visible
from concord.render.wrapping import hanging

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.text import Text

    from concord.models import Suggestion
    from concord.render import Renderer


def draw(
    renderer: Renderer, suggestions: Sequence[Suggestion], weights: Mapping[str, float] | None
) -> None:
    """Draw suggestions; with the weights of the terms, how each urgency comes about."""
    console = renderer.console()
    for line in lines(suggestions, weights, console.width):
        console.print(line, soft_wrap=True)


def lines(
    suggestions: Sequence[Suggestion],
    weights: Mapping[str, float] | None,
    width: int,
) -> Iterator[Text]:
    """Yield the lines of suggestions for a terminal of this width."""
    from rich.text import Text

    wide = max((len(str(one.id)) for one in suggestions), default=0)
    for one in suggestions:
        told = Text.assemble(
            (f"{one.id:>{wide}} ", "bold"), visible(one.title), (f" — {visible(one.why)}", "dim")
        )
        yield from hanging(told, width, indent=wide + 1)
        if weights is not None:
            for name, term in one.terms.items():
                if term:
                    factor = f"{weights[name]:g} × {term / weights[name]:.2f}"
                    told = f"{'':{wide}} {term:7.2f} {name.replace('_', ' '):12}{factor}"
                    yield from hanging(Text(told, style="dim"), width)
            yield Text.assemble(f"{'':{wide}} ", (f"{one.urgency:7.2f} urgency", "bold"))
