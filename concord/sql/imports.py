"""Import: a foreign file's tasks, compared three ways and written set by set.

What the file said last time (`import_bases`) is the common ancestor. A field that changed in the
file alone is taken over, one that changed here alone stays, and a task with a field that changed
to different values on both sides is left alone and reported. Links and comments are compared one
by one (`import_links`, `import_comments`): there is no conflict in a list of them.

Everything is decided on what was read, so it runs at SERIALIZABLE: had anything changed between
reading and writing, the whole import starts again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from concord.database import Isolation, transaction
from concord.errors import Refused, Usage
from concord.models import FileTold, ImportConflict, ImportReport
from concord.sql import import_comments, import_links, import_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from concord.database import Transaction
    from concord.models import BadRow, ImportedTask

OWN = "jsonl"
"""The format in which a task is known wherever it is."""

STRICT = frozenset({OWN, "spec-kit"})
"""Formats whose files somebody here can mend: of them, no dependency is left out."""

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

# A task that was moved since is known by the project for which the file brought it. Only what the
# same format told last time, for the same project, is an ancestor: anything else may be another
# task's, or have told what somebody changed here. An ancestor of an older Concord knew neither
# parents nor the like: it said nothing of them.
MATCH: LiteralString = """
-- match_tasks: each row with its task, if there is one, and what the file said of it last time
CREATE TEMPORARY TABLE import_tasks ON COMMIT DROP AS
SELECT r.line, r.ref, t.id AS task_id, t.deleted_at IS NOT NULL AS trashed,
       '{"parent":null,"auto_close":false,"recurrence":null,"extra":{},"blocked_by":[],
         "comments":{}}' || b.fields AS base
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
"""

ANALYZE_MATCH: LiteralString = """
-- analyze_match: as for the staging
ANALYZE import_tasks (line, ref, task_id)
"""

# Tags and users are compared in lower case, because that is how they are told apart; a parent by
# what the file calls it, if it is the one that the file names or named last time.
TELL: LiteralString = """
-- tell_fields: what each row says of the fields that it tells
CREATE TEMPORARY TABLE import_told ON COMMIT DROP AS
SELECT r.line, CASE WHEN untold = '{}' THEN fields ELSE fields - untold END AS theirs
FROM import_rows r
LEFT JOIN import_refs parent ON parent.ref = r.parent
CROSS JOIN LATERAL (
    SELECT jsonb_build_object(
               'title', r.title, 'description', r.description, 'status', r.status,
               'priority', r.priority, 'due', utc_text(r.due),
               'tags', CASE WHEN r.tags = '{}' THEN r.tags
                            ELSE ARRAY(SELECT DISTINCT lower(name) FROM unnest(r.tags) AS name
                                       ORDER BY lower(name)) END,
               'assignees', CASE WHEN r.assignees = '{}' THEN r.assignees
                                 ELSE ARRAY(SELECT DISTINCT lower(name)
                                            FROM unnest(r.assignees) AS name
                                            ORDER BY lower(name)) END,
               'parent', r.parent, 'auto_close', r.auto_close,
               'recurrence', r.recurrence || ' ' || r.recurrence_zone, 'extra', r.extra
           ) AS fields,
           CASE WHEN r.parent IS NULL OR parent.known THEN r.partial
                ELSE r.partial || '{parent}'::text[] END AS untold
) AS said
"""

ANALYZE_TOLD: LiteralString = """
-- analyze_told: as for the staging
ANALYZE import_told (line)
"""

# What is new is compared with nothing. The plan has no long texts, because it is read again by
# each statement that writes.
PLAN: LiteralString = """
-- plan_import: each row with what changed on which side
CREATE TEMPORARY TABLE import_plan ON COMMIT DROP AS
WITH compared AS MATERIALIZED (
    SELECT told.line, jsonb_build_object(
               'title', t.title, 'description', t.description, 'status', t.status,
               'priority', t.priority, 'due', utc_text(t.due),
               'tags', ARRAY(SELECT lower(g.name)
                             FROM task_tags x JOIN tags g ON g.id = x.tag_id
                             WHERE x.task_id = t.id ORDER BY lower(g.name)),
               'assignees', ARRAY(SELECT lower(a.username)
                                  FROM assignments x JOIN users a ON a.id = x.user_id
                                  WHERE x.task_id = t.id ORDER BY lower(a.username)),
               'parent', CASE t.parent_id WHEN parent.task_id THEN parent.ref
                                          WHEN former.task_id THEN former.ref
                                          ELSE t.parent_id::text END,
               'auto_close', t.auto_close,
               'recurrence', t.recurrence || ' ' || t.recurrence_zone,
               'extra', CASE WHEN %(own)s THEN t.extra
                             ELSE coalesce(t.extra -> %(format)s::text, '{}') END
           ) AS ours
    FROM import_tasks m
    JOIN import_rows r ON r.line = m.line
    JOIN import_told told ON told.line = m.line
    JOIN tasks t ON t.id = m.task_id
    LEFT JOIN import_refs parent ON parent.ref = r.parent
    LEFT JOIN import_refs former ON former.ref = m.base ->> 'parent'
    WHERE m.base IS NULL OR m.base || told.theirs <> m.base
), linking AS MATERIALIZED (
    SELECT line, bool_or(added OR removed) AS changed,
           coalesce(jsonb_agg(ref ORDER BY ref) FILTER (WHERE remembered), '[]') AS refs
    FROM import_links GROUP BY line
), speaking AS MATERIALIZED (
    SELECT line, bool_or(added OR changed OR removed) AS changed,
           coalesce(jsonb_object_agg(key, hash) FILTER (WHERE remembered), '{}') AS hashes
    FROM import_said GROUP BY line
)
SELECT m.line, m.ref, m.task_id, m.task_id IS NULL AS is_new, r.file_id, r.uid, r.project, r.parent,
       jsonb_build_object(
           'blocked_by', coalesce(linking.refs, '[]'), 'comments', coalesce(speaking.hashes, '{}')
       ) AS lists,
       CASE WHEN m.task_id IS NULL THEN '{created}'
            WHEN compares THEN ARRAY(
             SELECT key FROM jsonb_object_keys(theirs) AS key
             WHERE theirs -> key <> ours -> key
               AND (base -> key IS NULL OR theirs -> key <> base -> key)
             UNION SELECT 'blocked_by' WHERE linking.changed
             UNION SELECT 'comments' WHERE speaking.changed
             ORDER BY 1) ELSE '{}' END AS changed,
       CASE WHEN m.task_id IS NOT NULL AND compares THEN ARRAY(
             SELECT key FROM jsonb_object_keys(theirs) AS key
             WHERE theirs -> key <> ours -> key
               AND (base -> key IS NULL OR theirs -> key <> base -> key)
               AND (base -> key IS NULL OR ours -> key <> base -> key OR trashed)
             UNION SELECT 'blocked_by' WHERE linking.changed AND (base IS NULL OR trashed)
             UNION SELECT 'comments' WHERE speaking.changed AND trashed
             ORDER BY 1) ELSE '{}' END AS clashing
