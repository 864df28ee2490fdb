"""What a task has several of: tags, people, blockers.

Of a list a transaction wrote only what it put on or took off; the rest of it is others'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.sql import tags
from concord.sql.undo import things

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concord.database import Transaction
    from concord.sql.undo.past import Effect

DETACH: dict[str, LiteralString] = {
    "tags": """
-- take_tags_off: pair by pair
DELETE FROM task_tags x USING unnest(%(tasks)s::bigint[], %(others)s::bigint[]) AS pair (task, tag)
WHERE x.task_id = pair.task AND x.tag_id = pair.tag
""",
    "assignees": """
-- take_people_off: pair by pair
DELETE FROM assignments x
USING unnest(%(tasks)s::bigint[], %(others)s::bigint[]) AS pair (task, person)
WHERE x.task_id = pair.task AND x.user_id = pair.person
""",
    "blocked_by": """
-- take_blockers_off: pair by pair
DELETE FROM links x
USING unnest(%(tasks)s::bigint[], %(others)s::bigint[]) AS pair (task, blocker)
WHERE x.blocked_id = pair.task AND x.blocker_id = pair.blocker
""",
}

ATTACH: dict[str, LiteralString] = {
    "assignees": """
-- put_people_back: pair by pair
INSERT INTO assignments (task_id, user_id, assigned_by)
SELECT task, person, %(actor_id)s
FROM unnest(%(tasks)s::bigint[], %(others)s::bigint[]) AS pair (task, person)
ON CONFLICT DO NOTHING
""",
    "blocked_by": """
-- put_blockers_back: pair by pair
INSERT INTO links (blocked_id, blocker_id)
SELECT task, blocker
FROM unnest(%(tasks)s::bigint[], %(others)s::bigint[]) AS pair (task, blocker)
ON CONFLICT DO NOTHING
""",
}

LISTS = tuple(DETACH)
"""The fields of a task that are lists."""

NAMES = {"tags": "tag", "assignees": "user"}
"""Lists of names → whose."""


def put_back(tx: Transaction, effects: Sequence[Effect]) -> None:
    """Take off tasks, which are locked, what was put on them, and put back what was taken off.

    Raises `Conflict` for a person who is gone, `NotFound` for a blocker.
    """
    for name in LISTS:
        off = [(one.id, other) for one in effects for other in one.put_on(name)]
        back = [(one.id, other) for one in effects for other in one.taken_off(name)]
        if name == "tags":
            # One that nobody used any more may be gone: it appears again, as in tagging.
            tags.put(tx, back)
            back = []
        if name in NAMES:
            ids = things.require(tx, NAMES[name], [other for _, other in off + back])
            off, back = ([(task, ids[other]) for task, other in pairs] for pairs in (off, back))
        if off:
            tx.execute(DETACH[name], _columns(off))
        if back:
            tx.execute(ATTACH[name], _columns(back) | {"actor_id": tx.actor_id})


def _columns(pairs: Sequence[tuple[int, int]]) -> dict[str, list[int]]:
    return {"tasks": [task for task, _ in pairs], "others": [other for _, other in pairs]}
