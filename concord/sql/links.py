"""Dependencies and hierarchy: what waits for what, and what is part of what.

One rule goes through both: no task may wait, over however many others, for itself. A task begins
after its blockers have ended and after the task that it is part of has begun; it ends after all
its parts have ended. The rule holds when these orders, taken together, have no circle.
"""

from __future__ import annotations

import graphlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, LiteralString

from concord.database import Isolation, transaction
from concord.errors import Refused
from concord.models import TreeNode
from concord.sql import projects, task_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.database import Transaction
    from concord.models import Task

# Everybody who adds to the graph passes here one after the other. Two who each add half of a
# circle thus cannot both look before either has written; and whoever waited with an older
# snapshot (at SERIALIZABLE) starts again.
ENTER: LiteralString = """
-- enter_graph: one at a time, until the end of the transaction
SELECT pass_gate('graph')
"""

INSERT: LiteralString = """
-- insert_links: one that is there stays
INSERT INTO links (blocked_id, blocker_id)
SELECT blocked, blocker
FROM unnest(%(blocked)s::bigint[]) AS blocked, unnest(%(blockers)s::bigint[]) AS blocker
ON CONFLICT DO NOTHING
"""

DELETE: LiteralString = """
-- delete_links: one that is not there is nothing to do
DELETE FROM links WHERE blocked_id = ANY(%(blocked)s) AND blocker_id = ANY(%(blockers)s)
"""

DELETE_ALL: LiteralString = """
-- delete_all_links: whatever they wait for
DELETE FROM links WHERE blocked_id = ANY(%(blocked)s)
"""

DETACH: LiteralString = """
-- detach_links: of tasks that go, in both directions
DELETE FROM links WHERE blocked_id = ANY(%(tasks)s) OR blocker_id = ANY(%(tasks)s)
"""

# (id, ended): the beginning or the end of a task. Only what comes after the given tasks can lead
# back to them, so only that is read.
ORDER: LiteralString = """
-- read_order: what comes after the beginning or the end of these tasks, pair by pair
WITH RECURSIVE after (id, ended) AS (
    SELECT id, ended FROM unnest(%(tasks)s::bigint[]) AS id, unnest('{f,t}'::boolean[]) AS ended
    UNION
    SELECT next.id, next.ended FROM after CROSS JOIN LATERAL (
        SELECT after.id, true WHERE NOT after.ended
        UNION ALL
        SELECT part.id, false FROM tasks part WHERE part.parent_id = after.id AND NOT after.ended
        UNION ALL
        SELECT blocked_id, false FROM links WHERE blocker_id = after.id AND after.ended
        UNION ALL
        SELECT parent_id, true FROM tasks
        WHERE tasks.id = after.id AND after.ended AND parent_id IS NOT NULL
    ) AS next (id, ended)
)
SELECT after.id, after.ended, next.id, next.ended FROM after CROSS JOIN LATERAL (
    SELECT after.id, true WHERE NOT after.ended
    UNION ALL
    SELECT part.id, false FROM tasks part WHERE part.parent_id = after.id AND NOT after.ended
    UNION ALL
    SELECT blocked_id, false FROM links WHERE blocker_id = after.id AND after.ended
    UNION ALL
    SELECT parent_id, true FROM tasks
    WHERE tasks.id = after.id AND after.ended AND parent_id IS NOT NULL
) AS next (id, ended)
"""

TREE: LiteralString = """
-- show_tree: tasks with all that is part of them, parents before their parts
WITH RECURSIVE tree (id, depth, path) AS (
    SELECT t.id, 0, ARRAY[t.id] FROM tasks t WHERE t.id = ANY(%(ids)s)
    UNION ALL
    SELECT t.id, depth + 1, path || t.id FROM tree JOIN tasks t ON t.parent_id = tree.id
    WHERE t.deleted_at IS NULL AND t.id <> ALL (path)
)
SELECT tree.id, tree.depth, t.parent_id, t.status, t.priority, t.title,
       ARRAY(SELECT l.blocker_id FROM links l JOIN tasks b ON b.id = l.blocker_id
             WHERE l.blocked_id = t.id AND b.status IN ('todo', 'in_progress')
               AND b.deleted_at IS NULL
             ORDER BY 1) AS waits_for
FROM tree JOIN tasks t ON t.id = tree.id ORDER BY path
"""