FROM import_tasks m
JOIN import_rows r ON r.line = m.line
JOIN import_told told ON told.line = m.line
LEFT JOIN compared ON compared.line = m.line
LEFT JOIN linking ON linking.line = m.line
LEFT JOIN speaking ON speaking.line = m.line
CROSS JOIN LATERAL (
    SELECT ours IS NOT NULL OR linking.changed IS TRUE OR speaking.changed IS TRUE AS compares
) AS known
"""

ANALYZE_PLAN: LiteralString = """
-- analyze_plan: as for the staging
ANALYZE import_plan (line, ref, task_id, is_new, file_id, uid, project, parent, changed, clashing)
"""

COUNT: LiteralString = """
-- count_plan: what will be created, updated, unchanged, conflicting
SELECT count(*) FILTER (WHERE is_new),
       count(*) FILTER (WHERE NOT is_new AND changed <> '{}' AND clashing = '{}'),
       count(*) FILTER (WHERE NOT is_new AND changed = '{}'),
       count(*) FILTER (WHERE NOT is_new AND clashing <> '{}')
FROM import_plan
"""

CONFLICTS: LiteralString = """
-- list_conflicts: tasks to be left alone
SELECT ref, task_id, clashing FROM import_plan
WHERE clashing <> '{}' ORDER BY line
"""

WORK: LiteralString = """
-- plan_work: keep only the rows that will be written
DELETE FROM import_plan WHERE clashing <> '{}'
"""

# In these and in CREATE, DO NOTHING never skips a row that we can see. It is there for one that
# somebody else has just inserted: at SERIALIZABLE that is a failure to serialize, and the import
# starts again, instead of a duplicate key, which would end it.
ADD_USERS: LiteralString = """
-- add_users: owners, assignees and authors that are new here
INSERT INTO users (username)
SELECT DISTINCT ON (lower(person)) person
FROM (
    SELECT unnest(r.assignees || r.owner) AS person
    FROM import_plan p JOIN import_rows r ON r.line = p.line
    UNION
    SELECT s.author FROM import_said s JOIN import_plan p ON p.line = s.line WHERE s.added
) AS wanted
WHERE person IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.username) = lower(person))
ORDER BY lower(person), person
ON CONFLICT (lower(username)) DO NOTHING
"""

ADD_TAGS: LiteralString = """
-- add_tags: tags that are new here
SELECT make_tags(array_agg(label ORDER BY lower(label), label))
FROM (
    SELECT DISTINCT unnest(r.tags) AS label
    FROM import_plan p JOIN import_rows r ON r.line = p.line
) AS wanted
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
SELECT EXISTS (SELECT 1 FROM import_plan WHERE is_new AND file_id IS NOT NULL)
"""

MOVE_SEQUENCE: LiteralString = """
-- move_sequence: behind the highest id of the file
SELECT pass_ids(max(file_id)) FROM import_plan HAVING max(file_id) IS NOT NULL
"""

NUMBER: LiteralString = """
-- number_new_tasks: the file's id where it is free, else the next one, in the file's order
WITH place AS MATERIALIZED (
    SELECT pg_get_serial_sequence('tasks', 'id')::regclass AS sequence
)
UPDATE import_plan p SET task_id = numbered.id
FROM (
    SELECT line, CASE
        WHEN file_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = file_id)
        THEN file_id ELSE nextval(sequence) END AS id
    FROM (SELECT line, file_id FROM import_plan WHERE is_new ORDER BY line) AS new_rows, place
) AS numbered
WHERE p.line = numbered.line
"""

CREATE: LiteralString = """
-- create_tasks: with the times of the file
INSERT INTO tasks (id, uid, project_id, title, description, status, priority, due, owner_id,
                   external_ref, parent_id, version, created_at, updated_at, completed_at,
                   deleted_at, started_at, canceled_at, auto_close, recurrence, recurrence_zone,
                   previous_id, extra)
