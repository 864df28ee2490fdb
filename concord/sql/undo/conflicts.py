"""What stands against an undo: others, or oneself, have changed the same things since."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, cast

from concord.errors import Conflict
from concord.models import Change
from concord.sql.undo import lists, things

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from concord.database import Transaction
    from concord.sql.undo.past import Effect, Past
    from concord.sql.undo.tasks import Current
    from concord.sql.undo.things import State

SHOWN = 3
"""How many conflicts a message tells of; the details have them all."""

USE = ("use",)
"""In which fields a thing differs to which others refer by now."""

CLAIMED = {"status", "deleted_at"}
"""Fields that end a claim when they are written back."""

# Their locks hold off whoever would refer to them, so that nothing is added after this look.
ATTACHED: LiteralString = """
-- attached_since: what refers to tasks that a transaction made, and was not made with them
SELECT c.task_id, 'comments', c.id FROM comments c
WHERE c.task_id = ANY(%(tasks)s) AND c.id <> ALL(%(comments)s::bigint[])
UNION ALL
SELECT t.parent_id, 'children', t.id FROM tasks t
WHERE t.parent_id = ANY(%(tasks)s) AND t.id <> ALL(%(tasks)s) AND t.deleted_at IS NULL
UNION ALL
SELECT l.blocker_id, 'blocks', t.id FROM links l JOIN tasks t ON t.id = l.blocked_id
WHERE l.blocker_id = ANY(%(tasks)s) AND t.id <> ALL(%(tasks)s) AND t.deleted_at IS NULL
"""

SINCE: LiteralString = """
-- changes_since_undone: of things and, for tasks, of what is said about them
SELECT id, at, actor, operation, entity, entity_id, task_id, version, old, new, xid::text
FROM history
WHERE id > %(since)s AND xid <> pg_current_xact_id() AND id <> ALL(%(undone)s::bigint[])
  AND (entity = %(entity)s AND entity_id = ANY(%(ids)s) OR task_id = ANY(%(tasks)s))
ORDER BY id
"""


MENTIONS: LiteralString = """
-- mentions_since: who first made use of a user, a project or a tag, by its name
SELECT id, at, actor, operation, entity, entity_id, task_id, version, old, new, xid::text
FROM history
WHERE id > %(since)s AND xid <> pg_current_xact_id() AND id <> ALL(%(undone)s::bigint[])
  AND CASE %(entity)s
      WHEN 'tag' THEN new -> 'tags' ? %(name)s
      WHEN 'project' THEN new ->> 'project' = %(name)s
      ELSE new -> 'assignees' ? %(name)s OR new -> 'claim' ->> 'by' = %(name)s
           OR %(name)s IN (new ->> 'owner', new ->> 'author') END
ORDER BY id LIMIT 3
"""


@dataclass(frozen=True, slots=True)
class Clash:
    """A thing that is not as a transaction left it, and the fields in which it differs.

    Without `fields` it is gone. `version` is its own by now. `others` are tasks that have come to
    refer to it.
    """

    entity: str
    id: int
    name: str
    fields: tuple[str, ...]
    version: int | None = None
    others: tuple[int, ...] = ()


def of_tasks(tx: Transaction, past: Past, now: Mapping[int, Current]) -> Iterator[Clash]:
    """Yield the tasks, which are locked, that are not as a transaction left them."""
    effects = past.of("task")
    made = [one.id for one in effects.values() if one.created]
    attached: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    if made:
        given = {"tasks": made, "comments": list(past.of("comment"))}
        for task, field, other in tx.rows(ATTACHED, given, lambda *columns: columns):
            attached[task].append((field, other))
    for one in effects.values():
        current = now.get(one.id)
        if current is None:
            yield Clash("task", one.id, str(one.id), ())
            continue
        fields = differing(one, current.fields)
        if current.holder is not None and (one.created or CLAIMED & one.fields.keys()):
            fields.append("claim")
        fields += sorted({field for field, _ in attached[one.id]})
        if fields:
            others = tuple(other for field, other in attached[one.id] if field != "comments")
            yield Clash("task", one.id, str(one.id), tuple(fields), current.version, others)


def of_things(past: Past, entity: str, now: Mapping[int, State]) -> Iterator[Clash]:
    """Yield the things of another kind, all locked, that are not as a transaction left them.

    Whether one that it removed is there again shows when it is made anew. One that came along with
    a task may have become what others like.
    """
    along = bool(past.of("task"))
    for one in past.of(entity).values():
        if not one.removed and not (one.created and along):
            current = now.get(one.id)
            fields = [] if current is None else differing(one, current)
            if current is None or fields:
                yield Clash(entity, one.id, things.name_of(one, current), tuple(fields))


def of_use(past: Past, entity: str, in_use: Collection[int]) -> list[Clash]:
    """Return the things that a transaction made and that others use by now."""
    effects = past.of(entity)
    return [Clash(entity, number, things.name_of(effects[number], None), USE) for number in in_use]


def conflict(
    tx: Transaction, past: Past, clashes: Sequence[Clash], undone: Sequence[int]
) -> Conflict:
    """Return the error that says what was changed, by whom and when.

    `undone` are the changes that are being undone, which stand against nothing.
    """
    since = _since(tx, past, clashes, undone)
    told = [(clash, list(_concerning(clash, since))) for clash in clashes]
    texts = [_text(clash, rows) for clash, rows in told[:SHOWN]]
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    first = clashes[0]
    return Conflict(
        f"{past.last.operation} of {past.last.at:%Y-%m-%d %H:%M:%S} UTC cannot be undone: "
        + "; ".join(texts)
        + more,
        hint=f"Look at it and decide again: concord task show {first.id}"
        if first.entity == "task" and first.fields
        else "See what became of it: concord history",
        operation=past.last.operation,
        xid=past.last.xid,
        conflicts=[
            {
                "entity": clash.entity,
                "id": clash.id,
                "version": clash.version,
                "fields": clash.fields,
                "changes": rows,
            }
            for clash, rows in told
        ],
    )


def differing(effect: Effect, now: State) -> list[str]:
    """Return the fields that are not as they were left.

    Of something new, that is all its fields. Of a list, it is what was put on or taken off.
    """
    if effect.created:
        return [name for name, value in now.items() if not _same(value, effect.after(name))]
    return [
        name for name in effect.fields if name != "claim" and not _left(effect, name, now[name])
    ]


def _left(effect: Effect, name: str, value: Any) -> bool:
    if effect.entity == "task" and name in lists.LISTS:
        return {*effect.put_on(name)} <= {*value} and not {*effect.taken_off(name)} & {*value}
    return value == effect.after(name)


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a new thing are the same; its history does not mention empty ones."""
    if isinstance(one, list) and isinstance(other, list):
        return sorted(cast("list[Any]", one)) == sorted(cast("list[Any]", other))
    return (one or None) == (other or None)


