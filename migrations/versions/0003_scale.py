"""Full text search, parts of titles by index, what foreign files said besides, and claims' ends.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

EXTRA = """
-- The name of a foreign format -> what it said that has no column here.
ALTER TABLE tasks ADD COLUMN extra jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT tasks_extra_object CHECK (jsonb_typeof(extra) = 'object');

-- Without a subquery it is a part of the statement that calls it, which joins what it needs.
CREATE FUNCTION task_document(task tasks, project text, owner text) RETURNS jsonb
LANGUAGE sql STABLE
RETURN jsonb_build_object(
    'project', project,
    'title', task.title,
    'description', task.description,
    'status', task.status,
    'priority', task.priority,
    'due', utc_text(task.due),
    'owner', owner,
    'external_ref', task.external_ref,
    'parent', task.parent_id,
    'auto_close', nullif(task.auto_close, false),
    'recurrence', task.recurrence,
    'recurrence_zone', task.recurrence_zone,
    'extra', nullif(task.extra, '{}'),
    'completed_at', utc_text(task.completed_at),
    'deleted_at', utc_text(task.deleted_at)
);

CREATE OR REPLACE FUNCTION task_fields(task tasks) RETURNS jsonb LANGUAGE sql STABLE
RETURN task_document(
    task,
    (SELECT key FROM projects WHERE id = task.project_id),
    (SELECT username FROM users WHERE id = task.owner_id)
);

-- Who acts is asked once, and not for each row.
CREATE OR REPLACE FUNCTION tasks_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO history (actor, operation, entity, entity_id, task_id, version, old, new)
        SELECT (SELECT current_actor()), (SELECT current_operation()),
               'task', n.id, n.id, n.version, '{}',
               jsonb_strip_nulls(task_document(ROW(n.*)::tasks, projects.key, users.username))
        FROM new_rows AS n
        LEFT JOIN users ON users.id = n.owner_id
        LEFT JOIN projects ON projects.id = n.project_id
        ORDER BY n.id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO history (entity, entity_id, task_id, version, old, new)
        SELECT 'task', o.id, o.id, o.version,
               jsonb_strip_nulls(task_fields(ROW(o.*)::tasks)), '{}'
        FROM old_rows AS o ORDER BY o.id;
    ELSE
        INSERT INTO history (entity, entity_id, task_id, version, old, new)
        SELECT 'task', n.id, n.id, n.version, changes.old, changes.new
        FROM new_rows AS n
        JOIN old_rows AS o ON o.id = n.id
        CROSS JOIN LATERAL changes_between(
            task_fields(ROW(o.*)::tasks), task_fields(ROW(n.*)::tasks)
        ) AS changes
        ORDER BY n.id;
    END IF;
    RETURN NULL;
END $$;
"""

# A table of its own: in `tasks`, every change of a status would make the document and its index
# entries anew. A tsvector holds no more than 1 MB, so that only the beginnings of long texts can
# be found; of comments, the newest.
SEARCH = """
CREATE TABLE task_texts (
    task_id bigint CONSTRAINT task_texts_pkey PRIMARY KEY
        CONSTRAINT task_texts_task_id_fkey REFERENCES tasks (id) ON DELETE CASCADE,
    document tsvector NOT NULL
);
CREATE INDEX task_texts_document_idx ON task_texts USING gin (document);

CREATE FUNCTION text_document(title text, description text, comments text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('pg_catalog.english', title), 'A')
    || setweight(to_tsvector('pg_catalog.english', left(coalesce(description, ''), 50000)), 'B')
    || setweight(to_tsvector('pg_catalog.english', left(coalesce(comments, ''), 50000)), 'C');

CREATE FUNCTION task_comments(task bigint) RETURNS text LANGUAGE sql STABLE
RETURN (
    SELECT string_agg(body, E'\\n' ORDER BY id DESC)
    FROM (SELECT id, left(body, 50000) AS body FROM comments
          WHERE task_id = task ORDER BY id DESC LIMIT 500) AS latest
);

CREATE FUNCTION tasks_index_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO task_texts (task_id, document)
    SELECT id, text_document(title, description, NULL) FROM new_rows ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_indexed AFTER INSERT ON tasks
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tasks_index_new();