SELECT plan.task_id, coalesce(r.uid, gen_random_uuid()), p.id, r.title, r.description, r.status,
       r.priority, r.due, coalesce(o.id, %(actor_id)s), r.external_ref, parent.task_id,
       coalesce(r.version, 1), coalesce(r.created_at, r.updated_at, now()),
       coalesce(r.updated_at, r.created_at, now()), r.completed_at, r.deleted_at, r.started_at,
       r.canceled_at, r.auto_close, r.recurrence, r.recurrence_zone,
       -- A task has one successor: whoever is it here stays it.
       CASE WHEN NOT EXISTS (SELECT FROM tasks t WHERE t.previous_id = previous.task_id)
            THEN previous.task_id END,
       CASE WHEN %(own)s OR r.extra = '{}' THEN r.extra
            ELSE jsonb_build_object(%(format)s::text, r.extra) END
FROM import_plan plan
JOIN import_rows r ON r.line = plan.line
LEFT JOIN projects p ON p.key = r.project
LEFT JOIN users o ON lower(o.username) = lower(r.owner)
LEFT JOIN import_refs parent ON parent.ref = r.parent
LEFT JOIN import_refs previous ON previous.ref = r.previous
WHERE plan.is_new
ORDER BY r.line
ON CONFLICT (id) DO NOTHING
"""

UPDATE: LiteralString = """
-- update_imported: only the fields that changed in the file
UPDATE tasks t SET
    title = CASE WHEN 'title' = ANY(plan.changed) THEN r.title ELSE t.title END,
    description = CASE WHEN 'description' = ANY(plan.changed) THEN r.description
                       ELSE t.description END,
    status = CASE WHEN 'status' = ANY(plan.changed) THEN r.status ELSE t.status END,
    completed_at = CASE WHEN 'status' = ANY(plan.changed) AND r.status = 'completed'
                        THEN r.completed_at ELSE t.completed_at END,
    canceled_at = CASE WHEN 'status' = ANY(plan.changed) AND r.status = 'canceled'
                       THEN r.canceled_at ELSE t.canceled_at END,
    started_at = CASE WHEN 'status' = ANY(plan.changed)
                      THEN coalesce(r.started_at, t.started_at) ELSE t.started_at END,
    priority = CASE WHEN 'priority' = ANY(plan.changed) THEN r.priority ELSE t.priority END,
    due = CASE WHEN 'due' = ANY(plan.changed) THEN r.due ELSE t.due END,
    parent_id = CASE WHEN 'parent' = ANY(plan.changed) THEN parent.task_id ELSE t.parent_id END,
    auto_close = CASE WHEN 'auto_close' = ANY(plan.changed) THEN r.auto_close ELSE t.auto_close END,
    recurrence = CASE WHEN 'recurrence' = ANY(plan.changed) THEN r.recurrence ELSE t.recurrence END,
    recurrence_zone = CASE WHEN 'recurrence' = ANY(plan.changed) THEN r.recurrence_zone
                           ELSE t.recurrence_zone END,
    extra = CASE WHEN 'extra' <> ALL(plan.changed) THEN t.extra WHEN %(own)s THEN r.extra
                 WHEN r.extra = '{}' THEN t.extra - %(format)s::text
                 ELSE t.extra || jsonb_build_object(%(format)s::text, r.extra) END
