"""Filling a database: one transaction, streamed with COPY.

The rows come in batches, each with what belongs to its tasks, and every trigger does its work on
them, as for anybody's rows: history, versions and search documents are what they would be after
as many commands. Switching the triggers off would be faster, but locks everybody else out of the
tables until the end, needs an owner, and would have to repeat here what each of them does.

Nobody sees the tasks before the end, so nobody can lock them, link to them or claim them. What is
shared with others, names of users and tags, is only added to.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from concord.database import Isolation, transaction
from concord.errors import Conflict
from concord.seed.rows import Maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from concord.database import Transaction
    from concord.seed.rows import MadeTask, Plan

BATCH = 10_000
"""Tasks a COPY: the triggers hold the rows of a statement in memory."""

HAS_TASKS: LiteralString = """
-- has_tasks: in the trash or not
SELECT EXISTS (SELECT FROM tasks)
"""

TAKEN: LiteralString = """
-- taken_keys: projects that exist already
SELECT key FROM projects WHERE key = ANY(%(keys)s) ORDER BY key
"""

ADD_USERS: LiteralString = """
-- seed_users: those that are new
INSERT INTO users (username) SELECT name FROM unnest(%(names)s::text[]) AS name ORDER BY name
ON CONFLICT (lower(username)) DO NOTHING
"""

USER_IDS: LiteralString = """
-- seeded_users: in the order of their names
SELECT u.id FROM unnest(%(names)s::text[]) WITH ORDINALITY AS wanted (name, place)
JOIN users u ON lower(u.username) = lower(wanted.name) ORDER BY wanted.place
"""

ADD_TAGS: LiteralString = """
-- seed_tags: those that are new
INSERT INTO tags (name) SELECT name FROM unnest(%(names)s::text[]) AS name ORDER BY name
ON CONFLICT (lower(name)) DO NOTHING
"""

TAG_IDS: LiteralString = """
-- seeded_tags: in the order of their names
SELECT g.id FROM unnest(%(names)s::text[]) WITH ORDINALITY AS wanted (name, place)
JOIN tags g ON lower(g.name) = lower(wanted.name) ORDER BY wanted.place
"""

ADD_PROJECTS: LiteralString = """
-- seed_projects: owned by the users in turn
INSERT INTO projects (key, name, owner_id)
SELECT key, initcap(key), (%(users)s::bigint[])[1 + place %% cardinality(%(users)s::bigint[])]
FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS wanted (key, place) ORDER BY place
RETURNING id
"""

# From the sequence, so that others can add tasks meanwhile. They grow, but may have gaps.
IDS: LiteralString = """
-- seed_ids: for the next batch
SELECT nextval(pg_get_serial_sequence('tasks', 'id')) FROM generate_series(1, %(count)s)
"""

TASKS: LiteralString = """
-- seed_tasks: oldest first
COPY tasks (id, uid, project_id, title, description, status, priority, due, owner_id, parent_id,
            created_at, updated_at, completed_at, deleted_at, started_at, canceled_at) FROM STDIN
"""
TASK_TAGS: LiteralString = """
-- seed_task_tags: of a batch
COPY task_tags (task_id, tag_id) FROM STDIN
"""
ASSIGNMENTS: LiteralString = """
-- seed_assignments: of a batch
COPY assignments (task_id, user_id, assigned_at, assigned_by) FROM STDIN
"""
LINKS: LiteralString = """
-- seed_links: to older tasks, so that there is no circle
COPY links (blocked_id, blocker_id, created_at) FROM STDIN
"""
COMMENTS: LiteralString = """
-- seed_comments: of a batch
COPY comments (task_id, author_id, body, created_at) FROM STDIN
"""
CLAIMS: LiteralString = """
-- seed_claims: of a batch
COPY claims (task_id, user_id, claimed_at, expires_at) FROM STDIN
"""

HELD: LiteralString = """
-- held: by row-level security, under which there is no COPY
SELECT row_security_active('tasks')
"""

# An owner's right, if they are no superuser; others wait until the transaction has ended.
LET_GO: LiteralString = """
-- let_owner_go: until the rows are there
DO $$ BEGIN
    ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE task_tags NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE assignments NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE links NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE comments NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE claims NO FORCE ROW LEVEL SECURITY;
END $$
"""

HOLD: LiteralString = """
-- hold_owner: as before
DO $$ BEGIN
    ALTER TABLE tasks FORCE ROW LEVEL SECURITY;
    ALTER TABLE task_tags FORCE ROW LEVEL SECURITY;
    ALTER TABLE assignments FORCE ROW LEVEL SECURITY;
    ALTER TABLE links FORCE ROW LEVEL SECURITY;
    ALTER TABLE comments FORCE ROW LEVEL SECURITY;
    ALTER TABLE claims FORCE ROW LEVEL SECURITY;
