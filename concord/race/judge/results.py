"""What a judge says about a race."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVED: Final = "PROVED"
VIOLATED: Final = "VIOLATED"
INCONCLUSIVE: Final = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Witness:
    """One place where a rule is broken, for everybody to look up in the log.

    `ops` are the operations concerned, `values` the numbers that do not go together.
    """

    rule: str
    ops: tuple[int, ...]
    task: int | None
    values: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a race and what it rests on; the fields are the keys in JSON.

    `ok`, `failed` and `unknown` count operations by how they ended; one that was to be tried again
    and then found nothing left to do is none of these. `retries` counts attempts after the first of
    an operation. `lost` is what the race destroyed: updates that were overwritten, claims beyond
    the first, starts beyond the limit. Latencies are those of acknowledged operations, from the
    begin of the first attempt to the end of the last. `None`: there is nothing to compute. `died`
    counts workers; `limit` is the one that scenario `limit` is held to.
    """

    scenario: str
    strategy: str
    isolation: str
    verdict: str
    ok: int
    failed: int
    retries: int
    unknown: int
    lost: int
    waits: int | None
    longest_wait_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    ok_per_s: float | None
    witness: Witness | None
    control: bool
    reason: str
    died: int
    limit: int | None

    @property
    def name(self) -> str:
        """What was raced, in words."""
        return f"{self.scenario}, {self.strategy} at {self.isolation}"
