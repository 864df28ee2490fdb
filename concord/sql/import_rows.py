"""The rows of a foreign file, sent to the server as they are read, and looked at there.

A file may be larger than memory: nothing of it stays here but the links between its tasks, for
the search of circles.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, LiteralString

from psycopg.types.json import Jsonb

from concord.errors import Refused
from concord.models import BadRow, Unlinked
from concord.order import arrange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from concord.database import Transaction
    from concord.models import ImportedComment, ImportedTask

# An import takes as long as its file is large; what waits for a lock still gives up in time.
UNHURRIED: LiteralString = """
-- lift_statement_timeout: for this transaction
SELECT set_config('statement_timeout', '0', true)
"""

# Thousands of rows are sorted faster in memory than in files. With much more of it, a statement
# that expects far too many rows takes its time to lay out tables for them.
ROOMY: LiteralString = """
-- raise_work_mem: for this transaction
SELECT set_config('work_mem', '16MB', true)
WHERE pg_size_bytes(current_setting('work_mem')) < 16 * 1024 * 1024
"""

STAGE: LiteralString = """
-- create_staging: private to this connection, gone with the transaction
CREATE TEMPORARY TABLE import_rows (
    line integer, ref text, title text, description text, status task_status,
    priority task_priority, due timestamptz, tags text[], assignees text[], owner text,
    created_at timestamptz, updated_at timestamptz, completed_at timestamptz,
    parent text, auto_close boolean, blocked_by text[],
    uid uuid, file_id bigint, project text, external_ref text, version integer,
    deleted_at timestamptz, started_at timestamptz, canceled_at timestamptz,
    recurrence text, recurrence_zone text, previous text, partial text[],
    extra jsonb, comments jsonb
) ON COMMIT DROP
"""

LOAD: LiteralString = """
-- load_staging: all rows in one stream
COPY import_rows FROM STDIN
"""

ANALYZE: LiteralString = """
-- analyze_staging: the planner cannot guess how many rows came; long texts do not matter to it
ANALYZE import_rows (line, ref, uid, file_id, project, external_ref, parent, previous)
"""

# A task is known by its ref. In Concord's own format its id as well is for one task only, because
# others are named by it, and it has one that follows it.
REPEATED: LiteralString = """
-- repeated_rows: those that are about a task of an earlier line
SELECT DISTINCT ON (line) line, name, earlier
FROM (
    SELECT line, CASE WHEN uid IS NULL THEN ref ELSE 'uid ' || ref END AS name,
           min(line) OVER (PARTITION BY CASE WHEN uid IS NULL THEN project END, ref) AS earlier
    FROM import_rows
    UNION ALL
    SELECT line, 'id ' || file_id, min(line) OVER (PARTITION BY file_id)
    FROM import_rows WHERE file_id IS NOT NULL
    UNION ALL
    SELECT line, 'previous ' || previous, min(line) OVER (PARTITION BY previous)
    FROM import_rows WHERE previous IS NOT NULL
) AS named
WHERE earlier < line ORDER BY line, earlier
"""

LEAVE_OUT: LiteralString = """
-- leave_rows_out: as if the file did not have them
DELETE FROM import_rows WHERE line = ANY(%(lines)s)
"""

MISSING: LiteralString = """
-- missing_tasks: whom Concord's own format names by ids that are not in the file
SELECT coalesce(r.file_id::text, r.ref), field, other
FROM (
    SELECT line, 0 AS place, 'parent' AS field, parent AS other FROM import_rows
    WHERE parent IS NOT NULL
    UNION ALL
    SELECT line, place, 'blocked_by', other
    FROM import_rows, unnest(blocked_by) WITH ORDINALITY AS blocker(other, place)
) AS said
JOIN import_rows r ON r.line = said.line
WHERE NOT EXISTS (SELECT FROM import_rows o WHERE o.file_id::text = said.other)
ORDER BY said.line, field, place
"""

REFER: LiteralString = """
-- refer_by_uid: ids of the file become the refs of its tasks
WITH named AS MATERIALIZED (
    SELECT file_id::text AS id, ref FROM import_rows WHERE file_id IS NOT NULL
), blocking AS MATERIALIZED (
    SELECT r.line, bool_or(named.ref IS NULL) AS cut,
           coalesce(array_agg(named.ref ORDER BY place) FILTER (WHERE named.ref IS NOT NULL), '{}')
               AS refs
    FROM import_rows r
    CROSS JOIN unnest(r.blocked_by) WITH ORDINALITY AS blocker(id, place)
    LEFT JOIN named ON named.id = blocker.id
    GROUP BY r.line
)
UPDATE import_rows r SET
    parent = parent.ref, previous = previous.ref, blocked_by = coalesce(blocking.refs, '{}'),
    partial = r.partial
        || CASE WHEN r.parent IS NOT NULL AND parent.ref IS NULL THEN '{parent}' END::text[]
        || CASE WHEN blocking.cut THEN '{blocked_by}' END::text[]
FROM import_rows said
LEFT JOIN named parent ON parent.id = said.parent
LEFT JOIN named previous ON previous.id = said.previous
LEFT JOIN blocking ON blocking.line = said.line
WHERE said.line = r.line
  AND (said.parent IS NOT NULL OR said.previous IS NOT NULL OR said.blocked_by <> '{}')