-- The row is locked by a statement of its own: the next one then sees the comments that others
-- have committed before they let go of it. With an older snapshot, the lock fails instead.
CREATE FUNCTION index_task(task bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM task_texts WHERE task_id = task FOR UPDATE;
    UPDATE task_texts x SET document = text_document(t.title, t.description, task_comments(t.id))
    FROM tasks t WHERE t.id = task AND x.task_id = t.id;
END $$;

CREATE FUNCTION tasks_index_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM index_task(NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER tasks_texts_changed AFTER UPDATE OF title, description ON tasks
    FOR EACH ROW WHEN (
        OLD.title <> NEW.title OR OLD.description IS DISTINCT FROM NEW.description
    )
    EXECUTE FUNCTION tasks_index_again();

-- In the order of tasks, so that two of these queue up behind each other.
CREATE FUNCTION comments_index() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM index_task(task_id) FROM (
        SELECT DISTINCT task_id FROM changed_rows ORDER BY task_id
    ) AS tasks_told_of;
    RETURN NULL;
END $$;
CREATE TRIGGER comments_indexed AFTER INSERT ON comments
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION comments_index();
CREATE TRIGGER comments_indexed_again AFTER UPDATE ON comments
    REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION comments_index();
CREATE TRIGGER comments_unindexed AFTER DELETE ON comments
    REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION comments_index();

INSERT INTO task_texts (task_id, document)
SELECT id, text_document(title, description, task_comments(id)) FROM tasks ORDER BY id;
"""

# An administrator may have to create the extension, now or later: `concord init` tries again. A
# scratch schema, which comes and goes, only uses what is there.
TRIGRAMS = """
CREATE FUNCTION add_trigrams() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    place text;
BEGIN
    IF to_regclass('tasks_title_trigrams_idx') IS NOT NULL THEN
        RETURN true;
    END IF;
    IF current_schema() NOT LIKE 'concord\\_scratch\\_%' THEN
        BEGIN
            CREATE EXTENSION IF NOT EXISTS pg_trgm;
        EXCEPTION
            WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
                NULL;
        END;
    END IF;
    SELECT quote_ident(n.nspname) INTO place
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_trgm';
    IF place IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS tasks_title_trigrams_idx'
        ' ON tasks USING gin (title %s.gin_trgm_ops)', place
    );
    RETURN true;
END $$;
SELECT add_trigrams();
"""

# What a claim alone had assigned goes with it when the task is to do again, whoever says so.
CLAIMS = """
CREATE OR REPLACE FUNCTION end_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'todo' THEN
        DELETE FROM assignments x USING claims c
        WHERE c.task_id = NEW.id AND c.assigned
          AND x.task_id = c.task_id AND x.user_id = c.user_id;
    END IF;
    UPDATE claims SET user_id = NULL, claimed_at = NULL, expires_at = NULL, assigned = false
    WHERE task_id = NEW.id AND user_id IS NOT NULL;
    RETURN NULL;
END $$;
"""

# What is open, in the orders that it is asked for in. After years it is a small part of what there
# is, and the last.
OPEN = """
CREATE INDEX tasks_open_idx ON tasks (id)
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
CREATE INDEX tasks_open_due_idx ON tasks (coalesce(due, 'infinity'::timestamptz), id)
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
CREATE INDEX tasks_open_priority_idx ON tasks (priority, id)
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
CREATE INDEX tasks_open_created_idx ON tasks (created_at, id)
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
CREATE INDEX tasks_open_updated_idx ON tasks (updated_at, id)
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
CREATE INDEX tasks_working_idx
    ON tasks (priority, coalesce(due, 'infinity'::timestamptz), created_at, id)
    WHERE status = 'in_progress' AND deleted_at IS NULL;
-- How frequent a part of a title is, the planner estimates by a sample of titles.
ALTER TABLE tasks ALTER COLUMN title SET STATISTICS 400;
-- A page of a large project is read in order, and not sorted.
CREATE INDEX tasks_project_id_id_idx ON tasks (project_id, id);
"""

# Of an import, a statement tags, assigns and links thousands of tasks: their lists are made all at
# once, and who acts is asked once.
LISTS = """
CREATE OR REPLACE FUNCTION record_list(field text, changed jsonb, added boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET version = tasks.version + 1
    WHERE tasks.id IN (SELECT (jsonb_object_keys(changed))::bigint)
      AND tasks.xmin <> pg_current_xact_id()::xid;

    INSERT INTO history (actor, operation, entity, entity_id, task_id, version, old, new)
    WITH difference AS MATERIALIZED (
        SELECT key::bigint AS task_id, value AS names FROM jsonb_each(changed)
    ), everything AS (
        SELECT task_id, jsonb_array_elements_text(names) AS name, true AS differs FROM difference
        UNION ALL
        SELECT x.task_id, tags.name, false FROM task_tags x JOIN tags ON tags.id = x.tag_id
        WHERE field = 'tags' AND x.task_id IN (SELECT task_id FROM difference)
        UNION ALL
        SELECT x.task_id, users.username, false
        FROM assignments x JOIN users ON users.id = x.user_id
        WHERE field = 'assignees' AND x.task_id IN (SELECT task_id FROM difference)
    ), named AS (
        SELECT task_id, name, bool_or(differs) AS differs FROM everything GROUP BY task_id, name
    ), lists AS (
        SELECT task_id, jsonb_agg(name ORDER BY name) AS long_list,
               coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE NOT differs), '[]')
                   AS short_list
        FROM named GROUP BY task_id
    )
    SELECT (SELECT current_actor()), (SELECT current_operation()),
           'task', lists.task_id, lists.task_id, tasks.version,
           jsonb_build_object(field, CASE WHEN added THEN short_list ELSE long_list END),
           jsonb_build_object(field, CASE WHEN added THEN long_list ELSE short_list END)
    FROM lists LEFT JOIN tasks ON tasks.id = lists.task_id
    ORDER BY lists.task_id;
