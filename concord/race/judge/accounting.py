"""The rules about operations: each acknowledged at most once, each entered, none made up.

No guard and no lack of one can break these. Where they are broken, a write was lost after it was
acknowledged, or the log is not what happened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from concord.race.judge.results import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.race.judge.events import Attempt, Row
    from concord.race.judge.evidence import Evidence

CLOCK_SLACK: Final = 0.001
"""Seconds by which two readings of a client's clock may disagree about what came first."""

CHECKED: Final = ("task", "part", "before", "after", "other", "xid", "version", "sequence")
"""What an attempt and its ledger row both tell."""

OPTIONAL: Final = frozenset({"version", "sequence"})
"""What an acknowledged attempt need not tell, because the ledger alone assigns it."""

RULES: Final = (
    "lost-write",
    "failed-yet-done",
    "invented",
    "doubled",
    "retries",
    "mismatch",
    "transaction",
    "worker",
)
"""The rules of this file, the most telling first."""


def check(evidence: Evidence, operations: Mapping[int, Sequence[Attempt]]) -> Iterator[Witness]:
    """Yield where the accounts do not balance. `operations`: attempts by id, by retry."""
    entered = {row.op_id: row for row in evidence.rows}
    for op_id, attempts in operations.items():
        yield from _operation(op_id, attempts)
        if attempts[-1].outcome == "ok" and op_id not in entered:
            told = attempts[-1]
            yield Witness(
                "lost-write",
                (op_id,),
                told.task,
                {"before": told.before, "after": told.after, "xid": told.xid},
                f"op {op_id} was acknowledged by the server, but its ledger row is not there",
            )
    yield from _ledger(evidence.rows, operations)
    yield from _transactions(evidence)
    yield from _workers(evidence, operations)


def _operation(op_id: int, attempts: Sequence[Attempt]) -> Iterator[Witness]:
    retries = [attempt.retry for attempt in attempts]
    outcomes = [attempt.outcome for attempt in attempts]
    about = f"op {op_id}"
    wrong = None
    if retries != list(range(len(attempts))):
        wrong = f"{about} has the retry numbers {_some(retries)}, which do not count from 0"
    elif any(outcome != "fail" for outcome in outcomes[:-1]):
        wrong = f"{about} was tried again after an attempt that did not fail"
    elif len({attempt.worker for attempt in attempts}) > 1:
        wrong = f"{about} was tried by more than one worker"
    if wrong is not None:
        values = {"retries": retries[:10], "outcomes": outcomes[:10]}
        yield Witness("retries", (op_id,), attempts[-1].task, values, wrong)


def _ledger(rows: Sequence[Row], operations: Mapping[int, Sequence[Attempt]]) -> Iterator[Witness]:
    for op_id, times in Counter(row.op_id for row in rows).items():
        if times > 1:
            text = f"op {op_id} is in the ledger {times} times"
            yield Witness("doubled", (op_id,), None, {"times": times}, text)
    for row in rows:
        attempts = operations.get(row.op_id)
        values: dict[str, Any] = {"before": row.before, "after": row.after, "xid": row.xid}
        if attempts is None:
            text = f"op {row.op_id} is in the ledger, but nobody attempted it"
            yield Witness("invented", (row.op_id,), row.task, values, text)
            continue
        last = attempts[-1]
        if last.outcome == "fail" or (
            last.xid != row.xid
            and any(attempt.xid == row.xid for attempt in attempts if attempt.outcome == "fail")
        ):
            text = f"op {row.op_id} was reported as failed, but the ledger has it as done"
            yield Witness("failed-yet-done", (row.op_id,), row.task, values, text)
            continue
        yield from _mismatches(last, row)


