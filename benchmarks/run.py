"""Concord beside other trackers of the command line, and beside bare psql.

    python benchmarks/run.py [--sizes N,N] [--rounds N] [--peers NAME,NAME] [--write] [--url URL]

All of them do the same on the same machine in the same run, in stores of the same made-up tasks.
Each round runs every action of every tracker, in an order that rotates; the figure is the median
of the rounds, and behind it how many times what Concord took. Then writers write at once, and what
they were told was written is looked for. `--write` puts the table into BENCHMARKS.md.

A tracker that is not installed is named and left out. What takes longer than `--limit` seconds at
one size is not tried at a greater one. Nothing is installed, and nothing is left behind.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click
import writers
from common import concord, machine, server
from peers import FIRST, call
from peers.backlog_md import BacklogMd
from peers.sql import Concord, InDatabase, Psql
from peers.taskwarrior import Taskwarrior
from peers.todo_txt import TodoTxt

from concord import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from common import Server
    from peers import Command, Peer
    from writers import Outcome

PEERS: tuple[type[Peer], ...] = (Concord, Psql, Taskwarrior, TodoTxt, BacklogMd)
SIZES = "100,1000,10000,100000"
WRITERS = 8
BEGIN, END = "<!-- begin results: generated -->\n", "<!-- end results -->\n"
PAGE = Path(__file__).parents[1] / "BENCHMARKS.md"

ACTIONS: dict[str, Callable[[Peer, int], Command | None]] = {
    "add a task": lambda peer, number: peer.add(f"Added in round {number}"),
    "list 20": lambda peer, _: peer.page(),
    "list by tag": lambda peer, _: peer.filtered(),
    "edit a title": lambda peer, number: peer.edit(FIRST, f"Edited in round {number}"),
    "complete a task": lambda peer, number: peer.done(FIRST + 1 + number),
    "export all": lambda peer, _: peer.export(),
}
"""What is measured → how a tracker is asked for it in a round."""

TOGETHER: dict[str, writers.Together] = {
    "add tasks": writers.adding,
    "add to one task": writers.appending,
}
"""What many do at once."""

OURS = Concord.name


@dataclass
class Results:
    """What came out for one size: by action and tracker, times in seconds or why there is none."""

    size: int
    times: dict[tuple[str, str], list[float] | str] = field(
        default_factory=dict[tuple[str, str], "list[float] | str"]
    )
    together: dict[tuple[str, str], Outcome | str] = field(
        default_factory=dict[tuple[str, str], "Outcome | str"]
    )


@click.command()
@click.option("--url", help="A server of your own for Concord and psql; otherwise an embedded one.")
@click.option("--sizes", default=SIZES, show_default=True, help="How many tasks the stores hold.")
@click.option("--rounds", default=5, show_default=True, help="How often each is run.")
@click.option("--peers", "only", help="Only these, by name; all of them otherwise.")
@click.option("--each", default=10, show_default=True, help="Writes of each of the writers.")
@click.option("--limit", default=30.0, show_default=True, help="Seconds: what takes longer is cut.")
@click.option("--write", is_flag=True, help="Put the table into BENCHMARKS.md.")
def main(
    url: str | None,
    sizes: str,
    rounds: int,
    only: str | None,
    each: int,
    limit: float,
    write: bool,
) -> None:
    """Measure, and compare."""
    wanted = only.split(",") if only else [peer.name for peer in PEERS]
    if unknown := set(wanted) - {peer.name for peer in PEERS}:
        raise click.UsageError(f"no such peer: {', '.join(sorted(unknown))}")
    chosen = [peer for peer in PEERS if peer.name in wanted]
    counts = [int(size) for size in sizes.split(",")]
    with server(url) as made:
        lines = [machine(made), "", *about(chosen)]
        results = measure(made, chosen, counts, rounds=rounds, each=each, limit=limit)
    lines += ["", *table(chosen, results, rounds), *crowd(chosen, results, each)]
    if url is None and Concord in chosen:
        lines += ["", cold_start(limit)]
    text = "\n".join(lines) + "\n"
    click.echo(text)
    if write:
        PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")


def put(page: str, text: str) -> str:
    """Return the page with a text between its markers."""
    made, count = re.subn(
        f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: text, page, flags=re.DOTALL
    )
    if count != 1:
        raise click.ClickException("BENCHMARKS.md has no place for the results")
    return made


def measure(
    made: Server,
    chosen: Sequence[type[Peer]],
    sizes: Sequence[int],
    *,
    rounds: int,
    each: int,
    limit: float,
) -> list[Results]:
    """Return the results by size, in order."""
    InDatabase.server = made
    given_up: dict[tuple[str, str], str] = {
        ("", peer.name): missing for peer in chosen if (missing := peer.missing())
    }
    found: list[Results] = []
    for size in sizes:
        results = Results(size)
        with tempfile.TemporaryDirectory(prefix="concord-benchmark-") as folder:
            stores = list(filled(chosen, size, Path(folder), given_up, limit))
            try:
                in_rounds(stores, results, rounds, given_up, limit)
                many_at_once(stores, results, each, limit)
            finally:
                for store in stores:
                    store.close()
        for peer in chosen:
            for action in (*ACTIONS, *TOGETHER):
                why = given_up.get(("", peer.name)) or given_up.get((action, peer.name))
                place = results.together if action in TOGETHER else results.times
                if why and (action, peer.name) not in place:
                    place[action, peer.name] = why
        found.append(results)
    return found


def filled(
    chosen: Sequence[type[Peer]],
    size: int,
    folder: Path,
    given_up: dict[tuple[str, str], str],
    limit: float,
) -> Iterator[Peer]:
    """Yield a store of each that is there and does not take too long."""
    for kind in chosen:
        if ("", kind.name) in given_up:
            continue
        place = folder / kind.name
        place.mkdir()
        store = kind(place)
        try:
            store.fill(size, 10 * limit)
        except subprocess.TimeoutExpired:
            given_up["", kind.name] = f"filling it with {size:,} took over {10 * limit:g} s"
            store.close()
        else:
            yield store


def in_rounds(
    stores: Sequence[Peer],
    results: Results,
    rounds: int,
    given_up: dict[tuple[str, str], str],
    limit: float,
) -> None:
    """Time each action of each store in each round; a round to warm up is not counted."""
    for number in range(rounds + 1):
        for action, ask in ACTIONS.items():
            shift = number % len(stores) if stores else 0
            for store in (*stores[shift:], *stores[:shift]):
                key = (action, store.name)
                if key in given_up:
                    continue
                command = ask(store, number)
                if command is None:
                    given_up[key] = "has none"
                    continue
                try:
                    started = time.perf_counter()
                    call(command, limit)
                    taken = time.perf_counter() - started
                except subprocess.TimeoutExpired:
                    given_up[key] = f"over {limit:g} s"
                    results.times[key] = given_up[key]
                    continue
                except subprocess.CalledProcessError as error:
                    results.times[key] = given_up[key] = f"failed: {_last_line(error.stderr)}"
                    continue
                if number:
                    times = results.times.setdefault(key, [])
                    assert isinstance(times, list)
                    times.append(taken)


def many_at_once(stores: Sequence[Peer], results: Results, each: int, limit: float) -> None:
    """Let many write to each store, one store after the other."""
    for action, together in TOGETHER.items():
        for store in stores:
            try:
                outcome = together(store, WRITERS, each, 4 * limit)
            except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
                results.together[action, store.name] = "cannot be read afterwards"
            else:
                results.together[action, store.name] = outcome


def about(chosen: Sequence[type[Peer]]) -> Iterator[str]:
    """Yield a line on each tracker."""
    for peer in chosen:
        missing = peer.missing()
        yield f"- **{peer.name}**: " + (f"left out; {missing}" if missing else peer.about)


def table(chosen: Sequence[type[Peer]], found: Sequence[Results], rounds: int) -> Iterator[str]:
    """Yield the table of times: milliseconds, and how many times Concord's they are."""
    yield f"Milliseconds a command, medians of {rounds} rounds; in brackets, times Concord's."
    yield ""
    yield f"| | tasks |{''.join(f' {peer.name} |' for peer in chosen)}"
    yield f"|---|---:|{'---:|' * len(chosen)}"
    for action in ACTIONS:
        for results in found:
            ours = results.times.get((action, OURS))
            cells = (
                _time(results.times.get((action, peer.name), "–"), ours, peer.name)
                for peer in chosen
            )
            yield f"| {action} | {results.size:,} |{''.join(f' {cell} |' for cell in cells)}"


