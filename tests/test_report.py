"""The report of a run: complete, true to the events, in need of nothing outside, and safe."""

from __future__ import annotations

import json
import re
import stat
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from race_events import START, Event, attempt, observer, race, raced, result, wait

from concord.errors import Usage
from concord.race import report
from concord.race.report import figures, races, verdicts
from concord.race.report.latency import latencies
from concord.race.report.markup import Markup, element
from concord.race.report.waiting import coverage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EVIL = "<script>alert('&')</script>"

RUN: Event = {
    "type": "run",
    "concord": "0.1.0",
    "started": START - 2,
    "settings": {"scenarios": ["counter"], "workers": 3, "seed": 42, "think_ms": 0.5},
    "server": {"server_version": "18.1", "fsync": "on", "max_connections": "100"},
}

WITNESS = {
    "rule": "lost-update",
    "ops": [17, 23],
    "task": 12,
    "values": {"left": 41, "started_from": 40, "field": EVIL},
    "text": f"op 17 left 41; op 23 started from {EVIL} and wrote over it",
}


LOST = result("none", "VIOLATED", lost=321, witness=WITNESS, reason="broken: lost-update (9 times)")


class Page(HTMLParser):
    """A page taken apart: its elements, and its text without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.style = ""
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], "an element has no end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        match self._open[-1:]:
            case ["script"]:
                self.scripts[-1] += data
            case ["style"]:
                self.style += data
            case _:
                self.text += data

    @property
    def figures(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[0])

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def written(path: Path, *some: tuple[Sequence[Event], Event], **run: Any) -> str:
    report.write(path / "race.html", {**RUN, **run}, some)
    return (path / "race.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("report")
    return Page(written(path, (raced("none"), LOST), (raced(), result())))


# The page as a document


def test_the_page_refers_to_nothing_outside_itself(page: Page) -> None:
    referring = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")
    found = {
        attributes[key] for _, attributes in page.tags for key in referring if key in attributes
    }
    assert found
    assert all(value is not None and value.startswith("#") for value in found)
    assert not {"link", "iframe", "img", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"url\(|@import|@font-face", page.style)
    assert not re.search(r"https?:", page.scripts[0] + page.scripts[-1])


def test_a_browser_is_told_to_load_nothing_for_it(page: Page) -> None:
    (policy,) = (
        one["content"]
        for one in page.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "'unsafe-eval'" not in policy


def test_every_entry_of_the_contents_leads_somewhere(page: Page) -> None:
    there = {attributes.get("id") for _, attributes in page.tags}
    links = [one["href"] for one in page.all("a")]
    assert "#race-2" in links
    assert all(link is not None and link[1:] in there for link in links)


def test_plotly_is_included_once_and_the_rest_is_small(page: Page) -> None:
    assert len(page.scripts) == 3
    assert len(page.scripts[1]) > 1_000_000
    assert len(page.scripts[0]) < 30_000


def test_every_picture_has_its_place_and_words_for_who_cannot_see_it(page: Page) -> None:
    places = [one for one in page.all("div") if "data-figure" in one]
    assert [one["data-figure"] for one in places] == [str(n) for n in range(len(page.figures))]
    assert all(one["aria-label"] for one in places)
    assert len(page.figures) == 2 + 2 * 2


def test_it_is_made_for_both_colour_schemes_phones_and_paper(page: Page) -> None:
    for rule in ("(prefers-color-scheme: dark)", "@media print"):
        assert rule in page.style
    assert any(one.get("name") == "viewport" for one in page.all("meta"))
    assert '"var(--ink)"' in page.scripts[0]


# What it says


def test_the_verdicts_stand_in_a_table(page: Page) -> None:
    row = "none control read committed ✗ VIOLATED 1,234 1 7 2 321 3 48.5 1.5 20.2 30.1 812.3"
    assert row.replace(" ", "") in page.words.replace(" ", "")
    assert "Proved: 1 of 1 guarded races" in page.words
    assert "Lost updates: 1 of 1 controls" in page.words


def test_a_violation_shows_its_witness_in_full(page: Page) -> None:
    assert (
        "Op 17 left 41; op 23 started from <script>alert('&')</script> and wrote over it."
        in page.words
    )
    for fact in ("rulelost-update", "operationsop 17, op 23", "task12", "started from40"):
        assert fact in page.words
    assert "Broken: lost-update (9 times)." in page.words


def test_a_control_that_broke_the_accounts_is_no_demonstration(tmp_path: Path) -> None:
    witness = {**WITNESS, "rule": "lost-write"}
    told = Page(written(tmp_path, (raced("none"), {**LOST, "witness": witness})))
    assert "Lost updates: 0 of 1 controls" in told.words


def test_it_says_what_was_asked_when_and_of_which_server(page: Page) -> None:
    assert "A race on PostgreSQL 18.1" in page.words
    assert "2023-11-14 22:13:18 UTC in 11.0 s." in page.words
    for fact in ("seed42", "think, ms0.5", "fsyncon", "max_connections100"):
        assert fact in page.words


def test_the_coverage_of_the_observer_is_stated(page: Page) -> None:
    assert (
        "The observer took 12 samples, one each 10.5 ms. Of 2 statements that took 10 ms or more it"
        " saw 1 (50%) wait for a lock" in page.words
    )


def test_what_nobody_observed_is_not_called_free_of_waits(tmp_path: Path) -> None:
    blind = [event for event in raced() if event["type"] not in ("wait", "observer")]
    words = Page(written(tmp_path, (blind, result(waits=None, longest_wait_ms=None)))).words
    assert "Nobody observed this race" in words
    assert "No lock wait was seen" not in words


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (observer(complete=False), "It ended before the race did"),
        (observer(samples=None, interval_ms=None, complete=False), "before it could sample"),
        (observer(samples=1, interval_ms=None), "took 1 samples. "),
    ],
)
def test_an_observer_that_failed_is_told_of(told: Event, expected: str) -> None:
    assert expected in races.coverage_told(coverage(race(told)))


def test_a_dead_worker_is_told_of(tmp_path: Path) -> None:
    assert "2 workers died" in Page(written(tmp_path, (raced(), result(died=2)))).words


def test_a_race_in_which_nothing_happened_is_reported_too(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("longest_wait_ms", "p50_ms", "p95_ms", "p99_ms", "ok_per_s"))
    told = {**result(verdict="INCONCLUSIVE", ok=0, waits=0), **nothing}
    page = Page(written(tmp_path, (race(observer(samples=1)), told)))
    assert "INCONCLUSIVE" in page.words
    assert page.figures == []


# The figures are the events


def test_the_latencies_are_those_of_the_events(page: Page) -> None:
    points = [trace for trace in page.figures[0]["data"] if trace["name"] == "an operation"]
    assert [trace["x"] for trace in points] == [[5.0, 52.0, 60.0]] * 2
    (box,) = [trace for trace in page.figures[0]["data"] if trace["type"] == "box"]
    assert (box["median"], box["q3"]) == ([52.0, 52.0], [60.0, 60.0])
    assert page.figures[0]["layout"]["xaxis"]["type"] == "log"


def test_the_waits_over_time_are_those_of_the_events(page: Page) -> None:
    bars = [trace for trace in page.figures[1]["data"] if trace["yaxis"] == "y"]
    assert {trace["name"] for trace in bars} == {"transactionid", "tuple"}
    for trace, since in ((bars[0], 0.030), (bars[1], 0.022)):
        assert set(trace["y"]) == {1}
        assert trace["x"][0] == pytest.approx(since, abs=trace["width"])
        assert trace["x"][-1] + trace["width"] == pytest.approx(0.050, abs=trace["width"])


def test_the_graph_shows_who_waits_for_whom(page: Page) -> None:
    nodes = {
        trace["name"]: trace["text"]
        for trace in page.figures[2]["data"]
        if trace["mode"] == "markers+text"
    }
    assert nodes == {"does not wait": ["1"], "waits for a lock": ["0", "2"]}
    assert "worker 2ExclusiveLock on transactionid20.0 msworker 1worker 0" in page.words


def test_the_timeline_is_that_of_the_events(page: Page) -> None:
    bars = {trace["name"]: trace for trace in page.figures[3]["data"] if trace["type"] == "bar"}
    waiting = bars["waiting for a lock, as sampled"]
    assert [round(ms, 1) for ms in waiting["x"]] == [28.0, 20.0]
    assert waiting["y"] == [0, 2]
    assert any("waited 28.000 ms or more" in told for told in waiting["customdata"])
    assert "held by worker 1" in waiting["customdata"][0]


# Bounds


def test_many_operations_are_thinned_by_rank_and_the_caption_says_so() -> None:
    many = [attempt(n % 3, n / 1000, end=n / 1000 + n / 1e6, op_id=n) for n in range(1, 9001)]
    found = latencies(race(*many))
    picture = figures.latency([("a", found), ("b", found)])
    points = [trace["x"] for trace in picture.figure["data"] if trace["name"] == "an operation"]
    assert [len(x) for x in points] == [figures.MOST_POINTS // 2] * 2
    assert (points[0][0], points[0][-1]) == (found.ms[0], found.ms[-1])
    pictures = races.Pictures()
    section = races.scenario("counter", [(race(*many), result())], pictures, [1])
    assert "Of 9,000 operations at most 2,000 a strategy are drawn" in section


def test_a_timeline_of_very_many_statements_keeps_the_longest() -> None:
    tiny = [("read", n / 100_000, 0.004) for n in range(4000)]
    events = race(attempt(0, 0.0, *tiny, end=0.05), wait(1, 0.0, 0.05), observer(), workers=2)
    pictures = races.Pictures()
    section = races.race(1, events, result(), pictures)
    traces = pictures.drawn[-1]["data"]
    assert sum(len(trace["x"]) for trace in traces if trace["type"] == "bar") == figures.MOST_POINTS
    assert any(trace["name"].startswith("waiting") for trace in traces)
    assert "the 2,000 longest are drawn" in section


def test_45_races_make_one_page_of_bounded_size(tmp_path: Path) -> None:
    many = [(raced(f"s{number}"), result(f"s{number}")) for number in range(45)]
    text = written(tmp_path, *many)
    page = Page(text)
    assert len(page.scripts) == 3
    assert len(text) - len(page.scripts[1]) < 45 * 20_000


# Safety


def test_no_text_from_outside_becomes_markup(tmp_path: Path) -> None:
    events = [
        {**event, "relation": f"x.{EVIL}", "mode": EVIL}
        if event["type"] == "wait"
        else {**event, "reason": EVIL, "sqlstate": None}
        if event["type"] == "attempt"
        else event
        for event in raced()
    ]
    text = written(
        tmp_path,
        (events, result(reason=EVIL, witness=WITNESS, verdict="VIOLATED")),
        settings={**RUN["settings"], EVIL: EVIL},
        server={**RUN["server"], EVIL: EVIL},
        concord=EVIL,
    )
    page = Page(text)
    assert len(page.all("script")) == len(page.scripts) == 3
    assert page.text.count(EVIL) >= 8
    assert "<" not in page.scripts[0]
    # plotly.js makes elements of some tags in its own texts.
    assert EVIL not in json.dumps(page.figures)


def test_an_attribute_cannot_be_left() -> None:
    assert element("p", "<b>", id='"><i>') == '<p id="&quot;&gt;&lt;i&gt;">&lt;b&gt;</p>'
    assert element("td", Markup("<b>"), None, open=True, id=None) == "<td open><b></td>"
    assert verdicts.number(1234567) == "1,234,567"


# The file


def test_the_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "race.html"
    target.write_text("an earlier one")
    with pytest.raises(KeyError):
        report.write(target, RUN, [(raced(), {})])
    assert target.read_text() == "an earlier one"
    target.unlink()
    target.mkdir()
    with pytest.raises(Usage, match="cannot be written"):
        report.write(target, RUN, [(raced(), result())])
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    written(tmp_path, (raced(), result()))
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_an_unwritable_path_is_found_before_the_race(tmp_path: Path) -> None:
    report.require(tmp_path / "race.html")
    assert list(tmp_path.iterdir()) == []
    for path in (tmp_path, tmp_path / "missing" / "race.html"):
        with pytest.raises(Usage) as caught:
            report.require(path)
        assert "--report" in (caught.value.hint or "")


def _missing(name: str) -> None:
    assert name == "plotly"


def test_without_plotly_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concord.race.report.find_spec", _missing)
    with pytest.raises(Usage) as caught:
        report.require(tmp_path / "race.html")
    assert caught.value.hint == "pip install 'concord-tasks[report]'"
