"""What a database holds, and whether its history tells the same.

History has the old and the new value of every change. Replayed from the start it has to end at
the rows as they are: a write that was lost, or done by half, shows as a difference.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import args_row, scalar_row

TASKS: LiteralString = """
SELECT t.id, t.version, task_fields(t) || jsonb_build_object(
    'tags', ARRAY(SELECT g.name FROM task_tags x JOIN tags g ON g.id = x.tag_id
                  WHERE x.task_id = t.id ORDER BY g.name),
    'assignees', ARRAY(SELECT u.username FROM assignments x JOIN users u ON u.id = x.user_id
                       WHERE x.task_id = t.id ORDER BY u.username),
    'blocked_by', ARRAY(SELECT blocker_id FROM links WHERE blocked_id = t.id ORDER BY 1),
    'claim', (SELECT jsonb_build_object('by', u.username, 'epoch', c.epoch)
              FROM claims c JOIN users u ON u.id = c.user_id WHERE c.task_id = t.id))
FROM tasks t
"""

# History does not tell of a claim that is renewed, which moves the end of the lease.
EVENTS: LiteralString = """
SELECT entity_id AS task, version, old #- '{claim,expires_at}' AS old,
       new #- '{claim,expires_at}' AS new, xid::text AS xid FROM history
WHERE entity = 'task' ORDER BY entity_id, id
"""

TABLES: LiteralString = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'public' ORDER BY table_name
"""


class Event(NamedTuple):
    """A row of history: what a transaction changed about a task."""

    task: int
    version: int
    old: dict[str, Any]
    new: dict[str, Any]
    xid: str

    @property
    def is_purge(self) -> bool:
        """Whether the task ended with it: it had values, and now has not one."""
        return bool(self.old) and not self.new


def check_history(url: str) -> int:
    """Assert that history, replayed, ends at the tasks as they are; return how many there are.

    Each task's versions rise by one a transaction, without a gap, up to its own. Projects, users
    and tags must not have been renamed: their names are what a task's history remembers.
    """
    with psycopg.connect(url) as connection:
        # One snapshot, though others may go on writing.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        tasks = {
            task: (version, _present(fields))
            for task, version, fields in connection.execute(TASKS).fetchall()
        }
        with connection.cursor(row_factory=args_row(Event)) as cursor:
            events = cursor.execute(EVENTS).fetchall()
    replayed = {
        task: outcome
        for task, its_events in groupby(events, attrgetter("task"))
        if (outcome := _replay(list(its_events))) is not None
    }
    assert replayed == tasks
    return len(tasks)


def tables(url: str) -> dict[str, list[Any]]:
    """Return all rows of all tables, to compare: table name → rows in a stable order."""
    with psycopg.connect(url) as connection, connection.cursor(row_factory=scalar_row) as cursor:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        names = cursor.execute(TABLES).fetchall()
        query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t ORDER BY to_jsonb(t)")
        return {
            name: cursor.execute(query.format(sql.Identifier(name))).fetchall() for name in names
        }


def _replay(events: list[Event]) -> tuple[int, dict[str, Any]] | None:
    """Return the version and the fields that a task's events lead to, `None` if it is gone."""
    state: dict[str, Any] = {}
    life: list[Event] = []
    for event in events:
        assert {name: state.get(name) for name in event.old} == _defaulted(event.old), event
        if event.is_purge:
            assert _present(state) == _present(event.old), event
            _check_versions(life)
            # An import may bring a purged task back under its old number.
            state, life = {}, []
        else:
            state |= _defaulted(event.new)
            life.append(event)
    if not life:
        return None
    _check_versions(life)
    return life[-1].version, _present(state)


def _check_versions(events: list[Event]) -> None:
    versions = dict.fromkeys((event.version, event.xid) for event in events)
    first = events[0].version  # an import from another Concord counts on from where that one was
    assert [version for version, _ in versions] == list(range(first, first + len(versions)))
    assert len({xid for _, xid in versions}) == len(versions)


def _defaulted(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with nothing for an empty list: a new task's history mentions neither."""
    return {name: None if value == [] else value for name, value in fields.items()}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [])}
