"""What agents ask beyond claiming: how a claim came to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction

if TYPE_CHECKING:
    from concord.database import Transaction

# The end of a claim and what its task became are told by the same transaction. After a crash the
# server may give out a transaction's id anew, but not to two that both tell of this claim.
ENDING: LiteralString = """
-- claim_ending: the status that a task got when somebody ended their claim of it
SELECT became.new ->> 'status'
FROM history AS ended
JOIN history AS became
    ON became.xid = ended.xid AND became.task_id = ended.task_id AND became.entity = 'task'
    AND became.new ? 'status'
WHERE ended.task_id = %(task)s AND ended.entity = 'task'
  AND ended.old -> 'claim' ->> 'epoch' = %(epoch)s::text AND ended.new -> 'claim' = 'null'
  AND lower(ended.actor) = lower(%(actor)s)
"""


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def ended_as(tx: Transaction, task: int, epoch: int) -> str | None:
    """Return the status that the actor gave a task when they ended their claim of it.

    `None` if somebody else ended it, or nobody has: it was taken over, or goes on.
    """
    return tx.scalar(ENDING, {"task": task, "epoch": str(epoch), "actor": tx.actor})
