"""The pictures of a race, as plotly figures: what is in them is in the events, and no more.

Colours come from Okabe and Ito's palette, which the colour-blind tell apart, and no difference is
told by colour alone. Ink, paper and grid are left to the page (`var(--…)`), which has two of each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from concord.race.timeline import COMMIT, KINDS, STATEMENT, TRANSACTION, WAIT, whom

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.race.report.latency import Latencies
    from concord.race.report.waiting import Slices
    from concord.race.timeline import Lane, Span, Timeline

    Figure = dict[str, Any]

MOST_POINTS: Final = 2000
"""Of a picture. What has more is thinned, and its caption says how."""

INK: Final = "var(--ink)"
GRID: Final = "var(--grid)"
PAPER: Final = "var(--paper)"
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#8A9099"

LOCKS: Final = {
    "transactionid": (VERMILLION, ""),
    "tuple": (SKY, "/"),
    "advisory": (PURPLE, "x"),
    "relation": (GREEN, "-"),
}
"""Kind of lock → its colour and pattern; any other has grey dots."""

_BAR: Final = {
    TRANSACTION: (GREY, 0.16),
    STATEMENT: (BLUE, 0.5),
    COMMIT: (GREEN, 0.5),
    WAIT: (VERMILLION, 0.72),
}
"""Kind of span → colour, and how much of a lane's height it takes."""

