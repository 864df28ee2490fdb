"""Import: a foreign file's tasks, compared three ways and written set by set.

What the file said last time (`import_bases`) is the common ancestor. A field that changed in the
file alone is taken over, one that changed here alone stays, and a task with a field that changed
to different values on both sides is left alone and reported.

Everything is decided on what was read, so it runs at SERIALIZABLE: had anything changed between
reading and writing, the whole import starts again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.errors import Refused
from concord.models import ImportConflict, ImportReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from concord.database import Transaction
    from concord.models import ImportedTask

STAGE: LiteralString = """
-- create_staging: private to this connection, gone with the transaction
CREATE TEMPORARY TABLE import_rows (
    line integer, ref text, title text, description text, status task_status,
    priority task_priority, due timestamptz, tags text[], assignees text[], owner text,
    created_at timestamptz, updated_at timestamptz, completed_at timestamptz,
    uid uuid, file_id bigint, project text, external_ref text, file_parent bigint,
    version integer, deleted_at timestamptz
) ON COMMIT DROP
"""

LOAD: LiteralString = """
-- load_staging: all rows in one stream
COPY import_rows FROM STDIN
"""

ANALYZE: LiteralString = """
-- analyze_staging: the planner cannot guess how many rows came
ANALYZE import_rows
"""

# FOR SHARE keeps the projects from being archived until the import has committed. The fence makes
# it lock them all: the planner pushes the condition into a subquery, before its locking.
ARCHIVED: LiteralString = """
-- archived_projects: which of the projects take no tasks
WITH wanted AS MATERIALIZED (
    SELECT key, archived_at FROM projects
    WHERE key IN (SELECT project FROM import_rows) ORDER BY id FOR SHARE
)
SELECT key FROM wanted WHERE archived_at IS NOT NULL
"""

# Tags and users are compared in lower case, because that is how they are told apart. A task that
# was moved since is known by the project for which the file brought it. Only what the same format
# told last time, for the same project, is an ancestor: anything else may be another task's, or
# have told what somebody changed here.
PLAN: LiteralString = """
-- plan_import: each row with its task, if there is one, and what changed on which side
CREATE TEMPORARY TABLE import_plan ON COMMIT DROP AS
WITH matched AS MATERIALIZED (
    SELECT r.*, t.id AS task_id, t.deleted_at IS NOT NULL AS trashed, b.fields AS base,
           jsonb_build_object(
               'title', r.title, 'description', r.description, 'status', r.status,
               'priority', r.priority, 'due', utc_text(r.due),
               'tags', ARRAY(SELECT DISTINCT lower(name) FROM unnest(r.tags) AS name
                             ORDER BY lower(name)),
               'assignees', ARRAY(SELECT DISTINCT lower(name) FROM unnest(r.assignees) AS name
                                  ORDER BY lower(name))
           ) AS theirs,
           jsonb_build_object(
               'title', t.title, 'description', t.description, 'status', t.status,
               'priority', t.priority, 'due', utc_text(t.due),
               'tags', ARRAY(SELECT lower(g.name)
                             FROM task_tags x JOIN tags g ON g.id = x.tag_id
                             WHERE x.task_id = t.id ORDER BY lower(g.name)),
               'assignees', ARRAY(SELECT lower(a.username)
                                  FROM assignments x JOIN users a ON a.id = x.user_id
                                  WHERE x.task_id = t.id ORDER BY lower(a.username))
           ) AS ours
    FROM import_rows r
    LEFT JOIN projects p ON p.key = r.project
    LEFT JOIN tasks by_uid ON by_uid.uid = r.uid
    LEFT JOIN import_bases brought ON r.uid IS NULL
        AND brought.project_id = p.id AND brought.format = %(format)s AND brought.ref = r.ref
    LEFT JOIN tasks by_ref ON r.uid IS NULL
        AND by_ref.project_id = p.id AND by_ref.external_ref = r.external_ref
    LEFT JOIN tasks t ON t.id = coalesce(by_uid.id, brought.task_id, by_ref.id)
    LEFT JOIN import_bases b ON b.task_id = t.id AND b.format = %(format)s
        AND (r.uid IS NOT NULL OR b.project_id = p.id)
)
SELECT matched.*,
       ARRAY(SELECT key FROM jsonb_object_keys(theirs) AS key
             WHERE theirs -> key <> ours -> key
               AND (base -> key IS NULL OR theirs -> key <> base -> key)
             ORDER BY key) AS changed,
       ARRAY(SELECT key FROM jsonb_object_keys(theirs) AS key
             WHERE theirs -> key <> ours -> key
               AND (base -> key IS NULL OR theirs -> key <> base -> key)
               AND (base -> key IS NULL OR ours -> key <> base -> key OR trashed)
             ORDER BY key) AS clashing
