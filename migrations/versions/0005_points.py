"""Policies that cost a command little: a row asks for its own project, not for all there are.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# In which projects the actor was given one of these roles. A shared project speaks for itself: this
# is asked of private ones only, and for who is a mere viewer.
ROLES = """
DROP INDEX project_members_user_id_idx;
CREATE INDEX project_members_user_id_idx ON project_members (user_id, role, project_id);

CREATE FUNCTION projects_as(VARIADIC roles project_role[]) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT project_id FROM project_members
    WHERE user_id = (SELECT current_actor_id()) AND role = ANY (roles);
END;

CREATE OR REPLACE FUNCTION readable_projects() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT id FROM projects
    WHERE visibility = 'shared' AND (SELECT current_actor_id()) IS NOT NULL
        OR id IN (SELECT projects_as('viewer', 'member', 'owner'));
END;
"""

# To read goes by a set of projects: many rows may be asked about, by parallel workers too. It is
# told in FROM, where a function hands it on as a whole instead of one by one. To write goes project
# by project: few rows are, and a set costs as much as there are projects, in each table again.
READABLE = "(SELECT id FROM readable_projects() AS readable (id))"
WORKED = """(p.visibility = 'shared' AND p.id NOT IN (SELECT projects_as('viewer'))
        OR p.id IN (SELECT projects_as('member', 'owner')))"""

CHANGED = """(t.owner_id = (SELECT current_actor_id())
    OR (SELECT true FROM projects p WHERE p.id = t.project_id AND {worked})
    OR t.id IN (SELECT assigned_tasks()))"""

POLICIES = """
-- A new project is told to who made it before they are its member.
ALTER POLICY projects_seen ON projects
    USING (visibility = 'shared' AND (SELECT current_actor_id()) IS NOT NULL
        OR owner_id = (SELECT current_actor_id())
        OR id IN (SELECT projects_as('viewer', 'member', 'owner')));
ALTER POLICY project_members_seen ON project_members
    USING (project_id IN {readable});

ALTER POLICY tasks_seen ON tasks
    USING (owner_id = (SELECT current_actor_id())
        OR project_id IN {readable} OR id IN (SELECT assigned_tasks()));
ALTER POLICY tasks_added ON tasks
    WITH CHECK (project_id IS NULL AND owner_id = (SELECT current_actor_id())
        OR (SELECT true FROM projects p WHERE p.id = project_id AND {worked}));
ALTER POLICY tasks_changed ON tasks
    USING (owner_id = (SELECT current_actor_id())
        OR (SELECT true FROM projects p WHERE p.id = project_id AND {worked})
        OR id IN (SELECT assigned_tasks()));
ALTER POLICY tasks_removed ON tasks
    USING (owner_id = (SELECT current_actor_id())
        OR (SELECT true FROM projects p WHERE p.id = project_id AND {worked}));

ALTER POLICY links_added ON links
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = blocked_id AND {changed})
        AND (SELECT true FROM tasks t WHERE t.id = blocker_id));
ALTER POLICY links_removed ON links
    USING (EXISTS (SELECT FROM tasks t WHERE t.id IN (blocked_id, blocker_id) AND {changed}));

ALTER POLICY comments_added ON comments
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (author_id = (SELECT current_actor_id()) OR external_ref IS NOT NULL));
ALTER POLICY comments_changed ON comments
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (author_id = (SELECT current_actor_id()) OR external_ref IS NOT NULL));
ALTER POLICY comments_removed ON comments
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}
            AND (author_id = (SELECT current_actor_id()) OR comments.external_ref IS NOT NULL
                 OR t.project_id IN (SELECT owned_projects()))));

ALTER POLICY history_seen ON history
    USING (lower(actor) = lower((SELECT current_actor()))
        OR (SELECT true FROM tasks t WHERE t.id = task_id)
        OR entity IN ('project', 'member') AND entity_id IN {readable}
        OR entity = 'user' AND (SELECT current_actor_id()) IS NOT NULL
        OR entity = 'tag' AND (SELECT true FROM tags g WHERE g.id = entity_id));