END $$
"""

# What runs in a trigger has been planned when there were few rows; new numbers plan it anew.
ANALYZE: LiteralString = """
-- analyze_seeded: the planner knows nothing yet of so many rows
ANALYZE tasks, task_tags, assignments, links, comments, claims, task_texts, history, users,
        projects, tags
"""


@dataclass(frozen=True, slots=True)
class Seeded:
    """How many rows were made, and how long it took."""

    tasks: int
    projects: int
    users: int
    tags: int
    assignments: int
    task_tags: int
    links: int
    comments: int
    claims: int
    seconds: float


@transaction(isolation=Isolation.READ_COMMITTED, read_only=True)
def has_tasks(tx: Transaction) -> bool:
    """Return whether there are any tasks."""
    return tx.scalar(HAS_TASKS)


@transaction(isolation=Isolation.READ_COMMITTED)
def fill(tx: Transaction, plan: Plan, progress: Callable[[int], object] = int) -> Seeded:
    """Add a made-up tracker to what is there; `progress` is told how many tasks are done.

    Raises `Conflict` if one of its projects exists.
    """
    started = time.monotonic()
    if held := tx.scalar(HELD):
        tx.execute(LET_GO)
    if taken := tx.scalars(TAKEN, {"keys": plan.projects}):
        raise Conflict(
            f"there are projects of these names already: {', '.join(taken[:5])}",
            hint="Put something before the names of the new ones: --project-prefix MORE-",
            projects=list(taken),
        )
    users = _ids(tx, ADD_USERS, USER_IDS, plan.users)
    tags = _ids(tx, ADD_TAGS, TAG_IDS, plan.tags)
    projects = tx.scalars(ADD_PROJECTS, {"keys": plan.projects, "users": list(users)})
    counts: dict[str, int] = dict.fromkeys(
        ("assignments", "task_tags", "links", "comments", "claims"), 0
    )
    done = 0
    for number, batch in enumerate(_batches(tx, Maker(plan), plan.tasks), start=1):
        tx.copy(TASKS, _tasks(batch, users, projects))
        for name, query, rows in _belongings(batch, users, tags):
            counts[name] += tx.copy(query, rows)
        done += len(batch)
        if number & (number - 1) == 0 or done == plan.tasks:
            tx.execute(ANALYZE)
        progress(done)
    if held:
        tx.execute(HOLD)
    return Seeded(
        done,
        len(projects),
        len(users),
        len(tags),
        **counts,
        seconds=round(time.monotonic() - started, 1),
    )


def _batches(tx: Transaction, maker: Maker, total: int) -> Iterator[Sequence[MadeTask]]:
    """Yield batches of tasks; while the server works on one, the next one is made."""
    with ThreadPoolExecutor(1) as pool:
        made: Future[Sequence[MadeTask]] | None = None
        for start in range(0, total, BATCH):
            ids = tx.scalars(IDS, {"count": min(BATCH, total - start)})
            upcoming = pool.submit(_make, maker, ids)
            if made is not None:
                yield made.result()
            made = upcoming
        if made is not None:
            yield made.result()


def _make(maker: Maker, ids: Sequence[int]) -> Sequence[MadeTask]:
    return [maker.task(number) for number in ids]


def _ids(
    tx: Transaction, add: LiteralString, find: LiteralString, names: Sequence[str]
) -> Sequence[int]:
    given = {"names": list(names)}
    tx.execute(add, given)
    return tx.scalars(find, given)


def _tasks(
    batch: Sequence[MadeTask], users: Sequence[int], projects: Sequence[int]
) -> Iterator[Sequence[Any]]:
    for task in batch:
        yield (
            task.id,
            task.uid,
            None if task.project is None else projects[task.project],
            task.title,
            task.description,
            task.status,
            task.priority,
            task.due,
            users[task.owner],
            task.parent,
            task.created,
            task.updated,
            task.completed,
            task.deleted,
            task.started,
            task.canceled,
        )


def _belongings(
    batch: Sequence[MadeTask], users: Sequence[int], tags: Sequence[int]
) -> Iterator[tuple[str, LiteralString, Iterator[Sequence[Any]]]]:
    """Yield what belongs to tasks: the table, its COPY and its rows."""
    yield "task_tags", TASK_TAGS, ((task.id, tags[tag]) for task in batch for tag in task.tags)
    yield (
        "assignments",
        ASSIGNMENTS,
        (
            (task.id, users[person], task.created, users[task.owner])
            for task in batch
            for person in task.assignees
        ),
    )
    yield (
        "links",
        LINKS,
        ((task.id, blocker, task.created) for task in batch for blocker in task.blockers),
    )
    yield (
        "comments",
        COMMENTS,
        (
            (task.id, users[remark.author], remark.body, remark.at)
            for task in batch
            for remark in task.remarks
        ),
    )
    yield (
        "claims",
        CLAIMS,
        (
            (task.id, users[task.lease.user], task.lease.at, task.lease.expires)
            for task in batch
            if task.lease is not None
        ),
    )
