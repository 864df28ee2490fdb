"""The rows of tasks: what they are now, and how they become what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from concord.errors import Refused
from concord.models import Change
from concord.sql import links, projects, task_rows, tasks
from concord.sql.undo import lists, things
from concord.sql.undo.past import fold

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from concord.database import Transaction
    from concord.sql.undo.past import Effect, Past
    from concord.sql.undo.things import State

LOCK: LiteralString = """
-- lock_undone_tasks: in id order, in the trash or not
SELECT id FROM tasks WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
"""

READ: LiteralString = """
-- read_undone_tasks: in the words of history
SELECT t.id, t.version, task_fields(t) || jsonb_build_object(
    'tags', ARRAY(SELECT g.name FROM task_tags x JOIN tags g ON g.id = x.tag_id
                  WHERE x.task_id = t.id ORDER BY g.name),
    'assignees', ARRAY(SELECT u.username FROM assignments x JOIN users u ON u.id = x.user_id
                       WHERE x.task_id = t.id ORDER BY u.username),
    'blocked_by', ARRAY(SELECT blocker_id FROM links WHERE blocked_id = t.id ORDER BY 1)
), h.username
FROM tasks t
LEFT JOIN claims c ON c.task_id = t.id
LEFT JOIN users h ON h.id = c.user_id
WHERE t.id = ANY(%(ids)s)
"""

WRITE: LiteralString = """
-- write_tasks_back: of each the fields that are given
UPDATE tasks AS t SET (
    title, description, status, priority, due, external_ref, completed_at, deleted_at,
    project_id, owner_id, parent_id, auto_close, recurrence, recurrence_zone
) = (
    SELECT n.title, n.description, n.status, n.priority, n.due, n.external_ref, n.completed_at,
           n.deleted_at, n.project_id, n.owner_id, n.parent_id, n.auto_close, n.recurrence,
           n.recurrence_zone
    FROM jsonb_populate_record(t, given.fields) AS n
)
FROM jsonb_to_recordset(%(rows)s) AS given (id bigint, fields jsonb) WHERE t.id = given.id
"""

MARK: LiteralString = """
-- mark_own_changes: where this transaction's history ends by now
SELECT coalesce(max(id), 0) FROM history WHERE xid = pg_current_xact_id()
"""

OWN: LiteralString = """
-- own_task_changes: what this transaction, triggers included, has just done to tasks
SELECT id, at, actor, operation, entity, entity_id, task_id, version, old, new, xid::text
FROM history WHERE xid = pg_current_xact_id() AND id > %(since)s AND entity = 'task' ORDER BY id
"""

FIELDS = (
    *("title", "description", "status", "priority", "due", "external_ref", "completed_at"),
    *("deleted_at", "project", "owner", "parent", "auto_close", "recurrence", "recurrence_zone"),
)
"""What is written back as one value."""

STATES = {"status", "completed_at", "deleted_at"}
"""Those of the fields that triggers write on their own."""


@dataclass(frozen=True, slots=True)
class Current:
    """A task as it is. `holder` is whose claim it is under, expired or not."""

    version: int
    fields: State
    holder: str | None


def lock(tx: Transaction, ids: Iterable[int]) -> None:
    """Lock those of the tasks that are there until the end of the transaction."""
    tx.execute(LOCK, {"ids": list(ids)})


def read(tx: Transaction, ids: Iterable[int]) -> dict[int, Current]:
    """Return those of the tasks that are there, by their ids."""
    rows = tx.rows(READ, {"ids": list(ids)}, lambda *columns: columns)
    return {task: Current(*columns) for task, *columns in rows}


def refuse(past: Past) -> None:
    """Raise `Refused` for what is not undone: purges, and claims that were taken or given back."""
    effects = past.of("task").values()
    purged = [one.id for one in effects if one.removed]
    if purged:
        raise Refused(
            f"a purge is for good: {_listed(purged)}",
            hint=f"History tells what they were: concord history --xid {past.last.xid}",
            tasks=purged,
        )
    taken = {one.id: one.after("claim")["epoch"] for one in effects if one.after("claim")}
    if taken:
        task, epoch = next(iter(taken.items()))
        raise Refused(
            f"a claim is not undone but given back: {_listed(taken)}",
            hint=f"Give it back: concord task release {task} --epoch {epoch}",
            tasks=list(taken),
        )
    returned = [one.id for one in effects if one.before("claim") and one.after("status") == "todo"]
    if returned:
        raise Refused(
            f"a claim that was given back is anybody's to take: {_listed(returned)}",
            hint="Take it anew, or another one: concord task claim",
            tasks=returned,
        )


def adds_to_graph(past: Past) -> bool:
    """Whether undoing a transaction makes a task wait for another one or be a part of it."""
    return bool(_woven(past))


def mark(tx: Transaction) -> int:
    """Return where the history of this transaction ends by now."""
    return tx.scalar(MARK)


def trash(tx: Transaction, past: Past, now: Mapping[int, Current]) -> None:
    """Move the tasks that a transaction made, and that are locked, to the trash."""
    made = [one.id for one in past.of("task").values() if one.created]
    made = [number for number in made if not now[number].fields["deleted_at"]]
    if made:
        tx.execute(tasks.TRASH, {"ids": made})


def put_back(tx: Transaction, past: Past, effects: Sequence[Effect]) -> None:
    """Make tasks, which are locked, what they were before a part of a transaction.

    Not those that it made: they keep what they have, in the trash. Raises `Refused` for a limit or
    an archived project, `NotFound` and `Conflict` for something that is gone and would be needed.
    """
    whole = past.of("task")
    changed = [one for one in effects if not whole[one.id].created]
    _write(tx, {one.id: _former(one, whole[one.id], {}) for one in changed})
    lists.put_back(tx, changed)


def settle(
    tx: Transaction, past: Past, now: Mapping[int, Current], mark: int, made: Collection[int]
) -> None:
    """Take back what triggers did because of what was written, and look at the graph.

    A task that is completed again would close its parent or make its next one; when it was
    completed first, that happened or it did not, and is as it was. `mark` is where the history of
    this transaction ended before; `made` are tasks in the trash, which lose what is undone. Raises
    `Refused` for a circle, and for a claim that would end.
    """
    whole = past.of("task")
    wanted = {
        one.id: now[one.id].fields | _former(one, one, now[one.id].fields)
        for one in whole.values()
        if not one.created
    }
    written = {one.id: one for one in fold(tx.rows(OWN, {"since": mark}, Change))}
    strange = [one for one in written.values() if one.id not in whole and not one.created]
    if held := [one.id for one in written.values() if one.before("claim")]:
        raise Refused(
            f"undoing it would end a claim: {_listed(held)}",
            hint="Wait until it is released, or see who holds it: concord task show ID",
            tasks=held,
        )
    wanted |= {one.id: {name: one.before(name) for name in one.fields} for one in strange}
    wrong = {
        number: {
            name: fields[name]
            for name in STATES & fields.keys()
            if fields[name] != _current(name, written.get(number), now.get(number))
        }
        for number, fields in wanted.items()
    }
    _write(tx, wrong)
    lists.put_back(tx, [one for one in strange if one.id not in made])
    if added := [one.id for one in written.values() if one.created]:
        tx.execute(tasks.TRASH, {"ids": added})
    if woven := _woven(past):
        links.refuse_circles(tx, woven)


def _current(name: str, written: Effect | None, before: Current | None) -> Any:
    """Return the value that a field has after what was written."""
    if written is not None and name in written.fields:
        return written.after(name)
    return None if before is None else before.fields[name]


def _former(effect: Effect, whole: Effect, now: State) -> State:
    """Return the fields that a task had before a part of a transaction and is to have again.

    A claim does not come back. A task that would be in progress without one, so that nobody could
    claim it, is to do instead.
    """
    fields = {
        name: effect.before(name)
        for name in FIELDS
        if name in effect.fields and name in whole.fields
    }
    if whole.before("claim") and fields.get("status", now.get("status")) == "in_progress":
        fields["status"] = "todo"
    return fields


def _write(tx: Transaction, wanted: Mapping[int, State]) -> None:
    """Write fields, in the words of history, to tasks."""
    keys = {fields["project"] for fields in wanted.values() if fields.get("project")}
    ids = {key: projects.share_now(tx, key) for key in sorted(keys)}
    people = things.require(tx, "user", [f["owner"] for f in wanted.values() if "owner" in f])

    def columns(fields: State) -> State:
        given = dict(fields)
        if "project" in given:
            given["project_id"] = ids.get(given.pop("project"))
        if "owner" in given:
            given["owner_id"] = people[given.pop("owner")]
        if "parent" in given:
            given["parent_id"] = given.pop("parent")
        if "auto_close" in given:
            given["auto_close"] = bool(given["auto_close"])
        return given

    rows = [{"id": task, "fields": columns(fields)} for task, fields in wanted.items() if fields]
    if rows:
        tx.execute(WRITE, {"rows": Jsonb(rows)})


def _woven(past: Past) -> list[int]:
    """Return the tasks that get a parent or a blocker back."""
    return [
        one.id
        for one in past.of("task").values()
        if not one.created and (one.before("parent") is not None or one.taken_off("blocked_by"))
    ]


def _listed(ids: Iterable[int]) -> str:
    return f"task {task_rows.listed(list(ids))}"