ROOTS: LiteralString = """
-- tree_roots: tasks that have parts and are part of none, as far as the tree goes
SELECT t.id FROM tasks t
WHERE t.deleted_at IS NULL
  AND (%(project)s::text IS NULL
       OR t.project_id = (SELECT id FROM projects WHERE key = %(project)s::text))
  AND NOT EXISTS (
      SELECT FROM tasks whole
      WHERE whole.id = t.parent_id AND whole.deleted_at IS NULL
        AND (%(project)s::text IS NULL OR whole.project_id = t.project_id)
  )
  AND t.id IN (SELECT parent_id FROM tasks WHERE deleted_at IS NULL)
ORDER BY t.id
"""


@transaction(isolation=Isolation.READ_COMMITTED)
def block(
    tx: Transaction, ids: Sequence[int], blockers: Sequence[int], *, nowait: bool = False
) -> tuple[Task, ...]:
    """Make tasks wait for others and return them.

    Raises `NotFound`, and `Refused` naming the circle that it would close.
    """
    enter(tx)
    task_rows.lock(tx, ids, nowait=nowait)
    attach(tx, ids, blockers)
    blocked = task_rows.fetch_later(tx, ids)
    refuse_circles(tx, ids)
    return blocked()


@transaction(isolation=Isolation.READ_COMMITTED)
def unblock(
    tx: Transaction, ids: Sequence[int], blockers: Sequence[int], *, nowait: bool = False
) -> tuple[Task, ...]:
    """Let tasks no longer wait for others, without `blockers` for none, and return them.

    Raises `NotFound`.
    """
    # Taking a link away closes no circle: no gate.
    task_rows.lock(tx, ids, nowait=nowait)
    if blockers:
        tx.execute(DELETE, {"blocked": list(ids), "blockers": list(blockers)})
    else:
        tx.execute(DELETE_ALL, {"blocked": list(ids)})
    return task_rows.fetch(tx, ids)


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def tree(
    tx: Transaction, ids: Sequence[int], *, project: str | None = None
) -> tuple[TreeNode, ...]:
    """Return tasks and all their parts, each after what it is part of.

    Without ids: all tasks that have parts and are part of none, of `project` or everywhere. Raises
    `NotFound`.
    """
    roots = list(ids) or list(tx.scalars(ROOTS, {"project": project}))
    if not roots and project is not None:
        projects.fetch(tx, project)
    found = tx.rows(TREE, {"ids": roots}, _node)
    task_rows.require(tx, ids, [node.id for node in found])
    return found


def enter(tx: Transaction) -> None:
    """Wait until nobody else adds to the graph, and keep others from it until the end.

    Before any task is locked: whoever waits here must hold nothing that others wait for.
    """
    tx.execute(ENTER)


def attach(tx: Transaction, ids: Sequence[int], blockers: Sequence[int]) -> None:
    """Make tasks that the transaction holds locked, or has made, wait for others.

    Whether that closes a circle is still to be asked. Raises `NotFound`.
    """
    task_rows.require_present(tx, blockers)
    tx.execute(INSERT, {"blocked": list(ids), "blockers": list(blockers)})


def detach_all(tx: Transaction, ids: Sequence[int]) -> None:
    """Take tasks that go out of the graph."""
    tx.execute(DETACH, {"tasks": list(ids)})


def refuse_circles(tx: Transaction, ids: Sequence[int]) -> None:
    """Raise `Refused` if one of the tasks now waits for itself. The gate must have been passed."""
    order: defaultdict[tuple[int, bool], list[tuple[int, bool]]] = defaultdict(list)
    for task, ended, later, later_ended in tx.rows(
        ORDER, {"tasks": list(ids)}, lambda *columns: columns
    ):
        order[later, later_ended].append((task, ended))
    try:
        graphlib.TopologicalSorter(order).prepare()
    except graphlib.CycleError as error:
        circle = list(dict.fromkeys(task for task, _ in error.args[1]))
        raise Refused(
            f"a task would wait for itself: {' → '.join(map(str, [*circle, circle[0]]))}",
            hint="See what they wait for: concord task show ID",
            tasks=circle,
        ) from None


def _node(*columns: Any) -> TreeNode:
    *values, waits_for = columns
    return TreeNode(*values, waits_for=tuple(waits_for))