FROM import_plan plan
JOIN import_rows r ON r.line = plan.line
LEFT JOIN import_refs parent ON parent.ref = r.parent
WHERE t.id = plan.task_id
  AND plan.changed
      && '{title,description,status,priority,due,parent,auto_close,recurrence,extra}'
"""

UNTAG: LiteralString = """
-- untag_tasks: what the file no longer says
DELETE FROM task_tags x USING import_plan p, import_told told, tags g
WHERE 'tags' = ANY(p.changed) AND told.line = p.line
  AND x.task_id = p.task_id AND g.id = x.tag_id
  AND NOT told.theirs -> 'tags' ? lower(g.name)
"""

TAG: LiteralString = """
-- tag_tasks: what the file says
SELECT put_tags(array_agg(p.task_id ORDER BY p.line), array_agg(wanted.label ORDER BY p.line))
FROM import_plan p
JOIN import_told told ON told.line = p.line
CROSS JOIN jsonb_array_elements_text(told.theirs -> 'tags') AS wanted(label)
WHERE p.changed && '{created,tags}'
"""

UNASSIGN: LiteralString = """
-- unassign_tasks: what the file no longer says
DELETE FROM assignments x USING import_plan p, import_told told, users u
WHERE 'assignees' = ANY(p.changed) AND told.line = p.line
  AND x.task_id = p.task_id AND u.id = x.user_id
  AND NOT told.theirs -> 'assignees' ? lower(u.username)
"""

ASSIGN: LiteralString = """
-- assign_tasks: what the file says
INSERT INTO assignments (task_id, user_id, assigned_by)
SELECT p.task_id, u.id, %(actor_id)s
FROM import_plan p
JOIN import_told told ON told.line = p.line
CROSS JOIN jsonb_array_elements_text(told.theirs -> 'assignees') AS wanted(person)
JOIN users u ON lower(u.username) = wanted.person
WHERE p.changed && '{created,assignees}'
ON CONFLICT DO NOTHING
"""

REMEMBER: LiteralString = """
-- remember_bases: what the file said this time, and for which project
INSERT INTO import_bases (task_id, format, project_id, ref, fields)
SELECT plan.task_id, %(format)s, p.id, plan.ref, saying
FROM import_plan plan
JOIN import_tasks m ON m.line = plan.line
JOIN import_told told ON told.line = plan.line
LEFT JOIN projects p ON plan.uid IS NULL AND p.key = plan.project
CROSS JOIN LATERAL (
    SELECT coalesce(m.base, '{}') || told.theirs || plan.lists AS saying
) AS said
WHERE m.base IS NULL OR m.base <> saying
ON CONFLICT (task_id, format) DO UPDATE
    SET project_id = excluded.project_id, ref = excluded.ref, fields = excluded.fields,
        imported_at = excluded.imported_at
