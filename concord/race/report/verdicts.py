"""Results as tables, and what each verdict rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from concord.plain import dumps
from concord.race.report.markup import Markup, element, joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Result = Mapping[str, Any]

COLUMNS: Final = {
    "strategy": "strategy",
    "isolation": "isolation",
    "verdict": "verdict",
    "ok": "ok",
    "failed": "failed",
    "retries": "retries",
    "unknown": "unknown",
    "lost": "lost",
    "waits": "waits seen",
    "longest_wait_ms": "longest wait, ms ≥",
    "p50_ms": "p50, ms",
    "p95_ms": "p95, ms",
    "p99_ms": "p99, ms",
    "ok_per_s": "ok/s",
}
"""Key of a result → head of its column."""


def table(scenario: str, results: Sequence[Result]) -> Markup:
    """Return the results of a scenario's races."""
    head = element("tr", *(element("th", name, scope="col") for name in COLUMNS.values()))
    rows = [
        element(
            "tr", *(_cell(result, key) for key in COLUMNS), class_="control" * result["control"]
        )
        for result in results
    ]
    return element(
        "div",
        element(
            "table",
            element("caption", f"{scenario}: verdicts"),
            element("thead", head),
            element("tbody", *rows),
        ),
        class_="scroll",
        tabindex=0,
    )


def badge(verdict: str) -> Markup:
    """Return a verdict's word; its mark tells it apart without colours."""
    marks = {"PROVED": "✓", "VIOLATED": "✗"}
    return element(
        "span", f"{marks.get(verdict, '?')} {verdict}", class_=f"badge {verdict.lower()}"
    )


def basis(result: Result) -> Markup:
    """Return what a verdict rests on: the reason, and the witness of a violation in full."""
    return joined(
        [
            element("p", badge(result["verdict"]), " ", _sentence(result["reason"])),
            _died(result.get("died", 0)),
            _witness(result["witness"]) if result["witness"] else None,
        ]
    )


def number(value: object) -> str:
    """Return a number for a reader: thousands apart, a dash for none."""
    match value:
        case None:
            return "–"
        case float():
            return f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.3g}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _cell(result: Result, key: str) -> Markup:
    value = result[key]
    match key:
        case "verdict":
            return element("td", badge(value))
        case "strategy":
            control = element("small", " control") if result["control"] else None
            return element("th", value, control, scope="row")
        case "isolation":
            return element("td", value)
        case _:
            return element("td", number(value), class_="number")


def _witness(witness: Mapping[str, Any]) -> Markup:
    facts = {"rule": witness["rule"], "operations": ", ".join(f"op {op}" for op in witness["ops"])}
    if witness["task"] is not None:
        facts["task"] = str(witness["task"])
    facts |= {
        key.replace("_", " "): value if isinstance(value, str) else dumps(value)
        for key, value in cast("Mapping[str, Any]", witness["values"]).items()
    }
    pairs = (joined([element("dt", key), element("dd", value)]) for key, value in facts.items())
    return element(
        "div",
        element("p", element("strong", "Witness: "), _sentence(witness["text"])),
        element("dl", *pairs, class_="facts"),
        class_="witness",
    )


def _died(workers: int) -> Markup | None:
    if not workers:
        return None
    told = "A worker" if workers == 1 else f"{workers} workers"
    return element("p", f"{told} died during this race.", class_="warning")


def _sentence(text: str) -> str:
    """Return words of a log as a sentence: they begin small and end without a full stop."""
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:]
