"""Evidence → `Result`: which word, which witness, and what a run of races amounts to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from concord.race.judge import accounting, chains, contention, events, scenarios
from concord.race.judge.events import Malformed
from concord.race.judge.evidence import Evidence
from concord.race.judge.results import INCONCLUSIVE, PROVED, VIOLATED, Result, Witness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from concord.race.judge.events import Attempt

RULES: Final = (
    *accounting.RULES,
    "step",
    "state",
    "version",
    "limit",
    "double-claim",
    "lost-update",
    "same-version",
    "order",
)
"""All rules, the most telling first. What breaks the accounts also breaks chains, as a rule."""

RAISE: Final = "raise --workers, --ops or --think"

MILLISECONDS: Final = 3
"""Decimals of a time in milliseconds."""


class _Findings:
    """How often each rule is broken, its first witness, and whose updates were written over."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self.overwritten: set[int] = set()
        self._first: dict[str, Witness] = {}

    def add(self, witnesses: Iterable[Witness]) -> None:
        for witness in witnesses:
            self.times[witness.rule] += 1
            if witness.rule == "lost-update":
                self.overwritten.add(witness.ops[0])
            self._first.setdefault(witness.rule, witness)

    @property
    def witness(self) -> Witness | None:
        return min(self._first.values(), key=lambda one: RULES.index(one.rule), default=None)


def judge_race(lines: Iterable[Mapping[str, Any]]) -> Result:
    """Return the verdict on one race from its lines of the log, its header first.

    A verdict that is among them is not looked at. Raises `Malformed` for what is not a race.
    """
    evidence: Evidence | None = None
    for event in lines:
        match events.kind(event):
            case "race" if evidence is None:
                evidence = Evidence(events.header(event))
            case "verdict":
                pass
            case kind if evidence is None:
                raise Malformed(f"the type {kind!r} comes before the race")
            case _:
                evidence.add(event)
    if evidence is None:
        raise Malformed("there is no race in it")
    return judge_evidence(evidence)


def judge_evidence(evidence: Evidence) -> Result:
    """Return the verdict on one race."""
    operations = _operations(evidence.attempts)
    changes = chains.changes_of(evidence.rows)
    findings = _Findings()
    if evidence.ended:
        findings.add(accounting.check(evidence, operations))
        findings.add(scenarios.check(evidence))
        findings.add(chains.check(evidence, changes, operations))
    overlapping = contention.overlaps(evidence)
    outcomes = Counter(attempts[-1].outcome for attempts in operations.values())
    failed = sum(
        attempts[-1].outcome == "fail" and not attempts[-1].again
        for attempts in operations.values()
    )
    retries = sum(attempt.retry > 0 for attempt in evidence.attempts)
    over_limit, overwritten = findings.times["limit"], len(findings.overwritten)
    lost = scenarios.lost(evidence, changes, over_limit, overwritten) if evidence.ended else 0
    witness = findings.witness
    waits = evidence.waits if evidence.observed else None
    contended = bool(overlapping or retries or waits)
    if witness is not None:
        verdict, reason = VIOLATED, _broken(findings.times)
    elif missing := _missing(evidence, outcomes["ok"], contended=contended):
        verdict, reason = INCONCLUSIVE, missing
    else:
        verdict = PROVED
        reason = _basis(evidence, operations, changes, overlapping, retries)
    header = evidence.header
    return Result(
        header.scenario,
        header.strategy,
        header.isolation,
        verdict,
        outcomes["ok"],
        failed,
        retries,
        outcomes["info"],
        lost,
        waits,
        round(evidence.longest_wait, MILLISECONDS) if waits else None,
        *_latencies(operations),
        _rate(evidence.attempts, outcomes["ok"]),
        witness,
        header.control,
        reason,
        sum(worker.died for worker in evidence.workers.values()),
        header.limit,
    )