def _since(
    tx: Transaction, past: Past, clashes: Sequence[Clash], undone: Sequence[int]
) -> dict[tuple[str, int], list[Change]]:
    """Return what happened since to the things and to what refers to them, in its order."""
    found: defaultdict[tuple[str, int], list[Change]] = defaultdict(list)
    whence = {"since": past.changes[-1], "undone": list(undone)}
    for clash in clashes:
        if clash.fields == USE:
            given = whence | {"entity": clash.entity, "name": clash.name}
            found[clash.entity, clash.id] += tx.rows(MENTIONS, given, Change)
    for entity in dict.fromkeys(clash.entity for clash in clashes if clash.fields != USE):
        ids = [i for clash in clashes if clash.entity == entity for i in (clash.id, *clash.others)]
        given = whence | {"entity": entity, "ids": ids, "tasks": ids if entity == "task" else []}
        for row in tx.rows(SINCE, given, Change):
            whose = row.task if entity == "task" and row.task is not None else row.entity_id
            found[entity, whose].append(row)
    return found


def _concerning(clash: Clash, since: Mapping[tuple[str, int], list[Change]]) -> Iterator[Change]:
    """Yield what is to be told of a thing."""
    for row in since.get((clash.entity, clash.id), ()):
        about = row.old.keys() | row.new.keys() if row.entity == clash.entity else {"comments"}
        if clash.fields == USE or (about & {*clash.fields} if clash.fields else not row.new):
            yield row
    for other in clash.others:
        for row in since.get(("task", other), ()):
            if row.new.get("parent") == clash.id or clash.id in row.new.get("blocked_by", ()):
                yield row


def _text(clash: Clash, rows: Sequence[Change]) -> str:
    """Return what a message says about a thing."""
    if not clash.fields:
        state = "is gone"
    elif clash.fields == USE:
        state = "is in use by now"
    else:
        state = "was changed" if clash.version is None else f"is at version {clash.version}"
    # Nobody is to be named if a namesake has taken the place of what was there.
    acts = "; ".join(_act(clash, row) for row in rows) or ", ".join(clash.fields)
    return f"{clash.entity} {clash.name} {state}: {acts}"


def _act(clash: Clash, row: Change) -> str:
    """Return what somebody did, in words."""
    if (row.entity, row.entity_id) == (clash.entity, clash.id):
        names = row.old.keys() | row.new.keys()
        what = f"changed {', '.join(sorted(names))}" if row.new else "removed it"
    elif clash.fields == USE:
        what = f"used it in {row.entity} {row.entity_id}"
    elif row.entity == "comment":
        what = "changed a comment" if row.old else "commented"
    elif "parent" in row.new:
        what = f"made {row.entity_id} a part of it"
    else:
        what = f"made {row.entity_id} wait for it"
    version = "" if row.version is None else f" (version {row.version})"
    return f"{row.actor} {what} at {row.at:%Y-%m-%d %H:%M:%S} UTC{version}"
