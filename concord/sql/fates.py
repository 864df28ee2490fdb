"""What became of transactions whose COMMIT was never answered, for `concord doctor --unknown`."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.models import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from concord.database import Transaction

# Asked about a number that it has not given out yet, pg_xact_status raises an error: what comes
# after a snapshot is under way if it holds the lock of itself, and else has not begun. Of what has
# ended long since it knows nothing, but history does.
FATES: LiteralString = """
-- transaction_fates: what the server knows of them, and what is in history of each
SELECT asked.xid,
       CASE WHEN asked.xid::xid8 < pg_snapshot_xmax(pg_current_snapshot())
            THEN pg_xact_status(asked.xid::xid8)
            WHEN EXISTS (SELECT FROM pg_locks WHERE transactionid = asked.xid::xid8::xid)
            THEN 'in progress' END,
       pg_is_in_recovery(), history_knows(asked.xid::xid8, 'infinity'),
       told.at, told.actor, told.operation, coalesce(told.tasks, '{}')
FROM unnest(%(xids)s::text[]) WITH ORDINALITY AS asked (xid, place)
LEFT JOIN LATERAL (
    SELECT min(h.at) AS at, min(h.actor) AS actor, min(h.operation) AS operation,
           array_agg(DISTINCT h.task_id ORDER BY h.task_id) FILTER (WHERE h.task_id IS NOT NULL)
               AS tasks
    FROM history h WHERE h.xid = asked.xid::xid8
) AS told ON true
ORDER BY asked.place
"""


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def tell(tx: Transaction, xids: Sequence[str]) -> tuple[Fate, ...]:
    """Return what became of transactions, by their ids (`xid8`) as text."""
    return tx.rows(FATES, {"xids": list(xids)}, _fate)


def _fate(
    xid: str,
    status: str | None,
    standby: bool,
    known: bool | None,
    at: datetime | None,
    actor: str | None,
    operation: str | None,
    tasks: Sequence[int],
) -> Fate:
    # What others saved is not told of what one does not see.
    if known:
        outcome = "saved"
    elif standby:
        outcome = "unknown"  # the primary may know more
    elif status == "in progress":
        outcome = "running"
    elif status == "committed":
        outcome = "saved nothing"
    else:
        outcome = "not saved"
    return Fate(xid, outcome, at, actor, operation, tuple(tasks))
