"""What is ready: lists, claims and their explanation agree with each other and with the rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from queue_model import OPEN, Item, Queue
from together import expire
from workers import psql

from concord.sql import claims, listing, projects, readiness, tasks, users
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from commands import Here

    from concord.database import Database

pytestmark = pytest.mark.crew

NOW = datetime.now(UTC)
LEASE = timedelta(minutes=15)
_runs = count(1)

PUT = """
WITH claimed AS (
    INSERT INTO claims (task_id, user_id, claimed_at, expires_at, assigned)
    SELECT %(id)s, id, now(), now() + CASE WHEN %(lapsed)s THEN -1 ELSE 1 END * interval '1 h',
           %(by_claim)s
    FROM users WHERE username = %(holder)s
), assigned AS (
    INSERT INTO assignments (task_id, user_id)
    SELECT %(id)s, id FROM users WHERE username = ANY(%(assignees)s)
), linked AS (
    INSERT INTO links (blocked_id, blocker_id)
    SELECT %(id)s, id FROM unnest(%(blockers)s::bigint[]) AS id
)
UPDATE tasks SET status = %(status)s, priority = %(priority)s, due = %(due)s,
    created_at = %(created_at)s, parent_id = %(parent)s,
    deleted_at = CASE WHEN %(deleted)s THEN now() END,
    project_id = (SELECT id FROM projects WHERE key = %(project)s)