FROM matched
"""

ANALYZE_PLAN: LiteralString = """
-- analyze_plan: as for the staging
ANALYZE import_plan
"""

COUNT: LiteralString = """
-- count_plan: what will be created, updated, unchanged, conflicting
SELECT count(*) FILTER (WHERE task_id IS NULL),
       count(*) FILTER (WHERE task_id IS NOT NULL AND changed <> '{}' AND clashing = '{}'),
       count(*) FILTER (WHERE task_id IS NOT NULL AND changed = '{}'),
       count(*) FILTER (WHERE task_id IS NOT NULL AND clashing <> '{}')
FROM import_plan
"""

CONFLICTS: LiteralString = """
-- list_conflicts: tasks to be left alone
SELECT ref, task_id, clashing FROM import_plan
WHERE task_id IS NOT NULL AND clashing <> '{}' ORDER BY line
"""

WORK: LiteralString = """
-- plan_work: keep only the rows that will be written
DELETE FROM import_plan WHERE clashing <> '{}' AND task_id IS NOT NULL
"""

# In these and in CREATE, DO NOTHING never skips a row that we can see. It is there for one that
# somebody else has just inserted: at SERIALIZABLE that is a failure to serialize, and the import
# starts again, instead of a duplicate key, which would end it.
ADD_USERS: LiteralString = """
-- add_users: owners and assignees that are new here
INSERT INTO users (username)
SELECT DISTINCT ON (lower(person)) person
FROM import_plan, unnest(assignees || owner) AS wanted(person)
WHERE person IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.username) = lower(person))
ORDER BY lower(person), person
ON CONFLICT (lower(username)) DO NOTHING
"""

ADD_TAGS: LiteralString = """
-- add_tags: tags that are new here
INSERT INTO tags (name)
SELECT DISTINCT ON (lower(label)) label
FROM import_plan, unnest(tags) AS wanted(label)
WHERE NOT EXISTS (SELECT 1 FROM tags g WHERE lower(g.name) = lower(label))
ORDER BY lower(label), label
ON CONFLICT (lower(name)) DO NOTHING
"""

ADD_PROJECTS: LiteralString = """
-- add_projects: projects that are new here
INSERT INTO projects (key, name, owner_id)
SELECT DISTINCT project, project, %(actor_id)s::bigint FROM import_plan
WHERE project IS NOT NULL AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.key = project)
ON CONFLICT (key) DO NOTHING
"""

# Ids come from the file where they are free. Nobody may draw from the sequence between looking
# and moving it: this lock waits for writers and holds new ones off, but lets everybody read.
LOCK_IDS: LiteralString = """
-- lock_ids: hold off new tasks while the sequence moves
LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE
"""

HAS_IDS: LiteralString = """
-- has_ids: whether the file numbers any task that is new
SELECT EXISTS (SELECT 1 FROM import_plan WHERE task_id IS NULL AND file_id IS NOT NULL)
"""

MOVE_SEQUENCE: LiteralString = """
-- move_sequence: behind the highest id of the file
SELECT setval(sequence, greatest(highest, nextval(sequence)))
FROM (SELECT max(file_id) AS highest FROM import_plan) AS file,
     pg_get_serial_sequence('tasks', 'id') AS sequence