"""

OF_TASKS = ("task_tags", "assignments", "claims", "import_bases")

OF_TASK = """
ALTER POLICY {table}_added ON {table}
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}));
ALTER POLICY {table}_changed ON {table}
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}));
ALTER POLICY {table}_removed ON {table}
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}));
"""

# By its number alone, a tag would tell its name; a key across tasks, which references there are.
FURTHER = """
ALTER POLICY task_tags_added ON task_tags
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND sees_tag(tag_id));
ALTER POLICY import_bases_added ON import_bases
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (project_id IS NULL OR (SELECT true FROM projects p WHERE p.id = project_id)));
ALTER POLICY import_bases_changed ON import_bases
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (project_id IS NULL OR (SELECT true FROM projects p WHERE p.id = project_id)));
"""

# What goes into no project is held by the policies alone.
MOVES = """
CREATE OR REPLACE FUNCTION keep_to_own_projects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.project_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM projects p WHERE p.id = NEW.project_id AND {worked})
        AND NOT pg_has_role(
            current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER'
        )
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'new row violates row-level security policy for table "tasks"',
            TABLE = 'tasks';
    END IF;
    RETURN NEW;
END $$;
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION keep_to_own_projects() SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END $$;
"""

# Whether a task is seen is asked of a million rows that hang on it as well: with what that takes in
# the primary key, an index alone answers. The same for what is open, which is looked through for
# what waits, and for the inbox, which holds other people's tasks too.
KEYS = """
DO $$
DECLARE
    again text[] := ARRAY(
        SELECT format(
            'ALTER TABLE %s ADD CONSTRAINT %I %s',
            conrelid::regclass, conname, pg_get_constraintdef(oid)
        )
        FROM pg_constraint WHERE contype = 'f' AND confrelid = 'tasks'::regclass ORDER BY oid
    );
    reference text;
BEGIN
    ALTER TABLE tasks DROP CONSTRAINT tasks_pkey CASCADE;
    ALTER TABLE tasks ADD CONSTRAINT tasks_pkey PRIMARY KEY (id) {in_key};
    FOREACH reference IN ARRAY again LOOP
        EXECUTE reference;
    END LOOP;
END $$;

DROP INDEX tasks_open_idx;
CREATE INDEX tasks_open_idx ON tasks (id) {in_open}
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
"""

IN_KEY = "INCLUDE (owner_id, project_id, deleted_at)"
IN_OPEN = "INCLUDE (owner_id, project_id, parent_id, status)"

INBOX = """
CREATE INDEX tasks_inbox_idx ON tasks (id) INCLUDE (owner_id, project_id)
    WHERE project_id IS NULL AND deleted_at IS NULL;
"""

# What is asked of very many rows at once: tables are joined before each row is asked whether it is
# seen. These look at them as their owner, who sees all of it, and say themselves what is seen.
COUNTED = """
CREATE FUNCTION sees_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_has_role(
    current_user, (SELECT relowner FROM pg_class WHERE oid = 'tasks'::regclass), 'USAGE'
);

-- Only between tasks that are open.
CREATE VIEW open_links WITH (security_barrier) AS
SELECT l.blocked_id, l.blocker_id
FROM links l JOIN tasks t ON t.id = l.blocked_id JOIN tasks b ON b.id = l.blocker_id
WHERE t.status IN ('todo', 'in_progress') AND t.deleted_at IS NULL
  AND b.status IN ('todo', 'in_progress') AND b.deleted_at IS NULL
  AND ((SELECT sees_all()) OR {seen}) AND ((SELECT sees_all()) OR {blocker_seen});

CREATE VIEW tasks_by_assignee WITH (security_barrier) AS
SELECT {columns}, x.user_id
FROM tasks t LEFT JOIN assignments x ON x.task_id = t.id
WHERE (SELECT sees_all()) OR {seen};

CREATE VIEW tasks_by_tag WITH (security_barrier) AS
SELECT {columns}, x.tag_id
FROM tasks t LEFT JOIN task_tags x ON x.task_id = t.id
WHERE (SELECT sees_all()) OR {seen};

