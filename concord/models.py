"""What operations return: frozen dataclasses whose field order is the order of JSON keys.

Times are aware datetimes in UTC; a collection is a tuple, sorted by name; nothing is ever
missing, only `None` or empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
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
class Member:
    """Somebody with a role in a project, which is one of `vocabulary.ROLES`."""

    user: str
    role: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Tag:
    """A label, with the number of tasks (outside the trash) that carry it."""

    id: int
    name: str
    tasks: int


@dataclass(frozen=True, slots=True)
class View:
    """The options of `task list` that somebody keeps under a name, as they were typed.

    `command` is the command line that they make, quoted for a shell.
    """

    id: int
    name: str
    options: tuple[str, ...]
    command: str
    created_at: datetime
    updated_at: datetime


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
class Card(Task):
    """A task on the board. `blocked`: it, or what it is a part of, waits for an open task."""

    blocked: bool = False


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """The tasks of one status: how many there are, and the first of them.

    `limit` is how many the project may have in progress, where the column shows all of these.
    """

    status: Status
    count: int
    limit: int | None
    tasks: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """Tasks by status, as they stood at one moment."""

    columns: tuple[BoardColumn, ...]


@dataclass(frozen=True, slots=True)
class DueTask(Task):
    """A task that is due soon, or was due already (`overdue`)."""

    overdue: bool = False


MARKS = ("\x02", "\x03")
"""What stands before and behind a word that was found. No text has them by itself."""


@dataclass(frozen=True, slots=True)
class Highlights:
    """The title and the best part of the description or of the comments, with `MARKS`.

    `text` is `None` where only the title matches. Where a text had such characters, it has U+FFFD.
    """

    title: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Found(Task):
    """A task that a search found. `rank` is higher the better it matches."""

    rank: float = 0.0
    highlights: Highlights = Highlights("", None)

    @property
    def excerpt(self) -> str | None:
        """The best part of the description or of the comments, without marks."""
        text = self.highlights.text
        return None if text is None else text.translate(dict.fromkeys(map(ord, MARKS)))


@dataclass(frozen=True, slots=True)
class Similar:
    """A task whose title is similar to what was searched for."""

    id: int
    title: str
    similarity: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, the best first.

    `matching` are the tasks that were ranked, of which there are `more` that match. Where nothing
    was found, `unknown` are the words that no task has, and `similar` the tasks whose titles come
    near them, if the database is `tolerant` of typos.
    """

    items: tuple[Found, ...]
    matching: int = 0
    more: bool = False
    unknown: tuple[str, ...] = ()
    similar: tuple[Similar, ...] = ()
    tolerant: bool = True


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to do next. `urgency` is the sum of `terms`, each a weight times a factor in 0..1."""

    task: Task
    urgency: float
    terms: dict[str, float]
    why: str

    @property
    def id(self) -> int:
        """The task's id."""
        return self.task.id

    @property
    def title(self) -> str:
        """The task's title."""
        return self.task.title


@dataclass(frozen=True, slots=True)
class Flow:
    """What became of tasks from one day to another, both included (ISO 8601).

    `name` is a day, an ISO week, or the project, person or tag that it is about (`None`: of tasks
    without any). `open` are those neither completed nor canceled at its end. Of those completed in
    it, `lead` is the time since they were created and `cycle` since they were started: the median
    and the 90th percentile, in seconds.
    """

    name: str | None
    first: str
    last: str
    created: int
    completed: int
    canceled: int
    open: int
    lead_p50_s: float | None
    lead_p90_s: float | None
    cycle_p50_s: float | None
    cycle_p90_s: float | None


