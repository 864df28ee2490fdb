"""What an import does to dependencies and hierarchy: tasks are known by what the file calls them.

A link is compared three ways like a field, but each for itself: what the file has added since last
time is added here, what it has taken away is taken away, and what was unlinked here stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.errors import Refused
from concord.models import Unlinked
from concord.sql import links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from concord.database import Transaction

# Lists are told apart before anything is joined to them: the planner takes each for one of ten or a
# hundred entries, and for so many it would read all tasks and links there are.
NAME: LiteralString = """
-- name_refs: each ref that the file names, or named last time
CREATE TEMPORARY TABLE import_named ON COMMIT DROP AS
SELECT parent AS ref FROM import_rows WHERE parent IS NOT NULL
UNION SELECT previous FROM import_rows WHERE previous IS NOT NULL
UNION SELECT unnest(blocked_by) FROM import_rows
UNION SELECT base ->> 'parent' FROM import_tasks WHERE base ->> 'parent' IS NOT NULL
UNION SELECT jsonb_array_elements_text(base -> 'blocked_by') FROM import_tasks
"""

SAY: LiteralString = """
-- say_links: each that the file tells (`told`) or told last time (`before`)
CREATE TEMPORARY TABLE import_blocking ON COMMIT DROP AS
SELECT line, ref, bool_or(told) AS told, bool_or(NOT told) AS before
FROM (
    SELECT line, unnest(blocked_by) AS ref, true AS told FROM import_rows
    UNION ALL
    SELECT line, jsonb_array_elements_text(base -> 'blocked_by'), false FROM import_tasks
) AS each_time
GROUP BY line, ref
"""

ANALYZE_LISTS: LiteralString = """
-- analyze_lists: as for the staging
ANALYZE import_named, import_blocking
"""

# What is neither in the file nor known from an earlier one stays without a task. A uid, as in
# Concord's own format, is one everywhere.
REFER: LiteralString = """
-- resolve_refs: each ref with its task, if there is one
CREATE TEMPORARY TABLE import_refs ON COMMIT DROP AS
SELECT named.ref, coalesce(own.task_id, brought.task_id, by_ref.id, by_uid.id) AS task_id,
       coalesce(own.ref, brought.ref, by_ref.external_ref, by_uid.uid::text) IS NOT NULL AS known
FROM import_named named
LEFT JOIN import_tasks own ON own.ref = named.ref
LEFT JOIN projects p ON p.key = %(project)s::text
LEFT JOIN import_bases brought ON own.ref IS NULL
    AND brought.project_id = p.id AND brought.format = %(format)s AND brought.ref = named.ref
LEFT JOIN tasks by_ref ON own.ref IS NULL
    AND by_ref.project_id = p.id AND by_ref.external_ref = named.ref
LEFT JOIN tasks by_uid ON own.ref IS NULL
    AND by_uid.uid = CASE WHEN named.ref ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                          THEN named.ref::uuid END
"""

ANALYZE_REFS: LiteralString = """
-- analyze_refs: as for the staging
ANALYZE import_refs
"""

PLAN: LiteralString = """
-- plan_links: what the file says and said of each link, and what follows for it
CREATE TEMPORARY TABLE import_links ON COMMIT DROP AS
SELECT said.line, said.ref, said.told AND NOT known.known AND NOT said.before AS unknown,
       said.told AND known.known AND NOT said.before AND l.blocked_id IS NULL AS added,
       said.before AND NOT said.told AND l.blocked_id IS NOT NULL
           AND NOT 'blocked_by' = ANY(r.partial) AS removed,
       CASE WHEN said.before THEN said.told OR 'blocked_by' = ANY(r.partial)
            ELSE known.known END AS remembered
