"""A run as a reader follows it: a column for each session, and the row versions in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from concord.plain import cell
from concord.render.transcript import Passage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from concord.race.interleaving.events import Result, StepEvent
    from concord.race.interleaving.laboratory import Laboratory
    from concord.race.interleaving.mvcc import RowVersion, Standing, View
    from concord.race.interleaving.spec import Spec

MOST_ROWS = 12
"""Rows of a result, and versions in a view, that are shown to a reader; JSON has them all."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An event of a run, where it belongs, and `view`: the row versions once all came to rest.

    `permutation` counts from 1. Where one step lets others go on, only the last event of them
    has a view.
    """

    permutation: int
    isolation: str
    event: Literal["done", "waiting", "completed", "stuck"]
    session: str
    step: str
    sql: str
    waits_for: tuple[str, ...]
    results: tuple[Result, ...]
    sqlstate: str | None
    message: str | None
    notices: tuple[str, ...]
    view: View | None


def moments(
    lab: Laboratory, spec: Spec, number: int, isolation: str
) -> Generator[tuple[Moment, ...]]:
    """Run one permutation of a spec, counted from 1, and yield what became of each step sent.

    The first to come is empty: all is set up, and no step was sent. Raises `ConcordError`. Left
    early, it cleans up behind itself when it is closed.
    """
    with lab.stage(spec, isolation) as stage:
        viewer = stage.viewer()
        viewer.look()  # so that it knows what the present was before the first step
        yield ()
        for events in stage.play(spec.permutations[number - 1]):
            view = viewer.look()
            yield tuple(
                _moment(number, isolation, event, view if event is events[-1] else None)
                for event in events
            )


def opening(spec: Spec, number: int, isolation: str, title: str) -> list[Passage]:
    """Return what stands above a permutation: its steps, and what each session did before."""
    many = len(spec.permutations)
    which = f", permutation {number} of {many}" if many > 1 else ""
    order = " ".join(slot.step.name for slot in spec.permutations[number - 1])
    setups = {one.name: " ".join(one.setup.sql.split()) for one in spec.sessions if one.setup}
    if len(setups) == len(spec.sessions) and len(set(setups.values())) == 1:
        setups = {"each session": next(iter(setups.values()))}
    begun = [("note", f"{name} begins with {sql}") for name, sql in setups.items()]
    head = Passage(None, (("title", f"{title} at {isolation}{which}"), ("note", order), *begun))
    return [head, Passage(None, heads=tuple(f"session {one.name}" for one in spec.sessions))]


def passages(spec: Spec, group: Sequence[Moment], before: View | None) -> list[Passage]:
    """Return what became of a step as text in columns, then the row versions.

    Versions that `before`, the view until now, had just so are only named.
    """
    columns = {session.name: column for column, session in enumerate(spec.sessions)}
    told = [Passage(columns[one.session], tuple(_event(one))) for one in group]
    told += [Passage(None, tuple(_view(one.view, before))) for one in group if one.view is not None]
    return told


def _moment(number: int, isolation: str, event: StepEvent, view: View | None) -> Moment:
    return Moment(
        number,
        isolation,
        event.event,
        event.session,
        event.step,
        event.sql,
        event.waits_for,
        event.results,
        event.sqlstate,
        event.message,
        event.notices,
        view,
    )


def _event(one: Moment) -> Iterator[tuple[str, str]]:
    others = _listed(one.waits_for)
    match one.event:
        case "completed":
            yield "completed", f"{one.step} <… completed>"
        case "stuck":
            yield "error", f"{one.step} <not to be: {one.session} waits for {others or 'good'}>"
            return
        case _:
            yield "step", one.step
            yield from (("sql", line) for line in _dedented(one.sql))
    for notice in one.notices:
        yield "note", notice
    for result in one.results:
        yield from (("result", line) for line in _result(result))
    if one.event == "waiting":
        yield "waiting", f"<waiting on {others}>" if others else "<waiting>"
    if one.sqlstate is not None:
        yield "error", f"ERROR {one.sqlstate}: {one.message}"


def _result(result: Result) -> Iterator[str]:
    """Yield a result as lines: a table where there is something to see, else the command tag."""
    if result.columns and not _void(result):
        rows = [
            ["∅" if value is None else value for value in row] for row in result.rows[:MOST_ROWS]
        ]
        columns = list(zip(result.columns, *rows, strict=True))
        widths = [max(len(text) for text in column) for column in columns]
        for line in (result.columns, *rows):
            texts = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            yield "  " + "  ".join(texts).rstrip()
        if not rows:
            yield "  (no row)"
        if len(result.rows) > MOST_ROWS:
            yield f"  … {len(result.rows) - MOST_ROWS} more"
    if not result.tag.startswith("SELECT"):
        yield f"  {result.tag}"


def _void(result: Result) -> bool:
    """Whether there is nothing in the rows: a function was called for what it does."""
    return bool(result.rows) and not any(value for row in result.rows for value in row)


def _view(view: View, before: View | None) -> Iterator[tuple[str, str]]:
    known = set(_versions(before)) if before is not None else set[tuple[str, str]]()
    alike: dict[str, list[str]] = {}
    for standing in view.sessions:
        yield "session", _standing(standing)
    shown = 0
    for version, told in zip(view.versions, _versions(view), strict=True):
        if told in known or shown == MOST_ROWS:
            alike.setdefault(version.table, []).append(version.ctid)
            continue
        shown += 1
        yield "version", told[0]
        if told[1]:
            yield "sight", f"    {told[1]}"
    if alike:
        others = ", ".join(f"{table} {' '.join(ctids)}" for table, ctids in alike.items())
        yield "sight", f"{'' if shown < MOST_ROWS else 'not shown or '}as before: {others}"
    if view.note is not None and before is None:
        yield "note", view.note


def _versions(view: View) -> list[tuple[str, str]]:
    """Return each row version as a line, and a line on who sees it."""
    return [(_version(version), _sights(version)) for version in view.versions]


def _sights(version: RowVersion) -> str:
    groups: dict[tuple[bool, str], list[str]] = {}
    for name, sight in version.seen.items():
        why = sight.why.replace(f"{name}'s snapshot", "their snapshots")
        groups.setdefault((sight.visible, why), []).append(name)
    told: list[str] = []
    for (visible, why), names in groups.items():
        if len(names) == 1:
            verb = "sees it" if visible else "does not"
            told.append(f"{names[0]} {verb}: {version.seen[names[0]].why}")
        else:
            verb = "see it" if visible else "do not"
            told.append(f"{_listed(names)} {verb}: {why}")
    return ";  ".join(told)


def _standing(one: Standing) -> str:
    xid = f", xid {one.xid}" if one.xid is not None else ""
    next_one = "next " if one.scope == "next statement" else ""
    snapshot = f", {next_one}snapshot {one.snapshot}" if one.snapshot is not None else ""
    return f"{one.session}: {one.state}{xid}{snapshot}"


def _version(one: RowVersion) -> str:
    values = " ".join(f"{name}={cell(value) or '∅'}" for name, value in one.values.items())
    return f"{one.table} {one.ctid} {values}  xmin {one.xmin} {one.xmin_state}  xmax {one.xmax}" + (
        f": {one.xmax_means}" if one.xmax else ""
    )


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence: `A, B and C`."""
    *most, last = names or ("",)
    return f"{', '.join(most)} and {last}" if most else last


def _dedented(sql: str) -> list[str]:
    """Return SQL without the indentation that the spec gave to all its lines but the first."""
    first, *rest = sql.splitlines() or [""]
    indents: list[Any] = [len(line) - len(line.lstrip()) for line in rest if line.strip()]
    common = min(indents, default=0)
    return [first, *(line[common:] for line in rest)]
