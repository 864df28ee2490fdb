"""Every scenario at every isolation level: what is to come of it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from concord.errors import Refused
from concord.race.interleaving.events import Run, StepEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.race.interleaving.catalogue import Outcome, Scenario
    from concord.race.interleaving.laboratory import Laboratory


@dataclass(frozen=True, slots=True)
class Finding:
    """One cell of the matrix.

    `sqlstate` is the first that anybody got, `detail` one line for a reader, `steps` what
    happened in order.
    """

    scenario: str
    isolation: str
    expected: Outcome
    observed: Outcome
    agrees: bool
    expected_sqlstate: str | None
    sqlstate: str | None
    detail: str
    steps: tuple[StepEvent, ...]


def finding(lab: Laboratory, scenario: Scenario, isolation: str) -> Finding:
    """Run a scenario at an isolation level and compare. Raises `ConcordError`."""
    spec = scenario.spec()
    (permutation,) = spec.permutations
    with lab.stage(spec, isolation) as stage:
        events = tuple(event for group in stage.play(permutation) for event in group)
        run = Run(events, stage.rows())
    expected = scenario.expects(isolation)
    observed = scenario.outcome(run)
    return Finding(
        scenario.name,
        isolation,
        expected[0],
        observed[0],
        expected == observed,
        expected[1],
        observed[1],
        scenario.detail(run),
        events,
    )


def disagreement(found: Sequence[Finding]) -> Refused | None:
    """Return the error for findings that are not as expected, `None` if all agree."""
    wrong = [one for one in found if not one.agrees]
    if not wrong:
        return None
    told = "; ".join(
        f"{one.scenario} at {one.isolation}: expected"
        f" {_words(one.expected, one.expected_sqlstate)},"
        f" observed {_words(one.observed, one.sqlstate)}"
        for one in wrong
    )
    return Refused(
        f"{len(wrong)} of {len(found)} are not as PostgreSQL is known to do: {told}",
        hint="Look at one of them step by step:"
        f" concord demo step {wrong[0].scenario} --isolation '{wrong[0].isolation}'",
        disagreements=[(one.scenario, one.isolation) for one in wrong],
    )


def _words(outcome: Outcome, sqlstate: str | None) -> str:
    return f"{outcome} {sqlstate}" if sqlstate else outcome
