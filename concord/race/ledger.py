"""The laboratory's own tables and rows in the scratch schema.

Each raced transaction enters what it did into the ledger `race_ops`, in that same transaction: a
row is there if and only if the transaction was committed, whatever became of the client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concord.connections import Connection

CREATE: LiteralString = """
-- create_ledger: one row for each committed operation
CREATE TABLE race_ops (
    op_id bigint CONSTRAINT race_ops_pkey PRIMARY KEY,
    worker integer NOT NULL,
    task_id bigint NOT NULL,
    part text NOT NULL,
    before bigint NOT NULL,
    after bigint NOT NULL,
    version integer NOT NULL,
    other_id bigint,
    other_before bigint,
    other_after bigint,
    other_version integer,
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
)
"""

RAISE_NUMBER: LiteralString = """
-- create_race_raise: a number, one higher
CREATE FUNCTION race_raise(value text, entry bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN (value::bigint + 1)::text
"""

RAISE_LIST: LiteralString = """
-- create_race_raise_list: a list, one longer
CREATE FUNCTION race_raise(value text, entry bigint) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE value WHEN '' THEN entry::text ELSE value || ',' || entry END
"""

# The task's row was written by this very transaction, which holds its lock until the end: the
# version read here is the one it leaves behind.
ENTER: LiteralString = """
-- enter_ledger: in the transaction that it tells of
INSERT INTO race_ops (op_id, worker, task_id, part, before, after, version,
                      other_id, other_before, other_after, other_version)
SELECT %(op)s, %(worker)s, task.id, %(part)s, %(before)s, %(after)s, task.version,
       other.id, %(other_before)s, %(other_after)s, other.version
FROM tasks AS task
LEFT JOIN tasks AS other ON other.id = %(other)s
WHERE task.id = %(task)s
RETURNING xid::text, pg_current_snapshot()::text, pg_backend_pid(), sequence, version, other_version
"""

CLEAR: LiteralString = """
-- clear_ledger: for the next race
TRUNCATE race_ops RESTART IDENTITY
"""

LEDGER: LiteralString = """
-- ledger: in the order in which rows were entered
SELECT op_id, worker, task_id AS task, part, before, after, version, sequence, xid::text AS xid,
       CASE WHEN other_id IS NOT NULL THEN json_build_object(
           'task', other_id, 'before', other_before, 'after', other_after, 'version', other_version
       ) END AS other
FROM race_ops ORDER BY sequence
"""

ADD_PROJECT: LiteralString = """
-- add_race_project: of one race
INSERT INTO projects (key, name, owner_id, wip_limit)
SELECT %(key)s, %(name)s, min(id), %(limit)s FROM users
RETURNING id
"""

ADD_USERS: LiteralString = """
-- add_racers: one for each worker
INSERT INTO users (username)
SELECT 'racer' || number FROM generate_series(1, %(workers)s) AS number
ON CONFLICT DO NOTHING
"""

ADD_TASKS: LiteralString = """
-- add_race_tasks: all alike
INSERT INTO tasks (project_id, title, description, owner_id)
SELECT %(project)s, '0', %(value)s, (SELECT min(id) FROM users)
FROM generate_series(1, %(count)s)
RETURNING id
"""

TASKS: LiteralString = """
-- race_tasks: as they are now
SELECT id, title, description, status, version FROM tasks
WHERE project_id = %(project)s ORDER BY id
"""

ASSIGNED: LiteralString = """
-- race_assignments: who is on which task
SELECT assignments.task_id, users.username
FROM assignments
JOIN tasks ON tasks.id = assignments.task_id
JOIN users ON users.id = assignments.user_id
WHERE tasks.project_id = %(project)s
"""

RACERS: LiteralString = """
-- racers: username and id of all workers
SELECT username, id FROM users WHERE starts_with(username, 'racer') ORDER BY id
"""

ANALYZE: LiteralString = """
-- analyze_race: plans for what is there now
ANALYZE tasks, projects, users, race_ops
"""


USE_SCHEMA: LiteralString = """
-- use_schema: in this transaction
SELECT set_config('search_path', %(schema)s, true)
"""


@dataclass(frozen=True, slots=True)
class Field:
    """What is raced over, as the database has it outside the race: ids, and the project's key."""

    project: int
    key: str
    tasks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A raced task."""

    id: int
    title: str
    description: str
    status: str
    version: int


def prepare(connection: Connection, workers: int, *, as_list: bool) -> None:
    """Create the ledger and a user for each worker in the schema that the connection is in."""
    connection.execute(CREATE)
    connection.execute(RAISE_LIST if as_list else RAISE_NUMBER)
    connection.execute(ADD_USERS, {"workers": workers})


def seed(
    connection: Connection, number: int, name: str, *, count: int, value: str, limit: int | None
) -> Field:
    """Create a project of `count` tasks for a race, and clear the ledger for it.

    With `limit` the database itself keeps so many in progress, as for Concord's own commands.
    """
    connection.execute(CLEAR)
    key = f"RACE{number}"
    project = connection.execute(ADD_PROJECT, {"key": key, "name": name, "limit": limit}).fetchone()
    assert project is not None
    tasks = connection.execute(
        ADD_TASKS, {"project": project[0], "value": value, "count": count}
    ).fetchall()
    connection.execute(ANALYZE)
    return Field(project[0], key, tuple(sorted(task for (task,) in tasks)))


def rows(connection: Connection) -> Iterator[dict[str, Any]]:
    """Yield the ledger's rows."""
    with connection.cursor(row_factory=dict_row) as cursor:
        yield from cursor.execute(LEDGER)


def tasks(connection: Connection, field: Field) -> tuple[TaskRow, ...]:
    """Return the raced tasks as they are now."""
    found = connection.execute(TASKS, {"project": field.project}).fetchall()
    return tuple(TaskRow(*row) for row in found)


def assigned(connection: Connection, field: Field) -> frozenset[tuple[int, str]]:
    """Return who is on which of the raced tasks now."""
    return frozenset(connection.execute(ASSIGNED, {"project": field.project}).fetchall())


def racers(connection: Connection) -> dict[str, int]:
    """Return the users that stand for the workers."""
    return dict(connection.execute(RACERS).fetchall())