def crowd(chosen: Sequence[type[Peer]], found: Sequence[Results], each: int) -> Iterator[str]:
    """Yield the table of what many wrote at once."""
    yield ""
    yield (
        f"{WRITERS} writers at once, {each} writes each: writes a second that were kept, how many"
        f" of the {WRITERS * each} were refused, and how many were **lost**: acknowledged with exit"
        " 0, and gone."
    )
    yield ""
    yield f"| | tasks |{''.join(f' {peer.name} |' for peer in chosen)}"
    yield f"|---|---:|{'---:|' * len(chosen)}"
    for action in TOGETHER:
        for results in found:
            cells = (_fate(results.together.get((action, peer.name), "–")) for peer in chosen)
            yield f"| {action} | {results.size:,} |{''.join(f' {cell} |' for cell in cells)}"


def cold_start(limit: float) -> str:
    """Return how long the very first command takes, and one that finds the server stopped."""
    folder = Path(tempfile.mkdtemp(prefix="concord-benchmark-", dir="/tmp"))
    folder.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "CONCORD_DATA_DIR": str(folder)}
    taken: list[float] = []
    try:
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run(
                [concord(), "task", "list"],
                env=environment,
                stdout=subprocess.DEVNULL,
                timeout=4 * limit,
                check=True,
            )
            taken.append(time.perf_counter() - started)
            embedded.stop(folder)
    finally:
        with suppress(Exception):
            embedded.stop(folder)
        subprocess.run(["rm", "-rf", str(folder)], check=False)
    return (
        f"Cold start of Concord's embedded server: {taken[0]:.1f} s for the very first command,"
        f" which makes the database, and {taken[1]:.1f} s for one that finds it stopped."
    )


def _time(times: list[float] | str, ours: list[float] | str | None, name: str) -> str:
    if isinstance(times, str):
        return times
    told = f"{median(times) * 1000:,.0f}"
    if name == OURS or not isinstance(ours, list):
        return told
    pairs = zip(times, ours, strict=False)
    return f"{told} ({median(theirs / mine for theirs, mine in pairs):.2f}×)"


def _fate(outcome: Outcome | str) -> str:
    if isinstance(outcome, str):
        return outcome
    lost = f"**{outcome.lost} lost**" if outcome.lost else "0 lost"
    refused = f", {outcome.refused} refused" if outcome.refused else ""
    gone = f", **{outcome.gone} older tasks gone**" if outcome.gone else ""
    return f"{outcome.rate:,.1f}/s{refused}, {lost}{gone}"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:60].replace("|", "/") if lines else "no message"


if __name__ == "__main__":
    main()
