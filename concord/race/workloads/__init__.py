"""The scenarios, one a module: each has its SQL, and a function for each of its strategies.

A strategy gets the open transaction of an attempt and the operation, and returns what it changed.
It raises `Again` if it changed nothing and should be tried again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, LiteralString, Protocol, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from concord.race.effects import Op, Touch
    from concord.race.product import Product
    from concord.race.session import Transaction
    from concord.race.values import Value

FOR_UPDATE: Final[LiteralString] = "FOR UPDATE"
NOWAIT: Final[LiteralString] = "FOR UPDATE NOWAIT"

ADVISORY: LiteralString = """
-- advisory_lock: until the transaction ends, and apart from other schemas' keys
SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), %(key)s))
"""

Strategy: TypeAlias = "Callable[[Transaction, Op], tuple[Touch, ...]]"
ProductStrategy: TypeAlias = "Callable[[Product, Op], tuple[Touch, ...]]"


class Workload(ABC):
    """A scenario as one worker runs it."""

    strategies: Mapping[str, Strategy]
    """Strategy name → what an attempt does."""
    product: ProductStrategy | None = None
    """What Concord's own command does, where there is one."""
    deadlocks: bool = False
    """Whether workers may lock in orders that make deadlocks."""

    @property
    def unfinished(self) -> bool:
        """Whether one more operation is needed to leave nothing that others wait for."""
        return False

    @abstractmethod
    def choose(self, random: random.Random) -> tuple[int, ...]:
        """Return the tasks of the next operation."""

    def settle(self, touches: tuple[Touch, ...]) -> None:  # noqa: B027 - most have nothing to note
        """Take note of what an acknowledged operation left behind."""


class Setting(Protocol):
    """What a workload is told: which worker it is, and what there is."""

    worker: int
    racer: str
    racer_id: int
    project: int
    key: str
    tasks: tuple[int, ...]
    limit: int | None
    value: Value


def advised(strategy: Strategy) -> Strategy:
    """Return a strategy that first takes an advisory lock on each task, in its own order."""

    def body(tx: Transaction, op: Op) -> tuple[Touch, ...]:
        for task in op.tasks:
            tx.execute(ADVISORY, {"key": task})
        return strategy(tx, op)

    return body


def read_write(
    make: Callable[[LiteralString, bool], Strategy], read: LiteralString, atomic: Strategy
) -> dict[str, Strategy]:
    """Return the strategies of a scenario that reads a task and writes what follows from it.

    `make` takes the statement that reads, with or without a lock, and whether the write is to
    check the version.
    """
    return {
        "none": make(read, False),
        "atomic": atomic,
        "optimistic": make(read, True),
        "for-update": make(read + FOR_UPDATE, False),
        "nowait": make(read + NOWAIT, False),
        "advisory": advised(make(read, False)),
        "repeatable-read": make(read, False),
        "serializable": make(read, False),
    }


def workload(scenario: str, setting: Any) -> Workload:
    """Return a scenario as one worker runs it."""
    from importlib import import_module

    made: Workload = import_module(f"concord.race.workloads.{scenario}").Scenario(setting)
    return made
