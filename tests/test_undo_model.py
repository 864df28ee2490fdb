"""Whatever somebody does, undoing all of it leads back to where they began."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from undoing import Users
from workers import psql

from concord.errors import ConcordError
from concord.sql import assignments, comments, links, projects, tags, tasks
from concord.sql import users as people
from concord.vocabulary import PRIORITIES, STATUSES

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.crew

WHICH = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)
"""Tasks by the order in which they were made, the newest six of them."""
ONE = st.integers(0, 5)
NAMES = st.sampled_from(["bo", "cy"])
LABELS = st.lists(st.sampled_from(["bug", "ui", "x"]), unique=True, min_size=1, max_size=2)
KEYS = st.sampled_from(["API", "WEB"])
RECURRENCES = st.sampled_from([(None, None), ("every 2w", "UTC"), ("after 3d", "Asia/Tokyo")])

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from("abc"),
        "description": st.sampled_from([None, "Some.", "More."]),
        "priority": st.sampled_from(PRIORITIES),
        "status": st.sampled_from(STATUSES),
        "owner": NAMES,
        "auto_close": st.booleans(),
    },
).filter(bool)

STEPS = st.one_of(
    st.tuples(
        st.just("add"), FIELDS.map(lambda some: some.get("status", "todo")), LABELS, RECURRENCES
    ),
    st.tuples(st.just("part"), ONE),
    st.tuples(st.just("edit"), WHICH, FIELDS),
    st.tuples(st.just("parent"), WHICH, st.none() | ONE),
    st.tuples(st.just("recur"), WHICH, RECURRENCES),
    st.tuples(st.just("status"), WHICH, st.sampled_from(STATUSES)),
    st.tuples(st.just("move"), WHICH, st.none() | KEYS),
    st.tuples(st.sampled_from(["delete", "restore"]), WHICH),
    st.tuples(st.sampled_from(["tag", "untag"]), WHICH, LABELS),
    st.tuples(st.sampled_from(["assign", "unassign"]), WHICH, NAMES),
    st.tuples(st.sampled_from(["block", "unblock"]), WHICH, WHICH),
    st.tuples(st.just("comment"), WHICH),
    st.tuples(st.sampled_from(["tag add", "tag delete"]), LABELS),
    st.tuples(st.just("tag rename"), LABELS, LABELS),
    st.tuples(st.sampled_from(["project add", "project archive", "project open"]), KEYS),
    st.tuples(st.just("project edit"), KEYS, st.sampled_from([None, 1, 2]), NAMES),
    st.tuples(st.sampled_from(["project delete", "user delete", "user add"]), KEYS | NAMES),
)
"""What somebody may do: a name, and what it needs."""

_databases = count(1)


def do(users: Users, step: tuple[Any, ...]) -> None:
    """Do one thing as `ana`, who may be refused it."""
    made = [row[0] for row in psql(users.url, "SELECT id FROM tasks ORDER BY id DESC LIMIT 6")]

    def ids(which: list[int]) -> list[int]:
        return sorted({made[number % len(made)] for number in which})

    match step:
        case ("add", status, labels, (rule, zone)):
            users.add(status=status, tags=labels, recurrence=rule, recurrence_zone=zone)
        case ("part", whole):
            users.add("part", parent=ids([whole])[0])
        case ("edit", which, fields):
            users.ana(tasks.edit, ids(which), fields)
        case ("parent", which, whole):
            parent = None if whole is None else ids([whole])[0]
            users.ana(tasks.edit, ids(which), {"parent": parent})
        case ("recur", which, (rule, zone)):
            users.ana(tasks.edit, ids(which), {"recurrence": rule, "recurrence_zone": zone})
        case ("status", which, status):
            users.ana(tasks.set_status, ids(which), status)
        case ("move", which, key):
            users.ana(tasks.move, ids(which), key)
        case ("delete", which):
            users.ana(tasks.delete, ids(which))
        case ("restore", which):
            users.ana(tasks.restore, ids(which))
        case ("tag", which, labels):
            users.ana(tags.tag, ids(which), labels)
        case ("untag", which, labels):
            users.ana(tags.untag, ids(which), labels)
        case ("assign", which, name):
            users.ana(assignments.assign, ids(which), [name])
        case ("unassign", which, name):
            users.ana(assignments.unassign, ids(which), [name])
        case ("block", which, blockers):
            users.ana(links.block, ids(which), ids(blockers))
        case ("unblock", which, blockers):
            users.ana(links.unblock, ids(which), ids(blockers))
        case ("comment", which):
            users.ana(comments.add, ids(which), "Yes.")
        case ("tag add", (label, *_)):
            users.ana(tags.add, label)
        case ("tag delete", (label, *_)):
            users.ana(tags.delete, label)
        case ("tag rename", (label, *_), (new, *_)):
            users.ana(tags.rename, label, new)
        case ("project add", key):
            users.ana(projects.add, key)
        case ("project archive", key):
            users.ana(projects.archive, key)
        case ("project open", key):
            users.ana(projects.archive, key, archived=False)
        case ("project edit", key, limit, name):
            users.ana(projects.edit, key, {"wip_limit": limit, "owner": name})
        case ("project delete", key):
            users.ana(projects.delete, key)
        case ("user add", name):
            users.ana(people.add, name)
        case ("user delete", name):
            users.ana(people.delete, name)
        case _:
            raise AssertionError(step)


def transactions(users: Users) -> int:
    """Return how many transactions `ana` has committed that changed something."""
    return psql(users.url, "SELECT count(DISTINCT xid) FROM history WHERE actor = 'ana'")[0][0]


def test_undoing_all_leads_back_to_the_beginning(server: Server, crew_template: str) -> None:
    with server.janitor(f"undone_{next(_databases)}", crew_template) as janitor:
        url = server.url(janitor.dbname)
        with Users(url) as users:
            users.bo(tags.add, "old")
            users.bo(projects.add, "API")

            @settings(max_examples=25)
            @given(st.lists(STEPS, min_size=1, max_size=12))
            def lead_back(steps: list[tuple[Any, ...]]) -> None:
                first = users.add(tags=["ui"], assignees=["bo"], blocked_by=[users.add()])
                users.add("part", parent=first, auto_close=True)
                before, begun = users.state(), transactions(users)
                for step in steps:
                    try:
                        do(users, step)
                    except ConcordError:
                        continue
                done = transactions(users) - begun
                if done:
                    after = users.state()
                    users.undo(last=done)
                    assert users.state() == before
                    users.undo()
                    assert users.state() == after
                    users.undo()
                    assert users.state() == before

            lead_back()
