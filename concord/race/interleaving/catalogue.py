"""The scenarios that come with Concord: what PostgreSQL does in each, and how it is told.

A scenario is a spec among the package's data, in the very format that users write, with plain
BEGINs: a run sets the level at which they begin. Here stands what is to come of it at each level,
and how the outcome is found from a run: from results, command tags and SQLSTATEs, and from the
rows that are there in the end.

- `anomaly`: the bad state came about, and nobody was told.
- `aborted`: it did not, because a transaction was ended with an SQLSTATE.
- `prevented`: it did not, and everybody got a right answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from concord.errors import Usage
from concord.race.interleaving.events import LEVELS, Run
from concord.race.interleaving.spec import Spec, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Outcome: TypeAlias = Literal["anomaly", "prevented", "aborted"]
ANOMALY, PREVENTED = "anomaly", "prevented"

LIMIT = 2
"""Tasks of the scenarios' project that may be in progress."""

_DIRECTORY = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, by its name and by the codes that the literature has for it.

    `expected` has one word for each of `LEVELS`: `anomaly`, `prevented`, or the SQLSTATE with
    which somebody is aborted. `bad` says whether the bad state came about in a run, and `tell`
    what there was instead of an error.
    """

    name: str
    codes: tuple[str, ...]
    expected: tuple[str, str, str]
    bad: Callable[[Run], bool]
    tell: Callable[[Run], str]

    def spec(self) -> Spec:
        """Return the scenario's spec."""
        path = _DIRECTORY / f"{self.name}.spec"
        return parse(path.read_text(encoding="utf-8"), path.name)

    def expects(self, isolation: str) -> tuple[Outcome, str | None]:
        """Return the outcome that is to come at a level, and the SQLSTATE if it is `aborted`."""
        match self.expected[LEVELS.index(isolation)]:
            case "anomaly" | "prevented" as word:
                return word, None
            case sqlstate:
                return "aborted", sqlstate

    def outcome(self, run: Run) -> tuple[Outcome, str | None]:
        """Return what came of a run, and the first SQLSTATE in it.

        A run that did not come to its end is `aborted` without one, as no scenario expects.
        """
        if any(event.event == "stuck" for event in run.events):
            return "aborted", None
        sqlstate = run.failures[0].sqlstate if run.failures else None
        if self.bad(run):
            return "anomaly", sqlstate
        return ("aborted", sqlstate) if sqlstate else ("prevented", None)

    def detail(self, run: Run) -> str:
        """Return in one line what came of a run, and how."""
        waited = {event.step: event.waits_for for event in run.waits()}
        if not run.failures:
            first = next(run.waits(), None)
            if first is None:
                return self.tell(run)
            told = self.tell(run).removeprefix(f"{first.session} ")
            return f"{first.session} waits for {' and '.join(first.waits_for)}, then {told}"
        first, *others = run.failures
        told = f"{first.sqlstate} at {first.session}'s {first.verb}"
        if names := waited.get(first.step):
            told += f", which had waited for {' and '.join(names)}"
        if later := sorted({other.sqlstate for other in others if other.sqlstate}):
            told += f"; then {', '.join(later)}"
        return f"{self.tell(run)}; {told}" if self.bad(run) else told


def find(name: str) -> Scenario:
    """Return a scenario by its name or by one of its codes, in any case. Raises `Usage`."""
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    for scenario in SCENARIOS:
        if wanted in (scenario.name, *scenario.codes):
            return scenario
    from difflib import get_close_matches

    known = [word for scenario in SCENARIOS for word in (scenario.name, *scenario.codes)]
    near = get_close_matches(wanted, known, n=3)
    raise Usage(
        f"no such scenario: {name}" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint=f"Scenarios: {', '.join(names())}",
        scenario=name,
    )


def names() -> list[str]:
    """Return the names of all scenarios, in the order of the matrix."""
    return [scenario.name for scenario in SCENARIOS]


# What the runs are judged by. Each task of a run is a row of `lab_tasks`, by its id.


def _points(run: Run, task: int = 1) -> int:
    return next(row["points"] for row in run.tables["lab_tasks"] if row["id"] == task)


