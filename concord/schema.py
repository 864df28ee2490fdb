"""The schema as SQLAlchemy metadata: what migrations are compared with, and nothing else.

Operations never import it. Triggers and functions live in the migrations alone, because
SQLAlchemy has no words for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDialect

from concord.vocabulary import PRIORITIES, ROLES, STATUSES

if TYPE_CHECKING:
    from datetime import datetime


class Xid8(sa.types.UserDefinedType[str]):
    """A 64-bit transaction id, which SQLAlchemy does not know by itself."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the type's name in SQL."""
        return "xid8"


# Reflection finds types by this table, whose declared values are only the dialect's own types.
cast("dict[str, Any]", PGDialect.ischema_names)["xid8"] = Xid8

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)

_status = postgresql.ENUM(*STATUSES, name="task_status", metadata=metadata)
# The most urgent first, so that (priority, id) in its plain order is what to do next.
_priority = postgresql.ENUM(*reversed(PRIORITIES), name="task_priority", metadata=metadata)
_visibility = postgresql.ENUM("private", "shared", name="project_visibility", metadata=metadata)
_role = postgresql.ENUM(*ROLES, name="project_role", metadata=metadata)


_DAYS = "mon|tue|wed|thu|fri|sat|sun"


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True)


def _moment(name: str, *, required: bool = False) -> sa.Column[datetime]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=not required,
        server_default=sa.text("now()") if required else None,
    )


def _choice(name: str, choices: postgresql.ENUM, default: str) -> sa.Column[str]:
    return sa.Column(name, choices, nullable=False, server_default=default)


def _reference(
    name: str, table: str, ondelete: str | None = None, **options: Any
) -> sa.Column[int]:
    key = sa.ForeignKey(f"{table}.id", ondelete=ondelete)
    return sa.Column(name, sa.BigInteger, key, **options)


users = sa.Table(
    "users",
    metadata,
    _id(),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    _moment("created_at", required=True),
    # Digits only would be taken for a task id on the command line, `me` for somebody else.
    sa.CheckConstraint(
        r"username ~ '^[^\s,[:cntrl:]]{1,64}$' AND username !~* '^([0-9]+|-.*|me|none)$'",
        name="username_check",
    ),
    sa.CheckConstraint(
        r"email ~ '^[^\s@[:cntrl:]]+@[^\s@[:cntrl:]]+$' AND length(email) <= 254",
        name="email_check",
    ),
)
sa.Index("users_username_key", sa.func.lower(users.c.username), unique=True)
sa.Index("users_email_key", sa.func.lower(users.c.email), unique=True)