@dataclass(frozen=True, slots=True)
class OpenTasks:
    """How many tasks were open at the end of a day (ISO 8601)."""

    day: str
    open: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The flow of tasks by day or week, at one moment. Days are those of the time zone.

    `by` says what `groups` are: one for each project, person or tag.
    """

    zone: str
    total: Flow
    periods: tuple[Flow, ...]
    by: str | None
    groups: tuple[Flow, ...]
    burndown: tuple[OpenTasks, ...]


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
class WatchedChange(Change):
    """A change as it was seen to be committed; `cursor` is where to go on watching from."""

    cursor: str


@dataclass(frozen=True, slots=True)
class TaskRun:
    """What became of a task that an agent took.

    `outcome` is `completed`; `released`, because the command failed; `lost`, because the claim
    was; or `stopped`, because the agent was. `exit` is the command's exit status, `signal` the
    name of the signal that ended it instead, and both are `None` if it never began.
    """

    task: int
    epoch: int
    outcome: Literal["completed", "released", "lost", "stopped"]
    exit: int | None
    signal: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Undone:
    """A thing as an undo leaves it: what it was just now (`old`), and what it is again (`new`).

    Only with the fields that differ. `xid`, `at` and `operation` are of the transaction that was
    undone.
    """

    xid: str
    at: datetime
    operation: str
    entity: str
    entity_id: int
    task: int | None
    old: dict[str, Any]
    new: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A slice of a longer list. `after` is the cursor of the next slice, `None` on the last."""

    items: tuple[T, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class ExportedTask(TaskInFull):
    """A task with all that it takes to make it anew; it recurs in the clock of the zone.

    `extra` is what foreign files said that has no field here: the name of a format → its fields.
    """

    recurrence_zone: str | None = None
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class ImportedComment:
    """What somebody said about a task, as a foreign file tells it.

    `ref` identifies it within its task. Without one, its time and its text do. Without an author
    it is the importer's.
    """

    body: str
    author: str | None = None
    created_at: datetime | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """A task as a foreign file tells it, in Concord's words.

    `ref` identifies it within its project from one import to the next, and `parent`, `previous`
    and `blocked_by` are such refs, of tasks that may be missing from the file. Fields the format
    does not know stay at their defaults; `partial` names those of `parent`, `auto_close`,
    `recurrence`, `blocked_by` and `comments` that the file does not tell, or not to the end: what
    it does not tell stays as it is. `line` is where it stands in the file, counted from 1. `extra`
    is what has no field here, in JSON's types: it is kept under the format's name, and comes back
    when the task is exported to that format.

    `project` is a key, for rows that do not all go to one. The other fields from `uid` to
    `previous` are known to Concord's own format alone: there `uid` identifies the task wherever it
    is, and `external_ref` is what it was to the format that it first came from.
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
    parent: str | None = None
    auto_close: bool = False
    blocked_by: tuple[str, ...] = ()
    comments: tuple[ImportedComment, ...] = ()
    uid: UUID | None = None
    id: int | None = None
    project: str | None = None
    external_ref: str | None = None
    version: int | None = None
    deleted_at: datetime | None = None
    started_at: datetime | None = None
    canceled_at: datetime | None = None
    recurrence: str | None = None
    recurrence_zone: str | None = None
    previous: str | None = None
    partial: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


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


@dataclass(frozen=True, slots=True)
class Unlinked:
    """What a file says of two tasks, `blocked_by` or `parent`, that was left out, and why."""

    ref: str
    field: Literal["blocked_by", "parent"]
    other: str
    reason: str


ParsedRow = ImportedTask | SkippedRow | BadRow | Unlinked


@dataclass(frozen=True, slots=True)
class MappedWord:
    """A word of a foreign file (`kind`: status, priority, user or project) and its meaning here.

    `meaning` is `None` for a word that nobody has told the meaning of; `tasks` counts its uses.
    """

    kind: str
    word: str
    meaning: str | None
    tasks: int


@dataclass(frozen=True, slots=True)
class FileTold:
    """What a foreign file held besides tasks: rows left out, ties left out, and its words."""

    skipped: int = 0
    unlinked: tuple[Unlinked, ...] = ()
    words: tuple[MappedWord, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportConflict:
    """A task that an import left alone: these fields were changed both there and here."""

    ref: str
    task: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, in tasks; which ties between tasks it left out; what words meant."""

    created: int
    updated: int
    unchanged: int
    skipped: int
    conflicting: int
    conflicts: tuple[ImportConflict, ...] = field(default=())
    unlinked: tuple[Unlinked, ...] = field(default=())
    words: tuple[MappedWord, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ListPlan:
    """How the server finds a page of a list; `cost` is its estimate, `plan` as EXPLAIN has it.

    `names` are those whose ids are looked up before, by the setting that holds them then.
    """

    cost: float
    sql: str
    parameters: dict[str, Any]
    names: dict[str, list[str]]
    plan: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a transaction: whether it is `saved`, and then what history says of it.

    `not saved`: it was rolled back, or this server has never had it. `saved nothing`: it was
    committed, and had changed nothing. `running`: it has not ended. `unknown`: a standby is asked.
    """

    xid: str
    outcome: Literal["saved", "saved nothing", "not saved", "running", "unknown"]
    at: datetime | None
    actor: str | None
    operation: str | None
    tasks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TableContents:
    """What a table holds. Its checksum is the same in whatever order the rows come.

    `next_id` is the one that the next row gets; `None` where rows have no number of their own.
    """

    columns: tuple[str, ...]
    rows: int
    checksum: str
    next_id: int | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds, told so that a copy can be compared with it.

    `schema` is its revision and `last_change` the id of the newest row of history. `untold` counts
    tasks whose version is not that of their newest row of history: none, unless somebody has
    switched triggers off.
    """

    schema: str
    tables: Mapping[str, TableContents]
    last_change: int | None
    untold: int

    def rows(self, table: str) -> int:
        """Return how many rows a table has, 0 if there is none."""
        return self.tables[table].rows if table in self.tables else 0
