"""The whole page: what was asked, the verdicts, a section for each scenario, how to read it."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from concord.plain import cell
from concord.race.judge.scenarios import LOSSES
from concord.race.report import races as sections
from concord.race.report import verdicts
from concord.race.report.figures import plotly_js
from concord.race.report.markup import Markup, element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from concord.race.report.races import Raced

POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What a browser may load for this page: nothing that is not in it."""

UNITS: Final = {"duration": "s", "think_ms": "ms"}
"""Setting → the unit that it is in."""


def page(run: Mapping[str, Any], races: Sequence[Raced]) -> str:
    """Return the report of a run as an HTML document that refers to nothing outside itself."""
    version = str(run["server"].get("server_version", ""))
    name = f"A race on PostgreSQL {version}".rstrip()
    pictures = sections.Pictures()
    scenarios = dict.fromkeys(result["scenario"] for _, result in races)
    numbered = list(enumerate(races, start=1))
    body = [
        _header(name, run, races),
        _contents(scenarios, numbered),
        element(
            "main",
            _summary(races),
            *(
                sections.scenario(
                    scenario,
                    [raced for _, raced in numbered if raced[1]["scenario"] == scenario],
                    pictures,
                    [number for number, raced in numbered if raced[1]["scenario"] == scenario],
                )
                for scenario in scenarios
            ),
            _part("reading.html"),
            _asked(run),
            _server(run),
        ),
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", name),
        element("style", _part("page.css")),
    )
    scripts = [
        pictures.data(),
        element("script", Markup(plotly_js())),
        element("script", _part("page.js")),
    ]
    document = element("html", head, element("body", *body, *scripts), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _header(name: str, run: Mapping[str, Any], races: Sequence[Raced]) -> Markup:
    started = datetime.fromtimestamp(run["started"], UTC)
    ended = max(
        (event["ended"] for events, _ in races for event in events if event["type"] == "end"),
        default=run["started"],
    )
    count = "One race" if len(races) == 1 else f"{len(races)} races"
    return element(
        "header",
        element("h1", name),
        element(
            "p",
            f"{count} of {run['settings']['workers']} workers each, run by Concord"
            f" {run['concord']} from ",
            element("time", f"{started:%Y-%m-%d %H:%M:%S} UTC", datetime=started.isoformat()),
            f" in {ended - run['started']:.1f} s.",
        ),
        element(
            "noscript",
            element("p", "The pictures need JavaScript; the tables have the figures without it."),
        ),
    )


def _contents(scenarios: Mapping[str, None], numbered: Sequence[tuple[int, Raced]]) -> Markup:
    def link(to: str, text: str, *more: Markup) -> Markup:
        return element("li", element("a", text, href=f"#{to}"), *more)

    inner = [
        link(
            f"scenario-{scenario}",
            f"Scenario {scenario}",
            element(
                "ul",
                *(
                    link(f"race-{number}", sections.title(result))
                    for number, (_, result) in numbered
                    if result["scenario"] == scenario
                ),
            ),
        )
        for scenario in scenarios
    ]
    return element(
        "nav",
        element("h2", "Contents"),
        element(
            "ul",
            link("verdicts", "The verdicts"),
            *inner,
            link("reading", "How to read it"),
            link("asked", "What was asked"),
            link("server", "The server"),
        ),
        aria_label="Contents",
    )


def _summary(races: Sequence[Raced]) -> Markup:
    results = [result for _, result in races]
    guarded = [result for result in results if not result["control"]]
    controls = [result for result in results if result["control"]]
    proved = sum(result["verdict"] == "PROVED" for result in guarded)
    lost = sum(
        result["verdict"] == "VIOLATED"
        and result["lost"] > 0
        and bool(result["witness"] and result["witness"]["rule"] in LOSSES)
        for result in controls
    )
    wrong = [
        element(
            "li",
            element("a", f"{result['scenario']}, {sections.title(result)}", href=f"#race-{number}"),
            " ",
            verdicts.badge(result["verdict"]),
        )
        for number, result in enumerate(results, start=1)
        if not result["control"] and result["verdict"] != "PROVED"
    ]
    return element(
        "section",
        element("h2", "The verdicts"),
        element(
            "p",
            f"Proved: {proved} of {len(guarded)} guarded races; in them no acknowledged write was"
            f" lost, doubled or invented. Lost updates: {lost} of {len(controls)} controls, which"
            " guard nothing; under the same load they have to, or the proof would mean nothing.",
        ),
        element("ul", *wrong, class_="wrong") if wrong else None,
        element(
            "p",
            "What a verdict rests on stands with each race, and the ",
            element("a", "rules", href="#rules"),
            " under how to read it.",
        ),
        id="verdicts",
    )


def _named(key: str) -> str:
    """Return a setting's name as a reader wants it, with its unit."""
    if key in UNITS:
        return f"{key.removesuffix('_ms')}, {UNITS[key]}"
    return key.replace("_", " ")


def _asked(run: Mapping[str, Any]) -> Markup:
    rows = {_named(key): value for key, value in run["settings"].items()}
    return element(
        "section", element("h2", "What was asked"), _pairs("Settings of the run", rows), id="asked"
    )


def _server(run: Mapping[str, Any]) -> Markup:
    return element(
        "section",
        element("h2", "The server"),
        _pairs("Settings of the server that matter to a race", run["server"]),
        id="server",
    )


def _pairs(caption: str, pairs: Mapping[str, Any]) -> Markup:
    rows = (
        element(
            "tr",
            element("th", key, scope="row"),
            element("td", cell(value).replace(",", ", ") or "–"),
        )
        for key, value in pairs.items()
    )
    return element(
        "div",
        element("table", element("caption", caption), element("tbody", *rows), class_="pairs"),
        class_="scroll",
        tabindex=0,
    )


def _part(name: str) -> Markup:
    return Markup(files("concord.race.report").joinpath(name).read_text(encoding="utf-8"))
