"""What operations return: frozen dataclasses whose field order is the order of JSON keys.

Times are aware datetimes in UTC; a collection is a tuple, sorted by name; nothing is ever
missing, only `None` or empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from concord.vocabulary import Priority, Status

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class User:
    """A person, script or agent that acts on tasks."""

    id: int
    username: str
    email: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """A named group of tasks."""

    id: int
    key: str
    name: str
    description: str | None
    owner: str
    visibility: str
    wip_limit: int | None
    archived_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Tag:
    """A label, with the number of tasks (outside the trash) that carry it."""

    id: int
    name: str
    tasks: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on a task, and until when unless they renew.

    `epoch` is the fence: it grows with every claim of the task, and a write that names an older
    one is refused. A claim whose `expires_at` is past is there until somebody else takes the task.
    """

    by: str
    epoch: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said about a task. `body` is Markdown."""

    id: int
    task: int
    author: str
    body: str
    external_ref: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """A task as everyone sees it. `project` is a key, `owner` and `assignees` are usernames.

    `blocked_by`, `blocks` and `children` are ids, whatever the state of those tasks.
    `recurrence` is `every 2w`, `every mon,wed` or `after 3d` (from completion).
    """

    id: int
    uid: UUID
    project: str | None
    title: str
    description: str | None
    status: Status
    priority: Priority
    due: datetime | None
    tags: tuple[str, ...]
    assignees: tuple[str, ...]
    owner: str
    external_ref: str | None
    parent: int | None
    version: int
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    deleted_at: datetime | None
    started_at: datetime | None = None
    canceled_at: datetime | None = None
    auto_close: bool = False
    recurrence: str | None = None
    previous: int | None = None
    blocked_by: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    children: tuple[int, ...] = ()
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class TaskInFull(Task):
    """A task with all that was said about it, oldest first."""

    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A task as a part of others. `waits_for` are the open tasks that block it itself."""

    id: int
    depth: int
    parent: int | None
    status: Status
    priority: Priority
    title: str
    waits_for: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a task could be claimed now, and what stands against it."""

    id: int
    ready: bool
    status: Status
    priority: Priority
    due: datetime | None
    title: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A row of history: who did what to which entity, and what changed.

    `old` and `new` hold only the fields that changed; `xid` is the transaction id (`xid8`) that
    all rows of one transaction share.
    """

    id: int
    at: datetime
    actor: str
    operation: str
    entity: str
    entity_id: int
    task: int | None
    version: int | None
    old: dict[str, Any]
    new: dict[str, Any]
    xid: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A slice of a longer list. `after` is the cursor of the next slice, `None` on the last."""

    items: tuple[T, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """A task as a foreign file tells it, in Concord's words.

    `ref` identifies it within its project from one import to the next. Fields the format does
    not know stay at their defaults. `line` is where it stands in the file, counted from 1. The
    fields from `uid` on are known to Concord's own format alone: there `uid` identifies the task
    wherever it is, and `external_ref` is what it was to the format that it first came from.
    """

    ref: str
    title: str
    line: int
    description: str | None = None
    status: Status = "todo"
    priority: Priority = "none"
    due: datetime | None = None
    tags: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    owner: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    completed_at: datetime | None = None
    uid: UUID | None = None
    id: int | None = None
    project: str | None = None
    external_ref: str | None = None
    parent: int | None = None
    version: int | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row of a foreign file that means no task (a tombstone, say), and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a foreign file that cannot be understood, and why."""

    line: int
    reason: str


ParsedRow = ImportedTask | SkippedRow | BadRow


@dataclass(frozen=True, slots=True)
class ImportConflict:
    """A task that an import left alone: these fields were changed both there and here."""

    ref: str
    task: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, in tasks."""

    created: int
    updated: int
    unchanged: int
    skipped: int
    conflicting: int
    conflicts: tuple[ImportConflict, ...] = field(default=())
