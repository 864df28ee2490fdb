"""What a transaction did, as its rows of history tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

from concord.errors import Empty, Forbidden, NotFound, Refused
from concord.models import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from concord.database import Transaction

GAP = timedelta(minutes=5)
"""Rows of one transaction that follow each other are nearer than this: time-outs end what idles.

Its id alone does not tell a transaction apart for ever: a history that was restored on another
server meets the ids that this one gives out.
"""

# That somebody came to be a user with their first command is no operation of theirs.
NEWEST: LiteralString = """
-- newest_change: of an actor, beyond the transactions that were found already
SELECT id, xid::text, actor, operation FROM history
WHERE lower(actor) = lower(%(actor)s) AND id <> ALL(%(found)s::bigint[])
  AND NOT (entity = 'user' AND old = '{}' AND lower(new ->> 'username') = lower(actor))
ORDER BY id DESC LIMIT 1
"""

CHANGE: LiteralString = """
-- show_change: who made it, in which transaction
SELECT id, xid::text, actor, operation FROM history WHERE id = %(change)s
"""

TRANSACTION: LiteralString = """
-- changes_of_transaction: with those of the same id, actor and command that are near in time
WITH same AS (
    SELECT id, at - lag(at) OVER (ORDER BY id) > %(gap)s AS apart FROM history
    WHERE xid = %(xid)s::xid8 AND actor = %(actor)s AND operation = %(operation)s
), parts AS (
    SELECT id, count(*) FILTER (WHERE apart) OVER (ORDER BY id) AS part FROM same
)
SELECT h.id, h.at, h.actor, h.operation, h.entity, h.entity_id, h.task_id, h.version, h.old, h.new,
       h.xid::text
FROM parts p JOIN history h ON h.id = p.id
WHERE p.part = (SELECT part FROM parts WHERE id = %(change)s)
ORDER BY h.id
"""


class _Place(NamedTuple):
    """Where a change is in history."""

    change: int
    xid: str
    actor: str
    operation: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a transaction, or a part of one, made of one thing.

    `fields` are those that differ afterwards, with the value before and after, in the words of
    history: names instead of ids. `task` is the task that the thing is or belongs to.
    """

    entity: str
    id: int
    task: int | None
    created: bool
    removed: bool
    fields: dict[str, tuple[Any, Any]]

    def before(self, name: str) -> Any:
        """Return the value that a field had before, `None` without one or if it is the same."""
        return self.fields.get(name, (None, None))[0]

    def after(self, name: str) -> Any:
        """Return the value that a field had afterwards, `None` without one or if it is the same."""
        return self.fields.get(name, (None, None))[1]

    def taken_off(self, name: str) -> list[Any]:
        """Return what a list had before and not afterwards."""
        return [one for one in self.before(name) or () if one not in (self.after(name) or ())]

    def put_on(self, name: str) -> list[Any]:
        """Return what a list had afterwards and not before."""
        return [one for one in self.after(name) or () if one not in (self.before(name) or ())]


@dataclass(frozen=True)
class Past:
    """A transaction that was committed, by its rows of history, in their order."""

    rows: tuple[Change, ...] = field(repr=False)

    @property
    def last(self) -> Change:
        """The row that was written last."""
        return self.rows[-1]

    @cached_property
    def changes(self) -> list[int]:
        """The ids of the rows."""
        return [row.id for row in self.rows]

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """The net effect on each thing."""
        return fold(self.rows)

    def of(self, entity: str) -> dict[int, Effect]:
        """Return the net effects on things of a kind, by their ids."""
        return {effect.id: effect for effect in self.effects if effect.entity == entity}

    def backwards(self) -> list[tuple[Effect, ...]]:
        """Return the rows, last first, those together that one statement may have written.

        Each group is about things of one kind, each once, all created, all removed or all changed.
        """
        found: list[tuple[tuple[str, bool, bool], dict[int, Change]]] = []
        for row in self.rows:
            kind = row.entity, not row.old, not row.new
            if not found or found[-1][0] != kind or row.entity_id in found[-1][1]:
                found.append((kind, {}))
            found[-1][1][row.entity_id] = row
        # Views are removed with their owner, and are told of after them.
        found.sort(key=lambda group: group[0] != ("view", False, True))
        return [fold(rows.values()) for _, rows in reversed(found)]


def newest(tx: Transaction, count: int) -> tuple[Past, ...]:
    """Return the actor's newest transactions, newest first. Raises `Empty` if there are less."""
    found: list[Past] = []
    while len(found) < count:
        known = [change for past in found for change in past.changes]
        change = tx.row(NEWEST, {"actor": tx.actor, "found": known}, _Place)
        if change is None:
            raise Empty(
                f"you have {len(found)} operations to undo, not {count}"
                if found
                else "you have done nothing that could be undone",
                hint="See what you did: concord history --actor me",
                found=len(found),
            )
        found.append(_read(tx, change))
    return tuple(found)


def of_change(tx: Transaction, change: int) -> Past:
    """Return the actor's transaction that made a change, by the id that history shows.

    Raises `NotFound`, and `Forbidden` for one that somebody else made.
    """
    place = tx.row(CHANGE, {"change": change}, _Place)
    if place is None:
        raise NotFound(
            f"no such change: {change}",
            hint="Its id is in the first column of: concord history",
            change=change,
        )
    if place.actor.lower() != tx.actor.lower():
        raise Forbidden(
            f"change {change} was made by {place.actor}, who alone can undo it",
            hint=f"See what it was, and change it anew: concord history --xid {place.xid}",
            change=change,
            actor=place.actor,
            xid=place.xid,
        )
    return _read(tx, place)


def fold(rows: Iterable[Change]) -> tuple[Effect, ...]:
    """Return the net effect of rows of history, which are in their order, on each thing."""
    things: dict[tuple[str, int], list[Change]] = {}
    for row in rows:
        things.setdefault((row.entity, row.entity_id), []).append(row)
    return tuple(_net(of_it) for of_it in things.values())


def _read(tx: Transaction, place: _Place) -> Past:
    told = tx.rows(TRANSACTION, place._asdict() | {"gap": GAP}, Change)
    # Whose name a project bears is its owner, whatever else it undoes.
    rows = tuple(row for row in told if row.entity != "member")
    if not rows:
        raise Refused(
            "who is in a project is not undone",
            hint="Say it anew: concord project member add or remove. What was said is in:"
            f" concord history --xid {place.xid}",
            xid=place.xid,
        )
    return Past(tuple(row for row in rows if not _is_arrival(row)) or rows)


def _net(rows: Sequence[Change]) -> Effect:
    fields: dict[str, tuple[Any, Any]] = {}
    for row in rows:
        for name in row.old.keys() | row.new.keys():
            before, _ = fields.get(name, (row.old.get(name), None))
            fields[name] = before, row.new.get(name)
    return Effect(
        rows[0].entity,
        rows[0].entity_id,
        rows[0].task,
        created=any(not row.old for row in rows),
        removed=any(not row.new for row in rows),
        fields={name: values for name, values in fields.items() if values[0] != values[1]},
    )


def _is_arrival(row: Change) -> bool:
    """Whether somebody became a user with their own command."""
    name = str(row.new.get("username"))
    return row.entity == "user" and not row.old and name.lower() == row.actor.lower()