def _both(run: Run) -> bool:
    return run.committed("A") and run.committed("B")


def _acknowledged(run: Run) -> int:
    """Return the points that were added by writes that took place and were committed."""
    added = 0
    for session, amount in (("A", 1), ("B", 5)):
        writes = [e for e in run.events if e.session == session and e.ended and e.verb == "UPDATE"]
        if run.committed(session) and any(run.touched(write.step) for write in writes):
            added += amount
    return added


def _lost(run: Run) -> bool:
    return _points(run) != 10 + _acknowledged(run)


def _points_told(run: Run) -> str:
    done = _acknowledged(run)
    return f"{done} points are acknowledged, {_points(run) - 10} kept"


def _in_progress(run: Run) -> int:
    return sum(row["status"] == "in_progress" for row in run.tables["lab_tasks"])


def _over_limit(run: Run) -> bool:
    return _in_progress(run) > LIMIT


def _progress_told(run: Run) -> str:
    return f"{_in_progress(run)} in progress, of {LIMIT}"


def _claims(run: Run) -> list[int | None]:
    return [run.value(step) for step in ("a_claims", "b_claims")]


def _ids(run: Run) -> set[int]:
    return {row["id"] for row in run.tables["lab_tasks"]}


def _read_only_cycle(run: Run) -> bool:
    """Whether A came before B, B before C, and C before A."""
    a_saw, c_saw = (_pairs(run, step) for step in ("a_reads", "c_reads"))
    return (
        all(run.committed(session) for session in "ABC")
        and a_saw == [("1", "10"), ("2", "20")]
        and c_saw == [("1", "10"), ("2", "25")]
        and _points(run) == 0
    )


def _pairs(run: Run, step: str) -> list[tuple[str | None, ...]]:
    return [row for result in run.end(step).results for row in result.rows]


def _vanished(run: Run) -> bool:
    """Whether C saw a part of what one transaction wrote, and then the other part no more."""
    first = (run.value("c_reads_1"), run.value("c_reads_2"))
    later = (run.value("c_reads_1_again"), run.value("c_reads_2_again"))
    whole = {(10, 20), (11, 19), (12, 18)}
    return not {first, later} <= whole


def _sees(*steps: str) -> Callable[[Run], str]:
    return lambda run: (
        f"{steps[0][0].upper()} sees " + ", then ".join(str(run.value(step)) for step in steps)
    )