WHERE highest IS NOT NULL
"""

NUMBER: LiteralString = """
-- number_new_tasks: the file's id where it is free, else the next one, in the file's order
UPDATE import_plan p SET task_id = numbered.id, changed = '{created}'
FROM (
    SELECT line, CASE
        WHEN file_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = file_id)
        THEN file_id ELSE nextval(pg_get_serial_sequence('tasks', 'id')) END AS id
    FROM (SELECT line, file_id FROM import_plan WHERE task_id IS NULL ORDER BY line) AS new_rows
) AS numbered
WHERE p.line = numbered.line
"""

CREATE: LiteralString = """
-- create_tasks: with the times of the file, and parents by the ids that it knows them by
INSERT INTO tasks (id, uid, project_id, title, description, status, priority, due, owner_id,
                   external_ref, parent_id, version, created_at, updated_at, completed_at,
                   deleted_at)
SELECT r.task_id, coalesce(r.uid, gen_random_uuid()), p.id, r.title, r.description, r.status,
       r.priority, r.due, coalesce(o.id, %(actor_id)s), r.external_ref, parent.task_id,
       coalesce(r.version, 1), coalesce(r.created_at, r.updated_at, now()),
       coalesce(r.updated_at, r.created_at, now()), r.completed_at, r.deleted_at
FROM import_plan r
LEFT JOIN projects p ON p.key = r.project
LEFT JOIN users o ON lower(o.username) = lower(r.owner)
LEFT JOIN import_plan parent ON parent.file_id = r.file_parent
WHERE r.changed = '{created}'
ORDER BY r.line
ON CONFLICT (id) DO NOTHING
"""

UPDATE: LiteralString = """
-- update_imported: only the fields that changed in the file
UPDATE tasks t SET
    title = CASE WHEN 'title' = ANY(r.changed) THEN r.title ELSE t.title END,
    description = CASE WHEN 'description' = ANY(r.changed) THEN r.description
                       ELSE t.description END,
    status = CASE WHEN 'status' = ANY(r.changed) THEN r.status ELSE t.status END,
    completed_at = CASE WHEN 'status' = ANY(r.changed) AND r.status = 'completed'
                        THEN r.completed_at ELSE t.completed_at END,
    priority = CASE WHEN 'priority' = ANY(r.changed) THEN r.priority ELSE t.priority END,
    due = CASE WHEN 'due' = ANY(r.changed) THEN r.due ELSE t.due END
FROM import_plan r
WHERE t.id = r.task_id
  AND r.changed && '{title,description,status,priority,due}'
"""

UNTAG: LiteralString = """
-- untag_tasks: what the file no longer says
DELETE FROM task_tags x USING import_plan r, tags g
WHERE x.task_id = r.task_id AND 'tags' = ANY(r.changed) AND g.id = x.tag_id
  AND NOT r.theirs -> 'tags' ? lower(g.name)
"""

TAG: LiteralString = """
-- tag_tasks: what the file says
INSERT INTO task_tags (task_id, tag_id)
SELECT r.task_id, g.id
FROM import_plan r
CROSS JOIN jsonb_array_elements_text(r.theirs -> 'tags') AS wanted(label)
JOIN tags g ON lower(g.name) = wanted.label
WHERE r.changed && '{created,tags}'
ON CONFLICT DO NOTHING
"""

UNASSIGN: LiteralString = """
-- unassign_tasks: what the file no longer says
DELETE FROM assignments x USING import_plan r, users u
WHERE x.task_id = r.task_id AND 'assignees' = ANY(r.changed) AND u.id = x.user_id
  AND NOT r.theirs -> 'assignees' ? lower(u.username)