def _mismatches(told: Attempt, row: Row) -> Iterator[Witness]:
    """Compare what a worker says with what its transaction entered.

    Of an attempt whose outcome is unknown, only what it does say has to be right.
    """
    unequal = [] if told.worker == row.worker else ["worker"]
    for name in CHECKED:
        said, entered = getattr(told, name), getattr(row, name)
        if name == "other" and said is not None and entered is not None and said.version is None:
            entered = entered._replace(version=None)
        silent = said is None and (told.outcome == "info" or name in OPTIONAL)
        if said != entered and not silent:
            unequal.append(name)
    if unequal:
        name = unequal[0]
        said, entered = getattr(told, name), getattr(row, name)
        yield Witness(
            "mismatch",
            (row.op_id,),
            row.task,
            {"field": name, "attempt": _plain(said), "ledger": _plain(entered)},
            f"op {row.op_id}: its worker says {name} {_plain(said)}, the ledger {_plain(entered)}",
        )


def _transactions(evidence: Evidence) -> Iterator[Witness]:
    """Check that no transaction did two things.

    Only of what was committed: after a crash the server gives out anew the ids of transactions that
    had left no trace on disk.
    """
    acknowledged = (told for told in evidence.attempts if told.outcome == "ok")
    for what, entries in (
        ("ledger rows", [(row.xid, row.op_id) for row in evidence.rows]),
        ("attempts", [(told.xid, told.op_id) for told in acknowledged if told.xid]),
    ):
        first: dict[str, int] = {}
        for xid, op_id in entries:
            if xid in first:
                yield Witness(
                    "transaction",
                    (first[xid], op_id),
                    None,
                    {"xid": xid},
                    f"{what} of op {first[xid]} and op {op_id} name the same transaction, {xid}",
                )
            first.setdefault(xid, op_id)


def _workers(evidence: Evidence, operations: Mapping[int, Sequence[Attempt]]) -> Iterator[Witness]:
    if len(evidence.workers) != evidence.header.workers:
        values = {"workers": evidence.header.workers, "told": len(evidence.workers)}
        text = (
            f"{evidence.header.workers} workers raced, but the log tells"
            f" of the end of {len(evidence.workers)}"
        )
        yield Witness("worker", (), None, values, text)
    by_worker: defaultdict[int, list[Attempt]] = defaultdict(list)
    for attempt in evidence.attempts:
        by_worker[attempt.worker].append(attempt)
    for number, attempts in by_worker.items():
        if number not in evidence.workers:
            text = f"op {attempts[0].op_id} was attempted by worker {number}, whom nobody knows"
            yield Witness("worker", (attempts[0].op_id,), None, {"worker": number}, text)
        yield from _one_at_a_time(number, attempts)
    acknowledged = Counter(
        attempts[-1].worker for attempts in operations.values() if attempts[-1].outcome == "ok"
    )
    for worker in evidence.workers.values():
        counted, found = worker.operations, acknowledged[worker.number]
        if not worker.died and counted is not None and counted != found:
            text = (
                f"worker {worker.number} counted {counted} acknowledged operations,"
                f" but the log has {found} of them"
            )
            values = {"worker": worker.number, "counted": counted, "found": found}
            yield Witness("worker", (), None, values, text)


def _one_at_a_time(number: int, attempts: list[Attempt]) -> Iterator[Witness]:
    attempts.sort(key=lambda attempt: (attempt.begin, attempt.op_id, attempt.retry))
    for attempt in attempts:
        if attempt.end is not None and attempt.end < attempt.begin - CLOCK_SLACK:
            values = {"begin": attempt.begin, "end": attempt.end}
            text = f"op {attempt.op_id} ended before it began"
            yield Witness("worker", (attempt.op_id,), None, values, text)
    for one, other in pairwise(attempts):
        if one.end is not None and other.begin < one.end - CLOCK_SLACK:
            values = {"worker": number, "end": one.end, "begin": other.begin}
            text = (
                f"worker {number} began op {other.op_id} before its attempt"
                f" at op {one.op_id} had ended"
            )
            yield Witness("worker", (one.op_id, other.op_id), None, values, text)


def _plain(value: Any) -> Any:
    return value._asdict() if hasattr(value, "_asdict") else value


def _some(numbers: list[int]) -> str:
    told = ", ".join(str(number) for number in numbers[:10])
    return f"{told}, …" if len(numbers) > 10 else told