projects = sa.Table(
    "projects",
    metadata,
    _id(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    _reference("owner_id", "users", nullable=False, index=True),
    _choice("visibility", _visibility, "shared"),
    sa.Column("wip_limit", sa.Integer),
    _moment("archived_at"),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    _moment("created_at", required=True),
    _moment("updated_at", required=True),
    sa.UniqueConstraint("key"),
    sa.CheckConstraint("key ~ '^[A-Z][A-Z0-9_-]{0,31}$'", name="key_check"),
    sa.CheckConstraint("length(name) BETWEEN 1 AND 255", name="name_length"),
    sa.CheckConstraint("wip_limit > 0", name="wip_limit_positive"),
)

project_members = sa.Table(
    "project_members",
    metadata,
    _reference("project_id", "projects", ondelete="CASCADE", primary_key=True),
    _reference("user_id", "users", ondelete="CASCADE", primary_key=True),
    _choice("role", _role, "member"),
    _moment("added_at", required=True),
)
sa.Index(
    "project_members_user_id_idx",
    *(project_members.c.user_id, project_members.c.role, project_members.c.project_id),
)

tasks = sa.Table(
    "tasks",
    metadata,
    _id(),
    sa.Column("uid", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")),
    _reference("project_id", "projects"),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    _choice("status", _status, "todo"),
    _choice("priority", _priority, "none"),
    _moment("due"),
    _reference("owner_id", "users", nullable=False, index=True),
    sa.Column("external_ref", sa.Text),
    _reference("parent_id", "tasks", index=True),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    _moment("created_at", required=True),
    _moment("updated_at", required=True),
    _moment("completed_at"),
    _moment("deleted_at"),
    sa.Column("auto_close", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("recurrence", sa.Text),
    sa.Column("recurrence_zone", sa.Text),
    _reference("previous_id", "tasks", ondelete="SET NULL"),
    _moment("started_at"),
    _moment("canceled_at"),
    # What foreign files said that has no column here, by the name of the format.
    sa.Column("extra", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    # Whether a task is seen is asked for what hangs on it: an index alone answers.
    sa.PrimaryKeyConstraint("id", postgresql_include=["owner_id", "project_id", "deleted_at"]),
    sa.UniqueConstraint("uid"),
    # An import finds its tasks again by this; those in an inbox (no project) have no such key.
    sa.UniqueConstraint("project_id", "external_ref"),
    sa.CheckConstraint(r"length(title) BETWEEN 1 AND 255 AND title ~ '\S'", name="title_length"),
    sa.CheckConstraint(r"title !~ '[\n\r]'", name="title_one_line"),
    # What PostgreSQL counts beyond these years, `infinity` among it, other programs cannot read.
    sa.CheckConstraint(
        "due BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'",
        name="due_check",
    ),
    sa.CheckConstraint("parent_id <> id", name="parent_not_itself"),
    sa.CheckConstraint(
        "(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at_check"
    ),
    sa.CheckConstraint(
        "(status = 'canceled') = (canceled_at IS NOT NULL)", name="canceled_at_check"
    ),
    sa.CheckConstraint(
        "recurrence ~ '^(every|after) [1-9][0-9]{0,3}[hdwmy]$'"
        f" OR recurrence ~ '^every ({_DAYS})(,({_DAYS}))*$'",
        name="recurrence_check",
    ),
    # The conversion fails for a zone that the server does not know.
    sa.CheckConstraint(
        "(recurrence IS NULL) = (recurrence_zone IS NULL) AND (recurrence_zone IS NULL"
        " OR timezone(recurrence_zone, '2000-01-01 00:00:00+00'::timestamptz) IS NOT NULL)",
        name="recurrence_zone_check",
    ),
    sa.CheckConstraint("jsonb_typeof(extra) = 'object'", name="extra_object"),
    # A task has one successor: whatever completes it twice, the next one is made once.
    sa.UniqueConstraint("previous_id"),
)
sa.Index("tasks_project_id_status_id_idx", tasks.c.project_id, tasks.c.status, tasks.c.id)
sa.Index("tasks_status_id_idx", tasks.c.status, tasks.c.id)
sa.Index("tasks_priority_id_idx", tasks.c.priority, tasks.c.id)
sa.Index("tasks_created_at_id_idx", tasks.c.created_at, tasks.c.id)
sa.Index("tasks_updated_at_id_idx", tasks.c.updated_at, tasks.c.id)
sa.Index("tasks_due_id_idx", tasks.c.due, tasks.c.id)
# Not coalesce, of which the planner does not know that it tells nothing of hidden rows.
# As the server tells it, which Alembic compares.
_due_order = sa.text(
    "(\nCASE\n    WHEN due IS NULL THEN 'infinity'::timestamptz\n    ELSE due\nEND)"
)
sa.Index(
    "tasks_due_order_idx",
    _due_order,
    tasks.c.id,
)
sa.Index("tasks_title_id_idx", sa.func.lower(tasks.c.title), tasks.c.id)
_to_do = sa.and_(tasks.c.status == sa.text("'todo'"), tasks.c.deleted_at.is_(None))
# What is to be done next, best first: the order in which claims take ready tasks.
sa.Index(
    "tasks_next_idx",
    *(tasks.c.priority, _due_order, tasks.c.created_at, tasks.c.id),
    postgresql_where=_to_do,
)
sa.Index(
    "tasks_project_id_next_idx",
    *(tasks.c.project_id, tasks.c.priority, _due_order, tasks.c.created_at, tasks.c.id),
    postgresql_where=_to_do,
)
sa.Index(
    "tasks_completed_at_idx",
    tasks.c.completed_at,
    postgresql_where=tasks.c.completed_at.is_not(None),
)
# Only where the extension pg_trgm is to be had.
sa.Index(
    "tasks_title_trigrams_idx",
    tasks.c.title,
    postgresql_using="gin",
    postgresql_ops={"title": "gin_trgm_ops"},
)
sa.Index("tasks_project_id_id_idx", tasks.c.project_id, tasks.c.id)
_open = sa.text("status IN ('todo', 'in_progress') AND deleted_at IS NULL")
sa.Index(
    "tasks_open_idx",
    tasks.c.id,
    postgresql_include=["owner_id", "project_id", "parent_id", "status"],
    postgresql_where=_open,
)
sa.Index(
    "tasks_inbox_idx",
    tasks.c.id,
    postgresql_include=["owner_id", "project_id"],
    postgresql_where=sa.text("project_id IS NULL AND deleted_at IS NULL"),
)
sa.Index("tasks_open_due_idx", _due_order, tasks.c.id, postgresql_where=_open)
sa.Index("tasks_open_priority_idx", tasks.c.priority, tasks.c.id, postgresql_where=_open)
sa.Index("tasks_open_created_idx", tasks.c.created_at, tasks.c.id, postgresql_where=_open)
sa.Index("tasks_open_updated_idx", tasks.c.updated_at, tasks.c.id, postgresql_where=_open)
sa.Index(
    "tasks_working_idx",
    *(tasks.c.priority, _due_order, tasks.c.created_at, tasks.c.id),
    postgresql_where=sa.text("status = 'in_progress' AND deleted_at IS NULL"),
)
sa.Index("tasks_trash_idx", tasks.c.id, postgresql_where=tasks.c.deleted_at.is_not(None))

# What a search looks in, which triggers keep: title, description and comments of a task.
task_texts = sa.Table(
    "task_texts",
    metadata,
    _reference("task_id", "tasks", ondelete="CASCADE", primary_key=True),
    sa.Column("document", postgresql.TSVECTOR, nullable=False),
)
sa.Index("task_texts_document_idx", task_texts.c.document, postgresql_using="gin")

tags = sa.Table(
    "tags",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    # None: it is everybody's.
    _reference(
        "made_by",
        "users",
        ondelete="SET NULL",
        index=True,
        server_default=sa.text("current_actor_id()"),
    ),
    sa.CheckConstraint(
        r"name ~ '^[^\s,[:cntrl:]]{1,64}$' AND name !~ '^([0-9]+|-.*)$'", name="name_check"
    ),
)
sa.Index("tags_name_key", sa.func.lower(tags.c.name), unique=True)

task_tags = sa.Table(
    "task_tags",
    metadata,
    _reference("task_id", "tasks", ondelete="CASCADE", primary_key=True),
    _reference("tag_id", "tags", primary_key=True),
)
sa.Index("task_tags_tag_id_task_id_idx", task_tags.c.tag_id, task_tags.c.task_id)

assignments = sa.Table(
    "assignments",
    metadata,
    _reference("task_id", "tasks", ondelete="CASCADE", primary_key=True),
    _reference("user_id", "users", primary_key=True),
    _moment("assigned_at", required=True),
    _reference("assigned_by", "users", ondelete="SET NULL", index=True),
)
sa.Index("assignments_user_id_task_id_idx", assignments.c.user_id, assignments.c.task_id)

# What an import of a format last saw of a task in the foreign file, and for which project it was
# brought: the common ancestor of the three-way comparison that keeps an import from overwriting
# what was changed here since.
import_bases = sa.Table(
    "import_bases",
    metadata,
    _reference("task_id", "tasks", ondelete="CASCADE", primary_key=True),
    sa.Column("format", sa.Text, primary_key=True),
    _reference("project_id", "projects", ondelete="CASCADE"),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("fields", postgresql.JSONB, nullable=False),
    _moment("imported_at", required=True),
    sa.UniqueConstraint("project_id", "format", "ref"),
)

links = sa.Table(
    "links",
    metadata,
    _reference("blocked_id", "tasks", ondelete="CASCADE", primary_key=True),
    _reference("blocker_id", "tasks", ondelete="CASCADE", primary_key=True),
    _moment("created_at", required=True),
    sa.CheckConstraint("blocked_id <> blocker_id", name="not_itself"),
)
sa.Index("links_blocker_id_blocked_id_idx", links.c.blocker_id, links.c.blocked_id)

# The row outlives the claim, so that an epoch is never given out twice for a task.
claims = sa.Table(
    "claims",
    metadata,
    _reference("task_id", "tasks", ondelete="CASCADE", primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="1"),
    _reference("user_id", "users", index=True),
    _moment("claimed_at"),
    _moment("expires_at"),
    sa.Column("assigned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("epoch > 0", name="epoch_positive"),
    sa.CheckConstraint(
        "(user_id IS NULL) = (expires_at IS NULL) AND (user_id IS NULL) = (claimed_at IS NULL)",
        name="held",
    ),
)
sa.Index(
    "claims_expires_at_idx",
    claims.c.expires_at,
    postgresql_where=claims.c.expires_at.is_not(None),
)

comments = sa.Table(
    "comments",
    metadata,
    _id(),
    _reference("task_id", "tasks", ondelete="CASCADE", nullable=False),
    _reference("author_id", "users", nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("external_ref", sa.Text),
    _moment("created_at", required=True),
    # An import finds its comments again by this.
    sa.UniqueConstraint("task_id", "external_ref"),
    sa.CheckConstraint(r"body ~ '\S'", name="body_check"),
)
sa.Index("comments_task_id_id_idx", comments.c.task_id, comments.c.id)

views = sa.Table(
    "views",
    metadata,
    _id(),
    _reference("owner_id", "users", ondelete="CASCADE", nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("options", postgresql.ARRAY(sa.Text), nullable=False),
    _moment("created_at", required=True),
    _moment("updated_at", required=True),
    sa.CheckConstraint(r"name ~ '^[^\s,[:cntrl:]]{1,64}$' AND name !~ '^-'", name="name_check"),
)
sa.Index("views_owner_id_name_key", views.c.owner_id, sa.func.lower(views.c.name), unique=True)

# What a transaction has to pass that decides by a rule across several rows.
gates = sa.Table(
    "gates",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("turn", sa.BigInteger, nullable=False, server_default=sa.text("1")),
)

# Append-only, and without foreign keys, because it outlives what it tells of.
history = sa.Table(
    "history",
    metadata,
    _id(),
    sa.Column(
        "at",
        sa.DateTime(timezone=True),
        nullable=False,
        server_default=sa.text("clock_timestamp()"),
    ),
    sa.Column("actor", sa.Text, nullable=False, server_default=sa.text("current_actor()")),
    sa.Column("operation", sa.Text, nullable=False, server_default=sa.text("current_operation()")),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("entity_id", sa.BigInteger, nullable=False),
    sa.Column("task_id", sa.BigInteger),
    sa.Column("version", sa.Integer),
    sa.Column("old", postgresql.JSONB, nullable=False),
    sa.Column("new", postgresql.JSONB, nullable=False),
    sa.Column("xid", Xid8, nullable=False, server_default=sa.text("pg_current_xact_id()")),
)
sa.Index("history_task_id_id_idx", history.c.task_id, history.c.id)
sa.Index("history_entity_entity_id_id_idx", history.c.entity, history.c.entity_id, history.c.id)
sa.Index("history_xid_idx", history.c.xid)
sa.Index("history_actor_id_idx", sa.func.lower(history.c.actor), history.c.id)