"""


def refuse_repeated(repeated: Sequence[BadRow]) -> FileTold:
    """Raise `Usage` for rows that are about a task of an earlier one."""
    if repeated:
        raise Usage(repeated[0].reason, hint="Keep one of the two.")
    return FileTold()


@transaction(isolation=Isolation.SERIALIZABLE)
def run(
    tx: Transaction,
    rows: Iterable[ImportedTask],
    *,
    format_name: str,
    project: str | None,
    finish: Callable[[Sequence[BadRow]], FileTold] = refuse_repeated,
    dry_run: bool = False,
) -> ImportReport:
    """Create and update tasks from rows, all of them or none, and return what was done.

    `rows` are gone through once an attempt, and sent on as they come. Then `finish` is told which
    of them repeat others; it raises what is wrong with the file, or says what else was in it,
    which is passed on to the report. Rows without a project of their own go to `project`, which
    is created if it does not exist. With `dry_run` the report says what would be done.

    Raises `Refused` for an archived project, for dependencies that make a circle (but in foreign
    files that nobody here can mend, where they are left out), and for a project that would have
    too many in progress.
    """
    own = format_name == OWN
    given = {"actor_id": tx.actor_id, "format": format_name, "own": own, "project": project}
    import_rows.stage(tx, rows, project)
    repeated = import_rows.repeated(tx)
    told = finish(repeated)
    import_rows.leave_out(tx, repeated)
    absent = import_rows.refer_by_uid(tx) if own else ()
    if format_name in STRICT:
        import_rows.refuse_circles(tx)
    else:
        absent = import_rows.cut_circles(tx)
    import_comments.stage(tx)
    archived = tx.scalars(ARCHIVED)
    if archived:
        raise Refused(
            f"archived, takes no tasks: {', '.join(archived)}",
            hint=f"Open it again: concord project archive {archived[0]} --undo",
            projects=list(archived),
        )
    tx.execute(MATCH, given)
    tx.execute(ANALYZE_MATCH)
    unknown = import_links.plan(tx, given)
    import_comments.plan(tx)
    tx.execute(TELL)
    tx.execute(ANALYZE_TOLD)
    tx.execute(PLAN, given)
    tx.execute(ANALYZE_PLAN)
    counts = tx.row(COUNT, None, lambda *columns: columns)
    assert counts is not None
    created, updated, unchanged, conflicting = counts
    conflicts = tx.rows(CONFLICTS, None, _conflict)
    if not dry_run:
        _write(tx, given)
    return ImportReport(
        created,
        updated,
        unchanged,
        told.skipped,
        conflicting,
        conflicts,
        (*told.unlinked, *absent, *unknown),
        told.words,
    )


def _conflict(ref: str, task: int, fields: list[str]) -> ImportConflict:
    return ImportConflict(ref, task, tuple(fields))


def _write(tx: Transaction, given: Mapping[str, Any]) -> None:
    tx.execute(WORK)
    # Before any task is locked. Nobody else adds to the graph from here on, and nobody has since
    # all this was read.
    linking = import_links.enter(tx)
    tx.execute(ADD_USERS)
    tx.execute(ADD_TAGS)
    tx.execute(ADD_PROJECTS, given)
    if tx.scalar(HAS_IDS):
        tx.execute(LOCK_IDS)
        tx.execute(MOVE_SEQUENCE)
    tx.execute(NUMBER)
    tx.execute(import_links.NUMBER)
    tx.execute(CREATE, given)
    tx.execute(UPDATE, given)
    tx.execute(UNTAG)
    tx.execute(TAG)
    tx.execute(UNASSIGN)
    tx.execute(ASSIGN, given)
    import_links.write(tx)
    if linking:
        import_links.refuse_circles(tx)
    import_comments.write(tx, given)
    tx.execute(REMEMBER, given)
