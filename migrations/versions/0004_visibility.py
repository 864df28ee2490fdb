"""Who sees and changes what: members of projects, and row-level security on every table.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Roles belong to the whole server, so they may be there already: made by another database of it,
# by an administrator beforehand, or at this moment by somebody else. Who may not make them works
# as the owner of the tables alone, and keeps nobody apart; `concord init` tries again. A scratch
# schema is for whoever makes it.
ADMITTANCE = """
CREATE FUNCTION admit_people() RETURNS boolean LANGUAGE plpgsql AS $$
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
    GRANT SELECT ON alembic_version, history, task_texts TO concord_user;
    GRANT SELECT, INSERT, UPDATE, DELETE ON
        users, projects, project_members, tasks, tags, task_tags, assignments, links, claims,
        comments, import_bases, views
    TO concord_user;
    RETURN true;
END $$;
SELECT admit_people();
"""

MEMBERS = """
CREATE TYPE project_role AS ENUM ('viewer', 'member', 'owner');

CREATE TABLE project_members (
    project_id bigint NOT NULL
        CONSTRAINT project_members_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    user_id bigint NOT NULL
        CONSTRAINT project_members_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    role project_role NOT NULL DEFAULT 'member',
    added_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT project_members_pkey PRIMARY KEY (project_id, user_id)
);
CREATE INDEX project_members_user_id_idx ON project_members (user_id);

INSERT INTO project_members (project_id, user_id, role)
SELECT id, owner_id, 'owner' FROM projects ORDER BY id;

-- Whose name a project bears is always among its owners.
CREATE FUNCTION enter_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO project_members (project_id, user_id, role)
    VALUES (NEW.id, NEW.owner_id, 'owner')
    ON CONFLICT (project_id, user_id) DO UPDATE SET role = 'owner'
    WHERE project_members.role <> 'owner';
    RETURN NULL;
END $$;
CREATE TRIGGER projects_enter_owner AFTER INSERT OR UPDATE OF owner_id ON projects
    FOR EACH ROW EXECUTE FUNCTION enter_owner();

-- The lock waits for whoever is just giving the project to this member. A project that goes takes
-- its members along, the owner too.
CREATE FUNCTION keep_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.role = 'owner'
        AND (NEW.project_id, NEW.user_id) = (OLD.project_id, OLD.user_id)
    THEN
        RETURN NEW;
    END IF;
    PERFORM FROM projects WHERE id = OLD.project_id AND owner_id = OLD.user_id FOR SHARE;
    IF FOUND THEN
        RAISE EXCEPTION 'a project keeps its owner' USING
            ERRCODE = 'check_violation', CONSTRAINT = 'project_members_owner',
            TABLE = 'project_members';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER project_members_keep_owner BEFORE UPDATE OR DELETE ON project_members
    FOR EACH ROW EXECUTE FUNCTION keep_owner();

-- While their name can still be told. Whose name a project bears cannot go at all.
CREATE FUNCTION leave_projects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM project_members m
    WHERE user_id = OLD.id
      AND NOT EXISTS (SELECT FROM projects p WHERE p.id = m.project_id AND p.owner_id = OLD.id);
    RETURN OLD;
END $$;
CREATE TRIGGER users_leave_projects BEFORE DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION leave_projects();

CREATE FUNCTION project_members_record() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    project bigint := coalesce(NEW.project_id, OLD.project_id);
BEGIN
    INSERT INTO history (entity, entity_id, version, old, new)
    SELECT 'member', project, p.version,
           CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE jsonb_build_object(
               'member', (SELECT username FROM users WHERE id = OLD.user_id), 'role', OLD.role) END,
           CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE jsonb_build_object(
               'member', (SELECT username FROM users WHERE id = NEW.user_id), 'role', NEW.role) END
    -- Who owns a project is told of the project itself.
    FROM projects p WHERE p.id = project AND (TG_OP <> 'INSERT' OR NEW.user_id <> p.owner_id);
    RETURN NULL;
