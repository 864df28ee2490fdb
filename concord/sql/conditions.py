"""What tasks are asked for by, one condition each: for the options of a list, and for queries.

Each is about a task `t` and takes one value, for which it has a place. Indexes lead to what they
say, where there is one: a subquery is an `IN` at the top.

Where a condition speaks of names, its value is the name of a setting that holds their ids: see
`lookups`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Iterable

NONE = "none"
"""As a project: the inbox. As an assignee: nobody."""

# Most tasks have neither a blocker nor a parent nor parts, which is seen without a call of a
# function. OFFSET keeps the planner from joining whole tables to find the few there are.
BLOCKED: LiteralString = """CASE WHEN EXISTS (
            SELECT FROM open_links l WHERE l.blocked_id = t.id OFFSET 0
        ) THEN true WHEN t.parent_id IS NULL THEN false ELSE is_blocked(t.parent_id) END"""
"""Of an open task `t`: it waits for another one, or is part of one that does."""

OPEN_PARTS: LiteralString = """EXISTS (
            SELECT FROM tasks part WHERE part.parent_id = t.id
              AND part.status IN ('todo', 'in_progress') AND part.deleted_at IS NULL OFFSET 0
        )"""
"""Of a task `t`: something that it consists of is not done."""

LAPSED: LiteralString = """t.id IN (
            SELECT task_id FROM claims WHERE expires_at <= statement_timestamp())"""
"""Of a task `t`: the lease of whoever claimed it has run out."""

# Of a condition that it knows nothing of, the planner takes every second task to fulfil it. Of a
# number, it takes few to be equal to another one: few are hindered, most are not.
WAITING: LiteralString = f"CASE WHEN {BLOCKED} THEN 1 ELSE 0 END = 1"
"""Of a task `t`: it is blocked."""

UNHINDERED: LiteralString = f"CASE WHEN {BLOCKED} THEN 1 WHEN {OPEN_PARTS} THEN 1 ELSE 0 END <> 1"
"""Of a task `t`: nothing that it waits for is open."""

# A single value is compared with `=`, because an index on (status, id) then yields its rows in id
# order. Names are folded by the database alone: Python's lower case differs in some scripts.
CONDITIONS: dict[str, LiteralString] = {
    "project": "t.project_id = (current_setting({})::bigint[])[1]",
    "projects": "t.project_id = ANY(current_setting({})::bigint[])",
    "inbox": "t.project_id IS NULL",
    "status": "t.status = {}::task_status",
    "statuses": "t.status = ANY({}::task_status[])",
    "tags": """EXISTS (SELECT FROM task_tags x
        WHERE x.task_id = t.id AND x.tag_id = ANY(current_setting({})::bigint[]))""",
    "untagged": "NOT EXISTS (SELECT 1 FROM task_tags x WHERE x.task_id = t.id)",
    "assignees": """EXISTS (SELECT FROM assignments x
        WHERE x.task_id = t.id AND x.user_id = ANY(current_setting({})::bigint[]))""",
    "nobody": "NOT EXISTS (SELECT 1 FROM assignments x WHERE x.task_id = t.id)",
    "unassigned": "NOT EXISTS (SELECT 1 FROM assignments x WHERE x.task_id = t.id)",
    "assigned": "EXISTS (SELECT 1 FROM assignments x WHERE x.task_id = t.id)",
    "owners": "t.owner_id = ANY(current_setting({})::bigint[])",
    "priority": "t.priority = {}::task_priority",
    "priorities": "t.priority = ANY({}::task_priority[])",
    "due_before": "t.due < {}",
    "due_after": "t.due > {}",
    "title": "t.title ILIKE {}",
    "titles": "t.title ILIKE ANY({})",
    "parents": "t.parent_id = ANY({})",
    "orphans": "t.parent_id IS NULL",
    "ids": "t.id = ANY({})",
    "excluded": "t.id <> ALL({})",
    "references": "t.external_ref = ANY({})",
    "unreferenced": "t.external_ref IS NULL",
    "recurring": "t.recurrence IS NOT NULL",
    # The first condition says nothing new, but leads to the index of what is open.
    "ready": f"""t.status IN ('todo', 'in_progress')
        AND (t.status = 'todo' OR {LAPSED}) AND {UNHINDERED}""",
    "blocked": f"t.status IN ('todo', 'in_progress') AND {WAITING}",
    "claimed": """t.id IN (SELECT task_id FROM claims
        WHERE user_id IS NOT NULL AND expires_at > statement_timestamp())""",
    "claimed_by": """t.id IN (SELECT c.task_id FROM claims c
        WHERE c.expires_at > statement_timestamp()
          AND c.user_id = ANY(current_setting({})::bigint[]))""",
}
"""Name → the condition it stands for."""


def pattern(text: str) -> str:
    """Return the pattern of LIKE for texts that hold `text` as it is."""
    literally = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literally}%"


def people(actor: str, names: Iterable[str]) -> list[str]:
    """Return the names of users, `me` being the actor and `none` nobody."""
    return [actor if name == "me" else name for name in names if name != NONE]