SCENARIOS: Sequence[Scenario] = (
    Scenario("lost-update", ("p4",), (ANOMALY, "40001", "40001"), _lost, _points_told),
    Scenario(
        "version-check",
        (),
        (PREVENTED, "40001", "40001"),
        _lost,
        lambda run: f"B gets UPDATE {run.touched('b_writes')}",
    ),
    Scenario("atomic-increment", (), (PREVENTED, "40001", "40001"), _lost, _points_told),
    Scenario(
        "for-update",
        (),
        (PREVENTED, "40001", "40001"),
        lambda run: _lost(run) or (run.committed("B") and run.value("b_locks") != 11),
        _sees("b_locks"),
    ),
    Scenario(
        "nowait",
        (),
        ("55P03", "55P03", "55P03"),
        lambda run: run.touched("a_locks") == run.touched("b_locks") == 1,
        lambda _: "both hold the lock",
    ),
    Scenario(
        "skip-locked",
        (),
        (PREVENTED, PREVENTED, PREVENTED),
        lambda run: sorted(map(str, _claims(run))) != ["1", "2"],
        lambda run: "A claims {}, B claims {}".format(*_claims(run)),
    ),
    Scenario(
        "skip-locked-stale",
        (),
        (PREVENTED, "40001", "40001"),
        lambda run: run.committed("B") and _claims(run) != [1, 2],
        lambda run: "A claims {}, B claims {}".format(*_claims(run)),
    ),
    Scenario("write-skew", (), (ANOMALY, ANOMALY, "40001"), _over_limit, _progress_told),
    Scenario("phantom-insert", (), (ANOMALY, ANOMALY, "40001"), _over_limit, _progress_told),
    Scenario(
        "parent-lock",
        (),
        (PREVENTED, ANOMALY, ANOMALY),
        lambda run: run.committed("B") and run.value("b_counts") != _in_progress(run),
        lambda run: f"B counts {run.value('b_counts')} where {_in_progress(run)} are in progress",
    ),
    Scenario(
        "advisory-lock",
        (),
        (PREVENTED, ANOMALY, "40001"),
        _over_limit,
        lambda run: f"B counts {run.value('b_counts')}; {_progress_told(run)}",
    ),
    Scenario(
        "read-skew",
        ("g-single",),
        (ANOMALY, PREVENTED, PREVENTED),
        lambda run: (run.value("a_reads_1") or 0) + (run.value("a_reads_2") or 0) != 30,
        lambda run: f"A sees {run.value('a_reads_1')} + {run.value('a_reads_2')}",
    ),
    Scenario(
        "pmp-read",
        ("pmp",),
        (ANOMALY, PREVENTED, PREVENTED),
        lambda run: run.value("a_asks") != run.value("a_asks_again"),
        _sees("a_asks", "a_asks_again"),
    ),
    Scenario(
        "pmp-write",
        (),
        (ANOMALY, "40001", "40001"),
        lambda run: run.committed("B") and 20 in {r["points"] for r in run.tables["lab_tasks"]},
        lambda run: (
            f"B gets DELETE {run.touched('b_deletes')}, and {run.value('b_looks')} that should go"
        ),
    ),
    Scenario(
        "read-only-anomaly",
        ("fekete",),
        (ANOMALY, ANOMALY, "40001"),
        _read_only_cycle,
        lambda _: "A before B before C before A",
    ),
    Scenario(
        "deadlock",
        (),
        ("40P01", "40P01", "40P01"),
        lambda run: run.committed("A") == run.committed("B"),
        lambda _: "not just one of them got through",
    ),
    Scenario(
        "select-then-insert",
        (),
        ("23505", "23505", "40001"),
        _both,
        lambda _: "both inserted it",
    ),
    Scenario(
        "dirty-write",
        ("g0",),
        (PREVENTED, "40001", "40001"),
        lambda run: (_points(run, 1), _points(run, 2)) not in {(11, 21), (12, 22)},
        lambda run: f"both tasks end as one wrote them: {_points(run, 1)}, {_points(run, 2)}",
    ),
    Scenario(
        "aborted-read",
        ("g1a",),
        (PREVENTED, PREVENTED, PREVENTED),
        lambda run: 101 in (run.value("b_reads"), run.value("b_reads_again")),
        _sees("b_reads", "b_reads_again"),
    ),
    Scenario(
        "intermediate-read",
        ("g1b",),
        (PREVENTED, PREVENTED, PREVENTED),
        lambda run: 101 in (run.value("b_reads"), run.value("b_reads_again")),
        _sees("b_reads", "b_reads_again"),
    ),
    Scenario(
        "circular-information-flow",
        ("g1c",),
        (PREVENTED, PREVENTED, "40001"),
        lambda run: run.value("a_reads_2") == 22 and run.value("b_reads_1") == 11,
        lambda run: f"A sees {run.value('a_reads_2')}, B sees {run.value('b_reads_1')}",
    ),
    Scenario(
        "observed-transaction-vanishes",
        ("otv",),
        (PREVENTED, "40001", "40001"),
        _vanished,
        _sees("c_reads_1", "c_reads_2"),
    ),
    Scenario(
        "g2-item",
        (),
        (ANOMALY, ANOMALY, "40001"),
        lambda run: _both(run) and (_points(run, 1), _points(run, 2)) == (11, 21),
        lambda _: "both commit, and neither saw the other's write",
    ),
    Scenario(
        "g2",
        (),
        (ANOMALY, ANOMALY, "40001"),
        lambda run: (
            _both(run) and {3, 4} <= _ids(run) and run.value("a_asks") == run.value("b_asks") == 0
        ),
        lambda _: "both commit, and neither saw the other's row",
    ),
)
"""All scenarios, in the order of the matrix."""
