"""A database of 100,000 tasks, made without a trigger's help, for whoever asks what is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import LiteralString

COUNT = 100_000

# Most tasks are done long since, as in any tracker that has been used for years: what is still to
# do are the newest. A task in two hundred is odd in some way. As triggers would take a minute, what
# they make is written here, in the same numbers.
POPULATION: LiteralString = """
SET session_replication_role = replica;
INSERT INTO users (username) SELECT 'user' || n FROM generate_series(1, 2000) AS n;
INSERT INTO projects (key, name, owner_id)
SELECT 'P' || n, 'A project', n FROM generate_series(1, 500) AS n;
INSERT INTO tags (name) SELECT 'tag' || n FROM generate_series(1, 1000) AS n;
INSERT INTO tasks (title, project_id, owner_id, status, priority, due, parent_id, external_ref,
                   created_at, updated_at, deleted_at, started_at, completed_at, canceled_at)
SELECT 'Task ' || md5(n::text), CASE WHEN n % 200 > 0 THEN n % 500 + 1 END, n % 2000 + 1,
       status,
       CASE n % 400 WHEN 5 THEN 'urgent' WHEN 6 THEN 'low' ELSE 'none' END::task_priority,
       CASE WHEN n % 2 = 0 THEN timestamptz '2026-01-01' + n * interval '1 hour' END,
       CASE WHEN n % 50 = 0 THEN n / 50 END, 'T' || n,
       timestamptz '2025-01-01' + n % 777 * interval '1 hour', updated,
       CASE WHEN n % 200 = 7 THEN now() END,
       CASE WHEN status IN ('in_progress', 'completed') THEN updated END,
       CASE WHEN status = 'completed' THEN updated END,
       CASE WHEN status = 'canceled' THEN updated END
FROM generate_series(1, 100000) AS n,
LATERAL (
    SELECT CASE WHEN n % 400 = 9 THEN 'in_progress' WHEN n % 400 = 10 THEN 'canceled'
                WHEN n > 95000 THEN 'todo' ELSE 'completed' END::task_status AS status,
           timestamptz '2025-06-01' + n % 555 * interval '1 hour' AS updated
) AS facts;
INSERT INTO task_tags SELECT n, n % 1000 + 1 FROM generate_series(1, 100000) AS n;
INSERT INTO assignments (task_id, user_id, assigned_by)
SELECT n, n % 2000 + 1, 1 FROM generate_series(1, 100000) AS n WHERE n % 2 = 0;
INSERT INTO import_bases (task_id, format, project_id, ref, fields)
SELECT n, 'csv', n % 500 + 1, n, '{}' FROM generate_series(1, 100000, 4) AS n;
INSERT INTO links (blocked_id, blocker_id)
SELECT n, n - distance
FROM generate_series(103, 100000, 5) AS n, unnest('{4,7,91}'::int[]) AS distance;
INSERT INTO claims (task_id, user_id, claimed_at, expires_at)
SELECT id, owner_id, now(), now() + interval '1 hour' FROM tasks WHERE status = 'in_progress';
INSERT INTO claims (task_id) SELECT id FROM tasks WHERE status = 'completed';
INSERT INTO comments (task_id, author_id, body)
SELECT n, n % 2000 + 1, 'Yes.' FROM generate_series(1, 100000) AS n;
INSERT INTO task_texts (task_id, document)
SELECT id, text_document(title, description, 'Yes.') FROM tasks ORDER BY id;
INSERT INTO history (entity, entity_id, task_id, version, old, new)
SELECT 'task', id, id, 1, '{}', jsonb_build_object('title', title) FROM tasks ORDER BY id;
INSERT INTO history (entity, entity_id, task_id, old, new)
SELECT 'comment', id, task_id, '{}', '{"body":"Yes."}' FROM comments ORDER BY id;
"""

LARGE = frozenset(
    {"tasks", "history", "task_texts", "task_tags", "assignments", "import_bases"}
    | {"links", "claims", "comments"}
)
"""Tables that grow with use."""

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=COUNT)
"""When the first task is due, and the last."""