END $$;

CREATE OR REPLACE FUNCTION links_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET version = tasks.version + 1
    WHERE tasks.id IN (SELECT blocked_id FROM changed_rows)
      AND tasks.xmin <> pg_current_xact_id()::xid;

    INSERT INTO history (actor, operation, entity, entity_id, task_id, version, old, new)
    WITH everything AS (
        SELECT blocked_id, blocker_id, true AS differs FROM changed_rows
        UNION ALL
        SELECT x.blocked_id, x.blocker_id, false
        FROM links x WHERE x.blocked_id IN (SELECT blocked_id FROM changed_rows)
    ), each_link AS (
        SELECT blocked_id, blocker_id, bool_or(differs) AS differs
        FROM everything GROUP BY blocked_id, blocker_id
    ), lists AS (
        SELECT blocked_id, jsonb_agg(blocker_id ORDER BY blocker_id) AS long_list,
               coalesce(jsonb_agg(blocker_id ORDER BY blocker_id) FILTER (WHERE NOT differs), '[]')
                   AS short_list
        FROM each_link GROUP BY blocked_id
    )
    SELECT (SELECT current_actor()), (SELECT current_operation()),
           'task', lists.blocked_id, lists.blocked_id, tasks.version,
           jsonb_build_object(
               'blocked_by', CASE WHEN TG_OP = 'INSERT' THEN short_list ELSE long_list END),
           jsonb_build_object(
               'blocked_by', CASE WHEN TG_OP = 'INSERT' THEN long_list ELSE short_list END)
    FROM lists LEFT JOIN tasks ON tasks.id = lists.blocked_id
    ORDER BY lists.blocked_id;
    RETURN NULL;
END $$;
"""

REMOVAL = """
ALTER TABLE tasks ALTER COLUMN title SET STATISTICS -1;
DROP INDEX tasks_open_idx, tasks_open_due_idx, tasks_open_priority_idx, tasks_open_created_idx,
    tasks_open_updated_idx, tasks_working_idx, tasks_project_id_id_idx;
DROP TRIGGER tasks_indexed ON tasks;
DROP TRIGGER tasks_texts_changed ON tasks;
DROP TRIGGER comments_indexed ON comments;
DROP TRIGGER comments_indexed_again ON comments;
DROP TRIGGER comments_unindexed ON comments;
DROP TABLE task_texts;
DROP INDEX IF EXISTS tasks_title_trigrams_idx;
DROP FUNCTION tasks_index_new(), tasks_index_again(), comments_index(), index_task(bigint),
    task_comments(bigint), text_document(text, text, text), add_trigrams();