"""

ASSIGN: LiteralString = """
-- assign_tasks: what the file says
INSERT INTO assignments (task_id, user_id, assigned_by)
SELECT r.task_id, u.id, %(actor_id)s
FROM import_plan r
CROSS JOIN jsonb_array_elements_text(r.theirs -> 'assignees') AS wanted(person)
JOIN users u ON lower(u.username) = wanted.person
WHERE r.changed && '{created,assignees}'
ON CONFLICT DO NOTHING
"""

REMEMBER: LiteralString = """
-- remember_bases: what the file said this time, and for which project
INSERT INTO import_bases (task_id, format, project_id, ref, fields)
SELECT r.task_id, %(format)s, p.id, r.ref, r.theirs
FROM import_plan r
LEFT JOIN projects p ON r.uid IS NULL AND p.key = r.project
WHERE r.base IS DISTINCT FROM r.theirs
ON CONFLICT (task_id, format) DO UPDATE
    SET project_id = excluded.project_id, ref = excluded.ref, fields = excluded.fields,
        imported_at = excluded.imported_at
"""


@transaction(isolation=Isolation.SERIALIZABLE)
def run(
    tx: Transaction,
    rows: Sequence[ImportedTask],
    *,
    format_name: str,
    project: str | None,
    skipped: int = 0,
    dry_run: bool = False,
    watch: Callable[[Sequence[ImportedTask]], Iterable[ImportedTask]] = iter,
) -> ImportReport:
    """Create and update tasks from rows, all of them or none, and return what was done.

    Rows without a project of their own go to `project`, which is created if it does not exist.
    With `dry_run` the report says what would be done. `skipped` is passed on to the report, and
    `watch` sees the rows pass by. Raises `Refused` for an archived project.
    """
    tx.execute(STAGE)
    tx.copy(LOAD, _staged(watch(rows), project))
    tx.execute(ANALYZE)
    archived = tx.scalars(ARCHIVED)
    if archived:
        raise Refused(
            f"archived, takes no tasks: {', '.join(archived)}",
            hint=f"Open it again: concord project archive {archived[0]} --undo",
            projects=list(archived),
        )
    tx.execute(PLAN, {"format": format_name})
    tx.execute(ANALYZE_PLAN)
    counts = tx.row(COUNT, None, lambda *columns: columns)
    assert counts is not None
    created, updated, unchanged, conflicting = counts
    conflicts = tx.rows(CONFLICTS, None, _conflict)
    if not dry_run:
        _write(tx, format_name)
    return ImportReport(created, updated, unchanged, skipped, conflicting, conflicts)


def _conflict(ref: str, task: int, fields: list[str]) -> ImportConflict:
    return ImportConflict(ref, task, tuple(fields))


def _write(tx: Transaction, format_name: str) -> None:
    given = {"actor_id": tx.actor_id, "format": format_name}
    tx.execute(WORK)
    tx.execute(ADD_USERS)
    tx.execute(ADD_TAGS)
    tx.execute(ADD_PROJECTS, given)
    if tx.scalar(HAS_IDS):
        tx.execute(LOCK_IDS)
        tx.execute(MOVE_SEQUENCE)
    tx.execute(NUMBER)
    tx.execute(CREATE, given)
    tx.execute(UPDATE)
    tx.execute(UNTAG)
    tx.execute(TAG)
    tx.execute(UNASSIGN)
    tx.execute(ASSIGN, given)
    tx.execute(REMEMBER, given)


def _staged(rows: Iterable[ImportedTask], project: str | None) -> Iterator[Sequence[Any]]:
    for row in rows:
        yield (
            row.line,
            row.ref,
            row.title,
            row.description,
            row.status,
            row.priority,
            row.due,
            list(row.tags),
            list(row.assignees),
            row.owner,
            row.created_at,
            row.updated_at,
            row.completed_at,
            row.uid,
            row.id,
            row.project or project,
            row.external_ref if row.uid else row.ref,
            row.parent,
            row.version,
            row.deleted_at,
        )
