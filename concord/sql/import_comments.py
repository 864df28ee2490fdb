"""What an import does to comments: each is known by its ref, or else by its time and text."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from concord.database import Transaction

STAGE: LiteralString = """
-- stage_comments: what the rows say, a row each
CREATE TEMPORARY TABLE import_comments ON COMMIT DROP AS
SELECT line, place, said.ref, author, body, said.created_at
FROM import_rows CROSS JOIN LATERAL ROWS FROM (
    jsonb_to_recordset(comments)
        AS (ref text, author text, body text, created_at timestamptz)
) WITH ORDINALITY AS said(ref, author, body, created_at, place)
WHERE comments IS NOT NULL
"""

# What was taken away, or changed, here since is left so.
PLAN: LiteralString = """
-- plan_comments: what the file says and said of each comment, and what follows for it
CREATE TEMPORARY TABLE import_said ON COMMIT DROP AS
WITH told AS MATERIALIZED (
    SELECT DISTINCT ON (line, key)
           line, coalesce(ref, md5(coalesce(utc_text(created_at), '') || E'\\n' || body)) AS key,
           md5(body) AS hash, place, ref, author, body, created_at
    FROM import_comments ORDER BY line, key, place
), before AS MATERIALIZED (
    SELECT line, key, value AS hash FROM import_tasks, jsonb_each_text(base -> 'comments')
), here AS MATERIALIZED (
    SELECT t.line, md5(c.body) AS hash, c.id,
           coalesce(c.external_ref, md5(utc_text(c.created_at) || E'\\n' || c.body)) AS key
    FROM import_tasks t JOIN comments c ON c.task_id = t.task_id
)
SELECT line, key, told.place, told.ref, told.author, told.body, told.created_at, here.id,
       coalesce(told.hash, before.hash) AS hash,
       told.line IS NOT NULL AND before.line IS NULL AND here.line IS NULL AS added,
       coalesce(told.hash <> here.hash AND before.hash = here.hash, false) AS changed,
       told.line IS NULL AND coalesce(before.hash = here.hash, false)
           AND NOT 'comments' = ANY(r.partial) AS removed,
       told.line IS NOT NULL OR 'comments' = ANY(r.partial) AS remembered
FROM told FULL JOIN before USING (line, key) LEFT JOIN here USING (line, key)
JOIN import_rows r USING (line)
"""

ANALYZE: LiteralString = """
-- analyze_comments: as for the staging
ANALYZE import_said
"""

REMOVE: LiteralString = """
-- remove_comments: what the file no longer says
DELETE FROM comments c USING import_said s, import_plan r
WHERE s.removed AND r.line = s.line AND c.id = s.id
"""

CHANGE: LiteralString = """
-- change_comments: what the file says otherwise than last time
UPDATE comments c SET body = s.body FROM import_said s, import_plan r
WHERE s.changed AND r.line = s.line AND c.id = s.id
"""

ADD: LiteralString = """
-- add_comments: with the authors and times of the file
INSERT INTO comments (task_id, author_id, body, external_ref, created_at)
SELECT r.task_id, coalesce(a.id, %(actor_id)s), s.body, s.ref, coalesce(s.created_at, now())
FROM import_said s
JOIN import_plan r ON r.line = s.line
LEFT JOIN users a ON lower(a.username) = lower(s.author)
WHERE s.added
ORDER BY s.line, s.place
ON CONFLICT (task_id, external_ref) DO NOTHING
"""


def stage(tx: Transaction) -> None:
    """Take the comments out of the rows that were staged."""
    tx.execute(STAGE)


def plan(tx: Transaction) -> None:
    """Find out which comments to add, change and remove. The rows must be matched."""
    tx.execute(PLAN)
    tx.execute(ANALYZE)


def write(tx: Transaction, given: Mapping[str, Any]) -> None:
    """Add, change and remove comments. Tasks and authors must be there."""
    tx.execute(REMOVE)
    tx.execute(CHANGE)
    tx.execute(ADD, given)