END $$;
CREATE TRIGGER project_members_record AFTER INSERT OR UPDATE OR DELETE ON project_members
    FOR EACH ROW EXECUTE FUNCTION project_members_record();
"""

# A tag's name tells something of the tasks that carry it. One that `tag add` made is everybody's.
TAGS = """
ALTER TABLE tags ADD COLUMN made_by bigint
    CONSTRAINT tags_made_by_fkey REFERENCES users (id) ON DELETE SET NULL;
CREATE INDEX tags_made_by_idx ON tags (made_by);

CREATE OR REPLACE FUNCTION entity_fields(entity jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN entity - ARRAY['id', 'version', 'created_at', 'updated_at', 'owner_id', 'made_by']
    || CASE WHEN entity ? 'owner_id' THEN jsonb_build_object(
        'owner', (SELECT username FROM users WHERE id = (entity -> 'owner_id')::bigint),
        'archived_at', utc_text((entity ->> 'archived_at')::timestamptz)
    ) ELSE '{}' END;
"""

# What policies ask. Each answer holds for a whole statement, so it is asked for once, as a
# subquery. They run as the owner of the tables, whom policies let pass, or they would ask
# themselves. The planner adds what they cost to each row that is looked up in what they tell,
# though they are run once: they say that they cost little.
IDENTITY = """
-- Only a service, or the owner of the tables, may say for whom it works. Anybody else is who the
-- server knows by the login.
CREATE FUNCTION may_name_actor() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(pg_has_role(session_user, to_regrole('concord_service'), 'MEMBER'), false)
    OR pg_has_role(
        session_user, (SELECT relowner FROM pg_class WHERE oid = 'users'::regclass), 'MEMBER'
    );

CREATE OR REPLACE FUNCTION current_actor() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN may_name_actor()
    -- The type of names of the server would cut others short.
    THEN coalesce(nullif(current_setting('concord.actor', true), ''), session_user::text)
    ELSE session_user::text END;

CREATE FUNCTION current_actor_id() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1
RETURN (SELECT id FROM users WHERE lower(username) = lower(current_actor()));

ALTER TABLE tags ALTER COLUMN made_by SET DEFAULT current_actor_id();

-- Whether a transaction wrote something, which the server tells of any that has committed; and
-- whether all of it was before a moment.
CREATE FUNCTION history_knows(wanted xid8, before timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
RETURN (SELECT bool_or(at <= before) FROM history WHERE xid = wanted);

CREATE FUNCTION has_users() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
RETURN EXISTS (SELECT FROM users);

-- A role that was given in a project counts; without one, everybody is a member of a shared one.
CREATE FUNCTION readable_projects() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT p.id FROM projects p
    LEFT JOIN project_members m
        ON m.project_id = p.id AND m.user_id = (SELECT current_actor_id())
    WHERE m.user_id IS NOT NULL
        OR p.visibility = 'shared' AND (SELECT current_actor_id()) IS NOT NULL;
END;

CREATE FUNCTION writable_projects() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT p.id FROM projects p
    LEFT JOIN project_members m
        ON m.project_id = p.id AND m.user_id = (SELECT current_actor_id())
    WHERE m.role IN ('member', 'owner')
        OR m.role IS NULL AND p.visibility = 'shared'
            AND (SELECT current_actor_id()) IS NOT NULL;
END;

CREATE FUNCTION owned_projects() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT m.project_id FROM project_members m
    WHERE m.user_id = (SELECT current_actor_id()) AND m.role = 'owner';
END;

CREATE FUNCTION assigned_tasks() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 ROWS 10
BEGIN ATOMIC
    SELECT task_id FROM assignments WHERE user_id = (SELECT current_actor_id());
END;

-- Tags are found by their names whoever made them: one that the actor may not know of is not told
-- from one that is made here. For the functions below alone, as an id tells how old it is.
CREATE FUNCTION use_tags(names text[]) RETURNS TABLE (name text, id bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 10 AS $$
#variable_conflict use_column
DECLARE
    wanted integer := (SELECT count(DISTINCT lower(given.name)) FROM unnest(names) AS given (name));
    kept bigint[];
BEGIN
    LOOP
        -- DO NOTHING waits for a concurrent insert of the same name, and the next statement then
        -- sees it, because at READ COMMITTED each has a snapshot of its own. In order, so that two
        -- who make the same new tags wait for each other instead of deadlocking.
        INSERT INTO tags (name)
        SELECT given.name FROM unnest(names) AS given (name)
        WHERE NOT EXISTS (SELECT FROM tags g WHERE lower(g.name) = lower(given.name))
        ORDER BY lower(given.name)
        ON CONFLICT (lower(name)) DO NOTHING;
        -- The lock keeps a tag from being removed before the statement that attaches it. One that
        -- was just being removed is gone after the wait for it, and is made anew.
        SELECT array_agg(g.id) INTO kept FROM (
            SELECT g.id FROM tags g
            WHERE lower(g.name) IN (SELECT lower(given.name) FROM unnest(names) AS given (name))
            ORDER BY g.id FOR KEY SHARE
        ) AS g;
        EXIT WHEN coalesce(cardinality(kept), 0) >= wanted;
    END LOOP;
    RETURN QUERY
        SELECT given.name, g.id FROM tags g
        JOIN unnest(names) AS given (name) ON lower(g.name) = lower(given.name)
        WHERE g.id = ANY (kept);
END $$;

CREATE FUNCTION make_tags(names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM use_tags(names);
END $$;

-- Pair by pair; what is there stays. Tasks are as hidden as elsewhere.
CREATE FUNCTION put_tags(tasks_told bigint[], names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (
        SELECT FROM unnest(tasks_told) AS told (id)
        WHERE NOT EXISTS (SELECT FROM tasks t WHERE t.id = told.id AND {changed})
    ) THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'new row violates row-level security policy for table "task_tags"',
            TABLE = 'task_tags';
    END IF;
    INSERT INTO task_tags (task_id, tag_id)
    SELECT DISTINCT pair.task, g.id
    FROM unnest(tasks_told, names) AS pair (task, name)
    JOIN use_tags(ARRAY(SELECT DISTINCT told.name FROM unnest(names) AS told (name))) AS g
        ON g.name = pair.name
    ORDER BY pair.task, g.id
    ON CONFLICT DO NOTHING;
END $$;

-- The newest transaction that history tells of, of whomever: what is not committed has a place
-- before it, or comes after it.
CREATE FUNCTION history_end() RETURNS xid8 LANGUAGE sql STABLE SECURITY DEFINER
RETURN (SELECT xid FROM history ORDER BY xid DESC LIMIT 1);

-- New tasks come behind a number; there is no way back.
CREATE FUNCTION pass_ids(up_to bigint) RETURNS bigint LANGUAGE sql VOLATILE SECURITY DEFINER
RETURN setval(
    pg_get_serial_sequence('tasks', 'id'),
    greatest(up_to, nextval(pg_get_serial_sequence('tasks', 'id')))
);

-- How many tasks that the actor sees carry each tag, outside the trash: all at once, because the
-- policies of each row on the way would be asked a million times.
CREATE FUNCTION tag_counts() RETURNS TABLE (tag_id bigint, tasks bigint)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 1000
BEGIN ATOMIC
    SELECT x.tag_id, count(*) FROM task_tags x JOIN tasks t ON t.id = x.task_id
    WHERE t.deleted_at IS NULL AND {seen}
    GROUP BY x.tag_id;
END;

-- As the policy of tags says, for those that tags would ask in turn.
CREATE FUNCTION sees_tag(tag bigint) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
RETURN EXISTS (
    SELECT FROM tags g
    WHERE g.id = tag AND (SELECT current_actor_id()) IS NOT NULL AND (
        g.made_by IS NULL OR g.made_by = (SELECT current_actor_id()) OR EXISTS (
            SELECT FROM task_tags x JOIN tasks t ON t.id = x.task_id
            WHERE x.tag_id = g.id AND {seen}
        )
    )
);

-- Whether anybody uses a tag, which is no reason to tell whose tasks carry it.
CREATE FUNCTION tag_is_used(tag bigint) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
RETURN sees_tag(tag) AND EXISTS (SELECT FROM task_tags WHERE tag_id = tag);

-- Of a tag that the actor may not know of, this says nothing but that it is everybody's now.
CREATE FUNCTION add_tag(tag text) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE tags SET made_by = NULL
    WHERE lower(name) = lower(tag) AND made_by <> (SELECT current_actor_id())
      AND NOT EXISTS (
          SELECT FROM task_tags x JOIN tasks t ON t.id = x.task_id
          WHERE x.tag_id = tags.id AND {seen}
      );
    IF NOT FOUND THEN
        INSERT INTO tags (name, made_by) VALUES (tag, NULL);
    END IF;
END $$;
"""

SEEN = """(t.owner_id = (SELECT current_actor_id())
    OR t.project_id IN (SELECT readable_projects())
    OR t.id IN (SELECT assigned_tasks()))"""

CHANGED = """(t.owner_id = (SELECT current_actor_id())
    OR t.project_id IN (SELECT writable_projects())
    OR t.id IN (SELECT assigned_tasks()))"""

# A policy cannot compare a row with what it was: what goes into a project is looked at here. The
# owner of the tables, as whom triggers and restoring run, is not held.
MOVES = """
CREATE FUNCTION keep_to_own_projects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.project_id NOT IN (SELECT writable_projects()) AND NOT pg_has_role(
        current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER'
    ) THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'new row violates row-level security policy for table "tasks"',
            TABLE = 'tasks';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tasks_keep_to_own_projects BEFORE UPDATE OF project_id ON tasks
    FOR EACH ROW WHEN (NEW.project_id IS DISTINCT FROM OLD.project_id)
    EXECUTE FUNCTION keep_to_own_projects();

-- A foreign key finds whatever is there: of what the actor does not see, it would tell so, and a
-- part of it could close it. A capital comes before the triggers of foreign keys, so that a task
-- that is missing is told by the same words.
CREATE FUNCTION keep_to_seen_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    missed text := CASE
        WHEN NEW.parent_id <> coalesce(OLD.parent_id, 0)
            AND NOT EXISTS (SELECT FROM tasks WHERE id = NEW.parent_id) THEN 'parent_id'
        WHEN NEW.previous_id <> coalesce(OLD.previous_id, 0)
            AND NOT EXISTS (SELECT FROM tasks WHERE id = NEW.previous_id) THEN 'previous_id'
    END;
BEGIN
    IF missed IS NOT NULL THEN
        RAISE foreign_key_violation USING
            MESSAGE = format(
                'insert or update on table "tasks" violates foreign key constraint "tasks_%s_fkey"',
                missed
            ),
            DETAIL = 'Key is not present in table "tasks".',
            TABLE = 'tasks', CONSTRAINT = format('tasks_%s_fkey', missed);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER "KEEP_to_seen_tasks_new" AFTER INSERT ON tasks
    FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL OR NEW.previous_id IS NOT NULL)
    EXECUTE FUNCTION keep_to_seen_tasks();
CREATE TRIGGER "KEEP_to_seen_tasks" AFTER UPDATE OF parent_id, previous_id ON tasks
    FOR EACH ROW WHEN (
        NEW.parent_id <> coalesce(OLD.parent_id, 0)
        OR NEW.previous_id <> coalesce(OLD.previous_id, 0)
    )
    EXECUTE FUNCTION keep_to_seen_tasks();
"""

# Functions that keep rules and tell history do so for all rows, whoever sees them: as the owner
# of the tables, with the names of this schema alone.
TRUSTED = """
DO $$
DECLARE
    trusted regprocedure;
BEGIN
    FOR trusted IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND (p.prorettype = 'trigger'::regtype AND p.proname NOT IN (
                   'refuse_change', 'tasks_before_insert', 'tasks_before_update',
                   'projects_before_update', 'keep_to_own_projects', 'keep_to_seen_tasks'
               )
               OR p.proname IN ('is_blocked', 'has_open_child', 'pass_gate')
               OR p.prosecdef)
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', trusted);
        -- Or anybody could hang it on a temporary table, and have it do there what it is told.
        IF (SELECT prorettype = 'trigger'::regtype OR proname = 'use_tags'
            FROM pg_proc WHERE oid = trusted) THEN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', trusted);
        END IF;
        -- What is not text any more has its names resolved.
        IF (SELECT prosqlbody FROM pg_proc WHERE oid = trusted) IS NULL THEN
            EXECUTE format(
                'ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp',
                trusted, current_schema()
            );
        END IF;
    END LOOP;
    -- These ask as whom they run, and must not be told by somebody's own pg_class.
    FOR trusted IN VALUES ('keep_to_own_projects()'::regprocedure), ('keep_to_seen_tasks()') LOOP
        EXECUTE format(
            'ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp',
            trusted, current_schema()
        );
    END LOOP;
END $$;
"""

# What is compared by indexes has to be asked before the policies are, or the index is of no use.
# None of these functions tells anything of the values that it compares, and only a superuser can
# say so to the planner: in this database, for which they are changed.
LEAKPROOF = """
CREATE FUNCTION trust_operators() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    known regprocedure;
BEGIN
    FOR known IN
        SELECT oid FROM pg_proc
        WHERE NOT proleakproof AND (
            oid IN (
                'enum_eq'::regproc, 'enum_ne'::regproc, 'enum_lt'::regproc, 'enum_le'::regproc,
                'enum_gt'::regproc, 'enum_ge'::regproc, 'lower(text)'::regprocedure,
                'texticlike'::regproc, 'ts_match_vq'::regproc
            )
            OR proname IN ('word_similarity_op', 'word_similarity_commutator_op') AND EXISTS (
                SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                WHERE d.objid = pg_proc.oid AND d.deptype = 'e' AND e.extname = 'pg_trgm'
            )
        )
    LOOP
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            RETURN false;
        END IF;
        EXECUTE format('ALTER FUNCTION %s LEAKPROOF', known);
    END LOOP;
    RETURN true;
END $$;
SELECT trust_operators();
"""

# Of `coalesce` the planner does not know that it tells nothing of hidden rows, of CASE it does.
DUE_ORDERS = """
DROP INDEX tasks_due_order_idx, tasks_open_due_idx, tasks_next_idx, tasks_project_id_next_idx,
    tasks_working_idx;
CREATE INDEX tasks_due_order_idx ON tasks ({due_order}, id);
CREATE INDEX tasks_open_due_idx ON tasks ({due_order}, id)
    WHERE status IN ('todo', 'in_progress') AND deleted_at IS NULL;
CREATE INDEX tasks_next_idx ON tasks (priority, {due_order}, created_at, id)
    WHERE status = 'todo' AND deleted_at IS NULL;
CREATE INDEX tasks_project_id_next_idx
    ON tasks (project_id, priority, {due_order}, created_at, id)
    WHERE status = 'todo' AND deleted_at IS NULL;
CREATE INDEX tasks_working_idx ON tasks (priority, {due_order}, created_at, id)
    WHERE status = 'in_progress' AND deleted_at IS NULL;
"""

DUE_ORDER = "(CASE WHEN due IS NULL THEN 'infinity'::timestamptz ELSE due END)"
FORMER_DUE_ORDER = "coalesce(due, 'infinity'::timestamptz)"

PRIVATE = (
    "users",
    "projects",
    "project_members",
    "tasks",
    "task_texts",
    "tags",
    "task_tags",
    "assignments",
    "links",
    "claims",
    "comments",
    "import_bases",
    "views",
    "history",
    "gates",
)

# Whoever owns the tables made them, keeps them up to date, saves and restores them.
FORCED = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_upkeep ON {table} TO CURRENT_USER USING (true) WITH CHECK (true);
"""

# An UPDATE policy says by USING which rows can be locked, by WITH CHECK which can be written.
POLICIES = """
CREATE POLICY users_seen ON users FOR SELECT
    USING ((SELECT current_actor_id()) IS NOT NULL
        OR lower(username) = lower((SELECT current_actor())));
-- Whoever is known may add others; a service enters whom it works for.
CREATE POLICY users_added ON users FOR INSERT
    WITH CHECK ((SELECT current_actor_id()) IS NOT NULL
        OR (SELECT may_name_actor()) AND lower(username) = lower((SELECT current_actor())));
-- Who has a login keeps its name.
CREATE POLICY users_changed ON users FOR UPDATE
    USING ((SELECT current_actor_id()) IS NOT NULL)
    WITH CHECK ((SELECT may_name_actor()) OR id = (SELECT current_actor_id())
        AND lower(username) = lower((SELECT current_actor())));
CREATE POLICY users_removed ON users FOR DELETE
    USING ((SELECT may_name_actor()));

CREATE POLICY projects_seen ON projects FOR SELECT
    USING (owner_id = (SELECT current_actor_id()) OR id IN (SELECT readable_projects()));
CREATE POLICY projects_added ON projects FOR INSERT
    WITH CHECK (owner_id = (SELECT current_actor_id()));
CREATE POLICY projects_changed ON projects FOR UPDATE
    USING (id IN (SELECT readable_projects())) WITH CHECK (id IN (SELECT owned_projects()));
CREATE POLICY projects_removed ON projects FOR DELETE
    USING (id IN (SELECT owned_projects()));

CREATE POLICY project_members_seen ON project_members FOR SELECT
    USING (project_id IN (SELECT readable_projects()));
CREATE POLICY project_members_added ON project_members FOR INSERT
    WITH CHECK (project_id IN (SELECT owned_projects()));
CREATE POLICY project_members_changed ON project_members FOR UPDATE
    USING (project_id IN (SELECT owned_projects()))
    WITH CHECK (project_id IN (SELECT owned_projects()));
-- Anybody may leave, but for whoever would become a member by it: a viewer of a shared project.
CREATE POLICY project_members_removed ON project_members FOR DELETE
    USING (project_id IN (SELECT owned_projects()) OR user_id = (SELECT current_actor_id())
        AND (role <> 'viewer' OR (SELECT p.visibility = 'private' FROM projects p
                                  WHERE p.id = project_id)));

CREATE POLICY tasks_seen ON tasks FOR SELECT
    USING (owner_id = (SELECT current_actor_id())
        OR project_id IN (SELECT readable_projects()) OR id IN (SELECT assigned_tasks()));
CREATE POLICY tasks_added ON tasks FOR INSERT
    WITH CHECK (project_id IS NULL AND owner_id = (SELECT current_actor_id())
        OR project_id IN (SELECT writable_projects()));
CREATE POLICY tasks_changed ON tasks FOR UPDATE
    USING (owner_id = (SELECT current_actor_id())
        OR project_id IN (SELECT writable_projects()) OR id IN (SELECT assigned_tasks()));
CREATE POLICY tasks_removed ON tasks FOR DELETE
    USING (owner_id = (SELECT current_actor_id())
        OR project_id IN (SELECT writable_projects()));

CREATE POLICY tags_seen ON tags FOR SELECT
    USING ((SELECT current_actor_id()) IS NOT NULL AND (
        made_by IS NULL OR made_by = (SELECT current_actor_id())
        OR (SELECT true FROM task_tags x WHERE x.tag_id = tags.id LIMIT 1)
    ));
CREATE POLICY tags_added ON tags FOR INSERT
    WITH CHECK ((SELECT current_actor_id()) IS NOT NULL);
-- What is seen is said again: a statement that reads no column is not held to tags_seen.
CREATE POLICY tags_changed ON tags FOR UPDATE
    USING ((SELECT current_actor_id()) IS NOT NULL AND (
        made_by IS NULL OR made_by = (SELECT current_actor_id())
        OR (SELECT true FROM task_tags x WHERE x.tag_id = tags.id LIMIT 1)
    ));
CREATE POLICY tags_removed ON tags FOR DELETE
    USING ((SELECT current_actor_id()) IS NOT NULL AND (
        made_by IS NULL OR made_by = (SELECT current_actor_id())
        OR (SELECT true FROM task_tags x WHERE x.tag_id = tags.id LIMIT 1)
    ));

CREATE POLICY links_seen ON links FOR SELECT
    USING ((SELECT true FROM tasks t WHERE t.id = blocked_id)
        AND (SELECT true FROM tasks t WHERE t.id = blocker_id));
CREATE POLICY links_added ON links FOR INSERT
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = blocked_id AND {changed})
        AND (SELECT true FROM tasks t WHERE t.id = blocker_id));
-- What is removed together with a task that others wait for.
CREATE POLICY links_removed ON links FOR DELETE
    USING (EXISTS (SELECT FROM tasks t WHERE t.id IN (blocked_id, blocker_id) AND {changed}));

CREATE POLICY comments_seen ON comments FOR SELECT
    USING ((SELECT true FROM tasks t WHERE t.id = task_id));
-- In somebody else's name only what was said elsewhere, and has a reference there.
CREATE POLICY comments_added ON comments FOR INSERT
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (author_id = (SELECT current_actor_id()) OR external_ref IS NOT NULL));
CREATE POLICY comments_changed ON comments FOR UPDATE
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (author_id = (SELECT current_actor_id()) OR external_ref IS NOT NULL));
CREATE POLICY comments_removed ON comments FOR DELETE
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}
            AND (author_id = (SELECT current_actor_id()) OR comments.external_ref IS NOT NULL
                 OR t.project_id IN (SELECT owned_projects()))));

CREATE POLICY views_own ON views
    USING (owner_id = (SELECT current_actor_id()));

-- What was told of a task is told to who sees it; when it is gone for good, to who did it.
CREATE POLICY history_seen ON history FOR SELECT
    USING (lower(actor) = lower((SELECT current_actor()))
        OR (SELECT true FROM tasks t WHERE t.id = task_id)
        OR entity IN ('project', 'member') AND entity_id IN (SELECT readable_projects())
        OR entity = 'user' AND (SELECT current_actor_id()) IS NOT NULL
        OR entity = 'tag' AND (SELECT true FROM tags g WHERE g.id = entity_id));
"""

# What belongs to one task goes with it.
OF_TASKS = ("task_tags", "assignments", "claims", "import_bases")

# By its number alone, a tag would tell its name.
KNOWN = """
ALTER POLICY task_tags_added ON task_tags
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND sees_tag(tag_id));
"""

OF_TASK = """
CREATE POLICY {table}_seen ON {table} FOR SELECT
    USING ((SELECT true FROM tasks t WHERE t.id = task_id));
CREATE POLICY {table}_added ON {table} FOR INSERT
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}));
CREATE POLICY {table}_changed ON {table} FOR UPDATE
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}));
CREATE POLICY {table}_removed ON {table} FOR DELETE
    USING ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed}));
"""

# A key across tasks: it would tell which references a project has.
BASES = """
ALTER POLICY import_bases_added ON import_bases
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (project_id IS NULL OR project_id IN (SELECT readable_projects())));
ALTER POLICY import_bases_changed ON import_bases
    WITH CHECK ((SELECT true FROM tasks t WHERE t.id = task_id AND {changed})
        AND (project_id IS NULL OR project_id IN (SELECT readable_projects())));
"""

TEXTS = """
CREATE POLICY task_texts_seen ON task_texts FOR SELECT
    USING ((SELECT true FROM tasks t WHERE t.id = task_id));
"""

REMOVAL = """
DO $$
DECLARE
    trusted record;
    policy record;
BEGIN
    FOR policy IN
        SELECT polname, polrelid::regclass AS place FROM pg_policy
        JOIN pg_class c ON c.oid = polrelid
        WHERE c.relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy.polname, policy.place);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', policy.place);
        EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', policy.place);
    END LOOP;
    FOR trusted IN
        SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND prosecdef
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER RESET search_path', trusted.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', trusted.name);
    END LOOP;
    IF to_regrole('concord_user') IS NOT NULL THEN
        EXECUTE format(
            'REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM concord_user', current_schema()
        );
        EXECUTE format(
            'REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM concord_user', current_schema()
        );
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM concord_user', current_schema());
    END IF;
END $$;

DROP FUNCTION tag_is_used(bigint), sees_tag(bigint);
ALTER TABLE tags DROP COLUMN made_by;
DROP TRIGGER tasks_keep_to_own_projects ON tasks;
DROP TRIGGER "KEEP_to_seen_tasks_new" ON tasks;
DROP TRIGGER "KEEP_to_seen_tasks" ON tasks;
DROP TRIGGER projects_enter_owner ON projects;
DROP TRIGGER users_leave_projects ON users;
DROP TRIGGER project_members_record ON project_members;
DROP TRIGGER project_members_keep_owner ON project_members;
DROP FUNCTION admit_people(), trust_operators(), keep_to_own_projects(), keep_to_seen_tasks(),
    enter_owner(), keep_owner(), leave_projects(), project_members_record(), make_tags(text[]),
    put_tags(bigint[], text[]), use_tags(text[]), history_end(), pass_ids(bigint), add_tag(text),
    tag_counts(), assigned_tasks(), owned_projects(), writable_projects(), readable_projects(),
    has_users(), history_knows(xid8, timestamptz), current_actor_id();
DROP TABLE project_members;
DROP TYPE project_role;

CREATE OR REPLACE FUNCTION current_actor() RETURNS text LANGUAGE sql STABLE
RETURN coalesce(nullif(current_setting('concord.actor', true), ''), session_user);
DROP FUNCTION may_name_actor();

CREATE OR REPLACE FUNCTION entity_fields(entity jsonb) RETURNS jsonb LANGUAGE sql STABLE
RETURN entity - ARRAY['id', 'version', 'created_at', 'updated_at', 'owner_id']
    || CASE WHEN entity ? 'owner_id' THEN jsonb_build_object(
        'owner', (SELECT username FROM users WHERE id = (entity -> 'owner_id')::bigint),
        'archived_at', utc_text((entity ->> 'archived_at')::timestamptz)
    ) ELSE '{}' END;
"""


def upgrade() -> None:
    run(MEMBERS, TAGS, IDENTITY, MOVES, TRUSTED, LEAKPROOF)
    run(DUE_ORDERS.replace("{due_order}", DUE_ORDER))
    run(*(FORCED.replace("{table}", table) for table in PRIVATE), POLICIES, TEXTS)
    run(*(OF_TASK.replace("{table}", table) for table in OF_TASKS), KNOWN, BASES, ADMITTANCE)


def downgrade() -> None:
    run(REMOVAL, DUE_ORDERS.replace("{due_order}", FORMER_DUE_ORDER))


def run(*scripts: str) -> None:
    # Without parameters the driver leaves `%` alone and takes several statements at once.
    connection = op.get_bind().execution_options(no_parameters=True)
    for script in scripts:
        connection.exec_driver_sql(script.replace("{seen}", SEEN).replace("{changed}", CHANGED))
