"""What can be raced: scenarios, strategies, and which of them go together.

A scenario is what everybody does at once; a strategy is how they guard it. A pair that makes no
sense is refused with the reason, because a race that cannot fail proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from concord.errors import Usage

READ_COMMITTED: Final = "read committed"
REPEATABLE_READ: Final = "repeatable read"
SERIALIZABLE: Final = "serializable"
ISOLATIONS: Final = (READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE)

CONTROL: Final = "none"
"""The strategy that guards nothing: the control, which must lose."""

SCENARIOS: Final = {
    "counter": "everyone reads a number in the same tasks and writes it back, one higher",
    "assign": "everyone takes themselves on and off the same tasks",
    "edit": "everyone changes one of two fields of the same tasks",
    "claim": "a queue of tasks is emptied by all",
    "limit": "everyone starts and completes tasks under a work-in-progress limit",
    "transfer": "everyone moves a point between two tasks, in opposite order",
}

STRATEGIES: Final = {
    CONTROL: "read, then write what follows from it",
    "atomic": "one statement that reads and writes",
    "optimistic": "write only if the version is still the one that was read",
    "for-update": "lock what is read until the end (SELECT … FOR UPDATE)",
    "nowait": "lock what is read, and try again later if somebody holds it (NOWAIT)",
    "skip-locked": "take the first that nobody holds (SKIP LOCKED)",
    "advisory": "hold an advisory transaction lock while reading and writing",
    "repeatable-read": "read, then write, at REPEATABLE READ; try again on 40001",
    "serializable": "read, then write, at SERIALIZABLE; try again on 40001",
    "product": "what Concord's own command does",
}

FIXED_ISOLATION: Final = {"repeatable-read": REPEATABLE_READ, "serializable": SERIALIZABLE}
"""Strategy → the isolation level that is its guard."""

_GIVEN_TASK = "this scenario changes a task that is given, and skipping it would not change it"
_ACROSS_ROWS = "the limit is a rule across rows, which"

REFUSED: Final = {
    ("counter", "skip-locked"): _GIVEN_TASK,
    ("assign", "skip-locked"): _GIVEN_TASK,
    ("edit", "skip-locked"): _GIVEN_TASK,
    ("transfer", "skip-locked"): _GIVEN_TASK,
    ("limit", "atomic"): f"{_ACROSS_ROWS} one statement counts in its own snapshot; it takes a lock"
    " that all share (for-update)",
    ("limit", "optimistic"): f"{_ACROSS_ROWS} the version of one task says nothing about",
    ("limit", "skip-locked"): f"{_ACROSS_ROWS} locking only the task that is started leaves open",
    ("limit", "repeatable-read"): f"{_ACROSS_ROWS} a snapshot does not keep: two counts of the same"
    " snapshot both pass (see: concord demo step write-skew --isolation 'repeatable read')",
}
"""(scenario, strategy) → why it is not raced."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to race. `duration` and `think` in seconds; `tasks` `None`: what the scenario needs."""

    workers: int = 8
    ops: int | None = 100
    duration: float | None = None
    tasks: int | None = None
    think: float = 0.0
    retries: int = 1000
    seed: int = 0
    observe: bool = True
    isolation: str | None = None
    """The level that was asked for, of strategies that have none of their own."""
    as_list: bool = False
    """Whether values are lists, for Elle."""
    backoff: bool = True


@dataclass(frozen=True, slots=True)
class Race:
    """One race: everybody does `scenario`, guarded by `strategy`, at `isolation`."""

    scenario: str
    strategy: str
    isolation: str

    @property
    def control(self) -> bool:
        """Whether nothing guards it: it has to lose, or the contention was too low."""
        return self.strategy == CONTROL


def races(
    scenarios: list[str], strategies: list[str], isolation: str | None = None
) -> tuple[Race, ...]:
    """Return the races asked for, the control of each scenario first.

    Without `strategies`, all that make sense. `isolation` is the level of those strategies that
    have none of their own. Raises `Usage` for a pair that makes no sense.
    """
    made: list[Race] = []
    for scenario in scenarios:
        made.append(Race(scenario, CONTROL, READ_COMMITTED))
        for strategy in strategies or STRATEGIES:
            if strategy == CONTROL:
                _only_control(isolation, strategies)
                continue
            if reason := REFUSED.get((scenario, strategy)):
                if strategies and len(scenarios) == 1:
                    raise Usage(
                        f"{strategy} makes no sense for {scenario}: {reason}",
                        hint=f"Choose from: {', '.join(sensible(scenario))}",
                        scenario=scenario,
                        strategy=strategy,
                    )
                continue
            made.append(Race(scenario, strategy, _isolation(strategy, isolation, strategies)))
    wanted = tuple(dict.fromkeys(made))
    for strategy in strategies:
        if not any(race.strategy == strategy for race in wanted):
            raise Usage(
                f"{strategy} makes no sense for any of: {', '.join(scenarios)}",
                hint="Race it alone with one --scenario to see why.",
                strategy=strategy,
            )
    return wanted


def sensible(scenario: str) -> tuple[str, ...]:
    """Return the strategies that make sense for a scenario."""
    return tuple(name for name in STRATEGIES if (scenario, name) not in REFUSED)


def _only_control(asked: str | None, strategies: list[str]) -> None:
    """Raise `Usage` for a control at a level that would guard it."""
    if asked and asked != READ_COMMITTED and strategies:
        name = asked.replace(" ", "-")
        raise Usage(
            f"{CONTROL} is the control, which nothing guards; {asked.upper()} would",
            hint=f"That is a strategy of its own: --strategy {name}",
            strategy=CONTROL,
        )


def _isolation(strategy: str, asked: str | None, strategies: list[str]) -> str:
    fixed = FIXED_ISOLATION.get(strategy)
    if fixed and asked and asked != fixed and strategies:
        raise Usage(
            f"{strategy} cannot run at {asked.upper()}: its guard is {fixed.upper()}",
            hint=f"Leave --isolation out, or --strategy {strategy}.",
            strategy=strategy,
        )
    if strategy == "product":
        # Concord's operations declare their own level; an experiment does not change it.
        if asked and asked != READ_COMMITTED and strategies:
            raise Usage(
                f"product cannot run at {asked.upper()}: Concord's commands choose their own level",
                hint="Leave --isolation out, or --strategy product.",
                strategy=strategy,
            )
        return READ_COMMITTED
    return fixed or asked or READ_COMMITTED


def task_count(scenario: str, options: Options) -> int:
    """Return how many tasks a race is about.

    Under a limit it is one a worker. A transfer needs two; with only two, and many workers, nearly
    every attempt would end in a deadlock.
    """
    match scenario:
        case "limit":
            return options.workers
        case "claim":
            return options.tasks or options.workers * (options.ops or 100)
        case "transfer":
            return max(2, options.tasks or options.workers)
        case _:
            return options.tasks or 1