"""

LINKED: LiteralString = """
-- linked_rows: what the file says of two tasks
SELECT ref, coalesce(file_id::text, ref), parent, blocked_by FROM import_rows
WHERE parent IS NOT NULL OR blocked_by <> '{}' ORDER BY line
"""

CUT: LiteralString = """
-- cut_circles: what cannot hold together with the rest of the file
UPDATE import_rows r SET
    parent = CASE WHEN cut.parent THEN NULL ELSE r.parent END,
    blocked_by = ARRAY(SELECT ref FROM unnest(r.blocked_by) WITH ORDINALITY AS blocker(ref, place)
                       WHERE ref <> ALL(cut.blockers) ORDER BY place)
FROM (
    SELECT name, bool_or(field = 'parent') AS parent,
           coalesce(array_agg(other) FILTER (WHERE field = 'blocked_by'), '{}') AS blockers
    FROM jsonb_to_recordset(%(left_out)s) AS each_one(name text, field text, other text)
    GROUP BY name
) AS cut
WHERE r.ref = cut.name
"""


def stage(tx: Transaction, rows: Iterable[ImportedTask], project: str | None) -> None:
    """Send the rows to the server as they come."""
    tx.execute(UNHURRIED)
    tx.execute(ROOMY)
    tx.execute(STAGE)
    tx.copy(LOAD, (_staged(row, project) for row in rows))
    tx.execute(ANALYZE)


def repeated(tx: Transaction) -> tuple[BadRow, ...]:
    """Return the rows that are about a task of an earlier one, by their lines."""
    return tx.rows(REPEATED, None, _repeated)


def leave_out(tx: Transaction, rows: Sequence[BadRow]) -> None:
    """Go on without these rows."""
    if rows:
        tx.execute(LEAVE_OUT, {"lines": [row.line for row in rows]})


def refer_by_uid(tx: Transaction) -> tuple[Unlinked, ...]:
    """Let the tasks of Concord's own format, which names others by ids, name them by uids.

    Returns what it says of tasks that are not in the file.
    """
    missing = tx.rows(MISSING, None, _missing)
    tx.execute(REFER)
    return missing


def refuse_circles(tx: Transaction) -> None:
    """Raise `Refused` if the file says that a task waits for itself, over however many others."""
    names, broken = _circles(tx)
    if broken:
        circle = [names[ref] for ref in broken[0].circle]
        raise Refused(
            f"in the file, these wait for one another: {' → '.join([*circle, circle[0]])}",
            hint="Take one of the dependencies out of the file.",
            refs=circle,
        )


def cut_circles(tx: Transaction) -> tuple[Unlinked, ...]:
    """Leave out what makes tasks wait for themselves, and return it."""
    _, broken = _circles(tx)
    if broken:
        told = [{"name": each.name, "field": each.field, "other": each.other} for each in broken]
        tx.execute(CUT, {"left_out": Jsonb(told)})
    return tuple(
        Unlinked(
            each.name,
            each.field,
            each.other,
            f"would close a circle: {' → '.join([*each.circle, each.circle[0]])}",
        )
        for each in broken
    )


def _circles(tx: Transaction) -> tuple[dict[str, str], Sequence[Any]]:
    """Return how to call the tasks with links, and what closes circles among them."""
    linked = tx.rows(LINKED, None, lambda *columns: columns)
    parents = {ref: parent for ref, _, parent, _ in linked if parent is not None}
    blockers = {ref: blocked_by for ref, _, _, blocked_by in linked if blocked_by}
    names = {ref: name for ref, name, _, _ in linked}
    return names, arrange(list(names), parents, blockers).left_out if linked else ()


def _repeated(line: int, name: str, earlier: int) -> BadRow:
    return BadRow(line, f"{name} was already on line {earlier}")


def _missing(ref: str, field: Any, other: str) -> Unlinked:
    return Unlinked(ref, field, other, "not in the file")


def _staged(row: ImportedTask, project: str | None) -> Sequence[Any]:
    return (
        row.line,
        row.ref,
        row.title,
        row.description,
        row.status,
        row.priority,
        row.due,
        _array(row.tags),
        _array(row.assignees),
        row.owner,
        row.created_at,
        row.updated_at,
        row.completed_at,
        row.parent,
        row.auto_close,
        _array(row.blocked_by),
        row.uid,
        row.id,
        row.project or project,
        row.external_ref if row.uid else row.ref,
        row.version,
        row.deleted_at,
        row.started_at,
        row.canceled_at,
        row.recurrence,
        row.recurrence_zone,
        row.previous,
        _array(row.partial),
        json.dumps(row.extra) if row.extra else "{}",
        json.dumps(list(map(_comment, row.comments))) if row.comments else None,
    )


def _array(texts: Sequence[str]) -> str:
    # For the driver to adapt a list would cost more than all else of a row.
    if not texts:
        return "{}"
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + '","'.join(quoted) + '"}'


def _comment(comment: ImportedComment) -> dict[str, str | None]:
    at = comment.created_at
    return {
        "ref": comment.ref,
        "author": comment.author,
        "body": comment.body,
        "created_at": None if at is None else at.isoformat(),
    }