WHERE id = %(id)s
"""

ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["todo", "todo", "in_progress", *STATUSES]),
            "priority": st.sampled_from(PRIORITIES[:3]),
            "due": st.one_of(st.none(), st.integers(-2, 2)),
            "age": st.integers(0, 2),
            "parent": st.one_of(st.none(), st.integers(0, 6)),
            "blockers": st.sets(st.integers(0, 6), max_size=2),
            "deleted": st.sampled_from([False, False, False, True]),
            "project": st.integers(0, 2),
            "assignees": st.sets(st.sampled_from(["ana", "bo"])),
            "holder": st.sampled_from([None, "ana", "bo", "cy"]),
            "lapsed": st.booleans(),
            "by_claim": st.booleans(),
        }
    ),
    min_size=1,
    max_size=7,
)


def put(
    url: str, database: Database, drawn: list[dict[str, Any]], closing: tuple[int, bool]
) -> Queue:
    """Make what was drawn, in projects of its own, and return the same as a model."""
    run = next(_runs)
    keys = [f"P{run}-{n}" for n in range(3)]
    for key in keys:
        database.run(projects.add, key)
    ids = [database.run(tasks.add, tasks.NewTask(f"task {n}")).id for n in range(len(drawn))]
    items: list[Item] = []
    for number, (task, values) in enumerate(zip(ids, drawn, strict=True)):
        # A whole comes before its parts, so there is no circle.
        parent = values["parent"]
        among: set[int] = values["blockers"]
        placed: dict[str, Any] = {
            "parent": ids[parent] if parent is not None and parent < number else None,
            "blockers": {ids[n] for n in among if n < len(ids)} - {task},
            "project": keys[values["project"]],
            "assignees": set(values["assignees"]),
        }
        item = Item(task, **{**values, **placed})
        if item.status != "in_progress" or item.deleted:
            item.holder = None
        if item.holder is None:
            item.lapsed = item.by_claim = False
        if item.by_claim:
            item.assignees.add(item.holder or "")
        items.append(item)
    limit, archived = closing
    queue = Queue(items, {}, {keys[1]} if archived else set())
    if limit:
        queue.limits[keys[0]] = max(limit, len(queue.in_progress(keys[0])))
    with psycopg.connect(url) as connection:
        for item in items:
            connection.execute(
                PUT,
                vars(item)
                | {
                    "due": None if item.due is None else NOW + timedelta(days=item.due),
                    "created_at": NOW + timedelta(days=item.age - 10),
                    "assignees": list(item.assignees),
                    "blockers": list(item.blockers),
                },
            )
    for key, highest in queue.limits.items():
        database.run(projects.edit, key, {"wip_limit": highest})
    for key in queue.archived:
        database.run(projects.archive, key)
    return queue


@given(drawn=ITEMS, limit=st.integers(0, 2), archived=st.booleans(), wanted=st.integers(1, 8))
@settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_lists_claims_and_their_explanation_agree_with_the_rules(
    url: str,
    database: Database,
    drawn: list[dict[str, Any]],
    limit: int,
    archived: bool,
    wanted: int,
) -> None:
    psql(url, "INSERT INTO users (username) VALUES ('bo'), ('cy') ON CONFLICT DO NOTHING")
    queue = put(url, database, drawn, (limit, archived))
    items = list(queue.items.values())
    here = sorted({str(item.project) for item in items})
    filters = listing.Filters(projects=here)

    blocked = {
        task: (is_blocked, has_part)
        for task, is_blocked, has_part in psql(
            url,
            "SELECT id, is_blocked(id), has_open_child(id) FROM tasks WHERE id = ANY(%s)",
            list(queue.items),
        )
    }
    assert blocked == {
        item.id: (queue.is_blocked(item), bool(queue.open_parts(item))) for item in items
    }

    ready = listing.Filters(projects=here, ready=True)
    listed = {task.id for task in database.run(listing.page, ready).items}
    assert listed == {item.id for item in items if queue.is_ready(item)}

    waiting = listing.Filters(projects=here, blocked=True)
    listed = {task.id for task in database.run(listing.page, waiting).items}
    assert listed == {item.id for item in items if item.is_open and queue.is_blocked(item)}

    explained = database.run(readiness.explain, filters)
    considered = sorted((item for item in items if item.is_open), key=lambda item: item.order)
    assert [row.id for row in explained] == [item.id for item in considered]
    assert {row.id for row in explained if row.ready} == {
        item.id for item in items if queue.is_claimable(item)
    }
    assert all(row.ready == (not row.reasons) for row in explained)

    taken = database.run(claims.claim, filters, lease=LEASE, count=wanted)
    assert [task.id for task in taken] == queue.claim(wanted)
    assert {task.id: (task.status, set(task.assignees)) for task in taken} == {
        task.id: ("in_progress", queue.items[task.id].assignees) for task in taken
    }
    assert all(item.status in OPEN for item in items if queue.is_ready(item))


# What the command says


def test_an_explanation_names_what_stands_against_each_task(
    url: str, here: Here, database: Database
) -> None:
    database.run(users.add, "bo")
    database.run(projects.add, "API")
    database.run(projects.edit, "API", {"wip_limit": 1})
    database.run(projects.add, "OLD")

    def add(**fields: Any) -> str:
        return str(database.run(tasks.add, tasks.NewTask("x", **fields)).id)

    held = add(project="API")
    here.ok("task", "claim", "--as", "bo")
    full, old = add(project="API"), add(project="OLD")
    database.run(projects.archive, "OLD")
    started = add(status="in_progress")
    his = add(assignees=["bo"])
    whole = add(blocked_by=[int(his)])
    part = add(parent=int(whole))
    reasons = {str(row["id"]): row["reasons"] for row in here.ok("task", "claim", "--explain")}
    assert reasons.pop(held)[0].startswith("claimed by bo until 2")
    assert reasons == {
        full: [f"project API has its 1 in progress: {held}"],
        old: ["project OLD is archived"],
        started: ["in progress, without a lease that could expire"],
        his: ["assigned to bo"],
        whole: [f"waits for {his}", f"parts are open: {part}"],
        part: [f"its parent {whole} waits"],
    }
    assert "nothing is ready" in here.refused("task", "claim", code=8)
    expire(url, int(held))
    assert here.ok("task", "claim", "--explain")[0]["reasons"] == []


def test_an_explanation_has_fields_of_its_own(here: Here) -> None:
    here.ok("task", "add", "x")
    told = here("task", "claim", "--explain", "--fields", "id,ready,reasons")
    assert (told.code, told.out) == (0, "1\ttrue\t\n")
    assert "ready" in here.refused("task", "claim", "--explain", "--fields", "nope", code=2)
    assert "ready" not in here.refused("task", "claim", "--fields", "ready", code=2).split("\n")[1]


def test_an_explanation_that_is_cut_says_so(here: Here) -> None:
    for _ in range(10):
        here.ok("task", "add", "x")
    assert "cut" not in here("task", "claim", "--explain").err
    here.ok("task", "add", "x")
    told = here("task", "claim", "--explain", "--json")
    assert len(told.json) == 10
    assert '"code": "cut"' in told.err or '"code":"cut"' in told.err
    assert here("task", "claim", "--explain", "--quiet").err


def test_what_a_claim_was_for_can_be_read_from_stdin_when_it_is_given_back(here: Here) -> None:
    here.ok("task", "add", "x")
    here.ok("task", "claim")
    here.ok("task", "release", "1", "--epoch", "1", "--comment", "-", stdin="No\n\ntime.\n")
    assert here.ok("task", "show", "1")["comments"][0]["body"] == "No\n\ntime."
    here.ok("task", "claim")
    told = here.refused("task", "release", "1", "--epoch", "2", "--comment", " ", code=2)
    assert "a comment says something" in told
    assert here.ok("task", "show", "1")["claim"]["epoch"] == 2, "it is still held"


def test_a_tree_is_of_tasks_or_of_a_project(here: Here) -> None:
    here.ok("task", "add", "x")
    assert "not both" in here.refused("task", "tree", "1", "--project", "API", code=2)
    assert "no such project: NOPE" in here.refused("task", "tree", "--project", "NOPE", code=3)