FROM import_blocking said
JOIN import_rows r ON r.line = said.line
JOIN import_tasks t ON t.line = said.line
JOIN import_refs known ON known.ref = said.ref
LEFT JOIN links l ON l.blocked_id = t.task_id AND l.blocker_id = known.task_id
"""

ANALYZE_PLAN: LiteralString = """
-- analyze_links: as for the staging
ANALYZE import_links
"""

UNKNOWN: LiteralString = """
-- unknown_refs: what the file says of tasks that are neither in it nor here
SELECT r.ref, field, other FROM (
    SELECT line, 'blocked_by' AS field, ref AS other FROM import_links WHERE unknown
    UNION ALL
    SELECT r.line, 'parent', r.parent FROM import_rows r
    JOIN import_refs named ON named.ref = r.parent WHERE NOT named.known
) AS unknown
JOIN import_rows r ON r.line = unknown.line
ORDER BY unknown.line, other
"""

WRITES: LiteralString = """
-- writes_links: whether a task will wait for another one, or become a part of it
SELECT EXISTS (SELECT FROM import_links l JOIN import_plan r ON r.line = l.line WHERE l.added)
    OR EXISTS (SELECT FROM import_plan
               WHERE parent IS NOT NULL AND (is_new OR 'parent' = ANY(changed)))
"""

NUMBER: LiteralString = """
-- number_refs: the tasks of the file that are new have their ids now
UPDATE import_refs named SET task_id = r.task_id
FROM import_plan r WHERE r.ref = named.ref AND named.task_id IS NULL
"""

UNLINK: LiteralString = """
-- unlink_tasks: what the file no longer says
DELETE FROM links x USING import_links l, import_plan r, import_refs blocker
WHERE l.removed AND r.line = l.line AND blocker.ref = l.ref
  AND x.blocked_id = r.task_id AND x.blocker_id = blocker.task_id
"""

LINK: LiteralString = """
-- link_tasks: what the file says
INSERT INTO links (blocked_id, blocker_id)
SELECT r.task_id, blocker.task_id
FROM import_links l
JOIN import_plan r ON r.line = l.line
JOIN import_refs blocker ON blocker.ref = l.ref
WHERE l.added
ORDER BY r.line, blocker.task_id
ON CONFLICT DO NOTHING
"""

LINKED: LiteralString = """
-- linked_tasks: which tasks now wait for more than before, or are part of another one
SELECT r.task_id FROM import_plan r
WHERE r.parent IS NOT NULL AND r.changed && '{created,parent}'
   OR r.line IN (SELECT line FROM import_links WHERE added)
"""

NAMES: LiteralString = """
-- name_tasks: what the file calls these tasks
SELECT task_id, coalesce(file_id::text, ref) FROM import_plan WHERE task_id = ANY(%(tasks)s)
"""


def plan(tx: Transaction, given: Mapping[str, Any]) -> tuple[Unlinked, ...]:
    """Find out which links to add and to remove, and return what cannot be linked.

    The rows of the file must be staged, and matched with their tasks.
    """
    tx.execute(NAME)
    tx.execute(SAY)
    tx.execute(ANALYZE_LISTS)
    tx.execute(REFER, given)
    tx.execute(ANALYZE_REFS)
    tx.execute(PLAN)
    tx.execute(ANALYZE_PLAN)
    return tx.rows(UNKNOWN, None, _unknown)


def enter(tx: Transaction) -> bool:
    """Pass the gate of the graph if a link or a parent will be written; return whether it will.

    Whoever passed it since this transaction's snapshot was taken makes it start again.
    """
    if not tx.scalar(WRITES):
        return False
    links.enter(tx)
    return True


def write(tx: Transaction) -> None:
    """Add and remove links. All tasks must be there."""
    tx.execute(UNLINK)
    tx.execute(LINK)


def refuse_circles(tx: Transaction) -> None:
    """Raise `Refused` if a task, with what was linked here, now waits for itself."""
    try:
        links.refuse_circles(tx, tx.scalars(LINKED))
    except Refused as error:
        tasks: list[int] = error.details["tasks"]
        known = dict(tx.rows(NAMES, {"tasks": tasks}, _named))
        circle = [known.get(task, f"task {task}") for task in tasks]
        raise Refused(
            "with what was linked here, tasks of the file would wait for themselves: "
            f"{_arrows(circle)}",
            hint="Take one of the dependencies out of the file, or here: concord task unblock ID",
            refs=circle,
        ) from None


def _unknown(ref: str, field: Any, other: str) -> Unlinked:
    return Unlinked(ref, field, other, "neither in the file nor here")


def _named(task: int, ref: str) -> tuple[int, str]:
    return task, ref


def _arrows(circle: Sequence[str]) -> str:
    return " → ".join([*circle, circle[0]])
