"""The picture of a wait graph: sessions, and arrows to those they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from concord.race.report.figures import BLUE, GREEN, INK, picture, safe

if TYPE_CHECKING:
    from concord.race.report.figures import Picture
    from concord.race.report.wait_graph import WaitGraph

MOST_NODES: Final = 40
"""Sessions in a wait graph; its table names them all."""


def graph(found: WaitGraph) -> Picture:
    """Return who waits for whom: holders at the top, each session below all it waits for."""
    kept = [pid for level in found.levels for pid in level][:MOST_NODES]
    widest = max(map(len, found.levels))
    depths = {pid: depth for depth, level in enumerate(found.levels) for pid in level}
    # An arrow past a level would lie on the session there: then every other level steps aside.
    aside = 0.3 * any(depths[edge.waiter] - depths[edge.blocker] > 1 for edge in found.drawn)
    circling = {pid for circle in found.circles for pid in circle}
    spot = {
        pid: (
            aside * (depth % 2) + index - (len(level) - 1) / 2,
            # In a circle arrows go to and fro within a level: no three sessions of it in a row.
            -depth - 0.4 * (index % 2 if pid in circling and len(level) > 2 else 0),
        )
        for depth, level in enumerate(found.levels)
        for index, pid in enumerate(level)
        if pid in kept
    }
    waiters = {waiter.pid: waiter for waiter in found.waiters}
    traces: list[dict[str, Any]] = []
    for how, name, dash in (
        ("holder", "waits for one who does not wait", "solid"),
        ("queue", "waits for one who waits too", "dot"),
    ):
        ends = [
            (spot[edge.waiter], spot[edge.blocker])
            for edge in found.drawn
            if edge.how == how and edge.waiter in spot and edge.blocker in spot
        ]
        if ends:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": name,
                    "x": [x for begin, end in ends for x in (begin[0], end[0], None)],
                    "y": [y for begin, end in ends for y in (begin[1], end[1], None)],
                    "line": {"color": INK, "width": 1.5, "dash": dash},
                    "marker": {
                        "symbol": "arrow",
                        "angleref": "previous",
                        "size": [0, 11, 0] * len(ends),
                        "standoff": [0, 15, 0] * len(ends),
                        "color": INK,
                    },
                    "hoverinfo": "skip",
                }
            )
    for name, symbol, colour, pids in (
        ("does not wait", "square", GREEN, [pid for pid in kept if pid not in waiters]),
        ("waits for a lock", "circle", BLUE, [pid for pid in kept if pid in waiters]),
    ):
        if pids:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers+text",
                    "name": name,
                    "x": [spot[pid][0] for pid in pids],
                    "y": [spot[pid][1] for pid in pids],
                    "text": [_short(found.workers[pid]) for pid in pids],
                    "textfont": {"color": "#FFFFFF", "size": 12},
                    "customdata": [_told(found, pid) for pid in pids],
                    "hovertemplate": "%{customdata}<extra></extra>",
                    "marker": {"symbol": symbol, "size": 27, "color": colour},
                }
            )
    alone = [level[0] for level in found.levels if len(level) == 1 and level[0] in spot]
    notes = [
        {
            "text": f"{waiters[pid].ms:.1f} ms or more" if pid in waiters else "does not wait",
            "x": spot[pid][0],
            "y": spot[pid][1],
            "xanchor": "left",
            "xshift": 22,
            "showarrow": False,
            "font": {"size": 12, "color": INK},
        }
        for pid in alone
    ]
    depth = max(-y for _, y in spot.values())
    # What stands beside a node that is alone needs room at its right.
    right = max(widest / 2, 1.0) + (1.0 if alone else 0)
    hidden = {"visible": False, "fixedrange": True}
    return picture(
        traces,
        {
            "xaxis": {**hidden, "range": [-max(widest / 2, 0.7), right]},
            "yaxis": {**hidden, "range": [-depth - 0.6, 0.6]},
            "annotations": notes,
        },
        round(80 + 46 * (depth + 1)),
    )


def _short(worker: int | None) -> str:
    return "?" if worker is None else str(worker)


def _told(found: WaitGraph, pid: int) -> str:
    worker = found.workers[pid]
    who = f"pid {pid}" if worker is None else f"worker {worker} (pid {pid})"
    for waiter in found.waiters:
        if waiter.pid == pid:
            return safe(f"{who}: {waiter.ms:.1f} ms or more, {waiter.lock}")
    return f"{who}: does not wait"