DROP FUNCTION tag_counts();
"""

COLUMNS = """t.id, t.project_id, t.owner_id, t.parent_id, t.title, t.status, t.priority, t.due,
    t.external_ref, t.recurrence, t.created_at, t.updated_at, t.started_at, t.completed_at,
    t.canceled_at, t.deleted_at"""

SEEN = """t.owner_id = (SELECT current_actor_id())
    OR t.project_id IN {readable} OR t.id IN (SELECT assigned_tasks())"""
BLOCKER_SEEN = SEEN.replace("t.", "b.")

ADMITTANCE = """
CREATE OR REPLACE FUNCTION admit_people() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_schema() LIKE 'concord\\_scratch\\_%' THEN
        RETURN false;
    END IF;
    BEGIN
        IF to_regrole('concord_user') IS NULL THEN
            CREATE ROLE concord_user NOLOGIN;
        END IF;
        IF to_regrole('concord_service') IS NULL THEN
            CREATE ROLE concord_service NOLOGIN IN ROLE concord_user;
        END IF;
        IF NOT pg_has_role(current_user, 'concord_service', 'MEMBER') THEN
            EXECUTE format('GRANT concord_service TO %I', current_user);
        END IF;
    EXCEPTION
        WHEN insufficient_privilege THEN
            RETURN false;
        WHEN duplicate_object OR unique_violation THEN
            NULL;
    END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO concord_user', current_schema());
    EXECUTE format(
        'GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO concord_user', current_schema()
    );
    -- Where operators are found for words that are alike, if that is no schema for all.
    EXECUTE coalesce((
        SELECT format('GRANT USAGE ON SCHEMA %I TO concord_user', n.nspname)
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm' AND n.nspname <> 'public' AND pg_has_role(n.nspowner, 'USAGE')
    ), 'SELECT');
    GRANT SELECT ON alembic_version, history, task_texts{views} TO concord_user;
    GRANT SELECT, INSERT, UPDATE, DELETE ON
        users, projects, project_members, tasks, tags, task_tags, assignments, links, claims,
        comments, import_bases, views
    TO concord_user;
    RETURN true;
END $$;
"""

VIEWS = ", open_links, tasks_by_assignee, tasks_by_tag"

ADMITTED = "SELECT admit_people();"

FORMER_WORKED = "(p.id IN (SELECT writable_projects()))"

FORMER_CHANGED = """(t.owner_id = (SELECT current_actor_id())
    OR t.project_id IN (SELECT writable_projects())
    OR t.id IN (SELECT assigned_tasks()))"""

FORMER = """
DROP VIEW open_links, tasks_by_assignee, tasks_by_tag;
DROP FUNCTION sees_all();
CREATE FUNCTION tag_counts() RETURNS TABLE (tag_id bigint, tasks bigint)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
BEGIN ATOMIC
    SELECT x.tag_id, count(*) FROM task_tags x JOIN tasks t ON t.id = x.task_id
    WHERE t.deleted_at IS NULL AND (t.owner_id = (SELECT current_actor_id())
        OR t.project_id IN (SELECT readable_projects()) OR t.id IN (SELECT assigned_tasks()))
    GROUP BY x.tag_id;
END;
DROP INDEX tasks_inbox_idx;
DROP INDEX project_members_user_id_idx;
CREATE INDEX project_members_user_id_idx ON project_members (user_id);

ALTER POLICY projects_seen ON projects
    USING (owner_id = (SELECT current_actor_id()) OR id IN (SELECT readable_projects()));
ALTER POLICY project_members_seen ON project_members
    USING (project_id IN (SELECT readable_projects()));
ALTER POLICY tasks_seen ON tasks
    USING (owner_id = (SELECT current_actor_id())
        OR project_id IN (SELECT readable_projects()) OR id IN (SELECT assigned_tasks()));
CREATE OR REPLACE FUNCTION readable_projects() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT p.id FROM projects p
    LEFT JOIN project_members m
        ON m.project_id = p.id AND m.user_id = (SELECT current_actor_id())
    WHERE m.user_id IS NOT NULL
        OR p.visibility = 'shared' AND (SELECT current_actor_id()) IS NOT NULL;
END;
DROP FUNCTION projects_as(project_role[]);
"""


def upgrade() -> None:
    run(ROLES, POLICIES, *of_tasks(), FURTHER, MOVES, COUNTED, INBOX)
    run(KEYS.replace("{in_key}", IN_KEY).replace("{in_open}", IN_OPEN))
    run(ADMITTANCE.replace("{views}", VIEWS), ADMITTED)


def downgrade() -> None:
    """Return to what asked for sets of projects; each policy means the same as before."""
    run(POLICIES, *of_tasks(), FURTHER, MOVES, worked=FORMER_WORKED, changed=FORMER_CHANGED)
    run(FORMER, KEYS.replace("{in_key}", "").replace("{in_open}", ""))
    run(ADMITTANCE.replace("{views}", ""))


def of_tasks() -> list[str]:
    return [OF_TASK.replace("{table}", table) for table in OF_TASKS]


def run(*scripts: str, worked: str = WORKED, changed: str = CHANGED) -> None:
    # Without parameters the driver leaves `%` alone and takes several statements at once.
    connection = op.get_bind().execution_options(no_parameters=True)
    for script in scripts:
        made = script.replace("{columns}", COLUMNS).replace("{seen}", SEEN)
        made = made.replace("{blocker_seen}", BLOCKER_SEEN).replace("{readable}", READABLE)
        connection.exec_driver_sql(made.replace("{changed}", changed).replace("{worked}", worked))