_ENDINGS: Final = {
    "ok": ("circle-open", "acknowledged"),
    "fail": ("x-thin", "failed"),
    "info": ("diamond-open", "unknown"),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as plotly.js takes it, and how high it is, in pixels."""

    figure: Figure
    height: int


def latency(races: Sequence[tuple[str, Latencies]]) -> Picture:
    """Return the latencies of races side by side, on a logarithmic axis."""
    shown = [(name, found) for name, found in races if found.ms]
    most = MOST_POINTS // max(1, len(shown))
    places = list(range(len(shown)))
    traces: list[Figure] = []
    for place, (name, found) in enumerate(shown):
        points = found.thinned(most)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "an operation",
                "x": points,
                # Spread by the golden ratio: no two neighbours are ever at the same height.
                "y": [
                    round(place + (index * 0.618 % 1 - 0.5) * 0.56, 3)
                    for index in range(len(points))
                ],
                "marker": {"size": 4, "color": SKY, "opacity": 0.55},
                "hovertemplate": f"{safe(name)}: %{{x}} ms<extra></extra>",
                "legendgroup": "points",
                "showlegend": place == 0,
            }
        )
    traces.append(
        {
            "type": "box",
            "orientation": "h",
            "name": "middle half and median; whiskers: 5th to 95th percentile",
            "y": places,
            **{
                key: [found.rank(share) for _, found in shown]
                for key, share in (
                    ("lowerfence", 0.05),
                    ("q1", 0.25),
                    ("median", 0.5),
                    ("q3", 0.75),
                    ("upperfence", 0.95),
                )
            },
            "width": 0.34,
            "line": {"color": INK, "width": 1.5},
            "fillcolor": "rgba(0,0,0,0)",
        }
    )
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "99th percentile",
            "x": [found.rank(0.99) for _, found in shown],
            "y": places,
            "marker": {"symbol": "diamond", "size": 9, "color": VERMILLION},
            "hovertemplate": "99th percentile: %{x} ms<extra></extra>",
        }
    )
    slowest = max((found.ms[-1] for _, found in shown), default=1.0)
    fastest = min((found.ms[0] for _, found in shown), default=0.1)
    axis = {"type": "log", **_log_ticks(fastest, slowest)}
    return picture(
        traces,
        {
            "xaxis": _axis("milliseconds (logarithmic)", **axis),
            "yaxis": _axis(
                None,
                tickvals=places,
                ticktext=[safe(name) for name, _ in shown],
                range=[len(shown) - 0.4, -0.6],
                showgrid=False,
            ),
        },
        130 + 52 * len(shown),
    )


def waits_over_time(races: Sequence[tuple[str, int, Slices]]) -> Picture:
    """Return how many sessions (of how many workers) were seen waiting, a strip for each race."""
    traces: list[Figure] = []
    layout: Figure = {"annotations": []}
    count = len(races)
    gap = 0.34 / count
    seen: set[str] = set()
    for number, (name, workers, found) in enumerate(races):
        suffix = str(number + 1) if number else ""
        top = 1 - number / count
        layout[f"yaxis{suffix}"] = _axis(
            None,
            domain=[round(top - 1 / count, 4), round(top - gap, 4)],
            range=[0, workers],
            tickvals=[0, workers],
            anchor="x",
        )
        layout["annotations"].append(
            {
                "text": safe(name) + ("" if found.waiting else ": no wait seen"),
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": round(top - gap, 4),
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12, "color": INK},
            }
        )
        for kind, counts in found.waiting.items():
            colour, shape = LOCKS.get(kind, (GREY, "."))
            filled = [index for index, count in enumerate(counts) if count]
            traces.append(
                {
                    "type": "bar",
                    "name": safe(kind),
                    "x": [found.starts[index] for index in filled],
                    "y": [counts[index] for index in filled],
                    "yaxis": f"y{suffix}",
                    "width": found.width,
                    "offset": 0,
                    "marker": {"color": colour, "line": {"width": 0}, "pattern": _pattern(shape)},
                    "legendgroup": safe(kind),
                    "showlegend": kind not in seen,
                    "hovertemplate": f"{safe(kind)}: %{{y}} waiting, %{{x:.3f}} s<extra></extra>",
                }
            )
            seen.add(kind)
    lowest = f"y{count}" if count > 1 else "y"
    longest = max((found.starts[-1] + found.width for _, _, found in races), default=1.0)
    layout |= {"barmode": "stack", "bargap": 0}
    layout["xaxis"] = _axis(
        "seconds from the first attempt of each race", anchor=lowest, range=[0, longest]
    )
    return picture(traces, layout, 110 + 74 * count)


def timeline(found: Timeline) -> Picture:
    """Return the lanes of the worst window: what each worker did, and whom it waited for."""
    spans = [(lane, span) for lane in found.lanes for span in lane.spans]
    kept = sorted(spans, key=lambda one: one[1].begin - one[1].end)[:MOST_POINTS]
    traces = [
        _bars(kind, [(lane, span) for lane, span in kept if span.kind == kind]) for kind in KINDS
    ]
    traces += _endings(found.lanes)
    lanes = [lane.worker for lane in found.lanes]
    return picture(
        [trace for trace in traces if trace["y"]],
        {
            "barmode": "overlay",
            "bargap": 0,
            "xaxis": _axis(
                "milliseconds from the begin of the window", range=[0, round(found.length_ms, 3)]
            ),
            "yaxis": _axis(
                None,
                tickvals=lanes,
                ticktext=[f"worker {number}" for number in lanes],
                range=[max(lanes) + 0.6, min(lanes) - 0.6],
                showgrid=False,
            ),
        },
        130 + 30 * len(lanes),
    )


def plotly_js() -> str:
    """Return plotly.js, all of it, as the page includes it."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _bars(kind: str, spans: Sequence[tuple[Lane, Span]]) -> Figure:
    colour, width = _BAR[kind]
    return {
        "type": "bar",
        "orientation": "h",
        "name": KINDS[kind],
        "base": [round(span.begin, 3) for _, span in spans],
        "x": [round(span.end - span.begin, 3) for _, span in spans],
        "y": [lane.worker for lane, _ in spans],
        "width": width,
        "marker": {
            "color": colour,
            "line": {"width": 0},
            "pattern": _pattern("/" if kind == WAIT else ""),
        },
        "customdata": [safe(_hover(span)) for _, span in spans],
        "hovertemplate": "worker %{y}: %{customdata}<extra></extra>",
    }


def _hover(span: Span) -> str:
    match span.kind:
        case "wait":
            return f"waited {span.ms:.3f} ms or more for {span.name}{whom(span.blockers)}"
        case "transaction":
            return f"in a transaction for {span.ms:.3f} ms"
        case _:
            return f"{span.name}, {span.ms:.3f} ms"


def _endings(lanes: Sequence[Lane]) -> Iterator[Figure]:
    for outcome, (symbol, name) in _ENDINGS.items():
        found = [(lane, one) for lane in lanes for one in lane.endings if one.outcome == outcome]
        yield {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [round(one.at, 3) for _, one in found],
            "y": [lane.worker for lane, _ in found],
            "marker": {
                "symbol": symbol,
                "size": 9,
                "color": INK,
                "line": {"width": 2, "color": INK},
            },
            "customdata": [
                safe(f"op {one.op_id}, attempt {one.retry + 1}: {name} {one.why or ''}".rstrip())
                for _, one in found
            ],
            "hovertemplate": "worker %{y}: %{customdata}<extra></extra>",
        }


def _pattern(shape: str) -> Figure:
    """Return a pattern in the colour of the paper on top of a bar's own colour."""
    return {
        "shape": shape,
        "fillmode": "overlay",
        "fgcolor": PAPER,
        "fgopacity": 0.6,
        "size": 6,
        "solidity": 0.22,
    }


def safe(text: str) -> str:
    """Return a text as plotly.js shows it, and does not take a part of it for its own markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _log_ticks(lowest: float, highest: float) -> dict[str, Any]:
    low, high = max(lowest, 1e-3), max(highest, 1e-3)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 4 else (1,)
    values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return {
        "tickvals": values,
        "ticktext": [f"{value:g}" for value in values],
        "range": [round(math.log10(low * 0.85), 4), round(math.log10(high * 1.2), 4)],
    }


def _axis(title: str | None, **more: Any) -> dict[str, Any]:
    return {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "automargin": True,
        **({"title": {"text": title}} if title else {}),
        **more,
    }


def picture(traces: Sequence[Figure], layout: Mapping[str, Any], height: int) -> Picture:
    """Return a figure that plotly has checked. Raises `ValueError` for one that it cannot draw."""
    import plotly.graph_objects as go

    common = {
        "template": {},
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        "legend": {
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "x": 0,
            "itemclick": False,
            "itemdoubleclick": False,
        },
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
    }
    checked: Any = go.Figure({"data": list(traces), "layout": {**common, **layout}})
    return Picture(checked.to_plotly_json(), height)
