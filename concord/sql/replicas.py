"""Standbys: how old what they tell may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction

if TYPE_CHECKING:
    from datetime import datetime

    from concord.database import Transaction

# A later statement sees at least what had been replayed by now.
AGE: LiteralString = """
-- replica_age: when the newest transaction that was replayed had been committed, and how long ago
SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp(),
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
"""


@dataclass(frozen=True, slots=True)
class Age:
    """How old what a server tells may be. `behind`: seconds since `as_of`.

    Of a standby, all that was committed up to `as_of` is there, by the clock of the primary; of
    what came later nothing is known, and there may be nothing. Without `as_of` it has replayed no
    transaction since it was started.
    """

    standby: bool
    as_of: datetime | None
    behind: float | None


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def age(tx: Transaction) -> Age:
    """Return how old what this server tells may be."""
    found = tx.row(AGE, None, Age)
    assert found is not None
    return found
