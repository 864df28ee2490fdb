"""Names in history, and what has become of them: users, projects and tags may be renamed."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple, cast

from concord.sql.undo.past import Past

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from concord.database import Transaction
    from concord.models import Change

NAMED = {
    "project": "project",
    "owner": "user",
    "author": "user",
    "assignees": "user",
    "tags": "tag",
}
"""Fields in which history has names → whose names."""

# The list says nothing new, but tells the planner how little there is about these.
RENAMES: LiteralString = """
-- renames_since: of users, projects and tags, in the order in which they were made
SELECT h.id, h.entity, h.old ->> named.field, h.new ->> named.field
FROM (VALUES ('user', 'username'), ('project', 'key'), ('tag', 'name')) AS named (entity, field)
JOIN history h ON h.entity = named.entity AND h.entity IN ('user', 'project', 'tag')
    AND h.id > %(since)s
    AND h.old ? named.field AND h.new ? named.field
ORDER BY h.entity, h.id
"""


class Rename(NamedTuple):
    """That something had another name from a change on."""

    change: int
    entity: str
    before: str
    after: str


def before(past: Past, entity: str) -> Iterator[str]:
    """Yield the names of users, projects or tags that things had before a transaction."""
    for effect in past.effects:
        for name in effect.fields.keys() & NAMED.keys():
            value = effect.before(name)
            if NAMED[name] == entity and value is not None:
                yield from value if isinstance(value, list) else [value]


def of_today(tx: Transaction, past: Past) -> tuple[Past, Past]:
    """Return a transaction twice: in the names of today, and in those while it is undone.

    The latter are what the names of today will be when what the transaction itself renamed has its
    former name again.
    """
    renames = tx.rows(RENAMES, {"since": past.changes[0]}, Rename)
    own = frozenset(past.changes)
    others = [rename for rename in renames if rename.change not in own]
    return _renamed(past, renames), _renamed(past, others)


def follow(renames: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what became of names, one rename after the other.

    A name that was given up may be somebody else's afterwards: what it is renamed to then is no
    name of the first one's.
    """
    today: dict[str, str] = {}
    for former, new in renames:
        first = next((name for name, now in today.items() if now == former), None)
        if first is not None:
            today[first] = new
        else:
            today.setdefault(former, new)
    return today


def _renamed(past: Past, renames: Sequence[Rename]) -> Past:
    return Past(tuple(_translated(row, renames) for row in past.rows)) if renames else past


def _translated(row: Change, renames: Sequence[Rename]) -> Change:
    later = [rename for rename in renames if rename.change > row.id]
    today = {
        entity: follow((rename.before, rename.after) for rename in its)
        for entity, its in groupby(later, key=attrgetter("entity"))
    }

    def translate(fields: dict[str, Any]) -> dict[str, Any]:
        return {
            name: _known(today.get(NAMED[name], {}), value) if name in NAMED else value
            for name, value in fields.items()
        }

    return replace(row, old=translate(row.old), new=translate(row.new)) if today else row


def _known(today: dict[str, str], value: Any) -> Any:
    if isinstance(value, list):
        return [today.get(name, name) for name in cast("list[str]", value)]
    return today.get(value, value)