"""

FORMER = """
CREATE OR REPLACE FUNCTION links_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET version = tasks.version + 1
    WHERE tasks.id IN (SELECT blocked_id FROM changed_rows)
      AND tasks.xmin <> pg_current_xact_id()::xid;

    INSERT INTO history (entity, entity_id, task_id, version, old, new)
    SELECT 'task', change.blocked_id, change.blocked_id, tasks.version,
           jsonb_build_object(
               'blocked_by', CASE WHEN TG_OP = 'INSERT' THEN short_list ELSE long_list END),
           jsonb_build_object(
               'blocked_by', CASE WHEN TG_OP = 'INSERT' THEN long_list ELSE short_list END)
    FROM (
        SELECT blocked_id, array_agg(blocker_id) AS difference
        FROM changed_rows GROUP BY blocked_id
    ) AS change
    LEFT JOIN tasks ON tasks.id = change.blocked_id
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(id ORDER BY id) FILTER (WHERE id <> ALL (difference)), '[]')
                   AS short_list,
               coalesce(jsonb_agg(id ORDER BY id), '[]') AS long_list
        FROM (
            SELECT unnest(difference) AS id
            UNION
            SELECT blocker_id FROM links WHERE links.blocked_id = change.blocked_id
        ) AS everything
    ) AS lists;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION record_list(field text, changed jsonb, added boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET version = tasks.version + 1
    WHERE tasks.id IN (SELECT (jsonb_object_keys(changed))::bigint)
      AND tasks.xmin <> pg_current_xact_id()::xid;

    INSERT INTO history (entity, entity_id, task_id, version, old, new)
    SELECT 'task', task_id, task_id, tasks.version,
           jsonb_build_object(field, CASE WHEN added THEN short_list ELSE long_list END),
           jsonb_build_object(field, CASE WHEN added THEN long_list ELSE short_list END)
    FROM (
        SELECT key::bigint AS task_id, value AS difference FROM jsonb_each(changed)
    ) AS change
    LEFT JOIN tasks ON tasks.id = task_id
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(name ORDER BY name) FILTER (WHERE NOT difference ? name), '[]')
                   AS short_list,
               coalesce(jsonb_agg(name ORDER BY name), '[]') AS long_list
        FROM (
            SELECT jsonb_array_elements_text(difference) AS name
            UNION
            SELECT tags.name FROM task_tags JOIN tags ON tags.id = tag_id
            WHERE field = 'tags' AND task_tags.task_id = change.task_id
            UNION
            SELECT username FROM assignments JOIN users ON users.id = user_id
            WHERE field = 'assignees' AND assignments.task_id = change.task_id
        ) AS everything
    ) AS lists;
END $$;

CREATE OR REPLACE FUNCTION end_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE claims SET user_id = NULL, claimed_at = NULL, expires_at = NULL, assigned = false
    WHERE task_id = NEW.id AND user_id IS NOT NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION task_fields(task tasks) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object(
    'project', (SELECT key FROM projects WHERE id = task.project_id),
    'title', task.title,
    'description', task.description,
    'status', task.status,
    'priority', task.priority,
    'due', utc_text(task.due),
    'owner', (SELECT username FROM users WHERE id = task.owner_id),
    'external_ref', task.external_ref,
    'parent', task.parent_id,
    'auto_close', nullif(task.auto_close, false),
    'recurrence', task.recurrence,
    'recurrence_zone', task.recurrence_zone,
    'completed_at', utc_text(task.completed_at),
    'deleted_at', utc_text(task.deleted_at)
);

CREATE OR REPLACE FUNCTION tasks_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO history (entity, entity_id, task_id, version, old, new)
        SELECT 'task', n.id, n.id, n.version,
               '{}', jsonb_strip_nulls(task_fields(ROW(n.*)::tasks))
        FROM new_rows AS n ORDER BY n.id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO history (entity, entity_id, task_id, version, old, new)
        SELECT 'task', o.id, o.id, o.version,
               jsonb_strip_nulls(task_fields(ROW(o.*)::tasks)), '{}'
        FROM old_rows AS o ORDER BY o.id;
    ELSE
        INSERT INTO history (entity, entity_id, task_id, version, old, new)
        SELECT 'task', n.id, n.id, n.version, changes.old, changes.new
        FROM new_rows AS n
        JOIN old_rows AS o ON o.id = n.id
        CROSS JOIN LATERAL changes_between(
            task_fields(ROW(o.*)::tasks), task_fields(ROW(n.*)::tasks)
        ) AS changes
        ORDER BY n.id;
    END IF;
    RETURN NULL;
END $$;

DROP FUNCTION task_document(tasks, text, text);
ALTER TABLE tasks DROP COLUMN extra;
"""


def upgrade() -> None:
    run(EXTRA, SEARCH, TRIGRAMS, CLAIMS, OPEN, LISTS)


def downgrade() -> None:
    run(REMOVAL, FORMER)


def run(*scripts: str) -> None:
    # Without parameters the driver leaves `%` alone and takes several statements at once.
    connection = op.get_bind().execution_options(no_parameters=True)
    for script in scripts:
        connection.exec_driver_sql(script)
