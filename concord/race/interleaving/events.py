"""What happened in a run, as plain data that needs no driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEVELS = ("read committed", "repeatable read", "serializable")
"""Isolation levels as results name them, weakest first."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one statement: its command tag, and rows as text where it returned any."""

    tag: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What became of a step.

    `done` at once; `waiting` for the sessions in `waits_for`; later `completed`; or `stuck`:
    it was not sent, or waits for good, because whoever it waits for has no step left. A step
    ended with `sqlstate` if it failed.
    """

    event: Literal["done", "waiting", "completed", "stuck"]
    session: str
    step: str
    sql: str
    waits_for: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    sqlstate: str | None = None
    message: str | None = None
    notices: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the step came to an end, good or bad."""
        return self.event in ("done", "completed")

    @property
    def verb(self) -> str:
        """What the step's SQL begins with, in capitals; `statement` where that says nothing."""
        word = self.sql.split(None, 1)[0].rstrip(";").upper() if self.sql else "WITH"
        return "statement" if word == "WITH" else word


@dataclass(frozen=True, slots=True)
class Run:
    """One permutation as it went, and the rows of its tables at the end, by table."""

    events: tuple[StepEvent, ...]
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict[str, Any])

    def end(self, step: str) -> StepEvent:
        """Return the event that ended a step; for one that never ended, one without results."""
        ends = (event for event in self.events if event.step == step and event.ended)
        return next(ends, StepEvent("stuck", "", step, ""))

    def value(self, step: str) -> int | None:
        """Return the number that a step read, `None` if it failed or found nothing."""
        for result in self.end(step).results:
            if result.rows and result.rows[0][0] is not None:
                return int(result.rows[0][0])
        return None

    def touched(self, step: str) -> int:
        """Return how many rows a step returned or changed: the number in its last command tag."""
        results = self.end(step).results
        last = results[-1].tag.rpartition(" ")[2] if results else ""
        return int(last) if last.isdigit() else 0

    def committed(self, session: str) -> bool:
        """Whether a session's COMMIT was answered with the tag COMMIT."""
        return any(
            result.tag == "COMMIT"
            for event in self.events
            if event.session == session and event.ended and event.verb == "COMMIT"
            for result in event.results
        )

    @property
    def failures(self) -> tuple[StepEvent, ...]:
        """Steps that ended with an SQLSTATE, in order."""
        return tuple(event for event in self.events if event.ended and event.sqlstate)

    def waits(self) -> Iterator[StepEvent]:
        """Yield the steps that had to wait, in order."""
        return (event for event in self.events if event.event == "waiting")
