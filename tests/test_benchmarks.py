"""The benchmarks run, and tell the truth about writes that are lost."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import run  # noqa: E402 - they are scripts, which import each other as such
import writers  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from peers import MARK, Command, Peer, made_up  # noqa: E402

if TYPE_CHECKING:
    from conftest import Server

SCRIPT = """
import sys
from pathlib import Path
word, number, store = sys.argv[1], int(sys.argv[1][-5:]), Path(sys.argv[2])
if number == 3:
    sys.exit("refused")
if number != 2:
    with store.open("a") as file:
        file.write(word + "\\n")
"""
"""A tracker that refuses the fourth write of each, and says yes to the third, and forgets it."""


class Forgetful(Peer):
    """A tracker that loses writes."""

    name = "forgetful"
    about = "made up"

    @classmethod
    def missing(cls) -> str | None:
        return None

    def fill(self, count: int, limit: float) -> None:
        self.store.write_text("")

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def add(self, title: str) -> Command:
        return Command((sys.executable, "-c", SCRIPT, title, str(self.store)), {}, self.folder)

    def append(self, number: int, text: str) -> Command:
        return self.add(text)

    def page(self) -> Command:
        return self._sleep()

    def filtered(self) -> Command:
        return Command((sys.executable, "-c", "raise SystemExit('broken|down')"), {}, self.folder)

    def edit(self, number: int, title: str) -> Command:
        return self._nothing()

    def done(self, number: int) -> Command:
        return self._nothing()

    def export(self) -> None:
        return None

    def content(self) -> str:
        return self.store.read_text()

    def _nothing(self) -> Command:
        return Command((sys.executable, "-c", "pass"), {}, self.folder)

    def _sleep(self) -> Command:
        return Command((sys.executable, "-c", "input()"), {}, self.folder)


@pytest.mark.parametrize("together", [writers.adding, writers.appending])
def test_a_write_that_was_acknowledged_and_is_gone_is_lost(
    tmp_path: Path, together: writers.Together
) -> None:
    peer = Forgetful(tmp_path)
    peer.fill(0, 1)
    outcome = together(peer, 2, 5, 60)
    assert (outcome.acknowledged, outcome.refused, outcome.lost) == (8, 2, 2)
    assert outcome.rate == 6 / outcome.seconds


def test_tasks_of_before_that_are_gone_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Forgetful(tmp_path)
    contents = iter(["".join(f"{made.title}\n" for made in made_up(3)), f"{MARK}2\n"])
    monkeypatch.setattr(peer, "content", lambda: next(contents))
    assert writers.adding(peer, 1, 0, 60).gone == 2


def test_what_comes_too_late_is_refused(tmp_path: Path) -> None:
    peer = Forgetful(tmp_path)
    peer.fill(0, 1)
    outcome = writers.adding(peer, 2, 5, 0)
    assert (outcome.acknowledged, outcome.refused, outcome.lost) == (0, 10, 0)


def test_a_table_tells_what_failed_what_is_missing_and_what_was_lost() -> None:
    results = run.Results(10)
    for action in run.ACTIONS:
        results.times[action, "concord"] = [0.2, 0.1, 0.4]
        results.times[action, "psql"] = [0.1, 0.1, 0.1]
    results.times["export all", "psql"] = "over 30 s"
    results.together["add tasks", "concord"] = writers.Outcome(80, 0, 0, 8)
    results.together["add tasks", "psql"] = writers.Outcome(70, 10, 5, 1, gone=3)
    chosen = [run.Concord, run.Psql]
    rows = [*run.table(chosen, [results], 3), *run.crowd(chosen, [results], 10)]
    assert "| add a task | 10 | 200 | 100 (0.50×) |" in rows
    assert "| export all | 10 | 200 | over 30 s |" in rows
    assert (
        "| add tasks | 10 | 10.0/s, 0 lost"
        " | 65.0/s, 10 refused, **5 lost**, **3 older tasks gone** |" in rows
    )


def test_made_up_stores_have_the_same_few_tagged_tasks_whatever_their_size() -> None:
    for count, tagged in ((10, 10), (100, 20), (1010, 20)):
        tasks = list(made_up(count))
        assert len(tasks) == count
        assert sum("rare" in task.tags for task in tasks) == tagged


def test_the_results_go_where_the_page_has_a_place_for_them() -> None:
    page = (BENCHMARKS.parent / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert f"{run.BEGIN}new\n{run.END}" in run.put(page, "new\n")
    assert run.put(run.put(page, "new\n"), "newer\n") == run.put(page, "newer\n")


def test_it_runs_and_says_what_came_out(server: Server) -> None:
    arguments = ["--url", server.url("postgres"), "--sizes", "10", "--rounds", "1", "--each", "1"]
    told = CliRunner().invoke(run.main, [*arguments, "--peers", "concord,psql"])
    assert told.exit_code == 0, (told.output, told.exception)
    rows = [line for line in told.output.splitlines() if line.startswith("| ")]
    for action in run.ACTIONS:
        (row,) = (row for row in rows if row.startswith(f"| {action} |"))
        assert re.fullmatch(r"\| .+ \| 10 \| [\d,]+ \| [\d,]+ \(\d+\.\d\d×\) \|", row)
    for action in run.TOGETHER:
        (row,) = (row for row in rows if row.startswith(f"| {action} |"))
        assert row.count("/s, 0 lost") == 2, row
    assert "taskwarrior" not in told.output
    refused = CliRunner().invoke(run.main, ["--peers", "nobody"])
    assert (refused.exit_code, "no such peer: nobody" in refused.output) == (2, True)


def test_a_peer_that_takes_too_long_or_fails_is_told_so(tmp_path: Path) -> None:
    peer = Forgetful(tmp_path)
    peer.fill(0, 1)
    results = run.Results(10)
    run.in_rounds([peer], results, 1, {}, 10)
    assert results.times["list by tag", "forgetful"] == "failed: broken/down"