def objections(results: Sequence[Result]) -> list[str]:
    """Return what keeps races from being the proof of something; nothing if all is well.

    All is well if every race that is guarded is `PROVED`, each scenario has a control, every
    control lost updates (and broke no rule that races have nothing to do with), and no worker
    died.
    """
    found = [] if results else ["there is no race to judge"]
    for result in results:
        named = f"{result.name}: {result.verdict}"
        witness = result.witness
        if result.control and result.verdict == VIOLATED:
            if witness is None or witness.rule not in scenarios.LOSSES or not result.lost:
                found.append(f"{named}, though not for what a race can do: {_told(result)}")
        elif result.verdict != PROVED:
            found.append(f"{named}: {_told(result)}")
        if result.died:
            died = "a worker" if result.died == 1 else f"{result.died} workers"
            found.append(f"{named}, but {died} died")
    uncontrolled = {result.scenario for result in results} - {
        result.scenario for result in results if result.control
    }
    found += [f"{scenario}: there is no control" for scenario in sorted(uncontrolled)]
    return found


def all_is_well(results: Sequence[Result]) -> bool:
    """Tell whether races prove what they set out to prove."""
    return not objections(results)


def _operations(attempts: Iterable[Attempt]) -> dict[int, list[Attempt]]:
    operations: defaultdict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        operations[attempt.op_id].append(attempt)
    for tries in operations.values():
        tries.sort(key=lambda attempt: attempt.retry)
    return dict(operations)


def _missing(evidence: Evidence, ok: int, *, contended: bool) -> str | None:
    """Return why nothing can be said, if so, and what to do about it."""
    header = evidence.header
    if not evidence.ended:
        return "the log ends before the race does"
    if header.workers < 2:
        return "one worker alone races nobody: raise --workers"
    if not ok:
        return f"no operation was acknowledged: {RAISE}, or --retries"
    if len({attempt.worker for attempt in evidence.attempts}) < 2:
        return f"one worker did everything: {RAISE}"
    if header.control:
        return f"contention too low, the control lost nothing: {RAISE}"
    if not contended:
        return f"contention too low, no two workers were ever after the same thing: {RAISE}"
    return None


def _basis(
    evidence: Evidence,
    operations: Mapping[int, Sequence[Attempt]],
    changes: Mapping[int, Sequence[chains.Change]],
    overlapping: int,
    retries: int,
) -> str:
    """Return what a proof rests on."""
    entered = {row.op_id for row in evidence.rows}
    unknown = [op for op, tries in operations.items() if tries[-1].outcome == "info"]
    done = sum(op in entered for op in unknown)
    made = sum(map(len, changes.values()))
    tasks = "one task" if len(changes) == 1 else f"{len(changes)} tasks"
    told = (
        f"each of {len(entered) - done} acknowledged operations is in the ledger, once;"
        f" {made} versions of {tasks} follow one another, and each change started from what the"
        f" last one left; {overlapping} attempts met another worker's, {retries} were retries"
    )
    if unknown:
        told += f"; of {len(unknown)} unknown operations the ledger has {done}"
    return told


def _broken(times: Mapping[str, int]) -> str:
    return "broken: " + ", ".join(
        f"{rule} ({times[rule]} times)" if times[rule] > 1 else rule
        for rule in RULES
        if rule in times
    )


def _told(result: Result) -> str:
    witness = result.witness
    return result.reason if witness is None else f"{witness.rule}: {witness.text}"


def _latencies(
    operations: Mapping[int, Sequence[Attempt]],
) -> tuple[float | None, float | None, float | None]:
    """Return the 50th, 95th and 99th percentile in milliseconds, by nearest rank."""
    times = sorted(
        (tries[-1].end - tries[0].begin) * 1000
        for tries in operations.values()
        if tries[-1].outcome == "ok" and tries[-1].end is not None
    )
    if not times:
        return None, None, None

    def rank(share: float) -> float:
        return round(times[math.ceil(share * len(times)) - 1], MILLISECONDS)

    return rank(0.5), rank(0.95), rank(0.99)


def _rate(attempts: Sequence[Attempt], ok: int) -> float | None:
    ends = [attempt.end for attempt in attempts if attempt.end is not None]
    if not ends or not ok:
        return None
    seconds = max(ends) - min(attempt.begin for attempt in attempts)
    return round(ok / seconds, 1) if seconds > 0 else None
