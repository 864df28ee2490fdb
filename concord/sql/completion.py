"""Values that a shell offers for completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from concord.connections import Connection

# Only what was touched lately: no index knows the beginnings of numbers.
TASKS: LiteralString = """
-- complete_tasks: the ones that were touched last
SELECT id::text, title FROM (
    SELECT id, title, updated_at FROM tasks
    WHERE deleted_at IS NULL ORDER BY updated_at DESC, id DESC LIMIT 1000
) AS lately
WHERE id::text LIKE %(prefix)s
ORDER BY updated_at DESC, id DESC LIMIT 50
"""

PROJECTS: LiteralString = """
-- complete_projects: open ones by key
SELECT key, name FROM projects
WHERE archived_at IS NULL AND key ILIKE %(prefix)s ORDER BY key LIMIT 50
"""

USERS: LiteralString = """
-- complete_users: by name
SELECT username, coalesce(email, '') FROM users
WHERE username ILIKE %(prefix)s ORDER BY lower(username) LIMIT 50
"""

TAGS: LiteralString = """
-- complete_tags: by name
SELECT name, '' FROM tags WHERE name ILIKE %(prefix)s ORDER BY lower(name) LIMIT 50
"""

VIEWS: LiteralString = """
-- complete_views: somebody's own, by name
SELECT v.name, array_to_string(v.options, ' ')
FROM views v
WHERE v.owner_id = (SELECT current_actor_id()) AND v.name ILIKE %(prefix)s
ORDER BY lower(v.name) LIMIT 50
"""

SETTLE: LiteralString = """
-- settle_completion: who asks; later than in a second, an answer would only be in the way of typing
SELECT set_config('statement_timeout', '1000', true),
       set_config('concord.actor', %(actor)s, true),
       set_config('role', CASE
           WHEN pg_has_role(to_regrole('concord_service'), 'MEMBER')
           THEN 'concord_service' ELSE current_setting('role') END, true)
"""


def offers(
    connection: Connection, query: LiteralString, prefix: str, actor: str
) -> list[tuple[str, str]]:
    """Return (value, what it is) for a prefix and who types it. Raises `psycopg.Error`."""
    literally = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with connection.transaction():
        connection.execute(SETTLE, {"actor": actor})
        rows = connection.execute(query, {"prefix": literally + "%"}).fetchall()
    return [(value, about) for value, about in rows]
