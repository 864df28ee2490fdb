"""Undo: what somebody did last is as if it had not been done, all of it or nothing.

A transaction is undone as a whole, by plain writes to the tables, so that the same rules and the
same history hold as for every other command; an undo can be undone. It is undone only while what
it wrote still is what it left: by field, so that what others did to other fields stays.

Everything is decided on rows that are locked. Each statement then sees what was committed before
the lock was had, and nobody adds to these rows until the end: whoever would refer to one of them
waits, by the foreign key. SERIALIZABLE would decide on an older snapshot, in which what others
have referred to them meanwhile does not show; and it would start again whenever one of a thousand
tasks is being written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.models import Undone
from concord.sql import links
from concord.sql.undo import conflicts, names, tasks, things
from concord.sql.undo.past import newest, of_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from concord.database import Transaction
    from concord.sql.undo.conflicts import Clash
    from concord.sql.undo.past import Effect, Past
    from concord.sql.undo.tasks import Current
    from concord.sql.undo.things import State

# What only tries has versions that nobody sees, so that the id of a savepoint in them is no harm.
TRY: LiteralString = """
-- try_undo: what follows is not to stay
SAVEPOINT undo
"""

FORGET: LiteralString = """
-- forget_undo: as if nothing had been tried
ROLLBACK TO SAVEPOINT undo
"""


@transaction(isolation=Isolation.READ_COMMITTED)
def run(
    tx: Transaction,
    *,
    last: int = 1,
    change: int | None = None,
    dry_run: bool = False,
) -> tuple[Undone, ...]:
    """Undo the actor's `last` transactions, or the one that made a `change`, and tell what it did.

    With `dry_run` all is tried, and nothing stays. Raises `Empty` if there is nothing to undo,
    `NotFound` for a change that never was, `Forbidden` for somebody else's, `Conflict` naming what
    was changed since, and `Refused` for what a rule forbids: a purge, a claim, a full limit.
    """
    found = newest(tx, last) if change is None else (of_change(tx, change),)
    for past in found:
        tasks.refuse(past)
    if dry_run:
        tx.execute(TRY)
    _lock(tx, found)
    undone = [row for past in found for row in _undo(tx, found, past)]
    if dry_run:
        tx.execute(FORGET)
    return tuple(undone)


def _lock(tx: Transaction, found: Sequence[Past]) -> None:
    """Lock all that will be written, and hold what it will refer to.

    Projects before tasks, and tasks before the rest, as all commands do.
    """
    if any(map(tasks.adds_to_graph, found)):
        links.enter(tx)
    for entity in ("project", "task", "tag", "user", "view", "comment"):
        ids = [number for past in found for number in past.of(entity)]
        if entity == "task":
            tasks.lock(tx, ids)
        else:
            things.lock(tx, entity, ids)
            # Who is just renaming one of them is awaited, before anybody asks for the new name.
            things.hold(tx, entity, (name for past in found for name in names.before(past, entity)))


def _undo(tx: Transaction, found: Sequence[Past], past: Past) -> Iterator[Undone]:
    """Undo one of the transactions and tell what became of each thing."""
    today, meanwhile = names.of_today(tx, past)
    now = tasks.read(tx, past.of("task"))
    before = _states(tx, past, now)
    clashes = list(conflicts.of_tasks(tx, today, now))
    for entity in things.KINDS:
        clashes += conflicts.of_things(today, entity, before[entity])
    _refuse(tx, found, today, clashes)
    mark = tasks.mark(tx)
    tasks.trash(tx, past, now)
    # Statement by statement, the last one first: no rule is broken on the way, because each state
    # in between was there before.
    for effects in meanwhile.backwards():
        entity = effects[0].entity
        if entity == "task":
            tasks.put_back(tx, meanwhile, effects)
        elif effects[0].created:
            _remove(tx, found, today, effects, before[entity])
        else:
            things.put_back(tx, meanwhile, effects)
    tasks.settle(tx, meanwhile, now, mark, _made(found))
    yield from _told(past, before, _states(tx, past, tasks.read(tx, now)))


def _remove(
    tx: Transaction,
    found: Sequence[Past],
    past: Past,
    effects: Sequence[Effect],
    before: Mapping[int, State],
) -> None:
    """Remove what a transaction made.

    What came along with a task, as a tag does, stays if others use it or have changed it.
    Otherwise that is a conflict. Tasks that are undone as well do not count.
    """
    entity, ids = effects[0].entity, [one.id for one in effects]
    things.let_go(tx, entity, ids, _made(found))
    in_use = things.used(tx, entity, ids)
    if not past.of("task"):
        _refuse(tx, found, past, list(conflicts.of_use(past, entity, in_use)))
    changed = {
        number
        for number, one in past.of(entity).items()
        if not one.removed and number in before and conflicts.differing(one, before[number])
    }
    things.remove(tx, entity, [number for number in ids if number not in in_use | changed])


def _made(found: Sequence[Past]) -> list[int]:
    """Return the tasks that the transactions made."""
    return [number for past in found for number, one in past.of("task").items() if one.created]


def _refuse(tx: Transaction, found: Sequence[Past], past: Past, clashes: Sequence[Clash]) -> None:
    if clashes:
        undone = [change for one in found for change in one.changes]
        raise conflicts.conflict(tx, past, clashes, undone)


def _states(tx: Transaction, past: Past, now: Mapping[int, Current]) -> dict[str, dict[int, State]]:
    """Return what a transaction changed, as it is now: kind by kind, by ids."""
    read = {
        entity: things.read(tx, entity, past.of(entity)) if past.of(entity) else {}
        for entity in things.KINDS
    }
    return read | {"task": {number: task.fields for number, task in now.items()}}


def _told(
    past: Past, before: Mapping[str, Mapping[int, State]], after: Mapping[str, Mapping[int, State]]
) -> Iterator[Undone]:
    for one in past.effects:
        old, new = (state[one.entity].get(one.id, {}) for state in (before, after))
        changed = [name for name in old | new if old.get(name) != new.get(name)]
        if changed:
            yield Undone(
                past.last.xid,
                past.last.at,
                past.last.operation,
                one.entity,
                one.id,
                one.task,
                {name: old[name] for name in changed if name in old},
                {name: new[name] for name in changed if name in new},
            )
