"""`concord demo race`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concord.cli.app import App, pass_app
from concord.cli.demo.choices import LEVEL
from concord.cli.lazy import Command
from concord.errors import Refused, Usage
from concord.race.plan import SCENARIOS, STRATEGIES, Options, Race, races

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.race.judge import Result
    from concord.race.run import Progress, Raced

FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Report:
    """A run as JSON has it."""

    settings: dict[str, Any]
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A result as a terminal shows it."""

    strategy: str
    isolation: str
    verdict: str
    ok: int
    failed: int
    retries: int
    lost: int
    waits: str
    longest_ms: str
    p50_p95_p99_ms: str
    ok_per_s: str

    @classmethod
    def of(cls, result: Result) -> Row:
        """Return a result with its figures rounded to what a reader compares."""
        quantiles = (result.p50_ms, result.p95_ms, result.p99_ms)
        return cls(
            result.strategy,
            result.isolation,
            result.verdict,
            result.ok,
            result.failed,
            result.retries,
            result.lost,
            "–" if result.waits is None else str(result.waits),
            _rounded(result.longest_wait_ms),
            " ".join(_rounded(value).rjust(5) for value in quantiles),
            _rounded(result.ok_per_s),
        )


WIDE = 112
"""Columns of a terminal that all of `Row` fits into."""

NARROW = ("strategy", "verdict", "ok", "retries", "lost", "p50_p95_p99_ms", "ok_per_s")


def _rounded(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


@click.command(
    "race",
    cls=Command,
    examples=(
        "concord demo race",
        "concord demo race --scenario claim --workers 64 --tasks 1000",
        "concord demo race --strategy for-update --strategy serializable --think 2",
        "concord demo race --scenario all --log race.jsonl --report race.html",
    ),
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice([*SCENARIOS, "all"], case_sensitive=False),
    help="What everybody does at once (repeatable; default: counter).",
)
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    type=click.Choice(list(STRATEGIES), case_sensitive=False),
    help="How they guard it (repeatable; default: all that make sense).",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 512),
    default=8,
    show_default=True,
    help="Processes, each with a connection of its own.",
)
@click.option(
    "--ops", type=click.IntRange(1), help="Operations of each worker (default: 100).", metavar="N"
)
@click.option(
    "--duration",
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="Race for so long, instead of --ops.",
)
@click.option(
    "--tasks",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Tasks they race for; 1 is one hot row (default: what the scenario needs).",
)
@click.option(
    "--isolation",
    type=LEVEL,
    help="Level of the strategies that have none of their own (default: read committed).",
)
@click.option(
    "--think",
    type=click.FloatRange(0, 10_000),
    default=0,
    show_default=True,
    metavar="MS",
    help="Milliseconds between a read and the write that follows from it.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 1000),
    default=1000,
    show_default=True,
    metavar="N",
    help="How often an operation is tried again before it is given up.",
)
@click.option("--seed", type=int, help="Of the choice of tasks, to repeat it.", metavar="N")
@click.option("--log", type=FILE, help="Write everything that happened to this file (JSON Lines).")
@click.option("--elle", type=FILE, help="Write the history of one strategy for Elle (JSON).")
@click.option("--report", type=FILE, help="Write a page with tables and pictures (HTML).")
@click.option(
    "--no-observer", "observe", flag_value=False, default=True, help="Do not sample lock waits."
)
@pass_app
def race(
    app: App,
    scenarios: tuple[str, ...],
    strategies: tuple[str, ...],
    workers: int,
    ops: int | None,
    duration: float | None,
    tasks: int | None,
    isolation: str | None,
    think: float,
    retries: int,
    seed: int | None,
    log: Path | None,
    elle: Path | None,
    report: Path | None,
    observe: bool,
) -> None:
    """Race for the same tasks on your own server, and get a verdict that is a proof.

    Worker processes change the same tasks at once, guarded by one strategy after the other. Each
    transaction enters what it did into a ledger; the verdict compares the ledger, what workers
    were told, and the tasks. `none` guards nothing and is always run as the control: it has to
    lose updates, or the contention was too low to prove anything.

    It works in a scratch schema that is dropped at the end: your own tasks are not touched. Exits
    with 0 if the control lost something and every other strategy is proved.
    """
    if ops is not None and duration is not None:
        raise Usage("--ops and --duration exclude each other", hint="Leave one of them out.")
    from concord.race import judge, run

    app.render.check(judge.Result)
    planned = races(
        list(SCENARIOS) if "all" in scenarios else list(scenarios or ("counter",)),
        list(strategies),
        isolation,
    )
    options = Options(
        workers,
        None if duration is not None else ops or 100,
        duration,
        tasks,
        think / 1000,
        retries,
        seed if seed is not None else run.new_seed(),
        observe,
        isolation,
        as_list=elle is not None,
    )
    if elle is not None:
        _for_elle(planned, options)
    _run(app, planned, options, log=log, elle=elle, report=report)


def _run(
    app: App,
    planned: Sequence[Race],
    options: Options,
    *,
    log: Path | None,
    elle: Path | None,
    report: Path | None,
) -> None:
    from concord.race import judge, run
    from concord.race.logbook import Logbook

    if report is not None:
        from concord.race import report as page

        page.require(report)
    if elle is not None:
        _writable(elle)
    begun = run.run_event(app.settings, app.command, planned, options)
    kept: list[run.Raced] = []
    with Logbook(log, begun) as book:
        with app.render.meter() as show:

            def progress(now: Progress) -> None:
                race = now.race
                show(
                    f"{race.scenario} · {race.strategy} ({now.number}/{now.races})",
                    now.done,
                    now.of,
                )

            for raced in run.run(app.settings, app.command, planned, options, progress):
                book.add(raced)
                if report is None and elle is None and not app.render.draws:
                    raced.events.clear()
                kept.append(raced)
        results = tuple(raced.result for raced in kept)
        _show(app, begun["settings"], kept)
        if elle is not None:
            _write_elle(elle, kept[-1], options)
        if report is not None:
            from concord.plain import jsonable
            from concord.race import report as page

            page.write(report, begun, [(raced.events, jsonable(raced.result)) for raced in kept])
        wrong = judge.objections(results)
        book.finish(1 if wrong else 0)
    if wrong:
        raise Refused(
            "; ".join(wrong), hint="The verdicts say what they rest on: --json, --log, --report."
        )


def _show(app: App, settings: dict[str, Any], kept: Sequence[Raced]) -> None:
    """Print the results in the form that was asked for."""
    results = [raced.result for raced in kept]
    if app.render.output == "json" and app.fields is None:
        app.show([Report(settings, tuple(results))], many=False)
    elif app.render.draws and app.fields is None:
        _draw(app, kept)
    else:
        app.show(results, many=True)


def _draw(app: App, kept: Sequence[Raced]) -> None:
    """Draw a table for each scenario, what was lost, and the worst 50 ms."""
    from concord.race import timeline
    from concord.render import timeline as drawing

    columns = None if app.render.width >= WIDE else NARROW
    for scenario in dict.fromkeys(raced.race.scenario for raced in kept):
        results = [raced.result for raced in kept if raced.race.scenario == scenario]
        app.render.write(f"{scenario}: {SCENARIOS[scenario]}\n")
        app.render.items([Row.of(one) for one in results], many=True, columns=columns)
        app.render.write("")
        for result in results:
            if result.verdict != "PROVED":
                told = result.witness.text if result.witness is not None else result.reason
                app.render.write(f"{result.strategy}: {told}")
        app.render.write("")
    worst = timeline.worst_of(raced.events for raced in kept)
    if worst is not None:
        drawing.draw(app.render, timeline.gantt(worst))


def _for_elle(planned: Sequence[Race], options: Options) -> None:
    """Raise `Usage` for races of which Elle can make nothing."""
    guarded = [race for race in planned if not race.control]
    if len(guarded) > 1 or any(race.scenario != "counter" for race in planned):
        raise Usage(
            "--elle takes the counter and one strategy: a history is held against one model",
            hint="concord demo race --strategy serializable --elle FILE.json",
        )
    if options.duration is not None:
        raise Usage(
            "--elle takes --ops: every operation reads a list of all those before it",
            hint="Leave --duration out.",
        )


def _write_elle(path: Path, raced: Raced, options: Options) -> None:
    from concord.race import elle

    # Of a worker that died only the ledger knows what it was at, if it got to do it.
    entered = {row["op_id"]: row["task"] for row in raced.events if row["type"] == "ledger"}
    attempts = [
        {**event, "task": task}
        for event in raced.events
        if event["type"] == "attempt"
        and (task := event["task"] or entered.get(event["op_id"])) is not None
    ]
    with path.open("w", encoding="utf-8") as file:
        elle.write(attempts, options.workers, file)


def _writable(path: Path) -> None:
    """Raise `Usage` now if a file cannot be written after the race."""
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise Usage(f"{path} cannot be written: {error.strerror}", hint="Choose another.") from None
